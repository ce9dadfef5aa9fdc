//! What the engine shows: one type for each thing that can be looked at.
//!
//! A view is described once, by its type: its fields are what is written as JSON and what stands in
//! the OpenAPI document, with their comments. The engine fills them and writes no JSON itself.

mod dead;
mod delivery;
mod notice;
mod operate;
mod rehearsal;
mod row;
mod scalars;
mod task;
mod why;

use serde::Serialize;

use crate::engine::attention::list::Attention;
use crate::engine::query::asked::Stats;

pub use dead::{DeadLetter, DeadOrDoubt, DeliveryLetter, NoticeLetter, TaskLetter};
pub use delivery::{Counted, DeliveryView, LogEntry};
pub use notice::{AudienceView, CanaryView, CountsView, MiniprogramView, NoticeView};
pub use operate::{
    QuarantinedRow, QuotaView, RunView, ScheduleView, TenantRun, TenantView, TokenView, Waiting,
};
pub use rehearsal::{DayView, DryRunView, FindingView};
pub use row::{Listed, Row};
pub(in crate::engine) use scalars::raw_or_text;
pub use scalars::{At, DeliveryText, IdText, Raw, Word};
pub use task::{Circuit, Deliverer, QueueView, TaskAttempt, TaskView};
pub use why::{Happening, WhyView};

/// What came of a query.
#[derive(Debug, Serialize)]
#[serde(untagged)]
#[allow(missing_docs, reason = "they are named as what was asked for")]
pub enum View {
    Notices(Listed<NoticeView>),
    Notice(Box<NoticeView>),
    Deliveries(Listed<DeliveryView>),
    Delivery(Box<DeliveryView>),
    Log(Listed<LogEntry>),
    Tenants(Listed<TenantView>),
    Tasks(Listed<TaskView>),
    Task(Box<TaskView>),
    Queues(Listed<QueueView>),
    Dead(Listed<DeadLetter>),
    Letter(Box<NoticeLetter>),
    Schedules(Listed<ScheduleView>),
    Runs(Listed<RunView>),
    Run(Box<RunView>),
    Quarantine(Listed<QuarantinedRow>),
    Pending(Waiting),
    Count(Counted),
    Why(Box<WhyView>),
    DryRun(Box<DryRunView>),
    /// Numbers for metrics.
    #[serde(skip)]
    Stats(Box<Stats>),
    /// What needs a person.
    #[serde(skip)]
    Attention(Attention),
}

impl View {
    /// The view as JSON text; `None` for what is not shown as a document.
    #[must_use]
    pub fn document(&self) -> Option<String> {
        serde_json::to_string(self).ok()
    }
}
