//! `backup` and `restore`: what they make, and what they refuse.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use super::backup::{self, BackupError, Copied, Loss, inspect};
use super::identity::{self, Found, HeldReason, Identity, Stage};
use super::testing::{Rig, busy, copy_dir, dump, try_open};
use super::{image, journal};
use crate::kv::memory::MemoryKv;
use crate::kv::{Fault, Key, Kv, TreeNo, Value, Write};

type Rows = Vec<(Key, Value)>;

fn backup(data: &Path, dest: &Path) -> Result<Copied, BackupError> {
    backup::backup(data, dest, &mut |_| {})
}

fn restore(
    src: &Path,
    data: &Path,
    held: Option<HeldReason>,
    loss: Loss,
) -> Result<Copied, BackupError> {
    backup::restore(src, data, held, loss, &mut |_| {})
}

fn holds(dir: &Path, model: &MemoryKv) {
    assert_eq!(dump(&try_open(dir).unwrap().kv), dump(model));
}

#[test]
fn a_backup_of_a_running_directory_restores_everything_held() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy, new) =
        (dir.path().join("data"), dir.path().join("copy"), dir.path().join("new"));
    let rig = busy(&data, true);
    let made = backup(&data, &copy).unwrap();
    assert_eq!((made.start_seq, made.last_seq), (30, 45));
    assert!(backup(&data, &copy).is_err(), "a backup never overwrites");
    let report = inspect(&copy).unwrap();
    assert!(report.source.is_ok() && report.would.contains("held"), "{}", report.would);
    let restored = restore(&copy, &new, Some(HeldReason::Restored), Loss::Refused).unwrap();
    assert_eq!(restored.last_seq, 45);
    let opened = try_open(&new).unwrap();
    assert_eq!(opened.held, Some(HeldReason::Restored));
    assert_eq!(dump(&opened.kv), dump(&rig.model));
    let direct = try_open(&copy).unwrap();
    assert_eq!(direct.held, Some(HeldReason::Copy));
    assert_eq!(dump(&direct.kv), dump(&rig.model));
    assert!(backup(&new, &dir.path().join("again")).is_ok());
}

#[test]
fn an_empty_directory_is_filled_and_other_peoples_files_are_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    let rig = busy(&data, true);
    // A volume of its own has `lost+found`, and cannot be renamed.
    let volume = dir.path().join("volume");
    fs::create_dir_all(volume.join("lost+found")).unwrap();
    backup(&data, &volume).unwrap();
    assert!(volume.join("identity").exists() && !volume.join(".part").exists());
    holds(&volume, &rig.model);
    // A name with a dot, beside one that looks like what is left of its backup.
    let other = dir.path().join("day.part");
    fs::create_dir(&other).unwrap();
    fs::write(other.join("mine"), "x").unwrap();
    backup(&data, &dir.path().join("day.2")).unwrap();
    assert!(other.join("mine").exists());
    assert!(matches!(backup(&data, &dir.path().join("day")), Err(BackupError::NotEmpty(_))));
    assert!(other.join("mine").exists());
    // What an interrupted backup left makes room.
    let left = dir.path().join("night.part/journal");
    fs::create_dir_all(&left).unwrap();
    fs::write(left.join("00000000000000000001.jnl"), "x").unwrap();
    backup(&data, &dir.path().join("night")).unwrap();
    assert!(!dir.path().join("night.part").exists());
}

#[test]
fn a_backup_that_fails_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (none, dest) = (dir.path().join("none"), dir.path().join("dest"));
    assert!(matches!(backup(&none, &dest), Err(BackupError::NoDirectory(_))));
    fs::create_dir(&none).unwrap();
    assert!(matches!(backup(&none, &dest), Err(BackupError::NoSource { .. })));
    fs::remove_dir(&none).unwrap();
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_known_to_be_missing_is_said_and_taken_only_when_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let (data, new) = (dir.path().join("data"), dir.path().join("new"));
    let Rig { opened, .. } = busy(&data, true);
    let mark = super::mark::Mark { instance: opened.instance, journal_seq: 45, base_seq: 40 };
    mark.write(&data).unwrap();
    drop(opened);
    let last = journal::list(&journal::dir_in(&data)).unwrap().pop().unwrap();
    let file = fs::OpenOptions::new().write(true).open(last.path).unwrap();
    file.set_len(last.bytes / 2).unwrap();
    let error = restore(&data, &new, None, Loss::Refused).unwrap_err();
    assert!(error.to_string().contains("commit 45 is needed"), "{error}");
    assert!(inspect(&data).unwrap().would.starts_with("refuse: the journal ends with commit"));
    assert!(backup(&data, &dir.path().join("copy")).is_err());
    let made = restore(&data, &new, None, Loss::Accepted).unwrap();
    assert!((30..45).contains(&made.last_seq), "{made:?}");
    assert!(try_open(&new).is_ok());
}

