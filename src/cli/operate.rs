//! The acts of an operator: dead letters, deliveries in doubt, queues, tenants, schedules, a held copy.

use clap::{Args, Subcommand, ValueEnum};
use serde_json::{Value, json};

use super::client::Connect;
use super::notice::Page;
use super::output::{self, Failure};
use super::table::{self, Column};
use super::values::{self, object};
use crate::model::errcode;
use crate::time::Timestamp;

/// Arguments of `dead`.
#[derive(Args, Clone, Debug)]
pub struct DeadArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    verb: DeadVerb,
}

#[derive(Clone, Debug, Subcommand)]
enum DeadVerb {
    /// List dead letters, the oldest first
    List {
        /// Only these
        #[arg(long, value_enum)]
        kind: Option<DeadKind>,
        /// Only tasks of this type
        #[arg(long = "type", value_name = "TYPE")]
        task_type: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Bring dead letters back
    Redrive(Redrive),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum DeadKind {
    Task,
    Delivery,
    Notice,
}

#[derive(Args, Clone, Debug)]
#[group(id = "which", required = true, multiple = false)]
struct Redrive {
    /// Tasks
    #[arg(long, value_name = "ID", num_args = 1.., group = "which")]
    task: Vec<String>,
    /// Deliveries
    #[arg(long, value_name = "ID", num_args = 1.., group = "which")]
    delivery: Vec<String>,
    /// Refused notices, submitted again as they are
    #[arg(long, value_name = "ID", num_args = 1.., group = "which")]
    refused: Vec<String>,
    /// All tasks of this type
    #[arg(long = "type", value_name = "TYPE", group = "which")]
    task_type: Option<String>,
    /// All deliveries of this notice
    #[arg(long, value_name = "ID", group = "which")]
    notice: Option<String>,
    /// All tasks and deliveries
    #[arg(long, group = "which")]
    all: bool,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
}

const DEAD: &[Column] = &[
    ("KIND", "/kind"),
    ("ID", "/id"),
    ("DIED", "/died"),
    ("TENANT", "/tenant"),
    ("TYPE", "/type"),
    ("ERRCODE", "/errcode"),
    ("REASON", "/reason"),
];

pub(super) fn dead(args: &DeadArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    match &args.verb {
        DeadVerb::List { kind, task_type, page } => {
            let kind = kind.map(|kind| match kind {
                DeadKind::Task => "task".to_owned(),
                DeadKind::Delivery => "delivery".to_owned(),
                DeadKind::Notice => "notice".to_owned(),
            });
            let query = [
                ("kind", kind),
                ("type", task_type.clone()),
                ("limit", page.limit.map(|limit| limit.to_string())),
                ("cursor", page.cursor.clone()),
            ];
            client.show_list(&client.get(&["v1", "dead"], &query)?, DEAD)
        }
        DeadVerb::Redrive(redrive) => {
            let some = |ids: &[String]| (!ids.is_empty()).then(|| json!(ids));
            let body = object(&[
                ("tasks", some(&redrive.task)),
                ("deliveries", some(&redrive.delivery)),
                ("notices", some(&redrive.refused)),
                ("type", redrive.task_type.as_ref().map(|kind| json!(kind))),
                ("notice", redrive.notice.as_ref().map(|id| json!(id))),
                ("all", redrive.all.then_some(Value::Bool(true))),
                ("dry_run", redrive.dry_run.then_some(Value::Bool(true))),
            ]);
            // One call brings back a bounded number.
            let mut count = 0;
            loop {
                let mut answer = client.post(&["v1", "dead", "redrive"], &body)?;
                count += answer["count"].as_u64().unwrap_or(0);
                if answer["more"] == true && !redrive.dry_run {
                    continue;
                }
                answer["count"] = json!(count);
                let columns = &[("count", "/count"), ("dry run", "/dry_run"), ("more", "/more")];
                return client.show_one(&answer, columns);
            }
        }
    }
}

/// Arguments of `delivery`.
#[derive(Args, Clone, Debug)]
pub struct DeliveryArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    verb: DeliveryVerb,
}

#[derive(Clone, Debug, Subcommand)]
enum DeliveryVerb {
    /// Show one delivery with its attempts
    Show {
        /// The delivery's id
        id: String,
    },
    /// List deliveries that may have been shown or not, of all notices
    InDoubt {
        /// Only this tenant's
        #[arg(long)]
        tenant: Option<String>,
        /// Only this notice's
        #[arg(long, value_name = "ID")]
        notice: Option<String>,
        #[command(flatten)]
        page: Page,
    },
    /// Say what became of a delivery in doubt
    Resolve {
        /// The delivery's id
        id: String,
        /// What it is from now on
        #[arg(long = "as", value_enum)]
        verdict: Resolution,
    },
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Resolution {
    /// It was shown
    Accepted,
    /// It was not shown and shall not be
    Refused,
    /// Send it again, at the risk of a second message
    Resend,
}

const DELIVERY: &[Column] = &[
    ("id", "/id"),
    ("notice", "/notice"),
    ("tenant", "/tenant"),
    ("openid", "/openid"),
    ("state", "/state"),
    ("attempt", "/attempt"),
    ("failed", "/failed"),
    ("due", "/due"),
    ("in doubt since", "/doubt_since"),
    ("errcode", "/errcode"),
    ("meaning", "/meaning"),
    ("msgid", "/msgid"),
    ("reason", "/reason"),
    ("changed", "/changed"),
];
const ATTEMPTS: &[Column] = &[
    ("ATTEMPT", "/attempt"),
    ("AT", "/at"),
    ("CLASS", "/class"),
    ("ERRCODE", "/errcode"),
    ("MS", "/duration_ms"),
    ("MEANING", "/meaning"),
];
const DOUBTS: &[Column] = &[
    ("ID", "/id"),
    ("TENANT", "/tenant"),
    ("OPENID", "/openid"),
    ("SINCE", "/doubt_since"),
    ("TITLE", "/title"),
];

pub(super) fn delivery(args: &DeliveryArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    match &args.verb {
        DeliveryVerb::Show { id } => {
            let answer = client.get(&["v1", "deliveries", id], &[])?;
            client.show_one(&answer, DELIVERY)?;
            let attempts = answer["attempts"].as_array().map_or(&[][..], Vec::as_slice);
            if client.wants_json() || attempts.is_empty() {
                return Ok(());
            }
            output::print(&format!("\n{}", table::table(attempts, ATTEMPTS)))
        }
        DeliveryVerb::InDoubt { tenant, notice, page } => {
            let query = [
                ("state", Some("in_doubt".to_owned())),
                ("tenant", tenant.clone()),
                ("notice", notice.clone()),
                ("limit", page.limit.map(|limit| limit.to_string())),
                ("cursor", page.cursor.clone()),
            ];
            client.show_list(&client.get(&["v1", "deliveries"], &query)?, DOUBTS)
        }
        DeliveryVerb::Resolve { id, verdict } => {
            let verdict = match verdict {
                Resolution::Accepted => "accepted",
                Resolution::Refused => "refused",
                Resolution::Resend => "resend",
            };
            let path = ["v1", "deliveries", id, "resolve"];
            client.show_one(&client.post(&path, &json!({"as": verdict}))?, DELIVERY)
        }
    }
}

/// Arguments of `queue`.
#[derive(Args, Clone, Debug)]
pub struct QueueArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    verb: QueueVerb,
}

#[derive(Clone, Debug, Subcommand)]
enum QueueVerb {
    /// Depth and state per type and priority
    List,
    /// Hand out nothing of a type
    Pause {
        /// The type
        #[arg(value_name = "TYPE")]
        name: String,
    },
    /// Hand out again, also after failures of its consumer
    Resume {
        /// The type
        #[arg(value_name = "TYPE")]
        name: String,
    },
}

const QUEUES: &[Column] = &[
    ("TYPE", "/type"),
    ("PRIORITY", "/priority"),
    ("DEPTH", "/depth"),
    ("CLAIMED", "/claimed"),
    ("DEAD", "/dead"),
    ("LATE MS", "/late_ms"),
    ("PAUSED", "/paused"),
    ("CIRCUIT", "/circuit"),
    ("LAST ERROR", "/last_error"),
];

pub(super) fn queue(args: &QueueArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let steer = |name: &str, verb: &str| {
        let answer = client.post(&["v1", "queues", name, verb], &json!({}))?;
        client.show_one(&answer, &[("type", "/type"), ("paused", "/paused")])
    };
    match &args.verb {
        QueueVerb::List => client.show_list(&client.get(&["v1", "queues"], &[])?, QUEUES),
        QueueVerb::Pause { name } => steer(name, "pause"),
        QueueVerb::Resume { name } => steer(name, "resume"),
    }
}

/// Arguments of `tenant`.
#[derive(Args, Clone, Debug)]
pub struct TenantArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    verb: TenantVerb,
}

