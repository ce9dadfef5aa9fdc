//! What every [`Kv`] does, tried on all of them against a plain map, with hostile keys.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::layout::testing::TREES;
use super::memory::MemoryKv;
use super::sled::SledKv;
use super::{Key, Kv, TreeNo, Value, Write};

type Model = BTreeMap<(TreeNo, Key), Value>;

fn hostile_key(random: &mut fastrand::Rng) -> Key {
    let mut key = vec![[1, 2, 3, 4, b'c', b'n', b'o'][random.usize(0..7)]];
    for _ in 0..random.usize(0..4) {
        let byte = [0xff, 0xff, 0, 1, 0x7f, 0x80, random.u8(..)][random.usize(0..7)];
        key.extend(std::iter::repeat_n(byte, random.usize(1..9)));
    }
    key
}

fn change(random: &mut fastrand::Rng) -> Write {
    let tree = TreeNo(random.u8(0..4));
    let put = random.u8(0..10) < 7;
    let size = if random.u8(0..20) == 0 { 4000 } else { random.usize(0..120) };
    let value = put.then(|| Arc::from(vec![random.u8(..); size]));
    Write { tree, key: hostile_key(random), value }
}

fn check(kv: &dyn Kv, model: &Model, random: &mut fastrand::Rng, seed: u64) {
    let tree = TreeNo(random.u8(0..4));
    let (from, to) = (hostile_key(random), hostile_key(random));
    assert_eq!(
        kv.get(tree, &from).unwrap().as_ref(),
        model.get(&(tree, from.clone())),
        "seed {seed}"
    );
    if from >= to {
        return;
    }
    let limit = random.usize(1..60);
    let rows = || {
        let range = model.range((tree, from.clone())..(tree, to.clone()));
        range.map(|((_, key), value)| (key.clone(), value.clone()))
    };
    let wanted: Vec<_> = rows().take(limit).collect();
    assert!(kv.scan(tree, &from, &to, limit).unwrap() == wanted, "seed {seed}");
    let wanted: Vec<_> = rows().rev().take(limit).collect();
    assert!(kv.scan_back(tree, &from, &to, limit).unwrap() == wanted, "seed {seed}");
}

fn conform(kv: &dyn Kv, seed: u64) -> Model {
    let mut random = fastrand::Rng::with_seed(seed);
    let mut model = Model::new();
    for _ in 0..30 {
        let mut batch: Vec<Write> =
            (0..random.usize(1..150)).map(|_| change(&mut random)).collect();
        if random.bool() {
            batch.sort_by(|left, right| (left.tree, &left.key).cmp(&(right.tree, &right.key)));
        }
        kv.apply(&batch).unwrap();
        for Write { tree, key, value } in batch {
            match value {
                Some(value) => model.insert((tree, key), value),
                None => model.remove(&(tree, key)),
            };
        }
        for _ in 0..20 {
            check(kv, &model, &mut random, seed);
        }
    }
    model
}

/// How many seeds are tried; more with `DUEBOX_KV_SEEDS`.
fn seeds() -> u64 {
    std::env::var("DUEBOX_KV_SEEDS").map_or(12, |text| text.parse().expect("a number of seeds"))
}

#[test]
fn memory_reads_like_a_map() {
    for seed in 0..seeds() {
        conform(&MemoryKv::new(), seed);
    }
}

#[test]
fn sled_reads_like_a_map_also_after_it_was_closed() {
    for seed in 0..seeds() {
        let dir = tempfile::tempdir().unwrap();
        let model = conform(&SledKv::open(dir.path(), 1 << 20, &TREES).unwrap(), seed);
        let kv = SledKv::open(dir.path(), 1 << 20, &TREES).unwrap();
        let mut random = fastrand::Rng::with_seed(seed);
        for _ in 0..50 {
            check(&kv, &model, &mut random, seed);
        }
    }
}
