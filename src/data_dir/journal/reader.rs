//! The journal's reader: every commit from a number on, in order, over all files.
//!
//! What may be wrong with the bytes, and what it means:
//!
//! - A file ends within a frame, or with zeros where blocks never reached the disk: a crash
//!   interrupted an append whose commit was never answered. In the last file it is the end. In an
//!   earlier file the next one must begin with exactly the missing number: the daemon was started
//!   again after such a crash.
//! - Anything else is [`Broken`]; nothing is ever skipped. A file that was cut cannot be told from
//!   a torn one: whoever knows how far the journal had come compares that with
//!   [`JournalReader::last_seq`].

use std::path::Path;

use crate::data_dir::identity::InstanceId;
use crate::data_dir::journal::commit::{Broken, BrokenKind, Commit};
use crate::data_dir::journal::frame::{BadHeader, Frame, HEADER_BYTES, Header};
use crate::data_dir::journal::tail;
use crate::data_dir::journal::{self, JournalFile};
use crate::limits;
use crate::regular;

/// The largest file that this program writes: it begins a new one after the frame that fills one.
pub(in crate::data_dir) const MOST_BYTES: u64 =
    limits::JOURNAL_FILE_BYTES + limits::FRAME_BYTES as u64 + 4_096;

/// Reads commits in order. Holds one file in memory: at most
/// [`JOURNAL_FILE_BYTES`](crate::limits::JOURNAL_FILE_BYTES) and one frame.
#[derive(Debug)]
pub struct JournalReader {
    /// The files that are still to be read, the next one last.
    files: Vec<JournalFile>,
    file: String,
    writer: Option<InstanceId>,
    bytes: Vec<u8>,
    at: usize,
    from: u64,
    expected: u64,
}

impl JournalReader {
    /// A reader of the commits from `from` (at least 1) on.
    ///
    /// Fails when the oldest file begins after `from`. A journal without files gives no commits.
    pub fn open(journal_dir: &Path, from: u64) -> Result<Self, Broken> {
        let mut files = journal::list(journal_dir).map_err(|fault| Broken {
            kind: BrokenKind::Unreadable,
            file: journal_dir.display().to_string(),
            at_seq: from,
            why: fault.to_string(),
        })?;
        let older = files.partition_point(|file| file.first_seq <= from);
        if older == 0
            && let Some(oldest) = files.first()
        {
            return Err(Broken {
                kind: BrokenKind::Missing,
                file: file_name(oldest),
                at_seq: from,
                why: format!("the journal begins only with commit {}", oldest.first_seq),
            });
        }
        files.drain(..older.saturating_sub(1));
        files.reverse();
        let expected = files.last().map_or(from, |file| file.first_seq);
        let (file, bytes) = (String::new(), Vec::new());
        Ok(Self { files, file, writer: None, bytes, at: 0, from, expected })
    }

    /// The next commit, or `None` at the journal's end.
    pub fn next_commit(&mut self) -> Result<Option<Commit>, Broken> {
        while let Some(range) = self.next_frame()? {
            let Some(frame) = Frame::parse(&self.bytes[range]) else { continue };
            let seq = frame.seq;
            if seq < self.from {
                continue;
            }
            let Some(writes) = frame.writes() else {
                let why = "a change that this program does not know".to_owned();
                return Err(self.broken(BrokenKind::Newer, seq, why));
            };
            return Ok(Some(Commit { seq, writes }));
        }
        Ok(None)
    }

    /// Checks everything that is left without decoding it and gives the last commit's number;
    /// the number before the first one asked for when there is none.
    pub fn check_to_end(&mut self) -> Result<u64, Broken> {
        while self.next_frame()?.is_some() {}
        Ok(self.last_seq())
    }

    /// The number of the last commit read so far.
    #[must_use]
    pub fn last_seq(&self) -> u64 {
        self.expected - 1
    }

    /// Who wrote the file that is being read.
    #[must_use]
    pub fn writer(&self) -> Option<InstanceId> {
        self.writer
    }