#[test]
fn half_restored_and_mixed_directories_are_no_sources() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy, dest) =
        (dir.path().join("data"), dir.path().join("copy"), dir.path().join("dest"));
    let mut rig = busy(&data, true);
    copy_dir(&data, &copy);
    drop(try_open(&copy).unwrap());
    rig.commit(3);
    copy_dir(&data, &copy);
    let unfit = |made: Result<_, BackupError>| matches!(made, Err(BackupError::Unfit { .. }));
    assert!(unfit(backup(&copy, &dest)) && unfit(restore(&copy, &dest, None, Loss::Refused)));
    Identity::new(Stage::Restoring, None).unwrap().write(&copy).unwrap();
    assert!(unfit(backup(&copy, &dest)) && unfit(restore(&copy, &dest, None, Loss::Refused)));
}

#[test]
fn a_copy_that_spans_a_stop_is_refused_with_the_way_out() {
    let dir = tempfile::tempdir().unwrap();
    let (data, copy, new) =
        (dir.path().join("data"), dir.path().join("copy"), dir.path().join("new"));
    let mut rig = busy(&data, true);
    copy_dir(&data, &copy);
    rig.opened.kv.sync().unwrap();
    rig.commit_and_apply(3);
    rig.stop(&data);
    fs::copy(data.join("identity"), copy.join("identity")).unwrap();
    let error = restore(&copy, &new, None, Loss::Refused).unwrap_err();
    assert!(error.hint().unwrap().contains("remove the file `identity`"), "{error}");
    assert!(inspect(&copy).unwrap().would.starts_with("refuse: this copy knows of a clean stop"));
    fs::remove_file(copy.join("identity")).unwrap();
    // Then nothing says what must be in it, and the operator has to say that it will do.
    assert!(restore(&copy, &new, None, Loss::Refused).is_err());
    assert_eq!(restore(&copy, &new, None, Loss::Accepted).unwrap().last_seq, 45);
}

#[test]
fn an_image_that_fails_leaves_no_trace() {
    let dir = tempfile::tempdir().unwrap();
    let images = image::dir_in(dir.path());
    struct Broken;
    impl Kv for Broken {
        fn get(&self, _: TreeNo, _: &[u8]) -> Result<Option<Value>, Fault> {
            Ok(None)
        }
        fn scan(&self, _: TreeNo, _: &[u8], _: &[u8], _: usize) -> Result<Rows, Fault> {
            Err(Fault::io("scanning", "no space"))
        }
        fn scan_back(&self, _: TreeNo, _: &[u8], _: &[u8], _: usize) -> Result<Rows, Fault> {
            Err(Fault::io("scanning", "no space"))
        }
        fn apply(&self, _: &[Write]) -> Result<(), Fault> {
            Ok(())
        }
        fn sync(&self) -> Result<(), Fault> {
            Ok(())
        }
        fn size_bytes(&self) -> u64 {
            0
        }
    }
    let made = image::writer::make(&Broken, &images, super::testing::A, &|| 0, &mut |_| {});
    assert!(made.is_err());
    assert_eq!(fs::read_dir(&images).unwrap().count(), 0);
}

#[test]
fn a_restored_directory_says_whose_journal_it_goes_on_with() {
    let dir = tempfile::tempdir().unwrap();
    let (data, new, copy) =
        (dir.path().join("data"), dir.path().join("new"), dir.path().join("copy"));
    let rig = busy(&data, true);
    restore(&data, &new, None, Loss::Refused).unwrap();
    let Found::Identity(identity) = identity::read(&new).unwrap() else { panic!() };
    assert_eq!(identity.from, Some(rig.opened.instance));
    // It may be copied before it was ever started.
    copy_dir(&new, &copy);
    holds(&copy, &rig.model);
}
