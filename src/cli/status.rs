//! `duebox status`: how a running daemon is doing.

use clap::Args;
use serde_json::{Value, json};

use super::client::{Connect, rows};
use super::output::{self, Failure};
use super::table::{Column, table};

/// Arguments of `status`.
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

/// Shows readiness, tenants and queues. A daemon that is up and not ready is shown, not an error:
/// the reason is what the caller wants to see.
pub(super) fn run(args: &StatusArgs) -> Result<(), Failure> {
    let client = args.connect.client()?;
    let (code, ready) = client.look(&["readyz"])?;
    let tenants = client.get(&["v1", "tenants"], &[]);
    let queues = client.get(&["v1", "queues"], &[]);
    if client.wants_json() {
        let all = json!({ "ready": ready, "tenants": tenants?, "queues": queues? });
        return output::print(&format!("{all:#}\n"));
    }
    output::print(&readiness(code, &ready))?;
    for (answer, columns) in [(tenants?, TENANTS), (queues?, QUEUES)] {
        if !rows(&answer).is_empty() {
            output::print(&format!("\n{}", table(rows(&answer), columns)))?;
        }
    }
    Ok(())
}

/// One line that says whether it works and why not, then whatever else the daemon tells.
fn readiness(code: u16, answer: &Value) -> String {
    let word = if code == 200 { "ready" } else { "not ready" };
    let told = match answer {
        Value::Object(fields) => {
            let known = fields.iter().filter(|(name, _)| !PROBLEM.contains(&name.as_str()));
            let line = |(name, value): (&String, &Value)| match value {
                Value::String(text) => format!("{name}  {}\n", output::clean(text)),
                other => format!("{name}  {other}\n"),
            };
            known.map(line).collect()
        }
        Value::String(text) if !text.trim().is_empty() => {
            format!("{}\n", output::clean(text.trim()))
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
        assert_eq!(readiness(200, &json!("ok\n")), "ready\nok\n");
    }
}
