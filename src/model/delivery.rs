//! A delivery: one notice to one recipient, the row of the outbox.
//!
//! ```text
//!  pending ─ claim ─► sending ─ ok ─► accepted ─ receipt ─► delivered
//!     ▲ ▲               │ │ │ └ final no ─► refused
//!     │ └── retry ──────┘ │ └ no outcome, window over ─► in_doubt ─ resolve ─► …
//!     │                   └ too many failures ─► dead
//!     ├─ resend ◄── refused, dead, skipped
//!     ├─ expired ─► skipped
//!     └─ cancel ──► cancelled
//! ```

use serde::{Deserialize, Serialize};

use super::attempt::Class;
use crate::id::{DeliveryId, Id};
use crate::kv::Tree;
use crate::store::Record;
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
}

impl DeliveryState {
    /// All states in the order of their numbers.
    pub const ALL: [Self; 9] = [
        Self::Pending,
        Self::Sending,
        Self::Accepted,
        Self::Delivered,
        Self::Refused,
        Self::Skipped,
        Self::Dead,
        Self::InDoubt,
        Self::Cancelled,
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
        }
    }

    /// The state of this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.name() == name)
    }
}

/// The row of a delivery.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delivery {
    /// The recipient.
    pub openid: String,
    /// Where it stands.
    pub state: DeliveryState,
    /// The number of the last attempt that began, from 1; 0 before the first.
    pub attempt: u32,
    /// Failures that count towards the limit; a resend sets it to 0.
    pub failed: u32,
    /// The fence: grows with each claim, never falls.
    pub claim: u64,
    /// Pending: when it may be claimed. Sending: when the claim runs out.
    pub due: Timestamp,
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
            claim: 0,
            due,
            started: Timestamp(0),
            doubt_since: None,
            errcode: None,
            msgid: None,
            reason: None,
            changed: due,
            has_data,
        }
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
