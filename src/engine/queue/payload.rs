//! What a task carries.

use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::model::task::{Payload, Task};
use crate::store::chunks::read_chunks;
use crate::store::schema::Tree;

/// The payload's text.
pub(in crate::engine) fn text<K: Kv>(tx: &Tx<K>, task: &Task) -> Result<String, Fault> {
    match &task.payload {
        Payload::Inline(text) => Ok(text.clone()),
        Payload::Chunked(_) => {
            let bytes = read_chunks(&tx.store, Tree::TaskBodies, task.id)?;
            String::from_utf8(bytes).map_err(|error| Fault::Damaged {
                tree: Tree::TaskBodies.name(),
                why: format!("payload of task {}: {error}", task.id),
            })
        }
        Payload::Dropped => Ok("null".to_owned()),
    }
}
