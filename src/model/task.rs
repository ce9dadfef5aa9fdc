//! A task: one delayed piece of work for a consumer.
//!
//! ```text
//!  add ─► pending ─ claim ─► claimed ─ ack ────► acked
//!            ▲                 │ │ │ └ reject ─► rejected ─┐ dead letters
//!            ├─ nack, ran out ─┘ │ └ too many failures ─► dead ─┤
//!            ├─ redrive ◄────────│─────────────────────────────┘
//!            └─ cancel ──────────┴────► cancelled
//! ```
//!
//! "Ready" is no state: a task is ready when it is pending and due.

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::limits;
use crate::named::Named;
use crate::store::Record;
use crate::store::schema::Tree;
use crate::time::Timestamp;

/// Where a task stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum TaskState {
    /// Waits for its due time or a claim.
    Pending,
    /// A consumer has it.
    Claimed,
    /// Given up after too many failures.
    Dead,
    /// Failed for good, its consumer said.
    Rejected,
    /// Done.
    Acked,
    /// Withdrawn.
    Cancelled,
}

impl TaskState {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Claimed => "claimed",
            Self::Dead => "dead",
            Self::Rejected => "rejected",
            Self::Acked => "acked",
            Self::Cancelled => "cancelled",
        }
    }

    /// Whether it is a dead letter.
    #[must_use]
    pub fn is_dead(self) -> bool {
        matches!(self, Self::Dead | Self::Rejected)
    }
}

impl Named for TaskState {
    const ALL: &'static [Self] =
        &[Self::Pending, Self::Claimed, Self::Dead, Self::Rejected, Self::Acked, Self::Cancelled];

    fn word(self) -> &'static str {
        self.name()
    }
}

/// A state with the time that goes with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// Waits; may be claimed from then on.
    Pending {
        /// That time.
        due: Timestamp,
    },
    /// A consumer has it, under the row's fence.
    Claimed {
        /// When the claim runs out.
        until: Timestamp,
    },
    /// It has ended: as a dead letter, which a person may bring back, or for good.
    Ended {
        /// How.
        end: Ended,
        /// When.
        at: Timestamp,
    },
}

/// How a task can end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the states of the same names")]
pub enum Ended {
    Dead,
    Rejected,
    Acked,
    Cancelled,
}

impl From<Ended> for TaskState {
    fn from(ended: Ended) -> Self {
        match ended {
            Ended::Dead => Self::Dead,
            Ended::Rejected => Self::Rejected,
            Ended::Acked => Self::Acked,
            Ended::Cancelled => Self::Cancelled,
        }
    }
}

/// What a submitter may say of a task: taken from the body as it is, kept in the row as it is. A further
/// field is added here, with a new version of the row, and where the body is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Terms {
    /// An own limit of attempts.
    pub max_attempts: Option<u32>,
    /// An idempotency key.
    pub key: Option<String>,
}

/// The row of a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Task {
    /// Its id.
    pub id: Id,
    /// The type's interned number.
    pub kind: u32,
    /// 0 to 255, lower first.
    pub priority: u8,
    /// Where it stands, see [`Task::standing`].
    state: TaskState,
    /// When it was added.
    pub added: Timestamp,
    /// What it was last asked for.
    pub planned: Timestamp,
    /// The time of its standing.
    time: Timestamp,
    /// The number of the last attempt that began, from 1.
    pub attempt: u32,
    /// Failures that count towards the limit.
    pub failed: u32,
    /// Grows with each claim, never falls: a verdict under an older one comes too late.
    pub fence: u64,
    /// What its submitter said of it beside what it is.
    pub terms: Terms,
    /// The last claim's `request_id`.
    pub request: Option<String>,
    /// The payload.
    pub payload: Payload,
    /// Attempts, oldest first, at most [`limits::HISTORY_ATTEMPTS`].
    pub history: Vec<TaskAttempt>,
    /// Why it is in this state.
    pub reason: Option<String>,
}

impl Record for Task {
    const TREE: Tree = Tree::Tasks;
}

/// A task that has ended, as the history keeps it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EndedTask(pub Task);

