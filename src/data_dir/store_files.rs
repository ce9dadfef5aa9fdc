//! The base's files seen from outside: checksum after a clean stop, settling, setting aside.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::identity::CleanMark;
use super::sync_dir;
use crate::kv::sled::SledKv;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::regular;
use crate::store::schema::LAYOUTS;
use crate::time::{Clock, SystemClock, Timestamp};

/// How the names of bases that were set aside begin; the time follows.
const ASIDE: &str = "store.aside-";
/// Bases that are kept as evidence.
const ASIDES: usize = 2;

/// Where the base is in a data directory.
#[must_use]
pub fn dir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("store")
}

/// Where a base is built before it takes its place.
pub(super) fn building_in(data_dir: &Path) -> PathBuf {
    data_dir.join("store.building")
}

/// The base's main file.
pub(super) fn main_file(data_dir: &Path) -> PathBuf {
    dir_in(data_dir).join("db")
}

/// Reopens and closes the base when at least [`limits::SETTLE_BYTES`] were written to it since it
/// was opened. Says whether it did.
///
/// sled writes its snapshot only while opening and replays at each opening everything since the
/// last one, so this moves the wait from the next start to this stop. Call it after the base was
/// dropped and before [`super::startup::close_clean`].
pub fn settle_store(data_dir: &Path, cache_bytes: u64, written_bytes: u64) -> Result<bool, Fault> {
    if written_bytes < limits::SETTLE_BYTES {
        return Ok(false);
    }
    let kv = SledKv::open(&dir_in(data_dir), cache_bytes, &LAYOUTS)?;
    kv.sync()?;
    Ok(true)
}

/// Describes the base's files as they are; nobody may have the base open.
pub(super) fn describe(data_dir: &Path, seq: u64) -> Result<CleanMark, Fault> {
    let files = files(data_dir)?;
    let bytes = files.iter().map(|(_, bytes)| bytes).sum();
    let crc = if bytes <= limits::CLEAN_CRC_BYTES { Some(checksum(&files)?) } else { None };
    Ok(CleanMark { seq, bytes, crc })
}

/// Bytes of the base's files; 0 without a base.
pub(super) fn bytes(data_dir: &Path) -> u64 {
    files(data_dir).map_or(0, |files| files.iter().map(|(_, bytes)| bytes).sum())
}

/// How the base's files compare with what was noted at the clean stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    /// Every byte is the same.
    Same,
    /// The lengths are the same; there is no checksum.
    SameLength,
    /// They are not what was left.
    Different,
}

pub(super) fn compare(data_dir: &Path, clean: &CleanMark) -> Result<Comparison, Fault> {
    let files = files(data_dir)?;
    if files.iter().map(|(_, bytes)| bytes).sum::<u64>() != clean.bytes {
        return Ok(Comparison::Different);
    }
    Ok(match clean.crc {
        None => Comparison::SameLength,
        Some(crc) if checksum(&files)? == crc => Comparison::Same,
        Some(_) => Comparison::Different,
    })
}

/// Moves the base out of the way and keeps it as evidence, the newest two of them.
pub(super) fn set_aside(data_dir: &Path) -> Result<Option<PathBuf>, Fault> {
    let fault = |error| Fault::io("setting the store aside", error);
    let store = dir_in(data_dir);
    if !store.exists() {
        return Ok(None);
    }
    let aside = data_dir.join(format!("{ASIDE}{:013}", SystemClock.now().0));
    fs::rename(&store, &aside).map_err(fault)?;
    sync_dir(data_dir)?;
    keep_asides(data_dir, ASIDES)?;
    Ok(Some(aside))
}

/// Removes all but the newest `count` of the bases that were set aside.
pub(super) fn keep_asides(data_dir: &Path, count: usize) -> Result<(), Fault> {
    for old in asides(data_dir)?.iter().rev().skip(count) {
        remove(old)?;
    }
    Ok(())
}

/// The bases that were set aside, oldest first.
pub(super) fn asides(data_dir: &Path) -> Result<Vec<PathBuf>, Fault> {
    let fault = |error| Fault::io("listing the data directory", error);
    let mut found = Vec::new();
    for entry in fs::read_dir(data_dir).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        if entry.file_name().to_string_lossy().starts_with(ASIDE) {
            found.push(entry.path());
        }
    }
    found.sort();
    Ok(found)
}

/// When a base was set aside, as its name says.
pub(super) fn set_aside_at(aside: &Path) -> Timestamp {
    let name = aside.file_name().unwrap_or_default().to_string_lossy();
    Timestamp(name.strip_prefix(ASIDE).and_then(|at| at.parse().ok()).unwrap_or(0))
}

/// Removes a base that nobody has open.
pub(super) fn remove(dir: &Path) -> Result<(), Fault> {
    tracing::warn!(event = "archive.store_removed", path = %dir.display());
    fs::remove_dir_all(dir).map_err(|error| Fault::io("removing an old store", error))
}

/// Whether another process has the base open: sled holds a lock on its main file.
pub(super) fn in_use(data_dir: &Path) -> bool {
    let Ok(file) = regular::open(&main_file(data_dir)) else { return false };
    let lock = rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive);
    lock == Err(rustix::io::Errno::WOULDBLOCK)
}

fn files(data_dir: &Path) -> Result<Vec<(PathBuf, u64)>, Fault> {
    let fault = |error| Fault::io("listing the store", error);
    let mut files = Vec::new();
    for entry in fs::read_dir(dir_in(data_dir)).map_err(fault)? {
        let entry = entry.map_err(fault)?;
        let meta = entry.metadata().map_err(fault)?;
        if meta.is_file() {
            files.push((entry.path(), meta.len()));
        }
    }
    files.sort();
    Ok(files)
}

fn checksum(files: &[(PathBuf, u64)]) -> Result<u32, Fault> {
    let fault = |error| Fault::io("reading the store's files", error);
    let mut hasher = crc32fast::Hasher::new();
    let mut buffer = vec![0; 1024 * 1024];
    for (path, bytes) in files {
        hasher.update(path.file_name().unwrap_or_default().as_encoded_bytes());
        hasher.update(&bytes.to_be_bytes());
        let mut file = regular::open(path).map_err(fault)?;
        loop {
            let count = file.read(&mut buffer).map_err(fault)?;
            if count == 0 {
                break;
            }
            hasher.update(&buffer[..count]);
        }
    }
    Ok(hasher.finalize())
}
