//! Wall time that jumps. Decisions take the wall clock's `now`, and people set clocks: forward for a
//! minute, back by a day, wrong at the machine's start.
//!
//! - A step back is noticed at the next command or tick, also over a restart. What it could harm is
//!   put right at once: schedules are planned anew, rests and claims end within their own length, and
//!   every doubt counts as older by the step (`WallClock::unwound`), since the provider's window went on.
//!   The boot clock measures the step: the wall clock alone hides what passed since it was last read.
//! - After a start of the machine nobody knows how long it was off, nor by what its clock was set:
//!   every doubt counts as older than the provider's window.
//! - A step forward is told from time that really passed by a clock that nobody sets, the machine's
//!   boot clock ([`super::Engine::observe`]). What deletes and expires for good goes by *settled* time: it
//!   passes as fast as the boot clock, and catches up with the wall when both have gone in step for
//!   long enough. Deleting can always wait.
//!
//! Without [`super::Engine::observe`] the wall clock is believed forward.

use serde::{Deserialize, Serialize};

use crate::kv::{Fault, Kv};
use crate::limits;
use crate::store::schema::{self, Tree};
use crate::store::{Record, Store};
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

/// A step back of the wall clock.
#[derive(Clone, Copy, Debug)]
pub(super) struct StepBack {
    /// It shows less than before: rows may be of a time that is yet to come.
    pub(super) visible: bool,
    /// By how much what is in doubt is older than it seems.
    pub(super) wound_ms: u64,
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
    pub(super) fn load<K: Kv>(store: &Store<K>, last: Timestamp) -> Result<Self, Fault> {
        let wall = store.read::<Wall>(schema::WALL)?;
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

    /// Takes a reading of both clocks. The step back, if the wall clock made one.
    pub(super) fn read(&mut self, now: Timestamp, steady: Steady) -> Option<StepBack> {
        let before = self.reading;
        let same_boot = before.is_some_and(|before| before.is_same_boot(steady));
        let visible_ms = self.wall.back_ms(now);
        let back = match before {
            Some(before) if same_boot => {
                let behind_ms = before.behind_ms(now, steady).max(visible_ms);
                self.went_back(now, visible_ms > 0, behind_ms, behind_ms)
            }
            Some(_) => {
                let wound_ms = visible_ms.saturating_add(limits::DEDUPE_WINDOW_MS);
                self.went_back(now, visible_ms > 0, visible_ms, wound_ms)
            }
            None => self.look(now),
        };
        self.reading = Some(Reading { wall: now, steady, here: true, wound_ms: 0 });
        self.wall.seen = self.wall.seen.max(now);
        self.settle(now, steady, same_boot);
        back
    }

    /// Settled time passes, and catches up with a wall clock that has gone right for long enough.
    fn settle(&mut self, now: Timestamp, steady: Steady, same_boot: bool) {
        let wall = &mut self.wall;
        let ahead = |steady: Steady| {
            i64::try_from(now.0).unwrap_or(i64::MAX) - i64::try_from(steady.ms).unwrap_or(i64::MAX)
        };
        let known = wall.settled != Timestamp(0);
        if !known {
            // A new store: nothing in it can be harmed yet. An older one: it was believed till now.
            wall.settled = now;
            wall.in_step_since = 0;
        } else if same_boot {
            wall.settled = wall.settled.plus(steady.ms.saturating_sub(wall.steady_ms));
        }
        let jump = ahead(steady) - wall.ahead_ms;
        let in_step = same_boot && jump.unsigned_abs() <= IN_STEP_MS;
        if known && !in_step {
            wall.in_step_since = steady.ms;
            if same_boot && jump > 0 {
                let by_ms = jump.unsigned_abs();
                self.trouble = Some(ClockTrouble { since: now, by_ms, forward: true });
                tell(now, by_ms, true);
            }
        }
        if !known || !in_step {
            wall.ahead_ms = ahead(steady);
            self.dirty = true;
        }
        (wall.steady_ms, wall.boot) = (steady.ms, steady.boot);
        wall.settled = wall.settled.min(now);
        if wall.in_step_ms() >= DELETE_AFTER_MS {
            wall.settled = now;
        }
        if wall.in_step_ms() >= EXPIRE_AFTER_MS {
            self.trouble = None;
        }
        if steady.ms.saturating_sub(self.written_ms) >= WRITE_EVERY_MS {
            self.dirty = true;
        }
    }

    /// The step back, as far as the wall clock tells by itself.
    pub(super) fn look(&mut self, now: Timestamp) -> Option<StepBack> {
        let by_ms = self.wall.back_ms(now);
        if let Some(reading) = &mut self.reading {
            reading.wound_ms = reading.wound_ms.saturating_add(by_ms);
        }
        let back = self.went_back(now, by_ms > 0, by_ms, by_ms);
        self.wall.seen = self.wall.seen.max(now);
        back
    }

    /// The wall clock is `by_ms` behind what it should show; doubts age by `wound_ms`.
    fn went_back(
        &mut self,
        now: Timestamp,
        visible: bool,
        by_ms: u64,
        wound_ms: u64,
    ) -> Option<StepBack> {
        if wound_ms <= STEP_MS {
            return None;
        }
        self.wall.unwound_ms = self.wall.unwound_ms.saturating_add(wound_ms);
        self.dirty = true;
        if visible || by_ms > IN_STEP_MS {
            self.trouble = Some(ClockTrouble { since: now, by_ms, forward: false });
            tell(now, by_ms, false);
        }
        if visible {
            self.wall.seen = now;
            self.wall.settled = self.wall.settled.min(now);
        }
        Some(StepBack { visible, wound_ms })
    }

    /// What went wrong with the wall clock lately, if anything did.
    pub(super) fn trouble(&self) -> Option<ClockTrouble> {
        self.trouble
    }

    /// The time by which rows are old enough to be deleted for good. Never after `now`.
    pub(super) fn settled(&self, now: Timestamp) -> Timestamp {
        self.wall.believed(now, DELETE_AFTER_MS)
    }

    /// Whether a time is certainly over, for what ends with it for good.
    pub(super) fn is_over(&self, now: Timestamp, end: Timestamp) -> bool {
        end <= self.wall.believed(now, EXPIRE_AFTER_MS)
    }

    /// A time on a clock that never went back: as if each step back had not been made.
    pub(super) fn unwound(&self, at: Timestamp) -> Timestamp {
        at.plus(self.wall.unwound_ms)
    }

    /// Whether there is something that must be written though nothing else is.
    pub(super) fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// What is to be written now.
    pub(super) fn take_to_write(&mut self) -> Wall {
        self.dirty = false;
        self.written_ms = self.wall.steady_ms;
        self.wall.clone()
    }
}

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
