//! The [`Kv`] on sled 0.34.7, with what was measured about it built in.
//!
//! - Plain inserts and removes only: a transaction or batch would switch on a process-wide lock
//!   that every later read takes. Atomicity comes from the journal.
//! - `flush` is `sync_file_range`, not fsync: [`SledKv::sync`] adds `sync_data` on an own handle.
//! - A left-over `snap.*.generating` is taken for a snapshot by 0.34.7: removed before opening.
//! - Values above [`limits::ROW_BYTES`] could become blob files that nobody syncs: refused here.
//! - Its steps backwards can go round for ever, see `backward`: every scan here goes forward.
//! - Opening is destructive: whoever opens a suspect directory opens a copy.
//! - Each key costs memory and time of its own: rows that come in order are packed into blocks, see
//!   `layout`.

use std::fs::{self, File};
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use super::backward;
use super::inside::Inside;
use super::layout::{Layout, TreeLayout};
use super::packed::PackedTree;
use super::{Fault, Key, Kv, TreeNo, Value, Write, free_bytes};
use crate::limits;

/// A sled database with all trees open.
pub struct SledKv {
    db: ::sled::Db,
    trees: Vec<Stored>,
    file: File,
    dir: PathBuf,
    /// Free bytes of the disk below which nothing is applied any more.
    reserve: u64,
    /// The last, so that it is dropped after all the others.
    open: Open,
}

/// Tells when a database is closed.
#[derive(Debug)]
pub struct Closed(Arc<Gate>);

impl Closed {
    /// Waits until the last who has the database has dropped it, at most for so long. False if
    /// somebody still has it then.
    #[must_use]
    pub fn wait(self, within: Duration) -> bool {
        let is_open = self.0.is_open.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.0.closed.wait_timeout_while(is_open, within, |is_open| *is_open);
        !*waited.unwrap_or_else(PoisonError::into_inner).0
    }
}

#[derive(Debug)]
struct Gate {
    is_open: Mutex<bool>,
    closed: Condvar,
}

/// Opens the gate to whoever waits when it is dropped.
struct Open(Arc<Gate>);

impl Drop for Open {
    fn drop(&mut self) {
        *self.0.is_open.lock().unwrap_or_else(PoisonError::into_inner) = false;
        self.0.closed.notify_all();
    }
}

impl SledKv {
    /// Opens or creates the database in `dir` with these trees, by their numbers, and a page cache of
    /// `cache_bytes`.
    pub fn open(
        dir: &Path,
        cache_bytes: u64,
        layouts: &'static [TreeLayout],
    ) -> Result<Self, Fault> {
        let _inside = Inside::enter();
        fs::create_dir_all(dir)
            .map_err(|error| Fault::io("creating the store's directory", error))?;
        remove_half_made_snapshots(dir)?;
        match crate::regular::open(&dir.join("db")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(Fault::io("opening the store's file", error));
            }
            Ok(_) | Err(_) => {}
        }
        let db = open_waiting(dir, cache_bytes)?;
        let mut trees = Vec::with_capacity(layouts.len());
        for (number, layout) in (0..).zip(layouts) {
            trees.push(Stored::open(&db, TreeNo(number), layout)?);
        }
        let file = File::open(dir.join("db"))
            .map_err(|error| Fault::io("opening the store's file", error))?;
        let gate = Gate { is_open: Mutex::new(true), closed: Condvar::new() };
        let open = Open(Arc::new(gate));
        let kv = Self { db, trees, file, dir: dir.to_path_buf(), reserve: 0, open };
        kv.sync()?;
        File::open(dir)
            .and_then(|directory| directory.sync_all())
            .map_err(|error| Fault::io("syncing the store's directory", error))?;
        Ok(kv)
    }

    /// Has [`Kv::apply`] fail, as on a full disk, before less than so many bytes are free.
    #[must_use]
    pub fn keeping_free(self, reserve: u64) -> Self {
        Self { reserve, ..self }
    }

    /// To wait for its closing: whoever has it may drop it anywhere.
    #[must_use]
    pub fn when_closed(&self) -> Closed {
        Closed(self.open.0.clone())
    }

    fn stored(&self, tree: TreeNo) -> &Stored {
        &self.trees[usize::from(tree.0)]
    }
}

