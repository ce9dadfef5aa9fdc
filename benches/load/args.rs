//! What can be asked of the generator.

use std::path::PathBuf;

use clap::{Parser, Subcommand};

/// Loads a daemon of its own over loopback and checks every answer.
#[derive(Debug, Parser)]
#[command(name = "load")]
pub(crate) struct Args {
    /// What to do; the self-test when absent, so that a bare `cargo bench` stays short.
    #[command(subcommand)]
    pub(crate) scenario: Option<Scenario>,
    /// Options of all scenarios.
    #[command(flatten)]
    pub(crate) common: Common,
}

/// Options of all scenarios.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Common {
    /// Connections at once.
    #[arg(long, global = true, default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) connections: u32,
    /// Bytes of a task's payload.
    #[arg(long, global = true, default_value_t = 300, value_parser = clap::value_parser!(u32).range(64..=60_000))]
    pub(crate) payload: u32,
    /// Where the data directory is made; on the disk of the build by default, since a temporary
    /// directory in memory would flatter.
    #[arg(long, global = true, default_value = env!("CARGO_TARGET_TMPDIR"))]
    pub(crate) dir: PathBuf,
    /// Leave the data directory and the daemon's log behind.
    #[arg(long, global = true)]
    pub(crate) keep: bool,
    /// The scenario is given up after this many minutes.
    #[arg(long, global = true, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
    pub(crate) minutes: u64,
    /// Given by cargo; means nothing.
    #[arg(long, global = true, hide = true)]
    pub(crate) bench: bool,
}

/// The scenarios.
#[derive(Clone, Debug, Subcommand)]
pub(crate) enum Scenario {
    /// Single adds.
    Add {
        /// Tasks in all.
        #[arg(long, default_value_t = 100_000)]
        count: u64,
    },
    /// Adds of 500 at a time.
    AddBatch {
        /// Tasks in all.
        #[arg(long, default_value_t = 1_000_000)]
        count: u64,
    },
    /// Claims of one task, acked one by one.
    ClaimAck {
        /// Tasks in all.
        #[arg(long, default_value_t = 100_000)]
        count: u64,
    },
    /// Claims of 100 tasks, settled at once.
    ClaimAckBatch {
        /// Tasks in all.
        #[arg(long, default_value_t = 1_000_000)]
        count: u64,
    },
    /// A large store of tasks in the far future; then adds, claims, a clean stop and a kill.
    Future {
        /// Tasks in all.
        #[arg(long, default_value_t = 5_000_000)]
        count: u64,
        /// Single adds, and claims, once the store is full.
        #[arg(long, default_value_t = 20_000)]
        then: u64,
    },
    /// How late a waiting consumer hears of due tasks.
    Lateness {
        /// Tasks in all.
        #[arg(long, default_value_t = 20_000)]
        count: u64,
        /// They become due within this many seconds.
        #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=600))]
        within: u64,
    },
    /// Single adds and claims of ten at once, half of the connections each.
    Mixed {
        /// Tasks in all.
        #[arg(long, default_value_t = 100_000)]
        count: u64,
    },
    /// One notice to many recipients, sent to a provider that takes everything.
    Send {
        /// Recipients.
        #[arg(long, default_value_t = 100_000)]
        recipients: usize,
        /// How long the provider takes to answer.
        #[arg(long, default_value_t = 0, value_parser = clap::value_parser!(u64).range(0..=10_000))]
        latency_ms: u64,
        /// Requests in flight.
        #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1000))]
        concurrency: u32,
        /// Stream the recipients instead of naming them in the notice.
        #[arg(long)]
        stream: bool,
    },
    /// Start-up with many pending deliveries, after a clean stop and after a kill.
    Restart {
        /// Recipients.
        #[arg(long, default_value_t = 1_000_000)]
        recipients: usize,
    },
    /// The generator's client against its own sink; no daemon.
    Selftest {
        /// Messages.
        #[arg(long, default_value_t = 20_000)]
        count: usize,
    },
}
