//! Tasks and queues as people see them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::row::{ROW_BYTES, Row, len};
use super::scalars::{At, IdText, Raw, Word};
use crate::model::task::{EndWord, TaskState};
use crate::named::Named;

/// A task.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Task")]
pub struct TaskView {
    /// Its id.
    pub id: IdText,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The caller's own id for it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The caller's labels on it.
    pub labels: BTreeMap<String, String>,
    /// 0 to 255, lower first.
    pub priority: u8,
    /// Where it stands.
    pub state: Word<TaskState>,
    /// When it was added.
    pub added: At,
    /// When it may be claimed; of one that is claimed or ended, when it was planned for.
    pub due: At,
    /// When its claim runs out, while it is claimed.
    pub until: Option<At>,
    /// When it ended, once it has.
    pub ended: Option<At>,
    /// The number of its last attempt, from 1; 0 before the first.
    pub attempt: u32,
    /// Failures that count towards the limit.
    pub failed: u32,
    /// The limit of them: its own or its type's.
    pub max_attempts: u32,
    /// Its idempotency key.
    pub key: Option<String>,
    /// Why it failed last.
    pub reason: Option<String>,
    /// Its last attempts.
    pub attempts: Vec<TaskAttempt>,
    /// What was given to do; only where it is asked for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload: Option<Raw>,
    /// Instead of a payload that no reader takes for JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_text: Option<String>,
}

impl Row for TaskView {
    fn bytes(&self) -> usize {
        let attempts: usize = self.attempts.iter().map(|one| 200 + len(one.reason.as_ref())).sum();
        let payload = self.payload.as_ref().map_or(0, |payload| payload.text().len());
        ROW_BYTES + attempts + payload + len(self.payload_text.as_ref()) + len(self.key.as_ref())
    }
}

/// One attempt of a task.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TaskAttempt {
    /// Its number, from 1.
    pub attempt: u32,
    /// When it was claimed.
    pub claimed: At,
    /// By whom, as far as it was said.
    pub worker: Option<String>,
    /// In which term of the daemon.
    pub term: u64,
    /// When it ended.
    pub ended: Option<At>,
    /// How it ended.
    pub outcome: Option<Word<EndWord>>,
    /// What its consumer said.
    pub reason: Option<String>,
}

/// One type and priority.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct QueueView {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// The priority.
    pub priority: u8,
    /// Tasks that wait, for their time or for a claim.
    pub depth: u64,
    /// Tasks that a consumer has.
    pub claimed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Tasks done, so far.
    pub acked: u64,
    /// Tasks withdrawn, so far.
    pub cancelled: u64,
    /// When the first of those that wait is due.
    pub oldest: Option<At>,
    /// How long the first has waited to be claimed, in milliseconds.
    pub late_ms: u64,
    /// Whether nothing is handed out.
    pub paused: bool,
    /// Whether tasks are pushed to the consumer or claimed by it.
    pub deliver: Word<Deliverer>,
    /// Open while a consumer that fails is not pushed to.
    pub circuit: Word<Circuit>,
    /// Until when it is not.
    pub rests_until: Option<At>,
    /// Failures in a row.
    pub failures: u32,
    /// What the last push failed with.
    pub last_error: Option<String>,
}

impl Row for QueueView {
    fn bytes(&self) -> usize {
        ROW_BYTES + len(self.last_error.as_ref())
    }
}

/// Who takes the first step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deliverer {
    /// The daemon.
    Push,
    /// The consumer.
    Claim,
}

impl Named for Deliverer {
    const ALL: &'static [Self] = &[Self::Push, Self::Claim];

    fn word(self) -> &'static str {
        match self {
            Self::Push => "push",
            Self::Claim => "claim",
        }
    }
}

/// Whether something is kept from its work for a while.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Circuit {
    /// It is.
    Open,
    /// It works.
    Closed,
}

impl Circuit {
    /// Open while this is so.
    #[must_use]
    pub fn open_if(rests: bool) -> Self {
        if rests { Self::Open } else { Self::Closed }
    }
}

impl Named for Circuit {
    const ALL: &'static [Self] = &[Self::Open, Self::Closed];

    fn word(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closed => "closed",
        }
    }
}
