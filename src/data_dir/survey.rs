//! What is there: one look at a data directory or backup, before anything is decided or touched.

use std::path::{Path, PathBuf};

use super::identity::{self, Boot, FileId, Found, Identity, InstanceId};
use super::image;
use super::journal::{self, JournalFile, frame};
use super::mark::{self, Mark};
use super::refusal::Reason;
use super::store_files::{self, Comparison};
use crate::kv::Fault;

/// What one look found.
#[derive(Clone, Debug)]
pub struct Survey {
    /// The identity file.
    pub identity: Found,
    /// Whether the directory is a copy of the one that the identity was written in.
    pub is_copy: bool,
    /// Whether the machine was started again since the identity was written.
    pub boot: Boot,
    /// Numbers certainly reached, as the identity's instance wrote them.
    pub mark: Option<Mark>,
    /// Whether there is a mark at all, of whatever instance.
    pub has_mark: bool,
    /// Whether the base reported damage while running.
    pub is_suspect: bool,
    /// The journal's files, oldest first.
    pub journals: Vec<JournalFile>,
    /// Who wrote the journal's last file, of a directory that is not where its identity was written.
    pub last_writer: Option<InstanceId>,
    /// The images, newest first, with the commit that each begins after.
    pub images: Vec<(u64, PathBuf)>,
    /// The base's files.
    pub store: StoreSeen,
}

/// What there is of a base, without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreSeen {
    /// Nothing.
    Missing,
    /// A main file.
    There {
        /// Whether it is the one that the identity vouches for.
        is_ours: bool,
        /// How the files compare with those of the clean stop, if there is word of one.
        since_stop: Option<Comparison>,
    },
}

impl Survey {
    /// Looks at everything and changes nothing.
    pub fn of(data_dir: &Path) -> Result<Self, Fault> {
        let journals = journal::list(&journal::dir_in(data_dir))?;
        let images = image::reader::list(&image::dir_in(data_dir))?;
        let identity = identity::read(data_dir)?;
        let known = match &identity {
            Found::Identity(identity) => Some(identity.as_ref()),
            Found::Missing | Found::Damaged(_) | Found::Newer(_) => None,
        };
        let is_copy = known.is_some_and(|identity| identity.is_copy(data_dir));
        let has_mark = mark::is_there(data_dir);
        let is_suspect = mark::is_suspect(data_dir);
        let last_writer = match journals.last() {
            Some(last) if is_copy || known.is_none() => {
                journal::header(&last.path)?.map(|header| header.instance)
            }
            _ => None,
        };
        Ok(Self {
            boot: known.map_or(Boot::Unknown, Identity::boot),
            mark: known.map_or(Ok(None), |it| Mark::read(data_dir, it.instance))?,
            store: StoreSeen::of(data_dir, known.filter(|_| !is_suspect))?,
            is_copy,
            has_mark,
            is_suspect,
            journals,
            last_writer,
            images,
            identity,
        })
    }

    /// The identity, where there is one.
    #[must_use]
    pub fn known(&self) -> Option<&Identity> {
        match &self.identity {
            Found::Identity(identity) => Some(identity),
            Found::Missing | Found::Damaged(_) | Found::Newer(_) => None,
        }
    }

    /// Whether the base could be made from what is there.
    #[must_use]
    pub fn has_archive(&self) -> bool {
        !self.journals.is_empty() || !self.images.is_empty()
    }

    /// Whether a commit may ever have been made.
    #[must_use]
    pub fn has_commits(&self) -> bool {
        let empty = frame::HEADER_BYTES as u64;
        !self.images.is_empty() || self.journals.iter().any(|file| file.bytes > empty)
    }

    /// The commit that the journal must reach, as far as identity and mark say. A copy made slowly may
    /// have a mark that is newer than its journal; one that spans a stop may have the note of the stop
    /// and an older journal, and is then refused: a half-made copy of a stopped directory is far more
    /// likely and must be.
    #[must_use]
    pub fn journal_reached(&self) -> u64 {
        let clean = self.known().and_then(|identity| identity.clean);
        self.own_mark().map_or(0, |mark| mark.journal_seq).max(clean.map_or(0, |clean| clean.seq))
    }

    /// The commit that the base must hold, as far as the mark says.
    #[must_use]
    pub fn base_reached(&self) -> u64 {
        self.own_mark().map_or(0, |mark| mark.base_seq)
    }

    fn own_mark(&self) -> Option<Mark> {
        self.mark.filter(|_| !self.is_copy)
    }

    /// The commit of the clean stop that a copy knows of.
    #[must_use]
    pub fn copied_stop(&self) -> Option<u64> {
        let clean = self.known().filter(|_| self.is_copy)?.clean?;
        Some(clean.seq)
    }

    /// Refuses a copy that was laid over a directory in which a daemon had already worked: the files
    /// that this one left do not belong to the copy, and might be taken for its end.
    pub fn check_writer(&self) -> Result<(), Reason> {
        let Some(identity) = self.known().filter(|_| self.is_copy) else { return Ok(()) };
        match self.last_writer {
            Some(writer) if writer != identity.instance && Some(writer) != identity.from => {
                Err(Reason::Mixed)
            }
            Some(_) | None => Ok(()),
        }
    }
}

impl StoreSeen {
    fn of(data_dir: &Path, identity: Option<&Identity>) -> Result<Self, Fault> {
        let main = store_files::main_file(data_dir);
        if !main.exists() {
            return Ok(Self::Missing);
        }
        let vouched = identity.and_then(|identity| identity.store);
        let is_ours = vouched.zip(FileId::at(&main)).is_some_and(|(ours, there)| ours.is(&there));
        let clean = identity.and_then(|identity| identity.clean.as_ref());
        let since_stop = clean.map(|clean| store_files::compare(data_dir, clean)).transpose()?;
        Ok(Self::There { is_ours, since_stop })
    }
}
