//! What is known of this directory as a copy of another one.

use serde::{Deserialize, Serialize};

use crate::engine::mode::Mode;
use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::store::Record;
use crate::store::schema::{self, Tree};
use crate::time::Timestamp;

/// What is known of this directory as a copy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct CopyRow {
    /// When the last commit was made that came with the copy.
    pub(super) at: Timestamp,
    /// When it was released with what was pending held; pulls that ask for earlier are held too.
    pub(super) held_until_after: Option<Timestamp>,
    /// Whether it was released.
    pub(super) released: bool,
}

impl Record for CopyRow {
    const TREE: Tree = Tree::Meta;
}

/// Notes at the start of a held daemon how old the copy is: the first commit of its own hides it.
pub(super) fn note_copy<K: Kv>(tx: &mut Tx<K>, last: Timestamp) -> Result<(), Fault> {
    if tx.mode == Mode::Held && copy(tx)?.is_none_or(|row| row.released) {
        let row = CopyRow { at: last, ..CopyRow::default() };
        tx.store.write(schema::COPY.to_vec(), &row);
    }
    Ok(())
}

/// Its row, if it is or was one.
pub(super) fn copy<K: Kv>(tx: &Tx<K>) -> Result<Option<CopyRow>, Fault> {
    tx.store.read::<CopyRow>(schema::COPY)
}

/// Why what is pending waits.
pub(super) fn held_reason<K: Kv>(tx: &Tx<K>) -> Result<String, Fault> {
    let at = copy(tx)?.map_or_else(|| "the copy was made".to_owned(), |row| row.at.to_string());
    Ok(format!(
        "this is a copy: it may have been sent since {at}. Resume it if it was not, else cancel it"
    ))
}

/// Why the notices of a pull that asks for what is new since `last_good` come up paused, if they
/// do: the original may have pulled and sent them.
pub(super) fn pull_is_held<K: Kv>(
    tx: &Tx<K>,
    last_good: Option<Timestamp>,
) -> Result<Option<String>, Fault> {
    let Some(until) = copy(tx)?.and_then(|row| row.held_until_after) else {
        return Ok(None);
    };
    if last_good.is_some_and(|at| at >= until) {
        return Ok(None);
    }
    held_reason(tx).map(Some)
}
