//! When to try again: one pure function for deliveries and tasks.

use serde::{Deserialize, Serialize};

use crate::time::{HOUR_MS, MINUTE_MS, SECOND_MS, Timestamp};

/// How failures are spaced and how many are allowed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// How the pause grows.
    pub backoff: Backoff,
    /// Attempts in all, the first included; at least 1.
    pub max_attempts: u32,
}

/// How the pause between attempts grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Backoff {
    /// Always the same pause.
    Fixed {
        /// The pause.
        delay_ms: u64,
    },
    /// `first`, doubled each time, at most `max`, give or take a quarter.
    Exponential {
        /// The first pause.
        first_ms: u64,
        /// The longest pause.
        max_ms: u64,
    },
}

impl RetryPolicy {
    /// What a task type gets that says nothing: five minutes, as the old job did, 20 attempts.
    #[must_use]
    pub fn tasks() -> Self {
        Self { backoff: Backoff::Fixed { delay_ms: 5 * MINUTE_MS }, max_attempts: 20 }
    }

    /// What a tenant gets that says nothing: 2 s doubling to an hour, 12 attempts.
    #[must_use]
    pub fn deliveries() -> Self {
        let backoff = Backoff::Exponential { first_ms: 2 * SECOND_MS, max_ms: HOUR_MS };
        Self { backoff, max_attempts: 12 }
    }

    /// When attempt `failed + 1` may begin after `failed` failures, or `None` when there were
    /// enough. `salt` spreads items that failed together; the same salt gives the same answer.
    #[must_use]
    pub fn next_due(&self, now: Timestamp, failed: u32, salt: u64) -> Option<Timestamp> {
        (failed < self.max_attempts).then(|| now.plus(self.pause_ms(failed, salt)))
    }

    /// The pause after `failed` failures.
    #[must_use]
    pub fn pause_ms(&self, failed: u32, salt: u64) -> u64 {
        match self.backoff {
            Backoff::Fixed { delay_ms } => delay_ms,
            Backoff::Exponential { first_ms, max_ms } => {
                let doublings = failed.saturating_sub(1).min(40);
                let full = first_ms.saturating_mul(1 << doublings).min(max_ms);
                let spread = full / 2;
                let offset = mix(salt ^ u64::from(failed)) % (spread + 1);
                full - spread / 2 + offset
            }
        }
    }
}

/// SplitMix64's finaliser: spreads neighbouring numbers over the whole range.
fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fixed_pauses_until_the_limit() {
        let policy = RetryPolicy::tasks();
        let now = Timestamp(1_000);
        assert_eq!(policy.next_due(now, 1, 9), Some(Timestamp(301_000)));
        assert_eq!(policy.next_due(now, 19, 9), Some(Timestamp(301_000)));
        assert_eq!(policy.next_due(now, 20, 9), None);
    }

    #[test]
    fn exponential_pauses_double_stay_near_and_are_capped() {
        let policy = RetryPolicy::deliveries();
        for (failed, full) in [(1, 2_000), (2, 4_000), (5, 32_000), (40, HOUR_MS)] {
            for salt in 0..200 {
                let pause = policy.pause_ms(failed, salt);
                assert!(full * 3 / 4 <= pause && pause <= full * 5 / 4, "{failed} {salt} {pause}");
            }
        }
        assert_ne!(policy.pause_ms(5, 1), policy.pause_ms(5, 2));
        assert_eq!(policy.pause_ms(5, 1), policy.pause_ms(5, 1));
    }
}
