//! Backup, restore and a look from outside, all on files that are safe to copy while written.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::identity::{self, Found, HeldReason, Identity, Stage};
use super::image::{self, ImageInfo};
use super::journal;
use super::mark::Mark;
use super::source::{self, Source};
use super::sync_dir;
use crate::kv::Fault;

pub use super::inspect::{Report, inspect};

/// Why no backup or restore was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// The target exists and holds something.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// No image with its journal is usable.
    #[error("nothing usable to copy: {0}")]
    NoSource(String),
    /// The operating system refused an operation.
    #[error(transparent)]
    Storage(#[from] Fault),
}

/// What was copied and checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Copied {
    /// The image's start; 0 when the journal goes back to the beginning.
    pub start_seq: u64,
    /// The last commit.
    pub last_seq: u64,
    /// Rows of the image; 0 without one.
    pub image_rows: u64,
    /// Bytes copied.
    pub bytes: u64,
}

/// Copies a data directory, stopped or running, to `dest`, which must not exist or be empty.
///
/// The copy is the newest whole image and the journal since, checked byte by byte; `dest` gets its
/// name only then. A daemon started on it comes up held; [`restore`] makes a directory of it.
/// Everything accepted before the call is in it.
pub fn backup(data_dir: &Path, dest: &Path) -> Result<Copied, BackupError> {
    require_empty(dest)?;
    // Read first: what is known now must be in the copy.
    let reached = reached(data_dir, Whose::Original)?;
    let part = dest.with_extension("part");
    if part.exists() {
        fs::remove_dir_all(&part).map_err(|error| io("clearing an interrupted backup", error))?;
    }
    fs::create_dir_all(&part).map_err(|error| io("creating the backup", error))?;
    let image = copy_newest_image(data_dir, &part)?;
    let start_seq = image.as_ref().map_or(0, |image| image.start_seq);
    copy_journal(data_dir, &part, start_seq)?;
    if matches!(identity::read(data_dir)?, Found::Identity(_)) {
        copy_file(&data_dir.join("identity"), &part.join("identity"))?;
    }
    let source = source::find(&part, reached)?.map_err(|none| BackupError::NoSource(none.why))?;
    sync_tree(&part)?;
    if dest.exists() {
        fs::remove_dir(dest).map_err(|error| io("replacing the empty target", error))?;
    }
    fs::rename(&part, dest).map_err(|error| io("naming the backup", error))?;
    sync_dir(dest.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))?;
    copied(&source, dest)
}

/// Makes a data directory from a backup, or from any copy of a data directory.
///
/// `data_dir` must not exist or be empty. It is a new instance and starts as `held` says:
/// [`HeldReason::Restored`], or `None` when the operator vouches that the original is gone. The
/// first start builds the base.
pub fn restore(
    src: &Path,
    data_dir: &Path,
    held: Option<HeldReason>,
) -> Result<Copied, BackupError> {
    require_empty(data_dir)?;
    let reached = reached(src, Whose::Copy)?;
    let source = source::find(src, reached)?.map_err(|none| BackupError::NoSource(none.why))?;
    fs::create_dir_all(data_dir).map_err(|error| io("creating the data directory", error))?;
    let mut identity = Identity::new(Stage::Restoring, held)?;
    identity.write(data_dir)?;
    if let Some(image) = &source.image {
        copy_into(&image.path, &image::dir_in(data_dir))?;
    }
    copy_journal(src, data_dir, source.start_seq())?;
    let source =
        source::find(data_dir, source.last_seq)?.map_err(|none| BackupError::NoSource(none.why))?;
    sync_tree(data_dir)?;
    let last_seq = source.last_seq;
    Mark { instance: identity.instance, journal_seq: last_seq, base_seq: 0 }.write(data_dir)?;
    identity.stage = Stage::Established;
    identity.write(data_dir)?;
    copied(&source, data_dir)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    /// Where the daemon works: the mark is never ahead of the journal.
    Original,
    /// A copy, whose mark may have been copied after its journal.
    Copy,
}

/// The commit that the journal must reach, as far as identity and mark say.
fn reached(data_dir: &Path, whose: Whose) -> Result<u64, Fault> {
    let Found::Identity(identity) = identity::read(data_dir)? else { return Ok(0) };
    let clean = identity.clean.map_or(0, |clean| clean.seq);
    if whose == Whose::Copy || identity.is_copy(data_dir) {
        return Ok(clean);
    }
    let mark = Mark::read(data_dir, identity.instance)?;
    Ok(clean.max(mark.map_or(0, |mark| mark.journal_seq)))
}

fn require_empty(dir: &Path) -> Result<(), BackupError> {
    match fs::read_dir(dir) {
        Ok(mut entries) => match entries.next() {
            None => Ok(()),
            Some(_) => Err(BackupError::NotEmpty(dir.to_path_buf())),
        },
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("looking at the target", error).into()),
    }
}

/// Copies the newest image whose copy is whole.
fn copy_newest_image(from: &Path, to: &Path) -> Result<Option<ImageInfo>, Fault> {
    for (_, path) in image::list(&image::dir_in(from))? {
        let copy = copy_into(&path, &image::dir_in(to))?;
        match image::verify(&copy) {
            Ok(info) => return Ok(Some(info)),
            Err(bad) => {
                tracing::warn!(event = "backup.bad_image", why = %bad);
                fs::remove_file(copy).map_err(|error| io("dropping a bad image", error))?;
            }
        }
    }
    Ok(None)
}

/// Copies the files with the commits after `start_seq`. The last one may grow meanwhile: any prefix
/// of it is good.
fn copy_journal(from: &Path, to: &Path, start_seq: u64) -> Result<(), Fault> {
    let files = journal::list(&journal::dir_in(from))?;
    let older = files.partition_point(|file| file.first_seq <= start_seq + 1);
    for file in &files[older.saturating_sub(1)..] {
        copy_into(&file.path, &journal::dir_in(to))?;
    }
    Ok(())
}

fn copy_into(file: &Path, dir: &Path) -> Result<PathBuf, Fault> {
    fs::create_dir_all(dir).map_err(|error| io("creating a directory", error))?;
    let target = dir.join(file.file_name().unwrap_or_default());
    copy_file(file, &target)?;
    Ok(target)
}

fn copy_file(from: &Path, to: &Path) -> Result<(), Fault> {
    fs::copy(from, to)
        .and_then(|_| File::open(to)?.sync_all())
        .map_err(|error| io("copying a file", format_args!("{}: {error}", from.display())))
}

fn sync_tree(dir: &Path) -> Result<(), Fault> {
    for part in [image::dir_in(dir), journal::dir_in(dir)] {
        if part.exists() {
            sync_dir(&part)?;
        }
    }
    sync_dir(dir)
}

fn copied(source: &Source, dir: &Path) -> Result<Copied, BackupError> {
    let journals = journal::list(&journal::dir_in(dir))?;
    let image_bytes = source.image.as_ref().map_or(0, |image| image.bytes);
    Ok(Copied {
        start_seq: source.start_seq(),
        last_seq: source.last_seq,
        image_rows: source.image.as_ref().map_or(0, ImageInfo::rows),
        bytes: image_bytes + journals.iter().map(|file| file.bytes).sum::<u64>(),
    })
}

fn io(doing: &'static str, cause: impl std::fmt::Display) -> Fault {
    Fault::io(doing, cause)
}
