//! From an older format of the store to that of today.
//!
//! | format | what is different from the one before |
//! |---|---|
//! | 1 | |
//! | 2 | the send log's index by code has the code as text: a number had runs of `FF` in it |
//! | 3 | notices count receipts, and are read in the older form too; trees for people and receipts |
//!
//! A base may have come up in three ways, and each one meets rows of old: it was opened, it was
//! loaded from an image, the journal was applied to it. So [`base`] brings up what is there before the
//! journal is applied, and [`write()`] each change of the journal. Both can be done again after a crash:
//! what was brought up already stays as it is.

use std::sync::Arc;

use super::keys;
use crate::kv::{Fault, Kv, Write};
use crate::store::schema::{self, Tree};

/// Why a base cannot be brought up to date.
#[derive(Debug, thiserror::Error)]
pub enum UpgradeError {
    /// A newer program made it.
    #[error("the store has format {0}, and this program knows formats up to {known}", known = schema::FORMAT)]
    Newer(u32),
    /// The base failed.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// Rows brought up at once.
const ROWS: usize = 1024;

/// Brings the rows of a base up to date. Nothing is changed in a base of a newer format.
pub fn base(kv: &dyn Kv) -> Result<(), UpgradeError> {
    let found = format(kv)?;
    if found > schema::FORMAT {
        return Err(UpgradeError::Newer(found));
    }
    if found < schema::FORMAT {
        let rows = if found < 2 { index_by_code_as_text(kv)? } else { 0 };
        // An empty base has no format yet: the first commit tells it.
        if rows > 0 || kv.get(Tree::Meta.number(), schema::FORMAT_KEY)?.is_some() {
            kv.apply(&[format_write()])?;
            tracing::info!(event = "store.upgraded", from = found, to = schema::FORMAT, rows);
        }
    }
    Ok(())
}

/// The format of a base: 1 when it says nothing, as in a base without a commit.
fn format(kv: &dyn Kv) -> Result<u32, Fault> {
    let value = kv.get(Tree::Meta.number(), schema::FORMAT_KEY)?;
    Ok(value.and_then(|bytes| keys::read_u32(&bytes)).unwrap_or(1))
}

/// The change that says that a base has the format of today.
fn format_write() -> Write {
    let format = Arc::from(&schema::FORMAT.to_be_bytes()[..]);
    Write { tree: Tree::Meta.number(), key: schema::FORMAT_KEY.to_vec(), value: Some(format) }
}

/// Brings one change of a journal up to date.
#[must_use]
pub fn write(mut write: Write) -> Write {
    if write.tree == Tree::LogIndex
        && let Some(key) = keys::log_by_errcode_from_1(&write.key)
    {
        write.key = key;
    }
    if write.tree == Tree::Meta && write.key == schema::FORMAT_KEY {
        let written = write.value.as_deref().and_then(keys::read_u32);
        if written.is_some_and(|format| format < schema::FORMAT) {
            return format_write();
        }
    }
    write
}

/// The rows of old are found by steps forward. A row is put in its new place before it goes from the
/// old one.
fn index_by_code_as_text(kv: &dyn Kv) -> Result<usize, Fault> {
    let (from, to) = ([keys::LOG_BY_NUMBER], [keys::LOG_BY_NUMBER + 1]);
    let mut done = 0;
    loop {
        let rows = kv.scan(Tree::LogIndex.number(), &from, &to, ROWS)?;
        if rows.is_empty() {
            return Ok(done);
        }
        done += rows.len();
        let old = rows.iter().map(|(key, _)| Write {
            tree: Tree::LogIndex.number(),
            key: key.clone(),
            value: None,
        });
        let mut writes: Vec<Write> = rows
            .iter()
            .map(|(key, value)| {
                write(Write {
                    tree: Tree::LogIndex.number(),
                    key: key.clone(),
                    value: Some(value.clone()),
                })
            })
            .collect();
        writes.extend(old);
        kv.apply(&writes)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::kv::Key;
    use crate::kv::memory::MemoryKv;
    use crate::store::keys::TenantNo;

    fn old_row(code: i64, entry: u64) -> Key {
        let mut key = vec![b'e', 0, 0, 0, 1];
        key.extend_from_slice(&(code.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        key.extend_from_slice(&entry.to_be_bytes());
        key
    }

    fn put(key: Key) -> Write {
        Write { tree: Tree::LogIndex.number(), key, value: Some(Arc::from(&[][..])) }
    }

    fn index(kv: &MemoryKv) -> Vec<Key> {
        let rows = kv.scan(Tree::LogIndex.number(), &[], &[0xff], usize::MAX).unwrap();
        rows.into_iter().map(|(key, _)| key).collect()
    }

    #[test]
    fn all_rows_of_old_get_their_new_place_also_when_it_is_begun_again() {
        let kv = MemoryKv::new();
        let codes = |entry: u64| if entry.is_multiple_of(3) { 40003 } else { -1 };
        kv.apply(&(0..3000).map(|entry| put(old_row(codes(entry), entry))).collect::<Vec<_>>())
            .unwrap();
        let mut wanted: Vec<Key> = (0..3000)
            .map(|entry| keys::with_id(keys::log_by_errcode(TenantNo(1), codes(entry)), Id(entry)))
            .collect();
        wanted.sort();
        // A crash left one row in both places.
        kv.apply(&[put(wanted[0].clone())]).unwrap();
        base(&kv).unwrap();
        assert_eq!(index(&kv), wanted);
        assert_eq!(format(&kv).unwrap(), schema::FORMAT);
        base(&kv).unwrap();
        assert_eq!(index(&kv), wanted);
    }

    #[test]
    fn a_journal_of_old_deletes_and_puts_in_the_new_place() {
        let new = keys::with_id(keys::log_by_errcode(TenantNo(1), -1), Id(5));
        assert_eq!(write(put(old_row(-1, 5))), put(new.clone()));
        let gone = Write { tree: Tree::LogIndex.number(), key: old_row(-1, 5), value: None };
        assert_eq!(write(gone).key, new);
        let other = Write { tree: Tree::Tasks.number(), key: old_row(-1, 5), value: None };
        assert_eq!(write(other.clone()), other);
        let first = Write { value: Some(Arc::from(&[0, 0, 0, 1][..])), ..format_write() };
        assert_eq!(write(first), format_write());
    }

    #[test]
    fn a_newer_format_is_refused_and_left_as_it_is() {
        let kv = MemoryKv::new();
        let newer = Write { value: Some(Arc::from(&[0, 0, 0, 4][..])), ..format_write() };
        kv.apply(&[newer, put(old_row(-1, 5))]).unwrap();
        assert!(matches!(base(&kv), Err(UpgradeError::Newer(4))));
        assert_eq!(index(&kv), [old_row(-1, 5)]);
    }
}
