//! Submitting notices, and what operators do to them.

use std::collections::{BTreeMap, HashSet};

use hyper::{HeaderMap, StatusCode};
use serde_json::{Value as Json, json};

use super::body;
use super::call::{Answer, Call};
use super::form::{self, Form, kind_of};
use super::port::Port;
use super::problem::{FieldError, Problem};
use super::respond;
use crate::engine::command::{Act, Audience, Command, NoticeDraft, Recipient, Reply};
use crate::engine::query::{Page, Query};
use crate::id::{DeliveryId, Id};
use crate::limits;
use crate::model::delivery::{DeliveryState, Resolution};
use crate::model::message::json_bytes;
use crate::model::notice::{InDoubt, Miniprogram};

/// `POST /v1/notices`.
pub(super) async fn submit(port: &Port, call: Call<'_>) -> Answer {
    let headers = call.head.headers;
    let bytes = body::json_bytes(port, &headers, call.body).await?;
    let draft = body::off(port, bytes, move |bytes| keyed(body::tree(bytes)?, &headers)).await?;
    let named = named(&draft.audience);
    let reply = port.call(Command::SubmitNotice(Box::new(draft))).await?;
    let Reply::Notice { id, state, created } = reply else { return Err(Problem::unexpected()) };
    let status = if created { StatusCode::ACCEPTED } else { StatusCode::OK };
    let mut answer = json!({"id": id.to_string(), "state": state, "created": created});
    if let Some((recipients, duplicates)) = named {
        answer["recipients"] = json!(recipients);
        answer["duplicates"] = json!(duplicates);
    }
    Ok(respond::json(status, &answer))
}

/// How many recipients are named in the notice itself, and how often one is named again: each gets one
/// message.
fn named(audience: &Audience) -> Option<(usize, usize)> {
    let Audience::Inline(recipients) = audience else { return None };
    let different: HashSet<&str> = recipients.iter().map(|one| one.openid.as_str()).collect();
    Some((different.len(), recipients.len() - different.len()))
}

fn keyed(value: Json, headers: &HeaderMap) -> Result<NoticeDraft, Problem> {
    let has_key = headers.contains_key("idempotency-key") || value.get("key").is_some();
    let fingerprint = if has_key { body::fingerprint(&value) } else { 0 };
    let meaning = if has_key { body::meaning(&value) } else { 0 };
    let mut draft = draft(value)?;
    draft.key = body::key(headers, draft.key)?;
    draft.fingerprint = fingerprint;
    draft.meaning = meaning;
    Ok(draft)
}

/// Reads a notice that a business system gave in answer to a pull; in words what is wrong with it.
pub fn read_notice(value: &Json) -> Result<NoticeDraft, String> {
    let mut read = draft(value.clone()).map_err(|problem| problem.detail)?;
    read.fingerprint = body::fingerprint(value);
    read.meaning = body::meaning(value);
    Ok(read)
}

fn draft(value: Json) -> Result<NoticeDraft, Problem> {
    let mut form = Form::new(value, "");
    let draft = NoticeDraft {
        tenant: form.must_text("tenant", limits::NAME_BYTES),
        template: form.must_text("template", limits::NAME_BYTES),
        title: form.text("title", limits::TITLE_BYTES),
        data: data(&mut form, limits::NOTICE_DATA_BYTES),
        url: url(&mut form),
        miniprogram: miniprogram(&mut form),
        audience: audience(&mut form),
        send_at: form.time("send_at"),
        expires_at: form.time("expires_at"),
        in_doubt: in_doubt(&mut form),
        key: form.text("key", limits::KEY_BYTES),
        paused: None,
        seen_since: None,
        replace: form.flag("replace").unwrap_or(false),
        fingerprint: 0,
        meaning: 0,
    };
    match form.finish() {
        errors if errors.is_empty() => Ok(draft),
        errors => Err(Problem::fields(errors)),
    }
}

/// Template values: an object of strings.
fn data(form: &mut Form, bytes: usize) -> BTreeMap<String, String> {
    let Some(value) = form.value("data") else { return BTreeMap::new() };
    let Json::Object(fields) = value else {
        let detail = format!("give an object of strings, this is {}", kind_of(&value));
        form.wrong("data", detail);
        return BTreeMap::new();
    };
    let (mut data, mut errors) = (BTreeMap::new(), Vec::new());
    for (name, value) in fields {
        if errors.len() >= limits::ERRORS {
            break;
        }
        match value {
            Json::String(text) => {
                data.insert(name, text);
            }
            other => errors.push(FieldError::new(
                format!("{}/{}", form.pointer("data"), crate::text::cut(&name, 80)),
                value_hint(&name, &other),
            )),
        }
    }
    form.absorb(errors);
    let size = json_bytes(&data);
    if size > bytes {
        form.wrong("data", format!("{size} bytes as JSON, {bytes} are allowed"));
    }
    data
}

