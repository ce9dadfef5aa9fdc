//! A load generator for the daemon: `cargo bench --bench load -- <scenario> [options]`.
//!
//! It starts a daemon of its own on a directory of its own, loads it over loopback, checks every
//! answer, and prints one line of JSON and one for people. Any answer that is not what it should be
//! ends the run with exit code 1, since a rate of refusals is no rate. `DUEBOX_BIN` names another
//! binary than the one just built.
//!
//! The generator shares the machine with the daemon. It runs on one thread, plus one for the
//! provider's part, and reads and writes HTTP by hand; its own processor time is in the report.

mod args;
mod client;
mod daemon;
mod future;
mod queue;
mod recipients;
mod report;
mod selftest;
mod send;
mod sink;
mod tasks;
mod wire;

use std::process::ExitCode;
use std::sync::Mutex;
use std::time::Duration;

use clap::Parser;
use tokio::sync::oneshot;

use args::{Args, Common, Scenario};
use daemon::Home;
use report::Report;
use send::Entry;

/// What went wrong, in words.
type Failure = Box<dyn std::error::Error + Send + Sync>;
/// A result, or what went wrong.
type Outcome<T> = Result<T, Failure>;

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(report) => {
            report.print();
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Outcome<Report> {
    let scenario = args.scenario.clone().unwrap_or(Scenario::Selftest { count: 20_000 });
    let interrupted = on_interrupt()?;
    let home = Home::new(&args.common)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let limit = Duration::from_secs(60 * args.common.minutes);
    // Whatever ends the scenario, dropping it kills its daemon.
    let result = runtime.block_on(async {
        tokio::select! {
            result = perform(&home, &args.common, scenario) => result,
            () = tokio::time::sleep(limit) => Err("given up: the time is over".into()),
            _ = interrupted => Err("interrupted".into()),
        }
    });
    if args.common.keep {
        eprintln!("load: everything is left in {}", home.path().display());
    }
    if result.is_err() && !home.tail().is_empty() {
        eprintln!("load: the daemon's last words:\n{}", home.tail());
    }
    result
}

async fn perform(home: &Home, common: &Common, scenario: Scenario) -> Outcome<Report> {
    match scenario {
        Scenario::Add { count } => queue::add(home, common, count).await,
        Scenario::AddBatch { count } => queue::add_batch(home, common, count).await,
        Scenario::ClaimAck { count } => queue::claim_ack(home, common, count).await,
        Scenario::ClaimAckBatch { count } => queue::claim_ack_batch(home, common, count).await,
        Scenario::Future { count, then } => future::future(home, common, count, then).await,
        Scenario::Lateness { count, within } => queue::lateness(home, common, count, within).await,
        Scenario::Mixed { count } => queue::mixed(home, common, count).await,
        Scenario::Send { recipients, latency_ms, concurrency, stream } => {
            let entry = if stream { Entry::Stream } else { Entry::Inline };
            let latency = Duration::from_millis(latency_ms);
            send::send(home, recipients, latency, concurrency, entry).await
        }
        Scenario::Restart { recipients } => send::restart(home, recipients).await,
        Scenario::Selftest { count } => selftest::selftest(common, count).await,
    }
}

/// Resolves at SIGINT or SIGTERM, so that an impatient person leaves no daemon behind.
fn on_interrupt() -> Outcome<oneshot::Receiver<()>> {
    let (sender, receiver) = oneshot::channel();
    let sender = Mutex::new(Some(sender));
    ctrlc::set_handler(move || {
        if let Ok(mut sender) = sender.lock()
            && let Some(sender) = sender.take()
        {
            let _ = sender.send(());
        }
    })?;
    Ok(receiver)
}
