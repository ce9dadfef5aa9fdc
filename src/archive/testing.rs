//! What the tests of this module share.

use std::sync::Arc;

use super::identity::InstanceId;
use super::{APPLIED_KEY, APPLIED_TREE};
use crate::kv::{Key, Kv, Tree, Value, Write};

pub(crate) const A: InstanceId = InstanceId(0xa);
pub(crate) const B: InstanceId = InstanceId(0xb);

pub(crate) fn put(key: &str, value: &str) -> Write {
    Write { tree: Tree::Tasks, key: key.into(), value: Some(Arc::from(value.as_bytes())) }
}

pub(crate) fn delete(key: &str) -> Write {
    Write { tree: Tree::Tasks, key: key.into(), value: None }
}

/// All rows but the number of the last commit.
pub(crate) fn dump(kv: &dyn Kv) -> Vec<(Tree, Key, Value)> {
    let mut rows = Vec::new();
    for tree in Tree::ALL {
        let found = kv.scan(tree, &[], &[0xff; 300], usize::MAX).expect("scan");
        rows.extend(found.into_iter().map(|(key, value)| (tree, key, value)));
    }
    rows.retain(|(tree, key, _)| (*tree, key.as_slice()) != (APPLIED_TREE, APPLIED_KEY));
    rows
}
