//! A delivery: one notice to one recipient, the row of the outbox.
//!
//! ```text
//!  pending ─ claim ─► sending ─ ok ─► accepted ─ receipt ─► delivered
//!     ▲ ▲               │ │ │                 └───────► failed
//!     │ │               │ │ └ final no ─► refused
//!     │ └── retry ──────┘ │ └ no outcome, window over ─► in_doubt ─ resolve ─► …
//!     │                   └ too many failures ─► dead
//!     ├─ resend ◄── refused, dead, skipped, failed
//!     ├─ expired ─► skipped
//!     └─ cancel ──► cancelled
//! ```

use serde::{Deserialize, Serialize};

use super::attempt::Class;
use crate::id::{DeliveryId, Id};
use crate::named::Named;
use crate::store::Record;
use crate::store::schema::Tree;
use crate::time::Timestamp;

/// Where a delivery stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum DeliveryState {
    /// Waits for its due time.
    Pending = 0,
    /// Claimed: an attempt is recorded and may be on the wire.
    Sending = 1,
    /// The provider took it.
    Accepted = 2,
    /// Its receipt came.
    Delivered = 3,
    /// Final no of the provider.
    Refused = 4,
    /// Not sent on purpose: expired or no longer a follower.
    Skipped = 5,
    /// Given up after too many failures.
    Dead = 6,
    /// May have been accepted; the answer was never recorded.
    InDoubt = 7,
    /// Withdrawn before it was sent.
    Cancelled = 8,
    /// The provider took it, and its receipt says that it was not delivered.
    Failed = 9,
}

impl DeliveryState {
    /// All states in the order of their numbers.
    pub const ALL: [Self; 10] = [
        Self::Pending,
        Self::Sending,
        Self::Accepted,
        Self::Delivered,
        Self::Refused,
        Self::Skipped,
        Self::Dead,
        Self::InDoubt,
        Self::Cancelled,
        Self::Failed,
    ];

    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Sending => "sending",
            Self::Accepted => "accepted",
            Self::Delivered => "delivered",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Dead => "dead",
            Self::InDoubt => "in_doubt",
            Self::Cancelled => "cancelled",
            Self::Failed => "failed",
        }
    }
}

impl Named for DeliveryState {
    const ALL: &'static [Self] = &DeliveryState::ALL;

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
    /// Claimed under the row's fence.
    Sending {
        /// When the claim runs out.
        until: Timestamp,
    },
    /// Waits for nobody, or for a person only.
    Settled {
        /// What came of it.
        end: Settled,
        /// Since when.
        at: Timestamp,
    },
}

/// What can come of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are the states of the same names")]
pub enum Settled {
    Accepted,
    Delivered,
    Refused,
    Skipped,
    Dead,
    InDoubt,
    Cancelled,
    Failed,
}

impl From<Settled> for DeliveryState {
    fn from(settled: Settled) -> Self {
        match settled {
            Settled::Accepted => Self::Accepted,
            Settled::Delivered => Self::Delivered,
            Settled::Refused => Self::Refused,
            Settled::Skipped => Self::Skipped,
            Settled::Dead => Self::Dead,
            Settled::InDoubt => Self::InDoubt,
            Settled::Cancelled => Self::Cancelled,
            Settled::Failed => Self::Failed,
        }
    }
}

/// The row of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The recipient.
    pub openid: String,
    /// Where it stands, see [`Delivery::standing`].
    state: DeliveryState,
    /// The number of the last attempt that began, from 1; 0 before the first.
    pub attempt: u32,
    /// Failures that count towards the limit; a resend sets it to 0.
    pub failed: u32,
    /// Grows with each claim, never falls: an answer under an older one comes too late.
    pub fence: u64,
    /// The time of its standing.
    time: Timestamp,
    /// When the last attempt began.
    pub started: Timestamp,
    /// When the first attempt began that may have been accepted; unset by a sure acceptance.
    pub doubt_since: Option<Timestamp>,
    /// The last code.
    pub errcode: Option<i64>,
    /// The provider's message id.
    pub msgid: Option<String>,
    /// Why it is in this state, for people.
    pub reason: Option<String>,
    /// When it last changed.
    pub changed: Timestamp,
    /// Whether it has template values of its own.
    pub has_data: bool,
}

