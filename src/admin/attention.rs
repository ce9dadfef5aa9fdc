//! `GET /v1/attention`: what needs a person, from the engine and from the daemon around it.

use super::Status;
use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::respond;
use crate::api::answers::AttentionRow;
use crate::engine::attention::Attention;
use crate::engine::command::{Command, Reply};
use crate::engine::query::{self, Query};
use crate::engine::view::{Listed, View};
use crate::mailbox::{CallError, Mailbox};

/// The whole list: the daemon's own rows, then the engine's. A standby has only the first.
pub async fn gather(
    mailbox: Option<&Mailbox>,
    status: &dyn Status,
) -> Result<Attention, CallError> {
    let mut rows = status.concerns();
    let Some(mailbox) = mailbox else { return Ok(Attention { rows, ..Attention::default() }) };
    let mut found = match mailbox.call(Command::Query(Query::Attention)).await? {
        Reply::View(view) => match *view {
            View::Attention(found) => found,
            _ => Attention::default(),
        },
        _ => Attention::default(),
    };
    rows.append(&mut found.rows);
    rows.sort_by_key(|row| row.kind);
    Ok(Attention { rows, ..found })
}

/// `GET /v1/attention`.
pub(super) async fn show(port: &Port, call: Call<'_>) -> Answer {
    let mut params = call.query();
    let page = params.page();
    // The list is computed anew for each page: a place in it is all that a cursor can be.
    let from = page.cursor.as_deref().map(|cursor| usize::from_str_radix(cursor, 16));
    let from = from.transpose().unwrap_or_else(|_| {
        params.wrong("cursor", "not a cursor: take the one of the page before".to_owned());
        None
    });
    params.finish()?;
    let found = gather(port.ports.mailbox.as_ref(), &*port.ports.status).await;
    let rows = found.map_err(Problem::from)?.rows;
    let (from, limit) = (from.unwrap_or(0), query::limit(&page));
    let end = from.saturating_add(limit).min(rows.len());
    let cursor = (end < rows.len()).then(|| format!("{end:08x}"));
    let items = rows.into_iter().take(end).skip(from).map(AttentionRow::from).collect();
    Ok(respond::ok(&Listed { items, cursor }))
}
