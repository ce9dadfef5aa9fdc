//! Wall time that jumps. Decisions take the wall clock's `now`, and people set clocks: forward for a
//! minute, back by a day, wrong at the machine's start.
//!
//! - A step back is noticed at the next command or tick, also over a restart. What it could harm is
//!   put right at once: schedules are planned anew, rests and claims end within their own length, and
//!   every doubt counts as older by the step (`Engine::unwound`), since the provider's window went on.
//!   The boot clock measures the step: the wall clock alone hides what passed since it was last read.
//! - After a start of the machine nobody knows how long it was off, nor by what its clock was set:
//!   every doubt counts as older than the provider's window.
//! - A step forward is told from time that really passed by a clock that nobody sets, the machine's
//!   boot clock ([`Engine::observe`]). What deletes and expires for good goes by *settled* time: it
//!   passes as fast as the boot clock, and catches up with the wall when both have gone in step for
//!   long enough. Deleting can always wait.
//!
//! Without [`Engine::observe`] the wall clock is believed forward.

use serde::{Deserialize, Serialize};

use super::Engine;
use super::timer::Timer;
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv, Tree};
use crate::limits;
use crate::model::delivery::{Delivery, DeliveryState};
use crate::model::notice::Notice;
use crate::model::task::{Standing, Task, TaskState};
use crate::model::tenant::TenantState;
use crate::store::keys::{self, Lane, TenantNo};
use crate::store::{Order, Record, codec};
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Steady, Timestamp};

/// A step back that counts as none: clocks are corrected a little all the time.
const STEP_MS: u64 = SECOND_MS;
/// Wall and boot clock go in step while they differ by no more than this.
const IN_STEP_MS: u64 = MINUTE_MS;
/// After so long in step, a wall clock is believed about what may be deleted.
const DELETE_AFTER_MS: u64 = DAY_MS;
/// The same for what has expired.
const EXPIRE_AFTER_MS: u64 = 15 * MINUTE_MS;
/// How often the state is written while nothing else is.
const WRITE_EVERY_MS: u64 = HOUR_MS;

/// A wall clock that jumped, for people.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockTrouble {
    /// What the clock showed after the jump.
    pub since: Timestamp,
    /// How far it jumped.
    pub by_ms: u64,
    /// Forward, not back.
    pub forward: bool,
}

/// What is known of the wall clock. Stored, so that a restart knows it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Wall {
    /// The latest that it has shown since it last went back.
    seen: Timestamp,
    /// How far it went back in all.
    unwound_ms: u64,
    /// Settled time; 0 while no boot clock was read.
    settled: Timestamp,
    /// The boot clock when that was.
    steady_ms: u64,
    boot: u64,
    /// Wall minus boot clock while they go in step.
    ahead_ms: i64,
    /// Since when they do, by the boot clock.
    in_step_since: u64,
}

impl Record for Wall {
    const TREE: Tree = Tree::Meta;
}

/// What both clocks showed when they were last read.
#[derive(Clone, Copy, Debug)]
struct Reading {
    wall: Timestamp,
    steady: Steady,
    /// By this process, so on this start of the machine whatever its id.
    here: bool,
    /// Steps back since then that the wall clock alone has told.
    wound_ms: u64,
}

impl Reading {
    /// Whether the boot clock has gone on since, and was not begun anew.
    fn is_same_boot(&self, steady: Steady) -> bool {
        let same = self.here || steady.boot == self.steady.boot && steady.boot != 0;
        same && steady.ms >= self.steady.ms
    }

    /// How far the wall clock is behind what it should show, beyond what is known of that.
    fn behind_ms(&self, now: Timestamp, steady: Steady) -> u64 {
        let expected = self.wall.plus(steady.ms - self.steady.ms);
        expected.since(now).saturating_sub(self.wound_ms)
    }
}

