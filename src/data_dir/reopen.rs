//! Opening a base that is there: after a clean stop or a crash. The second table of
//! [`super::plan`].

use std::path::Path;

use super::identity::{FileId, Identity, InstanceId};
use super::journal::commit::{Broken, BrokenKind, Commit};
use super::journal::reader::JournalReader;
use super::journal::{self};
use super::opened::{How, Opened, Parts, begin, sync_last_journal};
use super::plan::{Base, Plan, RebuildWhy};
use super::progress::Progress;
use super::refusal::{Reason, Refused};
use super::source::refused;
use super::source::{self, BuildError};
use super::store_files;
use crate::caught::caught;
use crate::kv::Fault;
use crate::kv::sled::SledKv;
use crate::limits;
use crate::store::applied;
use crate::store::schema::LAYOUTS;
use crate::store::upgrade;

/// What came of it.
pub(super) enum Outcome {
    /// It is open and holds everything.
    Opened(Box<Opened>),
    /// It has to be made anew.
    Rebuild {
        /// Why.
        why: RebuildWhy,
        /// The commit that the new one must reach.
        reached: u64,
    },
}

/// Opens the base and applies what the journal has beyond it.
pub(super) fn open(
    data_dir: &Path,
    identity: &mut Identity,
    plan: &Plan,
    cache_bytes: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Outcome, Refused> {
    let exact = matches!(plan.base, Base::Exact { .. });
    let tail = if exact { None } else { refuse_short_journal(data_dir, plan)? };
    // The clean mark goes before sled writes anything.
    identity.clean = None;
    identity.store = FileId::at(&store_files::main_file(data_dir));
    identity.write(data_dir)?;
    sync_last_journal(data_dir)?;
    progress(Progress::OpeningStore);
    let opened = guarded(|| {
        let kv = SledKv::open(&store_files::dir_in(data_dir), cache_bytes, &LAYOUTS)?;
        let applied = applied(&kv)?;
        if applied >= plan.base_reached {
            upgrade::base(&kv).map_err(BuildError::from)?;
        }
        Ok((kv, applied))
    })?;
    let rebuild = |why, reached| Ok(Outcome::Rebuild { why, reached });
    let (kv, applied) = match opened {
        Ok(opened) => opened,
        Err(why) => return rebuild(why, plan.journal_reached),
    };
    let wrong = match plan.base {
        Base::Exact { seq } | Base::Unchecked { seq } => applied != seq,
        Base::Crashed => applied < plan.base_reached,
        Base::Create | Base::Rebuild(_) => true,
    };
    let reached = plan.journal_reached.max(applied);
    if wrong {
        return rebuild(RebuildWhy::Behind { applied }, reached);
    }
    if exact {
        set_strays_aside(data_dir, applied)?;
    }
    let follow = match &tail {
        Some(tail) => Follow { journal: Ok((tail.last, tail.writer)), gap: false },
        None => follow(data_dir, applied, exact)?,
    };
    let (last_seq, writer) = match follow.journal {
        Ok(end) => end,
        Err(_) if source::find(data_dir, reached)?.is_ok() => {
            return rebuild(RebuildWhy::Behind { applied }, reached);
        }
        Err(broken) => return Err(Reason::Journal(broken).into()),
    };
    if last_seq < reached {
        return Err(Reason::JournalShort { last: last_seq, reached }.into());
    }
    let replayed = match guarded(|| {
        if last_seq == applied {
            return Ok(0);
        }
        match tail.and_then(|tail| tail.commits) {
            Some(commits) => source::apply_read(&kv, applied, commits, progress),
            None => source::replay(data_dir, &kv, applied, last_seq, progress),
        }
        .map_err(Attempt::from)
    })? {
        Ok(replayed) => replayed,
        Err(why) => return rebuild(why, reached),
    };
    let crashed = plan.base == Base::Crashed;
    let how = if crashed { How::Recovered { replayed } } else { How::Clean };
    let image_wanted = follow.gap;
    let parts = Parts { last_seq, writer, how, image_wanted };
    Ok(Outcome::Opened(Box::new(begin(data_dir, identity, kv, parts)?)))
}

/// A base that was checked byte by byte holds the last commit that was made: journal files that begin
/// after the next one are of another directory, and would break every copy of this one.
fn set_strays_aside(data_dir: &Path, applied: u64) -> Result<(), Fault> {
    for file in journal::list(&journal::dir_in(data_dir))? {
        if file.first_seq > applied + 1 {
            let aside = file.path.with_extension("stray");
            tracing::warn!(
                event = "archive.stray_journal", path = %aside.display(), last = applied,
                "this journal file begins after the last commit: it is of another directory and was set aside"
            );
            std::fs::rename(&file.path, &aside)
                .map_err(|error| Fault::io("setting a stray journal file aside", error))?;
        }
    }
    Ok(())
}

struct Follow {
    /// The last commit and who wrote it.
    journal: Result<(u64, InstanceId), Broken>,
    /// The base holds commits that the archived files do not; only a new image closes that.
    gap: bool,
}

/// Checks what the journal has beyond the base. A base that was checked byte by byte needs nothing
/// of it: what the journal lost is in the base.
fn follow(data_dir: &Path, applied: u64, exact: bool) -> Result<Follow, Fault> {
    let journal = check_journal(data_dir, applied);
    Ok(match journal {
        Ok((last, writer)) if exact && last < applied => {
            Follow { journal: Ok((applied, writer)), gap: true }
        }
        Ok((last, InstanceId(0))) if exact => {
            Follow { journal: Ok((last, InstanceId(0))), gap: true }
        }
        Err(broken) if exact && broken.kind != BrokenKind::Newer => {
            tracing::warn!(event = "archive.journal_broken", why = %broken);
            Follow {
                journal: Ok((applied, source::last_writer(data_dir)?.unwrap_or(InstanceId(0)))),
                gap: true,
            }
        }
        journal => Follow { journal, gap: false },
    })
}

/// The journal behind what the base certainly holds, checked to its end, and read.
pub(super) struct Tail {
    last: u64,
    writer: InstanceId,
    /// Its commits; `None` when they are too many to be kept until the base is open.
    commits: Option<Vec<Commit>>,
}

impl Tail {
    /// Reads the commits after `known`.
    fn read(data_dir: &Path, known: u64) -> Result<Self, Broken> {
        let mut reader = JournalReader::open(&journal::dir_in(data_dir), known + 1)?;
        let (mut commits, mut bytes) = (Vec::new(), 0);
        while let Some(commit) = reader.next_commit()? {
            bytes += commit.weight();
            commits.push(commit);
            if bytes > limits::TAIL_BYTES {
                let last = reader.check_to_end()?;
                let writer = reader.writer().unwrap_or(InstanceId(0));
                return Ok(Self { last, writer, commits: None });
            }
        }
        let (last, writer) = (reader.last_seq(), reader.writer().unwrap_or(InstanceId(0)));
        Ok(Self { last, writer, commits: Some(commits) })
    }
}

/// What the base certainly holds.
fn base_holds(plan: &Plan) -> u64 {
    plan.base_reached.max(match plan.base {
        Base::Unchecked { seq } | Base::Exact { seq } => seq,
        Base::Crashed | Base::Create | Base::Rebuild(_) => 0,
    })
}

/// Refuses before anything is touched when the journal ends before what was certainly reached; else
/// gives what was read of it. `None` when it is broken: what that means depends on where the base is.
pub(super) fn refuse_short_journal(data_dir: &Path, plan: &Plan) -> Result<Option<Tail>, Refused> {
    let reached = plan.journal_reached;
    if journal::list(&journal::dir_in(data_dir))?.is_empty() {
        return Err(Reason::JournalShort { last: 0, reached: reached.max(1) }.into());
    }
    match Tail::read(data_dir, base_holds(plan)) {
        Ok(Tail { last, .. }) if last < reached => {
            Err(Reason::JournalShort { last, reached }.into())
        }
        Ok(tail) => Ok(Some(tail)),
        Err(_) => Ok(None),
    }
}

/// Refuses when the journal is broken behind what the base certainly holds, and nothing else could stand
/// in for it. A base that holds more than is known may still be opened: only opening it tells.
pub(super) fn refuse_broken_journal(data_dir: &Path, plan: &Plan) -> Result<(), Refused> {
    match check_journal(data_dir, base_holds(plan)) {
        Err(broken) if source::find(data_dir, plan.journal_reached)?.is_err() => {
            Err(Reason::Journal(broken).into())
        }
        Ok(_) | Err(_) => Ok(()),
    }
}

fn check_journal(data_dir: &Path, applied: u64) -> Result<(u64, InstanceId), Broken> {
    let mut reader = JournalReader::open(&journal::dir_in(data_dir), applied + 1)?;
    let last = reader.check_to_end()?;
    Ok((last, reader.writer().unwrap_or(InstanceId(0))))
}

/// Why work on the base ended early.
enum Attempt {
    Store(Fault),
    Refused(Refused),
}

impl From<Fault> for Attempt {
    fn from(fault: Fault) -> Self {
        Self::Store(fault)
    }
}

impl From<BuildError> for Attempt {
    fn from(error: BuildError) -> Self {
        match error {
            BuildError::Fault(fault) => Self::Store(fault),
            other => Self::Refused(refused(other)),
        }
    }
}

/// Runs work on a base that may be damaged: sled answers damage with errors and with panics.
fn guarded<T>(work: impl FnOnce() -> Result<T, Attempt>) -> Result<Result<T, RebuildWhy>, Refused> {
    match caught(work) {
        Ok(Ok(done)) => Ok(Ok(done)),
        Ok(Err(Attempt::Refused(refused))) => Err(refused),
        // A rebuild would need even more space, and the base is not to blame.
        Ok(Err(Attempt::Store(fault))) if fault.is_disk_full() => Err(fault.into()),
        Ok(Err(Attempt::Store(fault))) => Ok(Err(RebuildWhy::Unusable(fault.to_string()))),
        Err(panic) => Ok(Err(RebuildWhy::Unusable(panic))),
    }
}
