//! What the tests of this module share.

use std::path::Path;
use std::sync::Arc;

use super::identity::{self, FileId, Found, InstanceId};
use super::image::{self};
use super::startup::{OpenOptions, Opened, Refused, close_clean, open};
use super::{APPLIED_KEY, APPLIED_TREE};
use crate::kv::memory::MemoryKv;
use crate::kv::{Key, Kv, Value, Write};
use crate::store::applied_write;
use crate::store::schema::Tree;

pub(crate) const A: InstanceId = InstanceId(0xa);
pub(crate) const B: InstanceId = InstanceId(0xb);

pub(crate) fn put(key: &str, value: &str) -> Write {
    Write { tree: Tree::Tasks.number(), key: key.into(), value: Some(Arc::from(value.as_bytes())) }
}

pub(crate) fn delete(key: &str) -> Write {
    Write { tree: Tree::Tasks.number(), key: key.into(), value: None }
}

/// All rows but the number of the last commit.
pub(crate) fn dump(kv: &dyn Kv) -> Vec<(Tree, Key, Value)> {
    let mut rows = Vec::new();
    for tree in Tree::ALL {
        let found = kv.scan(tree.number(), &[], &[0xff; 300], usize::MAX).expect("scan");
        rows.extend(found.into_iter().map(|(key, value)| (tree, key, value)));
    }
    rows.retain(|(tree, key, _)| (*tree, key.as_slice()) != (APPLIED_TREE, APPLIED_KEY));
    rows
}

/// A data directory that is worked on, and what must be in it.
pub(crate) struct Rig {
    pub(crate) opened: Opened,
    pub(crate) model: MemoryKv,
}

pub(crate) fn try_open(dir: &Path) -> Result<Opened, Refused> {
    open(
        dir,
        OpenOptions { cache_bytes: 1 << 20, adopt: false, rebuild: false, progress: &mut |_| {} },
    )
}

/// The changes of commit `seq`: puts, overwrites and deletes over a few hundred keys.
pub(crate) fn changes(seq: u64) -> Vec<Write> {
    vec![
        put(&format!("key {:03}", seq * 7 % 300), &format!("value {seq} ").repeat(9)),
        put("counter", &seq.to_string()),
        delete(&format!("key {:03}", seq * 11 % 300)),
    ]
}

impl Rig {
    pub(crate) fn new(dir: &Path) -> Self {
        Self { opened: try_open(dir).expect("open"), model: MemoryKv::new() }
    }

    /// Commits to the journal only: the base stays behind.
    pub(crate) fn commit(&mut self, count: u64) -> u64 {
        for _ in 0..count {
            let seq = self.opened.next_seq;
            self.opened.journal.append(seq, &changes(seq)).expect("append");
            self.model.apply(&changes(seq)).expect("apply");
            self.opened.next_seq += 1;
        }
        self.opened.next_seq - 1
    }

    /// Commits and hands every commit to the base.
    pub(crate) fn commit_and_apply(&mut self, count: u64) -> u64 {
        for _ in 0..count {
            let seq = self.commit(1);
            let batch = [changes(seq), vec![applied_write(seq)]].concat();
            self.opened.kv.apply(&batch).expect("apply");
        }
        self.opened.next_seq - 1
    }

    pub(crate) fn image(&self, dir: &Path) {
        let Opened { kv, instance, next_seq, .. } = &self.opened;
        let images = image::dir_in(dir);
        image::writer::make(kv, &images, *instance, &|| next_seq - 1, &mut |_| {}).expect("image");
    }

    /// Commits these changes, to the base as well.
    pub(crate) fn change(&mut self, writes: &[Write]) {
        let seq = self.opened.next_seq;
        self.opened.journal.append(seq, writes).expect("append");
        self.opened.next_seq += 1;
        self.opened.kv.apply(&[writes, &[applied_write(seq)]].concat()).expect("apply");
        self.model.apply(writes).expect("apply");
    }

    /// Ends like a killed process.
    pub(crate) fn crash(self) -> MemoryKv {
        self.model
    }

    /// Ends as the daemon does; everything must have been applied.
    pub(crate) fn stop(self, dir: &Path) -> MemoryKv {
        let seq = self.opened.next_seq - 1;
        drop(self.opened);
        close_clean(dir, seq).expect("close");
        self.model
    }
}

/// Two images, three journal files, 45 commits; the base holds all but the last 5 commits when
/// `lag`, else all.
pub(crate) fn busy(dir: &Path, lag: bool) -> Rig {
    let mut rig = Rig::new(dir);
    for _ in 0..2 {
        rig.commit_and_apply(15);
        rig.opened.journal.rotate().expect("rotate");
        rig.image(dir);
    }
    rig.commit_and_apply(10);
    if lag {
        rig.commit(5)
    } else {
        rig.commit_and_apply(5)
    };
    rig
}

/// Copies a directory tree.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("create");
    for entry in std::fs::read_dir(from).expect("list") {
        let entry = entry.expect("entry");
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copy");
        }
    }
}

/// Makes a copied directory look as if it had been made where it is.
pub(crate) fn settle_in(dir: &Path) {
    let Found::Identity(mut identity) = identity::read(dir).expect("read") else {
        panic!("no identity")
    };
    identity.store = FileId::at(&dir.join("store/db"));
    identity.write(dir).expect("write");
}