/// The wall clock, with what only this process knows.
#[derive(Debug, Default)]
pub(super) struct WallClock {
    wall: Wall,
    reading: Option<Reading>,
    written_ms: u64,
    dirty: bool,
    trouble: Option<ClockTrouble>,
}

impl WallClock {
    /// As it was stored; `last` is when the last id was made.
    pub(super) fn load<K: Kv>(
        store: &crate::store::Store<K>,
        last: Timestamp,
    ) -> Result<Self, Fault> {
        let wall = store.read::<Wall>(keys::WALL)?;
        let wall = wall.unwrap_or_else(|| Wall { seen: last, ..Wall::default() });
        // Both are written with each group, as they were read before it.
        let reading = (wall.settled != Timestamp(0)).then_some(Reading {
            wall: wall.seen,
            steady: Steady { ms: wall.steady_ms, boot: wall.boot },
            here: false,
            wound_ms: 0,
        });
        Ok(Self { wall, reading, ..Self::default() })
    }

    /// The latest that the wall clock has shown since it last went back.
    pub(super) fn last_seen(&self) -> Timestamp {
        self.wall.seen
    }
}

impl<K: Kv> Engine<K> {
    /// Takes a reading of both clocks. To be called before each turn.
    pub fn observe(&mut self, now: Timestamp, steady: Steady) -> Result<(), Fault> {
        let before = self.clock.reading;
        let same_boot = before.is_some_and(|before| before.is_same_boot(steady));
        let visible_ms = self.clock.wall.back_ms(now);
        match before {
            Some(before) if same_boot => {
                let behind_ms = before.behind_ms(now, steady).max(visible_ms);
                self.went_back(now, visible_ms > 0, behind_ms, behind_ms)?;
            }
            Some(_) => {
                let wound_ms = visible_ms.saturating_add(limits::DEDUPE_WINDOW_MS);
                self.went_back(now, visible_ms > 0, visible_ms, wound_ms)?;
            }
            None => self.look_at_clock(now)?,
        }
        self.clock.reading = Some(Reading { wall: now, steady, here: true, wound_ms: 0 });
        let wall = &mut self.clock.wall;
        wall.seen = wall.seen.max(now);
        let ahead = |steady: Steady| {
            i64::try_from(now.0).unwrap_or(i64::MAX) - i64::try_from(steady.ms).unwrap_or(i64::MAX)
        };
        let known = wall.settled != Timestamp(0);
        if !known {
            // A new store: nothing in it can be harmed yet. An older one: it was believed till now.
            wall.settled = now;
            wall.in_step_since = 0;
        } else if same_boot {
            wall.settled = wall.settled.plus(steady.ms - wall.steady_ms);
        }
        let jump = ahead(steady) - wall.ahead_ms;
        let in_step = same_boot && jump.unsigned_abs() <= IN_STEP_MS;
        if known && !in_step {
            wall.in_step_since = steady.ms;
            if same_boot && jump > 0 {
                self.clock.trouble =
                    Some(ClockTrouble { since: now, by_ms: jump.unsigned_abs(), forward: true });
                tell(now, jump.unsigned_abs(), true);
            }
        }
        let wall = &mut self.clock.wall;
        if !known || !in_step {
            wall.ahead_ms = ahead(steady);
            self.clock.dirty = true;
        }
        (wall.steady_ms, wall.boot) = (steady.ms, steady.boot);
        wall.settled = wall.settled.min(now);
        if wall.in_step_ms() >= DELETE_AFTER_MS {
            wall.settled = now;
        }
        if wall.in_step_ms() >= EXPIRE_AFTER_MS {
            self.clock.trouble = None;
        }
        if steady.ms.saturating_sub(self.clock.written_ms) >= WRITE_EVERY_MS {
            self.clock.dirty = true;
        }
        if self.clock.dirty {
            self.write_wall();
        }
        Ok(())
    }

