//! What the tests of this module share.

use std::sync::Arc;

use super::identity::InstanceId;
use crate::kv::{Tree, Write};

pub(crate) const A: InstanceId = InstanceId(0xa);
pub(crate) const B: InstanceId = InstanceId(0xb);

pub(crate) fn put(key: &str, value: &str) -> Write {
    Write { tree: Tree::Tasks, key: key.into(), value: Some(Arc::from(value.as_bytes())) }
}
