//! Submitting notices, and what operators do to them.

use std::collections::HashSet;

use hyper::{HeaderMap, StatusCode};

use super::body;
use super::call::{Answer, Call};
use super::no_fields::no_fields;
use super::port::{Port, view};
use super::problem::Problem;
use super::respond;
use crate::api::answers::{
    ItemError, NoticeState, Submission, Submitted, SubmittedMany, SubmittedOne, Tested, TriedMany,
};
use crate::api::bodies::notice::{Resend, Resolve, Test};
use crate::api::{form, submitted};
use crate::engine::command::{Act, Audience, Command, NoticeDraft, NoticePatch, Reply};
use crate::engine::query::{Page, Query};
use crate::engine::view::{DeliveryText, DryRunView, IdText, View};
use crate::id::{DeliveryId, Id};
use crate::model::delivery::DeliveryState;
use crate::model::templates::remarks;

/// `POST /v1/notices`.
pub(super) async fn submit(port: &Port, call: Call<'_>) -> Answer {
    let mut params = call.query();
    let dry_run = params.flag("dry_run");
    params.finish()?;
    let headers = call.head.headers;
    let bytes = body::json_bytes(port, &headers, call.body).await?;
    let read = move |bytes: &[u8]| keyed(submitted::text(bytes)?, &headers);
    let draft = body::off(port, bytes, read).await?;
    let tenants = draft.tenants.clone();
    let of = |tenant: &String| NoticeDraft { tenant: tenant.clone(), ..draft.clone() };
    if dry_run {
        if tenants.is_empty() {
            return Ok(respond::ok(&Submission::Tried(try_out(port, draft).await?)));
        }
        let mut tried = Vec::with_capacity(tenants.len());
        for tenant in &tenants {
            tried.push(try_out(port, of(tenant)).await?);
        }
        return Ok(respond::ok(&Submission::TriedMany(TriedMany { tenants: tried })));
    }
    if tenants.is_empty() {
        let answer = submit_one(port, draft).await?;
        let status = if answer.created { StatusCode::ACCEPTED } else { StatusCode::OK };
        return Ok(respond::json(status, &Submission::One(answer)));
    }
    let mut notices = Vec::with_capacity(tenants.len());
    let mut first = None;
    for tenant in &tenants {
        let (notice, error) = match submit_one(port, of(tenant)).await {
            Ok(notice) => (Some(notice), None),
            Err(problem) => {
                let error = ItemError(problem.item());
                first.get_or_insert(problem);
                (None, Some(error))
            }
        };
        notices.push(SubmittedOne { tenant: tenant.clone(), notice, error });
    }
    // When none was taken it is a refusal like any other.
    if let Some(problem) = first.filter(|_| notices.iter().all(|one| one.notice.is_none())) {
        return Err(problem);
    }
    let created = notices.iter().flat_map(|one| &one.notice).any(|one| one.created);
    let status = if created { StatusCode::ACCEPTED } else { StatusCode::OK };
    Ok(respond::json(status, &Submission::Many(SubmittedMany { notices })))
}

async fn submit_one(port: &Port, draft: NoticeDraft) -> Result<Submitted, Problem> {
    let named = named(&draft.audience);
    let warnings = remarks(&draft.data);
    let reply = port.call(Command::SubmitNotice(Box::new(draft))).await?;
    let Reply::Notice { id, state, created } = reply else { return Err(Problem::unexpected()) };
    let (recipients, duplicates) = named.unzip();
    Ok(Submitted { id: IdText(id), state, created, recipients, duplicates, warnings })
}

async fn try_out(port: &Port, draft: NoticeDraft) -> Result<DryRunView, Problem> {
    match view(port.call(Command::Rehearse(Box::new(draft))).await?)? {
        View::DryRun(view) => Ok(*view),
        _ => Err(Problem::unexpected()),
    }
}

/// How many recipients are named in the notice itself, and how often one is named again: each gets one
/// message.
fn named(audience: &Audience) -> Option<(usize, usize)> {
    let Audience::Inline(recipients) = audience else { return None };
    let different: HashSet<&str> = recipients.iter().map(|one| one.openid.as_str()).collect();
    Some((different.len(), recipients.len() - different.len()))
}

