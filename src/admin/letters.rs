//! Refused notices of pulls: seen, mended, submitted again, forgotten.

use serde_json::{Value as Json, json};

use super::call::{Answer, Call};
use super::form;
use super::no_fields::no_fields;
use super::port::Port;
use super::problem::Problem;
use super::query::Params;
use super::respond;
use crate::engine::command::Command;
use crate::engine::query::{DeadKind, Query};
use crate::id::Id;

/// What `GET /v1/dead` asks for. Deliveries in doubt are not dead, but wait for a person as well.
pub(super) fn query(params: &mut Params) -> Query {
    let kind = params.text("type");
    let name = params.text("kind");
    let page = params.page();
    if name.as_deref() == Some("in_doubt") {
        if kind.is_some() {
            params.wrong("type", "deliveries in doubt have no type".to_owned());
        }
        return Query::Doubts { tenant: None, notice: None, page };
    }
    let only = name.as_deref().and_then(DeadKind::from_name);
    if name.is_some() && only.is_none() {
        params.wrong("kind", "give task, delivery, notice or in_doubt".to_owned());
    }
    Query::Dead { kind, only, payload: params.flag("payload"), page }
}

/// `DELETE /v1/dead/{id}`: forgets a refused notice.
pub(super) async fn forget(port: &Port, call: Call<'_>) -> Answer {
    let id = form::id("dead letter", call.id(0))?;
    no_fields(port, call).await?;
    port.call(Command::DropLetter(id)).await?;
    Ok(respond::ok(&json!({"id": id.to_string(), "forgotten": true})))
}

/// Submits refused notices again, as they are or mended, and forgets those that are taken.
pub(super) async fn redrive(
    port: &Port,
    letters: Vec<Id>,
    mended: Option<Json>,
    dry_run: bool,
) -> Answer {
    let (mut count, mut errors) = (0, Vec::new());
    for id in letters {
        match redrive_notice(port, id, mended.clone(), dry_run).await {
            Ok(()) => count += 1,
            Err(problem) if problem.status < 500 => {
                let mut error = problem.item();
                error["id"] = json!(id.to_string());
                errors.push(error);
            }
            Err(problem) => return Err(problem),
        }
    }
    if count == 0 && !errors.is_empty() {
        let first = errors[0]["detail"].as_str().unwrap_or_default().to_owned();
        return Err(Problem::new(422, "still_refused", first).with("items", errors));
    }
    Ok(respond::ok(&json!({"count": count, "dry_run": dry_run, "more": false, "errors": errors})))
}

async fn redrive_notice(
    port: &Port,
    id: Id,
    mended: Option<Json>,
    dry_run: bool,
) -> Result<(), Problem> {
    let letter = port.look(Query::Letter(id)).await?;
    let mut body = mended.unwrap_or_else(|| letter["body"].clone());
    if let Some(fields) = body.as_object_mut() {
        fields.entry("tenant").or_insert_with(|| letter["tenant"].clone());
    }
    let mut draft = super::notices::read_notice(&body)
        .map_err(|reason| Problem::new(422, "invalid", reason))?;
    // Sent twice under one letter, it is one notice.
    draft.key.get_or_insert_with(|| format!("letter:{id}"));
    if dry_run {
        return Ok(());
    }
    port.call(Command::SubmitNotice(Box::new(draft))).await?;
    port.call(Command::DropLetter(id)).await?;
    Ok(())
}
