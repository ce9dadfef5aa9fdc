//! Steps backwards against a plain map, with keys that send sled's own ones round.

use std::collections::BTreeMap;

use super::*;

fn tree() -> (tempfile::TempDir, ::sled::Db, Tree) {
    let dir = tempfile::tempdir().unwrap();
    let db = ::sled::open(dir.path()).unwrap();
    let tree = db.open_tree("rows").unwrap();
    (dir, db, tree)
}

/// Bytes of which many are `FF` or 0, in runs.
fn hostile_key(random: &mut fastrand::Rng) -> Vec<u8> {
    let mut key = Vec::new();
    for _ in 0..random.usize(0..4) {
        let byte = [0xff, 0xff, 0, 1, 0x7f, 0x80, random.u8(..)][random.usize(0..7)];
        key.extend(std::iter::repeat_n(byte, random.usize(1..9)));
    }
    key
}

#[test]
fn rows_before_a_key_are_found_whatever_the_keys_are() {
    for seed in 0..20 {
        let mut random = fastrand::Rng::with_seed(seed);
        let (_dir, _db, tree) = tree();
        let mut model = BTreeMap::new();
        for _ in 0..random.usize(0..1500) {
            let key = hostile_key(&mut random);
            tree.insert(&key, &key[..]).unwrap();
            model.insert(key, ());
        }
        for _ in 0..200 {
            let (near, key) = (hostile_key(&mut random), hostile_key(&mut random));
            let keys = |row: Option<Row>| row.map(|(key, _)| key.to_vec());
            let at_most = model.range(..=key.clone()).next_back().map(|(key, ())| key.clone());
            assert_eq!(keys(floor(&tree, &key).unwrap()), at_most, "seed {seed} {key:02x?}");
            assert_eq!(keys(floor_near(&tree, &near, &key).unwrap()), at_most, "seed {seed}");
            let below = model.range(..key.clone()).next_back().map(|(key, ())| key.clone());
            assert_eq!(keys(before(&tree, &key).unwrap()), below, "seed {seed} {key:02x?}");
            if near < key {
                let rows = last_rows(&tree, &near, &key, random.usize(1..40)).unwrap();
                let wanted: Vec<_> = model.range(near.clone()..key.clone()).rev().collect();
                let found: Vec<_> = rows.iter().rev().map(|(key, _)| key.to_vec()).collect();
                assert_eq!(found.is_empty(), wanted.is_empty());
                assert!(found.iter().zip(&wanted).all(|(found, (wanted, ()))| found == *wanted));
            }
        }
    }
}

/// Rows of one code on many leaves, and those of a smaller code looked for behind them: sled itself
/// goes round here for a million turns and panics.
#[test]
fn leaves_full_of_runs_are_crossed() {
    let (_dir, _db, tree) = tree();
    let key = |code: i64, entry: u64| {
        let mut key = vec![b'e', 0, 0, 0, 1];
        key.extend_from_slice(&(code.cast_unsigned() ^ (1 << 63)).to_be_bytes());
        key.extend_from_slice(&entry.to_be_bytes());
        key
    };
    for entry in 0..5000 {
        tree.insert(key(-1, entry), &[7; 100][..]).unwrap();
        if entry % 3 == 0 {
            tree.insert(key(43004, entry), &[7; 100][..]).unwrap();
        }
    }
    let last = floor(&tree, &key(40003, 0)).unwrap().unwrap();
    assert_eq!(*last.0, *key(-1, 4999));
    assert_eq!(*before(&tree, &key(43004, 0)).unwrap().unwrap().0, *key(-1, 4999));
}

#[test]
fn keys_that_differ_only_in_zeros_at_their_ends_are_told_apart() {
    let (_dir, _db, tree) = tree();
    let keys: Vec<Vec<u8>> = (0..200).map(|zeros| vec![0; zeros]).collect();
    for key in &keys {
        tree.insert(key, b"").unwrap();
    }
    for pair in keys.windows(2) {
        assert_eq!(*before(&tree, &pair[1]).unwrap().unwrap().0, *pair[0]);
        assert_eq!(*floor(&tree, &pair[1]).unwrap().unwrap().0, *pair[1]);
    }
}
