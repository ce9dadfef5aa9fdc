//! Pushing tasks to webhooks and built-in workers: bounded, paced, and not against a closed door.

use crate::engine::command::{Effect, PushOutcome, Reply, Verdict};
use crate::engine::pace::{RETURN_PAUSE_MS, rate_allows, rate_take};
use crate::engine::queue::Queue;
use crate::engine::tx::{Decision, Ticked, Tx};
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::rules::{Deliver, Push};
use crate::model::task::{AttemptEnd, Task, TaskState};
use crate::store::keys::{self, TypeNo};
use crate::text::cut;
use crate::time::Timestamp;

impl Queue {
    pub(in crate::engine) fn claim_pushes<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        ticked: &mut Ticked,
    ) -> Result<(), Fault> {
        let pushed: Vec<(TypeNo, Push)> = tx
            .rules
            .queues
            .iter()
            .filter_map(|(name, rule)| match &rule.deliver {
                Deliver::Push(push) => Some((tx.names.known_kind(name)?, push.clone())),
                Deliver::Claim => None,
            })
            .collect();
        for (kind, push) in pushed {
            if tx.store.group_bytes() >= limits::GROUP_BYTES {
                ticked.wake_at(tx.now);
                break;
            }
            self.push_kind(tx, kind, &push, ticked)?;
        }
        Ok(())
    }

    fn push_kind<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        kind: TypeNo,
        push: &Push,
        ticked: &mut Ticked,
    ) -> Result<(), Fault> {
        let Some(due) = self.next_due(tx, kind)? else { return Ok(()) };
        if due > tx.now {
            ticked.wake_at(due);
            return Ok(());
        }
        let state = self.states.get(&kind).cloned().unwrap_or_default();
        if state.paused {
            return Ok(());
        }
        if state.rest_until > tx.now {
            ticked.wake_at(state.rest_until);
            return Ok(());
        }
        // After an open circuit one task is tried alone.
        let limit = if state.failures >= push.circuit_after { 1 } else { push.concurrency };
        let free = limit.saturating_sub(self.pushing.get(&kind.0).copied().unwrap_or(0));
        let (allowed, wake) = rate_allows(push.rate, state.rate_at_us, tx.now, free);
        if let Some(wake) = wake.filter(|_| free > 0) {
            ticked.wake_at(wake);
        }
        if allowed == 0 {
            return Ok(());
        }
        let tasks = self.take_for_push(tx, kind, allowed as usize)?;
        let taken = u32::try_from(tasks.len()).unwrap_or(allowed);
        *self.pushing.entry(kind.0).or_default() += taken;
        if push.rate > 0 {
            let now = tx.now;
            self.change_queue(tx, kind, |state| {
                state.rate_at_us = rate_take(push.rate, state.rate_at_us, now, taken);
            });
        }
        ticked.effects.extend(tasks.into_iter().map(Effect::Push));
        if taken < allowed
            && let Some(next) = self.next_due(tx, kind)?
        {
            ticked.wake_at(next);
        }
        Ok(())
    }

    pub(in crate::engine) fn settle_push<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
        fence: u64,
        outcome: PushOutcome,
    ) -> Result<Decision, Fault> {
        let task = tx.store.read::<Task>(&keys::id(id))?;
        let kind = match &task {
            Some(task) => Some(TypeNo(task.kind)),
            None => {
                let ended = tx.store.read::<crate::model::task::EndedTask>(&keys::id(id))?;
                ended.map(|ended| TypeNo(ended.0.kind))
            }
        };
        let Some(kind) = kind else { return Ok(Ok(Reply::Done)) };
        if let Some(count) = self.pushing.get_mut(&kind.0) {
            *count = count.saturating_sub(1);
        }
        self.note_push(tx, kind, &outcome);
        // The consumer may have settled it over HTTP meanwhile, or the claim ran out.
        let Some(task) =
            task.filter(|task| task.state() == TaskState::Claimed && task.fence == fence)
        else {
            return Ok(Ok(Reply::Done));
        };
        match outcome {
            PushOutcome::Ack => {
                self.apply_verdict(tx, task, Verdict::Ack)?;
            }
            PushOutcome::Later => {}
            PushOutcome::Reject(reason) => {
                self.apply_verdict(tx, task, Verdict::Reject { reason: Some(reason) })?;
            }
            PushOutcome::RetryAfter(delay_ms, reason) => {
                let verdict = Verdict::Nack { delay_ms: Some(delay_ms), reason: Some(reason) };
                self.apply_verdict(tx, task, verdict)?;
            }
            PushOutcome::Failed(reason) => {
                let verdict = Verdict::Nack { delay_ms: None, reason: Some(reason) };
                self.apply_verdict(tx, task, verdict)?;
            }
            PushOutcome::Returned => {
                let mut task = task;
                task.end_attempt(tx.now, AttemptEnd::Returned);
                task.attempt -= 1;
                self.requeue(tx, task, tx.now.plus(RETURN_PAUSE_MS), None)?;
            }
        }
        Ok(Ok(Reply::Done))
    }

    /// The circuit: consecutive failures of the consumer itself, not of single tasks.
    fn note_push<K: Kv>(&mut self, tx: &mut Tx<K>, kind: TypeNo, outcome: &PushOutcome) {
        let Deliver::Push(push) = tx.queue_rule(kind).deliver else { return };
        let failures = self.states.get(&kind).map_or(0, |state| state.failures);
        match outcome {
            PushOutcome::Ack | PushOutcome::Later | PushOutcome::Reject(_) => {
                if failures > 0 {
                    self.change_queue(tx, kind, |state| {
                        state.failures = 0;
                        state.rest_until = Timestamp(0);
                    });
                }
            }
            PushOutcome::Failed(reason) | PushOutcome::RetryAfter(_, reason) => {
                let delay_ms = match outcome {
                    PushOutcome::RetryAfter(delay_ms, _) => *delay_ms,
                    _ => 0,
                };
                let reason = cut(reason, limits::TEXT_BYTES).to_owned();
                let rest = tx.now.plus(push.circuit_rest_ms.max(delay_ms));
                self.change_queue(tx, kind, |state| {
                    state.failures += 1;
                    state.last_error = Some(reason);
                    if state.failures >= push.circuit_after {
                        state.rest_until = state.rest_until.max(rest);
                    }
                });
            }
            PushOutcome::Returned => {}
        }
    }
}
