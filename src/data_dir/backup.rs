//! Backup, restore and a look from outside, all on files that are safe to copy while written.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::identity::{self, Found, HeldReason, IDENTITY, Identity, Stage};
use super::image::{self, ImageInfo};
use super::journal::{self, reader};
use super::mark::Mark;
use super::refusal::{self, Reason, Refused};
use super::source::{self, Source};
use super::survey::Survey;
use super::{small_file, sync_dir};
use crate::kv::{Cause, Fault};
use crate::regular;
use crate::time::Timestamp;

use super::inspect::last_commit_at;
pub use super::inspect::{Report, inspect};

/// Where a backup is made in a directory that is there already.
const PART: &str = ".part";

/// Why no backup or restore was made.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// There is no such source.
    #[error("{}: no such directory", .0.display())]
    NoDirectory(PathBuf),
    /// The target is within the source.
    #[error("{} is within {}", dest.display(), source_dir.display())]
    Within {
        /// The target.
        dest: PathBuf,
        /// The source.
        source_dir: PathBuf,
    },
    /// The target is a link that leads nowhere.
    #[error("{} is a symbolic link that leads nowhere", .0.display())]
    DeadLink(PathBuf),
    /// The target exists and holds something.
    #[error("{} is not empty", .0.display())]
    NotEmpty(PathBuf),
    /// No image with its journal is usable, or not all that was accepted is there.
    #[error("nothing usable to copy: {why}")]
    NoSource {
        /// What is wrong.
        why: String,
        /// What an operator can do, if anything.
        hint: Option<&'static str>,
    },
    /// The source is a copy that cannot be told from a mixture, or is half restored.
    #[error("{}: {reason}", dir.display())]
    Unfit {
        /// The source.
        dir: PathBuf,
        /// Why, and what to do.
        reason: Refused,
    },
    /// The operating system refused an operation.
    #[error(transparent)]
    Storage(#[from] Fault),
}

impl BackupError {
    /// What an operator can do.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NoDirectory(_) => Some("look whether the path is right"),
            Self::Within { .. } => Some("give a directory outside of it, best on another disk"),
            Self::DeadLink(_) => Some("mount what it leads to, or remove it"),
            Self::NotEmpty(_) => Some("give a directory that does not exist yet or is empty"),
            Self::NoSource { hint, .. } => *hint,
            Self::Unfit { reason, .. } => Some(reason.hint),
            Self::Storage(_) => None,
        }
    }
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
    /// When the last commit was made, if it can be told.
    pub last_at: Option<Timestamp>,
}

