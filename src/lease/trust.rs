//! How far a holder may trust itself: three words in memory, asked before every send.

use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};

use super::record::State;

const OPENING: u8 = 0;
const ACTIVE: u8 = 1;
const DRAINING: u8 = 2;
const RELEASED: u8 = 3;
/// The state that no record shows: the lease ran out, or its lock was taken away.
const LOST: u8 = 4;

/// The newest renewal and the state, shared without locks by senders and the lease's threads.
#[derive(Debug)]
pub(super) struct Trust {
    clock: fn() -> u64,
    ttl_ms: u64,
    /// When the newest successful renewal *began*: a slow one must not stretch the lease.
    renewed_at: AtomicU64,
    /// How much longer it lives than usual, for the closing.
    grace_ms: AtomicU64,
    state: AtomicU8,
}

impl Trust {
    pub(super) fn new(clock: fn() -> u64, ttl_ms: u64, renewed_at: u64) -> Self {
        let (renewed_at, grace_ms) = (AtomicU64::new(renewed_at), AtomicU64::new(0));
        Self { clock, ttl_ms, renewed_at, grace_ms, state: AtomicU8::new(ACTIVE) }
    }

    pub(super) fn now(&self) -> u64 {
        (self.clock)()
    }

    /// Whether something that takes `needs_ms` may begin now.
    pub(super) fn may_send(&self, needs_ms: u64) -> bool {
        if self.state.load(Ordering::SeqCst) != ACTIVE {
            return false;
        }
        // The clock is read last: a process that is stopped before this line finds out here.
        let renewed_at = self.renewed_at.load(Ordering::SeqCst);
        let Some(age) = self.now().checked_sub(renewed_at) else { return false };
        age < self.ttl_ms / 3 * 2 && self.ttl_ms - age > needs_ms
    }

    /// Milliseconds until the lease runs out; 0 when it has.
    pub(super) fn left_ms(&self) -> u64 {
        let age = self.now().saturating_sub(self.renewed_at.load(Ordering::SeqCst));
        (self.ttl_ms + self.grace_ms.load(Ordering::SeqCst)).saturating_sub(age)
    }

    /// Nothing is sent any more, and it takes this much longer until the lease has run out.
    pub(super) fn close_within(&self, grace_ms: u64) {
        self.set(State::Draining);
        self.grace_ms.store(grace_ms, Ordering::SeqCst);
    }

    /// Notes a renewal that began at `began`. Only the renewing thread calls this.
    pub(super) fn renewed(&self, began: u64) {
        self.renewed_at.store(began, Ordering::SeqCst);
    }

    /// Moves to `to`; a lost or released lease stays what it is.
    pub(super) fn set(&self, to: State) {
        let _ = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            (now != LOST && now != RELEASED).then_some(code(to))
        });
    }

    /// Marks the lease lost, for good. True for the first caller, unless it was released before.
    pub(super) fn lose(&self) -> bool {
        let lost = self.state.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |now| {
            (now != LOST && now != RELEASED).then_some(LOST)
        });
        lost.is_ok()
    }

    /// Whether the lease is over, lost or released.
    pub(super) fn is_over(&self) -> bool {
        let now = self.state.load(Ordering::SeqCst);
        now == LOST || now == RELEASED
    }

    /// The state for the record.
    pub(super) fn state(&self) -> State {
        match self.state.load(Ordering::SeqCst) {
            OPENING => State::Opening,
            ACTIVE => State::Active,
            DRAINING => State::Draining,
            _ => State::Released,
        }
    }
}

const fn code(state: State) -> u8 {
    match state {
        State::Opening => OPENING,
        State::Active => ACTIVE,
        State::Draining => DRAINING,
        State::Released => RELEASED,
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    thread_local! {
        static HAND: Cell<u64> = const { Cell::new(0) };
    }

    fn hand() -> u64 {
        HAND.get()
    }

    #[test]
    fn sending_stops_at_two_thirds_and_when_too_little_is_left() {
        let trust = Trust::new(hand, 15_000, 1_000);
        for (at, needs, allowed) in [
            (1_000, 0, true),
            (1_000, 14_999, true),
            (1_000, 15_000, false),
            (6_000, 9_999, true),
            (6_000, 10_000, false),
            (10_999, 0, true),
            (11_000, 0, false),
            (16_000, 0, false),
            (900_000, 0, false),
            (999, 0, false),
        ] {
            HAND.set(at);
            assert_eq!(trust.may_send(needs), allowed, "at {at}, needs {needs}");
        }
    }

    #[test]
    fn renewal_counts_from_its_beginning() {
        let trust = Trust::new(hand, 15_000, 0);
        HAND.set(9_000);
        trust.renewed(5_000);
        assert_eq!(trust.left_ms(), 11_000);
        HAND.set(20_000);
        assert_eq!(trust.left_ms(), 0);
    }

    #[test]
    fn lost_lease_stays_lost() {
        let trust = Trust::new(hand, 15_000, 0);
        HAND.set(1_000);
        assert!(trust.lose());
        assert!(!trust.lose());
        trust.set(State::Active);
        trust.renewed(1_000);
        assert!(!trust.may_send(0));
        assert!(trust.is_over());
    }

    #[test]
    fn draining_lease_sends_nothing_new_and_may_still_be_lost() {
        let trust = Trust::new(hand, 15_000, 0);
        HAND.set(1_000);
        trust.set(State::Draining);
        assert!(!trust.may_send(0));
        assert_eq!(trust.state(), State::Draining);
        assert!(trust.lose());
        trust.set(State::Released);
        assert!(trust.is_over());
    }
}
