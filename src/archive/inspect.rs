//! A look at a data directory or backup from outside, reading only.

use std::path::Path;

use super::decide::{Base, Origin, decide};
use super::identity::{self, Found};
use super::image::{self, BadImage, ImageInfo};
use super::journal::{self, JournalFile};
use super::mark::{self, Mark};
use super::source::{self, NoSource, Source};
use crate::kv::Fault;

/// What is in a data directory.
#[derive(Debug)]
pub struct Report {
    /// The identity file.
    pub identity: Found,
    /// Whether the directory is a copy, when there is an identity.
    pub copy: Option<bool>,
    /// Numbers certainly reached, when the mark is this directory's.
    pub mark: Option<Mark>,
    /// Whether the base reported damage while running.
    pub suspect: bool,
    /// The journal's files, oldest first.
    pub journals: Vec<JournalFile>,
    /// The images, newest first; the counts are those of their trailers.
    pub images: Vec<Result<ImageInfo, BadImage>>,
    /// From what the state could be made without the base. Images and journal were checked whole.
    pub source: Result<Source, NoSource>,
    /// What a start would do, or why it would refuse, in one sentence.
    pub would: String,
    /// What to do about a refusal.
    pub hint: Option<&'static str>,
}

/// Looks at everything but changes nothing; works beside a running daemon.
pub fn inspect(data_dir: &Path) -> Result<Report, Fault> {
    let identity = identity::read(data_dir)?;
    let (copy, mark) = match &identity {
        Found::Identity(identity) => {
            (Some(identity.is_copy(data_dir)), Mark::read(data_dir, identity.instance)?)
        }
        Found::Missing | Found::Damaged(_) | Found::Newer(_) => (None, None),
    };
    let images = image::list(&image::dir_in(data_dir))?;
    let (would, hint, reached) = forecast(data_dir);
    Ok(Report {
        identity,
        copy,
        mark,
        suspect: mark::is_suspect(data_dir),
        journals: journal::list(&journal::dir_in(data_dir))?,
        images: images.iter().map(|(_, path)| image::peek(path)).collect(),
        source: source::find(data_dir, reached)?,
        would,
        hint,
    })
}

fn forecast(data_dir: &Path) -> (String, Option<&'static str>, u64) {
    let decision = match decide(data_dir) {
        Ok(decision) => decision,
        Err(refused) => return (format!("refuse: {refused}"), Some(refused.hint), 0),
    };
    let base = match &decision.base {
        Base::Create => "create a new directory".to_owned(),
        Base::Exact { seq } => format!("open the store, unchanged since commit {seq}"),
        Base::Unchecked { seq } => format!("open the store, closed cleanly at commit {seq}"),
        Base::Crashed => "open the store after a crash and apply the journal".to_owned(),
        Base::Rebuild(why) => format!("rebuild the store, because {why}"),
    };
    let origin = match decision.origin {
        Origin::New | Origin::InPlace(_) => "",
        Origin::Copy(_) => "; it is a copy and gets a new instance",
        Origin::Unknown => "; its origin is unknown and it gets a new instance",
    };
    let held = if decision.held().is_some() { "; it comes up held" } else { "" };
    (format!("{base}{origin}{held}"), None, decision.journal_reached)
}