/// Copies a data directory, stopped or running, to `dest`, which must not exist or be empty.
///
/// The copy is the newest whole image and the journal since, checked byte by byte; it gets its
/// name, or its names in an empty `dest`, only then. A daemon started on it comes up held;
/// [`restore`] makes a directory of it. Everything accepted before the call is in it. `progress`
/// gets the bytes copied so far.
pub fn backup(
    data_dir: &Path,
    dest: &Path,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, BackupError> {
    check_places(data_dir, dest)?;
    require_empty(dest)?;
    // Read first: what is known now must be in the copy.
    let reached = reached(data_dir, &Survey::of(data_dir)?)?;
    let part = part_of(dest);
    clear_part(&part)?;
    fs::create_dir_all(&part).map_err(|error| io("creating the backup", error))?;
    let made = copy_all(data_dir, &part, reached, progress).and_then(|source| {
        take_place(&part, dest)?;
        copied(&source, dest)
    });
    if made.is_ok() {
        note_backup(data_dir, dest);
    } else {
        // The reason counts, not whether its trace could be removed.
        let _ = fs::remove_dir_all(&part);
    }
    made
}

/// Leaves word for the daemon, so that somebody learns when backups stop. A source that cannot be written
/// to is no failure of its backup.
fn note_backup(data_dir: &Path, dest: &Path) {
    let _ = fs::write(data_dir.join(LAST_BACKUP), format!("{}\n", dest.display()));
}

/// When the last backup of a directory was made by [`backup`], as far as there is word of it.
#[must_use]
pub fn last_backup(data_dir: &Path) -> Option<Timestamp> {
    let at = fs::symlink_metadata(data_dir.join(LAST_BACKUP)).ok()?.modified().ok()?;
    let since = at.duration_since(std::time::SystemTime::UNIX_EPOCH).ok()?;
    Some(Timestamp(u64::try_from(since.as_millis()).ok()?))
}

/// The note of the last backup.
const LAST_BACKUP: &str = "last_backup";

fn copy_all(
    data_dir: &Path,
    part: &Path,
    reached: u64,
    progress: &mut dyn FnMut(u64),
) -> Result<Source, BackupError> {
    let mut copier = Copier::new(progress);
    // A stop meanwhile notes in the identity where the journal ends: one copied first never says
    // more than the journal copied after it.
    if matches!(identity::read(data_dir)?, Found::Identity(_)) {
        copier.file(&data_dir.join(IDENTITY), &part.join(IDENTITY), small_file::MOST_BYTES)?;
    }
    let image = copier.newest_image(data_dir, part)?;
    copier.journal(data_dir, part, image.as_ref().map_or(0, |image| image.start_seq))?;
    // A copy that was started for the first time meanwhile.
    Survey::of(part)?.check_writer().map_err(|reason| unfit(data_dir, reason))?;
    let source = usable(part, reached)?;
    // What says that this copy is whole.
    Mark { instance: source.writer, journal_seq: source.last_seq, base_seq: 0 }.write(part)?;
    sync_tree(part)?;
    Ok(source)
}

/// Where a backup is made: beside its place, or in it where that is there already and may be a
/// file system of its own.
fn part_of(dest: &Path) -> PathBuf {
    if dest.exists() {
        return dest.join(PART);
    }
    let mut name = dest.file_name().unwrap_or_default().to_owned();
    name.push(".part");
    dest.with_file_name(name)
}

/// Removes what an interrupted backup left, and nothing that is anything else.
fn clear_part(part: &Path) -> Result<(), BackupError> {
    let Ok(entries) = fs::read_dir(part) else { return Ok(()) };
    for entry in entries {
        let name = entry.map_err(|error| io("looking at a left-over", error))?.file_name();
        if ![IDENTITY, "images", "journal", "mark"].iter().any(|ours| name == *ours) {
            return Err(BackupError::NotEmpty(part.to_path_buf()));
        }
    }
    Ok(fs::remove_dir_all(part).map_err(|error| io("clearing an interrupted backup", error))?)
}

/// Gives a finished backup its name. In an empty directory the identity goes last: without it
/// nothing counts as a whole copy.
fn take_place(part: &Path, dest: &Path) -> Result<(), Fault> {
    let naming = |error| io("naming the backup", error);
    if part.parent() == Some(dest) {
        for name in ["images", "journal", "mark", IDENTITY] {
            if part.join(name).exists() {
                fs::rename(part.join(name), dest.join(name)).map_err(naming)?;
            }
        }
        fs::remove_dir(part).map_err(naming)?;
        return sync_dir(dest);
    }
    fs::rename(part, dest).map_err(naming)?;
    sync_parent(dest)
}

/// Whether a source that is known to have lost commits will do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loss {
    /// It will not.
    Refused,
    /// It will: there is nothing better.
    Accepted,
}

