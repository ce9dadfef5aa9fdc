//! `duebox serve`.

use std::path::PathBuf;

use clap::Args;

use super::check;
use super::exit::Exit;
use super::output::{self, Failure};
use crate::daemon::{self, Ended};
use crate::logger;

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

pub(super) fn run(args: &ServeArgs) -> Exit {
    logger::start();
    let exit = output::finish(serve(args));
    logger::settle(logger::LAST_LINES);
    exit
}

fn serve(args: &ServeArgs) -> Result<(), Failure> {
    let config = check::load(&args.config)?;
    let told = |exit, error: String, hint: Option<String>| {
        Err(Failure::Told { exit, errors: vec![error], hints: hint.into_iter().collect() })
    };
    match daemon::run(config, args.adopt) {
        Ended::Stopped => Ok(()),
        Ended::Refused { reason, hint, again } => {
            let exit = if again { Exit::Fault } else { Exit::Damaged };
            told(exit, reason, Some(hint))
        }
        Ended::Usage(why) => told(Exit::Usage, why, None),
        Ended::Fault(why) => told(Exit::Fault, why, None),
    }
}
