//! The delay tree: the one index of time. What waits for a time has exactly one key in it, in its
//! lane, in order of that time.

use std::sync::Arc;

use super::keys::{self, Lane};
use super::{Order, Store};
use crate::kv::{Fault, Kv};
use crate::store::schema::Tree;
use crate::time::Timestamp;

/// Lanes whose floor is remembered.
const FLOORS: usize = 100_000;

impl<K: Kv> Store<K> {
    /// Files an item of a lane under a time.
    pub(crate) fn delay_put(&mut self, lane: Lane, due: Timestamp, item: &[u8]) {
        let key = lane.key(due, item);
        if let Some(floor) = self.floors.get_mut(&lane.prefix())
            && key < *floor
        {
            floor.clone_from(&key);
        }
        self.create(Tree::Delay, key, Arc::from(&[][..]));
    }

    /// Takes it out.
    pub(crate) fn delay_delete(&mut self, lane: Lane, due: Timestamp, item: &[u8]) {
        self.delete(Tree::Delay, &lane.key(due, item));
    }

    /// Up to `limit` items of a lane in order of due time, due or not.
    pub(crate) fn delay_first(
        &mut self,
        lane: Lane,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Vec<u8>)>, Fault> {
        let prefix = lane.prefix();
        let end = keys::after_prefix(&prefix);
        let from = self.floors.get(&prefix).unwrap_or(&prefix).clone();
        let found = self.scan(Tree::Delay, &from, &end, Order::Ascending, limit)?;
        if self.floors.len() >= FLOORS {
            self.floors.clear();
        }
        let floor = found.first().map_or(end, |(key, _)| key.clone());
        self.floors.insert(prefix.clone(), floor);
        let items = found.iter().filter_map(|(key, _)| keys::split_delay(key, prefix.len()));
        Ok(items.map(|(due, item)| (due, item.to_vec())).collect())
    }
}