    /// Where the next frame of the chain is in `bytes`; loads the next file when one ends.
    fn next_frame(&mut self) -> Result<Option<std::ops::Range<usize>>, Broken> {
        loop {
            let rest = &self.bytes[self.at..];
            if let Some(frame) = Frame::parse(rest) {
                let (seq, range) = (frame.seq, self.at..self.at + frame.total());
                if seq != self.expected {
                    let why = format!("commit {seq} stands where {} must be", self.expected);
                    return Err(self.broken(BrokenKind::Damaged, self.expected, why));
                }
                self.at = range.end;
                self.expected += 1;
                return Ok(Some(range));
            }
            if tail::any_frame_from(rest, self.expected) {
                let why = "damaged: whole commits follow the unreadable bytes".to_owned();
                return Err(self.broken(BrokenKind::Damaged, self.expected, why));
            }
            if !tail::is_torn(rest, self.at) {
                let why = "damaged: not what an interrupted append leaves".to_owned();
                return Err(self.broken(BrokenKind::Damaged, self.expected, why));
            }
            let Some(next) = self.files.pop() else { return Ok(None) };
            self.load(&next)?;
        }
    }

    fn load(&mut self, next: &JournalFile) -> Result<(), Broken> {
        let name = file_name(next);
        if next.first_seq != self.expected {
            // Also a cut or damaged end of the file before it comes out here.
            let why = format!("ends before commit {}, but {name} begins later", self.expected);
            return Err(self.broken(BrokenKind::Missing, self.expected, why));
        }
        self.file = name;
        #[cfg(test)]
        FILES_READ.with(|read| read.set(read.get() + 1));
        self.bytes = regular::read(&next.path, MOST_BYTES).map_err(|error| {
            self.broken(BrokenKind::Unreadable, next.first_seq, error.to_string())
        })?;
        let header = Header::decode(&self.bytes).map_err(|bad| {
            let (kind, why) = match bad {
                BadHeader::Damaged => (BrokenKind::Damaged, "damaged header".to_owned()),
                BadHeader::Removed => {
                    let why = "removed before it was copied: the copy took too long".to_owned();
                    (BrokenKind::Missing, why)
                }
                BadHeader::Newer(format) => (BrokenKind::Newer, format!("format {format}")),
            };
            self.broken(kind, next.first_seq, why)
        })?;
        if header.first_seq != next.first_seq {
            let why = format!("renamed: its header says {}", header.first_seq);
            return Err(self.broken(BrokenKind::Damaged, next.first_seq, why));
        }
        if self.writer.is_some_and(|writer| writer != header.previous) {
            let why = "continues the journal of another copy of this directory".to_owned();
            return Err(self.broken(BrokenKind::Foreign, next.first_seq, why));
        }
        self.writer = Some(header.instance);
        self.at = HEADER_BYTES;
        Ok(())
    }

    fn broken(&self, kind: BrokenKind, at_seq: u64, why: String) -> Broken {
        Broken { kind, file: self.file.clone(), at_seq, why }
    }
}

#[cfg(test)]
thread_local! {
    /// Journal files that this thread has read.
    pub(in crate::data_dir) static FILES_READ: std::cell::Cell<usize> =
        const { std::cell::Cell::new(0) };
}

