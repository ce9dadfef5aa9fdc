//! Free space on the data directory's disk, as the writer may count on it.
//!
//! Somebody looks at the disk now and then; between two looks the writer counts what it commits
//! against what was free. So a fast loader is refused before the disk is full, not after.

use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// What a committed byte may take on the disk: the journal's own, and what the base makes of it.
const ON_DISK: u64 = 6;
/// What a byte that is not in the base yet takes there.
const IN_THE_BASE: u64 = 2;
/// Below half of what is kept free, or this if that is less, nothing is handed out any more: what was
/// claimed and comes back takes space each time.
const LAST_BYTES: u64 = 256 * 1024 * 1024;
/// How long new work waits for a look at the disk.
const LOOK_WITHIN: Duration = Duration::from_secs(5);

/// What is free. Before the first look, all is.
#[derive(Debug)]
pub struct Space {
    free: AtomicU64,
    min_free: AtomicU64,
    /// What was committed since the last look.
    spent: AtomicU64,
    /// What is committed and not in the base yet.
    unapplied: AtomicU64,
    look: Notify,
    looked: Notify,
}

impl Default for Space {
    fn default() -> Self {
        Self {
            free: AtomicU64::new(u64::MAX),
            min_free: AtomicU64::new(0),
            spent: AtomicU64::new(0),
            unapplied: AtomicU64::new(0),
            look: Notify::new(),
            looked: Notify::new(),
        }
    }
}

impl Space {
    /// Somebody has looked: so much is free, and so much shall stay free.
    pub fn seen(&self, free: u64, min_free: u64) {
        self.min_free.store(min_free, Ordering::Relaxed);
        self.spent.store(0, Ordering::Relaxed);
        self.free.store(free, Ordering::Relaxed);
        self.looked.notify_waiters();
    }

    /// Waits for a look when only what was counted since the last one says that space is low.
    pub(super) async fn settle(&self) {
        let mut looked = pin!(self.looked.notified());
        looked.as_mut().enable();
        let seen = self.free.load(Ordering::Relaxed);
        if self.is_low() && seen >= self.min_free.load(Ordering::Relaxed) {
            self.look.notify_one();
            // A disk that does not even say what is free is taken for full.
            let _ = tokio::time::timeout(LOOK_WITHIN, looked).await;
        }
    }

    /// So much was committed. Asks for a look when that may have made a difference.
    pub(super) fn spend(&self, bytes: u64) {
        let (was_low, was_scarce) = (self.is_low(), self.is_scarce());
        self.spent.fetch_add(bytes.saturating_mul(ON_DISK), Ordering::Relaxed);
        if (was_low, was_scarce) != (self.is_low(), self.is_scarce()) {
            self.look.notify_one();
        }
    }

    /// So much is committed and still to come into the base.
    pub(super) fn owe(&self, bytes: usize) {
        self.unapplied.store(bytes as u64, Ordering::Relaxed);
    }

    /// Resolves when a look is wanted before its time.
    pub async fn wants_look(&self) {
        self.look.notified().await;
    }

    /// Whether new work is refused.
    #[must_use]
    pub fn is_low(&self) -> bool {
        self.left() < self.min_free.load(Ordering::Relaxed)
    }

    /// Whether nothing is handed out either.
    #[must_use]
    pub fn is_scarce(&self) -> bool {
        self.left() < LAST_BYTES.min(self.min_free.load(Ordering::Relaxed) / 2)
    }

    fn left(&self) -> u64 {
        let owed = self.unapplied.load(Ordering::Relaxed).saturating_mul(IN_THE_BASE);
        let spent = self.spent.load(Ordering::Relaxed).saturating_add(owed);
        self.free.load(Ordering::Relaxed).saturating_sub(spent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1024 * 1024;

    #[test]
    fn what_is_committed_counts_until_the_next_look() {
        let space = Space::default();
        assert!(!space.is_low() && !space.is_scarce(), "nothing is known yet");
        space.seen(1_000 * MIB, 512 * MIB);
        space.spend(50 * MIB);
        assert!(!space.is_low());
        space.spend(32 * MIB);
        assert!(space.is_low() && !space.is_scarce());
        space.spend(50 * MIB);
        assert!(space.is_scarce());
        // It took less than was feared.
        space.seen(900 * MIB, 512 * MIB);
        assert!(!space.is_low());
    }

    #[test]
    fn what_is_still_to_come_into_the_base_counts_until_it_is_there() {
        let space = Space::default();
        space.seen(600 * MIB, 512 * MIB);
        space.owe(50 << 20);
        assert!(space.is_low());
        space.owe(0);
        assert!(!space.is_low());
    }

    #[test]
    fn an_operator_who_keeps_much_free_still_has_work_handed_out() {
        let space = Space::default();
        space.seen(60_000 * MIB, 1_000_000 * MIB);
        assert!(space.is_low() && !space.is_scarce());
        space.seen(200 * MIB, 1_000_000 * MIB);
        assert!(space.is_scarce());
    }

    #[tokio::test]
    async fn a_look_is_asked_for_when_a_bound_is_passed_and_not_for_each_commit() {
        let space = Space::default();
        space.seen(600 * MIB, 512 * MIB);
        space.spend(1);
        let none = tokio::time::timeout(std::time::Duration::ZERO, space.wants_look()).await;
        assert!(none.is_err());
        space.spend(20 * MIB);
        space.wants_look().await;
    }

    #[tokio::test]
    async fn new_work_waits_for_a_look_before_it_is_refused() {
        let space = Space::default();
        space.seen(600 * MIB, 512 * MIB);
        space.settle().await;
        space.spend(20 * MIB);
        assert!(space.is_low());
        tokio::join!(space.settle(), async {
            space.wants_look().await;
            space.seen(590 * MIB, 512 * MIB);
        });
        assert!(!space.is_low());
    }
}
