//! `duebox notice`: submit, look at and steer notices.

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::client::{Client, Connect};
use super::output::Failure;
use super::table::Column;
use super::values::{self, object};
use crate::time::Timestamp;

mod stream;

use stream::Recipients;

/// Arguments of `notice`.
#[derive(Args, Clone, Debug)]
pub struct NoticeArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Submit a notice, from a JSON file or from arguments
    Submit(Box<Submit>),
    /// Add the recipients of a file to a notice that waits for them, and close it
    Recipients(Add),
    /// Show one notice with its counts
    Show(Show),
    /// List notices, the newest first
    List(List),
    /// Hold a notice; what is on the wire ends
    Pause(One),
    /// Go on with a held notice
    Resume(One),
    /// Withdraw what waits
    Cancel(One),
    /// Begin now instead of at its time
    Send(One),
    /// Send again to recipients that did not get it
    Resend(Resend),
}

#[derive(Args, Clone, Debug)]
struct Submit {
    /// The whole notice as JSON, as the HTTP call takes it; - reads standard input
    #[arg(value_name = "FILE", required_unless_present = "tenant",
          conflicts_with_all = ["tenant", "template", "data", "title", "url", "send_at", "expires_at", "audience"])]
    file: Option<String>,
    /// The tenant
    #[arg(long, requires = "template", requires = "audience")]
    tenant: Option<String>,
    /// The template's name in the configuration
    #[arg(long, value_name = "NAME", requires = "tenant")]
    template: Option<String>,
    /// A template value; repeat for each
    #[arg(long, value_name = "NAME=VALUE", value_parser = values::pair)]
    data: Vec<(String, String)>,
    /// A title for people, shown in lists and the log
    #[arg(long)]
    title: Option<String>,
    /// Where a tap on the message leads
    #[arg(long)]
    url: Option<String>,
    /// When to begin: RFC 3339 with a zone
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    send_at: Option<Timestamp>,
    /// When to give up on what still waits
    #[arg(long, value_name = "TIME", value_parser = values::time)]
    expires_at: Option<Timestamp>,
    #[command(flatten)]
    audience: Audience,
    /// Submitting again under the same key does nothing twice
    #[arg(long)]
    key: Option<String>,
}

