//! `duebox demo`: the main job in one command, with a SIGKILL in the middle.
//!
//! The sandbox and the daemon are processes of their own, started from this program; the demo talks
//! to both over HTTP as any client would, and its verdict comes from the sandbox's ledger.

mod audit;
mod processes;

use std::time::{Duration, Instant};

use clap::Args;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Value, json};

use self::audit::{Audit, count};
use self::processes::{Daemon, Http, Place, Sandbox};
use super::exit::Exit;
use super::output::{self, Failure};
use crate::sandbox::follower;

/// Arguments of `demo`.
#[derive(Args, Clone, Debug)]
pub struct DemoArgs {
    /// How many recipients are written to
    #[arg(long, value_name = "N", default_value_t = 8_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub recipients: u32,
    /// Keep the data directory and say where it is
    #[arg(long)]
    pub keep: bool,
    /// The seed of everything random, to see the same run again
    #[arg(long, value_name = "N")]
    pub seed: Option<u64>,
}

/// Every so many recipients there is one who does not follow the account.
const STRANGER_EVERY: u32 = 400;
/// Longest time for everything: 1,000,000 recipients at the slowest machine's pace.
const PATIENCE: Duration = Duration::from_secs(1_800);
/// How long receipts are waited for.
const RECEIPTS_WITHIN: Duration = Duration::from_secs(10);
/// Pause between looks at the notice.
const LOOK_EVERY: Duration = Duration::from_millis(50);

pub(super) fn run(args: &DemoArgs) -> Exit {
    output::finish(demo(args))
}

fn demo(args: &DemoArgs) -> Result<(), Failure> {
    let http = Http::new()?;
    let place = Place::new(args.keep)?;
    let seed = args.seed.unwrap_or(1);
    let sandbox = Sandbox::start(args.recipients, seed)?;
    place.configure(&sandbox, &http)?;
    let mut daemon = Daemon::start(&place, &http)?;
    say(&format!("sandbox {} and daemon {} are up, in {}", sandbox.url, daemon.url, place.shown()));
    http.post(
        &sandbox.url,
        "/_sandbox/faults",
        &json!({
            "lost_answer_permille": 5, "system_error_permille": 5, "latency_ms": 15
        }),
    )?;

    let began = Instant::now();
    let notice = submit(&http, &daemon, args.recipients)?;
    say(&format!(
        "notice {notice}: {} recipients on disk in {} ms",
        args.recipients,
        began.elapsed().as_millis()
    ));

    let bar = bar(args.recipients);
    let sending = Instant::now();
    let mut killed = false;
    let last = loop {
        let now = http.get(&daemon.url, &format!("/v1/notices/{notice}"))?;
        let settled = u64::from(args.recipients) - count(&now, "pending") - count(&now, "sending");
        bar.set_position(settled);
        if !killed && settled * 2 >= u64::from(args.recipients) {
            killed = true;
            bar.suspend(|| say(&format!("kill -9 {} after {settled} recipients", daemon.pid())));
            daemon.kill()?;
            let since = Instant::now();
            daemon = Daemon::start(&place, &http)?;
            bar.suspend(|| {
                say(&format!("the daemon is back after {} ms", since.elapsed().as_millis()))
            });
            continue;
        }
        if now.get("state").and_then(Value::as_str) == Some("done") {
            break now;
        }
        if PATIENCE < sending.elapsed() {
            return Err(Failure::fault("the notice did not finish in time"));
        }
        std::thread::sleep(LOOK_EVERY);
    };
    bar.finish_and_clear();
    let took = sending.elapsed();
    let last = with_receipts(&http, &daemon, &notice, last)?;
    let audit = Audit::take(&http, &sandbox, &last, args.recipients, strangers(args.recipients))?;
    output::print(&audit.report(took))?;
    daemon.stop()?;
    drop(sandbox);
    if args.keep {
        say(&format!("the data directory stays: {}", place.shown()));
    }
    audit.verdict()
}

/// Waits a while for the receipts of what was accepted: those that the daemon did not take while it was
/// down are tried again twice, and may be lost.
fn with_receipts(
    http: &Http,
    daemon: &Daemon,
    notice: &str,
    mut last: Value,
) -> Result<Value, Failure> {
    let since = Instant::now();
    while count(&last, "accepted") > 0 && since.elapsed() < RECEIPTS_WITHIN {
        std::thread::sleep(LOOK_EVERY);
        last = http.get(&daemon.url, &format!("/v1/notices/{notice}"))?;
    }
    Ok(last)
}

fn say(line: &str) {
    output::say("demo", line);
}

fn strangers(recipients: u32) -> u32 {
    recipients / STRANGER_EVERY
}

fn submit(http: &Http, daemon: &Daemon, recipients: u32) -> Result<String, Failure> {
    let strangers = strangers(recipients);
    let openids: Vec<String> = (0..recipients)
        .map(|number| {
            // The last ones follow nobody: the sandbox has followers up to its own number.
            let stranger = recipients - strangers <= number;
            follower(0, if stranger { number + 10_000_000 } else { number })
        })
        .collect();
    let mut body = json!({
        "tenant": "demo", "template": "new_task", "title": "Job 4711", "key": "demo",
        "data": { "thing1": "Boiler check in the old building", "time2": "2026-11-23 09:00" },
    });
    if openids.len() <= crate::limits::INLINE_RECIPIENTS {
        body["audience"] = json!({ "openids": openids });
        return id_of(&http.post(&daemon.url, "/v1/notices", &body)?);
    }
    body["audience"] = json!({ "stream": true });
    let id = id_of(&http.post(&daemon.url, "/v1/notices", &body)?)?;
    let lines: String =
        openids.iter().map(|openid| format!("{{\"openid\":\"{openid}\"}}\n")).collect();
    http.post_lines(&daemon.url, &format!("/v1/notices/{id}/recipients?done=true"), lines)?;
    Ok(id)
}

fn id_of(answer: &Value) -> Result<String, Failure> {
    let id = answer.get("id").and_then(Value::as_str).map(str::to_owned);
    id.ok_or_else(|| Failure::fault(format!("no id in the answer: {answer}")))
}

fn bar(recipients: u32) -> ProgressBar {
    let bar = ProgressBar::new(u64::from(recipients));
    bar.set_draw_target(ProgressDrawTarget::stderr());
    let style = "{bar:40} {pos}/{len} {per_sec} {eta}";
    bar.with_style(
        ProgressStyle::with_template(style).unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}
