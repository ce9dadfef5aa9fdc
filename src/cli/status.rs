//! `duebox status`: how a running daemon is doing; `duebox attention`: what needs a person.

use clap::Args;
use serde_json::{Value, json};

use super::client::{Client, Connect, rows};
use super::exit::Exit;
use super::output::{self, Failure};
use super::table::{Column, table};

/// Arguments of `status` and `attention`.
#[derive(Args, Clone, Debug)]
pub struct StatusArgs {
    #[command(flatten)]
    connect: Connect,
}

const TENANTS: &[Column] = &[
    ("TENANT", "/tenant"),
    ("CIRCUIT", "/circuit"),
    ("REQUESTS TODAY", "/requests_today"),
    ("TOKEN AGE MS", "/token/age_ms"),
    ("RATE", "/rate"),
];

const QUEUES: &[Column] = &[
    ("TYPE", "/type"),
    ("PRIORITY", "/priority"),
    ("DEPTH", "/depth"),
    ("CLAIMED", "/claimed"),
    ("DEAD", "/dead"),
    ("OLDEST", "/oldest"),
];

/// Shows readiness, what needs a person, tenants and queues. The exit code says the worst: not ready,
/// or something needs a person.
pub(super) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let (code, ready) = client.look(&["readyz"])?;
    // Whatever else answers there would be taken for a daemon that works.
    if ready.get("role").and_then(Value::as_str).is_none() {
        return Err(client.stranger());
    }
    if code != 200 && ready["role"] != "held" {
        return not_working(&client, code, &ready);
    }
    let attention = client.get(&["v1", "attention"], &[])?;
    let tenants = client.get(&["v1", "tenants"], &[])?;
    let queues = client.get(&["v1", "queues"], &[])?;
    if client.wants_json() {
        let all = json!({
            "ready": ready, "attention": attention, "tenants": tenants, "queues": queues,
        });
        output::print_json(&format!("{all:#}\n"))?;
        return verdict(code, &attention);
    }
    output::print(&readiness(code, &ready))?;
    if !rows(&attention).is_empty() {
        output::print(&format!("\n{}", troubles(&attention)))?;
    }
    for (answer, columns) in [(tenants, TENANTS), (queues, QUEUES)] {
        if !rows(&answer).is_empty() {
            output::print(&format!("\n{}", table(rows(&answer), columns)))?;
        }
    }
    verdict(code, &attention)
}

/// Shows what needs a person, with the calls that help.
pub(super) fn attention(args: &StatusArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let answer = client.get(&["v1", "attention"], &[])?;
    if client.wants_json() {
        output::print_json(&format!("{answer:#}\n"))?;
    } else if rows(&answer).is_empty() {
        output::print("nothing needs a person\n")?;
    } else {
        output::print(&troubles(&answer))?;
    }
    verdict(200, &answer)
}

/// A daemon that is up and does not lead is shown, and knows nothing else.
fn not_working(client: &Client, code: u16, ready: &Value) -> Result<(), Failure> {
    if client.wants_json() {
        output::print_json(&format!("{:#}\n", json!({ "ready": ready })))?;
    } else {
        output::print(&readiness(code, ready))?;
    }
    Err(Failure::shown(Exit::NotReady))
}

fn verdict(code: u16, attention: &Value) -> Result<(), Failure> {
    match (code, rows(attention).is_empty()) {
        (200, true) => Ok(()),
        (200, false) => Err(Failure::shown(Exit::Attention)),
        _ => Err(Failure::shown(Exit::NotReady)),
    }
}

/// One paragraph a trouble: since when, what, and what helps.
fn troubles(answer: &Value) -> String {
    let mut text = String::new();
    for row in rows(answer) {
        let part = |name: &str| output::clean(row[name].as_str().unwrap_or_default());
        text.push_str(&format!(
            "! {} since {}\n  {}\n",
            part("kind"),
            part("since"),
            part("sentence")
        ));
        for act in row["acts"].as_array().into_iter().flatten() {
            let part = |name: &str| output::clean(act[name].as_str().unwrap_or_default());
            let body =
                if act["body"].is_null() { String::new() } else { format!(" {}", act["body"]) };
            text.push_str(&format!(
                "  {}: {} {}{body}\n",
                part("label"),
                part("method"),
                part("path")
            ));
        }
    }
    text
}

/// One line that says whether it works and why not, then whatever else the daemon tells.
fn readiness(code: u16, answer: &Value) -> String {
    let word = if code == 200 { "ready" } else { "not ready" };
    let told: String = match answer {
        Value::Object(fields) => {
            let known = fields.iter().filter(|(name, _)| !PROBLEM.contains(&name.as_str()));
            let line = |(name, value): (&String, &Value)| match value {
                Value::String(text) => format!("{name}  {}\n", output::clean(text)),
                other => format!("{name}  {other}\n"),
            };
            known.map(line).collect()
        }
        _ => String::new(),
    };
    format!("{word}\n{told}")
}

/// Members of a problem that say nothing to a person.
const PROBLEM: [&str; 3] = ["type", "status", "title"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_daemon_that_is_not_ready_says_why() {
        let held =
            json!({"type": "about:blank", "status": 503, "code": "held", "detail": "a copy"});
        assert_eq!(readiness(503, &held), "not ready\ncode  held\ndetail  a copy\n");
        assert_eq!(readiness(200, &json!({"role": "leader"})), "ready\nrole  leader\n");
    }

    #[test]
    fn a_trouble_is_shown_with_what_helps() {
        let answer = json!({"items": [{
            "kind": "tenant_parked", "subject": "acme", "tenant": "acme",
            "since": "2026-11-23T01:00:00.000Z", "sentence": "acme rests\u{1b}[2J",
            "acts": [
                {"label": "resume", "method": "POST", "path": "/v1/tenants/acme/resume", "body": null},
                {"label": "again", "method": "POST", "path": "/x", "body": {"all": true}},
            ],
        }]});
        assert_eq!(
            troubles(&answer),
            "! tenant_parked since 2026-11-23T01:00:00.000Z\n  acme rests [2J\n  \
             resume: POST /v1/tenants/acme/resume\n  again: POST /x {\"all\":true}\n"
        );
        let Err(Failure::Told { exit, .. }) = verdict(200, &answer) else { panic!("it is fine?") };
        assert_eq!(exit, Exit::Attention);
    }
}
