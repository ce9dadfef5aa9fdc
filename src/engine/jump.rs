//! What is put right when the wall clock jumps: what rows say of times that are yet to come.

use crate::engine::clock::{ClockTrouble, StepBack};
use crate::engine::outbox::lane;
use crate::engine::timer::Timer;
use crate::engine::{Engine, schedule};
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::delivery::{Delivery, DeliveryState};
use crate::model::notice::Notice;
use crate::model::task::{Standing, Task, TaskState};
use crate::model::tenant::TenantState;
use crate::store::keys::{self, Lane, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};
use crate::time::{MINUTE_MS, Steady, Timestamp};

/// Rows looked at in one step.
const PAGE_ROWS: usize = 1024;

impl<K: Kv> Engine<K> {
    /// Takes a reading of both clocks. To be called before each turn.
    pub fn observe(&mut self, now: Timestamp, steady: Steady) -> Result<(), Fault> {
        self.tx.now = now;
        let back = self.tx.clock.read(now, steady);
        self.mend_step_back(now, back)?;
        if self.tx.clock.is_dirty() {
            self.tx.write_wall();
        }
        Ok(())
    }

    /// Notices when the wall clock went back, as far as it tells by itself.
    pub(super) fn look_at_clock(&mut self, now: Timestamp) -> Result<(), Fault> {
        self.tx.now = now;
        let back = self.tx.clock.look(now);
        self.mend_step_back(now, back)
    }

    /// What went wrong with the wall clock lately, if anything did.
    #[must_use]
    pub fn clock_trouble(&self) -> Option<ClockTrouble> {
        self.tx.clock.trouble()
    }

    /// The latest that the wall clock may have shown to anything in the store.
    #[must_use]
    pub fn latest(&self, now: Timestamp) -> Timestamp {
        self.tx.clock.unwound(now)
    }

    fn mend_step_back(&mut self, now: Timestamp, back: Option<StepBack>) -> Result<(), Fault> {
        let Some(StepBack { visible, wound_ms }) = back else { return Ok(()) };
        if visible {
            schedule::plan_schedules_anew(&mut self.tx)?;
            self.end_rests(now)?;
        }
        self.mend_timers(now, wound_ms, visible)?;
        if visible {
            self.mend_lanes(now)?;
            self.mend_pauses(now);
        }
        self.tx.write_wall();
        Ok(())
    }

    /// A rest that was begun by a clock that was ahead lasts no longer than the longest of its kind.
    fn end_rests(&mut self, now: Timestamp) -> Result<(), Fault> {
        let tenants: Vec<_> = self.tx.names.tenants().map(|(number, _)| number).collect();
        for tenant in tenants {
            let key = keys::tenant_state(tenant);
            let Some(mut state) = self.tx.store.read::<TenantState>(&key)? else { continue };
            let before = state.clone();
            state.hold_until = state.hold_until.min(super::tenants::longest_rest(now, &state));
            state.rate_at_us = state.rate_at_us.min(now.0.saturating_mul(1_000));
            state.pace_at = state.pace_at.min(now);
            state.burst_at = state.burst_at.min(now);
            if state != before {
                self.tx.store.write(key, &state);
            }
        }
        let states: Vec<_> =
            self.queue.states.iter().map(|(kind, state)| (*kind, state.clone())).collect();
        for (kind, mut state) in states {
            // What follows a rest is one push alone, which may well be early.
            if state.rest_until > now {
                state.rest_until = now;
                self.tx.store.write(keys::queue_state(kind), &state);
                self.queue.states.insert(kind, state);
            }
        }
        Ok(())
    }

