//! The disk seam: ordered trees of bytes with four verbs.
//!
//! A [`Kv`] holds the *base* of the store. It need not be durable by itself: every commit is in the
//! journal before it reaches the base, changes are absolute puts and deletes, and the base records
//! the number of the last commit it holds, so re-applying a suffix of the journal is always right
//! (see [`crate::store`]).
//!
//! In sled a row is either a key of its own or one of many in a *block*: `layout` says which, `block`
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

/// The trees. The number is part of the journal's and the image's format: never reuse one.
///
/// What each tree holds and how its keys are laid out is written in [`crate::store::keys`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
#[allow(missing_docs)]
pub enum Tree {
    Meta = 0,
    Notices = 1,
    NoticeBodies = 2,
    Outbox = 3,
    Recipients = 4,
    Overrides = 5,
    Delay = 6,
    Tasks = 7,
    TaskBodies = 8,
    TaskHistory = 9,
    SendLog = 10,
    LogIndex = 11,
    Keys = 12,
    Dead = 13,
    Schedules = 14,
    Runs = 15,
    Names = 16,
    Counters = 17,
    Quarantine = 18,
    Articles = 19,
}

impl Tree {
    /// All trees, in the order of their numbers.
    pub const ALL: [Self; 20] = [
        Self::Meta,
        Self::Notices,
        Self::NoticeBodies,
        Self::Outbox,
        Self::Recipients,
        Self::Overrides,
        Self::Delay,
        Self::Tasks,
        Self::TaskBodies,
        Self::TaskHistory,
        Self::SendLog,
        Self::LogIndex,
        Self::Keys,
        Self::Dead,
        Self::Schedules,
        Self::Runs,
        Self::Names,
        Self::Counters,
        Self::Quarantine,
        Self::Articles,
    ];

    /// The tree of this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// The name under which sled keeps the tree.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Meta => "meta",
            Self::Notices => "notices",
            Self::NoticeBodies => "notice_bodies",
            Self::Outbox => "outbox",
            Self::Recipients => "recipients",
            Self::Overrides => "overrides",
            Self::Delay => "delay",
            Self::Tasks => "tasks",
            Self::TaskBodies => "task_bodies",
            Self::TaskHistory => "task_history",
            Self::SendLog => "send_log",
            Self::LogIndex => "log_index",
            Self::Keys => "keys",
            Self::Dead => "dead",
            Self::Schedules => "schedules",
            Self::Runs => "runs",
            Self::Names => "names",
            Self::Counters => "counters",
            Self::Quarantine => "quarantine",
            Self::Articles => "articles",
        }
    }
}

/// A key: owned bytes, cheap to compare.
pub type Key = Vec<u8>;
/// A value: shared bytes, cheap to clone.
pub type Value = Arc<[u8]>;

/// One absolute change: put the value, or delete the key when there is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Write {
    /// Which tree.
    pub tree: Tree,
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
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>, Fault>;

    /// Up to `limit` pairs with `from <= key < to`, ascending.
    fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault>;

    /// Up to `limit` pairs with `from <= key < to`, descending.
    fn scan_back(
        &self,
        tree: Tree,
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
