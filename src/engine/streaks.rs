//! Failures alike in a row, of a notice or of what a tenant's sends share.

use serde::{Deserialize, Serialize};

use super::tx::Tx;
use crate::kv::{Fault, Key, Kv};
use crate::store::Record;
use crate::store::schema::Tree;

/// Failures in a row without a success.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Streak {
    /// What they have in common: a code, or the words for an answer without one.
    what: String,
    /// How many.
    times: u32,
}

impl Record for Streak {
    const TREE: Tree = Tree::Counters;
}

/// How many there are.
pub(super) fn length<K: Kv>(tx: &Tx<K>, key: &Key) -> Result<u32, Fault> {
    Ok(tx.store.read::<Streak>(key)?.map_or(0, |streak| streak.times))
}

/// One more; says how many there are.
pub(super) fn lengthen<K: Kv>(tx: &mut Tx<K>, key: Key, what: &str) -> Result<u32, Fault> {
    let kept = tx.store.read::<Streak>(&key)?.filter(|kept| kept.what == what);
    let mut streak = kept.unwrap_or_else(|| Streak { what: what.to_owned(), times: 0 });
    streak.times = streak.times.saturating_add(1);
    tx.store.write(key, &streak);
    Ok(streak.times)
}

/// A success, or somebody who looked after it, ends it.
pub(super) fn forget<K: Kv>(tx: &mut Tx<K>, key: &Key) -> Result<(), Fault> {
    if tx.store.get(Tree::Counters, key)?.is_some() {
        tx.store.delete(Tree::Counters, key);
    }
    Ok(())
}
