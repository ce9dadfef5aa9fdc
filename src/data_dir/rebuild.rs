//! Making the base anew, from an image and the journal.
//!
//! The new one is built beside the old one, which stays where it is until the new one is whole and
//! on disk. How much room that takes cannot be known before: an image may pack to a twentieth, and a
//! journal may delete all that it puts. So it is tried; when the disk runs low, first the bases go
//! that were set aside earlier, then the present one, if it is the one that cannot be used. All that
//! the new one is made of has been checked by then.

use std::fs;
use std::path::Path;

use super::census::Census;
use super::identity::{FileId, Identity};
use super::image::reader::LoadError;
use super::opened::{self, How, Opened, Parts};
use super::plan::{Plan, RebuildWhy};
use super::progress::Progress;
use super::refusal::{Reason, Refused};
use super::source::{self, BuildError, Source};
use super::{mark, store_files, sync_dir};
use crate::caught::caught;
use crate::kv::sled::SledKv;
use crate::kv::{Fault, Kv, free_bytes};
use crate::store::schema::LAYOUTS;

/// What a rebuild leaves free: for closing the new base, and for others.
const RESERVE_BYTES: u64 = 16 * 1024 * 1024;

/// Replaces the base. An old one that cannot be used is set aside as evidence; another one goes.
pub(super) fn rebuild(
    data_dir: &Path,
    mut identity: Identity,
    plan: &Plan,
    why: RebuildWhy,
    cache_bytes: u64,
    progress: &mut dyn FnMut(Progress),
) -> Result<Opened, Refused> {
    let source = source::source_for(data_dir, plan.journal_reached, plan.copied_stop(), &why)?;
    tracing::warn!(
        event = "archive.rebuild", why = %why, start = source.start_seq(), last = source.last_seq
    );
    opened::sync_last_journal(data_dir)?;
    let mut job = Job { data_dir, source: &source, cache_bytes, progress };
    let built = job.build_making_room(&mut identity, &why)?;
    // From here on the identity vouches for no store: an interrupted change begins again.
    disown(data_dir, &mut identity)?;
    let aside = store_files::set_aside(data_dir)?;
    fs::rename(store_files::building_in(data_dir), store_files::dir_in(data_dir))
        .map_err(|error| Fault::io("moving the rebuilt store to its place", error))?;
    sync_dir(data_dir)?;
    identity.store = FileId::at(&store_files::main_file(data_dir));
    identity.write(data_dir)?;
    progress(Progress::OpeningStore);
    let kv = match reopen(data_dir, cache_bytes, &built) {
        Ok(kv) => kv,
        Err(refused) => {
            // Opening is destructive: what it met may be gone from the files by now.
            disown(data_dir, &mut identity)?;
            return Err(refused);
        }
    };
    mark::clear_suspect(data_dir)?;
    match aside {
        Some(aside) if why.spares_the_store() => store_files::remove(&aside)?,
        Some(aside) => {
            tracing::warn!(event = "archive.store_set_aside", path = %aside.display());
        }
        None => {}
    }
    let replayed = source.last_seq - source.start_seq();
    let parts = Parts {
        last_seq: source.last_seq,
        writer: source.writer,
        how: How::Rebuilt { why, rows: built.image_rows, replayed },
        image_wanted: true,
    };
    opened::begin(data_dir, &mut identity, kv, parts)
}

/// Opens what was built, in its place, and reads it back. sled takes a file whose first reads fail for
/// an empty one: served like that, an image of the emptiness would replace the good one.
fn reopen(data_dir: &Path, cache_bytes: u64, built: &Built) -> Result<SledKv, Refused> {
    let read = || -> Result<(SledKv, Census), Fault> {
        let kv = SledKv::open(&store_files::dir_in(data_dir), cache_bytes, &LAYOUTS)?;
        let census = Census::of(&kv)?;
        Ok((kv, census))
    };
    let (kv, census) = match caught(read) {
        Ok(read) => read?,
        Err(panic) => return Err(Reason::ReadsDifferently(panic).into()),
    };
    if census != built.census {
        return Err(Reason::ReadsDifferently(census.beside(&built.census)).into());
    }
    Ok(kv)
}

fn disown(data_dir: &Path, identity: &mut Identity) -> Result<(), Fault> {
    identity.store = None;
    identity.clean = None;
    identity.write(data_dir)
}

/// A new base, closed again.
struct Built {
    /// Rows of the image it was made from.
    image_rows: u64,
    census: Census,
}

struct Job<'a> {
    data_dir: &'a Path,
    source: &'a Source,
    cache_bytes: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl Job<'_> {
    /// Builds the new base beside the old one.
    fn build_making_room(
        &mut self,
        identity: &mut Identity,
        why: &RebuildWhy,
    ) -> Result<Built, Refused> {
        let free = free_bytes(self.data_dir).unwrap_or(0);
        if let Some(built) = self.build()? {
            return Ok(built);
        }
        if !store_files::asides(self.data_dir)?.is_empty() {
            store_files::keep_asides(self.data_dir, 0)?;
            if let Some(built) = self.build()? {
                return Ok(built);
            }
        }
        let old = store_files::dir_in(self.data_dir);
        if !why.spares_the_store() && old.exists() {
            tracing::warn!(event = "archive.no_room", "there is no room for the old store as well");
            disown(self.data_dir, identity)?;
            store_files::remove(&old)?;
            if let Some(built) = self.build()? {
                return Ok(built);
            }
        }
        Err(Reason::NoRoom { free }.into())
    }

    /// Builds it, if the disk has room. Else nothing is left of it.
    fn build(&mut self) -> Result<Option<Built>, Refused> {
        let building = store_files::building_in(self.data_dir);
        let made = caught(|| self.build_in(&building))
            .unwrap_or_else(|panic| Err(BuildError::Panicked(panic)));
        let full = match &made {
            Ok(_) => return made.map(Some).map_err(source::refused),
            Err(BuildError::Fault(fault) | BuildError::Image(LoadError::Fault(fault))) => {
                fault.is_disk_full()
            }
            Err(
                BuildError::Broken(_)
                | BuildError::Image(LoadError::Bad(_))
                | BuildError::Newer(_)
                | BuildError::Panicked(_),
            ) => false,
        };
        if building.exists() {
            store_files::remove(&building)?;
        }
        if full { Ok(None) } else { made.map(Some).map_err(source::refused) }
    }

    fn build_in(&mut self, building: &Path) -> Result<Built, BuildError> {
        let kv = SledKv::open(building, self.cache_bytes, &LAYOUTS)?.keeping_free(RESERVE_BYTES);
        let image_rows = source::build(self.data_dir, self.source, &kv, self.progress)?;
        kv.sync()?;
        Ok(Built { image_rows, census: Census::of(&kv)? })
    }
}
