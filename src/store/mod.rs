//! The store: typed records over a [`Kv`], and the layers that make a commit cheap.
//!
//! ```text
//!   put/delete ─► group ──append + fdatasync──► journal        (durable: replies may go out)
//!        │                                        │
//!        ▼                                        │ after a crash: replay what is
//!     active table ──freeze──► frozen table ──►  base (sled)   newer than `applied`
//! ```
//!
//! 1. The engine's changes go into the *active* table, where they are read back at once, and into
//!    the *group*.
//! 2. At the end of a group the mailbox appends it to the journal and makes that durable.
//! 3. When the active table is large enough it is *frozen* and written to the base by another
//!    thread, in key order, followed by the number of the last commit in it (`applied`).
//!
//! The base therefore never decides what is durable: it may be behind, and the journal brings it up
//! to date. What lives and dies within one table never reaches the base at all, which is most of
//! the traffic of a queue. Reads look into group and active, frozen, base, in this order.

pub(crate) mod chunks;
pub mod codec;
mod delay;
pub mod keys;
pub mod schema;
mod table;
pub mod upgrade;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

pub use codec::Record;
pub use table::Table;

use self::schema::Tree;
use crate::kv::{Fault, Key, Kv, Value, Write};
use crate::limits;

/// Direction of a scan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// Smallest key first.
    Ascending,
    /// Largest key first.
    Descending,
}

/// The layered store. One thread owns it.
pub struct Store<K: Kv> {
    base: Arc<K>,
    active: Table,
    frozen: Option<Arc<Table>>,
    group: BTreeMap<(Tree, Key), Option<Value>>,
    group_bytes: usize,
    committed: u64,
    /// Where the first live key of a lane may be found; saves walking over deleted ones.
    floors: HashMap<Key, Key>,
}

impl<K: Kv> Store<K> {
    /// A store over `base`, in which commits up to number `committed` are contained.
    pub fn new(base: Arc<K>, committed: u64) -> Self {
        Self {
            base,
            active: Table::default(),
            frozen: None,
            group: BTreeMap::new(),
            group_bytes: 0,
            committed,
            floors: HashMap::new(),
        }
    }

    /// The base, for those who read it beside the writer: images, metrics.
    pub fn base(&self) -> &Arc<K> {
        &self.base
    }

    /// The value of a key.
    pub fn get(&self, tree: Tree, key: &[u8]) -> Result<Option<Value>, Fault> {
        if let Some(known) = self.active.get(tree, key) {
            return Ok(known);
        }
        if let Some(known) = self.frozen.as_ref().and_then(|table| table.get(tree, key)) {
            return Ok(known);
        }
        self.base.get(tree.number(), key)
    }

    /// The record of a key. Bytes that are no such record are a [`Fault`].
    pub fn read<R: Record>(&self, key: &[u8]) -> Result<Option<R>, Fault> {
        self.get(R::TREE, key)?.map(|bytes| codec::decode(&bytes)).transpose()
    }

    /// Puts a value where there may be one already.
    pub fn put(&mut self, tree: Tree, key: Key, value: Value) {
        self.note(tree, &key, Some(&value));
        self.active.put(tree, key, value);
    }

    /// Puts a value under a key that certainly has none. Deleting it again soon costs nothing.
    pub fn create(&mut self, tree: Tree, key: Key, value: Value) {
        self.note(tree, &key, Some(&value));
        self.active.create(tree, key, value);
    }

    /// Puts a record where there may be one already.
    pub fn write<R: Record>(&mut self, key: Key, record: &R) {
        self.put(R::TREE, key, codec::encode(record));
    }

    /// Deletes a key, whether it is there or not.
    pub fn delete(&mut self, tree: Tree, key: &[u8]) {
        self.note(tree, key, None);
        self.active.delete(tree, key);
    }

    fn note(&mut self, tree: Tree, key: &[u8], value: Option<&Value>) {
        let bytes = value.map_or(0, |value| value.len());
        // Here, and not only in the base: once in the journal, it would stop every start.
        assert!(bytes <= limits::ROW_BYTES, "a row of {bytes} bytes in {}", tree.name());
        self.group_bytes += key.len() + value.map_or(0, |value| value.len()) + 8;
        self.group.insert((tree, key.to_vec()), value.cloned());
    }

    /// Up to `limit` live pairs with `from <= key < to`.
    pub fn scan(
        &self,
        tree: Tree,
        from: &[u8],
        to: &[u8],
        order: Order,
        limit: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        let upper: [Option<&Table>; 2] = [Some(&self.active), self.frozen.as_deref()];
        table::merge(&*self.base, upper, tree, from, to, order, limit)
    }

