//! The provider's day: it begins at midnight in Shanghai.

use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, Timestamp};

/// After midnight in Shanghai, by this much, the day's quota is tried again.
const DAY_GRACE_MS: u64 = 5 * MINUTE_MS;
/// Shanghai is eight hours ahead and has no summer time.
const SHANGHAI_MS: u64 = 8 * HOUR_MS;

/// Days since 1970 in Shanghai.
#[must_use]
pub fn shanghai_day(now: Timestamp) -> u64 {
    (now.0 + SHANGHAI_MS) / DAY_MS
}

/// A few minutes after the next midnight in Shanghai.
#[must_use]
pub fn next_day(now: Timestamp) -> Timestamp {
    let days = shanghai_day(now) + 1;
    Timestamp((days * DAY_MS).saturating_sub(SHANGHAI_MS)).plus(DAY_GRACE_MS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_day_ends_at_midnight_in_shanghai() {
        let at = |text: &str| Timestamp::parse(text).unwrap();
        assert_eq!(next_day(at("2026-11-23T15:59:59Z")), at("2026-11-23T16:05:00Z"));
        assert_eq!(next_day(at("2026-11-23T16:00:00Z")), at("2026-11-24T16:05:00Z"));
    }
}