    /// What went wrong with the wall clock lately, if anything did.
    #[must_use]
    pub fn clock_trouble(&self) -> Option<ClockTrouble> {
        self.clock.trouble
    }

    /// The time by which rows are old enough to be deleted for good. Never after `now`.
    pub(super) fn settled(&self, now: Timestamp) -> Timestamp {
        self.clock.wall.believed(now, DELETE_AFTER_MS)
    }

    /// Whether a time is certainly over, for what ends with it for good.
    pub(super) fn is_over(&self, now: Timestamp, end: Timestamp) -> bool {
        end <= self.clock.wall.believed(now, EXPIRE_AFTER_MS)
    }

    /// A time on a clock that never went back: as if each step back had not been made.
    pub(super) fn unwound(&self, at: Timestamp) -> Timestamp {
        at.plus(self.clock.wall.unwound_ms)
    }

    /// The latest that the wall clock may have shown to anything in the store.
    #[must_use]
    pub fn latest(&self, now: Timestamp) -> Timestamp {
        self.unwound(now)
    }

    /// Notices when the wall clock went back, as far as it tells by itself.
    pub(super) fn look_at_clock(&mut self, now: Timestamp) -> Result<(), Fault> {
        let by_ms = self.clock.wall.back_ms(now);
        if let Some(reading) = &mut self.clock.reading {
            reading.wound_ms = reading.wound_ms.saturating_add(by_ms);
        }
        self.went_back(now, by_ms > 0, by_ms, by_ms)?;
        let wall = &mut self.clock.wall;
        wall.seen = wall.seen.max(now);
        Ok(())
    }

    /// The wall clock is `by_ms` behind what it should show; doubts age by `wound_ms`. Only where it
    /// shows less than before (`visible`) can anything in the store be of a time that is yet to come.
    fn went_back(
        &mut self,
        now: Timestamp,
        visible: bool,
        by_ms: u64,
        wound_ms: u64,
    ) -> Result<(), Fault> {
        if wound_ms <= STEP_MS {
            return Ok(());
        }
        let wall = &mut self.clock.wall;
        wall.unwound_ms = wall.unwound_ms.saturating_add(wound_ms);
        self.clock.dirty = true;
        if visible || by_ms > IN_STEP_MS {
            self.clock.trouble = Some(ClockTrouble { since: now, by_ms, forward: false });
            tell(now, by_ms, false);
        }
        if visible {
            let wall = &mut self.clock.wall;
            wall.seen = now;
            wall.settled = wall.settled.min(now);
            self.plan_schedules_anew(now)?;
            self.end_rests(now)?;
        }
        self.mend_timers(now, wound_ms, visible)?;
        if visible {
            self.mend_lanes(now)?;
            self.mend_pauses(now);
        }
        self.write_wall();
        Ok(())
    }

    /// For the end of a group: what the wall clock has shown goes with it.
    pub(super) fn write_wall(&mut self) {
        self.clock.dirty = false;
        self.clock.written_ms = self.clock.wall.steady_ms;
        self.store.write(keys::WALL.to_vec(), &self.clock.wall);
    }