impl Record for Delivery {
    const TREE: Tree = Tree::Outbox;
}

impl Delivery {
    /// A new pending delivery.
    #[must_use]
    pub fn new(openid: String, due: Timestamp, has_data: bool) -> Self {
        Self {
            openid,
            state: DeliveryState::Pending,
            attempt: 0,
            failed: 0,
            fence: 0,
            time: due,
            started: Timestamp(0),
            doubt_since: None,
            errcode: None,
            msgid: None,
            reason: None,
            changed: due,
            has_data,
        }
    }

    /// The state's name.
    #[must_use]
    pub fn state(&self) -> DeliveryState {
        self.state
    }

    /// Where it stands.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let at = self.time;
        let settled = |end| Standing::Settled { end, at };
        match self.state {
            DeliveryState::Pending => Standing::Pending { due: at },
            DeliveryState::Sending => Standing::Sending { until: at },
            DeliveryState::Accepted => settled(Settled::Accepted),
            DeliveryState::Delivered => settled(Settled::Delivered),
            DeliveryState::Refused => settled(Settled::Refused),
            DeliveryState::Skipped => settled(Settled::Skipped),
            DeliveryState::Dead => settled(Settled::Dead),
            DeliveryState::InDoubt => settled(Settled::InDoubt),
            DeliveryState::Cancelled => settled(Settled::Cancelled),
            DeliveryState::Failed => settled(Settled::Failed),
        }
    }

    /// Says where it stands now. Indexes and counts go by it: only the transition calls this.
    pub fn stand(&mut self, standing: Standing) {
        (self.state, self.time) = match standing {
            Standing::Pending { due } => (DeliveryState::Pending, due),
            Standing::Sending { until } => (DeliveryState::Sending, until),
            Standing::Settled { end, at } => (end.into(), at),
        };
    }
}

/// An entry of the send log: one request to the provider and what came of it. Never changed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Entry {
    /// The tenant's interned number.
    pub tenant: u32,
    /// Which delivery.
    pub delivery: DeliveryId,
    /// To whom.
    pub openid: String,
    /// The delivery's attempt.
    pub attempt: u32,
    /// When the request began.
    pub at: Timestamp,
    /// How long it took; 0 when unknown.
    pub duration_ms: u64,
    /// What the answer means.
    pub class: Class,
    /// The provider's code.
    pub errcode: Option<i64>,
    /// The provider's text, or ours.
    pub errmsg: String,
    /// The provider's message id.
    pub msgid: Option<String>,
    /// The provider's request id.
    pub rid: Option<String>,
    /// The answer's body.
    pub response: String,
    /// Who sent it.
    pub worker: String,
    /// In which term.
    pub term: u64,
}

impl Record for Entry {
    const TREE: Tree = Tree::SendLog;
}

/// The reason of a delivery that waits again because a person wants it sent again.
pub const SENT_AGAIN: &str = "sent again by an operator";

/// What a resolved in-doubt delivery becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Resolution {
    /// The operator saw that it arrived.
    Accepted,
    /// It did not arrive and shall be sent again.
    Resend,
    /// It shall not be sent again.
    Refused,
}

impl Named for Resolution {
    const ALL: &'static [Self] = &[Self::Accepted, Self::Resend, Self::Refused];

    fn word(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Resend => "resend",
            Self::Refused => "refused",
        }
    }
}

/// An idempotency key and what it made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyRow {
    /// What was made.
    pub id: Id,
    /// Fingerprint of the body: the first half of its SHA-256.
    pub fingerprint: u128,
    /// When.
    pub at: Timestamp,
}

impl Record for KeyRow {
    const TREE: Tree = Tree::Keys;
}
