//! Signals: the first SIGTERM, SIGINT or SIGHUP asks for a clean stop, the second leaves at once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use tokio::sync::watch;

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

/// Installs the handler. Once in a process; the handler only counts and tells.
pub fn install() -> Result<StopAsked, ctrlc::Error> {
    let (tell, told) = watch::channel(false);
    let count = Arc::new(AtomicU32::new(0));
    ctrlc::set_handler(move || {
        if count.fetch_add(1, Ordering::SeqCst) > 0 {
            // Nothing is lost by this: what is acknowledged is durable, what was on the wire is
            // found in doubt after the next start.
            std::process::exit(TOLD_TWICE);
        }
        tell.send_replace(true);
    })?;
    Ok(StopAsked(told))
}
