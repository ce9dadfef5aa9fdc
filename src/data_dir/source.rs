//! Finding an image and its journal from which the exact state can be made, and making it.

use std::path::Path;

use super::identity::InstanceId;
use super::image::{self, ImageInfo};
use super::journal::commit::{Broken, BrokenKind, Commit};
use super::journal::reader::JournalReader;
use super::journal::{self};
use super::progress::Progress;
use super::refusal::{Reason, Refused};
use crate::kv::{Fault, Kv, Write};
use crate::limits;
use crate::store::applied_write;
use crate::store::upgrade::{self, UpgradeError};

/// A whole image and its unbroken journal, or an unbroken journal from commit 1 on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// The image; without one the journal starts from nothing.
    pub image: Option<ImageInfo>,
    /// The last commit of the journal.
    pub last_seq: u64,
    /// Who wrote the last file of the journal.
    pub writer: InstanceId,
}

impl Source {
    /// The commit after which the journal is needed.
    #[must_use]
    pub fn start_seq(&self) -> u64 {
        self.image.as_ref().map_or(0, |image| image.start_seq)
    }
}

/// Nothing usable; what is wrong with each source.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSource {
    /// For people.
    pub why: String,
    /// A newer program could read it.
    pub newer: bool,
}

/// The best source in a data directory or backup: the newest usable image, else the whole journal.
/// The journal must reach commit `reached`. Everything that will be read is checked. Reading only.
pub fn find(data_dir: &Path, reached: u64) -> Result<Result<Source, NoSource>, Fault> {
    let journal_dir = journal::dir_in(data_dir);
    if journal::list(&journal_dir)?.is_empty() {
        let why = "there is no journal".to_owned();
        return Ok(Err(NoSource { why, newer: false }));
    }
    let images = image::reader::list(&image::dir_in(data_dir))?;
    let newest =
        images.iter().find(|(_, path)| image::reader::peek(path).is_ok()).map(|(start, _)| *start);
    let mut problems = Vec::new();
    let mut newer = false;
    let mut note = |problem: Problem| {
        newer |= matches!(&problem, Problem::Broken(Broken { kind: BrokenKind::Newer, .. }));
        problems.push(problem.to_string());
    };
    for (_, path) in images {
        let checked = image::reader::verify(&path).map_err(|bad| Problem::Other(bad.to_string()));
        let source = checked.and_then(|image| {
            let needed = reached.max(image.end_seq);
            let (last_seq, writer) = chain(&journal_dir, image.start_seq, needed)?;
            Ok(Source { image: Some(image), last_seq, writer })
        });
        match source {
            Ok(source) => {
                tell_if_short(newest, &source);
                return Ok(Ok(source));
            }
            Err(problem) => note(problem),
        }
    }
    match chain(&journal_dir, 0, reached) {
        Ok((last_seq, writer)) => {
            let source = Source { image: None, last_seq, writer };
            tell_if_short(newest, &source);
            return Ok(Ok(source));
        }
        Err(problem) => note(problem),
    }
    Ok(Err(NoSource { why: problems.join("; "), newer }))
}

/// A journal never ends before an image, but a copy of it may: then what came last is not in it.
fn tell_if_short(newest_image: Option<u64>, source: &Source) {
    if let Some(image) = newest_image.filter(|start| *start > source.last_seq) {
        let last = source.last_seq;
        tracing::warn!(
            event = "archive.copy_short",
            last,
            image,
            "the journal of this copy ends with commit {last}, and an image of commit {image} is there: \
             what came in between is missing"
        );
    }
}

#[derive(Debug, thiserror::Error)]
enum Problem {
    #[error(transparent)]
    Broken(Broken),
    #[error("{0}")]
    Other(String),
}

fn chain(journal_dir: &Path, start_seq: u64, needed: u64) -> Result<(u64, InstanceId), Problem> {
    let mut reader = JournalReader::open(journal_dir, start_seq + 1).map_err(Problem::Broken)?;
    let last = reader.check_to_end().map_err(Problem::Broken)?;
    if last < needed.max(start_seq) {
        return Err(Problem::Other(format!(
            "the journal ends with commit {last}, but commit {} is needed",
            needed.max(start_seq)
        )));
    }
    Ok((last, reader.writer().unwrap_or(InstanceId(0))))
}

/// Who wrote the journal's last file, as far as its header says.
pub(super) fn last_writer(data_dir: &Path) -> Result<Option<InstanceId>, Fault> {
    let files = journal::list(&journal::dir_in(data_dir))?;
    files.last().map_or(Ok(None), |last| Ok(journal::header(&last.path)?.map(|it| it.instance)))
}