    /// The first live pair with `from <= key < to`.
    pub fn first(&self, tree: Tree, from: &[u8], to: &[u8]) -> Result<Option<(Key, Value)>, Fault> {
        Ok(self.scan(tree, from, to, Order::Ascending, 1)?.pop())
    }

    /// The number of the last commit.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// Bytes of changes waiting in the group.
    pub fn group_bytes(&self) -> usize {
        self.group_bytes
    }

    /// Ends the group: its number and its changes, one per key. `None` when nothing changed.
    ///
    /// The caller makes them durable before anyone hears of them.
    pub fn end_group(&mut self) -> Option<(u64, Vec<Write>)> {
        if self.group.is_empty() {
            return None;
        }
        self.committed += 1;
        self.group_bytes = 0;
        let group = std::mem::take(&mut self.group);
        let writes =
            group.into_iter().map(|((tree, key), value)| Write { tree: tree.number(), key, value });
        Some((self.committed, writes.collect()))
    }

    /// Bytes in the active table.
    pub fn active_bytes(&self) -> usize {
        self.active.bytes()
    }

    /// Whether a frozen table is still on its way to the base.
    pub fn is_applying(&self) -> bool {
        self.frozen.is_some()
    }

    /// Freezes the active table and returns it for [`apply`]. Call only between groups, and not
    /// while [`Store::is_applying`].
    pub fn freeze(&mut self) -> Arc<Table> {
        assert!(
            self.group.is_empty() && self.frozen.is_none(),
            "frozen in the middle of something"
        );
        let mut table = std::mem::take(&mut self.active);
        table.seal(self.committed);
        let table = Arc::new(table);
        self.frozen = Some(table.clone());
        table
    }

    /// The frozen table has reached the base.
    pub fn thaw(&mut self) {
        self.frozen = None;
    }
}

/// Rows applied between two breaths, so that one table never hogs the base.
const APPLY_CHUNK: usize = 256;

/// Writes a frozen table to the base, and its commit number when all of it is on disk: after a
/// power cut the base may have any of what it had not synced, also the number without the rows.
/// `progress` is told now and then how many of the table's bytes were written since it was last told.
pub fn apply<K: Kv>(base: &K, table: &Table, progress: &mut dyn FnMut(usize)) -> Result<(), Fault> {
    let mut chunk = Vec::with_capacity(APPLY_CHUNK);
    for write in table.writes() {
        chunk.push(write);
        if chunk.len() == APPLY_CHUNK {
            base.apply(&chunk)?;
            progress(chunk.iter().map(table::bytes_of).sum());
            chunk.clear();
        }
    }
    base.apply(&chunk)?;
    base.sync()?;
    progress(chunk.iter().map(table::bytes_of).sum());
    base.apply(&[applied_write(table.committed())])?;
    base.sync()
}

/// The change that says "commits up to `number` are in the base".
#[must_use]
pub fn applied_write(number: u64) -> Write {
    Write {
        tree: Tree::Meta.number(),
        key: schema::APPLIED.to_vec(),
        value: Some(Arc::from(&number.to_be_bytes()[..])),
    }
}

