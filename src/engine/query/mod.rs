//! Looking at things: bounded pages of JSON, as the admin port gives them out.
//!
//! Lists are paged by an opaque cursor: the key after the last row looked at, in hexadecimal.

mod log;
mod notices;
mod schedules;
mod stats;
mod tasks;

use serde_json::{Map, Value as Json, json};

use super::Engine;
use super::command::{Code, Refusal};
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Key, Kv};
use crate::limits;
use crate::model::delivery::DeliveryState;
use crate::time::Timestamp;

pub use log::LogFilter;
pub use stats::{QueueStats, Stats, TenantStats};

/// What is looked at, as JSON.
#[derive(Debug)]
pub enum View {
    /// A document.
    Json(Json),
    /// Numbers for metrics.
    Stats(Box<Stats>),
}

/// Which part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Rows, 1 to [`limits::PAGE_ITEMS`].
    pub limit: usize,
    /// Where an earlier page ended.
    pub cursor: Option<String>,
}

/// What can be looked at.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Query {
    Notices { tenant: Option<String>, state: Option<String>, page: Page },
    Notice(Id),
    Deliveries { notice: Id, state: Option<DeliveryState>, openid: Option<String>, page: Page },
    Delivery(DeliveryId),
    Log { filter: LogFilter, page: Page },
    Tenants,
    Tasks { kind: Option<String>, state: Option<String>, page: Page },
    Task(Id),
    Queues,
    Dead { kind: Option<String>, page: Page },
    Schedules,
    Runs { schedule: Option<String>, page: Page },
    Run(Id),
    Quarantine(Page),
    Stats,
}

/// Rows that one query may look at before it answers with what it has and a cursor.
pub(in crate::engine) const SCAN_ROWS: usize = 5_000;

impl<K: Kv> Engine<K> {
    pub(super) fn query(
        &mut self,
        now: Timestamp,
        query: Query,
    ) -> Result<Result<View, Refusal>, Fault> {
        let json = match query {
            Query::Notices { tenant, state, page } => {
                self.list_notices(now, tenant, state, &page)?
            }
            Query::Notice(id) => self.show_notice(now, id)?,
            Query::Deliveries { notice, state, openid, page } => {
                self.list_deliveries(notice, state, openid, &page)?
            }
            Query::Delivery(id) => self.show_delivery(id)?,
            Query::Log { filter, page } => self.list_log(&filter, &page)?,
            Query::Tenants => Ok(self.list_tenants(now)?),
            Query::Tasks { kind, state, page } => self.list_tasks(kind, state, &page)?,
            Query::Task(id) => self.show_task(id)?,
            Query::Queues => Ok(self.list_queues(now)?),
            Query::Dead { kind, page } => self.list_dead(kind, &page)?,
            Query::Schedules => Ok(self.list_schedules()?),
            Query::Runs { schedule, page } => self.list_runs(schedule, &page)?,
            Query::Run(id) => self.show_run(id)?,
            Query::Quarantine(page) => self.list_quarantine(&page)?,
            Query::Stats => return Ok(Ok(View::Stats(Box::new(self.stats(now)?)))),
        };
        Ok(json.map(View::Json))
    }
}

/// A document or a no.
type Shown = Result<Json, Refusal>;

/// Reads a cursor back; `start` when there is none.
pub(super) fn cursor(page: &Page, start: Key) -> Result<Key, Refusal> {
    let Some(text) = &page.cursor else { return Ok(start) };
    let nibbles = text.len() % 2 == 0 && text.len() <= 512 && text.is_ascii();
    let bytes: Option<Key> = (0..text.len() / 2)
        .map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    bytes.filter(|_| nibbles).ok_or_else(|| {
        Refusal::field(Code::Invalid, "/cursor", "not a cursor: take the one of the page before")
    })
}

/// A page of rows, with the cursor of the next one if there may be more.
pub(super) fn page_of(items: Vec<Json>, next: Option<Key>) -> Json {
    let mut page = Map::new();
    page.insert("items".to_owned(), Json::Array(items));
    if let Some(next) = next {
        let text: String = next.iter().map(|byte| format!("{byte:02x}")).collect();
        page.insert("cursor".to_owned(), Json::String(text));
    }
    Json::Object(page)
}

/// The rows asked for, within bounds.
pub(super) fn limit(page: &Page) -> usize {
    if page.limit == 0 { limits::PAGE_DEFAULT } else { page.limit.min(limits::PAGE_ITEMS) }
}

/// A time, or null.
pub(super) fn time(at: Option<Timestamp>) -> Json {
    at.map_or(Json::Null, |at| json!(at.to_string()))
}

/// The key right after this one.
pub(in crate::engine) fn after(key: &[u8]) -> Key {
    [key, &[0]].concat()
}