fn file_name(file: &JournalFile) -> String {
    file.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::fs;

    use super::*;
    use crate::data_dir::journal::JournalWriter;
    use crate::data_dir::testing::{A, B, put};
    use std::path::PathBuf;

    /// Nine commits in three files.
    fn nine() -> (tempfile::TempDir, Vec<PathBuf>) {
        let dir = tempfile::tempdir().unwrap();
        let mut journal = JournalWriter::create(dir.path(), 1, A, InstanceId(0)).unwrap();
        for seq in 1..=9 {
            journal.append(seq, &[put(&format!("k{seq}"), "v")]).unwrap();
            if seq == 3 || seq == 6 {
                journal.rotate().unwrap();
            }
        }
        let files = journal::list(dir.path()).unwrap().into_iter().map(|file| file.path).collect();
        (dir, files)
    }

    fn read(dir: &Path, from: u64) -> Result<Vec<u64>, Broken> {
        let mut reader = JournalReader::open(dir, from)?;
        let mut found = Vec::new();
        while let Some(commit) = reader.next_commit()? {
            assert_eq!(commit.writes, [put(&format!("k{}", commit.seq), "v")]);
            found.push(commit.seq);
        }
        Ok(found)
    }

    #[test]
    fn every_commit_comes_back_from_any_number_on() {
        let (dir, _) = nine();
        for from in 1..=10 {
            assert_eq!(read(dir.path(), from), Ok((from..=9).collect()), "from {from}");
            assert_eq!(JournalReader::open(dir.path(), from).unwrap().check_to_end(), Ok(9));
        }
        assert_eq!(read(&dir.path().join("absent"), 1), Ok(vec![]));
    }

    #[test]
    fn every_cut_of_the_last_file_ends_the_journal_at_a_whole_commit() {
        let (dir, files) = nine();
        let whole = fs::read(&files[2]).unwrap();
        let frame = (whole.len() - HEADER_BYTES) / 3;
        for cut in HEADER_BYTES..whole.len() {
            let last = 6 + (cut - HEADER_BYTES) as u64 / frame as u64;
            for tail in [&[][..], &[0; 100], &[0; 5000]] {
                fs::write(&files[2], [&whole[..cut], tail].concat()).unwrap();
                assert_eq!(read(dir.path(), 1), Ok((1..=last).collect()), "cut at {cut}");
            }
        }
    }

    #[test]
    fn a_restart_after_a_torn_append_goes_on_where_it_ended() {
        let (dir, files) = nine();
        let whole = fs::read(&files[2]).unwrap();
        fs::write(&files[2], &whole[..whole.len() - 3]).unwrap();
        let mut journal = JournalWriter::create(dir.path(), 9, B, A).unwrap();
        journal.append(9, &[put("k9", "v")]).unwrap();
        assert_eq!(read(dir.path(), 1), Ok((1..=9).collect()));
    }

    #[test]
    fn every_flipped_byte_is_reported() {
        let (dir, files) = nine();
        for (number, path) in files.iter().enumerate() {
            let whole = fs::read(path).unwrap();
            for at in 0..whole.len() {
                let mut bytes = whole.clone();
                bytes[at] ^= 0x10;
                fs::write(path, bytes).unwrap();
                assert!(read(dir.path(), 1).is_err(), "byte {at} of file {number}");
            }
            fs::write(path, whole).unwrap();
        }
    }

    #[test]
    fn missing_files_are_reported_unless_they_are_not_asked_for() {
        let (dir, files) = nine();
        fs::remove_file(&files[0]).unwrap();
        let broken = read(dir.path(), 1).unwrap_err();
        assert_eq!((broken.kind, broken.at_seq), (BrokenKind::Missing, 1));
        assert_eq!(read(dir.path(), 4), Ok((4..=9).collect()));
        fs::remove_file(&files[1]).unwrap();
        assert_eq!(read(dir.path(), 7), Ok((7..=9).collect()));
        assert_eq!(read(dir.path(), 6).unwrap_err().kind, BrokenKind::Missing);
    }

    #[test]
    fn a_hole_between_files_and_a_file_of_another_copy_are_reported() {
        let (dir, files) = nine();
        let middle = fs::read(&files[1]).unwrap();
        fs::remove_file(&files[1]).unwrap();
        let broken = read(dir.path(), 1).unwrap_err();
        assert_eq!((broken.kind, broken.at_seq), (BrokenKind::Missing, 4));
        fs::write(&files[1], middle).unwrap();
        fs::remove_file(&files[2]).unwrap();
        JournalWriter::create(dir.path(), 7, B, B).unwrap();
        let broken = read(dir.path(), 1).unwrap_err();
        assert_eq!((broken.kind, broken.at_seq), (BrokenKind::Foreign, 7));
    }
}