/// What [`build`] and [`replay`] may fail with.
#[derive(Debug, thiserror::Error)]
pub(super) enum BuildError {
    #[error(transparent)]
    Fault(#[from] Fault),
    #[error(transparent)]
    Broken(#[from] Broken),
    #[error(transparent)]
    Image(#[from] image::reader::LoadError),
    #[error("{0}")]
    Newer(String),
    #[error("{0}")]
    Panicked(String),
}

impl From<UpgradeError> for BuildError {
    fn from(error: UpgradeError) -> Self {
        match error {
            UpgradeError::Fault(fault) => Self::Fault(fault),
            newer @ UpgradeError::Newer(_) => Self::Newer(newer.to_string()),
        }
    }
}

/// Makes the exact state of `source` in the empty `kv`; gives the image's rows.
pub(super) fn build(
    data_dir: &Path,
    source: &Source,
    kv: &dyn Kv,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, BuildError> {
    let mut image_rows = 0;
    if let Some(image) = &source.image {
        let of = image.rows();
        image::reader::load(&image.path, kv, &mut |rows| {
            progress(Progress::LoadingImage { rows, of })
        })?;
        image_rows = of;
    }
    upgrade::base(kv)?;
    kv.apply(&[applied_write(source.start_seq())])?;
    replay(data_dir, kv, source.start_seq(), source.last_seq, progress)?;
    Ok(image_rows)
}

/// Applies the journal after commit `applied`; gives how many commits that were.
pub(super) fn replay(
    data_dir: &Path,
    kv: &dyn Kv,
    applied: u64,
    last: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, BuildError> {
    let mut reader = JournalReader::open(&journal::dir_in(data_dir), applied + 1)?;
    apply(kv, applied, last, &mut || reader.next_commit(), progress)
}

/// Applies commits that were read before, those after `applied`.
pub(super) fn apply_read(
    kv: &dyn Kv,
    applied: u64,
    commits: Vec<Commit>,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, BuildError> {
    let last = commits.last().map_or(applied, |commit| commit.seq);
    let mut commits = commits.into_iter().filter(|commit| commit.seq > applied);
    apply(kv, applied, last, &mut || Ok(commits.next()), progress)
}

fn apply(
    kv: &dyn Kv,
    applied: u64,
    last: u64,
    next: &mut dyn FnMut() -> Result<Option<Commit>, Broken>,
    progress: &mut dyn FnMut(Progress),
) -> Result<u64, BuildError> {
    let mut batch: Vec<Write> = Vec::new();
    let (mut bytes, mut unsynced) = (0, 0);
    let mut seq = applied;
    while let Some(commit) = next()? {
        seq = commit.seq;
        bytes += commit.weight();
        batch.extend(commit.writes.into_iter().map(upgrade::write));
        if bytes >= limits::REPLAY_BYTES {
            kv.apply(&batch)?;
            batch.clear();
            unsynced += std::mem::take(&mut bytes);
            if unsynced >= limits::REPLAY_SYNC_BYTES {
                unsynced = 0;
                note_applied(kv, seq)?;
            }
            progress(Progress::Replaying { seq, last });
        }
    }
    if seq > applied {
        kv.apply(&batch)?;
        note_applied(kv, seq)?;
        upgrade::base(kv)?;
        progress(Progress::Replaying { seq, last });
    }
    Ok(seq - applied)
}

/// Says what the base holds, once that is on disk.
fn note_applied(kv: &dyn Kv, seq: u64) -> Result<(), Fault> {
    kv.sync()?;
    kv.apply(&[applied_write(seq)])
}

/// What the base is rebuilt from, or why it cannot be. `copied_stop` is the commit of the clean stop that
/// a copy knows of. Reading only.
pub(super) fn source_for(
    data_dir: &Path,
    reached: u64,
    copied_stop: Option<u64>,
    why: &dyn std::fmt::Display,
) -> Result<Source, Refused> {
    match find(data_dir, reached)? {
        Ok(source) => Ok(source),
        Err(none) if none.newer => Err(Reason::Newer(none.why).into()),
        Err(none) => Err(match spans_stop(data_dir, copied_stop)? {
            Some(spans_stop) => spans_stop,
            None => Reason::NoSource { wanted: why.to_string(), why: none.why },
        }
        .into()),
    }
}

/// Whether only the commits shortly before a clean stop stand against a copy.
pub(super) fn spans_stop(
    data_dir: &Path,
    copied_stop: Option<u64>,
) -> Result<Option<Reason>, Fault> {
    let Some(stopped) = copied_stop else { return Ok(None) };
    let source = find(data_dir, 0)?.ok();
    Ok(source.map(|found| Reason::SpansStop { last: found.last_seq, stopped }))
}

pub(super) fn refused(error: BuildError) -> Refused {
    match error {
        BuildError::Fault(fault) => fault.into(),
        BuildError::Broken(broken) => Reason::Journal(broken).into(),
        BuildError::Image(error) => Fault::io("loading an image", error.to_string()).into(),
        BuildError::Newer(words) => Reason::Newer(words).into(),
        BuildError::Panicked(words) => Reason::CannotBuild(words).into(),
    }
}
