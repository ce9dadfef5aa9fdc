//! Journal files and an image as format 1 wrote them, in hex: they must read to the same rows for
//! ever. The journal must also be written in the same way; an image need not, since a compressor
//! may pack better one day.
//!
//! `cargo test --test suite archive_fixtures -- --ignored` writes those that are missing. One that
//! is there is never written again: a new format gets new files.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use duebox::data_dir::identity::{HeldReason, InstanceId};
use duebox::data_dir::image::{self};
use duebox::data_dir::journal::reader::JournalReader;
use duebox::data_dir::journal::{self, JournalWriter};
use duebox::data_dir::startup::{How, OpenOptions, open};
use duebox::data_dir::{APPLIED_KEY, APPLIED_TREE};
use duebox::kv::memory::MemoryKv;
use duebox::kv::{Key, Kv, Value, Write};
use duebox::store::schema::Tree;
use duebox::store::{applied, applied_write};

const FIRST: &str = "journal-1-first.hex";
const SECOND: &str = "journal-1-second.hex";
const IMAGE: &str = "image-1.hex";

const A: InstanceId = InstanceId(0x00112233_44556677_8899aabb_ccddeeff);
const B: InstanceId = InstanceId(0xffeeddcc_bbaa9988_77665544_33221100);

fn put(tree: Tree, key: &[u8], value: &[u8]) -> Write {
    Write { tree: tree.number(), key: key.to_vec(), value: Some(Arc::from(value)) }
}

fn delete(tree: Tree, key: &[u8]) -> Write {
    Write { tree: tree.number(), key: key.to_vec(), value: None }
}

/// The commits, from number 1 on: the first and the last tree, empty and long values, keys of one
/// byte and of 200, an overwritten row, a deleted one, and a commit of nothing.
fn commits() -> Vec<Vec<Write>> {
    vec![
        vec![put(Tree::Meta, b"format", &[1]), put(Tree::Tasks, &[0, 1], b"task 1")],
        vec![put(Tree::Tasks, &[0, 2], b""), put(Tree::Spare, &[7; 200], &[9; 300])],
        vec![put(Tree::Tasks, &[0, 1], b"task 1 again"), put(Tree::Delay, &[5; 17], &[0])],
        vec![delete(Tree::Tasks, &[0, 2]), put(Tree::Outbox, b"\xff", &[0xff; 127])],
        vec![],
        vec![delete(Tree::Delay, &[5; 17]), put(Tree::SendLog, b"\x00", &[1; 128])],
    ]
}

/// The commits in the first file, and in the image.
const IN_FIRST: usize = 3;
const IN_IMAGE: usize = 2;

fn state_after(count: usize) -> MemoryKv {
    let kv = MemoryKv::new();
    for writes in commits().iter().take(count) {
        kv.apply(writes).unwrap();
    }
    kv
}

fn rows(kv: &dyn Kv) -> Vec<(Tree, Key, Value)> {
    let all = Tree::ALL.into_iter().flat_map(|tree| {
        let found = kv.scan(tree.number(), &[], &[0xff; 300], usize::MAX).unwrap();
        found.into_iter().map(move |(key, value)| (tree, key, value))
    });
    all.filter(|(tree, key, _)| (*tree, key.as_slice()) != (APPLIED_TREE, APPLIED_KEY)).collect()
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(name)
}

fn kept(name: &str) -> Vec<u8> {
    let text = fs::read_to_string(fixture(name)).unwrap();
    let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.chunks(2).map(byte).collect()
}

/// A data directory with the kept files under the names that they had.
fn kept_directory() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let (journals, images) = (journal::dir_in(dir.path()), image::dir_in(dir.path()));
    fs::create_dir_all(&journals).unwrap();
    fs::create_dir_all(&images).unwrap();
    fs::write(journals.join(format!("{:020}.jnl", 1)), kept(FIRST)).unwrap();
    fs::write(journals.join(format!("{:020}.jnl", IN_FIRST + 1)), kept(SECOND)).unwrap();
    fs::write(images.join(format!("{IN_IMAGE:020}.img")), kept(IMAGE)).unwrap();
    dir
}

