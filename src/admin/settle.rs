//! Settling claimed tasks: one by one and many at once.

use serde_json::Value as Json;

use super::body;
use super::call::{Answer, Call};
use super::claim::ttl_range;
use super::form::{self, Form};
use super::port::Port;
use super::problem::{FieldError, Problem};
use super::respond;
use super::tasks::{Told, explain, or_empty, push_error, text, too_many};
use super::wire::{self, AckIn, AckItem, SettleIn};
use crate::engine::command::{Command, Reply, Settled, Settlement, Verdict};
use crate::id::Id;
use crate::limits;
use crate::time::DAY_MS;

/// The longest delay that a nack may ask for: a year.
const DELAY_MAX_MS: u64 = 366 * DAY_MS;
/// Longest reason that is read; [`limits::TEXT_BYTES`] of it are kept.
const REASON_BYTES: usize = 64 * 1024;
/// Claim tokens are short.
const CLAIM_BYTES: usize = limits::NAME_BYTES * 2;

/// What a consumer may say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Ack,
    Nack,
    Reject,
    Extend,
}

/// `POST /v1/tasks/{id}/ack`, `nack`, `reject` and `extend`.
pub(super) async fn one(port: &Port, call: Call<'_>, outcome: Outcome) -> Answer {
    let task = form::id("task", call.id(0))?;
    let bytes = body::json_bytes(port, &call.head.headers, call.body).await?;
    let text = or_empty(text(&bytes)?);
    let (claim, verdict) = match outcome {
        Outcome::Ack => {
            let read: Result<AckIn, _> = serde_json::from_str(text);
            let ack = read.map_err(|error| explain(text, &error, check_ack))?;
            (ack.claim, Verdict::Ack)
        }
        Outcome::Nack | Outcome::Reject | Outcome::Extend => {
            let mut form = Form::new(body::parse(text.as_bytes())?, "");
            let claim = form.must_text("claim", CLAIM_BYTES);
            let verdict = verdict(&mut form, outcome);
            let errors = form.finish();
            if !errors.is_empty() {
                return Err(Problem::fields(errors));
            }
            (claim, verdict)
        }
    };
    let extends = matches!(verdict, Verdict::Extend { .. });
    let settlement = Settlement { task, claim, verdict };
    let Reply::Settled(verdicts) = port.call(Command::Settle(vec![settlement])).await? else {
        return Err(Problem::unexpected());
    };
    let settled = verdicts.into_iter().next().ok_or_else(Problem::unexpected)??;
    let mut out = String::with_capacity(96);
    push_settled(&mut out, task, settled, extends);
    Ok(respond::raw(out))
}

fn check_ack(form: &mut Form) {
    form.must_text("claim", CLAIM_BYTES);
}

/// Reads the fields of a verdict.
fn verdict(form: &mut Form, outcome: Outcome) -> Verdict {
    match outcome {
        Outcome::Ack => Verdict::Ack,
        Outcome::Nack => Verdict::Nack {
            delay_ms: form.whole("delay_ms", 0..=DELAY_MAX_MS),
            reason: form.text("reason", REASON_BYTES),
        },
        Outcome::Reject => Verdict::Reject { reason: form.text("reason", REASON_BYTES) },
        Outcome::Extend => Verdict::Extend { ttl_ms: form.whole("ttl_ms", ttl_range()) },
    }
}

fn push_settled(out: &mut String, id: Id, settled: Settled, extends: bool) {
    out.push('{');
    wire::push_plain(out, "id", id);
    wire::push_plain(out, "state", settled.state);
    if let Some(at) = settled.at {
        wire::push_plain(out, if extends { "until" } else { "due" }, at);
    }
    wire::close(out);
}

