//! Bodies that are too long for a row: in chunks of [`limits::CHUNK_BYTES`] under their id.

use std::sync::Arc;

use super::keys;
use super::{Order, Store};
use crate::id::Id;
use crate::kv::{Fault, Key, Kv};
use crate::limits;
use crate::store::schema::Tree;

/// Writes a body in chunks; returns how many.
pub(crate) fn write_chunks<K: Kv>(store: &mut Store<K>, tree: Tree, id: Id, bytes: &[u8]) -> u16 {
    let mut number = 0;
    for chunk in bytes.chunks(limits::CHUNK_BYTES) {
        store.create(tree, keys::chunk(id, number), Arc::from(chunk));
        number += 1;
    }
    number
}

/// Reads a body from its chunks.
pub(crate) fn read_chunks<K: Kv>(store: &Store<K>, tree: Tree, id: Id) -> Result<Vec<u8>, Fault> {
    let (from, to) = (keys::chunk(id, 0), keys::after_prefix(&keys::id(id)));
    let chunks = store.scan(tree, &from, &to, Order::Ascending, 64)?;
    Ok(chunks.iter().flat_map(|(_, chunk)| chunk.iter().copied()).collect())
}

/// Deletes a body's chunks.
pub(crate) fn delete_chunks<K: Kv>(store: &mut Store<K>, tree: Tree, id: Id) -> Result<(), Fault> {
    let (from, to) = (keys::chunk(id, 0), keys::after_prefix(&keys::id(id)));
    let found: Vec<Key> =
        store.scan(tree, &from, &to, Order::Ascending, 64)?.into_iter().map(|row| row.0).collect();
    for key in found {
        store.delete(tree, &key);
    }
    Ok(())
}
