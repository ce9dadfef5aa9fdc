//! `duebox backup`, `restore`, `rebuild` and `inspect`.

use std::path::{Path, PathBuf};

use clap::Args;
use indicatif::{ProgressBar, ProgressStyle};

use super::exit::Exit;
use super::output::{self, Failure};
use crate::config::Storage;
use crate::data_dir::backup::{self, BackupError, Loss, Report};
use crate::data_dir::identity::{Found, HeldReason};
use crate::data_dir::startup::{self, How, OpenOptions, Progress, Refused, RefusedKind};
use crate::lease;
use crate::time::{Clock, SystemClock, Timestamp};

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

/// Arguments of `rebuild`.
#[derive(Args, Clone, Debug)]
pub struct RebuildArgs {
    /// The data directory; its daemon must be stopped
    #[arg(value_name = "DATA_DIR")]
    pub data_dir: PathBuf,
}

fn told(error: &BackupError) -> Failure {
    let failure = Failure::fault(error.to_string());
    match error.hint() {
        Some(hint) => failure.hint(hint),
        None => failure,
    }
}

pub(super) fn backup(args: &BackupArgs) -> Exit {
    let bar = Bar::bytes("copied");
    let done = backup::backup(&args.from, &args.to, &mut |bytes| bar.at(bytes));
    output::finish(done.map_err(|error| told(&error)).and_then(|copied| {
        output::print(&format!(
            "backed up to {}: {}, {} rows in the image, commits up to {}, {} bytes, verified\n",
            args.to.display(),
            as_of(copied.last_at),
            copied.image_rows,
            copied.last_seq,
            copied.bytes,
        ))
    }))
}

/// Up to when something has everything, for people.
fn as_of(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "of an unknown time".to_owned(), |at| format!("as of {at} ({})", age(at)))
}

/// How long ago something was, in the largest unit that fits.
fn age(at: Timestamp) -> String {
    let seconds = SystemClock.now().since(at) / 1_000;
    match seconds {
        0..120 => format!("{seconds} s ago"),
        120..7_200 => format!("{} min ago", seconds / 60),
        7_200..172_800 => format!("{} h ago", seconds / 3_600),
        _ => format!("{} days ago", seconds / 86_400),
    }
}

pub(super) fn restore(args: &RestoreArgs) -> Exit {
    output::finish(restore_here(args))
}

fn restore_here(args: &RestoreArgs) -> Result<(), Failure> {
    let held = (!args.adopt).then_some(HeldReason::Restored);
    let loss = if args.lossy { Loss::Accepted } else { Loss::Refused };
    let bar = Bar::bytes("copied");
    let done = backup::restore(&args.from, &args.to, held, loss, &mut |bytes| bar.at(bytes));
    let copied = done.map_err(|error| told(&error))?;
    drop(bar);
    let next = if args.adopt { "" } else { "; it comes up held: POST /v1/release lets it work" };
    let (to, last, as_of) = (args.to.display(), copied.last_seq, as_of(copied.last_at));
    output::print(&format!("restored {to}: {as_of}, commits up to {last}{next}\n"))?;
    // The store is made now, while somebody looks on. Else the first start does it.
    if let Err(failure) = make_store(&args.to, Store::Missing) {
        output::say("warning", "the store is not made yet; the first start tries again");
        output::finish(Err(failure));
    }
    Ok(())
}

pub(super) fn rebuild(args: &RebuildArgs) -> Exit {
    output::finish(rebuild_here(&args.data_dir))
}