#[derive(Clone, Debug, Subcommand)]
enum TenantVerb {
    /// Limits, what is in flight, rests, tokens
    List,
    /// End a tenant's rest
    Resume {
        /// The tenant
        name: String,
    },
    /// Send one message to one recipient
    Test {
        /// The tenant
        name: String,
        /// The recipient
        openid: String,
        /// The template's name in the configuration
        #[arg(long, value_name = "NAME")]
        template: String,
        /// A template value; repeat for each
        #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
        data: Vec<(String, String)>,
    },
}

const TENANTS: &[Column] = &[
    ("TENANT", "/tenant"),
    ("CIRCUIT", "/circuit"),
    ("IN FLIGHT", "/in_flight"),
    ("REQUESTS TODAY", "/requests_today"),
    ("RESTS UNTIL", "/held_until"),
    ("REASON", "/reason"),
];

pub(super) fn tenant(args: &TenantArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    match &args.verb {
        TenantVerb::List => client.show_list(&client.get(&["v1", "tenants"], &[])?, TENANTS),
        TenantVerb::Resume { name } => {
            let answer = client.post(&["v1", "tenants", name, "resume"], &json!({}))?;
            client.show_one(&answer, &[("tenant", "/tenant"), ("circuit", "/circuit")])
        }
        TenantVerb::Test { name, openid, template, data } => {
            let data: serde_json::Map<String, Value> =
                data.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
            let body = json!({"openid": openid, "template": template, "data": data});
            let answer = client.post(&["v1", "tenants", name, "test"], &body)?;
            let columns = &[("id", "/id"), ("state", "/state"), ("delivery", "/delivery")];
            client.show_one(&answer, columns)
        }
    }
}

