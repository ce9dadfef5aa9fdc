//! A look at a data directory or backup from outside, reading only.

use std::path::Path;

use super::identity::Found;
use super::image::reader::BadImage;
use super::image::{self, ImageInfo};
use super::journal::reader::JournalReader;
use super::journal::{self, JournalFile};
use super::mark::Mark;
use super::plan::{Base, Origin, Plan, plan};
use super::refusal::Refused;
use super::source::{self, NoSource, Source};
use super::survey::Survey;
use super::{reopen, retention, startup};
use crate::id::Id;
use crate::kv::{Cause, Fault};
use crate::store::keys;
use crate::store::schema::{self, Tree};
use crate::time::Timestamp;

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
    /// Journal files that went because an image replaced them, as far as their notes are kept.
    pub removed: usize,
    /// The images, newest first; the counts are those of their trailers.
    pub images: Vec<Result<ImageInfo, BadImage>>,
    /// From what the state could be made without the base. Images and journal were checked whole.
    pub source: Result<Source, NoSource>,
    /// When the last commit was made, as its own changes say; none without a journal to tell.
    pub last_at: Option<Timestamp>,
    /// Bytes of the base.
    pub store_bytes: u64,
    /// What a start would do, or why it would refuse, in one sentence.
    pub would: String,
    /// Whether it would refuse.
    pub refuses: bool,
    /// What to do about a refusal.
    pub hint: Option<&'static str>,
}

/// Looks at everything but changes nothing; works beside a running daemon.
pub fn inspect(data_dir: &Path) -> Result<Report, Fault> {
    let facts = std::fs::metadata(data_dir)
        .map_err(|error| Fault::io("looking at a directory", Cause::at(data_dir, error)))?;
    if !facts.is_dir() {
        return Err(Fault::io("looking at a directory", Cause::at(data_dir, "it is no directory")));
    }
    let survey = Survey::of(data_dir)?;
    let (would, hint, reached) = forecast(data_dir, &survey);
    let copy = survey.known().map(|_| survey.is_copy);
    let Survey { identity, mark, is_suspect, mut journals, images, .. } = survey;
    let all = journals.len();
    let mut notes =
        journals.iter().map(retention::is_note).collect::<Result<Vec<_>, _>>()?.into_iter();
    journals.retain(|_| notes.next() != Some(true));
    Ok(Report {
        identity,
        copy,
        mark,
        suspect: is_suspect,
        removed: all - journals.len(),
        journals,
        images: images.iter().map(|(_, path)| image::reader::peek(path)).collect(),
        source: source::find(data_dir, reached)?,
        last_at: last_commit_at(data_dir),
        store_bytes: startup::store_bytes(data_dir),
        refuses: would.starts_with(REFUSE),
        would,
        hint,
    })
}

/// How a refusal is foretold.
const REFUSE: &str = "refuse: ";

/// When the newest commit that the journal tells of was made: each writes the last id, which has its
/// time.
pub(super) fn last_commit_at(data_dir: &Path) -> Option<Timestamp> {
    let dir = journal::dir_in(data_dir);
    for file in journal::list(&dir).ok()?.iter().rev() {
        let Ok(mut reader) = JournalReader::open(&dir, file.first_seq) else { continue };
        let mut last = None;
        while let Ok(Some(commit)) = reader.next_commit() {
            let id = commit.writes.iter().rev().find(|write| {
                write.tree == Tree::Meta && write.key == schema::LAST_ID && write.value.is_some()
            });
            let id = id.and_then(|write| keys::read_id(write.value.as_deref()?));
            last = id.map(Id::made_at).or(last);
        }
        if last.is_some() {
            return last;
        }
    }
    None
}

fn forecast(data_dir: &Path, survey: &Survey) -> (String, Option<&'static str>, u64) {
    let refuse =
        |refused: Refused, reached| (format!("{REFUSE}{refused}"), Some(refused.hint), reached);
    let plan = match plan(survey) {
        Ok(plan) => plan,
        Err(reason) => return refuse(reason.into(), 0),
    };
    let reached = plan.journal_reached;
    if let Err(refused) = obstacle(data_dir, &plan) {
        return refuse(refused, reached);
    }
    let base = match &plan.base {
        Base::Create => "create a new directory".to_owned(),
        Base::Exact { seq } => format!("open the store, unchanged since commit {seq}"),
        Base::Unchecked { seq } => format!("open the store, closed cleanly at commit {seq}"),
        Base::Crashed => "open the store after a crash and apply the journal".to_owned(),
        Base::Rebuild(why) => format!("rebuild the store, because {why}"),
    };
    let origin = match plan.origin {
        Origin::New | Origin::InPlace(_) => "",
        Origin::Copy(_) => "; it is a copy and gets a new instance",
        Origin::Unknown => "; its origin is unknown and it gets a new instance",
    };
    let held = if plan.held().is_some() { "; it comes up held" } else { "" };
    (format!("{base}{origin}{held}"), None, reached)
}

/// What would stand against a start, as far as can be seen without opening the store.
fn obstacle(data_dir: &Path, plan: &Plan) -> Result<(), Refused> {
    match &plan.base {
        Base::Create | Base::Exact { .. } => Ok(()),
        Base::Unchecked { .. } | Base::Crashed => {
            reopen::refuse_short_journal(data_dir, plan)?;
            reopen::refuse_broken_journal(data_dir, plan)
        }
        Base::Rebuild(why) => {
            match source::source_for(data_dir, plan.journal_reached, plan.copied_stop(), why) {
                Err(refused) if why.may_be_opened(&refused.reason) => {
                    reopen::refuse_short_journal(data_dir, plan).map(|_| ())
                }
                source => source.map(|_| ()),
            }
        }
    }
}
