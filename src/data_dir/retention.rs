//! What of journal and images is kept.
//!
//! Kept are the two newest complete images and all of the journal after the older one's start. An
//! image counts only when it is at least as old as a copy of the running
//! directory may take: one that began before may still need what the image replaces.
//!
//! A copy that takes longer than that may find a file of the journal gone whose name it has read.
//! If that was its last one, it would be a whole copy to all appearances, with less in it than was
//! there when it began. Therefore a removed file leaves a note of its removal under its name.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};

use super::journal::JournalFile;
use super::journal::frame::{self, BadHeader, HEADER_BYTES, Header};
use super::{image, journal, store_files, sync_dir};
use crate::kv::Fault;
use crate::limits;
use crate::regular;
use crate::time::Timestamp;

/// Removes what is no longer needed, not even by a copy that began `copy_ms` ago; gives what was
/// removed.
pub fn prune(data_dir: &Path, now: Timestamp, copy_ms: u64) -> Result<Vec<PathBuf>, Fault> {
    let is_old = |path: &Path| age_ms(path, now).is_some_and(|age| age >= copy_ms);
    let (journal_dir, images_dir) = (journal::dir_in(data_dir), image::dir_in(data_dir));
    let images = image::reader::list(&images_dir)?;
    let complete = images
        .iter()
        .filter(|(_, path)| is_old(path) && image::reader::peek(path).is_ok())
        .map(|(start, _)| *start);
    let mut doomed = unfinished(&images_dir)?;
    doomed.extend(unfinished(&journal_dir)?);
    if let Some(floor) = complete.take(2).nth(1) {
        let older = images.iter().filter(|(start, _)| *start < floor);
        doomed.extend(older.map(|(_, path)| path.clone()));
        let journals = journal::list(&journal_dir)?;
        // A file goes when the next one already begins at or before the first commit needed.
        for pair in journals.windows(2) {
            if pair[1].first_seq <= floor + 1 && !is_note(&pair[0])? {
                doomed.push(pair[0].path.clone());
                let torn = pair[0].path.with_extension("torn");
                doomed.extend(torn.exists().then_some(torn));
            }
        }
    }
    doomed.retain(|path| is_old(path));
    for path in &doomed {
        match journal_number(path) {
            Some(first_seq) => replace_by_note(path, first_seq)?,
            None => delete(path)?,
        }
    }
    if !doomed.is_empty() {
        delete_old_notes(&journal_dir, &is_old)?;
    }
    remove_old_asides(data_dir, now)?;
    for dir in [journal_dir, images_dir] {
        if !doomed.is_empty() && dir.exists() {
            sync_dir(&dir)?;
        }
    }
    Ok(doomed)
}

fn delete(path: &Path) -> Result<(), Fault> {
    fs::remove_file(path).map_err(|error| Fault::io("deleting an old file", error))
}

/// The number of a journal file; other names have none.
fn journal_number(path: &Path) -> Option<u64> {
    journal::numbered(&path.file_name()?.to_string_lossy(), ".jnl")
}

fn replace_by_note(path: &Path, first_seq: u64) -> Result<(), Fault> {
    let note = path.with_extension("new");
    File::create(&note)
        .and_then(|mut file| file.write_all(&frame::removed(first_seq)).and(file.sync_all()))
        .and_then(|()| fs::rename(&note, path))
        .map_err(|error| Fault::io("noting that an old file was removed", error))
}

pub(super) fn is_note(file: &JournalFile) -> Result<bool, Fault> {
    if file.bytes != HEADER_BYTES as u64 {
        return Ok(false);
    }
    let bytes = regular::read(&file.path, HEADER_BYTES as u64)
        .map_err(|error| Fault::io("reading a header", error))?;
    Ok(Header::decode(&bytes) == Err(BadHeader::Removed))
}

/// Keeps the newest [`limits::REMOVED_NOTES`], and those that a copy under way may have listed. They
/// are the oldest names of the journal.
fn delete_old_notes(journal_dir: &Path, is_old: &dyn Fn(&Path) -> bool) -> Result<(), Fault> {
    let mut notes = Vec::new();
    for file in journal::list(journal_dir)? {
        if !is_note(&file)? {
            break;
        }
        notes.push(file.path);
    }
    let surplus = notes.len().saturating_sub(limits::REMOVED_NOTES);
    notes.iter().take(surplus).filter(|path| is_old(path)).try_for_each(|path| delete(path))
}

/// A base that was set aside is evidence for people; after a while nobody will look at it.
fn remove_old_asides(data_dir: &Path, now: Timestamp) -> Result<(), Fault> {
    let asides = store_files::asides(data_dir)?;
    let young = |aside: &&PathBuf| now.since(store_files::set_aside_at(aside)) < limits::ASIDE_MS;
    store_files::keep_asides(data_dir, asides.iter().filter(young).count())
}

