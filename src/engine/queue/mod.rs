//! The queue: tasks, and their consumers.
//!
//! | file | what |
//! |---|---|
//! | `add` | tasks come in, are cancelled and moved; types are paused |
//! | `claim`, `wait` | consumers ask for tasks, and wait for them |
//! | `settle` | what consumers say of them |
//! | `push` | tasks that are brought to their consumer |
//! | `transition` | the one way of a task from one state to another |
//! | `kinds`, `lanes` | types come and go; counts per type and priority |
//! | `payload` | what a task carries |

mod add;
mod claim;
mod kinds;
mod lanes;
pub(super) mod payload;
mod push;
mod settle;
mod transition;
mod wait;

use std::collections::BTreeMap;

use self::lanes::Lanes;
use self::wait::Waiters;
use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::model::task::QueueState;
use crate::store::keys::{self, TypeNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};
use crate::time::Timestamp;

pub use add::is_name;
pub(super) use claim::RequestRow;

/// What the queue remembers beside its rows.
#[derive(Debug, Default)]
pub(super) struct Queue {
    /// Tasks pushed and not answered, by type.
    pushing: BTreeMap<u32, u32>,
    /// Claims that wait for work.
    pub(super) waiters: Waiters,
    /// Types without lanes: when that began.
    kind_seen: BTreeMap<TypeNo, Timestamp>,
    /// Counts per type and priority.
    pub(super) lanes: Lanes,
    /// States of types, as stored.
    pub(super) states: BTreeMap<TypeNo, QueueState>,
}

impl Queue {
    /// Tasks pushed and not yet answered.
    pub(super) fn pushing(&self) -> u32 {
        self.pushing.values().sum()
    }

    /// Forgets a claim that waits.
    pub(super) fn forget_waiter(&mut self, waiter: u64) {
        self.waiters.forget(waiter);
    }

    /// For the end of a group: the counts that it changed.
    pub(super) fn write_counts<K: Kv>(&mut self, tx: &mut Tx<K>) {
        for ((kind, priority), counts) in self.lanes.take_changed() {
            tx.store.write(keys::queue_counts(kind, priority), &counts);
        }
    }

    /// Takes in what was stored.
    pub(in crate::engine) fn load<K: Kv>(&mut self, tx: &mut Tx<K>) -> Result<(), Fault> {
        let mut from = Vec::new();
        loop {
            let page = tx.store.scan(Tree::Counters, &from, &[0xff], Order::Ascending, 1024)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from.clone_from(last);
            from.push(0);
            for (key, value) in &page {
                match (key.split_first(), keys::queue_priority(key)) {
                    (Some((b'q', kind)), Some(priority)) => {
                        let kind = TypeNo(keys::read_u32(kind).unwrap_or_default());
                        let counts = codec::decode(value)?;
                        self.lanes.load((kind, priority), counts, tx.started);
                    }
                    (Some((b'Q', kind)), _) => {
                        let kind = TypeNo(keys::read_u32(kind).unwrap_or_default());
                        self.states.insert(kind, codec::decode(value)?);
                    }
                    _ => {}
                }
            }
        }
    }
}
