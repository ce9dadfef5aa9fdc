//! Places for connections: the most are for anybody, a few are kept for who must always get through.
//!
//! When all ordinary places are taken, a connection gets one of the kept ones: for one call, which must
//! begin at once, and which is answered only if it is a probe or an operator's, that is one with the
//! right token. So neither silent connections nor thousands of waiting consumers lock out whoever looks
//! after the daemon.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::Status;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Connections beyond the ordinary ones, for one call each.
const KEPT: usize = 16;
/// Pause between two lines about refused connections.
const TOLD_EVERY: Duration = Duration::from_secs(30);

/// All places of a port.
pub(super) struct Places {
    ordinary: Arc<Semaphore>,
    kept: Arc<Semaphore>,
    most: usize,
    told: std::sync::Mutex<Option<Instant>>,
}

/// A connection's place; given back when dropped.
pub(super) struct Place {
    pub(super) kind: Kind,
    _permit: OwnedSemaphorePermit,
}

/// Which place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Ordinary,
    /// One of the last: for a probe or an operator.
    Kept,
}

impl Places {
    pub(super) fn new(most: usize) -> Self {
        Self {
            ordinary: Arc::new(Semaphore::new(most)),
            kept: Arc::new(Semaphore::new(KEPT)),
            most,
            told: std::sync::Mutex::new(None),
        }
    }

    /// A place, if there is one.
    pub(super) fn take(&self) -> Option<Place> {
        let of = |places: &Arc<Semaphore>, kind| {
            let permit = places.clone().try_acquire_owned().ok()?;
            Some(Place { kind, _permit: permit })
        };
        of(&self.ordinary, Kind::Ordinary).or_else(|| of(&self.kept, Kind::Kept))
    }

    /// Says now and then that calls are refused for want of places.
    pub(super) fn tell(&self, refused: &AtomicU64, status: &dyn Status) {
        status.connection_refused(self.most);
        let refused = refused.fetch_add(1, Ordering::Relaxed) + 1;
        let mut told = self.told.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if told.is_none_or(|at| at.elapsed() > TOLD_EVERY) {
            *told = Some(Instant::now());
            let most = self.most;
            tracing::warn!(
                event = "admin.full",
                refused,
                most,
                "all {most} connections of the admin port are taken: close idle ones, or raise \
                 admin.max_connections"
            );
        }
    }
}

/// What is known of one connection.
pub(super) struct Guest {
    pub(super) kind: Kind,
    /// Whether it has sent a whole request head yet.
    pub(super) spoke: AtomicBool,
}
