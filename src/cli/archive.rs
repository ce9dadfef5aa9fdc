//! `duebox backup`, `restore` and `inspect`.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::output::not_built;

/// Arguments of `backup`.
#[derive(Args, Clone, Debug)]
pub struct BackupArgs {
    /// The data directory; its daemon may be running
    #[arg(value_name = "DATA_DIR")]
    pub from: PathBuf,
    /// The directory to make
    #[arg(value_name = "BACKUP_DIR")]
    pub to: PathBuf,
}

/// Arguments of `restore`.
#[derive(Args, Clone, Debug)]
pub struct RestoreArgs {
    /// A backup, or any copy of a data directory
    #[arg(value_name = "BACKUP_DIR")]
    pub from: PathBuf,
    /// The data directory to make; it must not exist or be empty
    #[arg(value_name = "DATA_DIR")]
    pub to: PathBuf,
}

/// Arguments of `inspect`.
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// The data directory; no daemon may be running on it
    #[arg(value_name = "DATA_DIR")]
    pub data_dir: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

pub(super) fn backup(_args: BackupArgs) -> Exit {
    not_built("backup")
}

pub(super) fn restore(_args: RestoreArgs) -> Exit {
    not_built("restore")
}

pub(super) fn inspect(_args: InspectArgs) -> Exit {
    not_built("inspect")
}