/// Makes a data directory from a backup, or from any copy of a data directory.
///
/// `data_dir` must not exist or be empty. It is a new instance and starts as `held` says:
/// [`HeldReason::Restored`], or `None` when the operator vouches that the original is gone. The
/// first start builds the base. What is known to be missing is an error, unless `loss` says to take
/// what is there. `progress` gets the bytes copied so far.
pub fn restore(
    src: &Path,
    data_dir: &Path,
    held: Option<HeldReason>,
    loss: Loss,
    progress: &mut dyn FnMut(u64),
) -> Result<Copied, BackupError> {
    check_places(src, data_dir)?;
    require_empty(data_dir)?;
    let reached = match loss {
        Loss::Refused => {
            let survey = Survey::of(src)?;
            if survey.known().is_none() {
                return Err(unfit(src, Reason::NoIdentity));
            }
            if !survey.has_mark {
                return Err(unfit(src, Reason::Incomplete));
            }
            reached(src, &survey)?
        }
        Loss::Accepted => 0,
    };
    let source = usable(src, reached)?;
    fs::create_dir_all(data_dir).map_err(|error| io("creating the data directory", error))?;
    let mut identity = Identity::new(Stage::Restoring, held)?;
    identity.from = Some(source.writer);
    identity.write(data_dir)?;
    let mut copier = Copier::new(progress);
    if let Some(image) = &source.image {
        copier.put(&image.path, &image::dir_in(data_dir), u64::MAX)?;
    }
    copier.journal(src, data_dir, source.start_seq())?;
    let source = usable(data_dir, source.last_seq)?;
    sync_tree(data_dir)?;
    let last_seq = source.last_seq;
    Mark { instance: identity.instance, journal_seq: last_seq, base_seq: 0 }.write(data_dir)?;
    identity.stage = Stage::Established;
    identity.write(data_dir)?;
    sync_parent(data_dir)?;
    copied(&source, data_dir)
}

/// The best source in a directory that must reach this commit.
fn usable(dir: &Path, reached: u64) -> Result<Source, BackupError> {
    source::find(dir, reached)?.map_err(|none| {
        let copied_stop = Survey::of(dir).ok().and_then(|survey| survey.copied_stop());
        let spans_stop = matches!(source::spans_stop(dir, copied_stop), Ok(Some(_)));
        let hint = spans_stop.then_some(refusal::HINT_SPANS_STOP);
        BackupError::NoSource { why: none.why, hint }
    })
}

/// The commit that the journal must reach.
fn reached(dir: &Path, survey: &Survey) -> Result<u64, BackupError> {
    if survey.known().is_some_and(|identity| identity.stage == Stage::Restoring) {
        return Err(unfit(dir, Reason::Restoring));
    }
    survey.check_writer().map_err(|reason| unfit(dir, reason))?;
    Ok(survey.journal_reached())
}

fn unfit(dir: &Path, reason: Reason) -> BackupError {
    BackupError::Unfit { dir: dir.to_path_buf(), reason: reason.into() }
}

/// Refuses a source that is not there, and a target that would be a part of it.
fn check_places(source: &Path, dest: &Path) -> Result<(), BackupError> {
    let looking = |error: &str| io("looking at the source", Cause::at(source, error));
    match fs::metadata(source) {
        Ok(facts) if facts.is_dir() => {}
        Ok(_) => return Err(looking("it is not a directory").into()),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            return Err(BackupError::NoDirectory(source.to_path_buf()));
        }
        Err(error) => return Err(looking(&error.to_string()).into()),
    }
    if fs::symlink_metadata(dest).is_ok() && !dest.exists() {
        return Err(BackupError::DeadLink(dest.to_path_buf()));
    }
    let within = fs::canonicalize(source).ok().zip(real_place(dest));
    if within.is_some_and(|(source, dest)| dest.starts_with(source)) {
        let (dest, source_dir) = (dest.to_path_buf(), source.to_path_buf());
        return Err(BackupError::Within { dest, source_dir });
    }
    Ok(())
}

/// Where a path leads, also if its last parts are not there yet.
fn real_place(path: &Path) -> Option<PathBuf> {
    let path = std::path::absolute(path).ok()?;
    let there = path.ancestors().find(|part| part.exists())?;
    let rest = path.strip_prefix(there).ok()?;
    Some(fs::canonicalize(there).ok()?.join(rest))
}

fn require_empty(dir: &Path) -> Result<(), BackupError> {
    match fs::read_dir(dir) {
        Ok(entries) => {
            let ours = |name: &OsStr| name != "lost+found" && name != PART;
            let mut entries = entries.filter_map(Result::ok);
            match entries.any(|entry| ours(&entry.file_name())) {
                false => Ok(()),
                true => Err(BackupError::NotEmpty(dir.to_path_buf())),
            }
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(io("looking at the target", error).into()),
    }
}

/// Bytes copied between two words of progress.
const CHUNK: u64 = 16 * 1024 * 1024;

/// Copies files and tells how far it is.
struct Copier<'a> {
    bytes: u64,
    progress: &'a mut dyn FnMut(u64),
}

