//! Why a data directory is not opened, and what to do about it.

use super::journal::commit::{Broken, BrokenKind};
use crate::kv::Fault;

/// What stands against opening a data directory.
#[derive(Debug, thiserror::Error)]
pub enum Reason {
    /// Made by a newer program.
    #[error("{0}, which is newer than this program")]
    Newer(String),
    /// An established directory without any data.
    #[error("the directory had data, but store, journal and images are all gone")]
    NothingLeft,
    /// An interrupted restore.
    #[error("a restore into this directory was interrupted")]
    Restoring,
    /// A store that nothing vouches for.
    #[error(
        "there is a store but no journal, no image and no identity: whether it is complete cannot be known"
    )]
    OnlyStore,
    /// The journal does not give the commits that are needed.
    #[error("the journal is broken: {0}")]
    Journal(Broken),
    /// The journal ends before a commit that was certainly made.
    #[error("the journal ends with commit {last}, but commit {reached} was made")]
    JournalShort {
        /// The journal's last commit.
        last: u64,
        /// What it must reach.
        reached: u64,
    },
    /// The base has to be rebuilt and nothing is there to rebuild it from.
    #[error("the store must be rebuilt ({wanted}), but no image with its journal is usable: {why}")]
    NoSource {
        /// Why it must be rebuilt.
        wanted: String,
        /// What is wrong with each source.
        why: String,
    },
    /// A copy that does not say what must be in it.
    #[error("its file `identity` is missing or damaged: whether it is complete cannot be known")]
    NoIdentity,
    /// A copy without its last file.
    #[error("this copy is not complete: its file `mark` is missing, which every whole copy has")]
    Incomplete,
    /// Making the base from an image and the journal panicked.
    #[error("the store cannot be made from the newest image and the journal: {0}")]
    CannotBuild(String),
    /// What was made cannot be read back as it was made.
    #[error(
        "the store was made anew and reads differently after it was opened: {0}; all is left as it is"
    )]
    ReadsDifferently(String),
    /// A copy whose journal was copied before a clean stop and whose identity was copied after it,
    /// or of which only a part was made. These two cannot be told apart.
    #[error(
        "this copy knows of a clean stop after commit {stopped}, but its journal ends with commit {last}"
    )]
    SpansStop {
        /// The journal's last commit.
        last: u64,
        /// The last commit before the stop.
        stopped: u64,
    },
    /// Files of two directories in one.
    #[error(
        "this copy was laid over a directory in which a daemon had worked: its journal ends with a file of the other one"
    )]
    Mixed,
    /// Another process has the base open.
    #[error("the store is open in another process")]
    InUse,
    /// The base must be rebuilt and does not fit.
    #[error("rebuilding the store takes more disk than the {free} bytes that are free")]
    NoRoom {
        /// How many there were.
        free: u64,
    },
    /// The operating system or the engine refused an operation.
    #[error(transparent)]
    Storage(#[from] Fault),
}

/// Classes of refusals, for exit codes: who has to act.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusedKind {
    /// Data is damaged or missing; an operator must restore it. Starting again does not help.
    Data,
    /// Another program version is needed.
    Version,
    /// Another process is at work here; starting again later may help.
    Busy,
    /// Disk, permissions, space.
    Storage,
}

/// A data directory that is not opened. Nothing that could help was destroyed.
#[derive(Debug, thiserror::Error)]
#[error("{reason}")]
pub struct Refused {
    /// What stands against it.
    pub reason: Reason,
    /// What an operator can do.
    pub hint: &'static str,
    /// For the exit code.
    pub kind: RefusedKind,
}

/// What to do about a copy that spans a stop.
pub(super) const HINT_SPANS_STOP: &str = "if the copy was begun before the daemon stopped and came \
    to its end, nothing accepted before it is missing: remove the file `identity` from it and try \
    again (`duebox restore` then wants `--lossy`); else use another copy";

/// What to do about a copy that is not whole.
pub(super) const HINT_INCOMPLETE: &str = "copy it again, to its end, or use another one; \
    `duebox restore --lossy` takes what is there, which may be less than there was (a backup made by an \
    earlier version has no `mark`, and is whole)";

impl From<Reason> for Refused {
    fn from(reason: Reason) -> Self {
        const RESTORE: &str = "keep this directory as it is and restore a backup into an empty one \
             with `duebox restore`; `duebox inspect` lists what is usable here, and without a backup \
             `duebox restore --lossy` takes that";
        let (kind, hint) = match &reason {
            Reason::Newer(_) => {
                (RefusedKind::Version, "start the program version that wrote this directory")
            }
            Reason::Journal(broken) if broken.kind == BrokenKind::Newer => {
                (RefusedKind::Version, "start the program version that wrote this directory")
            }
            Reason::NothingLeft => (
                RefusedKind::Data,
                "mount what is missing or restore a backup with `duebox restore`; to begin with \
                 nothing, remove the file `identity`",
            ),
            Reason::Restoring => {
                (RefusedKind::Data, "empty the directory and run `duebox restore` again")
            }
            Reason::OnlyStore
            | Reason::Journal(_)
            | Reason::JournalShort { .. }
            | Reason::NoSource { .. }
            | Reason::CannotBuild(_) => (RefusedKind::Data, RESTORE),
            Reason::Incomplete | Reason::NoIdentity => (RefusedKind::Data, HINT_INCOMPLETE),
            Reason::SpansStop { .. } => (RefusedKind::Data, HINT_SPANS_STOP),
            Reason::Mixed => {
                (RefusedKind::Data, "copy again, into an empty directory (rsync: with --delete)")
            }
            Reason::InUse => (RefusedKind::Busy, "stop the other process first"),
            Reason::NoRoom { .. } => {
                (RefusedKind::Storage, "free some space on the disk of the data directory")
            }
            Reason::Storage(_) | Reason::ReadsDifferently(_) => {
                (RefusedKind::Storage, "check the disk, its free space and the permissions")
            }
        };
        Self { reason, hint, kind }
    }
}

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Reason::Storage(fault).into()
    }
}
