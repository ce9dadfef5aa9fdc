//! Opening a data directory: carries out what [`super::decide`] decides.
//!
//! Whoever calls this holds the lease: nobody else may be at work in the directory.

use std::fs::{self, File};
use std::path::Path;

use super::decide::{Base, Decision, Origin, RebuildWhy, decide};
use super::identity::{self, FileId, Found, HeldReason, Identity, InstanceId, Stage};
use super::journal::{self, JournalWriter};
use super::mark::Mark;
use super::rebuild::rebuild;
use super::refused::Reason;
use super::source::{self, BuildError, Source};
use super::{existing, image, retention, store_files, sync_dir};
use crate::kv::sled::SledKv;
use crate::kv::{Fault, Kv};
use crate::regular;

pub use super::refused::{Refused, RefusedKind};
pub use super::store_files::settle_store;

/// What a start is doing, for people who wait and for the service manager's timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// sled opens its files: up to half a minute for millions of rows, without further news.
    OpeningStore,
    /// An image is loaded into a new base.
    LoadingImage {
        /// Rows so far.
        rows: u64,
        /// All rows.
        of: u64,
    },
    /// The journal is applied.
    Replaying {
        /// The commit just applied.
        seq: u64,
        /// The last one.
        last: u64,
    },
}

/// How to open.
pub struct OpenOptions<'a> {
    /// sled's page cache in bytes.
    pub cache_bytes: u64,
    /// Lift any hold: the operator vouches that no other copy of this directory is at work.
    pub adopt: bool,
    /// Make the base anew although it is good: it gives back the space of what was deleted.
    pub rebuild: bool,
    /// Called now and then, from the same thread.
    pub progress: &'a mut dyn FnMut(Progress),
}

/// How the state was reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum How {
    /// The directory was created.
    Fresh,
    /// The base was closed cleanly and held everything.
    Clean,
    /// The base was opened after a crash.
    Recovered {
        /// Commits taken from the journal.
        replayed: u64,
    },
    /// The base was made anew.
    Rebuilt {
        /// Why.
        why: RebuildWhy,
        /// Rows of the image it was made from; 0 without one.
        rows: u64,
        /// Commits taken from the journal.
        replayed: u64,
    },
}

impl std::fmt::Display for How {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fresh => write!(f, "new"),
            Self::Clean => write!(f, "as it was closed"),
            Self::Recovered { replayed } => {
                write!(f, "after a crash, with {replayed} commits of the journal")
            }
            Self::Rebuilt { why, rows, replayed } => write!(
                f,
                "made anew from {rows} rows of an image and {replayed} commits of the journal: {why}"
            ),
        }
    }
}

/// An open data directory. The base holds every commit before `next_seq`.
pub struct Opened {
    /// The base.
    pub kv: SledKv,
    /// The journal, at the beginning of a new file.
    pub journal: JournalWriter,
    /// The number of the next commit.
    pub next_seq: u64,
    /// Who this directory is.
    pub instance: InstanceId,
    /// Why nothing may be sent or handed out, if so.
    pub held: Option<HeldReason>,
    /// How the state was reached.
    pub how: How,
    /// A new image should be made soon: the state does not follow from the archived files alone,
    /// or following it took long. An ordinary crash is no reason: one after the other would fill
    /// the disk with images.
    pub image_wanted: bool,
}

/// Opens, creates, recovers or rebuilds the directory, or refuses and says what to do.
pub fn open(data_dir: &Path, options: OpenOptions<'_>) -> Result<Opened, Refused> {
    fs::create_dir_all(data_dir)
        .map_err(|error| Fault::io("creating the data directory", error))?;
    let decision = decide(data_dir)?;
    if store_files::in_use(data_dir) {
        return Err(Reason::InUse.into());
    }
    remove_leftovers(data_dir)?;
    let mut identity = identity_for(&decision)?;
    if matches!(decision.origin, Origin::Copy(_) | Origin::Unknown) {
        adopt_files(data_dir, &mut identity)?;
    }
    if options.adopt {
        identity.held = None;
    }
    let OpenOptions { cache_bytes, progress, rebuild: anew, .. } = options;
    match &decision.base {
        Base::Create => create(data_dir, identity, cache_bytes),
        Base::Rebuild(why) => {
            let kept = identity.clone();
            match rebuild(data_dir, identity, &decision, why.clone(), cache_bytes, progress) {
                Err(Refused { reason, .. }) if why.may_be_opened(&reason) => {
                    tracing::warn!(event = "archive.not_rebuilt", why = %reason, "opening the store as it is");
                    let crashed = Decision { base: Base::Crashed, ..decision };
                    open_existing(data_dir, kept, &crashed, cache_bytes, progress)
                }
                done => done,
            }
        }
        Base::Exact { .. } | Base::Unchecked { .. } | Base::Crashed if anew => {
            rebuild(data_dir, identity, &decision, RebuildWhy::Asked, cache_bytes, progress)
        }
        Base::Exact { .. } | Base::Unchecked { .. } | Base::Crashed => {
            open_existing(data_dir, identity, &decision, cache_bytes, progress)
        }
    }
}

