//! Audiences: to whom a notice goes.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::recipient;
use crate::api::form::{Body as _, Form};
use crate::engine::command::{Audience, Recipient};
use crate::id::Id;
use crate::limits;
use crate::model::audience::{Source, Sourcing};
use crate::model::delivery::DeliveryState;
use crate::named::Named;

const AUDIENCES: &str = "one of openids ([\"o…\", {\"openid\": \"o…\", \"data\": {…}}]), stream (true), \
                         url, followers (true), tag (a number) or notice (an earlier one's id)";

/// When an audience is read that is somewhere else.
struct When {
    at_send: Option<bool>,
    newcomers: Option<bool>,
}

impl When {
    /// Reads it; the same words may stand in the audience and beside it.
    fn read(form: &mut Form<'_>) -> Self {
        const WANTED: &str = "at_submit (the default) or at_send";
        let resolve = form.word::<Resolve>("resolve", WANTED);
        let newcomers = form.flag("newcomers");
        form.also(
            "newcomers",
            json!({"description": "read again when it is sent: who came since is added"}),
        );
        Self { at_send: resolve.map(|resolve| resolve == Resolve::AtSend), newcomers }
    }
}

/// When an audience is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Resolve {
    AtSubmit,
    AtSend,
}

impl Named for Resolve {
    const ALL: &'static [Self] = &[Self::AtSubmit, Self::AtSend];

    fn word(self) -> &'static str {
        match self {
            Self::AtSubmit => "at_submit",
            Self::AtSend => "at_send",
        }
    }
}

/// Reads `audience`, and `resolve` and `newcomers` in it or beside it.
pub(super) fn audience(form: &mut Form<'_>) -> Audience {
    form.must("audience");
    let beside = When::read(form);
    let found = form.object("audience", "Audience", within);
    let Some((mut audience, within)) = found else { return Audience::default() };
    let at_send = within.at_send.or(beside.at_send);
    let newcomers = within.newcomers.or(beside.newcomers);
    if let Audience::Source(sourcing) = &mut audience {
        sourcing.at_send = at_send.unwrap_or(false);
        sourcing.newcomers = newcomers.unwrap_or(false);
        if sourcing.at_send && within.newcomers == Some(true) {
            form.wrong("audience", "newcomers goes with resolve at_submit: at_send reads all then");
        }
    } else if at_send == Some(true) || newcomers == Some(true) {
        let detail = "resolve and newcomers go with an audience that is read: url, followers, tag \
                      or notice";
        form.wrong("audience", detail);
    }
    audience
}

fn within(inner: &mut Form<'_>) -> (Audience, When) {
    let stream = inner.flag("stream");
    inner.also("stream", json!({"description": "recipients come later, as lines"}));
    let openids = inner.texts_or_objects(
        "openids",
        limits::INLINE_RECIPIENTS,
        (recipient::OPENID_NAME, Recipient::NAME),
        |openid| Recipient { openid, data: BTreeMap::new() },
        Recipient::fields,
    );
    let url = inner.text("url", limits::URL_BYTES);
    inner.also(
        "url",
        json!({"description": "answers {\"items\": […], \"next\": …}, NDJSON, or CSV with a header"}),
    );
    if let Some(url) = &url
        && !url.starts_with("http://")
        && !url.starts_with("https://")
    {
        inner.wrong("url", "an address begins with https:// or http://");
    }
    let followers = inner.flag("followers");
    inner.also("followers", json!({"description": "all who follow the account"}));
    let tag = inner.whole("tag", 0..=u64::from(u32::MAX));
    inner.also("tag", json!({"description": "those of them with this tag at WeChat"}));
    let earlier = earlier(inner);
    let when = When::read(inner);
    let mut given = Vec::new();
    given.extend(openids.is_some().then_some("openids"));
    given.extend((stream == Some(true)).then_some("stream"));
    given.extend(url.is_some().then_some("url"));
    given.extend((followers == Some(true)).then_some("followers"));
    given.extend(tag.is_some().then_some("tag"));
    given.extend(earlier.is_some().then_some("notice"));
    if let [first, second, ..] = given.as_slice() {
        inner.wrong(second, format!("give {first} or {second}, not both"));
    }
    let said_no = stream == Some(false) || followers == Some(false);
    if given.is_empty() && said_no && !inner.has_errors() {
        inner.wrong_here(format!("give {AUDIENCES}"));
    }
    let tag = tag.map(|tag| Source::Tag(u32::try_from(tag).unwrap_or(u32::MAX)));
    let followers = (followers == Some(true)).then_some(Source::Followers);
    let source = url.map(Source::Url).or(followers).or(tag).or(earlier);
    let audience = match source {
        Some(source) => Audience::Source(Sourcing { source, at_send: false, newcomers: false }),
        None if stream == Some(true) => Audience::Stream,
        None => Audience::Inline(openids.unwrap_or_default()),
    };
    (audience, when)
}

/// Those of an earlier notice.
fn earlier(inner: &mut Form<'_>) -> Option<Source> {
    let notice = inner.id::<Id>("notice");
    inner.also("notice", json!({"description": "those of an earlier notice of the tenant"}));
    let words = || DeliveryState::ALL.map(DeliveryState::name);
    let schema = || json!({"type": "string", "enum": words()});
    let read = |value: &Json| DeliveryState::of_word(value.as_str()?);
    let wanted = "a state of deliveries, such as refused, skipped or delivered";
    let states = inner.list("states", limits::BATCH_ITEMS, wanted, schema, read);
    let errcode = inner.signed("errcode");
    if notice.is_none() {
        for (name, given) in [("states", states.is_some()), ("errcode", errcode.is_some())] {
            if given && !inner.has_errors() {
                inner.wrong(name, "goes with notice, which is not given");
            }
        }
    }
    let mut states = states.unwrap_or_default();
    states.sort_unstable();
    states.dedup();
    Some(Source::Notice { notice: notice?, states, errcode })
}
