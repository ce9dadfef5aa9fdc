//! An open data directory, and the last steps of every way to it.

use std::path::Path;

use super::identity::{FileId, HeldReason, Identity, InstanceId, Stage};
use super::journal::{self, JournalWriter};
use super::mark::Mark;
use super::plan::RebuildWhy;
use super::refusal::Refused;
use super::store_files;
use crate::kv::sled::SledKv;
use crate::kv::{Fault, Kv};
use crate::regular;

/// How the state was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// The directory was created.
    Fresh,
    /// The base was closed cleanly and held everything.
    Clean,
    /// The base was opened after a crash.
    Recovered {
        /// Commits taken from the journal.
        replayed: u64,
    },
    /// The base was made anew.
    Rebuilt {
        /// Why.
        why: RebuildWhy,
        /// Rows of the image it was made from; 0 without one.
        rows: u64,
        /// Commits taken from the journal.
        replayed: u64,
    },
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fresh => write!(f, "new"),
            Self::Clean => write!(f, "as it was closed"),
            Self::Recovered { replayed } => {
                write!(f, "after a crash, with {replayed} commits of the journal")
            }
            Self::Rebuilt { why, rows, replayed } => write!(
                f,
                "made anew from {rows} rows of an image and {replayed} commits of the journal: {why}"
            ),
        }
    }
}

/// An open data directory. The base holds every commit before `next_seq`.
pub struct Opened {
    /// The base.
    pub kv: SledKv,
    /// The journal, at the beginning of a new file.
    pub journal: JournalWriter,
    /// The number of the next commit.
    pub next_seq: u64,
    /// Who this directory is.
    pub instance: InstanceId,
    /// Why nothing may be sent or handed out, if so.
    pub held: Option<HeldReason>,
    /// How the state was reached.
    pub how: How,
    /// A new image should be made soon: the state does not follow from the archived files alone,
    /// or following it took long. An ordinary crash is no reason: one after the other would fill
    /// the disk with images.
    pub image_wanted: bool,
}

/// What is known when base and journal agree.
pub(super) struct Parts {
    pub(super) last_seq: u64,
    pub(super) writer: InstanceId,
    pub(super) how: How,
    pub(super) image_wanted: bool,
}

/// The last steps of every way: a new journal file, the mark, the identity.
pub(super) fn begin(
    data_dir: &Path,
    identity: &mut Identity,
    kv: SledKv,
    parts: Parts,
) -> Result<Opened, Refused> {
    let Parts { last_seq, writer, how, image_wanted } = parts;
    let instance = identity.instance;
    let next_seq = last_seq + 1;
    let journal = JournalWriter::create(&journal::dir_in(data_dir), next_seq, instance, writer)?;
    kv.sync()?;
    Mark { instance, journal_seq: last_seq, base_seq: last_seq }.write(data_dir)?;
    // After the mark: an established directory without one is a copy that was cut off.
    if identity.stage == Stage::Creating {
        identity.stage = Stage::Established;
        identity.store = FileId::at(&store_files::main_file(data_dir));
        identity.write(data_dir)?;
    }
    Ok(Opened { kv, journal, next_seq, instance, held: identity.held, how, image_wanted })
}

/// A commit that a crashed process wrote but did not sync is about to count: sync it first, else a
/// power cut could take it from the journal while the base keeps it.
pub(super) fn sync_last_journal(data_dir: &Path) -> Result<(), Fault> {
    if let Some(last) = journal::list(&journal::dir_in(data_dir))?.last() {
        regular::open(&last.path)
            .and_then(|file| file.sync_all())
            .map_err(|error| Fault::io("syncing the journal's last file", error))?;
    }
    Ok(())
}
