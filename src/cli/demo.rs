//! `duebox demo`.

use clap::Args;

use super::exit::Exit;
use super::output::not_built;

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

pub(super) fn run(_args: DemoArgs) -> Exit {
    not_built("demo")
}
