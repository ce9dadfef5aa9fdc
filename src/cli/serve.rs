//! `duebox serve`.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::output::not_built;

/// Arguments of `serve`.
#[derive(Args, Clone, Debug)]
pub struct ServeArgs {
    /// The configuration file
    #[arg(long, value_name = "FILE", default_value = super::CONFIG)]
    pub config: PathBuf,
    /// Let a copied data directory work; without this it comes up held
    #[arg(long)]
    pub adopt: bool,
}

pub(super) fn run(_args: ServeArgs) -> Exit {
    not_built("serve")
}
