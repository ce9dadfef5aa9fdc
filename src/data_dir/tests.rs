//! Starts over every kind of directory.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use super::backup::inspect;
use super::identity::{HeldReason, release};
use super::image::{self};
use super::journal::commit::BrokenKind;
use super::journal::reader::JournalReader;
use super::mark::mark_suspect;
use super::plan::RebuildWhy;
use super::refusal::{Reason, Refused};
use super::startup::{How, OpenOptions, Opened, settle_store};
use super::testing::{A, Rig, busy, changes, copy_dir, dump, settle_in, try_open};
use super::{identity, journal};
use crate::kv::memory::MemoryKv;
use crate::kv::{Kv as _, Write};
use crate::store::{applied, applied_write};

fn assert_whole(opened: &Opened, model: &MemoryKv) {
    assert_eq!(dump(&opened.kv), dump(model));
    assert_eq!(applied(&opened.kv).unwrap(), opened.next_seq - 1);
}

fn rebuilt(opened: &Opened) -> bool {
    matches!(opened.how, How::Rebuilt { .. })
}

#[test]
fn a_stopped_directory_opens_as_it_was_and_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let rig = busy(dir.path(), false);
    assert_eq!((&rig.opened.how, rig.opened.held), (&How::Fresh, None));
    let model = rig.stop(dir.path());
    assert!(settle_store(dir.path(), 1 << 20, u64::MAX).unwrap());
    super::startup::close_clean(dir.path(), 45).unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert_whole(&opened, &model);
    let facts = (opened.how.clone(), opened.next_seq, opened.held, opened.image_wanted);
    assert_eq!(facts, (How::Clean, 46, None, false));
    let mut rig = Rig { opened, model };
    rig.commit(3);
    let model = rig.crash();
    let opened = try_open(dir.path()).unwrap();
    assert_eq!(opened.how, How::Recovered { replayed: 3 });
    assert_whole(&opened, &model);
}

#[test]
fn a_base_that_lost_its_unsynced_tail_is_healed_from_the_journal() {
    let dir = tempfile::tempdir().unwrap();
    let model = busy(dir.path(), true).crash();
    let db = dir.path().join("store/db");
    let bytes = fs::metadata(&db).unwrap().len();
    fs::OpenOptions::new().write(true).open(&db).unwrap().set_len(bytes - bytes / 3).unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert_whole(&opened, &model);
}

#[test]
fn a_copy_of_a_stopped_directory_is_whole_new_and_held_until_released() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let model = busy(&one, false).stop(&one);
    copy_dir(&one, &two);
    let original = try_open(&one).unwrap();
    let copy = try_open(&two).unwrap();
    assert_eq!((original.held, copy.held), (None, Some(HeldReason::Copy)));
    assert_eq!((&original.how, &copy.how), (&How::Clean, &How::Clean));
    assert_ne!(original.instance, copy.instance);
    assert_whole(&copy, &model);
    drop(copy);
    let again = try_open(&two).unwrap();
    assert_eq!(again.held, Some(HeldReason::Copy), "a restart does not lift the hold");
    drop(again);
    release(&two).unwrap();
    assert_eq!(try_open(&two).unwrap().held, None);
}

#[test]
fn a_copy_of_a_running_directory_is_rebuilt_and_held() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let rig = busy(&one, true);
    copy_dir(&one, &two);
    let copy = try_open(&two).unwrap();
    assert_eq!(copy.held, Some(HeldReason::Copy));
    assert!(matches!(copy.how, How::Rebuilt { why: RebuildWhy::CopiedWhileOpen, .. }));
    assert_whole(&copy, &rig.model);
    let asides = fs::read_dir(&two).unwrap().filter(|entry| {
        entry.as_ref().unwrap().file_name().to_string_lossy().starts_with("store.aside-")
    });
    assert_eq!(asides.count(), 1, "the copied store is kept");
}

