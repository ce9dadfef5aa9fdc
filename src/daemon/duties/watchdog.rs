//! The watchdog is fed while the writer and the runtime move.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use crate::daemon::notify;
use crate::daemon::phase::{Phase, Phases};
use crate::mailbox::Pulse;

/// How long closing may take once the writer has ended: to write what it left to a large base on a
/// slow disk, and to open that once more. A leader that took its own silence for a hang would end
/// in the middle of a clean stop.
pub(in crate::daemon) const CLOSE_WITHIN: Duration = Duration::from_secs(300);

/// Whether the writer and the runtime have moved lately. Both do so once a second while they live.
pub(in crate::daemon) struct Liveness {
    pulse: Arc<Pulse>,
    runtime: Arc<AtomicU64>,
    phase: Phases,
    seen: std::sync::Mutex<[(u64, Instant); 2]>,
}

impl Liveness {
    /// A watch over the writer's pulse and over the runtime that this is called in.
    pub(in crate::daemon) fn start(pulse: Arc<Pulse>, phase: Phases) -> Self {
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
        Self { pulse, runtime, phase, seen }
    }

    /// Whether both moved within `within`, or longer while closing. Does not block.
    pub(in crate::daemon) fn is_alive(&self, within: Duration) -> bool {
        // The writer is silent because it has ended.
        let closing = self.phase.has_reached(Phase::Closing);
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
pub(in crate::daemon) async fn feed_watchdog(liveness: Liveness) {
    let Some(interval) = notify::watchdog_interval() else { return };
    let mut ticks = tokio::time::interval(interval / 3);
    loop {
        ticks.tick().await;
        if liveness.is_alive(interval) {
            notify::watchdog();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::daemon::phase::PhaseOut;

    #[tokio::test]
    async fn writer_that_ended_for_the_closing_counts_as_alive() {
        let phase = PhaseOut::default();
        let liveness = Liveness::start(Arc::default(), phase.seen());
        assert!(!liveness.is_alive(Duration::ZERO), "a silent writer");
        phase.enter(Phase::Closing);
        assert!(liveness.is_alive(Duration::ZERO), "a writer that is done");
    }
}
