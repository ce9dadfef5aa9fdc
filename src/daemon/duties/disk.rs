//! The disk's free space: while working new work is refused below a bound, before that a start waits.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::trouble;
use crate::daemon::notify;
use crate::daemon::phase::{Phase, Phases};
use crate::daemon::signals::StopAsked;
use crate::daemon::state::State;
use crate::data_dir::startup;
use crate::kv::free_bytes;
use crate::lease;
use crate::mailbox::Pulse;
use crate::model::attention::{Kind, Row};

/// How often the free space is looked at.
const DISK_EVERY: Duration = Duration::from_secs(2);

/// Refuses new work while the disk is nearly full. What is under way is finished: it needs little.
pub(in crate::daemon) async fn watch_disk(
    dir: PathBuf,
    min_free: u64,
    pulse: Arc<Pulse>,
    state: Arc<State>,
    phase: Phases,
) {
    let mut ticks = tokio::time::interval(DISK_EVERY);
    let mut was_low = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = pulse.space.wants_look() => {}
            () = phase.reached(Phase::Draining) => return,
        }
        let Some(free) = look_at_disk(&dir, min_free, &pulse) else { continue };
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

/// Looks how much is free and tells the writer.
pub(in crate::daemon) fn look_at_disk(dir: &Path, min_free: u64, pulse: &Pulse) -> Option<u64> {
    let free = free_bytes(dir)?;
    pulse.space.seen(free, min_free);
    Some(free)
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

/// A start waits until this much is free: for the lease's record, a journal file, a little work.
pub(in crate::daemon) const START_FREE_BYTES: u64 = 4 * 1024 * 1024;

/// Waits until `needed` bytes are free: ending would only use up the service manager's patience.
/// False when asked to stop meanwhile.
pub(in crate::daemon) async fn wait_for_space(dir: &Path, needed: u64, stop: &StopAsked) -> bool {
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
