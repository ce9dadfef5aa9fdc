//! Claiming tasks, waiting for them, and claims that run out.

use serde::{Deserialize, Serialize};

use crate::engine::command::{ClaimRequest, ClaimedTask, Effect, Reply};
use crate::engine::mode::Mode;
use crate::engine::queue::{Queue, payload};
use crate::engine::refusal::{Code, Refusal};
use crate::engine::tx::{Handled, Ticked, Tx};
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::task::{AttemptEnd, Ended, Standing, Task, TaskAttempt, TaskState};
use crate::store::Record;
use crate::store::keys::{self, Lane, TypeNo};
use crate::store::schema::Tree;
use crate::text::cut;
use crate::time::Timestamp;

/// The tasks of a claim that named its request, so that a repetition gets them again.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::engine) struct RequestRow {
    /// The tasks.
    pub(in crate::engine) tasks: Vec<Id>,
    /// When.
    pub(in crate::engine) at: Timestamp,
}

impl Record for RequestRow {
    const TREE: Tree = Tree::Keys;
}

/// Most tasks of a claim with a `request_id`: its row must stay small.
const REQUEST_ITEMS: usize = 500;

/// Types looked at in one tick.
const LOOKS_PER_TICK: usize = 256;

impl Queue {
    pub(in crate::engine) fn claim<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        request: ClaimRequest,
    ) -> Result<Handled, Fault> {
        match tx.mode {
            Mode::Working => {}
            Mode::Held => {
                let detail = "this daemon runs on a copy and is held: release it first";
                return Ok(Handled::Now(Err(Refusal::new(Code::Held, detail))));
            }
            Mode::Draining => return Ok(Handled::Now(Ok(Reply::Claimed(Vec::new())))),
        }
        let Some(kind) = tx.names.known_kind(&request.kind) else {
            if request.wait_ms == 0 {
                return Ok(Handled::Now(Ok(Reply::Claimed(Vec::new()))));
            }
            // Whoever waits makes no type: it comes with its first task.
            if tx.names.unsaved_count() >= limits::WAITERS {
                let waiters = &self.waiters;
                tx.names.forget_unsaved(|kind| waiters.has(kind));
            }
            let kind = tx.names.kind_for_now(&request.kind);
            return Ok(self.wait(tx, kind, request));
        };
        let again = self.claimed_before(tx, kind, &request)?;
        if !again.is_empty() {
            return Ok(Handled::Now(Ok(Reply::Claimed(again))));
        }
        let tasks = self.take_due(tx, kind, &request)?;
        if tasks.is_empty() && request.wait_ms > 0 {
            return Ok(self.wait(tx, kind, request));
        }
        Ok(Handled::Now(Ok(Reply::Claimed(tasks))))
    }

    fn wait<K: Kv>(&mut self, tx: &mut Tx<K>, kind: TypeNo, request: ClaimRequest) -> Handled {
        if self.waiters.len() >= limits::WAITERS {
            let detail = format!(
                "{} claims wait already: ask again after a pause, or without wait_ms",
                limits::WAITERS
            );
            return Handled::Now(Err(Refusal::new(Code::TooManyWaiters, detail)));
        }
        let deadline = tx.now.plus(request.wait_ms.min(limits::WAIT_MAX_MS));
        let waiter = self.waiters.add(kind, deadline, request);
        self.waiters.look_at(kind, tx.now);
        Handled::Waits(waiter)
    }

    /// The tasks that the same request was given before and still holds.
    fn claimed_before<K: Kv>(
        &self,
        tx: &Tx<K>,
        kind: TypeNo,
        request: &ClaimRequest,
    ) -> Result<Vec<ClaimedTask>, Fault> {
        let Some(name) = &request.request else { return Ok(Vec::new()) };
        let Some(row) = tx.store.read::<RequestRow>(&keys::request(kind, name))? else {
            return Ok(Vec::new());
        };
        let mut again = Vec::new();
        for id in row.tasks {
            let Some(task) = tx.store.read::<Task>(&keys::id(id))? else { continue };
            let Standing::Claimed { until } = task.standing() else { continue };
            if until > tx.now && task.request.as_ref() == Some(name) {
                again.push(self.handed_out(tx, &task, until)?);
            }
        }
        Ok(again)
    }

    /// Claims what is due, best priority first, oldest first within it.
    fn take_due<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        kind: TypeNo,
        request: &ClaimRequest,
    ) -> Result<Vec<ClaimedTask>, Fault> {
        if self.states.get(&kind).is_some_and(|state| state.paused) {
            return Ok(Vec::new());
        }
        let cap = if request.request.is_some() { REQUEST_ITEMS } else { limits::CLAIM_ITEMS };
        let max = request.max.clamp(1, cap);
        let ttl_ms = request.ttl_ms.unwrap_or_else(|| tx.queue_rule(kind).claim_ttl_ms);
        let until = tx.now.plus(ttl_ms.clamp(limits::CLAIM_TTL_MIN_MS, limits::CLAIM_TTL_MAX_MS));
        let priorities: Vec<u8> = match request.priority {
            Some(priority) => vec![priority],
            None => self.lanes.priorities(kind),
        };
        let (mut taken, mut bytes) = (Vec::new(), 0);
        for priority in priorities {
            let lane = Lane::Queue(kind, priority);
            while taken.len() < max && bytes < limits::CLAIM_BYTES {
                let due = tx.store.delay_first(lane, (max - taken.len()).min(64))?;
                let count = due.len();
                let mut stop = count == 0;
                for (due, item) in due {
                    if due > tx.now {
                        stop = true;
                        break;
                    }
                    if let Some(task) =
                        self.take_one(tx, until, (kind, priority), due, &item, request)?
                    {
                        bytes += task.payload.len();
                        taken.push(task);
                    }
                    if bytes >= limits::CLAIM_BYTES {
                        break;
                    }
                }
                if stop {
                    break;
                }
            }
        }
        if let Some(name) = request.request.as_ref().filter(|_| !taken.is_empty()) {
            let row = RequestRow { tasks: taken.iter().map(|task| task.id).collect(), at: tx.now };
            tx.store.write(keys::request(kind, name), &row);
        }
        Ok(taken)
    }

    fn take_one<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        until: Timestamp,
        lane: (TypeNo, u8),
        due: Timestamp,
        item: &[u8],
        request: &ClaimRequest,
    ) -> Result<Option<ClaimedTask>, Fault> {
        let row = tx.store.read::<Task>(item);
        let mut task = match row {
            Ok(Some(task)) => task,
            Ok(None) | Err(Fault::Damaged { .. }) => {
                self.drop_lost_task(tx, lane, due, item);
                if let Err(fault) = row {
                    self.quarantine(tx, Tree::Tasks, item, &fault)?;
                }
                return Ok(None);
            }
            Err(fault) => return Err(fault),
        };
        assert_eq!(task.standing(), Standing::Pending { due }, "task {} misfiled", task.id);
        task.attempt += 1;
        task.fence += 1;
        task.request.clone_from(&request.request);
        let worker = request.worker.as_deref().map(|name| cut(name, limits::NAME_BYTES).to_owned());
        let attempt = task.attempt;
        let term = tx.identity.term;
        task.begin_attempt(TaskAttempt { attempt, claimed: tx.now, worker, term, ended: None });
        let handed = self.handed_out(tx, &task, until)?;
        let reason = task.reason.take();
        self.move_task(tx, task, Standing::Claimed { until }, reason)?;
        Ok(Some(handed))
    }

    fn handed_out<K: Kv>(
        &self,
        tx: &Tx<K>,
        task: &Task,
        until: Timestamp,
    ) -> Result<ClaimedTask, Fault> {
        Ok(ClaimedTask {
            id: task.id,
            kind: tx.names.kind_name(TypeNo(task.kind)).to_owned(),
            fence: task.fence,
            claim: token(task.id, task.fence),
            attempt: task.attempt,
            // As it was asked for, also of a repetition.
            due: task.planned,
            until,
            priority: task.priority,
            payload: payload::text(tx, task)?,
        })
    }

    /// Claims up to `max` due tasks of a type for a push.
    pub(in crate::engine) fn take_for_push<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        kind: TypeNo,
        max: usize,
    ) -> Result<Vec<ClaimedTask>, Fault> {
        let worker = Some("push".to_owned());
        self.take_due(tx, kind, &ClaimRequest { max, worker, ..ClaimRequest::default() })
    }

    /// The earliest due time of a type's pending tasks.
    pub(in crate::engine) fn next_due<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        kind: TypeNo,
    ) -> Result<Option<Timestamp>, Fault> {
        self.earliest(kind, |lane| Ok(tx.store.delay_first(lane, 1)?.first().map(|(due, _)| *due)))
    }

    /// The earliest of what is found in the lanes of a type.
    fn earliest(
        &self,
        kind: TypeNo,
        mut find: impl FnMut(Lane) -> Result<Option<Timestamp>, Fault>,
    ) -> Result<Option<Timestamp>, Fault> {
        let mut earliest: Option<Timestamp> = None;
        for priority in self.lanes.priorities(kind) {
            let found = find(Lane::Queue(kind, priority))?;
            earliest = earliest.into_iter().chain(found).min();
        }
        Ok(earliest)
    }

    /// Gives work that has come to those who wait, each task to exactly one of them.
    pub(in crate::engine) fn serve_waiters<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        ticked: &mut Ticked,
    ) -> Result<(), Fault> {
        if tx.mode == Mode::Working {
            let mut given = 0;
            for _ in 0..LOOKS_PER_TICK {
                if self.is_full(tx, given) {
                    break;
                }
                let Some(kind) = self.waiters.due_look(tx.now) else { break };
                self.serve_kind(tx, kind, &mut given, ticked)?;
            }
        }
        while let Some((deadline, waiter)) = self.waiters.deadlines.first().copied() {
            if deadline > tx.now && tx.mode == Mode::Working {
                break;
            }
            self.waiters.forget(waiter);
            ticked.effects.push(Effect::Answer { waiter, tasks: Vec::new() });
        }
        if let Some((deadline, _)) = self.waiters.deadlines.first() {
            ticked.wake_at(*deadline);
        }
        if let Some((due, _)) = self.waiters.looks.first() {
            ticked.wake_at(*due);
        }
        Ok(())
    }

    /// Whether a tick has handed out enough: its changes must fit a commit, its payloads in memory.
    fn is_full<K: Kv>(&self, tx: &Tx<K>, given: usize) -> bool {
        tx.store.group_bytes() >= limits::GROUP_BYTES || given >= limits::CLAIM_BYTES
    }

    fn serve_kind<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        kind: TypeNo,
        given: &mut usize,
        ticked: &mut Ticked,
    ) -> Result<(), Fault> {
        let waiters: Vec<u64> =
            self.waiters.by_kind.get(&kind).into_iter().flatten().copied().collect();
        for waiter in waiters {
            let next = self.next_due(tx, kind)?;
            match next {
                Some(due) if due <= tx.now => {}
                Some(due) => {
                    self.waiters.look_at(kind, due);
                    return Ok(());
                }
                None => return Ok(()),
            }
            if self.is_full(tx, *given) {
                // The others are served in the next tick, which comes at once.
                self.waiters.look_at(kind, tx.now);
                return Ok(());
            }
            let Some(waiting) = self.waiters.waiting.get(&waiter) else { continue };
            let request = waiting.request.clone();
            let tasks = self.take_due(tx, kind, &request)?;
            if !tasks.is_empty() {
                *given += tasks.iter().map(|task| task.payload.len()).sum::<usize>();
                self.waiters.forget(waiter);
                ticked.effects.push(Effect::Answer { waiter, tasks });
            }
        }
        // Whoever is left wants another priority, or the type is paused: look again when the
        // first task that is not due yet becomes due; new work announces itself.
        if self.waiters.by_kind.contains_key(&kind)
            && let Some(due) = self.next_due_after(tx, kind)?
        {
            self.waiters.look_at(kind, due);
        }
        Ok(())
    }

    fn next_due_after<K: Kv>(&self, tx: &Tx<K>, kind: TypeNo) -> Result<Option<Timestamp>, Fault> {
        self.earliest(kind, |lane| {
            let from = lane.key(tx.now.plus(1), &[]);
            let to = keys::after_prefix(&lane.prefix());
            let found = tx.store.first(Tree::Delay, &from, &to)?;
            let due = found.and_then(|(key, _)| {
                keys::split_delay(&key, lane.prefix().len()).map(|(due, _)| due)
            });
            Ok(due)
        })
    }

    /// A claim was not settled in time: silence is failure, and somebody else gets the task now.
    pub(in crate::engine) fn task_claim_ran_out<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
    ) -> Result<(), Fault> {
        let mut task = match tx.store.read::<Task>(&keys::id(id)) {
            Ok(Some(task)) => task,
            Ok(None) => return Ok(()),
            Err(fault @ Fault::Damaged { .. }) => {
                return self.quarantine(tx, Tree::Tasks, &keys::id(id), &fault);
            }
            Err(fault) => return Err(fault),
        };
        if task.state() != TaskState::Claimed {
            return Ok(());
        }
        task.end_attempt(tx.now, AttemptEnd::RanOut);
        task.failed += 1;
        let reason = "its claim ran out".to_owned();
        if task.failed >= tx.max_attempts(&task) {
            return self.end_task(tx, task, Ended::Dead, Some(reason));
        }
        self.requeue(tx, task, tx.now, Some(reason))
    }
}

/// The token of a claim: its fence, and a mark of the task, so that a token of another task does
/// not fit by chance. It is no secret.
#[must_use]
pub(super) fn token(task: Id, fence: u64) -> String {
    let mut mark = task.0 ^ fence.rotate_left(32) ^ 0x9e37_79b9_7f4a_7c15;
    mark = (mark ^ (mark >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mark = (mark ^ (mark >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    format!("{fence}-{:08x}", (mark ^ (mark >> 31)) >> 32)
}

/// The fence in a token of this task; `None` when it is none of its tokens.
#[must_use]
pub(super) fn fence_of(task: Id, text: &str) -> Option<u64> {
    let (fence, _) = text.split_once('-')?;
    let fence = fence.parse().ok()?;
    (token(task, fence) == text).then_some(fence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_fit_their_task_only() {
        assert_eq!(fence_of(Id(7), &token(Id(7), 3)), Some(3));
        for bad in [token(Id(8), 3).as_str(), "", "3", "3-", "x-1", "3-00000000"] {
            assert_eq!(fence_of(Id(7), bad), None, "{bad}");
        }
    }
}
