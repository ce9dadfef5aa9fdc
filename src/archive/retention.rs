//! What of journal and images is kept.
//!
//! Kept are the two newest complete images and all of the journal after the older one's start. An
//! image counts only when it is at least as old as a copy of the running
//! directory may take: one that began before may still need what the image replaces.

use std::fs;
use std::path::{Path, PathBuf};

use super::{image, journal, sync_dir};
use crate::kv::Fault;
use crate::time::Timestamp;

/// Deletes what is no longer needed, not even by a copy that began `copy_ms` ago; gives what was
/// deleted.
pub fn prune(data_dir: &Path, now: Timestamp, copy_ms: u64) -> Result<Vec<PathBuf>, Fault> {
    let is_old = |path: &Path| age_ms(path, now).is_some_and(|age| age >= copy_ms);
    let (journal_dir, images_dir) = (journal::dir_in(data_dir), image::dir_in(data_dir));
    let images = image::list(&images_dir)?;
    let complete = images
        .iter()
        .filter(|(_, path)| is_old(path) && image::peek(path).is_ok())
        .map(|(start, _)| *start);
    let mut doomed = leftovers(&images_dir, &is_old)?;
    doomed.extend(leftovers(&journal_dir, &is_old)?);
    if let Some(floor) = complete.take(2).nth(1) {
        let older = images.iter().filter(|(start, _)| *start < floor);
        doomed.extend(older.map(|(_, path)| path.clone()));
        let journals = journal::list(&journal_dir)?;
        // A file goes when the next one already begins at or before the first commit needed.
        for pair in journals.windows(2) {
            if pair[1].first_seq <= floor + 1 {
                doomed.push(pair[0].path.clone());
                let torn = pair[0].path.with_extension("torn");
                doomed.extend(torn.exists().then_some(torn));
            }
        }
    }
    doomed.retain(|path| is_old(path));
    for path in &doomed {
        fs::remove_file(path).map_err(|error| Fault::io("deleting an old file", error))?;
    }
    for dir in [journal_dir, images_dir] {
        if !doomed.is_empty() && dir.exists() {
            sync_dir(&dir)?;
        }
    }
    Ok(doomed)
}

/// Files of interrupted work.
fn leftovers(dir: &Path, is_old: &dyn Fn(&Path) -> bool) -> Result<Vec<PathBuf>, Fault> {
    let fault = |error| Fault::io("listing old files", error);
    let mut found = Vec::new();
    if !dir.exists() {
        return Ok(found);
    }
    for entry in fs::read_dir(dir).map_err(fault)? {
        let path = entry.map_err(fault)?.path();
        let unfinished = path.extension().is_some_and(|kind| kind == "part" || kind == "new");
        if unfinished && is_old(&path) {
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
    use crate::archive::identity::InstanceId;
    use crate::archive::image::{applied_write, make};
    use crate::archive::journal::JournalWriter;
    use crate::archive::testing::{A, put};
    use crate::kv::Kv as _;
    use crate::kv::memory::MemoryKv;
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
        let images: Vec<_> =
            image::list(&image::dir_in(dir.path())).unwrap().iter().map(|(at, _)| *at).collect();
        assert_eq!(images, [9, 6]);
        let journals = journal::list(&journal::dir_in(dir.path())).unwrap();
        let firsts: Vec<_> = journals.iter().map(|file| file.first_seq).collect();
        assert_eq!(firsts, [7, 9, 11]);
    }
}