#[test]
fn a_copy_that_spans_a_stop_is_refused_until_the_operator_says_so() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut rig = busy(&one, true);
    for part in ["store", "journal", "images"] {
        copy_dir(&one.join(part), &two.join(part));
    }
    fs::copy(one.join("mark"), two.join("mark")).unwrap();
    let mut before = MemoryKv::new();
    std::mem::swap(&mut before, &mut rig.model);
    for (tree, key, value) in dump(&before) {
        rig.model.apply(&[Write { tree: tree.number(), key, value: Some(value) }]).unwrap();
    }
    rig.commit_and_apply(3);
    rig.stop(&one);
    fs::copy(one.join("identity"), two.join("identity")).unwrap();
    let refused = try_open(&two).err().unwrap();
    assert!(matches!(refused.reason, Reason::SpansStop { last: 45, stopped: 48 }), "{refused}");
    assert!(refused.hint.contains("remove the file `identity`"));
    fs::remove_file(two.join("identity")).unwrap();
    let opened = try_open(&two).unwrap();
    assert_eq!((opened.held, opened.next_seq), (Some(HeldReason::UnknownOrigin), 46));
    assert_whole(&opened, &before);
}

#[test]
fn what_is_in_use_is_refused_and_a_suspect_store_is_rebuilt_once() {
    let dir = tempfile::tempdir().unwrap();
    let rig = busy(dir.path(), true);
    assert!(matches!(try_open(dir.path()), Err(Refused { reason: Reason::InUse, .. })));
    mark_suspect(dir.path(), "page 7").unwrap();
    let model = rig.crash();
    let opened = try_open(dir.path()).unwrap();
    assert!(rebuilt(&opened) && opened.image_wanted && opened.held.is_none());
    assert_whole(&opened, &model);
    drop(opened);
    assert!(matches!(try_open(dir.path()).unwrap().how, How::Recovered { replayed: 0 }));
}

#[test]
fn an_image_made_while_commits_are_applied_is_exact_with_its_journal() {
    let dir = tempfile::tempdir().unwrap();
    let mut rig = Rig::new(dir.path());
    rig.commit_and_apply(400);
    let committed = AtomicU64::new(400);
    let (begin, end) = (std::sync::Barrier::new(2), AtomicU64::new(0));
    let Opened { kv, journal, .. } = &mut rig.opened;
    let kv = &*kv;
    let made = std::thread::scope(|scope| {
        let imager = scope.spawn(|| {
            let mut first = true;
            let made = image::writer::make(
                kv,
                &image::dir_in(dir.path()),
                A,
                &|| committed.load(Ordering::SeqCst),
                &mut |_| {
                    if std::mem::take(&mut first) {
                        begin.wait();
                    }
                },
            );
            end.store(1, Ordering::SeqCst);
            made
        });
        begin.wait();
        let mut seq = 400;
        while end.load(Ordering::SeqCst) == 0 || seq < 450 {
            seq += 1;
            journal.append(seq, &changes(seq)).unwrap();
            committed.store(seq, Ordering::SeqCst);
            kv.apply(&[changes(seq), vec![applied_write(seq)]].concat()).unwrap();
            rig.model.apply(&changes(seq)).unwrap();
        }
        imager.join().unwrap().unwrap()
    });
    assert!(made.start_seq >= 400 && made.end_seq >= made.start_seq);
    let copy = MemoryKv::new();
    image::reader::load(&made.path, &copy, &mut |_| {}).unwrap();
    let mut reader = JournalReader::open(&journal::dir_in(dir.path()), made.start_seq + 1).unwrap();
    while let Some(commit) = reader.next_commit().unwrap() {
        copy.apply(&commit.writes).unwrap();
    }
    assert_eq!(dump(&copy), dump(&rig.model));
}

