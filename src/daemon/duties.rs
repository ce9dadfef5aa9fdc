//! What runs beside the work: the watchdog's food, the disk's free space, images.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use super::signals::StopAsked;
use super::state::State;
use super::stop::{Stage, Stopping};
use super::{notify, panics};
use crate::admin::Role;
use crate::archive::identity::InstanceId;
use crate::archive::mark::{self, Mark};
use crate::archive::{image, journal, retention, source, startup};
use crate::kv::sled::SledKv;
use crate::kv::{Fault, free_bytes};
use crate::lease;
use crate::mailbox::{Mailbox, Pulse};
use crate::model::attention::{Act, Kind, Row};
use crate::time::{Clock, SystemClock};

/// How often the free space is looked at.
const DISK_EVERY: Duration = Duration::from_secs(2);
/// An image is made when the journal has grown by this much since the last one.
const JOURNAL_GROWTH: u64 = 512 * 1024 * 1024;
/// How often the journal's growth is looked at.
const GROWTH_EVERY: Duration = Duration::from_secs(30);

/// How long closing may take once the writer has ended: to write what it left to a large base on a
/// slow disk, and to open that once more. A leader that took its own silence for a hang would end
/// in the middle of a clean stop.
pub(super) const CLOSE_WITHIN: Duration = Duration::from_secs(300);

/// Says that the writer is silent because it has ended. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Closing(Arc<AtomicBool>);

impl Closing {
    /// From here on only [`CLOSE_WITHIN`] bounds the silence.
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Whether the writer and the runtime have moved lately. Both do so once a second while they live.
pub(super) struct Liveness {
    pulse: Arc<Pulse>,
    runtime: Arc<AtomicU64>,
    closing: Closing,
    seen: std::sync::Mutex<[(u64, Instant); 2]>,
}

impl Liveness {
    /// A watch over the writer's pulse and over the runtime that this is called in.
    pub(super) fn start(pulse: Arc<Pulse>, closing: Closing) -> Self {
        let runtime = Arc::new(AtomicU64::new(0));
        let beat = Arc::downgrade(&runtime);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            while let Some(beat) = beat.upgrade() {
                beat.fetch_add(1, Ordering::Relaxed);
                ticks.tick().await;
            }
        });
        let seen = std::sync::Mutex::new([(0, Instant::now()); 2]);
        Self { pulse, runtime, closing, seen }
    }

    /// Whether both moved within `within`, or longer while closing. Does not block.
    pub(super) fn is_alive(&self, within: Duration) -> bool {
        let closing = self.closing.0.load(Ordering::Relaxed);
        let within = if closing { CLOSE_WITHIN } else { within };
        let beats =
            [self.pulse.turns.load(Ordering::Relaxed), self.runtime.load(Ordering::Relaxed)];
        let mut seen = self.seen.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for (seen, beat) in seen.iter_mut().zip(beats) {
            if seen.0 != beat {
                *seen = (beat, Instant::now());
            }
        }
        seen.iter().all(|(_, at)| at.elapsed() < within)
    }
}

/// Feeds the service manager's watchdog while the writer and the runtime live, to the very end.
pub(super) async fn feed_watchdog(liveness: Liveness) {
    let Some(interval) = notify::watchdog_interval() else { return };
    let mut ticks = tokio::time::interval(interval / 3);
    loop {
        ticks.tick().await;
        if liveness.is_alive(interval) {
            notify::watchdog();
        }
    }
}

/// How often the mark is brought up to date.
const MARK_EVERY: Duration = Duration::from_secs(2);

