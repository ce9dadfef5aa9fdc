//! What a start does with a data directory. Reading only.
//!
//! ```text
//! identity     store, journal, images           what happens
//! -----------  -------------------------------  -----------------------------------------------
//! newer        any                              refused
//! none         nothing                          a new directory is created
//! none         journal or images                rebuilt; new instance, held (unknown origin)
//! damaged      journal or images                the same
//! none, dam.   only a store                     refused: nothing vouches for it
//! damaged      nothing                          refused
//! creating     no commit yet                    creation begins again
//! restoring    any                              refused
//! established  nothing                          refused: never opened empty
//! established  a copy without a mark            refused: it is not complete
//! established  suspect note, or no store        rebuilt
//! established  clean, files as they were left   opened; exact, whatever the journal says
//! established  clean, files too large to check  in place: opened; a copy: rebuilt
//! established  clean, files differ              rebuilt
//! established  not clean, a copy                rebuilt (a running directory was copied)
//! established  not clean, store not ours        rebuilt (replaced, or a rebuild was interrupted)
//! established  not clean, another boot          rebuilt (a power cut); if it cannot be: opened
//! established  not clean, store ours            opened (a crash); see below
//! ```
//!
//! sled moves rows between its segments and uses the old ones again before the new ones are synced:
//! after a power cut, rows may be gone from behind its last synced commit, and nobody could tell.
//!
//! A copy, stopped or running, always gets a new instance and comes up held; one that was laid over
//! a directory with a journal of its own is refused. After opening:
//!
//! ```text
//! the base's last commit is                          what happens
//! -------------------------------------------------  ---------------------------------------
//! not that of the clean mark                         rebuilt
//! before what it held when it was last synced        rebuilt: its log was damaged
//! before what the journal still has                  rebuilt
//! at or before the journal's last                    the rest of the journal is applied
//! after the journal's last, files checked            goes on from the base; a new image is due
//! after the journal's last, otherwise                refused: the journal lost commits
//! opening or reading fails or panics                 rebuilt
//! ```
//!
//! In place, the journal must reach what mark and clean mark say, else it is refused. A rebuild
//! takes the newest image that is whole and whose journal is unbroken from its start to at least
//! its end; when the journal goes back to commit 1, no image is needed. Without any: refused, and
//! nothing was touched.

use std::fmt;
use std::path::Path;

use super::identity::{self, Boot, FileId, Found, HeldReason, Identity, Stage};
use super::mark::{self, Mark};
use super::refusal::{Reason, Refused};
use super::store_files::{self, Comparison};
use super::{image, journal, source};
use crate::kv::Fault;

/// Where the directory comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// It is new, or its creation was interrupted.
    New,
    /// It is where it was made.
    InPlace(Box<Identity>),
    /// It is a copy of this one.
    Copy(Box<Identity>),
    /// Its identity is missing or damaged.
    Unknown,
}

/// What happens with the base.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Base {
    /// It is created.
    Create,
    /// It is opened; every byte is as it was when commit `seq` was its last.
    Exact {
        /// The last commit.
        seq: u64,
    },
    /// It is opened; it was closed cleanly after commit `seq`.
    Unchecked {
        /// The last commit.
        seq: u64,
    },
    /// It is opened after a crash, and the journal applied.
    Crashed,
    /// It is rebuilt.
    Rebuild(RebuildWhy),
}

/// Why a base is rebuilt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RebuildWhy {
    /// There is none.
    Missing,
    /// It reported damage while running.
    Suspect,
    /// A running directory was copied.
    CopiedWhileOpen,
    /// It is not the one that belongs here, or a rebuild was interrupted.
    NotOurs,
    /// Its files are not as the clean stop left them.
    Changed,
    /// It lost commits that it had synced, or is older than the journal.
    Behind {
        /// The last commit it holds.
        applied: u64,
    },
    /// The machine went down while it was open.
    PowerCut,
    /// An operator wants it.
    Asked,
    /// It cannot be opened or read.
    Unusable(String),
}

impl RebuildWhy {
    /// Whether nothing speaks against the present base: when the new one is there, it goes.
    pub(super) fn spares_the_store(&self) -> bool {
        matches!(self, Self::PowerCut | Self::Asked)
    }

    /// Whether the present base is opened all the same when it cannot be rebuilt.
    pub(super) fn may_be_opened(&self, obstacle: &Reason) -> bool {
        let obstacle = matches!(obstacle, Reason::NoSource { .. } | Reason::NoRoom { .. });
        *self == Self::PowerCut && obstacle
    }
}

impl fmt::Display for RebuildWhy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => write!(f, "the store is missing"),
            Self::Suspect => write!(f, "the store reported damage while running"),
            Self::CopiedWhileOpen => write!(f, "the store was copied while it was open"),
            Self::NotOurs => write!(f, "the store was replaced, or a rebuild was interrupted"),
            Self::Changed => write!(f, "the store's files changed since the clean stop"),
            Self::Behind { applied } => {
                write!(f, "the store lost commits: its last one is {applied}")
            }
            Self::Asked => write!(f, "that was asked for"),
            Self::PowerCut => write!(f, "the machine went down while the store was open"),
            Self::Unusable(why) => write!(f, "the store cannot be opened or read: {why}"),
        }
    }
}

