//! What the configuration decides for the engine, without addresses and secrets.

use std::collections::BTreeMap;

use super::cron::CronRule;
use super::keyword::Overflow;
use super::quiet::Quiet;
use super::retry::RetryPolicy;
use crate::named::Named;
use crate::time::{DAY_MS, MINUTE_MS, SECOND_MS, Timestamp};

/// All rules of one run of the daemon. They do not change while it runs.
#[derive(Clone, Debug, Default)]
pub struct Rules {
    /// Tenants by name.
    pub tenants: BTreeMap<String, TenantRule>,
    /// Task types with rules of their own, by name; others get [`QueueRule::default`].
    pub queues: BTreeMap<String, QueueRule>,
    /// Schedules by name.
    pub schedules: BTreeMap<String, ScheduleRule>,
    /// How long what is finished is kept.
    pub retention: Retention,
}

/// One official account's limits and templates.
#[derive(Clone, Debug)]
pub struct TenantRule {
    /// Requests in flight, 1 to 1000.
    pub concurrency: u32,
    /// Sends per second; 0 means no limit.
    pub rate: u32,
    /// Templates by the name used in a notice.
    pub templates: BTreeMap<String, TemplateRule>,
    /// Retries of deliveries.
    pub retry: RetryPolicy,
    /// The longest time one send may take, token refresh included.
    pub send_timeout_ms: u64,
    /// Whether WeChat's own calls are taken, and receipts with them.
    pub receipts: bool,
    /// Sends of a day in Shanghai; the provider's own limit counts as well.
    pub daily_limit: Option<u32>,
    /// Sends of a day that are kept for urgent notices.
    pub reserve: u32,
    /// When nothing is sent that is not urgent.
    pub quiet: Option<Quiet>,
    /// Messages that one person gets at most.
    pub cap: Option<Cap>,
}

/// Messages that one person gets at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cap {
    /// So many, 1 to 100.
    pub messages: u32,
    /// In this time.
    pub per_ms: u64,
}

impl Default for TenantRule {
    fn default() -> Self {
        Self {
            concurrency: 100,
            rate: 100,
            templates: BTreeMap::new(),
            retry: RetryPolicy::deliveries(),
            send_timeout_ms: 10 * SECOND_MS,
            receipts: false,
            daily_limit: None,
            reserve: 0,
            quiet: None,
            cap: None,
        }
    }
}

/// One template.
#[derive(Clone, Debug, Default)]
pub struct TemplateRule {
    /// The provider's template id.
    pub id: String,
    /// What happens to values over their limit.
    pub overflow: Overflow,
    /// Exceptions by field (`thing1`).
    pub fields: BTreeMap<String, Overflow>,
    /// Fields by other names that notices may use: `title` for `thing1`.
    pub alias: BTreeMap<String, String>,
    /// Values of fields that a notice does not give.
    pub default: BTreeMap<String, String>,
}

impl TemplateRule {
    /// The policy of one field.
    #[must_use]
    pub fn overflow_of(&self, field: &str) -> Overflow {
        self.fields.get(field).copied().unwrap_or(self.overflow)
    }
}

/// How tasks of one type are worked.
#[derive(Clone, Debug)]
pub struct QueueRule {
    /// Retries and when to give up.
    pub retry: RetryPolicy,
    /// How long a claim stands when the consumer does not say.
    pub claim_ttl_ms: u64,
    /// Who works them.
    pub deliver: Deliver,
}

impl Default for QueueRule {
    fn default() -> Self {
        Self { retry: RetryPolicy::tasks(), claim_ttl_ms: 10 * MINUTE_MS, deliver: Deliver::Claim }
    }
}

/// Who works the tasks of a type.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Deliver {
    /// Consumers claim over HTTP.
    Claim,
    /// The daemon pushes: to a webhook or to a built-in worker.
    Push(Push),
}

/// Bounds of pushing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Push {
    /// Tasks under way at once.
    pub concurrency: u32,
    /// Tasks per second; 0 means no limit.
    pub rate: u32,
    /// The longest time one push may take before it counts as failed.
    pub timeout_ms: u64,
    /// Consecutive failures that open the circuit.
    pub circuit_after: u32,
    /// How long an open circuit rests before one task is tried.
    pub circuit_rest_ms: u64,
}

impl Default for Push {
    fn default() -> Self {
        Self {
            concurrency: 8,
            rate: 0,
            timeout_ms: 15 * SECOND_MS,
            circuit_after: 5,
            circuit_rest_ms: 30 * SECOND_MS,
        }
    }
}

/// One cron rule and what it does.
#[derive(Clone, Debug)]
pub struct ScheduleRule {
    /// When.
    pub cron: CronRule,
    /// What.
    pub action: Action,
}

/// What a schedule does when it ticks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Adds one task.
    Task {
        /// Its type.
        kind: String,
        /// Its priority.
        priority: u8,
        /// Its payload, JSON.
        payload: String,
    },
    /// Fetches notices for each tenant and submits them; the address is the edge's business.
    Pull {
        /// The tenants asked for, in order.
        tenants: Vec<String>,
        /// How far each pull asks back beyond the last good one, for what was committed late.
        overlap_ms: u64,
        /// From when the first one asks; the schedule's making when absent.
        since: Option<Timestamp>,
    },
}

/// How long finished things are kept, by kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Send log entries. Finished notices are kept at least as long, since entries refer to them.
    pub log_ms: u64,
    /// Finished notices with their deliveries.
    pub notices_ms: u64,
    /// Ended tasks.
    pub tasks_ms: u64,
    /// Dead letters.
    pub dead_ms: u64,
    /// Runs.
    pub runs_ms: u64,
    /// Idempotency keys.
    pub keys_ms: u64,
}

impl Default for Retention {
    fn default() -> Self {
        Self {
            log_ms: 90 * DAY_MS,
            notices_ms: 90 * DAY_MS,
            tasks_ms: 30 * DAY_MS,
            dead_ms: 180 * DAY_MS,
            runs_ms: 90 * DAY_MS,
            keys_ms: 30 * DAY_MS,
        }
    }
}

/// What kind of thing a schedule does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ActionKind {
    /// It adds a task.
    Task,
    /// It fetches notices.
    Pull,
}

impl Action {
    /// Its kind.
    #[must_use]
    pub fn kind(&self) -> ActionKind {
        match self {
            Self::Task { .. } => ActionKind::Task,
            Self::Pull { .. } => ActionKind::Pull,
        }
    }
}

impl Named for ActionKind {
    const ALL: &'static [Self] = &[Self::Task, Self::Pull];

    fn word(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Pull => "pull",
        }
    }
}