/// Keeps what the next start has to know: the mark that says, outside of journal and base, how far
/// both certainly are, and the note that a look at the store failed, so that it is made anew.
pub(super) async fn keep_mark(
    data_dir: PathBuf,
    instance: InstanceId,
    pulse: Arc<Pulse>,
    stopping: Stopping,
) {
    let mut ticks = tokio::time::interval(MARK_EVERY);
    let mut written = (0, 0);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stopping.reached(Stage::Cut) => return,
        }
        if pulse.unreadable.swap(false, Ordering::Relaxed) {
            let why = "a look at the store failed";
            if let Err(error) = mark::mark_suspect(&data_dir, why) {
                tracing::error!(event = "store.not_marked", %error);
            }
        }
        // The base first: it never holds more than the journal.
        let base_seq = pulse.base_commit.load(Ordering::Acquire);
        let journal_seq = pulse.commit.load(Ordering::Acquire);
        if journal_seq == 0 || (journal_seq, base_seq) == written {
            continue;
        }
        let (dir, mark) = (data_dir.clone(), Mark { instance, journal_seq, base_seq });
        match tokio::task::spawn_blocking(move || mark.write(&dir)).await {
            Ok(Ok(())) => written = (journal_seq, base_seq),
            // The next try, or the next commit, meets the same disk.
            Ok(Err(error)) => tracing::error!(event = "mark.failed", %error),
            Err(error) => tracing::error!(event = "mark.failed", %error),
        }
    }
}

/// Ends the process when the base has panicked, in whatever thread.
pub(super) async fn watch_base(data_dir: PathBuf) {
    panics::base_panicked().await;
    leave_damaged(&data_dir, "a panic in the base");
}

/// Refuses new work while the disk is nearly full. What is under way is finished: it needs little.
pub(super) async fn watch_disk(
    dir: PathBuf,
    min_free: u64,
    pulse: Arc<Pulse>,
    state: Arc<State>,
    stopping: Stopping,
) {
    let mut ticks = tokio::time::interval(DISK_EVERY);
    let mut was_low = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = pulse.space.wants_look() => {}
            () = stopping.reached(Stage::Drain) => return,
        }
        let Some(free) = free_bytes(&dir) else { continue };
        pulse.space.seen(free, min_free);
        let low = free < min_free;
        if low {
            state.board().raise(disk_low(&dir, free, min_free));
        } else {
            state.board().lower(Kind::DiskLow);
        }
        if std::mem::replace(&mut was_low, low) != low {
            if low {
                tracing::warn!(event = "disk.low", free, min_free, "new work is refused");
            } else {
                tracing::info!(event = "disk.enough", free, "new work is accepted again");
            }
        }
    }
}

fn disk_low(dir: &Path, free: u64, min_free: u64) -> Row {
    const MIB: u64 = 1024 * 1024;
    trouble(
        Kind::DiskLow,
        "disk",
        format!(
            "New work is refused: {} MiB are free on the disk of {}, and storage.min_free_disk keeps {} \
             MiB. Make room there, or lower that key.",
            free / MIB,
            dir.display(),
            min_free / MIB
        ),
        Vec::new(),
    )
}

fn trouble(kind: Kind, subject: &str, sentence: String, acts: Vec<Act>) -> Row {
    let (subject, since) = (subject.to_owned(), SystemClock.now());
    Row { kind, subject, tenant: None, since, sentence, acts }
}

/// A start waits until this much is free: for the lease's record, a journal file, a little work.
pub(super) const START_FREE_BYTES: u64 = 4 * 1024 * 1024;

/// Waits until `needed` bytes are free: ending would only use up the service manager's patience.
/// False when asked to stop meanwhile.
pub(super) async fn wait_for_space(dir: &Path, needed: u64, stop: &StopAsked) -> bool {
    let mut ticks = tokio::time::interval(Duration::from_secs(1));
    let mut said = false;
    while free_bytes(dir).is_some_and(|free| free < needed) {
        if !said {
            said = true;
            tracing::error!(
                event = "disk.full",
                needed,
                "waiting for space on the data directory's disk"
            );
            notify::status("waiting for disk space");
            clear_leftovers(dir);
        }
        notify::extend_timeout(Duration::from_secs(60));
        // A standby that takes over has been ready before.
        notify::watchdog();
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.asked() => return false,
        }
    }
    true
}

/// What takes the space may be what a process left that died of the lack of it.
fn clear_leftovers(dir: &Path) {
    match lease::while_nobody_leads(dir, || startup::remove_leftovers(dir)) {
        Ok(None | Some(Ok(()))) => {}
        Ok(Some(Err(error))) => tracing::warn!(event = "disk.not_cleared", %error),
        Err(error) => tracing::warn!(event = "disk.not_cleared", %error),
    }
}