impl Record for EndedTask {
    const TREE: Tree = Tree::TaskHistory;
}

/// A payload, JSON text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Payload {
    /// In the row.
    Inline(String),
    /// In chunks of [`limits::CHUNK_BYTES`]; this many.
    Chunked(u16),
    /// No longer kept.
    Dropped,
}

/// One attempt at a task.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskAttempt {
    /// Its number.
    pub attempt: u32,
    /// When it was claimed.
    pub claimed: Timestamp,
    /// By whom.
    pub worker: Option<String>,
    /// In which term of the daemon.
    pub term: u64,
    /// When and how it ended.
    pub ended: Option<(Timestamp, AttemptEnd)>,
}

/// How an attempt ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AttemptEnd {
    /// Done.
    Acked,
    /// Failed for now.
    Nacked(Option<String>),
    /// Failed for good.
    Rejected(Option<String>),
    /// The claim ran out.
    RanOut,
    /// The task was cancelled or replaced under it.
    Cancelled,
    /// Handed back unharmed: nobody heard of the claim.
    Returned,
}

/// The same without what was said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the ends of the same names")]
pub enum EndWord {
    Acked,
    Nacked,
    Rejected,
    RanOut,
    Cancelled,
    Returned,
}

impl Named for EndWord {
    const ALL: &'static [Self] =
        &[Self::Acked, Self::Nacked, Self::Rejected, Self::RanOut, Self::Cancelled, Self::Returned];

    fn word(self) -> &'static str {
        match self {
            Self::Acked => "acked",
            Self::Nacked => "nacked",
            Self::Rejected => "rejected",
            Self::RanOut => "ran_out",
            Self::Cancelled => "cancelled",
            Self::Returned => "returned",
        }
    }
}

impl AttemptEnd {
    /// The kind of end.
    #[must_use]
    pub fn kind(&self) -> EndWord {
        match self {
            Self::Acked => EndWord::Acked,
            Self::Nacked(_) => EndWord::Nacked,
            Self::Rejected(_) => EndWord::Rejected,
            Self::RanOut => EndWord::RanOut,
            Self::Cancelled => EndWord::Cancelled,
            Self::Returned => EndWord::Returned,
        }
    }

    /// What its consumer said.
    #[must_use]
    pub fn reason(&self) -> Option<&str> {
        match self {
            Self::Nacked(reason) | Self::Rejected(reason) => reason.as_deref(),
            Self::Acked | Self::RanOut | Self::Cancelled | Self::Returned => None,
        }
    }
}

impl Task {
    /// A new pending task without key, limit of its own or history.
    #[must_use]
    pub fn new(id: Id, kind: u32, priority: u8, added: Timestamp, due: Timestamp) -> Self {
        Self {
            id,
            kind,
            priority,
            state: TaskState::Pending,
            added,
            planned: due,
            time: due,
            attempt: 0,
            failed: 0,
            fence: 0,
            terms: Terms::default(),
            request: None,
            payload: Payload::Dropped,
            history: Vec::new(),
            reason: None,
        }
    }

    /// The state's name.
    #[must_use]
    pub fn state(&self) -> TaskState {
        self.state
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let at = self.time;
        let ended = |end| Standing::Ended { end, at };
        match self.state {
            TaskState::Pending => Standing::Pending { due: at },
            TaskState::Claimed => Standing::Claimed { until: at },
            TaskState::Dead => ended(Ended::Dead),
            TaskState::Rejected => ended(Ended::Rejected),
            TaskState::Acked => ended(Ended::Acked),
            TaskState::Cancelled => ended(Ended::Cancelled),
        }
    }

    /// Says where it stands now. Indexes and counts go by it: only the transition calls this.
    pub fn stand(&mut self, standing: Standing) {
        (self.state, self.time) = match standing {
            Standing::Pending { due } => (TaskState::Pending, due),
            Standing::Claimed { until } => (TaskState::Claimed, until),
            Standing::Ended { end, at } => (end.into(), at),
        };
    }

    /// Whether somebody holds it at this time.
    #[must_use]
    pub fn is_held(&self, now: Timestamp) -> bool {
        matches!(self.standing(), Standing::Claimed { until } if until > now)
    }

