//! Letting a copy work. What the original did after the copy was made cannot be known here, so by
//! default its unfinished notices wait for a person, one by one.

use crate::engine::command::Reply;
use crate::engine::mode::Mode;
use crate::engine::tx::Decision;
use crate::engine::view::{At, Waiting};
use crate::engine::{Engine, copy, schedule};
use crate::kv::{Fault, Key, Kv};
use crate::limits;
use crate::model::delivery::DeliveryState;
use crate::model::notice::Notice;
use crate::store::schema::{self, Tree};
use crate::store::{Order, codec, keys};
use crate::time::Timestamp;

impl<K: Kv> Engine<K> {
    /// What waits here, and when the last commit of the original was made.
    pub fn pending(&self) -> Result<Waiting, Fault> {
        let (mut notices, mut deliveries, mut from) = (0_u64, 0_u64, Vec::new());
        loop {
            let page = self.tx.store.scan(Tree::Notices, &from, END, Order::Ascending, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            from = keys::after(last);
            for (_, value) in &page {
                let notice: Notice = codec::decode(value)?;
                if is_pending(&notice) {
                    notices += 1;
                    deliveries += u64::from(notice.counts.of(DeliveryState::Pending));
                }
            }
        }
        let mut tasks = 0;
        for (_, counts) in self.queue.lanes.from((keys::TypeNo(0), 0)) {
            tasks += counts.pending + counts.claimed;
        }
        let at = copy::copy(&self.tx)?.map(|row| At(row.at));
        Ok(Waiting { notices, deliveries, tasks, last_commit_at: at })
    }

    /// Pauses unfinished notices from `from` on; the reply says where to go on.
    pub(super) fn hold_pending(&mut self, from: &[u8]) -> Result<Decision, Fault> {
        if self.tx.mode != Mode::Held {
            return Ok(Ok(Reply::Held { next: None }));
        }
        let page = self.tx.store.scan(Tree::Notices, from, END, Order::Ascending, PAGE)?;
        let reason = copy::held_reason(&self.tx)?;
        let next: Option<Key> = page.last().map(|(key, _)| keys::after(key));
        for (key, value) in page {
            let mut notice: Notice = codec::decode(&value)?;
            if is_pending(&notice) && notice.paused.is_none() {
                notice.paused = Some(reason.clone());
                self.tx.store.write(key, &notice);
            }
        }
        Ok(Ok(Reply::Held { next }))
    }

    /// Lets a held daemon work.
    pub(super) fn release(&mut self, now: Timestamp, held: bool) -> Result<Decision, Fault> {
        if self.tx.mode == Mode::Held {
            if let Some(mut row) = copy::copy(&self.tx)? {
                row.released = true;
                row.held_until_after = held.then_some(now);
                self.tx.store.write(schema::COPY.to_vec(), &row);
            }
            self.tx.mode = Mode::Working;
            schedule::start_schedules(&mut self.tx, &mut self.queue)?;
        }
        Ok(Ok(Reply::Done))
    }
}

/// Rows looked at in one step: their pauses are one commit.
const PAGE: usize = limits::PAGE_ITEMS;
const END: &[u8] = &[0xff; 9];

fn is_pending(notice: &Notice) -> bool {
    notice.finished.is_none() && !notice.cancelled && !notice.is_forgotten()
}