impl Kv for SledKv {
    fn get(&self, tree: TreeNo, key: &[u8]) -> Result<Option<Value>, Fault> {
        let _inside = Inside::enter();
        let stored = self.stored(tree);
        match stored.layout.of(key) {
            Layout::Packed => stored.packed().get(key),
            Layout::Plain => {
                let value =
                    stored.plain.get(key).map_err(|error| Fault::io("reading the store", error))?;
                Ok(value.map(|bytes| Arc::from(&bytes[..])))
            }
        }
    }

    fn scan(
        &self,
        tree: TreeNo,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        let _inside = Inside::enter();
        let stored = self.stored(tree);
        let mut found = Vec::new();
        for (from, to, layout) in parts(stored.layout, from, to) {
            match layout {
                Layout::Packed => stored.packed().scan(from, to, limit, &mut found)?,
                Layout::Plain => {
                    let pairs = stored.plain.range::<&[u8], _>(between(from, to));
                    collect(pairs, limit, &mut found)?;
                }
            }
        }
        Ok(found)
    }

    fn scan_back(
        &self,
        tree: TreeNo,
        from: &[u8],
        to: &[u8],
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        let _inside = Inside::enter();
        let stored = self.stored(tree);
        let mut found = Vec::new();
        for (from, to, layout) in parts(stored.layout, from, to).rev() {
            match layout {
                Layout::Packed => stored.packed().scan_back(from, to, limit, &mut found)?,
                Layout::Plain => collect_back(&stored.plain, from, to, limit, &mut found)?,
            }
        }
        Ok(found)
    }

    fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
        let _inside = Inside::enter();
        if self.reserve > 0 && free_bytes(&self.dir).is_some_and(|free| free < self.reserve) {
            let full = std::io::Error::from(rustix::io::Errno::NOSPC);
            return Err(Fault::io("writing the store", full));
        }
        let place = |write: &Write| (write.tree, self.stored(write.tree).layout.of(&write.key));
        for together in writes.chunk_by(|left, right| place(left) == place(right)) {
            let (tree, layout) = place(&together[0]);
            check_sizes(self.stored(tree).layout.name, together);
            match layout {
                Layout::Packed => self.stored(tree).packed().apply(together)?,
                Layout::Plain => apply_plain(&self.stored(tree).plain, together)?,
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Fault> {
        let _inside = Inside::enter();
        self.db.flush().map_err(|error| Fault::io("flushing the store", error))?;
        self.file.sync_data().map_err(|error| Fault::io("syncing the store", error))
    }

    fn size_bytes(&self) -> u64 {
        fs::metadata(self.dir.join("db")).map_or(0, |meta| meta.len())
    }
}

/// Threads of a database that was just closed may hold its lock for a moment longer.
fn open_waiting(dir: &Path, cache_bytes: u64) -> Result<::sled::Db, Fault> {
    let began = Instant::now();
    loop {
        let opened = ::sled::Config::default()
            .path(dir)
            .cache_capacity(cache_bytes)
            .mode(::sled::Mode::HighThroughput)
            .open();
        match opened {
            // There is no better sign: sled makes an own error of what the lock said.
            Err(error)
                if error.to_string().contains("could not acquire lock")
                    && began.elapsed() < LOCK_WAIT =>
            {
                std::thread::sleep(LOCK_BEAT);
            }
            opened => return opened.map_err(|error| Fault::io("opening the store", error)),
        }
    }
}

/// How long the lock of a database is waited for. Whether another process holds it is asked before.
const LOCK_WAIT: Duration = Duration::from_secs(10);
const LOCK_BEAT: Duration = Duration::from_millis(50);

/// A tree as it lies in sled.
struct Stored {
    layout: &'static TreeLayout,
    plain: ::sled::Tree,
    /// Present when some of the tree's keys are packed.
    packed: Option<PackedTree>,
}

impl Stored {
    fn open(db: &::sled::Db, tree: TreeNo, layout: &'static TreeLayout) -> Result<Self, Fault> {
        let open =
            |name: &str| db.open_tree(name).map_err(|error| Fault::io("opening a tree", error));
        let packs = layout.regions.iter().any(|region| region.layout == Layout::Packed);
        let packed = if packs {
            let blocks = open(&format!("{}.blocks", layout.name))?;
            Some(PackedTree::new(blocks, layout.name))
        } else {
            None
        };
        let stored = Self { layout, plain: open(layout.name)?, packed };
        stored.pack_what_is_plain(tree)?;
        Ok(stored)
    }

    fn packed(&self) -> &PackedTree {
        self.packed.as_ref().expect("a packed region has a tree for it")
    }

    /// The step from the base of format 1, where all rows lay by themselves. What a crash leaves of
    /// it is taken up again: a row is put into its block before it is removed from its old place.
    fn pack_what_is_plain(&self, tree: TreeNo) -> Result<(), Fault> {
        for (from, to, layout) in parts(self.layout, &[], END) {
            if layout == Layout::Packed {
                self.pack_range(tree, from, to)?;
            }
        }
        Ok(())
    }

    fn pack_range(&self, tree: TreeNo, from: &[u8], to: &[u8]) -> Result<(), Fault> {
        let mut moved = 0;
        loop {
            let mut rows = Vec::new();
            collect(self.plain.range::<&[u8], _>(between(from, to)), PACK_ROWS, &mut rows)?;
            if rows.is_empty() {
                break;
            }
            moved += rows.len();
            let put = |(key, value)| Write { tree, key, value: Some(value) };
            let mut writes: Vec<Write> = rows.into_iter().map(put).collect();
            self.packed().apply(&writes)?;
            for write in &mut writes {
                write.value = None;
            }
            apply_plain(&self.plain, &writes)?;
        }
        if moved > 0 {
            tracing::info!(event = "store.packed", tree = self.layout.name, rows = moved);
        }
        Ok(())
    }
}

/// Rows packed at once while a base is brought up from format 1.
const PACK_ROWS: usize = 1024;

/// Larger than every key: keys begin with a small tag or a number whose first byte is never 255.
const END: &[u8] = &[0xff; 64];

/// What of the range lies in which region of the tree, in order.
fn parts<'a>(
    layout: &'static TreeLayout,
    from: &'a [u8],
    to: &'a [u8],
) -> impl DoubleEndedIterator<Item = (&'a [u8], &'a [u8], Layout)> {
    let regions = layout.regions;
    (0..regions.len()).filter_map(move |at| {
        // The first region begins with the empty key, the last one has no end.
        let first = if at == 0 { &[][..] } else { std::slice::from_ref(&regions[at].from) };
        let end = regions.get(at + 1).map_or(to, |next| std::slice::from_ref(&next.from));
        let (from, to) = (from.max(first), to.min(end));
        (from < to).then_some((from, to, regions[at].layout))
    })
}

fn between<'a>(from: &'a [u8], to: &'a [u8]) -> (Bound<&'a [u8]>, Bound<&'a [u8]>) {
    (Bound::Included(from), Bound::Excluded(to))
}

