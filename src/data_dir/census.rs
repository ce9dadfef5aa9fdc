//! How much a base holds: to tell a base that reads as it was written from one that does not.

use super::image::END_OF_KEYS;
use crate::kv::{Fault, Kv};
use crate::store::applied;
use crate::store::schema::Tree;

/// Rows read at once.
const PAGE_ROWS: usize = 1024;

/// The last commit of a base and what lies in its trees.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Census {
    applied: u64,
    rows: u64,
    /// A checksum over all keys and lengths, tree by tree.
    checksum: u32,
}

impl Census {
    /// Counts all rows of a base that nobody changes meanwhile.
    pub(super) fn of(kv: &dyn Kv) -> Result<Self, Fault> {
        let (mut rows, mut hasher) = (0, crc32fast::Hasher::new());
        for tree in Tree::ALL {
            hasher.update(&[tree as u8]);
            let mut from = Vec::new();
            loop {
                let page = kv.scan(tree.number(), &from, &END_OF_KEYS, PAGE_ROWS)?;
                let Some((last, _)) = page.last() else { break };
                from.clone_from(last);
                from.push(0);
                rows += page.len() as u64;
                for (key, value) in &page {
                    hasher.update(&(key.len() as u64).to_be_bytes());
                    hasher.update(key);
                    hasher.update(&(value.len() as u64).to_be_bytes());
                }
            }
        }
        Ok(Self { applied: applied(kv)?, rows, checksum: hasher.finalize() })
    }

    /// What differs from what was written, in words.
    pub(super) fn beside(&self, written: &Self) -> String {
        format!(
            "{} rows up to commit {} instead of {} rows up to commit {}",
            self.rows, self.applied, written.rows, written.applied
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::data_dir::testing::{delete, put};
    use crate::kv::memory::MemoryKv;

    #[test]
    fn it_notices_what_is_missing_and_what_was_exchanged() {
        let kv = MemoryKv::new();
        kv.apply(&[put("a", "1"), put("b", "22")]).unwrap();
        let whole = Census::of(&kv).unwrap();
        assert_eq!(Census::of(&kv).unwrap(), whole);
        kv.apply(&[delete("a")]).unwrap();
        let less = Census::of(&kv).unwrap();
        assert_eq!(less.beside(&whole), "1 rows up to commit 0 instead of 2 rows up to commit 0");
        kv.apply(&[put("c", "1")]).unwrap();
        assert_ne!(Census::of(&kv).unwrap(), whole);
    }
}
