//! Opening a data directory: carries out what [`super::plan`] says of a [`Survey`].
//!
//! Whoever calls this holds the lease: nobody else may be at work in the directory.

use std::fs::{self, File};
use std::path::Path;

use super::identity::{self, Found, Identity, InstanceId, Stage};
use super::journal::{self};
use super::mark::Mark;
use super::opened::{Parts, begin};
use super::plan::{Base, Origin, Plan, RebuildWhy, plan};
use super::rebuild::rebuild;
use super::refusal::Reason;
use super::survey::Survey;
use super::{image, reopen, retention, store_files, sync_dir};
use crate::kv::Fault;
use crate::kv::sled::SledKv;
use crate::store::schema::LAYOUTS;

pub use super::opened::{How, Opened};
pub use super::progress::Progress;
pub use super::refusal::{Refused, RefusedKind};
pub use super::store_files::settle_store;

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

/// Opens, creates, recovers or rebuilds the directory, or refuses and says what to do.
pub fn open(data_dir: &Path, options: OpenOptions<'_>) -> Result<Opened, Refused> {
    fs::create_dir_all(data_dir)
        .map_err(|error| Fault::io("creating the data directory", error))?;
    let survey = Survey::of(data_dir)?;
    if let Found::Damaged(why) = &survey.identity {
        tracing::warn!(event = "archive.identity_damaged", why);
    }
    let plan = plan(&survey)?;
    if store_files::in_use(data_dir) {
        return Err(Reason::InUse.into());
    }
    remove_leftovers(data_dir)?;
    let mut identity = identity_for(&plan)?;
    if matches!(plan.origin, Origin::Copy(_) | Origin::Unknown) {
        identity.from = survey.last_writer;
        sync_files(data_dir)?;
    }
    if options.adopt {
        identity.held = None;
    }
    let OpenOptions { cache_bytes, progress, rebuild: anew, .. } = options;
    match &plan.base {
        Base::Create => create(data_dir, identity, cache_bytes),
        Base::Rebuild(why) => {
            let kept = identity.clone();
            match rebuild(data_dir, identity, &plan, why.clone(), cache_bytes, progress) {
                Err(Refused { reason, .. }) if why.may_be_opened(&reason) => {
                    tracing::warn!(event = "archive.not_rebuilt", why = %reason, "opening the store as it is");
                    let crashed = Plan { base: Base::Crashed, ..plan };
                    open_existing(data_dir, kept, &crashed, cache_bytes, progress)
                }
                done => done,
            }
        }
        Base::Exact { .. } | Base::Unchecked { .. } | Base::Crashed if anew => {
            rebuild(data_dir, identity, &plan, RebuildWhy::Asked, cache_bytes, progress)
        }
        Base::Exact { .. } | Base::Unchecked { .. } | Base::Crashed => {
            open_existing(data_dir, identity, &plan, cache_bytes, progress)
        }
    }
}

fn open_existing(
    data_dir: &Path,
    mut identity: Identity,
    plan: &Plan,
    cache_bytes: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened, Refused> {
    match reopen::open(data_dir, &mut identity, plan, cache_bytes, progress)? {
        reopen::Outcome::Opened(opened) => Ok(*opened),
        reopen::Outcome::Rebuild { why, reached } => {
            let plan = Plan { journal_reached: reached, ..plan.clone() };
            rebuild(data_dir, identity, &plan, why, cache_bytes, progress)
        }
    }
}

/// What this instance takes over was written by another one, or by whoever copied it: that may not
/// be on the disk yet.
fn sync_files(data_dir: &Path) -> Result<(), Fault> {
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

fn identity_for(plan: &Plan) -> Result<Identity, Fault> {
    match &plan.origin {
        Origin::InPlace(identity) => Ok(identity.as_ref().clone()),
        Origin::New => Identity::new(Stage::Creating, None),
        Origin::Copy(_) | Origin::Unknown => Identity::new(Stage::Established, plan.held()),
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
    let kv = SledKv::open(&store_files::dir_in(data_dir), cache_bytes, &LAYOUTS)?;
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
