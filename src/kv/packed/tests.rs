//! Packed trees against a plain map, and half-made splits.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::kv::TreeNo;

struct Rig {
    _dir: tempfile::TempDir,
    _db: ::sled::Db,
    packed: PackedTree,
    model: BTreeMap<Key, Value>,
}

impl Rig {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let db = ::sled::open(dir.path()).unwrap();
        let packed = PackedTree::new(db.open_tree("packed").unwrap(), "packed");
        Self { _dir: dir, _db: db, packed, model: BTreeMap::new() }
    }

    fn apply(&mut self, writes: &[Write]) {
        self.packed.apply(writes).unwrap();
        for write in writes {
            match &write.value {
                Some(value) => self.model.insert(write.key.clone(), value.clone()),
                None => self.model.remove(&write.key),
            };
        }
    }

    fn scan(&self, from: &[u8], to: &[u8], limit: usize) -> Vec<(Key, Value)> {
        let mut found = Vec::new();
        self.packed.scan(from, to, limit, &mut found).unwrap();
        found
    }

    fn check(&self, from: &[u8], to: &[u8], limit: usize) {
        let rows =
            || self.model.range(from.to_vec()..to.to_vec()).map(|(k, v)| (k.clone(), v.clone()));
        assert_eq!(self.scan(from, to, limit), rows().take(limit).collect::<Vec<_>>());
        let mut back = Vec::new();
        self.packed.scan_back(from, to, limit, &mut back).unwrap();
        assert_eq!(back, rows().rev().take(limit).collect::<Vec<_>>());
    }

    fn check_all(&self) {
        self.check(&[], &[0xff; 9], usize::MAX);
        for (key, value) in &self.model {
            assert_eq!(self.packed.get(key).unwrap().as_ref(), Some(value));
        }
    }

    fn blocks(&self) -> usize {
        self.packed.tree.len()
    }
}

fn put(number: u32, value: &[u8]) -> Write {
    let key = number.to_be_bytes().to_vec();
    Write { tree: TreeNo(0), key, value: Some(Arc::from(value)) }
}

fn delete(number: u32) -> Write {
    Write { tree: TreeNo(0), key: number.to_be_bytes().to_vec(), value: None }
}

#[test]
fn random_changes_read_like_a_map() {
    for seed in 0..30 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut rig = Rig::new();
        for _ in 0..40 {
            let mut batch: Vec<Write> = (0..random.usize(1..120))
                .map(|_| {
                    let number = random.u32(0..600);
                    let largest = if random.u8(0..20) == 0 { 5000 } else { 90 };
                    let size = random.usize(0..largest);
                    if random.u8(0..10) < 6 {
                        put(number, &vec![random.u8(..); size])
                    } else {
                        delete(number)
                    }
                })
                .collect();
            if random.bool() {
                batch.sort_by(|left, right| left.key.cmp(&right.key));
            }
            rig.apply(&batch);
            let (from, to) = (random.u32(0..600).to_be_bytes(), random.u32(0..700).to_be_bytes());
            if from < to {
                rig.check(&from, &to, random.usize(1..50));
            }
            assert_eq!(rig.packed.get(&from).unwrap(), rig.model.get(&from[..]).cloned());
        }
        rig.check_all();
    }
}

#[test]
fn rows_in_order_fill_their_blocks_and_leave_none_behind() {
    let mut rig = Rig::new();
    for batch in 0..50 {
        let writes: Vec<Write> = (0..100).map(|row| put(batch * 100 + row, &[7; 100])).collect();
        rig.apply(&writes);
    }
    let full = 5000 * 106 / BLOCK_BYTES;
    assert!(rig.blocks() < full * 5 / 4, "{} blocks where {full} would do", rig.blocks());
    rig.check_all();
    for batch in 0..50 {
        let writes: Vec<Write> = (0..100).map(|row| delete(batch * 100 + row)).collect();
        rig.apply(&writes);
    }
    assert_eq!(rig.blocks(), 0);
}

/// The right half of a split is on disk, the left one is not yet cut.
fn half_made_split() -> Rig {
    let mut rig = Rig::new();
    rig.apply(&(0..20).map(|row| put(row, &[1; 40])).collect::<Vec<_>>());
    assert_eq!(rig.blocks(), 1);
    let mut right = Builder::new();
    for row in 10..20u32 {
        right.push(&row.to_be_bytes(), &[2; 40]);
        rig.model.insert(row.to_be_bytes().to_vec(), Arc::from([2; 40]));
    }
    rig.packed.insert(&10u32.to_be_bytes(), &right.finish()).unwrap();
    rig
}

#[test]
fn rows_left_over_from_a_split_are_not_seen() {
    let rig = half_made_split();
    rig.check_all();
    rig.check(&5u32.to_be_bytes(), &15u32.to_be_bytes(), 100);
}

#[test]
fn rows_left_over_from_a_split_do_not_come_back_when_the_right_half_goes() {
    let mut rig = half_made_split();
    rig.apply(&(10..20).map(delete).collect::<Vec<_>>());
    assert_eq!(rig.blocks(), 1);
    rig.check_all();
}

#[test]
fn changing_the_left_half_drops_what_is_left_over() {
    let mut rig = half_made_split();
    rig.apply(&[put(3, b"new")]);
    rig.check_all();
    rig.apply(&[delete(12), put(12, b"new")]);
    rig.check_all();
}

#[test]
fn a_damaged_block_is_damage_and_no_panic() {
    let mut rig = Rig::new();
    rig.apply(&[put(1, b"one")]);
    rig.packed.tree.insert(1u32.to_be_bytes(), b"\x01 nonsense").unwrap();
    assert!(rig.packed.get(&1u32.to_be_bytes()).unwrap_err().is_damage());
    assert!(rig.packed.scan(&[], &[9], 9, &mut Vec::new()).unwrap_err().is_damage());
    assert!(rig.packed.apply(&[put(2, b"two")]).unwrap_err().is_damage());
}
