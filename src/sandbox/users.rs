//! Followers: the list, the lists by tag, and profiles.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::answer::read;
use super::people::{People, Standing};
use super::quota::{Call, Leave};
use super::world::Sandbox;

/// Openids on one page.
const PAGE: usize = 10_000;
/// Profiles of one call.
const PROFILES: usize = 100;
/// The sandbox has ten tags from this one on; a follower wears the one of their number's last digit.
const FIRST_TAG: u32 = 100;
const TAGS: u32 = 10;

/// `GET /cgi-bin/user/get`: the followers after `after`, or from the first.
pub(super) fn followers(
    sandbox: &Sandbox,
    token: Option<&str>,
    after: &str,
) -> Result<Value, Refusal> {
    let mut world = sandbox.world();
    let now = world.now();
    let account = world.open(token, now)?;
    let state = &mut world.accounts[account];
    if state.quotas.take(Call::Followers, now) == Leave::Refused {
        return Err(Refusal::DAY_QUOTA);
    }
    let first = after_openid(&state.people, after)?;
    let page: Vec<u32> = state.people.following(first).take(PAGE).collect();
    let mut answer = page_json(&state.people, &page);
    answer["total"] = state.people.followers().into();
    Ok(answer)
}

#[derive(Deserialize)]
struct TagCall {
    tagid: u32,
    #[serde(default)]
    next_openid: String,
}

/// `POST /cgi-bin/user/tag/get`.
pub(super) fn tagged(
    sandbox: &Sandbox,
    token: Option<&str>,
    body: &[u8],
) -> Result<Value, Refusal> {
    let world = sandbox.world();
    let account = world.open(token, world.now())?;
    let call: TagCall = read(body)?;
    let tag = call.tagid.checked_sub(FIRST_TAG).filter(|&tag| tag < TAGS);
    let tag = tag.ok_or(Refusal::INVALID_TAG)?;
    let people = &world.accounts[account].people;
    let first = after_openid(people, &call.next_openid)?;
    let wearing = people.following(first).filter(|number| number % TAGS == tag);
    let page: Vec<u32> = wearing.take(PAGE).collect();
    Ok(page_json(people, &page))
}

fn after_openid(people: &People, openid: &str) -> Result<u32, Refusal> {
    if openid.is_empty() {
        return Ok(0);
    }
    people.find(openid).map(|number| number.saturating_add(1)).ok_or(Refusal::INVALID_OPENID)
}

/// A page; an empty one has no `data`, and `next_openid` is the last openid of the page.
fn page_json(people: &People, page: &[u32]) -> Value {
    let openids: Vec<_> = page.iter().map(|&number| people.openid(number)).collect();
    let mut answer =
        json!({ "count": page.len(), "next_openid": openids.last().map_or("", |v| v) });
    if !openids.is_empty() {
        answer["data"] = json!({ "openid": openids });
    }
    answer
}

#[derive(Deserialize)]
struct ProfilesCall {
    user_list: Vec<ProfileCall>,
}

#[derive(Deserialize)]
struct ProfileCall {
    openid: String,
}

/// `POST /cgi-bin/user/info/batchget`.
pub(super) fn profiles(
    sandbox: &Sandbox,
    token: Option<&str>,
    body: &[u8],
) -> Result<Value, Refusal> {
    let mut world = sandbox.world();
    let now = world.now();
    let account = world.open(token, now)?;
    let state = &mut world.accounts[account];
    if state.quotas.take(Call::Profiles, now) == Leave::Refused {
        return Err(Refusal::DAY_QUOTA);
    }
    let call: ProfilesCall = read(body)?;
    if call.user_list.is_empty() || call.user_list.len() > PROFILES {
        return Err(Refusal::INVALID_LIST_SIZE);
    }
    let profile = |asked: &ProfileCall| profile(&mut state.people, &asked.openid);
    let profiles: Vec<Value> = call.user_list.iter().map(profile).collect::<Result<_, _>>()?;
    Ok(json!({ "user_info_list": profiles }))
}

fn profile(people: &mut People, openid: &str) -> Result<Value, Refusal> {
    let number = people.find(openid).ok_or(Refusal::INVALID_OPENID)?;
    Ok(match people.person(number).standing {
        Standing::Left => json!({ "subscribe": 0, "openid": openid }),
        Standing::Follows | Standing::Blocked => json!({
            "subscribe": 1,
            "openid": openid,
            "language": "zh_CN",
            "remark": "",
            "tagid_list": [FIRST_TAG + number % TAGS],
            "subscribe_scene": "ADD_SCENE_SEARCH",
        }),
    })
}
