//! Tables of changes in memory, and the merged view of tables over the base.

use std::collections::BTreeMap;
use std::iter::Peekable;

use super::Order;
use crate::kv::{Fault, Key, Kv, Value, Write};
use crate::store::schema::Tree;

/// What a table knows about a key.
#[derive(Clone, Debug)]
enum Slot {
    /// A value; `fresh` when no older layer can hold a live value of this key.
    Live { value: Value, fresh: bool },
    /// Deleted here; an older layer may still hold it.
    Gone,
}

/// Ordered changes of all trees, one slot per key.
#[derive(Debug, Default)]
pub struct Table {
    trees: [BTreeMap<Key, Slot>; Tree::ALL.len()],
    bytes: usize,
    committed: u64,
}

/// What one slot costs beside its key and value: map node, allocations.
const SLOT_BYTES: usize = 96;

/// The bytes that a change counts for.
pub(super) fn bytes_of(write: &Write) -> usize {
    write.key.len() + write.value.as_ref().map_or(0, |value| value.len()) + SLOT_BYTES
}

impl Table {
    pub(super) fn get(&self, tree: Tree, key: &[u8]) -> Option<Option<Value>> {
        self.trees[tree as usize].get(key).map(|slot| match slot {
            Slot::Live { value, .. } => Some(value.clone()),
            Slot::Gone => None,
        })
    }

    pub(super) fn put(&mut self, tree: Tree, key: Key, value: Value) {
        let fresh =
            matches!(self.trees[tree as usize].get(&key), Some(Slot::Live { fresh: true, .. }));
        self.insert(tree, key, Slot::Live { value, fresh });
    }

    pub(super) fn create(&mut self, tree: Tree, key: Key, value: Value) {
        let fresh = !matches!(self.trees[tree as usize].get(&key), Some(Slot::Gone));
        self.insert(tree, key, Slot::Live { value, fresh });
    }

    pub(super) fn delete(&mut self, tree: Tree, key: &[u8]) {
        let map = &mut self.trees[tree as usize];
        if let Some(Slot::Live { value, fresh: true }) = map.get(key) {
            self.bytes = self.bytes.saturating_sub(key.len() + value.len() + SLOT_BYTES);
            map.remove(key);
        } else {
            self.insert(tree, key.to_vec(), Slot::Gone);
        }
    }

    fn insert(&mut self, tree: Tree, key: Key, slot: Slot) {
        let length = |slot: &Slot| match slot {
            Slot::Live { value, .. } => value.len(),
            Slot::Gone => 0,
        };
        let key_length = key.len();
        let new = length(&slot);
        match self.trees[tree as usize].insert(key, slot) {
            Some(old) => self.bytes = (self.bytes + new).saturating_sub(length(&old)),
            None => self.bytes += key_length + new + SLOT_BYTES,
        }
    }

    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    pub(super) fn seal(&mut self, committed: u64) {
        self.committed = committed;
    }

    /// The number of the last commit in this table.
    pub fn committed(&self) -> u64 {
        self.committed
    }

    /// All changes, tree by tree, keys ascending.
    pub fn writes(&self) -> impl Iterator<Item = Write> + '_ {
        Tree::ALL.into_iter().flat_map(move |tree| {
            self.trees[tree as usize].iter().map(move |(key, slot)| Write {
                tree: tree.number(),
                key: key.clone(),
                value: match slot {
                    Slot::Live { value, .. } => Some(value.clone()),
                    Slot::Gone => None,
                },
            })
        })
    }

    fn range<'a>(&'a self, tree: Tree, from: &[u8], to: &[u8], order: Order) -> Slots<'a> {
        let range = self.trees[tree as usize].range(from.to_vec()..to.to_vec());
        match order {
            Order::Ascending => Box::new(range),
            Order::Descending => Box::new(range.rev()),
        }
    }
}

type Slots<'a> = Box<dyn Iterator<Item = (&'a Key, &'a Slot)> + 'a>;

/// Pages of the base, fetched as the merge needs them.
struct BasePages<'a, K: Kv> {
    base: &'a K,
    tree: Tree,
    from: Key,
    to: Key,
    order: Order,
    page_rows: usize,
    page: std::vec::IntoIter<(Key, Value)>,
    exhausted: bool,
}

impl<K: Kv> BasePages<'_, K> {
    fn next(&mut self) -> Result<Option<(Key, Value)>, Fault> {
        loop {
            if let Some(pair) = self.page.next() {
                return Ok(Some(pair));
            }
            if self.exhausted {
                return Ok(None);
            }
            let rows = match self.order {
                Order::Ascending => {
                    self.base.scan(self.tree.number(), &self.from, &self.to, self.page_rows)?
                }
                Order::Descending => {
                    self.base.scan_back(self.tree.number(), &self.from, &self.to, self.page_rows)?
                }
            };
            self.exhausted = rows.len() < self.page_rows;
            if let Some((last, _)) = rows.last() {
                match self.order {
                    Order::Ascending => {
                        self.from = last.clone();
                        self.from.push(0);
                    }
                    Order::Descending => self.to = last.clone(),
                }
            }
            // A page full of deleted rows is followed by a larger one.
            self.page_rows = (self.page_rows * 2).min(1024);
            self.page = rows.into_iter();
        }
    }
}

/// Up to `limit` live pairs of the tables over the base; earlier tables win.
pub(super) fn merge<K: Kv>(
    base: &K,
    tables: [Option<&Table>; 2],
    tree: Tree,
    from: &[u8],
    to: &[u8],
    order: Order,
    limit: usize,
) -> Result<Vec<(Key, Value)>, Fault> {
    let mut found = Vec::new();
    if from >= to || limit == 0 {
        return Ok(found);
    }
    let mut slots: Vec<Peekable<Slots<'_>>> = tables
        .into_iter()
        .flatten()
        .map(|table| table.range(tree, from, to, order).peekable())
        .collect();
    let mut pages = BasePages {
        base,
        tree,
        from: from.to_vec(),
        to: to.to_vec(),
        order,
        page_rows: limit.min(1024) + 1,
        page: Vec::new().into_iter(),
        exhausted: false,
    };
    let mut below = pages.next()?;
    while found.len() < limit {
        let mut nearest: Option<&Key> = below.as_ref().map(|(key, _)| key);
        for table in &mut slots {
            if let Some((key, _)) = table.peek() {
                nearest = Some(nearest.map_or(*key, |best| nearer(best, key, order)));
            }
        }
        let Some(key) = nearest.cloned() else { break };
        let mut decided: Option<Option<Value>> = None;
        for table in &mut slots {
            if table.peek().is_some_and(|(next, _)| **next == key)
                && let Some((_, slot)) = table.next()
                && decided.is_none()
            {
                decided = Some(match slot {
                    Slot::Live { value, .. } => Some(value.clone()),
                    Slot::Gone => None,
                });
            }
        }
        if below.as_ref().is_some_and(|(next, _)| *next == key) {
            let value = below.take().map(|(_, value)| value);
            decided = decided.or(Some(value));
            below = pages.next()?;
        }
        if let Some(Some(value)) = decided {
            found.push((key, value));
        }
    }
    Ok(found)
}

fn nearer<'a>(left: &'a Key, right: &'a Key, order: Order) -> &'a Key {
    match order {
        Order::Ascending => left.min(right),
        Order::Descending => left.max(right),
    }
}
