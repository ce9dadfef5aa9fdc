//! The journal's writer: the write-ahead log, and the only thing synced for a commit.
//!
//! Files are append-only and never change once the next one exists, so a copied prefix is always
//! good. A new file begins at every start and when the current one has grown to
//! [`limits::JOURNAL_FILE_BYTES`]; it gets its name only when its header is on disk.

pub mod commit;
pub mod frame;
pub mod reader;
mod tail;

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use self::frame::{HEADER_BYTES, Header};
use crate::data_dir::identity::InstanceId;
use crate::data_dir::sync_dir;
use crate::kv::{Fault, Write};
use crate::limits;
use crate::regular;

/// Where the journal is in a data directory.
#[must_use]
pub fn dir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("journal")
}

/// A journal file by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct JournalFile {
    /// The number of the first commit in it, from its name.
    pub first_seq: u64,
    /// Where it is.
    pub path: PathBuf,
    /// Its length in bytes, when listed.
    pub bytes: u64,
}

/// The journal's files in order. A missing directory has none.
pub fn list(journal_dir: &Path) -> Result<Vec<JournalFile>, Fault> {
    let fault = |error| Fault::io("listing the journal", error);
    let entries = match fs::read_dir(journal_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fault)?;
        if let Some(first_seq) = numbered(&entry.file_name().to_string_lossy(), ".jnl") {
            let bytes = entry.metadata().map_err(fault)?.len();
            files.push(JournalFile { first_seq, path: entry.path(), bytes });
        }
    }
    files.sort();
    Ok(files)
}

/// The number in a name of 20 digits and `suffix`.
pub(crate) fn numbered(name: &str, suffix: &str) -> Option<u64> {
    let digits = name.strip_suffix(suffix)?;
    (digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit()))
        .then(|| digits.parse().ok())
        .flatten()
}

/// Appends commits. One exists per data directory, owned by the thread that commits.
#[derive(Debug)]
pub struct JournalWriter {
    dir: PathBuf,
    file: File,
    instance: InstanceId,
    next_seq: u64,
    bytes: u64,
    full_at: u64,
    buffer: Vec<u8>,
}

impl JournalWriter {
    /// Begins a new file whose first commit will be `next_seq`, creating the directory if need be.
    ///
    /// `previous` is who wrote the file before it: `instance` itself, or another one when this
    /// directory began as a copy, or `InstanceId(0)` when there is none. A file of the same name
    /// holds no whole commit (else `next_seq` would be higher): it is replaced, and what it said of
    /// the file before it counts; it is kept as `.torn` if it holds anything.
    pub fn create(
        journal_dir: &Path,
        next_seq: u64,
        instance: InstanceId,
        previous: InstanceId,
    ) -> Result<Self, Fault> {
        assert!(next_seq > 0, "commits are numbered from 1");
        fs::create_dir_all(journal_dir)
            .map_err(|error| Fault::io("creating the journal's directory", error))?;
        let replaced = header(&path_of(journal_dir, next_seq))?;
        let previous = replaced.map_or(previous, |replaced| replaced.previous);
        let file = create_file(journal_dir, &Header { instance, previous, first_seq: next_seq })?;
        Ok(Self {
            dir: journal_dir.to_path_buf(),
            file,
            instance,
            next_seq,
            bytes: HEADER_BYTES as u64,
            full_at: limits::JOURNAL_FILE_BYTES,
            buffer: Vec::new(),
        })
    }

    /// Begins new files at `bytes` instead of [`limits::JOURNAL_FILE_BYTES`], which is the most.
    pub fn rotate_at(&mut self, bytes: u64) {
        self.full_at = bytes.min(limits::JOURNAL_FILE_BYTES);
    }

