//! Who comes with a wrong token: counted, told, and slowed.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Refusals of one peer within a minute that are answered at once.
const FREE: u32 = 10;
/// The pause before each further refusal.
const PAUSE: Duration = Duration::from_millis(500);
/// Peers that are remembered; when there are more, all are forgotten.
const PEERS: usize = 1024;
const WITHIN: Duration = Duration::from_secs(60);

/// Refusals for want of the right token.
#[derive(Default)]
pub(super) struct Strangers {
    total: AtomicU64,
    peers: Mutex<HashMap<IpAddr, (Instant, u32)>>,
}

impl Strangers {
    /// All refusals since the start.
    pub(super) fn total(&self) -> u64 {
        self.total.load(Ordering::Relaxed)
    }

    /// Notes a refusal, and takes its time before it is told.
    pub(super) async fn refused(&self, peer: IpAddr) {
        self.total.fetch_add(1, Ordering::Relaxed);
        if self.note(peer) {
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Whether the peer has been refused often lately. The first of a minute is told, and that.
    fn note(&self, peer: IpAddr) -> bool {
        let mut peers = self.peers.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if peers.len() >= PEERS && !peers.contains_key(&peer) {
            peers.clear();
        }
        let (since, count) = peers.entry(peer).or_insert_with(|| (Instant::now(), 0));
        if since.elapsed() > WITHIN {
            (*since, *count) = (Instant::now(), 0);
        }
        *count = count.saturating_add(1);
        if *count == 1 || *count == FREE + 1 {
            let slowed = *count > FREE;
            tracing::warn!(
                event = "auth.refused", %peer, count, slowed,
                "a call without the right admin token was refused"
            );
        }
        *count > FREE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_guesses_is_slowed_and_others_are_not() {
        let strangers = Strangers::default();
        let (one, two) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        assert!((0..FREE).all(|_| !strangers.note(one)));
        assert!(strangers.note(one) && !strangers.note(two));
    }
}