/// Files of interrupted or unfinished work.
pub(super) fn unfinished(dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let fault = |error| Fault::io("listing old files", error);
    let mut found = Vec::new();
    if !dir.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(dir).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        if path.extension().is_some_and(|kind| kind == "part" || kind == "new") {
            found.push(path);
        }
    }
    Ok(found)
}

/// How old a file is. One whose time cannot be read, or lies in the future, is young: it is kept.
fn age_ms(path: &Path, now: Timestamp) -> Option<u64> {
    let modified = fs::metadata(path).and_then(|meta| meta.modified()).ok()?;
    let since = modified.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(now.since(Timestamp(u64::try_from(since.as_millis()).ok()?)))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data_dir::identity::InstanceId;
    use crate::data_dir::image::writer::make;
    use crate::data_dir::journal::JournalWriter;
    use crate::data_dir::source;
    use crate::data_dir::testing::{A, copy_dir, put};
    use crate::kv::Kv as _;
    use crate::kv::memory::MemoryKv;
    use crate::store::applied_write;
    use crate::time::{Clock as _, SystemClock};

    #[test]
    fn two_images_and_their_journal_stay_and_nothing_young_goes() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal =
            JournalWriter::create(&journal::dir_in(dir.path()), 1, A, InstanceId(0)).unwrap();
        let kv = MemoryKv::new();
        for seq in 1..=10 {
            journal.append(seq, &[put("k", "v")]).unwrap();
            kv.apply(&[applied_write(seq)]).unwrap();
            if seq % 2 == 0 {
                journal.rotate().unwrap();
            }
            if seq % 3 == 0 {
                make(&kv, &image::dir_in(dir.path()), A, &|| seq, &mut |_| {}).unwrap();
            }
        }
        fs::write(image::dir_in(dir.path()).join("x.part"), "x").unwrap();
        let now = SystemClock.now();
        assert_eq!(prune(dir.path(), now, 60_000).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(prune(dir.path(), now.plus(61_000), 60_000).unwrap().len(), 5);
        let images: Vec<_> = image::reader::list(&image::dir_in(dir.path()))
            .unwrap()
            .iter()
            .map(|(at, _)| *at)
            .collect();
        assert_eq!(images, [9, 6]);
        let journals = journal::list(&journal::dir_in(dir.path())).unwrap();
        let firsts: Vec<_> =
            journals.iter().map(|file| (file.first_seq, is_note(file).unwrap())).collect();
        assert_eq!(firsts, [(1, true), (3, true), (5, true), (7, false), (9, false), (11, false)]);
        // What was removed once is not removed again.
        let later = now.plus(200_000);
        assert_eq!(prune(dir.path(), later, 60_000).unwrap(), Vec::<PathBuf>::new());
        assert_eq!(source::find(dir.path(), 10).unwrap().unwrap().start_seq(), 9);
    }

    #[test]
    fn a_copy_that_met_a_removal_is_not_taken_for_a_whole_one() {
        let dir = tempfile::tempdir().unwrap();
        let (data, copy) = (dir.path().join("data"), dir.path().join("copy"));
        let (journals, images) = (journal::dir_in(&data), image::dir_in(&data));
        let mut journal = JournalWriter::create(&journals, 1, A, InstanceId(0)).unwrap();
        let kv = MemoryKv::new();
        let mut commit = |seq| {
            journal.append(seq, &[put("k", "v")]).unwrap();
            kv.apply(&[applied_write(seq)]).unwrap();
            journal.rotate().unwrap();
            make(&kv, &images, A, &|| seq, &mut |_| {}).unwrap();
        };
        (1..=3).for_each(&mut commit);
        // Of four names in the journal, and three images, all are copied but commit 4's.
        copy_dir(&data, &copy);
        (4..=7).for_each(&mut commit);
        prune(&data, SystemClock.now().plus(61_000), 60_000).unwrap();
        let late = format!("{:020}.jnl", 4);
        fs::copy(journals.join(&late), journal::dir_in(&copy).join(&late)).unwrap();
        let why = source::find(&copy, 0).unwrap().unwrap_err().why;
        assert!(why.contains("took too long"), "{why}");
    }

    #[test]
    fn notes_of_removals_do_not_pile_up() {
        let dir = tempfile::tempdir().unwrap();
        let path = |seq: usize| dir.path().join(format!("{seq:020}.jnl"));
        for seq in 1..=limits::REMOVED_NOTES + 3 {
            fs::write(path(seq), frame::removed(seq as u64)).unwrap();
        }
        delete_old_notes(dir.path(), &|_| false).unwrap();
        assert_eq!(journal::list(dir.path()).unwrap().len(), limits::REMOVED_NOTES + 3);
        delete_old_notes(dir.path(), &|_| true).unwrap();
        let left: Vec<_> = journal::list(dir.path()).unwrap();
        assert_eq!((left.len(), left[0].first_seq), (limits::REMOVED_NOTES, 4));
    }
}
