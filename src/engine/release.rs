//! Letting a copy work. What the original did after the copy was made cannot be known here, so by
//! default its unfinished notices wait for a person, one by one.

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use super::command::Reply;
use super::{Decision, Engine, Mode};
use crate::kv::{Fault, Key, Kv, Tree};
use crate::limits;
use crate::model::delivery::DeliveryState;
use crate::model::notice::Notice;
use crate::store::{Order, Record, codec, keys};
use crate::time::Timestamp;

/// What is known of this directory as a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyRow {
    /// When the last commit was made that came with the copy.
    at: Timestamp,
    /// When it was released with what was pending held; pulls that ask for earlier are held too.
    held_until_after: Option<Timestamp>,
    /// Whether it was released.
    released: bool,
}

impl Record for CopyRow {
    const TREE: Tree = Tree::Meta;
}

impl<K: Kv> Engine<K> {
    /// Notes at the start of a held daemon how old the copy is: the first commit of its own hides it.
    pub(super) fn note_copy(&mut self, last: Timestamp) -> Result<(), Fault> {
        if self.mode == Mode::Held && self.copy()?.is_none_or(|row| row.released) {
            let row = CopyRow { at: last, ..CopyRow::default() };
            self.store.write(keys::COPY.to_vec(), &row);
        }
        Ok(())
    }

    fn copy(&self) -> Result<Option<CopyRow>, Fault> {
        self.store.read::<CopyRow>(keys::COPY)
    }

    /// What waits here, and when the last commit of the original was made.
    pub fn pending(&self) -> Result<Json, Fault> {
        let (mut notices, mut deliveries, mut from) = (0_u64, 0_u64, Vec::new());
        loop {
            let page = self.store.scan(Tree::Notices, &from, END, Order::Ascending, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            from = super::query::after(last);
            for (_, value) in &page {
                let notice: Notice = codec::decode(value)?;
                if is_pending(&notice) {
                    notices += 1;
                    deliveries += u64::from(notice.counts.of(DeliveryState::Pending));
                }
            }
        }
        let mut tasks = 0;
        for (_, counts) in self.lanes.from((keys::TypeNo(0), 0)) {
            tasks += counts.pending + counts.claimed;
        }
        let at = self.copy()?.map(|row| row.at.to_string());
        Ok(json!({
            "notices": notices, "deliveries": deliveries, "tasks": tasks, "last_commit_at": at,
        }))
    }

    /// Pauses unfinished notices from `from` on; the reply says where to go on.
    pub(super) fn hold_pending(&mut self, from: &[u8]) -> Result<Decision, Fault> {
        if self.mode != Mode::Held {
            return Ok(Ok(Reply::Held { next: None }));
        }
        let page = self.store.scan(Tree::Notices, from, END, Order::Ascending, PAGE)?;
        let reason = self.held_reason()?;
        let next: Option<Key> = page.last().map(|(key, _)| super::query::after(key));
        for (key, value) in page {
            let mut notice: Notice = codec::decode(&value)?;
            if is_pending(&notice) && notice.paused.is_none() {
                notice.paused = Some(reason.clone());
                self.store.write(key, &notice);
            }
        }
        Ok(Ok(Reply::Held { next }))
    }

    fn held_reason(&self) -> Result<String, Fault> {
        let at =
            self.copy()?.map_or_else(|| "the copy was made".to_owned(), |row| row.at.to_string());
        Ok(format!(
            "this is a copy: it may have been sent since {at}. Resume it if it was not, else cancel it"
        ))
    }

    /// Lets a held daemon work.
    pub(super) fn release(&mut self, now: Timestamp, held: bool) -> Result<Decision, Fault> {
        if self.mode == Mode::Held {
            if let Some(mut row) = self.copy()? {
                row.released = true;
                row.held_until_after = held.then_some(now);
                self.store.write(keys::COPY.to_vec(), &row);
            }
            self.mode = Mode::Working;
            self.start_schedules(now)?;
        }
        Ok(Ok(Reply::Done))
    }

    /// Why the notices of a pull that asks for what is new since `last_good` come up paused, if they
    /// do: the original may have pulled and sent them.
    pub(super) fn pull_is_held(
        &self,
        last_good: Option<Timestamp>,
    ) -> Result<Option<String>, Fault> {
        let Some(until) = self.copy()?.and_then(|row| row.held_until_after) else {
            return Ok(None);
        };
        if last_good.is_some_and(|at| at >= until) {
            return Ok(None);
        }
        self.held_reason().map(Some)
    }
}

/// Rows looked at in one step: their pauses are one commit.
const PAGE: usize = limits::PAGE_ITEMS;
const END: &[u8] = &[0xff; 9];

fn is_pending(notice: &Notice) -> bool {
    notice.finished.is_none() && !notice.cancelled && !notice.is_forgotten()
}
