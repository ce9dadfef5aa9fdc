//! The list of what needs a person.

use std::collections::BTreeMap;

use crate::model::attention::{Kind, Row};
use crate::time::Timestamp;

/// The list, with what a log reader wants to know beside it.
#[derive(Clone, Debug, Default)]
pub struct Attention {
    /// What needs a person now.
    pub rows: Vec<Row>,
    /// Things given up since the start of the process.
    pub died: Died,
}

/// Since when each trouble has been seen.
pub(in crate::engine) type SeenSince = BTreeMap<(Kind, String), Timestamp>;

/// Things given up since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[allow(missing_docs)]
pub struct Died {
    pub tasks: u64,
    pub deliveries: u64,
    pub notices: u64,
}
