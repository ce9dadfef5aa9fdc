//! The disk seam: ordered trees of bytes with four verbs.
//!
//! A [`Kv`] holds the *base* of the store. It need not be durable by itself: every commit is in the
//! journal before it reaches the base, changes are absolute puts and deletes, and the base records
//! the number of the last commit it holds, so re-applying a suffix of the journal is always right
//! (see [`crate::store`]).
//!
//! It knows trees as numbers. What is particular about one it is given as data, a [`TreeLayout`]. In
//! sled a row is either a key of its own or one of many in a *block*: `layout` says which, `block`
//! is a block's bytes, `packed` a tree of blocks, `backward` how rows before a key are found.

mod backward;
mod block;
#[cfg(test)]
mod conformance;
mod fault;
mod inside;
mod layout;
pub mod memory;
mod packed;
pub mod sled;
pub(crate) mod varint;

use std::path::Path;
use std::sync::Arc;

pub use fault::{Cause, Fault};
pub use inside::is_in_the_base;
pub use layout::{Layout, Region, TreeLayout};

/// A tree, by its number. Which there are and what they hold is not known here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TreeNo(pub u8);

/// A key: owned bytes, cheap to compare.
pub type Key = Vec<u8>;
/// A value: shared bytes, cheap to clone.
pub type Value = Arc<[u8]>;

/// One absolute change: put the value, or delete the key when there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which tree.
    pub tree: TreeNo,
    /// Which key.
    pub key: Key,
    /// The new value; `None` deletes.
    pub value: Option<Value>,
}

/// Free bytes on the file system of a directory, for a process without privileges: 0 where no file
/// can be made any more. `None` where that cannot be known.
#[must_use]
pub fn free_bytes(dir: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(dir).ok()?;
    // A file system without a table of files has none of either.
    let no_file = stat.f_files > 0 && stat.f_favail == 0;
    Some(if no_file { 0 } else { stat.f_bavail.saturating_mul(stat.f_frsize) })
}

/// Ordered trees of bytes. `scan` and `get` may be called while another thread applies.
pub trait Kv: Send + Sync + 'static {
    /// The value of a key.
    fn get(&self, tree: TreeNo, key: &[u8]) -> Result<Option<Value>, Fault>;

    /// Up to `limit` pairs with `from <= key < to`, ascending.
    fn scan(
        &self,
        tree: TreeNo,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault>;

    /// Up to `limit` pairs with `from <= key < to`, descending.
    fn scan_back(
        &self,
        tree: TreeNo,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault>;

    /// Applies changes in order. Not atomic and not durable: see the module's text.
    fn apply(&self, writes: &[Write]) -> Result<(), Fault>;

    /// Makes everything applied so far survive a power cut.
    fn sync(&self) -> Result<(), Fault>;

    /// Bytes on disk, for metrics; 0 for memory.
    fn size_bytes(&self) -> u64;
}
