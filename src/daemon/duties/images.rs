//! Images: on a schedule, when the journal has grown, when asked, when there is none to restore from.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::base::{damage, leave_damaged};
use super::newest::{Newest, journal_bytes};
use super::trouble;
use crate::admin::Role;
use crate::api::answers::Backup;
use crate::daemon::panics;
use crate::daemon::phase::{Phase, Phases};
use crate::daemon::state::State;
use crate::data_dir::identity::InstanceId;
use crate::data_dir::{image, retention, source};
use crate::kv::sled::SledKv;
use crate::kv::{Fault, free_bytes};
use crate::mailbox::Mailbox;
use crate::model::attention::{Act, Kind};
use crate::time::{Clock, SystemClock};

/// An image is made when the journal has grown by this much since the last one.
const JOURNAL_GROWTH: u64 = 512 * 1024 * 1024;
/// How often the journal's growth is looked at.
const GROWTH_EVERY: Duration = Duration::from_secs(30);

/// Asks for an image and hears of it.
pub(in crate::daemon) type ImageRequest = oneshot::Sender<Result<Backup, String>>;

/// Makes images: on a schedule, when the journal has grown, when asked, and when there is none that
/// the state could be made from. Removes what images have replaced.
pub(in crate::daemon) struct Images {
    pub(in crate::daemon) data_dir: PathBuf,
    pub(in crate::daemon) kv: Arc<SledKv>,
    pub(in crate::daemon) instance: InstanceId,
    pub(in crate::daemon) every: Duration,
    /// How long a copy of the directory may take.
    pub(in crate::daemon) copy_ms: u64,
    /// Free bytes below which new work is refused; an image that nobody asked for leaves as many.
    pub(in crate::daemon) min_free: u64,
    /// Whether one is wanted at once.
    pub(in crate::daemon) wanted: bool,
    pub(in crate::daemon) requests: mpsc::Receiver<ImageRequest>,
    pub(in crate::daemon) mailbox: Mailbox,
    pub(in crate::daemon) phase: Phases,
    pub(in crate::daemon) state: Arc<State>,
}

impl Images {
    pub(in crate::daemon) async fn run(mut self) {
        let mut growth = tokio::time::interval(GROWTH_EVERY);
        growth.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut newest = Newest::find(&self.data_dir);
        let mut check = (!self.wanted).then(|| self.check_archive());
        loop {
            let request = tokio::select! {
                request = self.requests.recv() => match request {
                    Some(request) => Some(request),
                    None => return,
                },
                usable = checked(&mut check) => {
                    check = None;
                    self.wanted |= !usable;
                    None
                }
                _ = growth.tick() => None,
                () = self.phase.reached(Phase::Draining) => return,
            };
            let grown = journal_bytes(&self.data_dir).saturating_sub(newest.journal_bytes);
            let old = newest.made.elapsed() > self.every && grown > 0;
            let due = self.wanted || old || grown > JOURNAL_GROWTH;
            let young = if request.is_some() { self.young_enough(&newest) } else { None };
            if let (Some(young), true) = (young, request.is_some()) {
                if let Some(request) = request {
                    let _ = request.send(Ok(young));
                }
            } else if request.is_some() || due && self.has_room(&mut newest) {
                let free = free_bytes(&self.data_dir).unwrap_or(0);
                let made = self.make().await;
                match &made {
                    Ok(_) => self.state.board().lower(Kind::ImageOld),
                    Err(words) => self.no_image(words),
                }
                if made.is_ok() {
                    newest = Newest::find(&self.data_dir);
                    self.wanted = false;
                } else {
                    // It may be for want of room: the next try waits for more than there was.
                    newest.bytes = newest.bytes.max(free.saturating_sub(self.reserve()));
                }
                if let Some(request) = request {
                    let _ = request.send(made);
                }
            }
            self.prune().await;
        }
    }

    /// The newest image, when so many are young that one more would only fill the disk: no image goes
    /// before a copy that may need it is done.
    fn young_enough(&self, newest: &Newest) -> Option<Backup> {
        let images = image::reader::list(&image::dir_in(&self.data_dir)).ok()?;
        let is_young = |path: &Path| {
            let made = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
            made.and_then(|made| made.elapsed().ok())
                .is_some_and(|age| age < Duration::from_millis(self.copy_ms))
        };
        let young = images.iter().filter(|(_, path)| is_young(path)).count();
        if young < YOUNG_IMAGES || newest.made.elapsed() > YOUNG_FOR {
            return None;
        }
        let info = image::reader::peek(&images.first()?.1).ok()?;
        Some(document(&info, 0))
    }

    /// Whether journal and images would do without the base. A start that has the base does not
    /// ask; what is missing or damaged is noticed here, while there is something to heal it with.
    fn check_archive(&self) -> Checked {
        let dir = self.data_dir.clone();
        tokio::task::spawn_blocking(move || source::find(&dir, 0))
    }

    /// What an image leaves free, for the work.
    fn reserve(&self) -> u64 {
        self.min_free / 4
    }

