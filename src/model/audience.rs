//! Audiences that are not in the submission: where they come from, and how far their reading is.

use serde::{Deserialize, Serialize};

use super::delivery::DeliveryState;
use crate::id::Id;
use crate::store::Record;
use crate::store::schema::Tree;
use crate::time::Timestamp;

/// Where recipients come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Source {
    /// An address that answers them, in pages or as lines.
    Url(String),
    /// All who follow the account.
    Followers,
    /// Those of them with this tag.
    Tag(u32),
    /// Those of an earlier notice of the tenant.
    Notice {
        /// That notice.
        notice: Id,
        /// Only those in these states; all when empty.
        states: Vec<DeliveryState>,
        /// Only those with this code.
        errcode: Option<i64>,
    },
}

impl Source {
    /// The word for its kind.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            Self::Url(_) => "url",
            Self::Followers => "followers",
            Self::Tag(_) => "tag",
            Self::Notice { .. } => "notice",
        }
    }
}

/// An audience to be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sourcing {
    /// Where from.
    pub source: Source,
    /// Not before the notice may be sent; else at once.
    pub at_send: bool,
    /// Read at once, and read again when the notice may be sent: who came since is added.
    pub newcomers: bool,
}

/// How far the reading of an audience is. The row is there until all of it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Who is read for newcomers: the second time.
    pub again: bool,
    /// Where to go on: what the source gave for that; `None` at the beginning.
    pub resume: Option<String>,
    /// Recipients read so far, this time.
    pub found: u64,
    /// How many the source says there are.
    pub expected: Option<u64>,
    /// Failures in a row.
    pub failed: u32,
    /// What the last one was.
    pub error: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<Timestamp>,
    /// Grows with each try: what comes under an older one comes too late.
    pub fence: u64,
}

impl Record for Resolution {
    const TREE: Tree = Tree::Sources;
}