/// The same files as this program writes them: by name, their bytes.
fn written_today() -> [(&'static str, Vec<u8>); 3] {
    let dir = tempfile::tempdir().unwrap();
    let mut writer = JournalWriter::create(dir.path(), 1, A, InstanceId(0)).unwrap();
    for (seq, writes) in (1..).zip(commits()) {
        if seq == IN_FIRST as u64 + 1 {
            writer = JournalWriter::create(dir.path(), seq, B, A).unwrap();
        }
        writer.append(seq, &writes).unwrap();
    }
    // It was scanned while commit 3 was applied, which has left its trace.
    let kv = state_after(IN_FIRST);
    kv.apply(&[applied_write(IN_IMAGE as u64)]).unwrap();
    let committed = || IN_FIRST as u64;
    let made = image::writer::make(&kv, dir.path(), A, &committed, &mut |_| {}).unwrap();
    let files = journal::list(dir.path()).unwrap();
    let [first, second] = &files[..] else { panic!("{files:?}") };
    let bytes = |path: &Path| fs::read(path).unwrap();
    [(FIRST, bytes(&first.path)), (SECOND, bytes(&second.path)), (IMAGE, bytes(&made.path))]
}

#[test]
fn journal_files_of_format_1_read_to_the_same_commits() {
    let dir = kept_directory();
    for from in 1..=commits().len() as u64 {
        let mut reader = JournalReader::open(&journal::dir_in(dir.path()), from).unwrap();
        let mut expected = (1..).zip(commits()).skip_while(|(seq, _)| *seq < from);
        while let Some(commit) = reader.next_commit().unwrap() {
            assert_eq!(Some((commit.seq, commit.writes)), expected.next());
        }
        assert_eq!((expected.next(), reader.writer()), (None, Some(B)));
    }
}

#[test]
fn journal_files_of_format_1_are_still_written_so() {
    for (name, bytes) in written_today().into_iter().take(2) {
        assert_eq!(bytes, kept(name), "{name}");
    }
}

#[test]
fn image_of_format_1_reads_to_the_same_rows() {
    let dir = kept_directory();
    let (start, path) = image::reader::list(&image::dir_in(dir.path())).unwrap().remove(0);
    let info = image::reader::verify(&path).unwrap();
    assert_eq!((start, info.start_seq, info.end_seq), (2, 2, 3));
    assert_eq!((info.instance, info.rows()), (A, 5));
    assert_eq!(image::reader::peek(&path), Ok(info.clone()));
    let kv = MemoryKv::new();
    assert_eq!(image::reader::load(&path, &kv, &mut |_| {}).unwrap(), info);
    assert_eq!(rows(&kv), rows(&state_after(IN_FIRST)));
}

#[test]
fn directory_of_format_1_without_a_store_is_rebuilt_to_the_same_rows() {
    let dir = kept_directory();
    let options =
        OpenOptions { cache_bytes: 8 << 20, adopt: false, rebuild: false, progress: &mut |_| {} };
    let opened = open(dir.path(), options).unwrap();
    let state = state_after(commits().len());
    duebox::store::upgrade::base(&state).unwrap();
    assert_eq!(rows(&opened.kv), rows(&state));
    let last = commits().len() as u64;
    assert_eq!((opened.next_seq, applied(&opened.kv).unwrap()), (last + 1, last));
    assert_eq!(opened.held, Some(HeldReason::UnknownOrigin));
    // The image was used: without it, all commits would come from the journal.
    let How::Rebuilt { rows, replayed, .. } = opened.how else { panic!("{:?}", opened.how) };
    assert_eq!((rows, replayed), (5, last - IN_IMAGE as u64));
}

#[test]
#[ignore = "writes the archive_fixtures that are missing"]
fn archive_fixtures_that_are_missing_are_written() {
    for (name, bytes) in written_today() {
        let hex: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
        let lines: Vec<String> = hex.chunks(48).map(<[String]>::concat).collect();
        if !fixture(name).exists() {
            fs::write(fixture(name), lines.join("\n") + "\n").unwrap();
        }
    }
}
