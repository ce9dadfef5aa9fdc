//! Signals: the first SIGTERM or SIGINT asks for a clean stop, the second leaves at once. SIGHUP stops
//! nothing: a terminal that closes and a `reload` by habit must not end a service, and an inherited
//! "ignore" (nohup) stays.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::logger;

/// How a process that is told twice ends: as if killed by SIGINT.
const TOLD_TWICE: i32 = 130;

/// Whether a stop was asked for.
#[derive(Clone)]
pub struct StopAsked(watch::Receiver<bool>);

impl StopAsked {
    /// Resolves when a stop is asked for.
    pub async fn asked(&self) {
        let mut seen = self.0.clone();
        let _ = seen.wait_for(|asked| *asked).await;
    }

    /// Whether it was.
    #[must_use]
    pub fn is_asked(&self) -> bool {
        *self.0.borrow()
    }
}

/// Why there are no handlers.
#[derive(Debug, thiserror::Error)]
pub enum SignalError {
    /// Of SIGINT.
    #[error(transparent)]
    Interrupt(#[from] ctrlc::Error),
    /// Of SIGTERM and SIGHUP.
    #[error(transparent)]
    Other(#[from] std::io::Error),
}

/// Installs the handlers. Once in a process, within the runtime.
pub fn install() -> Result<StopAsked, SignalError> {
    let (tell, told) = watch::channel(false);
    let count = Arc::new(AtomicU32::new(0));
    let ask = move || {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            // Nothing is lost by this: what is acknowledged is durable, what was on the wire is
            // found in doubt after the next start.
            logger::exit(TOLD_TWICE);
        }
        tell.send_replace(true);
    };
    ctrlc::set_handler(ask.clone())?;
    let mut terminations = signal(SignalKind::terminate())?;
    tokio::spawn(async move {
        while terminations.recv().await.is_some() {
            ask();
        }
    });
    if !hangup_is_ignored() {
        let mut hangups = signal(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangups.recv().await.is_some() {
                tracing::info!(event = "signal.hangup");
            }
        });
    }
    Ok(StopAsked(told))
}

/// Whether whoever started this process wants it to ignore SIGHUP, as the kernel tells.
fn hangup_is_ignored() -> bool {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    mask.is_some_and(|mask| mask & 1 != 0)
}
