//! Refused notices of pulls: seen, mended, submitted again, forgotten.

use serde_json::{Value as Json, json};

use super::call::{Answer, Call};
use super::no_fields::no_fields;
use super::port::Port;
use super::problem::Problem;
use super::query::Params;
use super::respond;
use crate::api::answers::{Count, Forgotten, ItemError};
use crate::api::bodies::notice::read_pulled;
use crate::api::submitted;
use crate::engine::command::Command;
use crate::engine::query::{DeadKind, Query};
use crate::engine::view::{IdText, View};
use crate::id::Id;
use crate::named::Named;

/// What `GET /v1/dead` asks for. Deliveries in doubt are not dead, but wait for a person as well.
pub(super) fn query(params: &mut Params) -> Query {
    let kind = params.text("type");
    let name = params.text("kind");
    let page = params.page();
    let only = name.as_deref().and_then(DeadKind::of_word);
    if only == Some(DeadKind::InDoubt) {
        if kind.is_some() {
            params.wrong("type", "deliveries in doubt have no type".to_owned());
        }
        return Query::Doubts { tenant: None, notice: None, page };
    }
    if name.is_some() && only.is_none() {
        params.wrong("kind", format!("give {}", DeadKind::words()));
    }
    Query::Dead { kind, only, payload: params.flag("payload"), page }
}

/// `DELETE /v1/dead/{id}`: forgets a refused notice.
pub(super) async fn forget(port: &Port, call: Call<'_>) -> Answer {
    let id: Id = call.named(0, "dead letter")?;
    no_fields(port, call).await?;
    port.call(Command::DropLetter(id)).await?;
    Ok(respond::ok(&Forgotten { id: IdText(id), forgotten: true }))
}

/// Submits refused notices again, as they are or mended, and forgets those that are taken.
pub(super) async fn redrive(
    port: &Port,
    letters: Vec<Id>,
    mended: Option<String>,
    dry_run: bool,
) -> Answer {
    let (mut count, mut errors) = (0, Vec::new());
    let mut first = None;
    for id in letters {
        match redrive_notice(port, id, mended.as_deref(), dry_run).await {
            Ok(()) => count += 1,
            Err(problem) if problem.status < 500 => {
                let mut error = problem.item();
                error["id"] = json!(id.to_string());
                errors.push(ItemError(error));
                first.get_or_insert(problem.detail);
            }
            Err(problem) => return Err(problem),
        }
    }
    if count == 0
        && let Some(first) = first
    {
        let items: Vec<Json> = errors.into_iter().map(|error| error.0).collect();
        return Err(Problem::new(422, "still_refused", first).with("items", items));
    }
    Ok(respond::ok(&Count { count, dry_run, more: false, errors: Some(errors) }))
}

async fn redrive_notice(
    port: &Port,
    id: Id,
    mended: Option<&str>,
    dry_run: bool,
) -> Result<(), Problem> {
    let View::Letter(letter) = port.look(Query::Letter(id)).await? else {
        return Err(Problem::unexpected());
    };
    let text = mended.unwrap_or_else(|| letter.body.text());
    let mut body = submitted::tree(text)?;
    if let Some(fields) = body.as_object_mut() {
        fields.entry("tenant").or_insert_with(|| json!(letter.tenant));
    }
    let mut draft = read_pulled(&body).map_err(|reason| Problem::new(422, "invalid", reason))?;
    // Sent twice under one letter, it is one notice.
    draft.key.get_or_insert_with(|| format!("letter:{id}"));
    if dry_run {
        return Ok(());
    }
    port.call(Command::SubmitNotice(Box::new(draft))).await?;
    port.call(Command::DropLetter(id)).await?;
    Ok(())
}
