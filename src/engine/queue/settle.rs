//! What consumers say of the tasks they claimed: ack, nack, reject, extend.

use crate::engine::command::{Reply, Settled, Settlement, Verdict};
use crate::engine::queue::Queue;
use crate::engine::queue::claim::fence_of;
use crate::engine::refusal::{Code, Refusal, not_found};
use crate::engine::tx::{Decision, Tx};
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::task::{AttemptEnd, Ended, EndedTask, Standing, Task, TaskState};
use crate::store::keys::{self, TypeNo};
use crate::text::cut;
use crate::time::Timestamp;

impl Queue {
    pub(in crate::engine) fn settle_tasks<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        items: Vec<Settlement>,
    ) -> Result<Decision, Fault> {
        let mut verdicts = Vec::with_capacity(items.len());
        for item in items {
            verdicts.push(self.settle_task(tx, item)?);
        }
        Ok(Ok(Reply::Settled(verdicts)))
    }

    fn settle_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        item: Settlement,
    ) -> Result<Result<Settled, Refusal>, Fault> {
        let Some(task) = tx.store.read::<Task>(&keys::id(item.task))? else {
            return self.settle_ended(tx, &item);
        };
        match held(tx.now, &task, &item.claim) {
            Ok(()) => Ok(Ok(self.apply_verdict(tx, task, item.verdict)?)),
            Err(refusal) => Ok(Err(refusal)),
        }
    }

    /// The answer for a task that has ended: the same ack twice is fine, all else comes too late.
    fn settle_ended<K: Kv>(
        &self,
        tx: &Tx<K>,
        item: &Settlement,
    ) -> Result<Result<Settled, Refusal>, Fault> {
        let Some(EndedTask(task)) = tx.store.read::<EndedTask>(&keys::id(item.task))? else {
            return Ok(Err(not_found("task", item.task)));
        };
        let own = fence_of(item.task, &item.claim) == Some(task.fence);
        Ok(match (task.state(), own, &item.verdict) {
            (TaskState::Acked, true, Verdict::Ack) => {
                Ok(Settled { state: task.state().name(), at: None })
            }
            (TaskState::Cancelled, _, _) => Err(Refusal::new(
                Code::TaskCancelled,
                format!("task {} was cancelled: stop working on it", item.task),
            )),
            _ => Err(Refusal::new(
                Code::TaskGone,
                format!("task {} has ended: {}", item.task, task.state().name()),
            )),
        })
    }

    pub(in crate::engine) fn apply_verdict<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        mut task: Task,
        verdict: Verdict,
    ) -> Result<Settled, Fault> {
        let short = |reason: Option<String>| {
            reason.map(|reason| cut(&reason, limits::TEXT_BYTES).to_owned())
        };
        match verdict {
            Verdict::Ack => {
                task.end_attempt(tx.now, AttemptEnd::Acked);
                self.end_task(tx, task, Ended::Acked, None)?;
                Ok(Settled { state: TaskState::Acked.name(), at: None })
            }
            Verdict::Nack { delay_ms, reason } => {
                let reason = short(reason);
                task.end_attempt(tx.now, AttemptEnd::Nacked(reason.clone()));
                self.fail_task(tx, task, delay_ms, reason)
            }
            Verdict::Reject { reason } => {
                let reason = short(reason);
                task.end_attempt(tx.now, AttemptEnd::Rejected(reason.clone()));
                let words = reason.unwrap_or_else(|| "rejected by its consumer".to_owned());
                self.end_task(tx, task, Ended::Rejected, Some(words))?;
                Ok(Settled { state: TaskState::Rejected.name(), at: None })
            }
            Verdict::Extend { ttl_ms } => {
                let rule = tx.queue_rule(TypeNo(task.kind));
                let ttl_ms = ttl_ms.unwrap_or(rule.claim_ttl_ms);
                let ttl_ms = ttl_ms.clamp(limits::CLAIM_TTL_MIN_MS, limits::CLAIM_TTL_MAX_MS);
                let until = tx.now.plus(ttl_ms);
                let reason = task.reason.take();
                self.move_task(tx, task, Standing::Claimed { until }, reason)?;
                Ok(Settled { state: TaskState::Claimed.name(), at: Some(until) })
            }
        }
    }

    /// A failure for now: due again after `delay_ms` or by policy, or given up.
    pub(in crate::engine) fn fail_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        mut task: Task,
        delay_ms: Option<u64>,
        reason: Option<String>,
    ) -> Result<Settled, Fault> {
        task.failed += 1;
        if task.failed >= tx.max_attempts(&task) {
            let last = reason.unwrap_or_else(|| "no reason given".to_owned());
            let words = format!("given up after {} failures: {last}", task.failed);
            self.end_task(tx, task, Ended::Dead, Some(words))?;
            return Ok(Settled { state: TaskState::Dead.name(), at: None });
        }
        let rule = tx.queue_rule(TypeNo(task.kind));
        let pause = delay_ms.unwrap_or_else(|| rule.retry.pause_ms(task.failed, task.id.0));
        let due = tx.now.plus(pause);
        self.requeue(tx, task, due, reason)?;
        Ok(Settled { state: TaskState::Pending.name(), at: Some(due) })
    }

    /// Takes back claims whose claimers never heard of them: nothing was tried.
    pub(in crate::engine) fn unclaim<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        claims: Vec<Settlement>,
    ) -> Result<Decision, Fault> {
        for claim in claims {
            let Some(mut task) = tx.store.read::<Task>(&keys::id(claim.task))? else { continue };
            if held(tx.now, &task, &claim.claim).is_ok() {
                // It never began for anybody: the history would only push out what did.
                if task.history.last().is_some_and(|last| last.attempt == task.attempt) {
                    task.history.pop();
                }
                task.attempt -= 1;
                let due = task.planned.min(tx.now);
                self.requeue(tx, task, due, None)?;
            }
        }
        Ok(Ok(Reply::Done))
    }

    pub(in crate::engine) fn settle_unfenced<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
        verdict: &Verdict,
    ) -> Result<Decision, Fault> {
        let Some(task) = tx.store.read::<Task>(&keys::id(id))? else {
            let ended = tx.store.read::<EndedTask>(&keys::id(id))?.is_some();
            return Ok(if ended { Ok(Reply::Done) } else { Err(not_found("task", id)) });
        };
        self.apply_verdict(tx, task, verdict.clone())?;
        Ok(Ok(Reply::Done))
    }
}

/// Whether a token is the task's current one. The three ways in which it is not are three refusals.
fn held(now: Timestamp, task: &Task, claim: &str) -> Result<(), Refusal> {
    let Some(fence) = fence_of(task.id, claim) else {
        return Err(Refusal::field(
            Code::ClaimUnknown,
            "/claim",
            format!("no claim of task {} has this token", task.id),
        ));
    };
    let claimed = task.state() == TaskState::Claimed;
    if fence > task.fence {
        return Err(Refusal::field(
            Code::ClaimUnknown,
            "/claim",
            format!("no claim of task {} has this token", task.id),
        ));
    }
    if fence < task.fence && claimed {
        return Err(Refusal::new(
            Code::ClaimTaken,
            format!("the claim of task {} ran out and somebody else has it now", task.id),
        ));
    }
    if fence < task.fence || !task.is_held(now) {
        return Err(Refusal::new(
            Code::ClaimExpired,
            format!("the claim of task {} is over; the task is {}", task.id, task.state().name()),
        ));
    }
    Ok(())
}
