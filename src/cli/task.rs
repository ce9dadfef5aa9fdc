//! `duebox task`: add, claim, settle and look at tasks.

use clap::{Args, Subcommand};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::client::{Client, Connect};
use super::notice::Page;
use super::output::{self, Failure};
use super::table::Column;
use super::values::{self, object};
use crate::time::Timestamp;

/// Arguments of `task`.
#[derive(Args, Clone, Debug)]
pub struct TaskArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Clone, Debug, Subcommand)]
enum Verb {
    /// Add one task
    Add(Add),
    /// Claim due tasks; each comes back by itself unless it is settled
    Claim(Claim),
    /// A claimed task is done
    Ack(Settle),
    /// A claimed task failed for now
    Nack(Nack),
    /// A claimed task failed for good
    Reject(Reject),
    /// Keep a claim for longer
    Extend(Extend),
    /// Show one task with its history
    Show(One),
    /// List tasks
    List(List),
    /// Cancel a task
    Cancel(One),
}

#[derive(Args, Clone, Debug)]
struct Add {
    /// The type
    #[arg(value_name = "TYPE")]
    kind: String,
    /// The payload as JSON, @FILE, or - for standard input
    payload: String,
    /// The priority, 0 to 255
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// When it may be worked on: RFC 3339 with a zone [default: now]
    #[arg(long, value_name = "TIME", value_parser = values::time, conflicts_with = "delay")]
    due: Option<Timestamp>,
    /// In how long it may be worked on, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = values::duration_ms)]
    delay: Option<u64>,
    /// Attempts in all
    #[arg(long, value_name = "N")]
    max_attempts: Option<u32>,
    /// Adding again under the same key does nothing twice
    #[arg(long)]
    key: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct Claim {
    /// The type
    #[arg(value_name = "TYPE")]
    kind: String,
    /// Only this priority
    #[arg(long, value_name = "N")]
    priority: Option<u8>,
    /// Most tasks
    #[arg(long, value_name = "N")]
    max: Option<u32>,
    /// How long the claim stands, such as 1m
    #[arg(long, value_name = "DURATION", value_parser = values::duration_ms)]
    ttl: Option<u64>,
    /// How long to wait for work, such as 20s
    #[arg(long, value_name = "DURATION", value_parser = values::duration_ms)]
    wait: Option<u64>,
}

#[derive(Args, Clone, Debug)]
struct Settle {
    /// The task's id
    id: String,
    /// The token that the claim gave
    claim: String,
}

#[derive(Args, Clone, Debug)]
struct Nack {
    #[command(flatten)]
    settle: Settle,
    /// In how long to try again, such as 5m [default: the queue's policy]
    #[arg(long, value_name = "DURATION", value_parser = values::duration_ms)]
    delay: Option<u64>,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct Reject {
    #[command(flatten)]
    settle: Settle,
    /// Why, for the history
    #[arg(long, value_name = "TEXT")]
    reason: Option<String>,
}

#[derive(Args, Clone, Debug)]
struct Extend {
    #[command(flatten)]
    settle: Settle,
    /// How long from now the claim shall stand, such as 5m
    #[arg(long, value_name = "DURATION", value_parser = values::duration_ms)]
    ttl: u64,
}

#[derive(Args, Clone, Debug)]
struct One {
    /// The task's id
    id: String,
}

#[derive(Args, Clone, Debug)]
struct List {
    /// Only this type
    #[arg(long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only those in this state
    #[arg(long)]
    state: Option<String>,
    /// The one with this key, of the type
    #[arg(long, requires = "kind")]
    key: Option<String>,
    /// The newest first
    #[arg(long)]
    newest: bool,
    #[command(flatten)]
    page: Page,
}

const TASK: &[Column] = &[
    ("id", "/id"),
    ("type", "/type"),
    ("priority", "/priority"),
    ("state", "/state"),
    ("due", "/due"),
    ("attempt", "/attempt"),
    ("attempts", "/attempts"),
    ("until", "/until"),
    ("key", "/key"),
    ("payload", "/payload"),
    ("reason", "/reason"),
];

const LIST: &[Column] = &[
    ("ID", "/id"),
    ("TYPE", "/type"),
    ("PRIORITY", "/priority"),
    ("STATE", "/state"),
    ("DUE", "/due"),
];

const CLAIMED: &[Column] = &[
    ("ID", "/id"),
    ("CLAIM", "/claim"),
    ("ATTEMPT", "/attempt"),
    ("UNTIL", "/until"),
    ("PAYLOAD", "/payload"),
];

pub(super) fn run(args: &TaskArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let settle = |verb: &str, settle: &Settle, more: &[(&str, Option<serde_json::Value>)]| {
        let mut fields = vec![("claim", Some(json!(settle.claim)))];
        fields.extend_from_slice(more);
        let answer = client.post(&["v1", "tasks", &settle.id, verb], &object(&fields))?;
        client.show_one(&answer, TASK)
    };
    match &args.verb {
        Verb::Add(add) => {
            let document = object(&[
                ("type", Some(json!(add.kind))),
                ("priority", add.priority.map(|priority| json!(priority))),
                ("due", add.due.map(|due| json!(due.to_string()))),
                ("delay_ms", add.delay.map(|delay| json!(delay))),
                ("max_attempts", add.max_attempts.map(|most| json!(most))),
            ]);
            // What was typed goes out as it was typed: a number read and written again is another one.
            let payload = values::json_text(&add.payload)?;
            let mut body = document.to_string();
            body.truncate(body.len() - 1);
            body.push_str(&format!(",\"payload\":{payload}}}"));
            show(&client, &client.post_text(&["v1", "tasks"], body, add.key.as_deref())?)
        }
        Verb::Claim(claim) => {
            let body = object(&[
                ("type", Some(json!(claim.kind))),
                ("priority", claim.priority.map(|priority| json!(priority))),
                ("max", claim.max.map(|max| json!(max))),
                ("ttl_ms", claim.ttl.map(|ttl| json!(ttl))),
                ("wait_ms", claim.wait.map(|wait| json!(wait))),
            ]);
            let text = client.post_text(&["v1", "tasks", "claim"], body.to_string(), None)?;
            show_claimed(&client, &text)
        }
        Verb::Ack(ack) => settle("ack", ack, &[]),
        Verb::Nack(nack) => {
            let delay = nack.delay.map(|delay| json!(delay));
            let reason = nack.reason.as_ref().map(|reason| json!(reason));
            settle("nack", &nack.settle, &[("delay_ms", delay), ("reason", reason)])
        }
        Verb::Reject(reject) => {
            let reason = reject.reason.as_ref().map(|reason| json!(reason));
            settle("reject", &reject.settle, &[("reason", reason)])
        }
        Verb::Extend(extend) => {
            settle("extend", &extend.settle, &[("ttl_ms", Some(json!(extend.ttl)))])
        }
        Verb::Show(one) => show(&client, &client.get_text(&["v1", "tasks", &one.id], &[])?),
        Verb::List(list) => {
            let query = [
                ("type", list.kind.clone()),
                ("state", list.state.clone()),
                ("key", list.key.clone()),
                ("order", list.newest.then(|| "desc".to_owned())),
                ("limit", list.page.limit.map(|limit| limit.to_string())),
                ("cursor", list.page.cursor.clone()),
            ];
            client.show_list(&client.get(&["v1", "tasks"], &query)?, LIST)
        }
        Verb::Cancel(one) => client.show_one(&client.delete(&["v1", "tasks", &one.id])?, TASK),
    }
}

/// A task with its payload as it is written.
#[derive(Deserialize)]
struct Written<'a> {
    #[serde(borrow)]
    payload: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct Claimed<'a> {
    #[serde(borrow)]
    tasks: Vec<&'a RawValue>,
}

fn show(client: &Client, text: &str) -> Result<(), Failure> {
    if client.wants_json() {
        return output::print_json(text);
    }
    client.show_one(&as_written(client, text)?, TASK)
}

fn show_claimed(client: &Client, text: &str) -> Result<(), Failure> {
    if client.wants_json() {
        return output::print_json(text);
    }
    let claimed: Claimed<'_> = serde_json::from_str(text).map_err(|_| client.stranger())?;
    if claimed.tasks.is_empty() {
        output::say("note", "no task of that type is due");
        return Ok(());
    }
    let tasks: Result<Vec<Value>, Failure> =
        claimed.tasks.iter().map(|task| as_written(client, task.get())).collect();
    client.show_list(&json!({ "tasks": tasks? }), CLAIMED)
}

/// A task whose payload is a text: shown as it came, not as it would be written again.
fn as_written(client: &Client, text: &str) -> Result<Value, Failure> {
    let written: Written<'_> = serde_json::from_str(text).map_err(|_| client.stranger())?;
    let mut task: Value = serde_json::from_str(text).map_err(|_| client.stranger())?;
    if let Some(payload) = written.payload {
        task["payload"] = json!(payload.get());
    }
    Ok(task)
}