    /// Whether there is room for an image like the last one. It is said once when there is not:
    /// without images the journal only grows.
    fn has_room(&self, newest: &mut Newest) -> bool {
        let free = free_bytes(&self.data_dir).unwrap_or(u64::MAX);
        let room = newest.bytes.saturating_add(self.reserve()) <= free;
        if !room && !newest.put_off {
            tracing::warn!(
                event = "image.put_off",
                free,
                bytes = newest.bytes,
                "no room for an image; without images no journal file goes"
            );
        }
        newest.put_off = !room;
        if !room {
            self.no_image("there is no room for one");
        }
        room
    }

    /// Puts up that there is no new image.
    fn no_image(&self, why: &str) {
        if self.phase.has_reached(Phase::Draining) {
            return;
        }
        let sentence = format!(
            "No new image could be made: {why}. Until there is one the journal only grows, and a rebuild \
             takes longer. Make room, or look at the disk; then make one."
        );
        let acts = vec![Act::post("make one", "/v1/backup", None)];
        self.state.board().raise(trouble(Kind::ImageOld, "image", sentence, acts));
    }

    /// Removes what is old by now: when it was replaced it may have been too young.
    async fn prune(&self) {
        // A copy that is looked at stays as it is.
        if self.state.role() == Role::Held {
            return;
        }
        let (dir, copy_ms) = (self.data_dir.clone(), self.copy_ms);
        let pruned =
            tokio::task::spawn_blocking(move || retention::prune(&dir, SystemClock.now(), copy_ms));
        match pruned.await {
            Ok(Ok(removed)) if removed.is_empty() => {}
            Ok(Ok(removed)) => {
                tracing::info!(event = "archive.pruned", files = removed.len());
            }
            Ok(Err(error)) => tracing::error!(event = "archive.not_pruned", %error),
            Err(error) => tracing::error!(event = "archive.not_pruned", %error),
        }
    }

    async fn make(&self) -> Result<Backup, String> {
        let (kv, dir, instance) = (self.kv.clone(), self.data_dir.clone(), self.instance);
        let began = Instant::now();
        // An image begins where the base stands: the newer, the more of the journal may go.
        self.mailbox.flush().await.map_err(|error| error.to_string())?;
        let pulse = self.mailbox.pulse().clone();
        let phase = self.phase.clone();
        let reserve = self.reserve();
        let made = tokio::task::spawn_blocking(move || {
            let committed = || pulse.commit.load(Ordering::Acquire);
            let images = image::dir_in(&dir);
            // A stop does not wait for the image of a large base, and work needs the last space.
            let mut go_on = |_| {
                let short = free_bytes(&dir).is_some_and(|free| free < reserve);
                match short || phase.has_reached(Phase::Draining) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            image::writer::make_while(&*kv, &images, instance, &committed, &mut go_on)
        });
        let words = |error: &dyn std::fmt::Display| {
            tracing::error!(event = "image.failed", %error);
            format!("no image was made: {error}")
        };
        let made = made.await;
        // An image reads every row, so it meets damage that nobody else reads.
        if let Some(words) = damage(&made, panics::in_the_base()) {
            leave_damaged(&self.data_dir, &words);
        }
        match made {
            Ok(Ok(Some(info))) => {
                let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                tracing::info!(event = "image.made", name = %info.name(), rows = info.rows(),
                    bytes = info.bytes, ms);
                let (dir, start) = (self.data_dir.clone(), info.start_seq);
                let usable = tokio::task::spawn_blocking(move || source::find(&dir, start)).await;
                match usable {
                    Ok(Ok(Ok(_))) => Ok(document(&info, ms)),
                    Ok(Ok(Err(none))) => Err(words(&format!(
                        "{} was made, but nothing could be restored from this directory: {}",
                        info.name(),
                        none.why
                    ))),
                    Ok(Err(error)) => Err(words(&error)),
                    Err(error) => Err(words(&error)),
                }
            }
            Ok(Ok(None)) if self.phase.has_reached(Phase::Draining) => {
                Err("no image was made: the daemon is stopping".to_owned())
            }
            Ok(Ok(None)) => Err(words(&"the disk is nearly full")),
            Ok(Err(error)) => Err(words(&error)),
            Err(error) => Err(words(&error)),
        }
    }
}

/// Images younger than a copy may take, at which a further one waits for the newest to be older than
/// [`YOUNG_FOR`].
const YOUNG_IMAGES: usize = 3;
const YOUNG_FOR: Duration = Duration::from_secs(60);

/// An image, for whoever asked for it.
fn document(info: &image::ImageInfo, took_ms: u64) -> Backup {
    Backup {
        image: info.name(),
        path: info.path.display().to_string(),
        commit: info.start_seq,
        rows: info.rows(),
        bytes: info.bytes,
        took_ms,
    }
}

/// A look at the archive that is under way.
type Checked = JoinHandle<Result<Result<source::Source, source::NoSource>, Fault>>;

/// What came of the look: whether the state could be made from the archive. Never without one.
async fn checked(check: &mut Option<Checked>) -> bool {
    let Some(check) = check else { return std::future::pending().await };
    match check.await {
        Ok(Ok(Ok(_))) => return true,
        Ok(Ok(Err(none))) => {
            tracing::warn!(event = "archive.unusable", why = none.why, "making a new image");
        }
        Ok(Err(error)) => tracing::warn!(event = "archive.unusable", %error),
        Err(error) => tracing::warn!(event = "archive.unusable", %error),
    }
    false
}
