//! Task types come with their first task, and go when nothing is left of them: by hand, or after as long
//! as their ended tasks and keys are kept.

use crate::engine::command::Reply;
use crate::engine::queue::{Queue, lanes};
use crate::engine::refusal::{Code, Refusal, not_found};
use crate::engine::tx::{Decision, Tx};
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::store::keys::{self, TypeNo};
use crate::store::schema::Tree;

/// Lanes and types that go in one step.
const AT_ONCE: usize = 1_000;

impl Queue {
    /// Whether one more type may come.
    pub(in crate::engine) fn room_for_kind<K: Kv>(&self, tx: &Tx<K>) -> Result<(), Refusal> {
        if tx.names.kind_count() < limits::TASK_TYPES {
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
    pub(in crate::engine) fn kind_of<K: Kv>(&mut self, tx: &mut Tx<K>, name: &str) -> TypeNo {
        let before = tx.names.kind_count();
        let kind = tx.names.kind(&mut tx.store, name);
        let count = tx.names.kind_count();
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
    pub(in crate::engine) fn drop_kind<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        name: &str,
    ) -> Result<Decision, Fault> {
        let Some(kind) = tx.names.known_kind(name) else {
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
            self.forget_lane(tx, (kind, priority));
        }
        self.forget_kind(tx, kind);
        Ok(Ok(Reply::Done))
    }

    /// Forgets lanes and types that nobody has used for as long as anything of them is kept. Bounded;
    /// what is left goes with the next round.
    pub(in crate::engine) fn forget_idle<K: Kv>(&mut self, tx: &mut Tx<K>) {
        let keep = tx.rules.retention;
        let before = tx.settled().minus(keep.tasks_ms.max(keep.keys_ms));
        for lane in self.lanes.idle(before).into_iter().take(AT_ONCE) {
            self.forget_lane(tx, lane);
        }
        let idle: Vec<TypeNo> = tx
            .names
            .kinds()
            .map(|(kind, _)| kind)
            .filter(|kind| self.lanes.of(*kind).next().is_none())
            .filter(|kind| self.kind_seen.get(kind).is_none_or(|seen| *seen < before))
            .filter(|_| tx.started < before)
            .take(AT_ONCE)
            .collect();
        for kind in idle {
            self.forget_kind(tx, kind);
        }
        tx.names.forget_unsaved(|kind| self.waiters.has(kind));
    }

    fn forget_lane<K: Kv>(&mut self, tx: &mut Tx<K>, lane: lanes::LaneId) {
        let (kind, priority) = lane;
        self.lanes.forget(lane);
        tx.store.delete(Tree::Counters, &keys::queue_counts(kind, priority));
        self.kind_seen.insert(kind, tx.clock.last_seen());
    }

    /// A configured type, and one that somebody waits for, keeps its name.
    fn forget_kind<K: Kv>(&mut self, tx: &mut Tx<K>, kind: TypeNo) {
        if self.states.get(&kind).is_some_and(|state| state.paused) {
            return;
        }
        if self.states.remove(&kind).is_some() {
            tx.store.delete(Tree::Counters, &keys::queue_state(kind));
        }
        if tx.rules.queues.contains_key(tx.names.kind_name(kind)) {
            return;
        }
        tx.names.forget_kind(&mut tx.store, kind, self.waiters.has(kind));
        self.kind_seen.remove(&kind);
    }
}