fn open_existing(
    data_dir: &Path,
    mut identity: Identity,
    decision: &Decision,
    cache_bytes: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened, Refused> {
    match existing::open(data_dir, &mut identity, decision, cache_bytes, progress)? {
        existing::Outcome::Opened(opened) => Ok(*opened),
        existing::Outcome::Rebuild { why, reached } => {
            let decision = Decision { journal_reached: reached, ..decision.clone() };
            rebuild(data_dir, identity, &decision, why, cache_bytes, progress)
        }
    }
}

/// What this instance takes over was written by another one, or by whoever copied it: that may not
/// be on the disk yet.
fn adopt_files(data_dir: &Path, identity: &mut Identity) -> Result<(), Fault> {
    identity.from = source::last_writer(data_dir)?;
    File::open(data_dir)
        .and_then(|dir| Ok(rustix::fs::syncfs(dir)?))
        .map_err(|error| Fault::io("syncing a copied directory", error))
}

/// Bytes of the base's files; 0 without a base.
#[must_use]
pub fn store_bytes(data_dir: &Path) -> u64 {
    store_files::bytes(data_dir)
}

/// Notes that everything up to commit `seq` is in the base and the base is closed, so that the next
/// start need not recover. The base must have been dropped, after holding everything.
pub fn close_clean(data_dir: &Path, seq: u64) -> Result<(), Fault> {
    let Found::Identity(mut identity) = identity::read(data_dir)? else {
        return Err(Fault::io("closing the data directory", "its identity is gone"));
    };
    Mark { instance: identity.instance, journal_seq: seq, base_seq: seq }.write(data_dir)?;
    identity.clean = Some(store_files::describe(data_dir, seq)?);
    identity.write(data_dir)
}

fn identity_for(decision: &Decision) -> Result<Identity, Fault> {
    match &decision.origin {
        Origin::InPlace(identity) => Ok(identity.as_ref().clone()),
        Origin::New => Identity::new(Stage::Creating, None),
        Origin::Copy(_) | Origin::Unknown => Identity::new(Stage::Established, decision.held()),
    }
}

fn create(data_dir: &Path, mut identity: Identity, cache_bytes: u64) -> Result<Opened, Refused> {
    // An interrupted creation left nothing that was ever accepted.
    for dir in [store_files::dir_in(data_dir), journal::dir_in(data_dir), image::dir_in(data_dir)] {
        if dir.exists() {
            fs::remove_dir_all(&dir)
                .map_err(|error| Fault::io("clearing an interrupted creation", error))?;
        }
    }
    identity.write(data_dir)?;
    if let Some(parent) = data_dir.canonicalize().ok().as_deref().and_then(Path::parent) {
        sync_dir(parent)?;
    }
    let kv = SledKv::open(&store_files::dir_in(data_dir), cache_bytes)?;
    fs::create_dir_all(image::dir_in(data_dir))
        .map_err(|error| Fault::io("creating the images' directory", error))?;
    let parts = Parts { last_seq: 0, writer: InstanceId(0), how: How::Fresh, image_wanted: false };
    begin(data_dir, &mut identity, kv, parts)
}

/// Removes what interrupted work left and only takes space. Nobody may be at work in the directory:
/// call it with the lease.
pub fn remove_leftovers(data_dir: &Path) -> Result<(), Fault> {
    let building = store_files::building_in(data_dir);
    if building.exists() {
        store_files::remove(&building)?;
    }
    for path in retention::unfinished(&image::dir_in(data_dir))? {
        fs::remove_file(&path).map_err(|error| Fault::io("removing an unfinished image", error))?;
    }
    Ok(())
}

/// What the base is rebuilt from, or why it cannot be. Reading only.
pub(super) fn source_for(
    data_dir: &Path,
    decision: &Decision,
    why: &RebuildWhy,
) -> Result<Source, Refused> {
    match source::find(data_dir, decision.journal_reached)? {
        Ok(source) => Ok(source),
        Err(none) if none.newer => Err(Reason::Newer(none.why).into()),
        Err(none) => Err(match spans_stop(data_dir)? {
            Some(spans_stop) => spans_stop,
            None => Reason::NoSource { wanted: why.to_string(), why: none.why },
        }
        .into()),
    }
}

/// Whether only the commits shortly before a clean stop stand against a copy.
pub(super) fn spans_stop(data_dir: &Path) -> Result<Option<Reason>, Fault> {
    let Found::Identity(original) = identity::read(data_dir)? else { return Ok(None) };
    let Some(clean) = original.clean.filter(|_| original.is_copy(data_dir)) else {
        return Ok(None);
    };
    let source = source::find(data_dir, 0)?.ok();
    Ok(source.map(|found| Reason::SpansStop { last: found.last_seq, stopped: clean.seq }))
}

/// What is known when base and journal agree.
pub(super) struct Parts {
    pub(super) last_seq: u64,
    pub(super) writer: InstanceId,
    pub(super) how: How,
    pub(super) image_wanted: bool,
}

/// The last steps of every way: a new journal file, the mark, the identity.
pub(super) fn begin(
    data_dir: &Path,
    identity: &mut Identity,
    kv: SledKv,
    parts: Parts,
) -> Result<Opened, Refused> {
    let Parts { last_seq, writer, how, image_wanted } = parts;
    let instance = identity.instance;
    let next_seq = last_seq + 1;
    let journal = JournalWriter::create(&journal::dir_in(data_dir), next_seq, instance, writer)?;
    kv.sync()?;
    Mark { instance, journal_seq: last_seq, base_seq: last_seq }.write(data_dir)?;
    // After the mark: an established directory without one is a copy that was cut off.
    if identity.stage == Stage::Creating {
        identity.stage = Stage::Established;
        identity.store = FileId::at(&store_files::main_file(data_dir));
        identity.write(data_dir)?;
    }
    Ok(Opened { kv, journal, next_seq, instance, held: identity.held, how, image_wanted })
}

/// A commit that a crashed process wrote but did not sync is about to count: sync it first, else a
/// power cut could take it from the journal while the base keeps it.
pub(super) fn sync_last_journal(data_dir: &Path) -> Result<(), Fault> {
    if let Some(last) = journal::list(&journal::dir_in(data_dir))?.last() {
        regular::open(&last.path)
            .and_then(|file| file.sync_all())
            .map_err(|error| Fault::io("syncing the journal's last file", error))?;
    }
    Ok(())
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