fn collect(
    pairs: impl Iterator<Item = ::sled::Result<(::sled::IVec, ::sled::IVec)>>,
    limit: usize,
    found: &mut Vec<(Key, Value)>,
) -> Result<(), Fault> {
    let room = limit - found.len();
    for pair in pairs.take(room) {
        let (key, value) = pair.map_err(|error| Fault::io("scanning the store", error))?;
        found.push((key.to_vec(), Arc::from(&value[..])));
    }
    Ok(())
}

fn collect_back(
    tree: &::sled::Tree,
    from: &[u8],
    to: &[u8],
    limit: usize,
    found: &mut Vec<(Key, Value)>,
) -> Result<(), Fault> {
    let mut end = ::sled::IVec::from(to);
    while found.len() < limit {
        let rows = backward::last_rows(tree, from, &end, limit - found.len())?;
        let Some((first, _)) = rows.first() else { break };
        end = first.clone();
        let room = limit - found.len();
        let pairs = rows.iter().rev().take(room);
        found.extend(pairs.map(|(key, value)| (key.to_vec(), Arc::from(&value[..]))));
    }
    Ok(())
}

fn check_sizes(tree: &str, writes: &[Write]) {
    for write in writes {
        let bytes = write.value.as_ref().map_or(0, |value| value.len());
        assert!(
            bytes <= limits::ROW_BYTES,
            "a row of {bytes} bytes in {tree} would leave the log for a blob file"
        );
    }
}