impl<'a> Copier<'a> {
    fn new(progress: &'a mut dyn FnMut(u64)) -> Self {
        Self { bytes: 0, progress }
    }

    /// Copies the newest image whose copy is whole.
    fn newest_image(&mut self, from: &Path, to: &Path) -> Result<Option<ImageInfo>, Fault> {
        for (_, path) in image::reader::list(&image::dir_in(from))? {
            // Its header first: something else may be of any size.
            if let Err(bad) = image::reader::Image::open(&path) {
                tracing::warn!(event = "backup.bad_image", why = %bad);
                continue;
            }
            let copy = self.put(&path, &image::dir_in(to), u64::MAX)?;
            match image::reader::verify(&copy) {
                Ok(info) => return Ok(Some(info)),
                Err(bad) => {
                    tracing::warn!(event = "backup.bad_image", why = %bad);
                    fs::remove_file(copy).map_err(|error| io("dropping a bad image", error))?;
                }
            }
        }
        Ok(None)
    }

    /// Copies the files with the commits after `start_seq`. The last one may grow meanwhile: any
    /// prefix of it is good.
    fn journal(&mut self, from: &Path, to: &Path, start_seq: u64) -> Result<(), Fault> {
        let files = journal::list(&journal::dir_in(from))?;
        let older = files.partition_point(|file| file.first_seq <= start_seq + 1);
        for file in &files[older.saturating_sub(1)..] {
            self.put(&file.path, &journal::dir_in(to), reader::MOST_BYTES)?;
        }
        Ok(())
    }

    fn put(&mut self, file: &Path, dir: &Path, most: u64) -> Result<PathBuf, Fault> {
        fs::create_dir_all(dir).map_err(|error| io("creating a directory", error))?;
        let target = dir.join(file.file_name().unwrap_or_default());
        self.file(file, &target, most)?;
        Ok(target)
    }

    /// Copies a file that has at most `most` bytes, if it is one of ours.
    fn file(&mut self, from: &Path, to: &Path, most: u64) -> Result<(), Fault> {
        let copying = |error| io("copying a file", Cause::at(from, error));
        let source = regular::open(from).map_err(copying)?;
        // As it is now: one that grows faster than it is copied would never end.
        let mut left = source.metadata().map_err(copying)?.len();
        if left > most {
            let why = format!(
                "{}: it has {left} bytes, where {most} are the most there can be",
                from.display()
            );
            return Err(io("copying a file", why));
        }
        let mut target = File::create(to).map_err(copying)?;
        while left > 0 {
            let chunk = std::io::copy(&mut (&source).take(left.min(CHUNK)), &mut target);
            let copied = chunk.map_err(copying)?;
            if copied == 0 {
                break;
            }
            left -= copied.min(left);
            self.bytes += copied;
            (self.progress)(self.bytes);
        }
        target.sync_all().map_err(copying)
    }
}

fn sync_tree(dir: &Path) -> Result<(), Fault> {
    for part in [image::dir_in(dir), journal::dir_in(dir)] {
        if part.exists() {
            sync_dir(&part)?;
        }
    }
    sync_dir(dir)
}

/// Makes the name of a directory survive a power cut.
fn sync_parent(dir: &Path) -> Result<(), Fault> {
    sync_dir(dir.parent().filter(|parent| *parent != Path::new("")).unwrap_or(Path::new(".")))
}

fn copied(source: &Source, dir: &Path) -> Result<Copied, BackupError> {
    let journals = journal::list(&journal::dir_in(dir))?;
    let image_bytes = source.image.as_ref().map_or(0, |image| image.bytes);
    Ok(Copied {
        start_seq: source.start_seq(),
        last_seq: source.last_seq,
        image_rows: source.image.as_ref().map_or(0, ImageInfo::rows),
        bytes: image_bytes + journals.iter().map(|file| file.bytes).sum::<u64>(),
        last_at: last_commit_at(dir),
    })
}

fn io(doing: &'static str, cause: impl Into<Cause>) -> Fault {
    Fault::io(doing, cause)
}
