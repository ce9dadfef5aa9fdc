//! `duebox sandbox`.

use std::net::SocketAddr;

use clap::Args;
use tokio::net::TcpListener;

use super::exit::Exit;
use super::output::{self, Failure};
use super::values;
use crate::daemon::signals;
use crate::sandbox::{self, DEFAULT_TEMPLATE, Faults, Options};

/// Arguments of `sandbox`.
#[derive(Args, Clone, Debug)]
pub struct SandboxArgs {
    /// Where it listens; port 0 picks one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:7290")]
    pub listen: SocketAddr,
    /// The seed of everything random
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// How many people follow each account
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    pub followers: u32,
    /// How many sends of 1000 are accepted while their answer gets lost
    #[arg(long, value_name = "PER_MILLE", default_value_t = 0, value_parser = clap::value_parser!(u16).range(0..=1_000))]
    pub lost: u16,
    /// How long an answer takes, such as 80ms
    #[arg(long, value_name = "DURATION", default_value = "0ms", value_parser = values::duration_ms)]
    pub latency: u64,
}

/// Sends per account and day: enough for a million recipients and their repetitions.
const DAILY_QUOTA: u64 = 10_000_000;

pub(super) fn run(args: &SandboxArgs) -> Exit {
    output::finish(serve(args))
}

fn serve(args: &SandboxArgs) -> Result<(), Failure> {
    if !args.listen.ip().is_loopback() {
        return Err(Failure::usage(format!("--listen: {} is not on loopback", args.listen))
            .hint("the sandbox knows no guests: it is for this machine only"));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|why| Failure::fault(why.to_string()))?;
    let faults =
        Faults { lost_answer_permille: args.lost, latency_ms: args.latency, ..Faults::default() };
    let options = Options {
        seed: args.seed,
        followers: args.followers,
        faults,
        daily_quota: DAILY_QUOTA,
        ..Options::default()
    };
    runtime.block_on(async {
        let stop = signals::install().map_err(|why| Failure::fault(why.to_string()))?;
        let listener = TcpListener::bind(args.listen).await;
        let listener =
            listener.map_err(|why| Failure::fault(format!("--listen: {}: {why}", args.listen)))?;
        let address = listener.local_addr().map_err(|why| Failure::fault(why.to_string()))?;
        output::print(&format!("listening on http://{address}\n"))?;
        for account in &options.tenants {
            output::say("account", &format!("{} {}", account.appid, account.secret));
        }
        output::say("template", DEFAULT_TEMPLATE);
        output::say("follower", &format!("{} and so on", sandbox::follower(0, 0)));
        let seen = sandbox::serve(listener, options, stop.asked()).await;
        output::say("calls", &seen.calls.to_string());
        Ok(())
    })
}
