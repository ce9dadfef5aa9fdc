//! How far the directory certainly had come, and whether its base is suspect.

use std::fs;
use std::path::Path;

use serde::{Deserialize, Serialize};

use super::identity::InstanceId;
use super::small_file::{self, Sealed};
use super::sync_dir;
use crate::kv::Fault;

const MARK: &str = "mark";
const SUSPECT: &str = "suspect";

/// Numbers that were certainly reached. The daemon renews it after each [`Kv::sync`] of the base,
/// every few seconds; at start it tells a lost end from one that was never there.
///
/// [`Kv::sync`]: crate::kv::Kv::sync
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mark {
    /// Who wrote it. A copy made slowly may have a mark that is newer than its journal, so a mark
    /// counts only for the directory it was made in.
    pub instance: InstanceId,
    /// A commit that is in the journal.
    pub journal_seq: u64,
    /// A commit that the base held when it was last synced.
    pub base_seq: u64,
}

impl Mark {
    /// Writes the mark so that it survives a power cut: two syncs.
    pub fn write(&self, data_dir: &Path) -> Result<(), Fault> {
        small_file::write(data_dir, MARK, |_| Ok(self))
    }

    /// The mark of `instance`. A missing or damaged one only means that less can be noticed.
    pub fn read(data_dir: &Path, instance: InstanceId) -> Result<Option<Self>, Fault> {
        Ok(match small_file::read::<Self>(data_dir, MARK)? {
            Sealed::Found(mark) if mark.instance == instance => Some(mark),
            Sealed::Found(_) | Sealed::Missing => None,
            Sealed::Damaged(why) => {
                tracing::warn!(event = "archive.mark_damaged", why);
                None
            }
        })
    }
}

/// Whether there is a mark at all, of whatever instance.
pub(super) fn is_there(data_dir: &Path) -> bool {
    data_dir.join(MARK).exists()
}

/// Notes that the base reported damage while running: the next start rebuilds it.
pub fn mark_suspect(data_dir: &Path, why: &str) -> Result<(), Fault> {
    small_file::write(data_dir, SUSPECT, |_| Ok(why))
}

/// Whether [`mark_suspect`] left a note.
pub(crate) fn is_suspect(data_dir: &Path) -> bool {
    data_dir.join(SUSPECT).exists()
}

/// Removes the note of [`mark_suspect`], if there is one.
pub(crate) fn clear_suspect(data_dir: &Path) -> Result<(), Fault> {
    if !is_suspect(data_dir) {
        return Ok(());
    }
    fs::remove_file(data_dir.join(SUSPECT))
        .map_err(|error| Fault::io("removing the note of a suspect store", error))?;
    sync_dir(data_dir)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_mark_counts_only_for_its_instance() {
        let dir = tempfile::tempdir().unwrap();
        let mark = Mark { instance: InstanceId(1), journal_seq: 9, base_seq: 4 };
        mark.write(dir.path()).unwrap();
        assert_eq!(Mark::read(dir.path(), InstanceId(1)).unwrap(), Some(mark));
        assert_eq!(Mark::read(dir.path(), InstanceId(2)).unwrap(), None);
        fs::write(dir.path().join(MARK), "x").unwrap();
        assert_eq!(Mark::read(dir.path(), InstanceId(1)).unwrap(), None);
    }
}
