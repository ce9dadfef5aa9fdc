//! A walk over the keys of a list, in either direction, that can be gone on with.

use super::page::{Page, cursor};
use crate::engine::marks::mark_key;
use crate::engine::refusal::Refusal;
use crate::kv::{Fault, Key, Kv, Value};
use crate::model::marks::{Mark, Marked};
use crate::store::keys;
use crate::store::schema::Tree;
use crate::store::{Order, Store};

/// Where a list's keys are: those of a tree, or those of the first mark that is asked for.
pub(super) struct Place {
    pub(super) tree: Tree,
    /// What all keys begin with; their id is behind it.
    pub(super) prefix: Key,
    pub(super) end: Key,
}

/// Where things with these marks are found: by the first, or in their own tree without one.
pub(super) fn by_mark(kind: Marked, marks: &[Mark], tree: Tree) -> Place {
    let Some(first) = marks.first() else {
        return Place { tree, prefix: Vec::new(), end: vec![0xff; 9] };
    };
    let prefix = mark_key(kind, first);
    Place { tree: Tree::Marks, end: keys::after_prefix(&prefix), prefix }
}

/// What is left of a range of keys.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    tree: Tree,
    from: Key,
    to: Key,
    order: Order,
}

impl Walk {
    /// The keys with `from <= key < to`, those behind the page's cursor. `None` when it is the cursor of
    /// another list: then nothing is left.
    pub(super) fn new(
        tree: Tree,
        from: Key,
        to: Key,
        order: Order,
        page: &Page,
    ) -> Result<Option<Self>, Refusal> {
        let start = match order {
            Order::Ascending => from.clone(),
            Order::Descending => to.clone(),
        };
        let at = cursor(page, start)?;
        if at < from || at > to {
            return Ok(None);
        }
        Ok(Some(match order {
            Order::Ascending => Self { tree, from: at, to, order },
            Order::Descending => Self { tree, from, to: at, order },
        }))
    }

    /// The next rows, at most so many.
    pub(super) fn rows<K: Kv>(
        &self,
        store: &Store<K>,
        most: usize,
    ) -> Result<Vec<(Key, Value)>, Fault> {
        store.scan(self.tree, &self.from, &self.to, self.order, most)
    }

    /// Goes behind a key.
    pub(super) fn pass(&mut self, key: &[u8]) {
        match self.order {
            Order::Ascending => self.from = keys::after(key),
            Order::Descending => self.to = key.to_vec(),
        }
    }

    /// Where to go on.
    pub(super) fn place(self) -> Key {
        match self.order {
            Order::Ascending => self.from,
            Order::Descending => self.to,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::kv::memory::MemoryKv;

    #[test]
    fn a_walk_goes_both_ways_and_is_gone_on_with() {
        let mut store = Store::new(Arc::new(MemoryKv::new()), 0);
        for key in 1..=9_u8 {
            store.put(Tree::Tasks, vec![key], Arc::from(&[][..]));
        }
        for (order, wanted) in [
            (Order::Ascending, vec![2, 3, 4, 5, 6, 7]),
            (Order::Descending, vec![7, 6, 5, 4, 3, 2]),
        ] {
            let (mut found, mut page) = (Vec::new(), Page::default());
            loop {
                let walk = Walk::new(Tree::Tasks, vec![2], vec![8], order, &page).unwrap();
                let mut walk = walk.unwrap();
                let rows = walk.rows(&store, 2).unwrap();
                let Some((last, _)) = rows.last() else { break };
                walk.pass(last);
                found.extend(rows.iter().map(|(key, _)| key[0]));
                page.cursor = Some(super::super::page::hex(&walk.place()));
            }
            assert_eq!(found, wanted, "{order:?}");
        }
        let page = Page { limit: 0, cursor: Some("09".to_owned()) };
        let foreign = Walk::new(Tree::Tasks, vec![2], vec![8], Order::Ascending, &page);
        assert!(foreign.unwrap().is_none());
    }
}
