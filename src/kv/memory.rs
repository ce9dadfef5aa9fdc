//! A [`Kv`] in memory, for tests and the simulation.

use std::collections::BTreeMap;
use std::sync::RwLock;

use super::{Fault, Key, Kv, TreeNo, Value, Write};

/// Trees in one ordered map. Cloning copies the contents.
#[derive(Debug, Default)]
pub struct MemoryKv {
    rows: RwLock<BTreeMap<(TreeNo, Key), Value>>,
}

impl MemoryKv {
    /// An empty store.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, BTreeMap<(TreeNo, Key), Value>> {
        self.rows.read().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

impl Clone for MemoryKv {
    fn clone(&self) -> Self {
        Self { rows: RwLock::new(self.read().clone()) }
    }
}

impl Kv for MemoryKv {
    fn get(&self, tree: TreeNo, key: &[u8]) -> Result<Option<Value>, Fault> {
        Ok(self.read().get(&(tree, key.to_vec())).cloned())
    }

    fn scan(
        &self,
        tree: TreeNo,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = self.read();
        let range = rows.range((tree, from.to_vec())..(tree, to.to_vec()));
        Ok(range.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn scan_back(
        &self,
        tree: TreeNo,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        if from >= to {
            return Ok(Vec::new());
        }
        let rows = self.read();
        let range = rows.range((tree, from.to_vec())..(tree, to.to_vec())).rev();
        Ok(range.take(limit).map(|((_, key), value)| (key.clone(), value.clone())).collect())
    }

    fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
        let mut rows = self.rows.write().unwrap_or_else(std::sync::PoisonError::into_inner);
        for write in writes {
            let key = (write.tree, write.key.clone());
            match &write.value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Fault> {
        Ok(())
    }

    fn size_bytes(&self) -> u64 {
        0
    }
}