    /// Appends commit `seq` and returns when it would survive a power cut.
    ///
    /// After a fault the writer must not be used again: the kernel may have dropped the bytes.
    ///
    /// # Panics
    /// When `seq` is not the next number or the commit exceeds [`limits::FRAME_BYTES`].
    pub fn append(&mut self, seq: u64, writes: &[Write]) -> Result<(), Fault> {
        assert_eq!(seq, self.next_seq, "commits are appended in order");
        frame::encode(&mut self.buffer, seq, writes);
        if self.bytes >= self.full_at {
            self.rotate()?;
        }
        self.file
            .write_all(&self.buffer)
            .map_err(|error| Fault::io("appending to the journal", error))?;
        if let Err(error) = self.file.sync_data() {
            // Nobody hears of this commit. The next start must not find it either: the kernel may
            // show it from memory for as long as the machine runs, though the disk never got it.
            let _ = self.file.set_len(self.bytes);
            return Err(Fault::io("syncing the journal", error));
        }
        self.bytes += self.buffer.len() as u64;
        self.next_seq += 1;
        // One unusually large group must not hold its memory for ever.
        if self.buffer.capacity() > 2 * limits::GROUP_BYTES {
            self.buffer = Vec::new();
        }
        Ok(())
    }

    /// Ends the current file and begins the next one. Without a commit in the file it does nothing.
    pub fn rotate(&mut self) -> Result<(), Fault> {
        if self.bytes == HEADER_BYTES as u64 {
            return Ok(());
        }
        let header =
            Header { instance: self.instance, previous: self.instance, first_seq: self.next_seq };
        self.file = create_file(&self.dir, &header)?;
        self.bytes = HEADER_BYTES as u64;
        Ok(())
    }

    /// Bytes in the current file.
    #[must_use]
    pub fn len_bytes(&self) -> u64 {
        self.bytes
    }

    /// The number that the next commit must have.
    #[must_use]
    pub fn next_seq(&self) -> u64 {
        self.next_seq
    }
}

fn path_of(dir: &Path, first_seq: u64) -> PathBuf {
    dir.join(format!("{first_seq:020}.jnl"))
}

/// The header of a journal file; `None` when there is no such file or no right header.
pub(in crate::data_dir) fn header(path: &Path) -> Result<Option<Header>, Fault> {
    let mut bytes = Vec::with_capacity(HEADER_BYTES);
    match regular::open(path)
        .and_then(|file| file.take(HEADER_BYTES as u64).read_to_end(&mut bytes))
    {
        Ok(_) => Ok(Header::decode(&bytes).ok()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Fault::io("reading a journal's header", error)),
    }
}

fn create_file(dir: &Path, header: &Header) -> Result<File, Fault> {
    let fault = |error| Fault::io("creating a journal file", error);
    let path = path_of(dir, header.first_seq);
    let new = path.with_extension("new");
    let mut file =
        OpenOptions::new().write(true).create(true).truncate(true).open(&new).map_err(fault)?;
    file.write_all(&header.encode()).and_then(|()| file.sync_all()).map_err(fault)?;
    if fs::metadata(&path).is_ok_and(|meta| meta.len() > HEADER_BYTES as u64) {
        fs::rename(&path, path.with_extension("torn")).map_err(fault)?;
    }
    fs::rename(&new, &path).map_err(fault)?;
    sync_dir(dir)?;
    Ok(file)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data_dir::testing::{A, put};

    #[test]
    fn files_are_named_after_their_first_commit_and_empty_ones_are_not_rotated() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = JournalWriter::create(dir.path(), 1, A, InstanceId(0)).unwrap();
        journal.rotate().unwrap();
        journal.append(1, &[put("a", "1")]).unwrap();
        journal.rotate().unwrap();
        assert_eq!(journal.len_bytes(), HEADER_BYTES as u64);
        journal.append(2, &[put("a", "2")]).unwrap();
        let firsts: Vec<_> = list(dir.path()).unwrap().iter().map(|file| file.first_seq).collect();
        assert_eq!(firsts, [1, 2]);
    }

    #[test]
    fn a_torn_file_of_the_same_name_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(format!("{:020}.jnl", 5));
        fs::write(&path, [1; 100]).unwrap();
        JournalWriter::create(dir.path(), 5, A, InstanceId(0)).unwrap();
        assert_eq!(fs::read(path.with_extension("torn")).unwrap(), [1; 100]);
        assert_eq!(fs::metadata(&path).unwrap().len(), HEADER_BYTES as u64);
    }

    #[test]
    #[should_panic(expected = "in order")]
    fn a_skipped_number_is_a_broken_invariant() {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = JournalWriter::create(dir.path(), 1, A, InstanceId(0)).unwrap();
        journal.append(2, &[]).unwrap();
    }
}
