//! Bytes of bodies and answers under way: one budget for the whole port.
//!
//! A body takes from it as it grows and waits when there is nothing left, for a while; an answer is
//! counted until the client has taken it, also beyond the budget, since it is there already. What
//! comes next waits for it then. So whatever clients do, memory stays near the budget.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// How long a call waits for room. Longer than the answers under way usually take.
const PATIENCE: Duration = Duration::from_secs(5);
/// Bodies up to this size never wait: consumers must get rid of what they have done.
const SMALL_BYTES: usize = 4 * 1024;

/// The budget.
pub(super) struct Budget {
    most: usize,
    used: AtomicUsize,
    freed: Notify,
}

/// There was no room for too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Busy;

/// What one call has of it; given back when dropped.
pub(super) struct Share {
    budget: Arc<Budget>,
    bytes: usize,
}

impl Budget {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, used: AtomicUsize::new(0), freed: Notify::new() })
    }

    /// Bytes under way.
    pub(super) fn used(&self) -> usize {
        self.used.load(Ordering::Relaxed)
    }

    /// A share of nothing, to begin with.
    pub(super) fn share(self: &Arc<Self>) -> Share {
        Share { budget: Arc::clone(self), bytes: 0 }
    }

    fn take(&self, bytes: usize) -> bool {
        let most = self.most;
        let taken = |used: usize| used.checked_add(bytes).filter(|used| *used <= most);
        self.used.fetch_update(Ordering::AcqRel, Ordering::Acquire, taken).is_ok()
    }
}

impl Share {
    /// Takes more, waiting for it if need be; 503 when there is none for too long.
    pub(super) async fn grow(&mut self, bytes: usize) -> Result<(), Busy> {
        if self.bytes + bytes <= SMALL_BYTES {
            self.charge(bytes);
            return Ok(());
        }
        let budget = Arc::clone(&self.budget);
        let room = async {
            loop {
                let mut freed = std::pin::pin!(budget.freed.notified());
                freed.as_mut().enable();
                if budget.take(bytes) {
                    return;
                }
                freed.await;
            }
        };
        if tokio::time::timeout(PATIENCE, room).await.is_err() {
            return Err(Busy);
        }
        self.bytes += bytes;
        Ok(())
    }

    /// Counts what is there already, also beyond the budget.
    pub(super) fn charge(&mut self, bytes: usize) {
        self.bytes += bytes;
        self.budget.used.fetch_add(bytes, Ordering::AcqRel);
    }

    /// Has exactly so many bytes from now on.
    pub(super) fn set(&mut self, bytes: usize) {
        if bytes > self.bytes {
            self.charge(bytes - self.bytes);
        } else {
            self.give_back(self.bytes - bytes);
        }
    }

    fn give_back(&mut self, bytes: usize) {
        if bytes == 0 {
            return;
        }
        self.bytes -= bytes;
        self.budget.used.fetch_sub(bytes, Ordering::AcqRel);
        self.budget.freed.notify_waiters();
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.give_back(self.bytes);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_share_waits_for_room_and_not_for_ever() {
        let budget = Budget::new(100_000);
        let mut first = budget.share();
        first.grow(90_000).await.unwrap();
        let mut second = budget.share();
        assert_eq!(second.grow(20_000).await, Err(Busy));
        let waits = second.grow(20_000);
        let frees = async { drop(first) };
        let (waited, ()) = tokio::join!(waits, frees);
        waited.unwrap();
        assert_eq!(budget.used(), 20_000);
        drop(second);
        assert_eq!(budget.used(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_may_go_beyond_and_small_bodies_never_wait() {
        let budget = Budget::new(10_000);
        let mut answer = budget.share();
        answer.charge(50_000);
        let mut small = budget.share();
        small.grow(SMALL_BYTES).await.unwrap();
        assert_eq!(small.grow(1).await, Err(Busy));
        answer.set(100);
        small.grow(1).await.unwrap();
        assert_eq!(budget.used(), 100 + SMALL_BYTES + 1);
    }
}
