//! `duebox backup`, `restore` and `inspect`.

use std::path::PathBuf;

use clap::Args;

use super::exit::Exit;
use super::output::{self, Failure};
use crate::archive::backup::{self, BackupError, Loss, Report};
use crate::archive::identity::HeldReason;

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
    /// Let the restored directory work at once: the original will never run again
    #[arg(long)]
    pub adopt: bool,
    /// Take what is there, though something that was accepted is known to be missing
    #[arg(long)]
    pub lossy: bool,
}

/// Arguments of `inspect`.
#[derive(Args, Clone, Debug)]
pub struct InspectArgs {
    /// The data directory; its daemon may be running
    #[arg(value_name = "DATA_DIR")]
    pub data_dir: PathBuf,
    /// Print the findings as JSON
    #[arg(long)]
    pub json: bool,
}

fn told(error: &BackupError) -> Failure {
    let hint = error.hint().map_or_else(String::new, |hint| format!("\nhint: {hint}"));
    Failure::fault(format!("{error}{hint}"))
}

pub(super) fn backup(args: &BackupArgs) -> Exit {
    let done = backup::backup(&args.from, &args.to).map_err(|error| told(&error));
    output::finish(done.and_then(|copied| {
        output::print(&format!(
            "backed up to {}: {} rows in the image, commits up to {}, {} bytes, verified\n",
            args.to.display(),
            copied.image_rows,
            copied.last_seq,
            copied.bytes,
        ))
    }))
}

pub(super) fn restore(args: &RestoreArgs) -> Exit {
    let held = (!args.adopt).then_some(HeldReason::Restored);
    let loss = if args.lossy { Loss::Accepted } else { Loss::Refused };
    let done = backup::restore(&args.from, &args.to, held, loss).map_err(|error| told(&error));
    output::finish(done.and_then(|copied| {
        let next =
            if args.adopt { "" } else { "; it comes up held: POST /v1/release lets it work" };
        output::print(&format!(
            "restored {}: commits up to {}{next}\n",
            args.to.display(),
            copied.last_seq
        ))
    }))
}

pub(super) fn inspect(args: &InspectArgs) -> Exit {
    let report = backup::inspect(&args.data_dir);
    let report = report.map_err(|fault| Failure::fault(fault.to_string()));
    output::finish(report.and_then(|report| {
        if args.json {
            return output::print(&format!("{}\n", as_json(&report)));
        }
        output::print(&as_text(&report))
    }))
}

fn as_json(report: &Report) -> serde_json::Value {
    let images = report.images.iter().map(|image| match image {
        Ok(info) => serde_json::json!({
            "name": info.name(), "commit": info.start_seq, "rows": info.rows(), "bytes": info.bytes,
        }),
        Err(bad) => serde_json::json!({ "error": bad.to_string() }),
    });
    let journals = report.journals.iter().map(|file| {
        serde_json::json!({
            "first_commit": file.first_seq, "bytes": file.bytes,
            "path": file.path.display().to_string(),
        })
    });
    serde_json::json!({
        "identity": format!("{:?}", report.identity),
        "copy": report.copy,
        "suspect": report.suspect,
        "images": images.collect::<Vec<_>>(),
        "journals": journals.collect::<Vec<_>>(),
        "journals_removed": report.removed,
        "usable": report.source.as_ref().map(|source| source.last_seq).ok(),
        "a_start_would": report.would,
        "hint": report.hint,
    })
}

fn as_text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:14}{value}\n"));
    for image in &report.images {
        match image {
            Ok(info) => line(
                "image",
                &format!(
                    "{}: commit {}, {} rows, {} bytes",
                    info.name(),
                    info.start_seq,
                    info.rows(),
                    info.bytes
                ),
            ),
            Err(bad) => line("bad image", &bad.to_string()),
        }
    }
    for file in &report.journals {
        line("journal", &format!("from commit {}, {} bytes", file.first_seq, file.bytes));
    }
    if report.removed > 0 {
        line("removed", &format!("{} journal files that an image replaced", report.removed));
    }
    match &report.source {
        Ok(source) => line("usable", &format!("up to commit {}", source.last_seq)),
        Err(none) => line("not usable", &none.why),
    }
    if report.suspect {
        line("suspect", "the last process saw damage: the store will be rebuilt");
    }
    line("a start would", &report.would);
    if let Some(hint) = report.hint {
        line("hint", hint);
    }
    text
}