fn apply_plain(tree: &::sled::Tree, writes: &[Write]) -> Result<(), Fault> {
    for write in writes {
        let done = match &write.value {
            Some(value) => tree.insert(&write.key, &value[..]),
            None => tree.remove(&write.key),
        };
        done.map_err(|error| Fault::io("writing the store", error))?;
    }
    Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::layout::testing::{MIXED, PACKED, TREES};

    const CACHE: u64 = 1024 * 1024;

    fn put(tree: TreeNo, key: &[u8]) -> Write {
        Write { tree, key: key.to_vec(), value: Some(Arc::from(key)) }
    }

    /// Keys on both sides of each border between regions.
    fn delay_keys() -> Vec<Vec<u8>> {
        let tags = [1u8, 2, 3, 3, 3, 4, 4];
        tags.iter().zip(0..).map(|(tag, row)| vec![*tag, row, 7]).collect()
    }

    fn keys_of(rows: &[(Key, Value)]) -> Vec<Key> {
        rows.iter().map(|(key, _)| key.clone()).collect()
    }

    #[test]
    fn a_scan_goes_across_packed_and_plain_keys() {
        let dir = tempfile::tempdir().unwrap();
        let kv = SledKv::open(dir.path(), CACHE, &TREES).unwrap();
        let keys = delay_keys();
        kv.apply(&keys.iter().map(|key| put(MIXED, key)).collect::<Vec<_>>()).unwrap();
        for first in 0..keys.len() {
            for last in first..keys.len() {
                for limit in 1..=keys.len() {
                    let mut wanted = keys[first..last].to_vec();
                    let (from, to) = (&keys[first], &keys[last]);
                    let mut back = wanted.clone();
                    back.reverse();
                    back.truncate(limit);
                    wanted.truncate(limit);
                    assert_eq!(keys_of(&kv.scan(MIXED, from, to, limit).unwrap()), wanted);
                    assert_eq!(keys_of(&kv.scan_back(MIXED, from, to, limit).unwrap()), back);
                }
            }
            assert_eq!(kv.get(MIXED, &keys[first]).unwrap().as_deref(), Some(&keys[first][..]));
        }
        assert_eq!(keys_of(&kv.scan(MIXED, &[], END, 99).unwrap()), keys);
    }

    #[test]
    fn a_lock_that_is_soon_let_go_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let first = SledKv::open(dir.path(), CACHE, &TREES).unwrap();
        let (told, hear) = std::sync::mpsc::channel();
        let path = dir.path().to_path_buf();
        let second = std::thread::spawn(move || {
            told.send(()).unwrap();
            SledKv::open(&path, CACHE, &TREES).map(drop)
        });
        hear.recv().unwrap();
        std::thread::sleep(2 * LOCK_BEAT);
        drop(first);
        second.join().unwrap().unwrap();
    }

    #[test]
    fn a_base_of_format_1_is_packed_when_it_is_opened() {
        let dir = tempfile::tempdir().unwrap();
        let (outbox, delay): (Vec<Vec<u8>>, _) =
            ((0..3000u32).map(|row| row.to_be_bytes().to_vec()).collect(), delay_keys());
        {
            let db = ::sled::open(dir.path()).unwrap();
            for (name, keys) in [("packed", &outbox), ("mixed", &delay)] {
                let tree = db.open_tree(name).unwrap();
                for key in keys {
                    tree.insert(key, &key[..]).unwrap();
                }
            }
            db.flush().unwrap();
        }
        for _ in 0..2 {
            let kv = SledKv::open(dir.path(), CACHE, &TREES).unwrap();
            assert_eq!(keys_of(&kv.scan(PACKED, &[], END, 9999).unwrap()), outbox);
            assert_eq!(keys_of(&kv.scan(MIXED, &[], END, 9999).unwrap()), delay);
            assert!(kv.stored(PACKED).plain.is_empty());
            assert_eq!(kv.stored(MIXED).plain.len(), 4);
        }
    }

    #[test]
    fn a_closing_is_heard_of_when_the_last_has_let_go() {
        let dir = tempfile::tempdir().unwrap();
        let kv = Arc::new(SledKv::open(dir.path(), CACHE, &TREES).unwrap());
        let other = kv.clone();
        let closed = kv.when_closed();
        drop(kv);
        assert!(!other.when_closed().wait(Duration::ZERO), "somebody has it");
        let letting_go = std::thread::spawn(move || drop(other));
        assert!(closed.wait(Duration::from_secs(60)));
        letting_go.join().unwrap();
    }
}