/// Asks for an image and hears of it.
pub(super) type ImageRequest = oneshot::Sender<Result<serde_json::Value, String>>;

/// Makes images: on a schedule, when the journal has grown, when asked, and when there is none that
/// the state could be made from. Removes what images have replaced.
pub(super) struct Images {
    pub(super) data_dir: PathBuf,
    pub(super) kv: Arc<SledKv>,
    pub(super) instance: InstanceId,
    pub(super) every: Duration,
    /// How long a copy of the directory may take.
    pub(super) copy_ms: u64,
    /// Free bytes below which new work is refused; an image that nobody asked for leaves as many.
    pub(super) min_free: u64,
    /// Whether one is wanted at once.
    pub(super) wanted: bool,
    pub(super) requests: mpsc::Receiver<ImageRequest>,
    pub(super) mailbox: Mailbox,
    pub(super) stopping: Stopping,
    pub(super) state: Arc<State>,
}

impl Images {
    pub(super) async fn run(mut self) {
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
                () = self.stopping.reached(Stage::Drain) => return,
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
    fn young_enough(&self, newest: &Newest) -> Option<serde_json::Value> {
        let images = image::list(&image::dir_in(&self.data_dir)).ok()?;
        let is_young = |path: &Path| {
            let made = std::fs::metadata(path).and_then(|meta| meta.modified()).ok();
            made.and_then(|made| made.elapsed().ok())
                .is_some_and(|age| age < Duration::from_millis(self.copy_ms))
        };
        let young = images.iter().filter(|(_, path)| is_young(path)).count();
        if young < YOUNG_IMAGES || newest.made.elapsed() > YOUNG_FOR {
            return None;
        }
        let info = image::peek(&images.first()?.1).ok()?;
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
        if self.stopping.has_reached(Stage::Drain) {
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

    async fn make(&self) -> Result<serde_json::Value, String> {
        let (kv, dir, instance) = (self.kv.clone(), self.data_dir.clone(), self.instance);
        let began = Instant::now();
        // An image begins where the base stands: the newer, the more of the journal may go.
        self.mailbox.flush().await.map_err(|error| error.to_string())?;
        let pulse = self.mailbox.pulse().clone();
        let stopping = self.stopping.clone();
        let reserve = self.reserve();
        let made = tokio::task::spawn_blocking(move || {
            let committed = || pulse.commit.load(Ordering::Acquire);
            let images = image::dir_in(&dir);
            // A stop does not wait for the image of a large base, and work needs the last space.
            let mut go_on = |_| {
                let short = free_bytes(&dir).is_some_and(|free| free < reserve);
                match short || stopping.has_reached(Stage::Drain) {
                    true => ControlFlow::Break(()),
                    false => ControlFlow::Continue(()),
                }
            };
            image::make_while(&*kv, &images, instance, &committed, &mut go_on)
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
            Ok(Ok(None)) if self.stopping.has_reached(Stage::Drain) => {
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
fn document(info: &image::ImageInfo, took_ms: u64) -> serde_json::Value {
    serde_json::json!({
        "image": info.name(),
        "path": info.path.display().to_string(),
        "commit": info.start_seq,
        "rows": info.rows(),
        "bytes": info.bytes,
        "took_ms": took_ms,
    })
}

/// To go on would be to live with a store that no image can be made of, or that writes nothing; the
/// next start rebuilds it.
fn leave_damaged(data_dir: &Path, words: &str) -> ! {
    tracing::error!(event = "store.damaged", error = words, "ending: the next start rebuilds");
    if let Err(error) = mark::mark_suspect(data_dir, words) {
        tracing::error!(event = "store.not_marked", %error);
    }
    crate::logger::exit(i32::from(DAMAGED));
}

/// What damage an attempt met, if any: sled tells of it by errors and by panics.
fn damage<T>(
    made: &Result<Result<T, Fault>, tokio::task::JoinError>,
    panicked_in_the_base: bool,
) -> Option<String> {
    match made {
        Ok(Err(fault)) => fault.is_damage().then(|| fault.to_string()),
        Err(panic) => panicked_in_the_base.then(|| panic.to_string()),
        Ok(Ok(_)) => None,
    }
}

/// How a process ends that met damage: as by any fault, so that it is started again.
const DAMAGED: u8 = 1;

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

/// The newest image. It outlives restarts: else a daemon that is often started again would never
/// make one.
struct Newest {
    /// About when it was made; without one, now.
    made: Instant,
    /// The journal's bytes up to it.
    journal_bytes: u64,
    /// About how many bytes the next one takes: its own, or more, if that was too little.
    bytes: u64,
    /// Whether the next one waits for room.
    put_off: bool,
}

impl Newest {
    fn find(data_dir: &Path) -> Self {
        let now = Instant::now();
        let images = image::list(&image::dir_in(data_dir)).unwrap_or_default();
        let Some((start, path)) = images.first() else {
            return Self { made: now, journal_bytes: 0, bytes: 0, put_off: false };
        };
        let meta = std::fs::metadata(path).ok();
        let made = meta.as_ref().and_then(|meta| meta.modified().ok());
        let age = made.and_then(|made| made.elapsed().ok()).unwrap_or_default();
        let files = journal::list(&journal::dir_in(data_dir)).unwrap_or_default();
        let before = files.iter().filter(|file| file.first_seq <= *start);
        Self {
            made: now.checked_sub(age).unwrap_or(now),
            journal_bytes: before.map(|file| file.bytes).sum(),
            bytes: meta.map_or(0, |meta| meta.len()),
            put_off: false,
        }
    }
}

/// Bytes in the journal's files.
fn journal_bytes(data_dir: &Path) -> u64 {
    let files = journal::list(&journal::dir_in(data_dir));
    files.map_or(0, |files| files.iter().map(|file| file.bytes).sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::archive::image::{applied_write, make};
    use crate::archive::journal::JournalWriter;
    use crate::kv::Kv as _;
    use crate::kv::memory::MemoryKv;

    #[tokio::test]
    async fn panic_in_the_base_is_damage_and_another_is_not() {
        let panicked = tokio::spawn(async { panic!("on purpose") }).await.map(|()| Ok(()));
        assert!(damage::<()>(&panicked, true).is_some());
        assert_eq!(damage::<()>(&panicked, false), None);
        let full = Ok(Err(Fault::io("writing", "no space")));
        assert_eq!(damage::<()>(&full, true), None);
        let torn = Fault::Damaged { tree: "tasks", why: "checksum".to_owned() };
        assert!(damage::<()>(&Ok(Err(torn)), false).is_some());
    }

    #[tokio::test]
    async fn writer_that_ended_for_the_closing_counts_as_alive() {
        let closing = Closing::default();
        let liveness = Liveness::start(Arc::default(), closing.clone());
        assert!(!liveness.is_alive(Duration::ZERO), "a silent writer");
        closing.begin();
        assert!(liveness.is_alive(Duration::ZERO), "a writer that is done");
    }

    #[test]
    fn growth_and_age_since_the_newest_image_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (journals, images) = (journal::dir_in(dir.path()), image::dir_in(dir.path()));
        let one = InstanceId(1);
        let mut writer = JournalWriter::create(&journals, 1, one, InstanceId(0)).unwrap();
        writer.append(1, &[applied_write(1)]).unwrap();
        let with_one = journal_bytes(dir.path());
        assert_eq!(Newest::find(dir.path()).journal_bytes, 0, "without an image all of it counts");
        let kv = MemoryKv::new();
        kv.apply(&[applied_write(1)]).unwrap();
        let made = make(&kv, &images, one, &|| 1, &mut |_| {}).unwrap();
        let hour = Duration::from_secs(3_600);
        let file = std::fs::File::options().append(true).open(&made.path).unwrap();
        file.set_modified(std::time::SystemTime::now() - hour).unwrap();
        let mut writer = JournalWriter::create(&journals, 2, one, one).unwrap();
        writer.append(2, &[applied_write(2)]).unwrap();
        let newest = Newest::find(dir.path());
        assert!(hour <= newest.made.elapsed() && newest.bytes == made.bytes);
        assert!(newest.journal_bytes == with_one && with_one < journal_bytes(dir.path()));
    }
}
