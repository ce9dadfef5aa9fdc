//! Which keys the base packs into blocks.
//!
//! sled keeps some 25 bytes of memory for each of its keys, for as long as they exist, and pays for
//! each one separately. Rows whose keys come in order, one after another, are therefore packed:
//! deliveries and their queue, the send log and its indexes in order of time. Rows that come in any
//! order stay by themselves, since each would rewrite a block: recipients, tasks and their queues.

use super::Tree;

/// A part of a tree's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Region {
    /// First bytes of the keys in it, from this on; the next region's `from` ends it.
    pub(super) from: u8,
    pub(super) layout: Layout,
}

/// How rows become sled's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Layout {
    /// One by one.
    Plain,
    /// Many in a block.
    Packed,
}

const fn region(from: u8, layout: Layout) -> Region {
    Region { from, layout }
}

const PLAIN: &[Region] = &[region(0, Layout::Plain)];
const PACKED: &[Region] = &[region(0, Layout::Packed)];
/// Lanes of deliveries (3) come in order; timers (1), tenants (2) and queues (4) do not. The first
/// byte is that of `store::keys::Lane`.
const DELAY: &[Region] =
    &[region(0, Layout::Plain), region(3, Layout::Packed), region(4, Layout::Plain)];
/// Entries by code (`c`; `e` in format 1) and by notice (`n`) come in order; by recipient (`o`) they do not.
const LOG_INDEX: &[Region] = &[region(0, Layout::Packed), region(b'o', Layout::Plain)];

/// The regions of a tree, in order; the first one begins at the beginning.
pub(super) fn regions(tree: Tree) -> &'static [Region] {
    match tree {
        Tree::Outbox | Tree::Overrides | Tree::SendLog => PACKED,
        Tree::Delay => DELAY,
        Tree::LogIndex => LOG_INDEX,
        Tree::Meta
        | Tree::Notices
        | Tree::NoticeBodies
        | Tree::Recipients
        | Tree::Tasks
        | Tree::TaskBodies
        | Tree::TaskHistory
        | Tree::Keys
        | Tree::Dead
        | Tree::Schedules
        | Tree::Runs
        | Tree::Names
        | Tree::Counters
        | Tree::Quarantine
        | Tree::Articles => PLAIN,
    }
}

/// The layout of a key.
pub(super) fn layout(tree: Tree, key: &[u8]) -> Layout {
    let first = key.first().copied().unwrap_or(0);
    let mut found = Layout::Plain;
    for region in regions(tree) {
        if region.from <= first {
            found = region.layout;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::store::keys::{self, Lane, TenantNo, TypeNo};
    use crate::time::Timestamp;

    #[test]
    fn what_comes_in_order_is_packed() {
        let delay = |lane: Lane| layout(Tree::Delay, &lane.key(Timestamp(7), &[1]));
        assert_eq!(delay(Lane::Timers), Layout::Plain);
        assert_eq!(delay(Lane::Tenant(TenantNo(1))), Layout::Plain);
        assert_eq!(delay(Lane::Notice(TenantNo(1), Id(1))), Layout::Packed);
        assert_eq!(delay(Lane::Queue(TypeNo(1), 1)), Layout::Plain);
        let index = |key: Vec<u8>| layout(Tree::LogIndex, &key);
        assert_eq!(index(keys::log_by_notice(Id(1))), Layout::Packed);
        assert_eq!(index(keys::log_by_errcode(TenantNo(1), -1)), Layout::Packed);
        assert_eq!(index(keys::log_by_openid(TenantNo(1), "o1")), Layout::Plain);
    }

    #[test]
    fn regions_begin_at_the_beginning_and_go_up() {
        for tree in Tree::ALL {
            let regions = regions(tree);
            assert_eq!(regions[0].from, 0);
            assert!(regions.windows(2).all(|pair| pair[0].from < pair[1].from), "{tree:?}");
        }
    }
}