#[derive(Args, Clone, Debug)]
#[group(id = "audience", multiple = false)]
struct Audience {
    /// Recipients
    #[arg(long, value_name = "OPENID", num_args = 1..)]
    to: Vec<String>,
    /// A file of recipients, read as a whole before anything is submitted: one openid or
    /// {"openid": …, "data": …} a line, or CSV with a heading; - reads standard input
    #[arg(long, value_name = "FILE")]
    recipients: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct Add {
    /// The notice's id
    id: String,
    /// One openid or {"openid": …, "data": …} a line, or CSV with a heading; - reads standard input
    #[arg(value_name = "FILE")]
    file: String,
    /// More recipients come: leave the notice open
    #[arg(long)]
    more: bool,
}

#[derive(Args, Clone, Debug)]
struct One {
    /// The notice's id
    id: String,
}

#[derive(Args, Clone, Debug)]
struct Show {
    /// The notice's id
    id: String,
    /// List its deliveries instead
    #[arg(long)]
    deliveries: bool,
    /// Only deliveries in this state
    #[arg(long, requires = "deliveries")]
    state: Option<String>,
    #[command(flatten)]
    page: Page,
}

#[derive(Args, Clone, Debug)]
struct List {
    /// Only this tenant's
    #[arg(long)]
    tenant: Option<String>,
    /// Only those in this state
    #[arg(long)]
    state: Option<String>,
    /// The one with this key, of the tenant
    #[arg(long, requires = "tenant")]
    key: Option<String>,
    /// The oldest first
    #[arg(long)]
    oldest: bool,
    #[command(flatten)]
    page: Page,
}

#[derive(Args, Clone, Debug)]
struct Resend {
    /// The notice's id
    id: String,
    /// Only deliveries in this state; repeat for more [default: refused and dead]
    #[arg(long, value_name = "STATE")]
    state: Vec<String>,
    /// Only those that were answered with this code
    #[arg(long, value_name = "CODE", allow_negative_numbers = true)]
    errcode: Option<i64>,
    /// Only count them
    #[arg(long)]
    dry_run: bool,
}

/// One page of a list.
#[derive(Args, Clone, Debug)]
pub(super) struct Page {
    /// Most rows
    #[arg(long, value_name = "N")]
    pub(super) limit: Option<u32>,
    /// Where an earlier list said to go on
    #[arg(long)]
    pub(super) cursor: Option<String>,
}

const LIST: &[Column] = &[
    ("ID", "/id"),
    ("STATE", "/state"),
    ("TENANT", "/tenant"),
    ("TEMPLATE", "/template"),
    ("TOTAL", "/total"),
    ("TITLE", "/title"),
    ("REASON", "/reason"),
];

const DELIVERIES: &[Column] = &[
    ("ID", "/id"),
    ("OPENID", "/openid"),
    ("STATE", "/state"),
    ("ATTEMPT", "/attempt"),
    ("DUE", "/due"),
    ("ERRCODE", "/errcode"),
    ("REASON", "/reason"),
];

const ADDED: &[Column] = &[
    ("lines", "/lines"),
    ("added", "/added"),
    ("known before", "/known"),
    ("total", "/total"),
    ("closed", "/closed"),
];

const NOTICE: &[Column] = &[
    ("id", "/id"),
    ("tenant", "/tenant"),
    ("template", "/template"),
    ("title", "/title"),
    ("state", "/state"),
    ("reason", "/reason"),
    ("created", "/created"),
    ("send at", "/send_at"),
    ("finished", "/finished"),
    ("in doubt", "/in_doubt"),
    ("total", "/total"),
    ("  pending", "/counts/pending"),
    ("  sending", "/counts/sending"),
    ("  accepted", "/counts/accepted"),
    ("  delivered", "/counts/delivered"),
    ("  failed", "/counts/failed"),
    ("  without receipt", "/without_receipt"),
    ("  refused", "/counts/refused"),
    ("  skipped", "/counts/skipped"),
    ("  dead", "/counts/dead"),
    ("  in doubt", "/counts/in_doubt"),
    ("  cancelled", "/counts/cancelled"),
    ("on the wire", "/in_flight"),
    ("sent again", "/count"),
    ("rate", "/rate"),
    ("eta", "/eta"),
];

pub(super) fn run(args: &NoticeArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    match &args.verb {
        Verb::Submit(submit) => run_submit(&client, submit),
        Verb::Recipients(add) => {
            let recipients = Recipients::read(values::open(&add.file)?)?;
            client.show_one(&recipients.send(&client, &add.id, !add.more)?, ADDED)
        }
        Verb::Show(show) if show.deliveries => {
            let query = [
                ("state", show.state.clone()),
                ("limit", show.page.limit.map(|limit| limit.to_string())),
                ("cursor", show.page.cursor.clone()),
            ];
            let path = ["v1", "notices", &show.id, "deliveries"];
            client.show_list(&client.get(&path, &query)?, DELIVERIES)
        }
        Verb::Show(show) => {
            client.show_one(&client.get(&["v1", "notices", &show.id], &[])?, NOTICE)
        }
        Verb::List(list) => {
            let query = [
                ("tenant", list.tenant.clone()),
                ("state", list.state.clone()),
                ("key", list.key.clone()),
                ("order", list.oldest.then(|| "asc".to_owned())),
                ("limit", list.page.limit.map(|limit| limit.to_string())),
                ("cursor", list.page.cursor.clone()),
            ];
            client.show_list(&client.get(&["v1", "notices"], &query)?, LIST)
        }
        Verb::Pause(one) => steer(&client, &one.id, "pause", &json!({})),
        Verb::Resume(one) => steer(&client, &one.id, "resume", &json!({})),
        Verb::Cancel(one) => steer(&client, &one.id, "cancel", &json!({})),
        Verb::Send(one) => steer(&client, &one.id, "send", &json!({})),
        Verb::Resend(resend) => {
            let states = (!resend.state.is_empty()).then(|| json!(resend.state));
            let body = object(&[
                ("states", states),
                ("errcode", resend.errcode.map(|code| json!(code))),
                ("dry_run", resend.dry_run.then_some(Value::Bool(true))),
            ]);
            steer(&client, &resend.id, "resend", &body)
        }
    }
}

fn steer(client: &Client, id: &str, verb: &str, body: &Value) -> Result<(), Failure> {
    client.show_one(&client.post(&["v1", "notices", id, verb], body)?, NOTICE)
}

fn run_submit(client: &Client, args: &Submit) -> Result<(), Failure> {
    let body = match &args.file {
        Some(path) => values::json_file(path)?,
        None => body_of(args),
    };
    // Read before anything is submitted: a bad line must not leave an open notice behind.
    let path = args.audience.recipients.as_deref();
    let recipients = path.map(|path| Recipients::read(values::open(path)?)).transpose()?;
    let mut answer = client.submit(&["v1", "notices"], &body, args.key.as_deref())?;
    if let Some(recipients) = recipients {
        let id = answer.get("id").and_then(Value::as_str).unwrap_or_default().to_owned();
        recipients.send(client, &id, true)?;
        answer = client.get(&["v1", "notices", &id], &[])?;
    }
    client.show_one(&answer, NOTICE)
}

fn body_of(args: &Submit) -> Value {
    let audience = &args.audience;
    let audience = match audience.recipients {
        Some(_) => json!({ "stream": true }),
        None => json!({ "openids": audience.to }),
    };
    let data: serde_json::Map<String, Value> =
        args.data.iter().map(|(name, value)| (name.clone(), json!(value))).collect();
    let text = |text: &Option<String>| text.as_ref().map(|text| json!(text));
    let time = |time: Option<Timestamp>| time.map(|time| json!(time.to_string()));
    object(&[
        ("tenant", text(&args.tenant)),
        ("template", text(&args.template)),
        ("data", Some(Value::Object(data))),
        ("title", text(&args.title)),
        ("url", text(&args.url)),
        ("audience", Some(audience)),
        ("send_at", time(args.send_at)),
        ("expires_at", time(args.expires_at)),
    ])
}