    /// Records that an attempt began. The oldest but the first is dropped when there are too many.
    pub fn begin_attempt(&mut self, attempt: TaskAttempt) {
        if self.history.len() >= limits::HISTORY_ATTEMPTS {
            self.history.remove(1);
        }
        self.history.push(attempt);
    }

    /// Records how the attempt under way ended.
    pub fn end_attempt(&mut self, now: Timestamp, end: AttemptEnd) {
        if let Some(last) = self.history.last_mut()
            && last.ended.is_none()
        {
            let short = |reason: Option<String>| {
                reason.map(|text| crate::text::cut(&text, limits::ATTEMPT_TEXT_BYTES).to_owned())
            };
            let end = match end {
                AttemptEnd::Nacked(reason) => AttemptEnd::Nacked(short(reason)),
                AttemptEnd::Rejected(reason) => AttemptEnd::Rejected(short(reason)),
                AttemptEnd::Acked
                | AttemptEnd::RanOut
                | AttemptEnd::Cancelled
                | AttemptEnd::Returned => end,
            };
            last.ended = Some((now, end));
        }
    }
}

/// Tasks of one type and priority by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueCounts {
    /// Pending, due or not.
    pub pending: u64,
    /// Claimed.
    pub claimed: u64,
    /// Dead letters.
    pub dead: u64,
    /// Acked since the store was made.
    pub acked: u64,
    /// Cancelled since the store was made.
    pub cancelled: u64,
}

impl Record for QueueCounts {
    const TREE: Tree = Tree::Counters;
}

impl QueueCounts {
    /// The count of a state.
    pub fn of(&mut self, state: TaskState) -> &mut u64 {
        match state {
            TaskState::Pending => &mut self.pending,
            TaskState::Claimed => &mut self.claimed,
            TaskState::Dead | TaskState::Rejected => &mut self.dead,
            TaskState::Acked => &mut self.acked,
            TaskState::Cancelled => &mut self.cancelled,
        }
    }
}

/// What is known of a type beside its tasks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct QueueState {
    /// Whether an operator paused it: nothing is handed out.
    pub paused: bool,
    /// Consecutive failed pushes.
    pub failures: u32,
    /// The open circuit's end: no push before.
    pub rest_until: Timestamp,
    /// The last failure, for people.
    pub last_error: Option<String>,
    /// The push rate's theoretical arrival time, microseconds.
    pub rate_at_us: u64,
}

impl Record for QueueState {
    const TREE: Tree = Tree::Counters;
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::codec;

    /// The largest row that input can make must fit, or it would end the process.
    #[test]
    fn the_largest_task_fits_its_row() {
        let text = |bytes: usize| "x".repeat(bytes);
        let last = Timestamp(u64::MAX);
        let mut task = Task {
            attempt: u32::MAX,
            failed: u32::MAX,
            fence: u64::MAX,
            terms: Terms { max_attempts: Some(u32::MAX), key: Some(text(limits::KEY_BYTES)) },
            request: Some(text(limits::KEY_BYTES)),
            payload: Payload::Inline(text(limits::INLINE_BODY_BYTES)),
            reason: Some(text(2 * limits::TEXT_BYTES)),
            ..Task::new(Id(u64::MAX), u32::MAX, 255, last, last)
        };
        task.stand(Standing::Claimed { until: last });
        for attempt in 1..=40 {
            let claimed = Timestamp(u64::MAX);
            let worker = Some(text(limits::NAME_BYTES));
            task.begin_attempt(TaskAttempt {
                attempt,
                claimed,
                worker,
                term: u64::MAX,
                ended: None,
            });
            task.end_attempt(claimed, AttemptEnd::Nacked(Some(text(10_000))));
        }
        let bytes = codec::encode(&task);
        assert!(bytes.len() <= limits::ROW_BYTES, "{} bytes", bytes.len());
        assert_eq!(task.history.len(), limits::HISTORY_ATTEMPTS);
        assert_eq!(task.history[0].attempt, 1, "the first attempt is kept");
        assert_eq!(task.history.last().unwrap().attempt, 40);
    }
}
