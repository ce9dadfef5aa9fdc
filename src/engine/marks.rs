//! Marks: by which notices and tasks are found that their callers named.

use std::sync::Arc;

use super::tx::Tx;
use crate::id::Id;
use crate::kv::{Fault, Key, Kv};
use crate::model::marks::{Mark, Marked, Marks};
use crate::store::keys;
use crate::store::schema::Tree;

/// What has a mark, up to its id.
pub(super) fn mark_key(kind: Marked, mark: &Mark) -> Key {
    let kind = match kind {
        Marked::Notice => 1,
        Marked::Task => 2,
    };
    match mark {
        Mark::Ref(text) => keys::mark(kind, b'r', text),
        Mark::Label(name, value) => keys::mark(kind, b'l', &format!("{name}={value}")),
    }
}

/// Makes a thing findable by its marks.
pub(super) fn note_marks<K: Kv>(tx: &mut Tx<K>, kind: Marked, id: Id, marks: &Marks) {
    for mark in marks.each() {
        let key = keys::with_id(mark_key(kind, &mark), id);
        tx.store.create(Tree::Marks, key, Arc::from(&[][..]));
    }
}

/// The thing is gone: it is found no longer.
pub(super) fn forget_marks<K: Kv>(tx: &mut Tx<K>, kind: Marked, id: Id, marks: &Marks) {
    for mark in marks.each() {
        tx.store.delete(Tree::Marks, &keys::with_id(mark_key(kind, &mark), id));
    }
}

/// Whether a thing has a mark.
pub(super) fn is_marked<K: Kv>(
    tx: &Tx<K>,
    kind: Marked,
    id: Id,
    mark: &Mark,
) -> Result<bool, Fault> {
    let key = keys::with_id(mark_key(kind, mark), id);
    Ok(tx.store.get(Tree::Marks, &key)?.is_some())
}

/// Whether it has all of them.
pub(super) fn has_marks<K: Kv>(
    tx: &Tx<K>,
    kind: Marked,
    id: Id,
    marks: &[Mark],
) -> Result<bool, Fault> {
    for mark in marks {
        if !is_marked(tx, kind, id, mark)? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Keeps a task's marks: those of a notice are in what it says.
pub(super) fn keep_task_marks<K: Kv>(tx: &mut Tx<K>, id: Id, marks: &Marks) {
    if marks.is_empty() {
        return;
    }
    let json = serde_json::to_vec(marks).unwrap_or_default();
    tx.store.create(Tree::Marks, keys::task_marks(id), Arc::from(json));
    note_marks(tx, Marked::Task, id, marks);
}

/// A task's marks.
pub(super) fn task_marks<K: Kv>(tx: &Tx<K>, id: Id) -> Result<Marks, Fault> {
    let json = tx.store.get(Tree::Marks, &keys::task_marks(id))?;
    Ok(json.and_then(|json| serde_json::from_slice(&json).ok()).unwrap_or_default())
}

/// A task is forgotten, and its marks with it.
pub(super) fn drop_task_marks<K: Kv>(tx: &mut Tx<K>, id: Id) -> Result<(), Fault> {
    let marks = task_marks(tx, id)?;
    if !marks.is_empty() {
        forget_marks(tx, Marked::Task, id, &marks);
        tx.store.delete(Tree::Marks, &keys::task_marks(id));
    }
    Ok(())
}
