//! The board: the daemon's own troubles, which it puts up and takes down.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::model::attention::{Kind, Row};

/// The daemon's own rows, and how many rows of each kind there were at the last look.
#[derive(Default)]
pub(super) struct Board {
    own: Mutex<BTreeMap<Kind, Row>>,
    counts: Mutex<BTreeMap<Kind, usize>>,
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Board {
    /// Puts a trouble up. One that is up already keeps the time at which it began.
    pub(super) fn raise(&self, row: Row) {
        let mut own = lock(&self.own);
        let since = own.get(&row.kind).map_or(row.since, |known| known.since);
        own.insert(row.kind, Row { since, ..row });
    }

    /// Takes it down.
    pub(super) fn lower(&self, kind: Kind) {
        lock(&self.own).remove(&kind);
    }

    pub(super) fn own(&self) -> Vec<Row> {
        lock(&self.own).values().cloned().collect()
    }

    pub(super) fn counts(&self) -> BTreeMap<Kind, usize> {
        lock(&self.counts).clone()
    }

    /// Keeps the numbers of a look.
    pub(super) fn note(&self, rows: &[Row]) {
        let mut counts = BTreeMap::new();
        for row in rows {
            *counts.entry(row.kind).or_insert(0) += 1;
        }
        *lock(&self.counts) = counts;
    }
}
