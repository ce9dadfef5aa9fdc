//! The side WeChat does not have, under `/_sandbox/`: what users saw, and how to upset things.

use std::collections::BTreeMap;

use hyper::{Method, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::api::Request;
use super::events::{Callback, Event, What};
use super::fate::receipt;
use super::ledger::Listed;
use super::options::Faults;
use super::people::Standing;
use super::query::param;
use super::world::{Counts, Sandbox, World};
use crate::limits;

/// Paths of this side begin so.
pub(super) const PREFIX: &str = "/_sandbox/";

/// Most messages on one page of the ledger.
const PAGE: usize = 10_000;

type Answer = Result<Value, (StatusCode, String)>;

/// Answers a call; the value is the body. What is told of it goes into `events`.
pub(super) fn answer(
    sandbox: &Sandbox,
    request: Request<'_>,
    events: &mut Vec<Event>,
) -> (StatusCode, Value) {
    let path = request.path.strip_prefix(PREFIX).unwrap_or_default();
    let result = match (path, request.method == Method::POST) {
        ("ledger", false) => ledger(sandbox, request.query),
        ("ledger/messages", false) => messages(sandbox, request.query),
        ("seen", false) => seen(sandbox, request.query),
        ("faults", false) => Ok(json!(sandbox.world().faults)),
        ("faults", true) => faults(sandbox, request.body),
        ("tokens/invalidate", true) => invalidate(sandbox, request.body),
        ("followers", true) => followers(sandbox, request.body, events),
        ("callback", true) => callback(sandbox, request.body),
        ("clock", true) => clock(sandbox, request.body),
        ("reset", true) => {
            sandbox.reset();
            Ok(json!({}))
        }
        _ => Err((StatusCode::NOT_FOUND, "the sandbox has no such path or method".to_owned())),
    };
    match result {
        Ok(value) => (StatusCode::OK, value),
        Err((status, error)) => (status, json!({ "error": error })),
    }
}

fn bad(error: impl ToString) -> (StatusCode, String) {
    (StatusCode::BAD_REQUEST, error.to_string())
}

fn read<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, (StatusCode, String)> {
    serde_json::from_slice(body).map_err(bad)
}

fn account(sandbox: &Sandbox, appid: &str) -> Result<usize, (StatusCode, String)> {
    sandbox.account(appid).ok_or_else(|| (StatusCode::NOT_FOUND, format!("no account {appid}")))
}

/// The account that `?appid=` names, or none when it is left out.
fn asked_account(sandbox: &Sandbox, query: &str) -> Result<Option<usize>, (StatusCode, String)> {
    param(query, "appid").map(|appid| account(sandbox, &appid)).transpose()
}

fn asked_number(query: &str, name: &str, default: u64) -> Result<u64, (StatusCode, String)> {
    let value = param(query, name).map(|value| value.parse().map_err(|_| bad(name)));
    value.unwrap_or(Ok(default))
}

fn ledger(sandbox: &Sandbox, query: &str) -> Answer {
    let asked = asked_account(sandbox, query)?;
    let world = sandbox.world();
    let counts = match asked {
        Some(index) => world.accounts[index].counts.clone(),
        None => total(&world),
    };
    let fetches: BTreeMap<&str, u64> = sandbox
        .accounts()
        .iter()
        .zip(&world.accounts)
        .enumerate()
        .filter(|(index, _)| asked.is_none_or(|asked| asked == *index))
        .map(|(_, (account, state))| (account.appid.as_str(), state.token_fetches))
        .collect();
    let mut answer = serde_json::to_value(counts).map_err(bad)?;
    answer["token_fetches"] = json!(fetches);
    Ok(answer)
}

/// The counts of all accounts, and of the calls that belong to none.
pub(super) fn total(world: &World) -> Counts {
    let mut total = world.strangers.clone();
    for state in &world.accounts {
        total.add(&state.counts);
    }
    total
}

fn messages(sandbox: &Sandbox, query: &str) -> Answer {
    let asked = asked_account(sandbox, query)?;
    let after = asked_number(query, "after", 0)?;
    let limit = asked_number(query, "limit", limits::PAGE_ITEMS as u64)?.clamp(1, PAGE as u64);
    let limit = usize::try_from(limit).unwrap_or(PAGE);
    let world = sandbox.world();
    let listed = world.ledger.after(after);
    let page: Vec<Listed<'_>> = listed
        .filter(|listed| asked.is_none_or(|asked| asked == listed.message.account))
        .take(limit)
        .collect();
    // A full page may have more behind it; a shorter one cannot.
    let next = page.last().filter(|_| page.len() == limit).map(|last| last.number);
    let page: Vec<Value> = page.iter().map(|listed| written(sandbox, &world, listed)).collect();
    Ok(json!({ "messages": page, "next": next }))
}

fn seen(sandbox: &Sandbox, query: &str) -> Answer {
    let index = asked_account(sandbox, query)?.ok_or_else(|| bad("appid is missing"))?;
    let openid = param(query, "openid").ok_or_else(|| bad("openid is missing"))?;
    let mut world = sandbox.world();
    let people = &mut world.accounts[index].people;
    let Some(number) = people.find(&openid) else {
        return Err((StatusCode::NOT_FOUND, format!("no person {openid}")));
    };
    let shown = people.person(number).shown;
    let theirs = world
        .ledger
        .after(0)
        .filter(|listed| listed.message.account == index && listed.message.person == number);
    let messages: Vec<Value> =
        theirs.take(PAGE).map(|listed| written(sandbox, &world, &listed)).collect();
    Ok(json!({ "shown": shown, "messages": messages }))
}

/// A message as JSON. Numbers beyond 2^53 go as text.
fn written(sandbox: &Sandbox, world: &World, listed: &Listed<'_>) -> Value {
    let message = &listed.message;
    json!({
        "number": listed.number,
        "appid": sandbox.accounts()[message.account].appid,
        "openid": world.accounts[message.account].people.openid(message.person),
        "client_msg_id": message.client_msg_id,
        "msgid": listed.msgid.to_string(),
        "at": message.at.0,
        "template_id": sandbox.templates()[message.template].id,
        "data": serde_json::from_str::<Value>(message.data).unwrap_or_default(),
        "receipt": receipt(sandbox.seed(), &world.faults, listed.msgid).status(),
    })
}

fn faults(sandbox: &Sandbox, body: &[u8]) -> Answer {
    let faults: Faults = read(body)?;
    faults.check().map_err(bad)?;
    sandbox.world().faults = faults.clone();
    Ok(json!(faults))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidateCall {
    appid: String,
}

fn invalidate(sandbox: &Sandbox, body: &[u8]) -> Answer {
    let call: InvalidateCall = read(body)?;
    let index = account(sandbox, &call.appid)?;
    sandbox.world().accounts[index].tokens.invalidate();
    Ok(json!({}))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FollowersCall {
    appid: String,
    #[serde(default)]
    follow: Vec<String>,
    #[serde(default)]
    unfollow: Vec<String>,
    #[serde(default)]
    block: Vec<String>,
}

fn callback(sandbox: &Sandbox, body: &[u8]) -> Answer {
    let call: Callback = read(body)?;
    call.check().map_err(bad)?;
    let index = account(sandbox, &call.appid)?;
    sandbox.world().accounts[index].callback = Some(call);
    Ok(json!({}))
}

fn followers(sandbox: &Sandbox, body: &[u8], events: &mut Vec<Event>) -> Answer {
    let call: FollowersCall = read(body)?;
    let index = account(sandbox, &call.appid)?;
    let size = |openid: &String| (1..=limits::OPENID_BYTES).contains(&openid.len());
    if !call.follow.iter().all(size) {
        return Err(bad("an openid is empty or too long"));
    }
    let mut world = sandbox.world();
    let people = &mut world.accounts[index].people;
    let changes = call.unfollow.iter().map(|openid| (openid, Standing::Left));
    let changes = changes.chain(call.block.iter().map(|openid| (openid, Standing::Blocked)));
    let known = |(openid, standing): (&String, Standing)| match people.find(openid) {
        Some(number) => Ok((number, standing)),
        None => Err((StatusCode::NOT_FOUND, format!("no person {openid}"))),
    };
    let changes: Vec<(u32, Standing)> = changes.map(known).collect::<Result<_, _>>()?;
    for (number, standing) in changes {
        people.person(number).standing = standing;
    }
    for openid in &call.follow {
        people.follow(openid);
    }
    let followers = people.followers();
    let left = call.unfollow.iter().map(|openid| (openid, What::Left));
    let came = call.follow.iter().map(|openid| (openid, What::Follows));
    events.extend(left.chain(came).filter_map(|(openid, what)| world.event(index, openid, what)));
    Ok(json!({ "followers": followers }))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ClockCall {
    advance_ms: u64,
}

fn clock(sandbox: &Sandbox, body: &[u8]) -> Answer {
    let call: ClockCall = read(body)?;
    let mut world = sandbox.world();
    world.ahead_ms = world.ahead_ms.saturating_add(call.advance_ms);
    Ok(json!({ "now": world.now().0 }))
}
