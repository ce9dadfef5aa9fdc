//! The [`Kv`] on sled 0.34.7, with what was measured about it built in.
//!
//! - Plain inserts and removes only: a transaction or batch would switch on a process-wide lock
//!   that every later read takes. Atomicity comes from the journal.
//! - `flush` is `sync_file_range`, not fsync: [`SledKv::sync`] adds `sync_data` on an own handle.
//! - A left-over `snap.*.generating` is taken for a snapshot by 0.34.7: removed before opening.
//! - Values above [`limits::ROW_BYTES`] could become blob files that nobody syncs: refused here.
//! - Opening is destructive: whoever opens a suspect directory opens a copy.

use std::fs::{self, File};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::{Fault, Key, Kv, Tree, Value, Write};
use crate::limits;

/// A sled database with all trees open.
pub struct SledKv {
    db: ::sled::Db,
    trees: Vec<::sled::Tree>,
    file: File,
    dir: PathBuf,
}

impl SledKv {
    /// Opens or creates the database in `dir` with a page cache of `cache_bytes`.
    pub fn open(dir: &Path, cache_bytes: u64) -> Result<Self, Fault> {
        fs::create_dir_all(dir)
            .map_err(|error| Fault::io("creating the store's directory", error))?;
        remove_half_made_snapshots(dir)?;
        let db = ::sled::Config::default()
            .path(dir)
            .cache_capacity(cache_bytes)
            .mode(::sled::Mode::HighThroughput)
            .open()
            .map_err(|error| Fault::io("opening the store", error))?;
        let mut trees = Vec::with_capacity(Tree::ALL.len());
        for tree in Tree::ALL {
            let opened = db.open_tree(tree.name());
            trees.push(opened.map_err(|error| Fault::io("opening a tree", error))?);
        }
        let file = File::open(dir.join("db"))
            .map_err(|error| Fault::io("opening the store's file", error))?;
        let kv = Self { db, trees, file, dir: dir.to_path_buf() };
        kv.sync()?;
        File::open(dir)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| Fault::io("syncing the store's directory", error))?;
        Ok(kv)
    }

    fn tree(&self, tree: Tree) -> &::sled::Tree {
        &self.trees[tree as usize]
    }

    fn collect(
        pairs: impl Iterator<Item = ::sled::Result<(::sled::IVec, ::sled::IVec)>>,
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        let mut found = Vec::new();
        for pair in pairs.take(limit) {
            let (key, value) = pair.map_err(|error| Fault::io("scanning the store", error))?;
            found.push((key.to_vec(), Arc::from(&value[..])));
        }
        Ok(found)
    }
}

impl Kv for SledKv {
    fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>, Fault> {
        let value =
            self.tree(tree).get(key).map_err(|error| Fault::io("reading the store", error))?;
        Ok(value.map(|bytes| Arc::from(&bytes[..])))
    }

    fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        if from >= to {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        Self::collect(self.tree(tree).range::<&[u8], _>(bounds), limit)
    }

    fn scan_back(
        &self,
        tree: Tree,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        if from >= to {
            return Ok(Vec::new());
        }
        let bounds = (Bound::Included(from), Bound::Excluded(to));
        Self::collect(self.tree(tree).range::<&[u8], _>(bounds).rev(), limit)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
        for write in writes {
            let tree = self.tree(write.tree);
            let done = match &write.value {
                Some(value) => {
                    assert!(
                        value.len() <= limits::ROW_BYTES,
                        "a row of {} bytes in {} would leave the log for a blob file",
                        value.len(),
                        write.tree.name()
                    );
                    tree.insert(&write.key, &value[..])
                }
                None => tree.remove(&write.key),
            };
            done.map_err(|error| Fault::io("writing the store", error))?;
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Fault> {
        self.db.flush().map_err(|error| Fault::io("flushing the store", error))?;
        self.file.sync_data().map_err(|error| Fault::io("syncing the store", error))
    }

    fn size_bytes(&self) -> u64 {
        fs::metadata(self.dir.join("db")).map_or(0, |meta| meta.len())
    }
}

fn remove_half_made_snapshots(dir: &Path) -> Result<(), Fault> {
    let entries = fs::read_dir(dir).map_err(|error| Fault::io("listing the store", error))?;
    for entry in entries {
        let entry = entry.map_err(|error| Fault::io("listing the store", error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("snap.") && name.ends_with(".generating") {
            tracing::warn!(event = "store.half_snapshot_removed", file = %name);
            fs::remove_file(entry.path())
                .map_err(|error| Fault::io("removing a half-made snapshot", error))?;
        }
    }
    Ok(())
}
