//! The pushers: claimed tasks go to their type's webhook and come back settled.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::panics;
use super::phase::{Phase, Phases};
use crate::engine::command::{ClaimedTask, Command, PushOutcome};
use crate::mailbox::Mailbox;
use crate::time::Clock;
use crate::webhook::{Hook, HookOutcome, HookTask, Hooks};

/// A type's webhook and how long one call may take.
pub(super) struct Target {
    pub(super) hook: Hook,
    pub(super) timeout_ms: u64,
}

/// All webhooks.
pub(super) struct Pushers {
    pub(super) hooks: Hooks,
    pub(super) targets: BTreeMap<String, Target>,
    pub(super) mailbox: Mailbox,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) phase: Phases,
    /// Whether the lease lasts for a push of this many milliseconds.
    pub(super) may_send: Arc<dyn Fn(u64) -> bool + Send + Sync>,
}

impl Pushers {
    /// Takes a task over. How many are under way at once is the engine's decision.
    pub(super) fn take(self: &Arc<Self>, task: ClaimedTask) {
        let pushers = self.clone();
        let guard = self.phase.guard();
        panics::spawn_vital(async move {
            let outcome = pushers.push(&task).await;
            let command = Command::SettlePush { task: task.id, fence: task.fence, outcome };
            let _ = pushers.mailbox.call(command).await;
            drop(guard);
        });
    }

    async fn push(&self, task: &ClaimedTask) -> PushOutcome {
        let Some(target) = self.targets.get(&task.kind) else {
            return PushOutcome::Failed("no worker of this type is built in".to_owned());
        };
        if self.phase.has_reached(Phase::Draining) || !(self.may_send)(target.timeout_ms) {
            return PushOutcome::Returned;
        }
        let id = task.id.to_string();
        let shown = HookTask {
            id: &id,
            kind: &task.kind,
            priority: task.priority,
            attempt: task.attempt,
            due: task.due,
            claim: &task.claim,
            until: task.until,
            payload_json: &task.payload,
        };
        let now = self.clock.now();
        tokio::select! {
            outcome = self.hooks.post(&target.hook, &shown, now, target.timeout_ms) => {
                match outcome {
                    HookOutcome::Ack => PushOutcome::Ack,
                    HookOutcome::Later => PushOutcome::Later,
                    HookOutcome::Reject { reason } => PushOutcome::Reject(reason),
                    HookOutcome::RetryAfter { delay_ms, reason } => {
                        PushOutcome::RetryAfter(delay_ms, reason)
                    }
                    HookOutcome::Failed { reason } => PushOutcome::Failed(reason),
                }
            }
            // The consumer may be at it: the claim stands until it runs out.
            () = self.phase.reached(Phase::Cut) => PushOutcome::Later,
        }
    }
}
