//! Schedules and their runs.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::id::Id;
use crate::named::Named;
use crate::store::Record;
use crate::store::schema::Tree;
use crate::time::Timestamp;

/// The row of a schedule: where it stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScheduleRow {
    /// The rule that `next` was computed from; another rule computes it anew.
    pub rule: String,
    /// The next tick.
    pub next: Option<Timestamp>,
    /// The run under way.
    pub running: Option<Id>,
    /// A tick that came while a run was under way: one follow-up run is owed.
    pub owed: Option<Timestamp>,
    /// The start of the last run that ended well; `pull` asks for what is newer.
    pub last_good: Option<Timestamp>,
}

impl Record for ScheduleRow {
    const TREE: Tree = Tree::Schedules;
}

/// One execution of a schedule, or why there was none.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// Its schedule.
    pub schedule: String,
    /// The tick it stands for.
    pub planned: Timestamp,
    /// What set it off.
    pub trigger: Trigger,
    /// When it began; for a tick that was not run, when that was decided.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Option<Timestamp>,
    /// How it stands.
    pub outcome: RunOutcome,
    /// Per tenant: what was submitted. A task action counts under `task`.
    pub counts: BTreeMap<String, RunCounts>,
    /// What went wrong.
    pub error: Option<String>,
    /// What else is worth knowing: ticks that this run stands for, the run that does its work.
    pub note: Option<String>,
    /// The term it ran in.
    pub term: u64,
}

impl Record for Run {
    const TREE: Tree = Tree::Runs;
}

/// What set a run off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum Trigger {
    Cron,
    Manual,
    /// A tick that was missed while the daemon was down.
    CatchUp,
    /// The one run that stands for ticks which came during another run.
    FollowUp,
    /// A run that was cut off by the end of the daemon.
    Restart,
}

impl Trigger {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cron => "cron",
            Self::Manual => "manual",
            Self::CatchUp => "catch_up",
            Self::FollowUp => "follow_up",
            Self::Restart => "restart",
        }
    }
}

impl Named for Trigger {
    const ALL: &'static [Self] =
        &[Self::Cron, Self::Manual, Self::CatchUp, Self::FollowUp, Self::Restart];

    fn word(self) -> &'static str {
        self.name()
    }
}

/// How a run stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)]
pub enum RunOutcome {
    Running,
    Done,
    Failed,
    /// Another run was under way; a follow-up run does its work.
    Coalesced,
    /// The daemon ended during it; it is taken up again.
    Interrupted,
    /// It ended, and something of it was refused: kept as dead letters.
    Partly,
}

impl RunOutcome {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Done => "done",
            Self::Failed => "failed",
            Self::Coalesced => "coalesced",
            Self::Interrupted => "interrupted",
            Self::Partly => "partly",
        }
    }
}

impl Named for RunOutcome {
    const ALL: &'static [Self] = &[
        Self::Running,
        Self::Done,
        Self::Failed,
        Self::Coalesced,
        Self::Interrupted,
        Self::Partly,
    ];

    fn word(self) -> &'static str {
        self.name()
    }
}

/// What a run did for one tenant.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunCounts {
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