#[test]
fn a_broken_journal_is_refused_when_the_base_needs_it() {
    let dir = tempfile::tempdir().unwrap();
    let good = dir.path().join("good");
    let mut rig = Rig::new(&good);
    for _ in 0..3 {
        rig.commit(5);
        rig.opened.journal.rotate().unwrap();
    }
    rig.crash();
    for (file, kind) in [(6, BrokenKind::Missing), (6, BrokenKind::Damaged)] {
        let bad = dir.path().join(format!("{kind:?}"));
        copy_dir(&good, &bad);
        settle_in(&bad);
        let path = bad.join(format!("journal/{file:020}.jnl"));
        let mut bytes = fs::read(&path).unwrap();
        fs::remove_file(&path).unwrap();
        if kind == BrokenKind::Damaged {
            bytes[100] ^= 1;
            fs::write(&path, bytes).unwrap();
        }
        let Err(Refused { reason: Reason::Journal(broken), .. }) = try_open(&bad) else {
            panic!("{kind:?} must be refused")
        };
        assert_eq!((broken.kind, broken.at_seq), (kind, 6));
        assert!(inspect(&bad).unwrap().source.is_err());
    }
}

#[test]
fn a_clean_base_outlives_a_journal_that_lost_its_end() {
    let dir = tempfile::tempdir().unwrap();
    let model = busy(dir.path(), false).stop(dir.path());
    let last = journal::list(&journal::dir_in(dir.path())).unwrap().pop().unwrap();
    fs::OpenOptions::new().write(true).open(last.path).unwrap().set_len(70).unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert!(opened.image_wanted);
    assert_whole(&opened, &model);
    let mut rig = Rig { opened, model };
    rig.commit(2);
    let model = rig.crash();
    let opened = try_open(dir.path()).unwrap();
    assert_whole(&opened, &model);
    let rig = Rig { opened, model };
    rig.image(dir.path());
    let model = rig.crash();
    fs::remove_dir_all(dir.path().join("store")).unwrap();
    let opened = try_open(dir.path()).unwrap();
    assert!(rebuilt(&opened));
    assert_whole(&opened, &model);
}

#[test]
fn nothing_left_is_refused_and_an_interrupted_creation_begins_again() {
    let dir = tempfile::tempdir().unwrap();
    busy(dir.path(), false).stop(dir.path());
    for name in ["store", "journal", "images"] {
        fs::remove_dir_all(dir.path().join(name)).unwrap();
    }
    let refused = try_open(dir.path()).err().unwrap();
    assert!(matches!(refused.reason, Reason::NothingLeft));
    let fresh = tempfile::tempdir().unwrap();
    let stage = identity::Stage::Creating;
    identity::Identity::new(stage, None).unwrap().write(fresh.path()).unwrap();
    assert_eq!(try_open(fresh.path()).unwrap().how, How::Fresh);
}

#[test]
fn a_copy_laid_over_a_directory_that_had_worked_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let mut original = busy(&one, true);
    copy_dir(&one, &two);
    let mut copy = Rig { opened: try_open(&two).unwrap(), model: MemoryKv::new() };
    copy.commit_and_apply(1);
    copy.image(&two);
    copy.crash();
    original.commit(20);
    copy_dir(&one, &two);
    let refused = try_open(&two).err().unwrap();
    assert!(matches!(refused.reason, Reason::Mixed), "{refused}");
    assert!(inspect(&two).unwrap().would.starts_with("refuse: this copy was laid over"));
    fs::remove_dir_all(&two).unwrap();
    copy_dir(&one, &two);
    assert_whole(&try_open(&two).unwrap(), &original.model);
}

#[test]
fn a_first_start_without_a_commit_breaks_no_journal() {
    let dir = tempfile::tempdir().unwrap();
    let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    let Rig { opened, model } = busy(&one, true);
    drop(opened);
    copy_dir(&one, &two);
    drop(try_open(&two).unwrap());
    let mut copy = Rig { opened: try_open(&two).unwrap(), model };
    copy.commit(3);
    let model = copy.crash();
    fs::remove_dir_all(two.join("store")).unwrap();
    assert_whole(&try_open(&two).unwrap(), &model);
    // And a copy of it is one that can be started.
    let three = dir.path().join("three");
    copy_dir(&two, &three);
    assert_whole(&try_open(&three).unwrap(), &model);
}