/// Reads what [`applied_write`] wrote; 0 for a new base.
pub fn applied(base: &dyn Kv) -> Result<u64, Fault> {
    let Some(value) = base.get(Tree::Meta.number(), schema::APPLIED)? else { return Ok(0) };
    let bytes: [u8; 8] = value[..].try_into().map_err(|_| Fault::Damaged {
        tree: Tree::Meta.name(),
        why: format!("the commit number has {} bytes", value.len()),
    })?;
    Ok(u64::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kv::TreeNo;
    use crate::kv::memory::MemoryKv;

    fn value(text: &str) -> Value {
        Arc::from(text.as_bytes())
    }

    /// A base that remembers in which order things came.
    #[derive(Clone, Default)]
    struct Steps {
        steps: Arc<std::sync::Mutex<Vec<&'static str>>>,
    }

    impl Kv for Steps {
        fn get(&self, _: TreeNo, _: &[u8]) -> Result<Option<Value>, Fault> {
            Ok(None)
        }
        fn scan(
            &self,
            _: TreeNo,
            _: &[u8],
            _: &[u8],
            _: usize,
        ) -> Result<Vec<(Key, Value)>, Fault> {
            Ok(Vec::new())
        }
        fn scan_back(
            &self,
            _: TreeNo,
            _: &[u8],
            _: &[u8],
            _: usize,
        ) -> Result<Vec<(Key, Value)>, Fault> {
            Ok(Vec::new())
        }
        fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
            let number = writes.iter().any(|write| write.key == schema::APPLIED);
            self.steps.lock().unwrap().push(if number { "applied" } else { "rows" });
            Ok(())
        }
        fn sync(&self) -> Result<(), Fault> {
            self.steps.lock().unwrap().push("sync");
            Ok(())
        }
        fn size_bytes(&self) -> u64 {
            0
        }
    }

    /// Random operations against a plain map, with freezing and applying in between.
    #[test]
    fn layers_read_like_one_map() {
        for seed in 0..60 {
            let mut random = fastrand::Rng::with_seed(seed);
            let mut store = Store::new(Arc::new(MemoryKv::new()), 0);
            let mut model: BTreeMap<Key, Value> = BTreeMap::new();
            let mut pending: Option<Arc<Table>> = None;
            for step in 0..400 {
                let key = vec![random.u8(0..40)];
                match random.u8(0..10) {
                    0..4 => {
                        let new = value(&step.to_string());
                        if model.contains_key(&key) {
                            store.put(Tree::Tasks, key.clone(), new.clone());
                        } else {
                            store.create(Tree::Tasks, key.clone(), new.clone());
                        }
                        model.insert(key, new);
                    }
                    4..8 => {
                        store.delete(Tree::Tasks, &key);
                        model.remove(&key);
                    }
                    8 => {
                        let _ = store.end_group();
                        if pending.is_none() {
                            pending = Some(store.freeze());
                        }
                    }
                    _ => {
                        if let Some(table) = pending.take() {
                            apply(&**store.base(), &table, &mut |_| {}).unwrap();
                            store.thaw();
                            assert_eq!(applied(&**store.base()).unwrap(), table.committed());
                        }
                    }
                }
                let (from, to) = (vec![random.u8(0..40)], vec![random.u8(0..41)]);
                let limit = random.usize(1..9);
                for order in [Order::Ascending, Order::Descending] {
                    let found = store.scan(Tree::Tasks, &from, &to, order, limit).unwrap();
                    let mut wanted: Vec<_> = model
                        .iter()
                        .filter(|(key, _)| from <= **key && **key < to)
                        .map(|(key, value)| (key.clone(), value.clone()))
                        .collect();
                    if order == Order::Descending {
                        wanted.reverse();
                    }
                    wanted.truncate(limit);
                    assert_eq!(found, wanted, "seed {seed} step {step}");
                }
            }
        }
    }

    #[test]
    fn the_number_of_a_table_comes_after_its_rows_are_on_disk() {
        let base = Steps::default();
        let mut store = Store::new(Arc::new(base.clone()), 0);
        (0..600u16).for_each(|n| store.put(Tree::Tasks, n.to_be_bytes().to_vec(), value("x")));
        let _ = store.end_group();
        apply(&base, &store.freeze(), &mut |_| {}).unwrap();
        let steps = base.steps.lock().unwrap();
        assert_eq!(*steps, ["rows", "rows", "rows", "sync", "applied", "sync"]);
    }

    #[test]
    #[should_panic(expected = "a row of 6145 bytes in overrides")]
    fn a_row_that_the_base_would_refuse_never_reaches_the_journal() {
        let mut store = Store::new(Arc::new(MemoryKv::new()), 0);
        store.put(Tree::Overrides, vec![1], Arc::from(vec![0; limits::ROW_BYTES + 1]));
    }

    #[test]
    fn a_short_life_leaves_nothing_for_the_base() {
        let mut store = Store::new(Arc::new(MemoryKv::new()), 0);
        store.create(Tree::Delay, vec![1], value(""));
        let _ = store.end_group();
        store.delete(Tree::Delay, &[1]);
        let (_, writes) = store.end_group().unwrap();
        assert_eq!(writes.len(), 1, "the journal must hear of the delete");
        assert_eq!(store.freeze().writes().count(), 0);
    }

    #[test]
    fn a_group_holds_the_last_change_of_each_key() {
        let mut store = Store::new(Arc::new(MemoryKv::new()), 7);
        store.put(Tree::Meta, vec![1], value("a"));
        store.put(Tree::Meta, vec![1], value("b"));
        let (number, writes) = store.end_group().unwrap();
        assert_eq!((number, writes.len()), (8, 1));
        assert_eq!(writes[0].value.as_deref(), Some(&b"b"[..]));
        assert_eq!(store.end_group(), None);
    }
}
