//! What can be looked at.

use super::page::Page;
use crate::engine::mode::Mode;
use crate::id::{DeliveryId, Id};
use crate::model::delivery::DeliveryState;
use crate::model::marks::Mark;
use crate::model::notice::NoticeState;
use crate::model::task::{QueueCounts, TaskState};
use crate::named::Named;
use crate::store::Order;
use crate::store::keys::DeadItem;
use crate::time::Timestamp;

/// What can be looked at.
#[derive(Debug)]
#[allow(missing_docs)]
pub enum Query {
    Notices {
        tenant: Option<String>,
        state: Option<NoticeState>,
        /// The one with this key; needs the tenant, since keys belong to one.
        key: Option<String>,
        /// Those with all of these marks.
        marks: Vec<Mark>,
        order: Order,
        page: Page,
    },
    Notice(Id),
    Deliveries {
        notice: Id,
        state: Option<DeliveryState>,
        openid: Option<String>,
        page: Page,
    },
    Delivery(DeliveryId),
    Log {
        filter: LogFilter,
        order: Order,
        page: Page,
    },
    Tenants,
    Tasks {
        kind: Option<String>,
        state: Option<TaskState>,
        /// The one with this key; needs the type, since keys belong to one.
        key: Option<String>,
        /// Those with all of these marks.
        marks: Vec<Mark>,
        /// With what was given to do.
        payload: bool,
        order: Order,
        page: Page,
    },
    Task(Id),
    Queues {
        kind: Option<String>,
        page: Page,
    },
    Dead {
        kind: Option<String>,
        only: Option<DeadKind>,
        /// With what was given to do.
        payload: bool,
        page: Page,
    },
    /// One refused notice that is kept.
    Letter(Id),
    Schedules,
    Runs {
        schedule: Option<String>,
        page: Page,
    },
    Run(Id),
    Quarantine(Page),
    /// What waits in a copy.
    Pending,
    Stats,
    /// What needs a person.
    Attention,
    /// How many deliveries of a notice are in these states, with this code if one is given.
    Count {
        notice: Id,
        states: Vec<DeliveryState>,
        errcode: Option<i64>,
        page: Page,
    },
    /// What became of a notice for one person.
    Why {
        tenant: Option<String>,
        openid: String,
        notice: Option<Id>,
        /// Or the newest one that its caller calls so.
        reference: Option<String>,
    },
    /// Deliveries in doubt, of all notices or one.
    Doubts {
        tenant: Option<String>,
        notice: Option<Id>,
        page: Page,
    },
}

impl Query {
    /// What is looked at, for the log.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Notices { .. } => "notices",
            Self::Notice(_) => "notice",
            Self::Deliveries { .. } => "deliveries",
            Self::Delivery(_) => "delivery",
            Self::Log { .. } => "log",
            Self::Tenants => "tenants",
            Self::Tasks { .. } => "tasks",
            Self::Task(_) => "task",
            Self::Queues { .. } => "queues",
            Self::Dead { .. } => "dead",
            Self::Letter(_) => "letter",
            Self::Schedules => "schedules",
            Self::Runs { .. } => "runs",
            Self::Run(_) => "run",
            Self::Quarantine(_) => "quarantine",
            Self::Pending => "pending",
            Self::Stats => "stats",
            Self::Attention => "attention",
            Self::Count { .. } => "deliveries, counted",
            Self::Why { .. } => "why",
            Self::Doubts { .. } => "deliveries in doubt",
        }
    }
}

/// Kinds of dead letters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadKind {
    /// Tasks.
    Task,
    /// Deliveries.
    Delivery,
    /// Refused notices of pulls.
    Notice,
    /// Deliveries in doubt: not dead, but a person is waited for.
    InDoubt,
}

impl Named for DeadKind {
    const ALL: &'static [Self] = &[Self::Task, Self::Delivery, Self::Notice, Self::InDoubt];

    fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Delivery => "delivery",
            Self::Notice => "notice",
            Self::InDoubt => "in_doubt",
        }
    }
}

impl DeadKind {
    pub(super) fn has(self, item: DeadItem) -> bool {
        matches!(
            (self, item),
            (Self::Task, DeadItem::Task(_))
                | (Self::Delivery, DeadItem::Delivery(..))
                | (Self::Notice, DeadItem::Notice(_))
        )
    }
}

/// What is asked of the send log. All that is given must fit.
#[derive(Clone, Debug, Default)]
pub struct LogFilter {
    /// Entries of this tenant.
    pub tenant: Option<String>,
    /// Entries to this recipient; needs the tenant, since openids belong to one.
    pub openid: Option<String>,
    /// Entries of this notice.
    pub notice: Option<Id>,
    /// Entries with this code.
    pub errcode: Option<i64>,
    /// Not before.
    pub from: Option<Timestamp>,
    /// Before.
    pub to: Option<Timestamp>,
    /// Entries of notices with all of these marks.
    pub marks: Vec<Mark>,
}

/// A snapshot of the engine's numbers.
#[derive(Clone, Debug)]
pub struct Stats {
    /// Whether work is handed out.
    pub mode: Mode,
    /// The term of this process.
    pub term: u64,
    /// The number of the last commit.
    pub commit: u64,
    /// Claims that wait for work.
    pub waiters: usize,
    /// Bytes of the base on disk.
    pub store_bytes: u64,
    /// Task types that are known.
    pub types: usize,
    /// Per tenant.
    pub tenants: Vec<TenantStats>,
    /// Per type, the most frequent ones.
    pub queues: Vec<QueueStats>,
}

/// One tenant's numbers.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct TenantStats {
    pub tenant: String,
    pub in_flight: u32,
    pub held: bool,
    pub requests_today: u64,
    pub token_fetches: u64,
    /// How long the first due delivery has been due.
    pub late_ms: u64,
}

/// One type's numbers, over its priorities.
#[derive(Clone, Debug)]
#[allow(missing_docs)]
pub struct QueueStats {
    pub kind: String,
    pub counts: QueueCounts,
    /// How long the first due task has been due.
    pub late_ms: u64,
}
