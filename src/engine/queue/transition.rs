//! The one way of a task from one state to another.
//!
//! | stands as | has |
//! |---|---|
//! | pending | a key in the lane of its type and priority |
//! | claimed | the timer of its claim |
//! | dead, rejected | a dead letter |
//! | acked, cancelled | its row in the history, without payload, in place of the living one |

use std::sync::Arc;

use crate::engine::queue::Queue;
use crate::engine::timer::Timer;
use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::model::task::{Ended, EndedTask, Payload, Standing, Task};
use crate::store::chunks::delete_chunks;
use crate::store::codec;
use crate::store::keys::{self, DeadItem, Lane, TypeNo};
use crate::store::schema::Tree;
use crate::time::Timestamp;

impl Queue {
    /// Files a task that is new.
    pub(in crate::engine) fn file_task<K: Kv>(&mut self, tx: &mut Tx<K>, task: &Task) {
        self.enter(tx, task);
        tx.store.create(Tree::Tasks, keys::id(task.id), codec::encode(task));
    }

    /// Brings a task to another state: out of what the old one keeps it in, into what the new one
    /// does; its type counts it, and its row is written.
    pub(in crate::engine) fn move_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        mut task: Task,
        to: Standing,
        reason: Option<String>,
    ) -> Result<(), Fault> {
        self.leave(tx, &task);
        task.stand(to);
        task.reason = reason;
        match to {
            Standing::Ended { end: Ended::Acked | Ended::Cancelled, .. } => {
                if matches!(task.payload, Payload::Chunked(_)) {
                    delete_chunks(&mut tx.store, Tree::TaskBodies, task.id)?;
                }
                task.payload = Payload::Dropped;
                self.enter(tx, &task);
                let key = keys::id(task.id);
                tx.store.delete(Tree::Tasks, &key);
                tx.store.create(Tree::TaskHistory, key, codec::encode(&EndedTask(task)));
            }
            Standing::Pending { .. } | Standing::Claimed { .. } | Standing::Ended { .. } => {
                self.enter(tx, &task);
                tx.store.write(keys::id(task.id), &task);
            }
        }
        Ok(())
    }

    /// Moves a pending task to another due time or priority.
    pub(in crate::engine) fn refile_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        mut task: Task,
        due: Timestamp,
        priority: u8,
    ) {
        self.leave(tx, &task);
        task.priority = priority;
        task.stand(Standing::Pending { due });
        self.enter(tx, &task);
        tx.store.write(keys::id(task.id), &task);
    }

    /// Ends a task.
    pub(in crate::engine) fn end_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        task: Task,
        end: Ended,
        reason: Option<String>,
    ) -> Result<(), Fault> {
        self.move_task(tx, task, Standing::Ended { end, at: tx.now }, reason)
    }

    /// Makes a task pending again.
    pub(in crate::engine) fn requeue<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        task: Task,
        due: Timestamp,
        reason: Option<String>,
    ) -> Result<(), Fault> {
        self.move_task(tx, task, Standing::Pending { due }, reason)
    }

    /// Deletes a task with all that belongs to it.
    pub(in crate::engine) fn delete_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        task: &Task,
    ) -> Result<(), Fault> {
        self.leave(tx, task);
        if matches!(task.payload, Payload::Chunked(_)) {
            delete_chunks(&mut tx.store, Tree::TaskBodies, task.id)?;
        }
        tx.store.delete(Tree::Tasks, &keys::id(task.id));
        Ok(())
    }

    fn leave<K: Kv>(&mut self, tx: &mut Tx<K>, task: &Task) {
        let (kind, id) = (TypeNo(task.kind), task.id);
        match task.standing() {
            Standing::Pending { due } => {
                tx.store.delay_delete(Lane::Queue(kind, task.priority), due, &keys::id(id));
            }
            Standing::Claimed { until } => tx.clear_timer(until, &Timer::TaskClaim(id)),
            Standing::Ended { end: Ended::Dead | Ended::Rejected, at } => {
                tx.store.delete(Tree::Dead, &keys::dead(at, DeadItem::Task(id)));
            }
            Standing::Ended { .. } => {}
        }
        self.uncount(tx, task);
    }

    fn enter<K: Kv>(&mut self, tx: &mut Tx<K>, task: &Task) {
        let (kind, id) = (TypeNo(task.kind), task.id);
        match task.standing() {
            Standing::Pending { due } => {
                tx.store.delay_put(Lane::Queue(kind, task.priority), due, &keys::id(id));
                self.waiters.look_at(kind, due);
            }
            Standing::Claimed { until } => tx.set_timer(until, &Timer::TaskClaim(id)),
            Standing::Ended { end: Ended::Dead | Ended::Rejected, at } => {
                let letter = keys::dead(at, DeadItem::Task(id));
                tx.store.create(Tree::Dead, letter, Arc::from(&[][..]));
            }
            Standing::Ended { .. } => {}
        }
        self.lanes.change((kind, task.priority), tx.clock.last_seen(), |counts| {
            *counts.of(task.state()) += 1;
        });
    }

    fn uncount<K: Kv>(&mut self, tx: &mut Tx<K>, task: &Task) {
        let (state, kind) = (task.state(), task.kind);
        self.lanes.change((TypeNo(kind), task.priority), tx.clock.last_seen(), |counts| {
            let count = counts.of(state);
            assert!(*count > 0, "no task left in state {} of type {kind}", state.name());
            *count -= 1;
        });
    }

    /// Takes the key of a task that has no readable row out of its lane.
    pub(in crate::engine) fn drop_lost_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        lane: (TypeNo, u8),
        due: Timestamp,
        item: &[u8],
    ) {
        tx.store.delay_delete(Lane::Queue(lane.0, lane.1), due, item);
        self.lanes.change(lane, tx.clock.last_seen(), |counts| counts.pending -= 1);
    }
}
