//! What a journal gives: a commit, or what is wrong with it.

use crate::kv::Write;

/// One commit of the journal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// Its number.
    pub seq: u64,
    /// Its changes.
    pub writes: Vec<Write>,
}

impl Commit {
    /// About how many bytes it takes in memory.
    #[must_use]
    pub fn weight(&self) -> usize {
        let of = |write: &Write| write.key.len() + write.value.as_ref().map_or(0, |it| it.len());
        self.writes.iter().map(|write| of(write) + 64).sum()
    }
}

/// What is wrong with the journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BrokenKind {
    /// Wrong bytes before the end.
    Damaged,
    /// Commits are missing: a file is gone, or was cut.
    Missing,
    /// A file of another copy of this directory.
    Foreign,
    /// Written by a newer program.
    Newer,
    /// The operating system did not let it be read.
    Unreadable,
}

/// A journal that does not give what was asked of it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("journal file {file} at commit {at_seq}: {why}")]
pub struct Broken {
    /// What kind of trouble.
    pub kind: BrokenKind,
    /// The file's name.
    pub file: String,
    /// The first commit that could not be read.
    pub at_seq: u64,
    /// What is wrong, for people.
    pub why: String,
}
