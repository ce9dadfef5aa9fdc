//! The mark: how far journal and base certainly are, for the next start.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::daemon::phase::{Phase, Phases};
use crate::data_dir::identity::InstanceId;
use crate::data_dir::mark::{self, Mark};
use crate::mailbox::Pulse;

/// How often the mark is brought up to date.
const MARK_EVERY: Duration = Duration::from_secs(2);

/// Keeps what the next start has to know: the mark that says, outside of journal and base, how far
/// both certainly are, and the note that a look at the store failed, so that it is made anew.
pub(in crate::daemon) async fn keep_mark(
    data_dir: PathBuf,
    instance: InstanceId,
    pulse: Arc<Pulse>,
    phase: Phases,
) {
    let mut ticks = tokio::time::interval(MARK_EVERY);
    let mut written = (0, 0);
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = phase.reached(Phase::Cut) => return,
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
