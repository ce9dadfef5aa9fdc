//! Which keys the base packs into blocks.
//!
//! sled keeps some 25 bytes of memory for each of its keys, for as long as they exist, and pays for
//! each one separately. Rows whose keys come in order, one after another, are therefore packed. Rows
//! that come in any order stay by themselves, since each would rewrite a block.
//!
//! A region that was plain may become packed: opening packs what is there. The way back is not built.

/// A tree, as the base is told of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TreeLayout {
    /// The name under which sled keeps it.
    pub name: &'static str,
    /// The parts of its keys, in order; the first one begins at 0.
    pub regions: &'static [Region],
}

/// A part of a tree's keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Region {
    /// First byte of the keys in it, from this on; the next region's `from` ends it.
    pub from: u8,
    /// How its rows lie.
    pub layout: Layout,
}

/// How rows become sled's rows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layout {
    /// One by one.
    Plain,
    /// Many in a block.
    Packed,
}

impl TreeLayout {
    /// How the row of a key lies.
    #[must_use]
    pub fn of(&self, key: &[u8]) -> Layout {
        let first = key.first().copied().unwrap_or(0);
        let before = self.regions.iter().rev().find(|region| region.from <= first);
        before.map_or(Layout::Plain, |region| region.layout)
    }
}

#[cfg(test)]
pub(super) mod testing {
    use super::{Layout, Region, TreeLayout};
    use crate::kv::TreeNo;

    const fn region(from: u8, layout: Layout) -> Region {
        Region { from, layout }
    }

    pub(in crate::kv) const PLAIN: TreeNo = TreeNo(0);
    pub(in crate::kv) const PACKED: TreeNo = TreeNo(1);
    pub(in crate::kv) const MIXED: TreeNo = TreeNo(2);
    pub(in crate::kv) const HALVED: TreeNo = TreeNo(3);

    /// A plain tree, a packed one, and those that are both by the first byte.
    pub(in crate::kv) static TREES: [TreeLayout; 4] = [
        TreeLayout { name: "plain", regions: &[region(0, Layout::Plain)] },
        TreeLayout { name: "packed", regions: &[region(0, Layout::Packed)] },
        TreeLayout {
            name: "mixed",
            regions: &[
                region(0, Layout::Plain),
                region(3, Layout::Packed),
                region(4, Layout::Plain),
            ],
        },
        TreeLayout {
            name: "halved",
            regions: &[region(0, Layout::Packed), region(b'o', Layout::Plain)],
        },
    ];

    #[test]
    fn a_key_lies_as_its_region_says() {
        let of = |tree: TreeNo, first: u8| TREES[usize::from(tree.0)].of(&[first, 7]);
        assert_eq!(of(PLAIN, 9), Layout::Plain);
        assert_eq!(of(PACKED, 9), Layout::Packed);
        let mixed = [2, 3, 4].map(|first| of(MIXED, first));
        assert_eq!(mixed, [Layout::Plain, Layout::Packed, Layout::Plain]);
        assert_eq!(TREES[3].of(&[]), Layout::Packed);
        assert_eq!(of(HALVED, b'p'), Layout::Plain);
    }
}
