//! What makes a data directory safe: the journal, images, identity, start-up, backup and restore.
//!
//! ```text
//! data_dir/
//!   identity                    who this directory is, whether it was closed cleanly, whether held
//!   mark                        numbers that journal and base have certainly reached
//!   suspect                     present: the base reported damage while running
//!   journal/{first:020}.jnl     every commit, in order, on disk before it is answered
//!   images/{start:020}.img      all rows, scanned while commits went on
//!   store/                      the base: sled, behind the journal by some commits
//!   store.aside-{time}/         a base that was replaced, kept as evidence
//! ```
//!
//! Commits have numbers from 1 without gaps and consist of absolute puts and deletes. The base
//! holds under [`APPLIED_KEY`] in [`Tree::Meta`] the number of the last commit that it certainly
//! holds. Therefore base + journal after that number, and likewise image + journal after the
//! image's start, are the exact state; applying a commit twice does no harm.

pub mod backup;
#[cfg(test)]
mod backup_tests;
mod census;
#[cfg(test)]
mod damage_tests;
pub mod identity;
pub mod image;
mod inspect;
pub mod journal;
pub mod mark;
mod opened;
pub mod plan;
mod progress;
mod rebuild;
pub mod refusal;
mod reopen;
pub mod retention;
mod small_file;
pub mod source;
pub mod startup;
pub mod store_files;
pub mod survey;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::path::Path;

use crate::kv::{Cause, Fault};
use crate::store::schema::Tree;

/// The key in [`Tree::Meta`] with the number of the last commit that the base certainly holds:
/// eight bytes, big-endian. Absent means 0.
pub const APPLIED_KEY: &[u8] = crate::store::schema::APPLIED;

/// The tree of [`APPLIED_KEY`].
pub const APPLIED_TREE: Tree = Tree::Meta;

/// Newest format of journals and images that this program reads and the one it writes.
pub const FORMAT: u32 = 1;

/// Newest format of a directory, told by its identity, that this program reads and the one it makes.
/// 2: the base has rows in blocks. A base of 1 is brought up by [`crate::kv::sled::SledKv::open`].
pub const DIRECTORY_FORMAT: u32 = 2;

/// Makes created, renamed and removed names of a directory survive a power cut.
pub(crate) fn sync_dir(dir: &Path) -> Result<(), Fault> {
    let synced = File::open(dir).and_then(|handle| handle.sync_all());
    synced.map_err(|error| Fault::io("syncing a directory", Cause::at(dir, error)))
}
