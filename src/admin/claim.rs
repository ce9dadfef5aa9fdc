//! Claiming tasks: typed on the way in, payloads written through on the way out.

use super::body;
use super::call::{Answer, Call};
use super::form::Form;
use super::port::Port;
use super::problem::Problem;
use super::respond;
use super::tasks::{explain, or_empty, text};
use super::wire::{self, ClaimIn};
use crate::engine::command::{ClaimRequest, ClaimedTask, Command, Reply};
use crate::json;
use crate::limits;

/// `POST /v1/tasks/claim`.
pub(super) async fn claim(port: &Port, call: Call<'_>) -> Answer {
    let bytes = body::json_bytes(port, &call.head.headers, call.body).await?;
    let text = or_empty(text(&bytes)?);
    let request: ClaimIn =
        serde_json::from_str(text).map_err(|error| explain(text, &error, check_claim))?;
    let in_bounds = request.max.is_none_or(|max| (1..=limits::CLAIM_ITEMS).contains(&max))
        && request.ttl_ms.is_none_or(|ttl| ttl_range().contains(&ttl))
        && request.wait_ms.is_none_or(|wait| wait <= limits::WAIT_MAX_MS)
        && request.request_id.as_ref().is_none_or(|id| (1..=limits::KEY_BYTES).contains(&id.len()));
    if !in_bounds {
        let value = body::parse(text.as_bytes())?;
        let mut form = Form::new(value, "");
        check_claim(&mut form);
        return Err(Problem::fields(form.finish()));
    }
    check_kind(&request.kind.0)?;
    let command = Command::Claim(ClaimRequest {
        kind: request.kind.0,
        priority: request.priority,
        max: request.max.unwrap_or(1),
        ttl_ms: request.ttl_ms,
        wait_ms: request.wait_ms.unwrap_or(0),
        request: request.request_id,
        worker: request.worker,
    });
    let Reply::Claimed(tasks) = port.call(command).await? else {
        return Err(Problem::unexpected());
    };
    Ok(respond::raw(claimed_json(&tasks)))
}

/// Refuses what can be no task type, before it is given a number of its own.
fn check_kind(kind: &str) -> Result<(), Problem> {
    if crate::engine::is_name(kind) {
        return Ok(());
    }
    let detail = format!("1 to {} letters, digits, - _ .", limits::NAME_BYTES);
    Err(Problem::field("/type", detail))
}

pub(super) fn ttl_range() -> std::ops::RangeInclusive<u64> {
    limits::CLAIM_TTL_MIN_MS..=limits::CLAIM_TTL_MAX_MS
}

fn check_claim(form: &mut Form) {
    form.must("type");
    form.name("type");
    form.whole("priority", 0..=255);
    form.whole("max", 1..=limits::CLAIM_ITEMS as u64);
    form.whole("ttl_ms", ttl_range());
    form.whole("wait_ms", 0..=limits::WAIT_MAX_MS);
    form.text("request_id", limits::KEY_BYTES);
    form.text("worker", limits::TEXT_BYTES);
}

fn claimed_json(tasks: &[ClaimedTask]) -> String {
    let payloads: usize = tasks.iter().map(|task| task.payload.len() + 256).sum();
    let mut out = String::with_capacity(16 + payloads);
    out.push_str("{\"tasks\":[");
    for (at, task) in tasks.iter().enumerate() {
        out.push_str(if at > 0 { ",{" } else { "{" });
        wire::push_plain(&mut out, "id", task.id);
        wire::push_plain(&mut out, "type", &task.kind);
        wire::push_plain(&mut out, "claim", &task.claim);
        wire::push_number(&mut out, "attempt", task.attempt);
        wire::push_plain(&mut out, "due", task.due);
        wire::push_plain(&mut out, "until", task.until);
        wire::push_number(&mut out, "priority", task.priority);
        json::push_member(&mut out, "payload", &task.payload);
        out.push('}');
    }
    out.push_str("]}");
    out
}
