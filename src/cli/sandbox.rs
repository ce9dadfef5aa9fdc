//! `duebox sandbox`.

use std::net::SocketAddr;

use clap::Args;

use super::exit::Exit;
use super::output::not_built;
use super::values;

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

pub(super) fn run(_args: SandboxArgs) -> Exit {
    not_built("sandbox")
}
