//! Task types come with their first task, and go when nothing is left of them: by hand, or after as long
//! as their ended tasks and keys are kept.

use super::command::{Code, Refusal, Reply};
use super::{Decision, Engine, lanes, not_found};
use crate::kv::{Fault, Kv, Tree};
use crate::limits;
use crate::store::keys::{self, TypeNo};
use crate::time::Timestamp;

/// Lanes and types that go in one step.
const AT_ONCE: usize = 1_000;

impl<K: Kv> Engine<K> {
    /// Whether one more type may come.
    pub(super) fn room_for_kind(&self) -> Result<(), Refusal> {
        if self.names.kind_count() < limits::TASK_TYPES {
            return Ok(());
        }
        Err(Refusal::field(
            Code::TooManyTypes,
            "/type",
            format!(
                "there are {} task types already; drop those that nobody uses (DELETE \
                 /v1/queues/TYPE). Is an id given as type by mistake?",
                limits::TASK_TYPES
            ),
        ))
    }

    /// The number of a type, given now if it has none. Says once when there are many.
    pub(super) fn kind_of(&mut self, name: &str) -> TypeNo {
        let before = self.names.kind_count();
        let kind = self.names.kind(&mut self.store, name);
        let count = self.names.kind_count();
        if before < count && count == limits::TASK_TYPES / 2 {
            tracing::warn!(
                event = "queue.many_types",
                count,
                most = limits::TASK_TYPES,
                newest = name,
                "half of the task types that there may be are taken: is an id given as type by mistake?"
            );
        }
        kind
    }

    /// Drops a type that has no tasks left: its counts, its pause, its name if it is not configured.
    pub(super) fn drop_kind(&mut self, name: &str) -> Result<Decision, Fault> {
        let Some(kind) = self.names.known_kind(name) else {
            return Ok(Err(not_found("task type", name)));
        };
        let left: u64 = self
            .lanes
            .of(kind)
            .map(|(_, counts)| counts.pending + counts.claimed + counts.dead)
            .sum();
        if left > 0 {
            let detail = format!(
                "{left} tasks of type {name} wait, are claimed or dead: work them off, cancel or \
                 redrive them first"
            );
            return Ok(Err(Refusal::new(Code::WrongState, detail)));
        }
        for priority in self.lanes.priorities(kind) {
            self.forget_lane((kind, priority));
        }
        self.forget_kind(kind);
        Ok(Ok(Reply::Done))
    }

    /// Forgets lanes and types that nobody has used for as long as anything of them is kept. Bounded;
    /// what is left goes with the next round.
    pub(super) fn forget_idle(&mut self, now: Timestamp) {
        let keep = self.rules.retention;
        let before = self.settled(now).minus(keep.tasks_ms.max(keep.keys_ms));
        for lane in self.lanes.idle(before).into_iter().take(AT_ONCE) {
            self.forget_lane(lane);
        }
        let idle: Vec<TypeNo> = self
            .names
            .kinds()
            .map(|(kind, _)| kind)
            .filter(|kind| self.lanes.of(*kind).next().is_none())
            .filter(|kind| self.kind_seen.get(kind).is_none_or(|seen| *seen < before))
            .filter(|_| self.started < before)
            .take(AT_ONCE)
            .collect();
        for kind in idle {
            self.forget_kind(kind);
        }
        self.names.forget_unsaved(|kind| self.waiters.has(kind));
    }

    fn forget_lane(&mut self, lane: lanes::LaneId) {
        let (kind, priority) = lane;
        self.lanes.forget(lane);
        self.store.delete(Tree::Counters, &keys::queue_counts(kind, priority));
        self.kind_seen.insert(kind, self.clock.last_seen());
    }

    /// A configured type, and one that somebody waits for, keeps its name.
    fn forget_kind(&mut self, kind: TypeNo) {
        if self.queue_states.get(&kind).is_some_and(|state| state.paused) {
            return;
        }
        if self.queue_states.remove(&kind).is_some() {
            self.store.delete(Tree::Counters, &keys::queue_state(kind));
        }
        if self.rules.queues.contains_key(self.names.kind_name(kind)) {
            return;
        }
        self.names.forget_kind(&mut self.store, kind, self.waiters.has(kind));
        self.kind_seen.remove(&kind);
    }
}
