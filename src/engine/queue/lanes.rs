//! Counts of tasks per type and priority, in memory: asked by every look at a queue, written with the
//! group that changed them.

use std::collections::{BTreeMap, BTreeSet};

use crate::model::task::QueueCounts;
use crate::store::keys::TypeNo;
use crate::time::Timestamp;

/// A type and one of its priorities.
pub(in crate::engine) type LaneId = (TypeNo, u8);

/// Lanes without tasks whose counts are kept; of more, those that were idle longest are forgotten.
const IDLE: usize = 10_000;

#[derive(Clone, Copy, Debug, Default)]
struct LaneCounts {
    counts: QueueCounts,
    touched: Timestamp,
}

/// All lanes that have tasks, or had some lately.
#[derive(Debug, Default)]
pub(in crate::engine) struct Lanes {
    all: BTreeMap<LaneId, LaneCounts>,
    changed: BTreeSet<LaneId>,
}

impl Lanes {
    /// Takes in what was stored.
    pub(in crate::engine) fn load(&mut self, lane: LaneId, counts: QueueCounts, now: Timestamp) {
        self.all.insert(lane, LaneCounts { counts, touched: now });
    }

    /// The counts of a lane as of this moment.
    pub(in crate::engine) fn counts(&self, lane: LaneId) -> QueueCounts {
        self.all.get(&lane).map(|it| it.counts).unwrap_or_default()
    }

    /// Changes them.
    pub(in crate::engine) fn change(
        &mut self,
        lane: LaneId,
        now: Timestamp,
        change: impl FnOnce(&mut QueueCounts),
    ) {
        let found = self.all.entry(lane).or_default();
        change(&mut found.counts);
        found.touched = now;
        self.changed.insert(lane);
    }

    /// What changed since this was last asked: to be written.
    pub(in crate::engine) fn take_changed(&mut self) -> Vec<(LaneId, QueueCounts)> {
        let changed = std::mem::take(&mut self.changed);
        changed.into_iter().map(|lane| (lane, self.counts(lane))).collect()
    }

    /// The priorities that a type has.
    pub(in crate::engine) fn priorities(&self, kind: TypeNo) -> Vec<u8> {
        self.of(kind).map(|(priority, _)| priority).collect()
    }

    /// A type's priorities with their counts.
    pub(in crate::engine) fn of(&self, kind: TypeNo) -> impl Iterator<Item = (u8, QueueCounts)> {
        let lanes = self.all.range((kind, 0)..=(kind, u8::MAX));
        lanes.map(|((_, priority), it)| (*priority, it.counts))
    }

    /// Lanes from this one on.
    pub(in crate::engine) fn from(
        &self,
        first: LaneId,
    ) -> impl Iterator<Item = (LaneId, QueueCounts)> {
        self.all.range(first..).map(|(lane, it)| (*lane, it.counts))
    }

    /// Takes a lane off the list; its row is to be deleted.
    pub(in crate::engine) fn forget(&mut self, lane: LaneId) {
        self.all.remove(&lane);
        self.changed.remove(&lane);
    }

    /// Lanes without tasks that nobody has touched since `before`, and those beyond what is kept, the
    /// longest idle first.
    pub(in crate::engine) fn idle(&self, before: Timestamp) -> Vec<LaneId> {
        let idle = self.all.iter().filter(|(_, it)| is_empty(&it.counts));
        let mut idle: Vec<(Timestamp, LaneId)> =
            idle.map(|(lane, it)| (it.touched, *lane)).collect();
        idle.sort_unstable();
        let too_many = idle.len().saturating_sub(IDLE);
        let old = idle.iter().take_while(|(touched, _)| *touched < before).count();
        idle.truncate(old.max(too_many));
        idle.into_iter().map(|(_, lane)| lane).collect()
    }
}

/// Whether no task is left that somebody could work on.
pub(in crate::engine) fn is_empty(counts: &QueueCounts) -> bool {
    counts.pending == 0 && counts.claimed == 0 && counts.dead == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_idle_for_long_or_too_much_is_forgotten() {
        let mut lanes = Lanes::default();
        let kind = TypeNo(7);
        lanes.change((kind, 1), Timestamp(10), |counts| counts.pending += 1);
        lanes.change((kind, 2), Timestamp(10), |counts| counts.acked += 1);
        lanes.change((kind, 3), Timestamp(30), |counts| counts.acked += 1);
        assert_eq!(lanes.idle(Timestamp(10)), []);
        assert_eq!(lanes.idle(Timestamp(20)), [(kind, 2)]);
        for number in 0..u32::try_from(IDLE).unwrap() {
            lanes.change((TypeNo(100 + number), 0), Timestamp(40), |counts| counts.acked += 1);
        }
        assert_eq!(lanes.idle(Timestamp(0)), [(kind, 2), (kind, 3)]);
        lanes.forget((kind, 2));
        assert_eq!(lanes.priorities(kind), [1, 3]);
        assert_eq!(lanes.counts((kind, 2)), QueueCounts::default());
        assert!(lanes.take_changed().iter().all(|(lane, _)| *lane != (kind, 2)));
        assert_eq!(lanes.take_changed(), []);
    }
}