/// What a start does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision {
    /// Where the directory comes from.
    pub origin: Origin,
    /// What happens with the base.
    pub base: Base,
    /// The commit that the journal must reach, as far as is known.
    pub journal_reached: u64,
    /// The commit that the base must hold, as far as is known.
    pub base_reached: u64,
}

impl Decision {
    /// Why the directory will be held after this start, if it will be.
    #[must_use]
    pub fn held(&self) -> Option<HeldReason> {
        match &self.origin {
            Origin::New => None,
            Origin::InPlace(identity) => identity.held,
            Origin::Copy(_) => Some(HeldReason::Copy),
            Origin::Unknown => Some(HeldReason::UnknownOrigin),
        }
    }
}

/// Decides by the table above. Only the part that can be known without opening the base.
pub fn decide(data_dir: &Path) -> Result<Decision, Refused> {
    let journals = journal::list(&journal::dir_in(data_dir))?;
    let archived =
        !journals.is_empty() || !image::reader::list(&image::dir_in(data_dir))?.is_empty();
    let stored = store_files::main_file(data_dir).exists();
    let damaged = match identity::read(data_dir)? {
        Found::Newer(format) => {
            return Err(Reason::Newer(format!("the directory has format {format}")).into());
        }
        Found::Identity(identity) => return known(data_dir, identity, stored, archived),
        Found::Missing => None,
        Found::Damaged(why) => Some(why),
    };
    if let Some(why) = &damaged {
        tracing::warn!(event = "archive.identity_damaged", why);
    }
    let (origin, base) = match (archived, stored, damaged) {
        (true, true, _) => (Origin::Unknown, Base::Rebuild(RebuildWhy::NotOurs)),
        (true, false, _) => (Origin::Unknown, Base::Rebuild(RebuildWhy::Missing)),
        (false, true, _) => return Err(Reason::OnlyStore.into()),
        (false, false, Some(_)) => return Err(Reason::NothingLeft.into()),
        (false, false, None) => (Origin::New, Base::Create),
    };
    Ok(Decision { origin, base, journal_reached: 0, base_reached: 0 })
}

fn known(
    data_dir: &Path,
    identity: Box<Identity>,
    stored: bool,
    archived: bool,
) -> Result<Decision, Refused> {
    if identity.stage == Stage::Restoring {
        return Err(Reason::Restoring.into());
    }
    if identity.stage == Stage::Creating && !any_commit(data_dir)? {
        let (origin, base) = (Origin::New, Base::Create);
        return Ok(Decision { origin, base, journal_reached: 0, base_reached: 0 });
    }
    if !stored && !archived {
        return Err(Reason::NothingLeft.into());
    }
    let copy = identity.is_copy(data_dir);
    if copy {
        source::check_writer(data_dir, &identity)?;
        if !mark::is_there(data_dir) {
            return Err(Reason::Incomplete.into());
        }
    }
    let base = base(data_dir, &identity, copy, stored)?;
    let mark = if copy { None } else { Mark::read(data_dir, identity.instance)? };
    // A copy that spans a stop may have the clean mark and an older journal, and is then refused;
    // a half-made copy of a stopped directory is far more likely and must be.
    let clean_seq = identity.clean.map_or(0, |clean| clean.seq);
    Ok(Decision {
        base,
        journal_reached: mark.map_or(0, |mark| mark.journal_seq).max(clean_seq),
        base_reached: mark.map_or(0, |mark| mark.base_seq),
        origin: if copy { Origin::Copy(identity) } else { Origin::InPlace(identity) },
    })
}

fn base(data_dir: &Path, identity: &Identity, copy: bool, stored: bool) -> Result<Base, Fault> {
    if !stored {
        return Ok(Base::Rebuild(RebuildWhy::Missing));
    }
    if mark::is_suspect(data_dir) {
        return Ok(Base::Rebuild(RebuildWhy::Suspect));
    }
    if let Some(clean) = &identity.clean {
        return Ok(match store_files::compare(data_dir, clean)? {
            Comparison::Same => Base::Exact { seq: clean.seq },
            Comparison::SameLength if copy => Base::Rebuild(RebuildWhy::CopiedWhileOpen),
            Comparison::SameLength => Base::Unchecked { seq: clean.seq },
            Comparison::Different => Base::Rebuild(RebuildWhy::Changed),
        });
    }
    if copy {
        return Ok(Base::Rebuild(RebuildWhy::CopiedWhileOpen));
    }
    let there = FileId::at(&store_files::main_file(data_dir));
    let ours = identity.store.zip(there).is_some_and(|(ours, there)| ours.is(&there));
    Ok(match identity.boot() {
        _ if !ours => Base::Rebuild(RebuildWhy::NotOurs),
        Boot::Another => Base::Rebuild(RebuildWhy::PowerCut),
        Boot::Same | Boot::Unknown => Base::Crashed,
    })
}

fn any_commit(data_dir: &Path) -> Result<bool, Fault> {
    let empty = super::journal::frame::HEADER_BYTES as u64;
    let journals = journal::list(&journal::dir_in(data_dir))?;
    let images = image::reader::list(&image::dir_in(data_dir))?;
    Ok(!images.is_empty() || journals.iter().any(|file| file.bytes > empty))
}
