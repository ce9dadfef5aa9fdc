//! Timers that are due: each goes to the part that it is for.

use crate::engine::timer::Timer;
use crate::engine::tx::Ticked;
use crate::engine::{Engine, schedule};
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::store::keys::Lane;
use crate::time::Timestamp;

/// Timers fired in one tick before commands get their turn again.
const TIMERS_PER_TICK: usize = 256;

impl<K: Kv> Engine<K> {
    /// Fires due timers and reports when the next one is due.
    pub(super) fn fire_timers(&mut self, now: Timestamp, ticked: &mut Ticked) -> Result<(), Fault> {
        let mut budget = TIMERS_PER_TICK;
        // A timer that fires may set another one that is due at once: the lane is read again until
        // its first timer is not due.
        while let Some((first, _)) = self.tx.store.delay_first(Lane::Timers, 1)?.pop() {
            if first > now || budget == 0 || self.tx.store.group_bytes() > limits::GROUP_BYTES {
                ticked.wake_at(first);
                return Ok(());
            }
            for (due, item) in self.tx.store.delay_first(Lane::Timers, budget.min(64))? {
                if due > now {
                    break;
                }
                budget -= 1;
                self.tx.store.delay_delete(Lane::Timers, due, &item);
                match Timer::decode(&item) {
                    Some(timer) => self.fire(now, due, timer, ticked)?,
                    None => tracing::error!(event = "timer.unknown", "dropped a timer of no kind"),
                }
            }
        }
        Ok(())
    }

    fn fire(
        &mut self,
        now: Timestamp,
        due: Timestamp,
        timer: Timer,
        ticked: &mut Ticked,
    ) -> Result<(), Fault> {
        match timer {
            Timer::TaskClaim(task) => self.queue.task_claim_ran_out(&mut self.tx, task),
            Timer::DeliveryClaim(_, id) => self.outbox.delivery_claim_ran_out(&mut self.tx, id),
            Timer::NoticeStart(notice) => self.outbox.start_notice(&mut self.tx, notice),
            Timer::NoticeExpiry(notice) => self.outbox.expire_notice(&mut self.tx, notice),
            Timer::Sweep(notice) => self.outbox.sweep_step(&mut self.tx, notice),
            Timer::Schedule(name) => {
                schedule::schedule_ticked(&mut self.tx, &mut self.queue, due, &name, ticked)
            }
            Timer::Prune => {
                self.pruning.prune_step(&mut self.tx, &mut self.outbox, &mut self.queue)
            }
            Timer::Mend => self.mend_step(now),
            Timer::Resolve(notice) => self.outbox.resolve_step(&mut self.tx, self.leads, notice),
            Timer::Canary(notice) => self.outbox.decide_canary(&mut self.tx, notice),
            Timer::EarlyReceipt(key) => self.outbox.receipt_has_waited(&mut self.tx, &key),
        }
    }
}