/// Arguments of `schedule`.
#[derive(Args, Clone, Debug)]
pub struct ScheduleArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    verb: ScheduleVerb,
}

#[derive(Clone, Debug, Subcommand)]
enum ScheduleVerb {
    /// The rules, with their next times
    List,
    /// Run one now
    Run {
        /// The schedule
        name: String,
        /// Only this tenant of a pull; repeat for more
        #[arg(long)]
        tenant: Vec<String>,
        /// What is new since this time, RFC 3339 with a zone, instead of since the last good run
        #[arg(long, value_name = "TIME", value_parser = values::time)]
        since: Option<Timestamp>,
    },
    /// What ran, the newest first
    Runs {
        /// Only this schedule's
        name: Option<String>,
        #[command(flatten)]
        page: Page,
    },
}

const SCHEDULES: &[Column] = &[
    ("NAME", "/name"),
    ("CRON", "/cron"),
    ("TIMEZONE", "/timezone"),
    ("NEXT", "/next"),
    ("RUNNING", "/running"),
    ("LAST GOOD", "/last_good"),
];
const RUNS: &[Column] = &[
    ("RUN", "/id"),
    ("SCHEDULE", "/schedule"),
    ("PLANNED", "/planned"),
    ("TRIGGER", "/trigger"),
    ("OUTCOME", "/outcome"),
    ("ERROR", "/error"),
];

