//! Tenants, schedules, runs and what lies aside, as people see them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::row::{ROW_BYTES, Row, len};
use super::scalars::{At, IdText, Word};
use super::task::Circuit;
use crate::model::rules::ActionKind;
use crate::model::run::{RunCounts, RunOutcome, Trigger};

/// A tenant.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TenantView {
    /// Its name.
    pub tenant: String,
    /// Most messages on the wire at once.
    pub concurrency: u32,
    /// Most messages a second; 0 without a limit.
    pub rate: u32,
    /// How much of the rate is used at the moment: less after WeChat wanted it slower.
    pub pace_percent: u32,
    /// Most messages on the wire at once, as the configuration has it.
    pub configured_concurrency: u32,
    /// Most messages a second, as the configuration has it.
    pub configured_rate: u32,
    /// The names of its templates.
    pub templates: Vec<String>,
    /// Messages on the wire.
    pub in_flight: u32,
    /// Requests to WeChat since midnight in Shanghai.
    pub requests_today: u64,
    /// What the day has and what is left of it; absent when nobody limits it.
    pub quota: Option<QuotaView>,
    /// When the present quiet hours end.
    pub quiet_until: Option<At>,
    /// Open while nothing of it is sent.
    pub circuit: Word<Circuit>,
    /// Until when it rests.
    pub held_until: Option<At>,
    /// Why.
    pub reason: Option<String>,
    /// Its access token.
    pub token: TokenView,
}

impl Row for TenantView {
    fn bytes(&self) -> usize {
        ROW_BYTES + len(self.reason.as_ref())
    }
}

/// Sends of the day in Shanghai.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Quota")]
pub struct QuotaView {
    /// How many there are: by the configuration or by WeChat, whichever is less.
    pub limit: u64,
    /// How many are used, as far as is known.
    pub used: u64,
    /// How many are left.
    pub left: u64,
    /// How many of them are kept for urgent notices.
    pub reserve: u32,
    /// When WeChat last told.
    pub told_at: Option<At>,
}

/// An access token, without the token.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TokenView {
    /// How often one was fetched.
    pub fetches: u64,
    /// When this one was.
    pub fetched_at: Option<At>,
    /// When it ends.
    pub expires_at: Option<At>,
    /// Its age.
    pub age_ms: Option<u64>,
}

/// A schedule.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ScheduleView {
    /// Its name.
    pub name: String,
    /// Its rule.
    pub cron: String,
    /// The zone in which the rule is meant.
    pub timezone: String,
    /// What a run does.
    pub action: Word<ActionKind>,
    /// The next tick.
    pub next: Option<At>,
    /// The run under way.
    pub running: Option<IdText>,
    /// A tick that came during a run, for which another will follow.
    pub owed: Option<At>,
    /// When the last run that ended well began.
    pub last_good: Option<At>,
}

impl Row for ScheduleView {
    fn bytes(&self) -> usize {
        ROW_BYTES
    }
}

/// A run of a schedule, or why there was none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Run")]
pub struct RunView {
    /// Its id.
    pub id: IdText,
    /// Its schedule.
    pub schedule: String,
    /// The tick it stands for.
    pub planned: At,
    /// What set it off.
    pub trigger: Word<Trigger>,
    /// When it began.
    pub start: At,
    /// When it ended.
    pub end: Option<At>,
    /// How it stands.
    pub outcome: Word<RunOutcome>,
    /// What it did, by tenant; a task under `task`.
    pub counts: BTreeMap<String, TenantRun>,
    /// What went wrong.
    pub error: Option<String>,
    /// What else is worth knowing.
    pub note: Option<String>,
    /// In which term of the daemon.
    pub term: u64,
}

impl Row for RunView {
    fn bytes(&self) -> usize {
        let counts: usize = self.counts.values().map(|one| 120 + len(one.error.as_ref())).sum();
        ROW_BYTES + counts + len(self.error.as_ref())
    }
}

/// What a run did for one tenant.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TenantRun {
    /// Notices or tasks found.
    pub found: u32,
    /// Of them new.
    pub submitted: u32,
    /// Of them known already.
    pub known: u32,
    /// Of them refused.
    pub refused: u32,
    /// The first refusal or fault.
    pub error: Option<String>,
}

impl From<&RunCounts> for TenantRun {
    fn from(counts: &RunCounts) -> Self {
        let RunCounts { found, submitted, known, refused, error } = counts.clone();
        Self { found, submitted, known, refused, error }
    }
}

/// A damaged row that was set aside.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct QuarantinedRow {
    /// The tree it lay in.
    pub tree: Option<&'static str>,
    /// Its id, where its key has one.
    pub id: Option<IdText>,
    /// Its bytes.
    pub bytes: usize,
}

impl Row for QuarantinedRow {
    fn bytes(&self) -> usize {
        ROW_BYTES
    }
}

/// What waits in a copy.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Waiting {
    /// Notices that are not done.
    pub notices: u64,
    /// Their deliveries that wait.
    pub deliveries: u64,
    /// Tasks that wait.
    pub tasks: u64,
    /// When the last commit was made that came with the copy.
    pub last_commit_at: Option<At>,
}