    /// Timers that were set by a clock that was ahead, and what was on the wire when it went back.
    fn mend_timers(&mut self, now: Timestamp, by_ms: u64, visible: bool) -> Result<(), Fault> {
        let prefix = Lane::Timers.prefix();
        let mut from = prefix.clone();
        let end = keys::after_prefix(&prefix);
        loop {
            let page = self.tx.store.scan(Tree::Delay, &from, &end, Order::Ascending, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = keys::after(last);
            for (key, _) in page {
                let Some((due, item)) = keys::split_delay(&key, prefix.len()) else { continue };
                let Some(timer) = Timer::decode(item) else { continue };
                if let Timer::DeliveryClaim(tenant, id) = timer {
                    self.set_start_back(tenant, id, by_ms)?;
                }
                if visible
                    && due > now
                    && let Some(mended) = self.mended(now, due, &timer)?
                {
                    self.tx.clear_timer(due, &timer);
                    self.tx.set_timer(mended, &timer);
                }
            }
        }
    }

    /// An attempt under way began so much earlier than the clock now makes it seem.
    fn set_start_back(
        &mut self,
        tenant: TenantNo,
        id: DeliveryId,
        by_ms: u64,
    ) -> Result<(), Fault> {
        let key = keys::delivery(tenant, id);
        if let Some(mut delivery) = self.tx.store.read::<Delivery>(&key)?
            && delivery.state() == DeliveryState::Sending
        {
            delivery.started = delivery.started.minus(by_ms);
            self.tx.store.write(key, &delivery);
        }
        Ok(())
    }

    fn mended(
        &mut self,
        now: Timestamp,
        due: Timestamp,
        timer: &Timer,
    ) -> Result<Option<Timestamp>, Fault> {
        let longest = now.plus(limits::CLAIM_TTL_MAX_MS);
        let mended = match timer {
            Timer::Prune => {
                let next = now.plus(MINUTE_MS);
                self.pruning.timer = Some(next);
                next
            }
            Timer::NoticeExpiry(id) => {
                let notice = self.tx.store.read::<Notice>(&keys::id(*id))?;
                notice.and_then(|notice| notice.expires_at).unwrap_or(now).max(now)
            }
            Timer::TaskClaim(id) if due > longest => {
                if let Some(task) = self.tx.store.read::<Task>(&keys::id(*id))?
                    && task.state() == TaskState::Claimed
                {
                    let reason = task.reason.clone();
                    self.queue.move_task(
                        &mut self.tx,
                        task,
                        Standing::Claimed { until: longest },
                        reason,
                    )?;
                }
                return Ok(None);
            }
            Timer::Sweep(_)
            | Timer::Mend
            | Timer::EarlyReceipt(_)
            | Timer::Resolve(_)
            | Timer::Canary(_) => now,
            Timer::TaskClaim(_)
            | Timer::DeliveryClaim(..)
            | Timer::NoticeStart(_)
            | Timer::Schedule(_) => return Ok(None),
        };
        Ok((mended != due).then_some(mended))
    }

    /// Notices that wait in their tenant's lane for longer than their first delivery does.
    fn mend_lanes(&mut self, now: Timestamp) -> Result<(), Fault> {
        let tenants: Vec<_> = self.tx.names.tenants().map(|(number, _)| number).collect();
        let lanes =
            tenants.iter().flat_map(|tenant| [Lane::Urgent(*tenant), Lane::Tenant(*tenant)]);
        for lane in lanes {
            let prefix = lane.prefix();
            let (mut from, end) = (lane.key(now, &[]), keys::after_prefix(&prefix));
            loop {
                let page =
                    self.tx.store.scan(Tree::Delay, &from, &end, Order::Ascending, PAGE_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                from = keys::after(last);
                let ids: Vec<Id> = page
                    .iter()
                    .filter_map(|(key, _)| keys::split_delay(key, prefix.len()))
                    .filter_map(|(_, item)| keys::read_id(item))
                    .collect();
                for id in ids {
                    let Some(bytes) = self.tx.store.get(Tree::Notices, &keys::id(id))? else {
                        continue;
                    };
                    let mut notice: Notice = codec::decode(&bytes)?;
                    lane::refile(&mut self.tx, &mut notice)?;
                    self.tx.store.write(keys::id(id), &notice);
                }
            }
        }
        Ok(())
    }
}