/// `POST /v1/tasks/settle`.
pub(super) async fn many(port: &Port, call: Call<'_>) -> Answer {
    let bytes = body::json_bytes(port, &call.head.headers, call.body).await?;
    let items = body::off(port, bytes, |bytes| items(text(bytes)?)).await?;
    let mut told: Vec<(Option<Id>, bool, Option<Box<Problem>>)> = Vec::with_capacity(items.len());
    let mut good = Vec::with_capacity(items.len());
    for item in items {
        match item {
            Ok(item) => {
                let extends = matches!(item.verdict, Verdict::Extend { .. });
                told.push((Some(item.task), extends, None));
                good.push(item);
            }
            Err((id, problem)) => told.push((id, false, Some(problem))),
        }
    }
    let verdicts = if good.is_empty() {
        Vec::new()
    } else {
        match port.call(Command::Settle(good)).await? {
            Reply::Settled(verdicts) => verdicts,
            _ => return Err(Problem::unexpected()),
        }
    };
    let mut verdicts = verdicts.into_iter();
    let mut fields = Told::default();
    let mut out = String::with_capacity(16 + 64 * told.len());
    out.push_str("{\"items\":[");
    for (at, (id, extends, problem)) in told.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        let verdict = match problem {
            Some(problem) => Err(*problem),
            None => verdicts.next().ok_or_else(Problem::unexpected)?.map_err(Problem::from),
        };
        match (verdict, id) {
            (Ok(settled), Some(id)) => push_settled(&mut out, id, settled, extends),
            (Ok(_), None) => return Err(Problem::unexpected()),
            (Err(problem), id) => push_refused(&mut out, at, id, fields.cut(problem)),
        }
    }
    out.push_str("]}");
    Ok(respond::raw(out))
}

fn push_refused(out: &mut String, at: usize, id: Option<Id>, problem: Problem) {
    let problem = problem.below(&format!("/items/{at}"));
    match id {
        Some(id) => {
            let item = serde_json::json!({"id": id.to_string(), "error": problem.item()});
            out.push_str(&item.to_string());
        }
        None => push_error(out, &problem),
    }
}

/// One settlement, or why it is none.
type Item = Result<Settlement, (Option<Id>, Box<Problem>)>;

/// The items of a batch: counted first, then read one by one.
fn items(text: &str) -> Result<Vec<Item>, Problem> {
    let batch: SettleIn<'_> =
        serde_json::from_str(text).map_err(|error| explain(text, &error, check_settle))?;
    if batch.items.count > limits::BATCH_ITEMS {
        return Err(too_many(batch.items.count));
    }
    Ok(batch
        .items
        .kept
        .into_iter()
        .map(|text| ack(text.get()).unwrap_or_else(|| mixed(text.get())))
        .collect())
}

fn check_settle(form: &mut Form) {
    form.must("items");
    form.list("items", "a settlement", |item| item.is_object().then_some(()));
}

/// The fast path: a well-formed ack.
fn ack(text: &str) -> Option<Item> {
    let item: AckItem<'_> = serde_json::from_str(text).ok()?;
    let task = item.id.parse().ok().filter(|_| item.ack)?;
    Some(Ok(Settlement { task, claim: item.claim, verdict: Verdict::Ack }))
}

fn mixed(text: &str) -> Item {
    item(body::parse(text.as_bytes()).map_err(|problem| (None, Box::new(problem)))?)
}

fn item(value: Json) -> Item {
    let mut form = Form::new(value, "");
    form.must("id");
    let id: Option<Id> = form.id("id");
    let claim = form.must_text("claim", CLAIM_BYTES);
    let mut verdicts = Vec::new();
    if let Some(yes) = form.flag("ack") {
        if yes {
            verdicts.push(Verdict::Ack);
        } else {
            form.wrong("ack", "true, or leave it out");
        }
    }
    for (name, outcome) in
        [("nack", Outcome::Nack), ("reject", Outcome::Reject), ("extend", Outcome::Extend)]
    {
        let Some(value) = form.value(name) else { continue };
        // `true` is as good as an empty object.
        let value =
            if value == Json::Bool(true) { Json::Object(Default::default()) } else { value };
        let mut inner = Form::new(value, &form.pointer(name));
        verdicts.push(verdict(&mut inner, outcome));
        form.absorb(inner.finish());
    }
    let mut errors = form.finish();
    if verdicts.len() != 1 && errors.is_empty() {
        errors.push(FieldError::new("", "give exactly one of ack, nack, reject, extend"));
    }
    match (id, verdicts.pop()) {
        (Some(task), Some(verdict)) if errors.is_empty() => Ok(Settlement { task, claim, verdict }),
        (id, _) => Err((id, Box::new(Problem::fields(errors)))),
    }
}