pub(super) fn schedule(args: &ScheduleArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    match &args.verb {
        ScheduleVerb::List => client.show_list(&client.get(&["v1", "schedules"], &[])?, SCHEDULES),
        ScheduleVerb::Run { name, tenant, since } => {
            let body = object(&[
                ("tenants", (!tenant.is_empty()).then(|| json!(tenant))),
                ("since", since.map(|since| json!(since.to_string()))),
            ]);
            let answer = client.post(&["v1", "schedules", name, "run"], &body)?;
            client.show_one(&answer, &[("run", "/run"), ("schedule", "/schedule")])
        }
        ScheduleVerb::Runs { name, page } => {
            let query = [
                ("schedule", name.clone()),
                ("limit", page.limit.map(|limit| limit.to_string())),
                ("cursor", page.cursor.clone()),
            ];
            client.show_list(&client.get(&["v1", "runs"], &query)?, RUNS)
        }
    }
}

/// Arguments of `release`.
#[derive(Args, Clone, Debug)]
pub struct ReleaseArgs {
    #[command(flatten)]
    connect: Connect,
    /// What happens to notices that are not finished: the original may have sent them since
    #[arg(long, value_enum, default_value = "hold")]
    pending: Pending,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Pending {
    /// They wait for a resume or a cancel, one by one
    Hold,
    /// They are sent
    Send,
}

pub(super) fn release(args: &ReleaseArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let pending = match args.pending {
        Pending::Hold => "hold",
        Pending::Send => "send",
    };
    let answer = client.post(&["v1", "release"], &json!({"pending": pending}))?;
    let columns = &[
        ("released", "/released"),
        ("was held", "/was_held"),
        ("what waited", "/pending"),
        ("  notices", "/waiting/notices"),
        ("  deliveries", "/waiting/deliveries"),
        ("  tasks", "/waiting/tasks"),
        ("copy made", "/waiting/last_commit_at"),
    ];
    client.show_one(&answer, columns)
}

/// Arguments of `why`.
#[derive(Args, Clone, Debug)]
pub struct WhyArgs {
    #[command(flatten)]
    connect: Connect,
    /// The notice
    #[arg(value_name = "NOTICE")]
    notice: String,
    /// Who asks
    #[arg(value_name = "OPENID")]
    openid: String,
}

/// Says what became of a notice for one person.
pub(super) fn why(args: &WhyArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let query = [("notice", Some(args.notice.clone())), ("openid", Some(args.openid.clone()))];
    let answer = client.get(&["v1", "why"], &query)?;
    if client.wants_json() {
        return client.show_one(&answer, &[]);
    }
    // What is printed is made harmless for a terminal on its way.
    output::print(&format!("{}\n\n", answer["sentence"].as_str().unwrap_or_default()))?;
    let rows = answer["timeline"].as_array().cloned().unwrap_or_default();
    output::print(&table::table(&rows, &[("AT", "/at"), ("WHAT", "/what")]))
}

/// Arguments of `explain`.
#[derive(Args, Clone, Debug)]
pub struct ExplainArgs {
    /// The provider's errcode, such as 40164
    #[arg(allow_negative_numbers = true)]
    code: i64,
}

/// Says what a code of the provider means and what the daemon does about it. Asks nobody.
pub(super) fn explain(args: &ExplainArgs) -> Result<(), Failure> {
    let code = args.code;
    let class = errcode::classify(code);
    output::print(&format!("{code}: {}\n{}\n", errcode::meaning(code), class.consequence()))
}