fn rebuild_here(data_dir: &Path) -> Result<(), Failure> {
    if !data_dir.join("identity").exists() {
        return Err(Failure::usage(format!("{} is no data directory", data_dir.display())));
    }
    let before = startup::store_bytes(data_dir);
    let (how, commit) = make_store(data_dir, Store::Replaced)?;
    if !matches!(how, How::Rebuilt { .. }) {
        return Err(Failure::fault("the store could not be made anew and is as it was"));
    }
    let after = startup::store_bytes(data_dir);
    output::print(&format!(
        "rebuilt {}: commits up to {commit}, {before} bytes before, {after} now\n",
        data_dir.display()
    ))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Store {
    Missing,
    Replaced,
}

/// Makes the store of a directory that no daemon works on, and closes it; gives how, and the last
/// commit.
fn make_store(data_dir: &Path, store: Store) -> Result<(How, u64), Failure> {
    let bar = Bar::rows();
    let mut progress = |progress: Progress| match progress {
        Progress::OpeningStore => bar.says("opening the store"),
        Progress::LoadingImage { rows, of } => bar.of("rows of the image", rows, of),
        Progress::Replaying { seq, last } => bar.of("commits of the journal", seq, last),
    };
    let made = lease::while_nobody_leads(data_dir, || {
        let options = OpenOptions {
            cache_bytes: Storage::default().cache_bytes,
            adopt: false,
            rebuild: store == Store::Replaced,
            progress: &mut progress,
        };
        let opened = startup::open(data_dir, options)?;
        let (how, commit) = (opened.how.clone(), opened.next_seq - 1);
        drop(opened);
        startup::close_clean(data_dir, commit)?;
        Ok::<_, Refused>((how, commit))
    });
    match made {
        Err(error) => Err(Failure::fault(error.to_string())),
        Ok(None) => Err(Failure::Told {
            exit: Exit::LeaseHeld,
            errors: vec![format!("a daemon works on {}", data_dir.display())],
            hints: vec!["stop it first".to_owned()],
        }),
        Ok(Some(Err(refused))) => Err(Failure::Told {
            exit: match refused.kind {
                RefusedKind::Data | RefusedKind::Version => Exit::Damaged,
                RefusedKind::Busy | RefusedKind::Storage => Exit::Fault,
            },
            errors: vec![refused.to_string()],
            hints: vec![refused.hint.to_owned()],
        }),
        Ok(Some(Ok(made))) => Ok(made),
    }
}

/// Progress on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn bytes(what: &str) -> Self {
        Self::with(&format!("{{bytes}} {what}, {{bytes_per_sec}}, {{elapsed}}"))
    }

    fn rows() -> Self {
        Self::with("{bar:40} {pos}/{len} {msg} {elapsed}")
    }

    fn with(style: &str) -> Self {
        let bar = ProgressBar::no_length();
        let style = ProgressStyle::with_template(style);
        Self(bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar())))
    }

    fn at(&self, position: u64) {
        self.0.set_position(position);
    }

    fn of(&self, what: &'static str, position: u64, of: u64) {
        self.0.set_length(of);
        self.0.set_position(position);
        self.0.set_message(what);
    }

    fn says(&self, what: &'static str) {
        self.0.set_message(what);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

pub(super) fn inspect(args: &InspectArgs) -> Exit {
    let report = backup::inspect(&args.data_dir);
    let report = report.map_err(|fault| Failure::fault(fault.to_string()));
    output::finish(report.and_then(|report| {
        let text = if args.json { format!("{:#}\n", as_json(&report)) } else { as_text(&report) };
        output::print(&text)?;
        // As the start itself would end.
        if report.refuses { Err(Failure::shown(Exit::Damaged)) } else { Ok(()) }
    }))
}

/// When a file was last written.
fn written(path: &Path) -> Option<Timestamp> {
    let at = std::fs::metadata(path).ok()?.modified().ok()?;
    let since = at.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp(u64::try_from(since.as_millis()).ok()?))
}

fn identity_json(found: &Found) -> serde_json::Value {
    match found {
        Found::Identity(identity) => serde_json::json!({
            "instance": identity.instance.to_string(),
            "format": identity.format,
            "held": identity.held.map(|why| why.to_string()),
            "closed_at_commit": identity.clean.as_ref().map(|clean| clean.seq),
        }),
        Found::Missing => serde_json::json!({"missing": true}),
        Found::Damaged(why) => serde_json::json!({"damaged": why}),
        Found::Newer(format) => serde_json::json!({"newer_format": format}),
    }
}

fn as_json(report: &Report) -> serde_json::Value {
    let images = report.images.iter().map(|image| match image {
        Ok(info) => serde_json::json!({
            "name": info.name(), "commit": info.start_seq, "rows": info.rows(), "bytes": info.bytes,
            "made": written(&info.path).map(|at| at.to_string()),
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
        "identity": identity_json(&report.identity),
        "copy": report.copy,
        "suspect": report.suspect,
        "images": images.collect::<Vec<_>>(),
        "journals": journals.collect::<Vec<_>>(),
        "journals_removed": report.removed,
        "last_commit_at": report.last_at.map(|at| at.to_string()),
        "store_bytes": report.store_bytes,
        "refuses": report.refuses,
        "usable": report.source.as_ref().map(|source| source.last_seq).ok(),
        "a_start_would": report.would,
        "hint": report.hint,
    })
}

fn as_text(report: &Report) -> String {
    let mut text = String::new();
    let mut line = |name: &str, value: &str| text.push_str(&format!("{name:14}{value}\n"));
    match &report.identity {
        Found::Identity(identity) => {
            line("instance", &identity.instance.to_string());
            if let Some(why) = identity.held {
                line("held", &why.to_string());
            }
        }
        Found::Missing => line("identity", "missing"),
        Found::Damaged(why) => line("identity", &format!("damaged: {why}")),
        Found::Newer(format) => line("identity", &format!("format {format}, of a newer version")),
    }
    if report.copy == Some(true) {
        line("copy", "of another directory");
    }
    if let Some(at) = report.last_at {
        line("last commit", &format!("{at}, {}", age(at)));
    }
    line("store", &format!("{} bytes", report.store_bytes));
    for image in &report.images {
        match image {
            Ok(info) => line(
                "image",
                &format!(
                    "{}: made {}, commit {}, {} rows, {} bytes",
                    info.name(),
                    written(&info.path)
                        .map_or_else(|| "at an unknown time".to_owned(), |at| at.to_string()),
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