/// Makes the directory look as if the machine had been started again since.
fn start_the_machine_again(dir: &Path) {
    let path = dir.join("identity");
    let text = fs::read_to_string(&path).unwrap();
    let (line, _) = text.split_once('\n').unwrap();
    let mut identity: serde_json::Value = serde_json::from_str(line).unwrap();
    identity["place"]["boot"] = "0".repeat(32).into();
    let line = identity.to_string();
    // In place: the file stays the one that it names.
    fs::write(&path, format!("{line}\n{:08x}\n", crc32fast::hash(line.as_bytes()))).unwrap();
}

#[test]
fn a_start_after_a_crash_reads_the_end_of_the_journal_once() {
    use super::journal::reader::FILES_READ;
    let dir = tempfile::tempdir().unwrap();
    let mut rig = busy(dir.path(), false);
    let close_to = rig.opened.next_seq - 1;
    let model = rig.stop(dir.path());
    super::startup::close_clean(dir.path(), close_to).unwrap();
    rig = Rig { opened: try_open(dir.path()).unwrap(), model };
    rig.commit(7);
    let model = rig.crash();
    let before = FILES_READ.get();
    let opened = try_open(dir.path()).unwrap();
    assert_eq!(opened.how, How::Recovered { replayed: 7 });
    // The file that was written to, and the one that says whether it is the next.
    assert!(FILES_READ.get() - before <= 2, "{} files read", FILES_READ.get() - before);
    assert_whole(&opened, &model);
}

#[test]
fn after_a_power_cut_the_store_is_not_trusted_if_there_is_another_way() {
    let dir = tempfile::tempdir().unwrap();
    let model = busy(dir.path(), true).crash();
    start_the_machine_again(dir.path());
    let opened = try_open(dir.path()).unwrap();
    assert!(matches!(opened.how, How::Rebuilt { why: RebuildWhy::PowerCut, .. }));
    assert_eq!(opened.held, None);
    assert_whole(&opened, &model);
    drop(opened);
    // Without an image the journal from the beginning would do, but that is gone, too.
    for name in ["images", "journal/00000000000000000001.jnl"] {
        let path = dir.path().join(name);
        if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) }.unwrap();
    }
    start_the_machine_again(dir.path());
    let opened = try_open(dir.path()).unwrap();
    assert!(matches!(opened.how, How::Recovered { .. }), "{:?}", opened.how);
    assert_whole(&opened, &model);
}

#[test]
fn a_clean_stop_outlives_the_machine() {
    let dir = tempfile::tempdir().unwrap();
    let model = busy(dir.path(), false).stop(dir.path());
    start_the_machine_again(dir.path());
    let opened = try_open(dir.path()).unwrap();
    assert_eq!(opened.how, How::Clean);
    assert_whole(&opened, &model);
}

#[test]
fn a_good_store_is_made_anew_when_asked_and_the_old_one_goes() {
    let dir = tempfile::tempdir().unwrap();
    for clean in [true, false] {
        fs::remove_dir_all(dir.path()).unwrap();
        let rig = busy(dir.path(), !clean);
        let model = if clean { rig.stop(dir.path()) } else { rig.crash() };
        let ours = identity::FileId::at(&dir.path().join("store/db")).unwrap();
        let options = OpenOptions {
            cache_bytes: 1 << 20,
            adopt: false,
            rebuild: true,
            progress: &mut |_| {},
        };
        let opened = super::startup::open(dir.path(), options).unwrap();
        assert!(matches!(opened.how, How::Rebuilt { why: RebuildWhy::Asked, .. }));
        assert_eq!(opened.held, None);
        assert_whole(&opened, &model);
        let names = fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name());
        assert!(names.into_iter().all(|name| !name.to_string_lossy().contains("aside")));
        assert!(!ours.is(&identity::FileId::at(&dir.path().join("store/db")).unwrap()));
        drop(opened);
        assert_whole(&try_open(dir.path()).unwrap(), &model);
    }
}
