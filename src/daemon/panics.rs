//! Panics: sled answers damage with them, and what to do next depends on where one came from.

use std::future::Future;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::Notify;
use tokio::task::JoinHandle;

use crate::caught;
use crate::kv;

static IN_THE_BASE: AtomicBool = AtomicBool::new(false);
static TOLD: Notify = Notify::const_new();

/// Notes where panics come from, and logs them.
pub(super) fn watch() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "?".to_owned(), ToString::to_string);
        if kv::is_in_the_base() && !caught::is_caught() {
            IN_THE_BASE.store(true, Ordering::SeqCst);
            TOLD.notify_one();
        }
        let words = caught::words(panic.payload());
        tracing::error!(event = "panic", place, "{words}");
    }));
}

/// Whether one came from sled: its files may be damaged, and the next start shall rebuild them.
pub(super) fn in_the_base() -> bool {
    IN_THE_BASE.load(Ordering::SeqCst)
}

/// The base has been opened: what it met on the way, it has got over.
pub(super) fn forget_the_base() {
    IN_THE_BASE.store(false, Ordering::SeqCst);
}

/// Resolves when one has come from sled. Its own threads have nobody who would notice: without them
/// it collects no garbage, or writes nothing any more.
pub(super) async fn base_panicked() {
    while !in_the_base() {
        TOLD.notified().await;
    }
}

/// Runs a task that the daemon cannot do without: a claim, a run or a duty would stay as it is for
/// ever if it ended halfway. A panic in it ends the process, and the next one takes up what is left.
pub(super) fn spawn_vital(task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
    tokio::spawn(async move {
        let halfway = Halfway;
        task.await;
        std::mem::forget(halfway);
    })
}

struct Halfway;

impl Drop for Halfway {
    fn drop(&mut self) {
        // The runtime drops tasks without a panic when it ends.
        if std::thread::panicking() {
            tracing::error!(event = "stop.panic", "a task that must not end has panicked");
            crate::logger::exit(FAULT);
        }
    }
}

/// The exit code of a fault. The unit restarts after it.
const FAULT: i32 = 1;

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Only run by [`a_panic_in_a_vital_task_ends_the_process`], in a process of its own.
    #[tokio::test]
    #[ignore = "it ends its process"]
    async fn panics_in_a_vital_task() {
        let _ = spawn_vital(async { panic!("on purpose") }).await;
    }

    #[test]
    fn a_panic_in_a_vital_task_ends_the_process() {
        let mut child = Command::new(std::env::current_exe().unwrap());
        child.args(["--exact", "daemon::panics::tests::panics_in_a_vital_task", "--ignored"]);
        // A test that fails in its harness would end with 101.
        assert_eq!(child.output().unwrap().status.code(), Some(FAULT));
    }
}