    /// A rest that was begun by a clock that was ahead lasts no longer than the longest of its kind.
    fn end_rests(&mut self, now: Timestamp) -> Result<(), Fault> {
        let tenants: Vec<_> = self.names.tenants().map(|(number, _)| number).collect();
        for tenant in tenants {
            let key = keys::tenant_state(tenant);
            let Some(mut state) = self.store.read::<TenantState>(&key)? else { continue };
            let before = state.clone();
            state.hold_until = state.hold_until.min(super::tenants::longest_rest(now, &state));
            state.rate_at_us = state.rate_at_us.min(now.0.saturating_mul(1_000));
            if state != before {
                self.store.write(key, &state);
            }
        }
        let states: Vec<_> =
            self.queue_states.iter().map(|(kind, state)| (*kind, state.clone())).collect();
        for (kind, mut state) in states {
            // What follows a rest is one push alone, which may well be early.
            if state.rest_until > now {
                state.rest_until = now;
                self.store.write(keys::queue_state(kind), &state);
                self.queue_states.insert(kind, state);
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
            let page = self.store.scan(Tree::Delay, &from, &end, Order::Ascending, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = super::query::after(last);
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
                    self.clear_timer(due, &timer);
                    self.set_timer(mended, &timer);
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
        if let Some(mut delivery) = self.store.read::<Delivery>(&key)?
            && delivery.state() == DeliveryState::Sending
        {
            delivery.started = delivery.started.minus(by_ms);
            self.store.write(key, &delivery);
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
                self.prune.timer = Some(next);
                next
            }
            Timer::NoticeExpiry(id) => {
                let notice = self.store.read::<Notice>(&keys::id(*id))?;
                notice.and_then(|notice| notice.expires_at).unwrap_or(now).max(now)
            }
            Timer::TaskClaim(id) if due > longest => {
                if let Some(task) = self.store.read::<Task>(&keys::id(*id))?
                    && task.state() == TaskState::Claimed
                {
                    let reason = task.reason.clone();
                    self.move_task(task, Standing::Claimed { until: longest }, reason)?;
                }
                return Ok(None);
            }
            Timer::Sweep(_) | Timer::Mend => now,
            Timer::TaskClaim(_)
            | Timer::DeliveryClaim(..)
            | Timer::NoticeStart(_)
            | Timer::Schedule(_) => return Ok(None),
        };
        Ok((mended != due).then_some(mended))
    }

    /// Notices that wait in their tenant's lane for longer than their first delivery does.
    fn mend_lanes(&mut self, now: Timestamp) -> Result<(), Fault> {
        let tenants: Vec<_> = self.names.tenants().map(|(number, _)| number).collect();
        for tenant in tenants {
            let prefix = Lane::Tenant(tenant).prefix();
            let (mut from, end) = (Lane::Tenant(tenant).key(now, &[]), keys::after_prefix(&prefix));
            loop {
                let page =
                    self.store.scan(Tree::Delay, &from, &end, Order::Ascending, PAGE_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                from = super::query::after(last);
                let ids: Vec<Id> = page
                    .iter()
                    .filter_map(|(key, _)| keys::split_delay(key, prefix.len()))
                    .filter_map(|(_, item)| keys::read_id(item))
                    .collect();
                for id in ids {
                    let Some(bytes) = self.store.get(Tree::Notices, &keys::id(id))? else {
                        continue;
                    };
                    let mut notice: Notice = codec::decode(&bytes)?;
                    self.refile(now, &mut notice)?;
                    self.store.write(keys::id(id), &notice);
                }
            }
        }
        Ok(())
    }
}

/// Rows looked at in one step.
const PAGE_ROWS: usize = 1024;

impl Wall {
    /// How far the wall clock shows less than before.
    fn back_ms(&self, now: Timestamp) -> u64 {
        Some(self.seen.since(now)).filter(|by_ms| *by_ms > STEP_MS).unwrap_or(0)
    }

    fn in_step_ms(&self) -> u64 {
        self.steady_ms.saturating_sub(self.in_step_since)
    }

    fn believed(&self, now: Timestamp, after_ms: u64) -> Timestamp {
        let unknown = self.settled == Timestamp(0);
        if unknown || self.in_step_since == 0 || self.in_step_ms() >= after_ms {
            return now;
        }
        now.min(self.settled)
    }
}

fn tell(now: Timestamp, by_ms: u64, forward: bool) {
    let (direction, seconds) = (if forward { "forward" } else { "back" }, by_ms / SECOND_MS);
    tracing::warn!(
        event = "clock.jumped", direction, seconds, now = %now,
        "the machine's clock went {direction} by {seconds} s: look at its time service. Nothing is \
         deleted or expired by such a clock before it has gone right for a while"
    );
}