fn value_hint(name: &str, value: &Json) -> String {
    let name = crate::text::cut(name, 80);
    match value {
        Json::Object(inner) if inner.contains_key("value") => {
            format!("give the text itself, without the \"value\" around it: {{{name:?}: \"…\"}}")
        }
        Json::Number(_) | Json::Bool(_) => {
            format!("values are strings: write {{{name:?}: \"{value}\"}}")
        }
        other => format!("values are strings, this is {}", kind_of(other)),
    }
}

fn url(form: &mut Form) -> Option<String> {
    let url = form.text("url", limits::URL_BYTES)?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        form.wrong("url", "an address begins with https:// or http://");
    }
    Some(url)
}

fn miniprogram(form: &mut Form) -> Option<Miniprogram> {
    let value = form.value("miniprogram")?;
    let mut inner = Form::new(value, &form.pointer("miniprogram"));
    let found = Miniprogram {
        appid: inner.must_text("appid", limits::NAME_BYTES),
        pagepath: inner.text("pagepath", limits::URL_BYTES).unwrap_or_default(),
    };
    form.absorb(inner.finish());
    Some(found)
}

fn in_doubt(form: &mut Form) -> InDoubt {
    match form.text("in_doubt", limits::NAME_BYTES).as_deref() {
        None | Some("hold") => InDoubt::Hold,
        Some("resend") => InDoubt::Resend,
        Some(_) => {
            form.wrong(
                "in_doubt",
                "hold (an operator decides) or resend (rather twice than never)",
            );
            InDoubt::Hold
        }
    }
}

const AUDIENCES: &str = "{\"openids\": [\"o…\", {\"openid\": \"o…\", \"data\": {…}}]} or \
                         {\"stream\": true}";

fn audience(form: &mut Form) -> Audience {
    form.must("audience");
    let Some(value) = form.value("audience") else { return Audience::default() };
    let mut inner = Form::new(value, &form.pointer("audience"));
    for name in ["source", "tag", "followers"] {
        if inner.any(name).is_some() {
            inner.wrong(name, format!("not supported yet; supported: {AUDIENCES}"));
        }
    }
    let stream = inner.flag("stream");
    let openids = inner.value("openids");
    let audience = match (stream, openids) {
        (Some(true), None) => Audience::Stream,
        (Some(true), Some(_)) => {
            inner.wrong("stream", "give openids or stream, not both");
            Audience::Stream
        }
        (None | Some(false), Some(Json::Array(items))) => {
            Audience::Inline(recipients(&mut inner, items))
        }
        (None | Some(false), Some(other)) => {
            inner.wrong("openids", format!("give an array, this is {}", kind_of(&other)));
            Audience::default()
        }
        (None | Some(false), None) => Audience::default(),
    };
    let errors = inner.finish();
    let nothing = matches!(&audience, Audience::Inline(found) if found.is_empty());
    if errors.is_empty() && nothing && stream == Some(false) {
        form.wrong("audience", format!("give {AUDIENCES}"));
    }
    form.absorb(errors);
    audience
}

fn recipients(form: &mut Form, items: Vec<Json>) -> Vec<Recipient> {
    let at = form.pointer("openids");
    if items.len() > limits::INLINE_RECIPIENTS {
        let (count, most) = (items.len(), limits::INLINE_RECIPIENTS);
        form.wrong("openids", format!("{count} recipients, {most} are allowed: stream more"));
        return Vec::new();
    }
    let mut found = Vec::with_capacity(items.len());
    let mut errors = Vec::new();
    for (number, item) in items.into_iter().enumerate() {
        let pointer = format!("{at}/{number}");
        match item {
            Json::String(openid) => {
                found.push(Recipient { openid, data: BTreeMap::new() });
            }
            Json::Object(_) => {
                let mut inner = Form::new(item, &pointer);
                let openid = inner.must_text("openid", limits::OPENID_BYTES);
                found.push(Recipient { openid, data: data(&mut inner, limits::OVERRIDE_BYTES) });
                errors.extend(inner.finish());
            }
            other => {
                let detail = format!("give an openid, this is {}", kind_of(&other));
                errors.push(FieldError::new(pointer, detail));
            }
        }
        // A list of the wrong kind would be refused line by line for pages.
        if errors.len() >= limits::ERRORS {
            break;
        }
    }
    form.absorb(errors);
    found
}

/// An act that needs no more than its name.
pub(super) async fn act(port: &Port, call: Call<'_>, act: Act) -> Answer {
    let notice = form::id("notice", call.id(0))?;
    let value = body::json(port, &call.head.headers, call.body).await?;
    let errors = Form::new(value, "").finish();
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    let holds = matches!(act, Act::Pause | Act::Cancel);
    let Reply::Notice { id, state, .. } = port.call(Command::Act { notice, act }).await? else {
        return Err(Problem::unexpected());
    };
    let mut answer = json!({"id": id.to_string(), "state": state});
    if holds {
        // What is on the wire cannot be called back.
        let shown = port.look(Query::Notice(id)).await?;
        answer["in_flight"] = shown["counts"]["sending"].clone();
    }
    Ok(respond::ok(&answer))
}