fn keyed(text: &str, headers: &HeaderMap) -> Result<NoticeDraft, Problem> {
    let mut draft: NoticeDraft = form::read(text)?;
    draft.key = body::key(headers, draft.key)?;
    if draft.key.is_some() {
        (draft.fingerprint, draft.meaning) = submitted::known_by(&submitted::tree(text)?);
    }
    Ok(draft)
}

/// An act that needs no more than its name.
pub(super) async fn act(port: &Port, call: Call<'_>, act: Act) -> Answer {
    let notice: Id = call.named(0, "notice")?;
    no_fields(port, call).await?;
    let holds = matches!(act, Act::Pause | Act::Cancel);
    let Reply::Notice { id, state, .. } = port.call(Command::Act { notice, act }).await? else {
        return Err(Problem::unexpected());
    };
    let mut answer = NoticeState { state: Some(state), ..NoticeState::of(id) };
    if holds {
        // What is on the wire cannot be called back.
        let View::Notice(shown) = port.look(Query::Notice(id)).await? else {
            return Err(Problem::unexpected());
        };
        answer.in_flight = Some(shown.counts.sending);
    }
    Ok(respond::ok(&answer))
}

/// `PATCH /v1/notices/{id}`.
pub(super) async fn patch(port: &Port, call: Call<'_>) -> Answer {
    let notice: Id = call.named(0, "notice")?;
    let patch: NoticePatch = body::read(port, &call.head.headers, call.body).await?;
    port.call(Command::Patch { notice, patch: Box::new(patch) }).await?;
    Ok(respond::raw(port.text(Query::Notice(notice)).await?))
}

/// `POST /v1/notices/{id}/resend`.
pub(super) async fn resend(port: &Port, call: Call<'_>) -> Answer {
    let notice: Id = call.named(0, "notice")?;
    let Resend { states, errcode, dry_run } =
        body::read(port, &call.head.headers, call.body).await?;
    let count = Some(count(port, notice, &states, errcode).await?);
    if dry_run {
        let dry_run = Some(true);
        return Ok(respond::ok(&NoticeState { count, dry_run, ..NoticeState::of(notice) }));
    }
    let command = Command::Act { notice, act: Act::Resend { states, errcode } };
    let Reply::Notice { id, state, .. } = port.call(command).await? else {
        return Err(Problem::unexpected());
    };
    Ok(respond::ok(&NoticeState { state: Some(state), count, ..NoticeState::of(id) }))
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
        let query = Query::Count { notice, states, errcode, page };
        let View::Count(found) = port.look(query).await? else {
            return Err(Problem::unexpected());
        };
        count += found.count;
        cursor = found.cursor;
        if cursor.is_none() {
            return Ok(count);
        }
    }
}

/// `POST /v1/deliveries/{id}/resolve`.
pub(super) async fn resolve(port: &Port, call: Call<'_>) -> Answer {
    let delivery: DeliveryId = call.named(0, "delivery")?;
    let Resolve(resolution) = body::read(port, &call.head.headers, call.body).await?;
    let resolution = resolution.ok_or_else(Problem::unexpected)?;
    port.call(Command::Resolve { delivery, resolution }).await?;
    Ok(respond::raw(port.text(Query::Delivery(delivery)).await?))
}

/// `POST /v1/tenants/{tenant}/test`: a notice to one recipient.
pub(super) async fn test(port: &Port, call: Call<'_>) -> Answer {
    let tenant = call.id(0).to_owned();
    let Test(draft) = body::read(port, &call.head.headers, call.body).await?;
    let draft = NoticeDraft { tenant, ..draft };
    let reply = port.call(Command::SubmitNotice(Box::new(draft))).await?;
    let Reply::Notice { id, state, .. } = reply else { return Err(Problem::unexpected()) };
    let delivery = DeliveryText(DeliveryId { notice: id, number: 1 });
    Ok(respond::json(StatusCode::ACCEPTED, &Tested { id: IdText(id), state, delivery }))
}
