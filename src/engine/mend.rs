//! What a clock that was ahead made wait: when the clock goes back, what was wanted at once or failed
//! a minute ago must not wait for a day.
//!
//! It is known by its row: it was added, or failed, at a time that is yet to come. What was asked for
//! by a time of its own keeps it. There may be millions of rows, so they are looked at a step at a
//! time.

use serde::{Deserialize, Serialize};

use crate::engine::Engine;
use crate::engine::outbox::lane;
use crate::engine::timer::Timer;
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Key, Kv};
use crate::model::delivery::{Delivery, Standing};
use crate::model::notice::Notice;
use crate::model::task::{self, Task};
use crate::store::keys::{self, Lane};
use crate::store::schema::{self, Tree};
use crate::store::{Order, Record};
use crate::time::Timestamp;

/// Keys looked at in one step.
const STEP_KEYS: usize = 256;
/// Pause between steps, so that commands get their turn.
const STEP_MS: u64 = 1;

/// How far the look has come.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mending {
    /// The next key of the delay tree.
    from: Key,
}

impl Record for Mending {
    const TREE: Tree = Tree::Meta;
}

impl<K: Kv> Engine<K> {
    /// Begins the look, or begins it anew.
    pub(super) fn mend_pauses(&mut self, now: Timestamp) {
        self.tx.store.write(schema::MENDING.to_vec(), &Mending { from: keys::first_pause() });
        self.tx.set_timer(now, &Timer::Mend);
    }

    /// The next step of the look.
    pub(super) fn mend_step(&mut self, now: Timestamp) -> Result<(), Fault> {
        let Some(Mending { from }) = self.tx.store.read::<Mending>(schema::MENDING)? else {
            return Ok(());
        };
        let end = keys::after_pauses();
        let page = self.tx.store.scan(Tree::Delay, &from, &end, Order::Ascending, STEP_KEYS)?;
        for (key, _) in &page {
            match keys::read_pause(key) {
                Some((Lane::Notice(tenant, notice), due, item)) if due > now => {
                    if let Some(number) = keys::read_u32(item) {
                        let id = DeliveryId { notice, number };
                        let row = keys::delivery(tenant, id);
                        if let Some(delivery) = self.tx.store.read::<Delivery>(&row)? {
                            self.mend_delivery(now, id, delivery)?;
                        }
                    }
                }
                Some((Lane::Queue(..), due, item)) if due > now => {
                    let id = keys::read_id(item).unwrap_or(Id(0));
                    if let Some(task) = self.tx.store.read::<Task>(&keys::id(id))? {
                        self.mend_task(now, task)?;
                    }
                }
                _ => {}
            }
        }
        if let Some((last, _)) = page.last() {
            let from = keys::after(last);
            self.tx.store.write(schema::MENDING.to_vec(), &Mending { from });
            self.tx.set_timer(now.plus(STEP_MS), &Timer::Mend);
        } else {
            self.tx.store.delete(Tree::Meta, schema::MENDING);
        }
        Ok(())
    }

    fn mend_delivery(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        mut delivery: Delivery,
    ) -> Result<(), Fault> {
        let Standing::Pending { due } = delivery.standing() else { return Ok(()) };
        let Some(mut notice) = self.tx.store.read::<Notice>(&keys::id(id.notice))? else {
            return Ok(());
        };
        let due = match delivery.attempt {
            // Its notice has begun, so there is nothing that it would wait for.
            0 if notice.started => now,
            0 => return Ok(()),
            _ if delivery.changed > now => now.plus(due.since(delivery.changed)),
            _ => return Ok(()),
        };
        delivery.changed = delivery.changed.min(now);
        self.outbox.postpone(&mut self.tx, id, &notice, &mut delivery, due);
        lane::refile(&mut self.tx, &mut notice)?;
        self.tx.store.write(keys::id(notice.id), &notice);
        Ok(())
    }

    fn mend_task(&mut self, now: Timestamp, task: Task) -> Result<(), Fault> {
        let task::Standing::Pending { due } = task.standing() else { return Ok(()) };
        let ended = task.history.last().and_then(|last| last.ended.as_ref());
        let due = match ended {
            Some((ended, _)) if *ended > now => now.plus(due.since(*ended)),
            // Added without a time of its own.
            None if task.added > now && due == task.added => now,
            _ => return Ok(()),
        };
        let reason = task.reason.clone();
        self.queue.requeue(&mut self.tx, task, due, reason)
    }
}