/// States that a resend may take; `in_doubt` only when it is asked for by name.
const RESENDABLE: [DeliveryState; 4] =
    [DeliveryState::Refused, DeliveryState::Dead, DeliveryState::Skipped, DeliveryState::InDoubt];

/// `POST /v1/notices/{id}/resend`.
pub(super) async fn resend(port: &Port, call: Call<'_>) -> Answer {
    let notice = form::id("notice", call.id(0))?;
    let value = body::json(port, &call.head.headers, call.body).await?;
    let mut form = Form::new(value, "");
    let read = |value: &Json| {
        DeliveryState::from_name(value.as_str()?).filter(|state| RESENDABLE.contains(state))
    };
    let states = form.list("states", "refused, dead, skipped or in_doubt", read);
    let states = states.unwrap_or_else(|| vec![DeliveryState::Refused, DeliveryState::Dead]);
    let errcode = form.signed("errcode");
    let dry_run = form.flag("dry_run").unwrap_or(false);
    let errors = form.finish();
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    if states.is_empty() {
        return Err(Problem::field("/states", "name at least one state, or leave it out"));
    }
    if states.len() > RESENDABLE.len() {
        return Err(Problem::field("/states", "name each state once"));
    }
    let count = count(port, notice, &states, errcode).await?;
    if dry_run {
        let answer = json!({"id": notice.to_string(), "count": count, "dry_run": true});
        return Ok(respond::ok(&answer));
    }
    let command = Command::Act { notice, act: Act::Resend { states, errcode } };
    let Reply::Notice { id, state, .. } = port.call(command).await? else {
        return Err(Problem::unexpected());
    };
    Ok(respond::ok(&json!({"id": id.to_string(), "state": state, "count": count})))
}

/// How many deliveries a resend would take.
async fn count(
    port: &Port,
    notice: Id,
    states: &[DeliveryState],
    errcode: Option<i64>,
) -> Result<u64, Problem> {
    let (mut count, mut cursor) = (0, None);
    loop {
        let page = Page { limit: 0, cursor };
        let states = states.to_vec();
        let found = port.look(Query::Count { notice, states, errcode, page }).await?;
        count += found["count"].as_u64().unwrap_or(0);
        cursor = found["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            return Ok(count);
        }
    }
}

/// `POST /v1/deliveries/{id}/resolve`.
pub(super) async fn resolve(port: &Port, call: Call<'_>) -> Answer {
    let delivery: DeliveryId = form::path_id("delivery", call.id(0))?;
    let value = body::json(port, &call.head.headers, call.body).await?;
    let mut form = Form::new(value, "");
    let resolution = match form.must_text("as", limits::NAME_BYTES).as_str() {
        "accepted" => Some(Resolution::Accepted),
        "resend" => Some(Resolution::Resend),
        "refused" => Some(Resolution::Refused),
        _ => None,
    };
    let mut errors = form.finish();
    let Some(resolution) = resolution.filter(|_| errors.is_empty()) else {
        if errors.is_empty() {
            errors.push(FieldError::new("/as", "accepted, resend or refused"));
        }
        return Err(Problem::fields(errors));
    };
    port.call(Command::Resolve { delivery, resolution }).await?;
    Ok(respond::raw(port.text(Query::Delivery(delivery)).await?))
}

/// `POST /v1/tenants/{tenant}/test`: a notice to one recipient.
pub(super) async fn test(port: &Port, call: Call<'_>) -> Answer {
    let tenant = call.id(0).to_owned();
    let value = body::json(port, &call.head.headers, call.body).await?;
    let mut form = Form::new(value, "");
    let openid = form.must_text("openid", limits::OPENID_BYTES);
    let draft = NoticeDraft {
        tenant,
        template: form.must_text("template", limits::NAME_BYTES),
        title: Some("test".to_owned()),
        data: data(&mut form, limits::NOTICE_DATA_BYTES),
        url: url(&mut form),
        miniprogram: miniprogram(&mut form),
        audience: Audience::Inline(vec![Recipient { openid, data: BTreeMap::new() }]),
        ..NoticeDraft::default()
    };
    let errors = form.finish();
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    let reply = port.call(Command::SubmitNotice(Box::new(draft))).await?;
    let Reply::Notice { id, state, .. } = reply else { return Err(Problem::unexpected()) };
    let delivery = DeliveryId { notice: id, number: 1 };
    let answer = json!({"id": id.to_string(), "state": state, "delivery": delivery.to_string()});
    Ok(respond::json(StatusCode::ACCEPTED, &answer))
}
