//! How fast: a token bucket kept as one theoretical arrival time, and the pause after a return.

use crate::time::{SECOND_MS, Timestamp};

/// What a worker handed back is handed out again after this: whatever kept it from working (the
/// lease is about to run out, the daemon is stopping) is not over at once.
pub(super) const RETURN_PAUSE_MS: u64 = SECOND_MS;

/// How many sends a rate allows now, at most `wanted`, and when the next one is allowed if not all
/// are. The rate is a token bucket of a tenth of a second, kept as one theoretical arrival time.
#[must_use]
pub(super) fn rate_allows(
    rate: u32,
    at_us: u64,
    now: Timestamp,
    wanted: u32,
) -> (u32, Option<Timestamp>) {
    if rate == 0 {
        return (wanted, None);
    }
    let interval_us = 1_000_000 / u64::from(rate);
    let burst_us = interval_us * u64::from(rate.div_ceil(10));
    let now_us = now.0 * 1000;
    // A bucket that is further ahead than a full one can be was filled under another clock.
    let at_us = at_us.min(now_us + burst_us).max(now_us);
    let allowed =
        ((now_us + burst_us).saturating_sub(at_us) / interval_us.max(1)).min(u64::from(wanted));
    let allowed = u32::try_from(allowed).unwrap_or(wanted);
    let next_us = at_us + interval_us * (u64::from(allowed) + 1);
    let wake = (allowed < wanted)
        .then(|| Timestamp(next_us.saturating_sub(burst_us).div_ceil(1000).max(now.0 + 1)));
    (allowed, wake)
}

/// The theoretical arrival time after `taken` sends.
#[must_use]
pub(super) fn rate_take(rate: u32, at_us: u64, now: Timestamp, taken: u32) -> u64 {
    if rate == 0 {
        return at_us;
    }
    let interval_us = 1_000_000 / u64::from(rate);
    let burst_us = interval_us * u64::from(rate.div_ceil(10));
    let now_us = now.0 * 1000;
    at_us.clamp(now_us, now_us + burst_us) + interval_us * u64::from(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as much as allowed at each millisecond for two seconds.
    #[test]
    fn a_rate_is_kept_and_used() {
        for rate in [1, 7, 100, 999, 5_000] {
            let (mut at_us, mut sent) = (0, 0);
            for ms in 0..2_000 {
                let now = Timestamp(1_000_000 + ms);
                let (allowed, _) = rate_allows(rate, at_us, now, 1_000);
                at_us = rate_take(rate, at_us, now, allowed);
                sent += allowed;
            }
            let burst = rate.div_ceil(10);
            assert!(sent <= 2 * rate + burst + 1, "{rate}: {sent}");
            assert!(sent + 1 >= 2 * rate * 99 / 100, "{rate}: {sent}");
        }
    }

    #[test]
    fn the_wake_up_is_when_the_next_send_is_allowed() {
        let now = Timestamp(5_000);
        let at_us = rate_take(10, 0, now, 1);
        let (allowed, wake) = rate_allows(10, at_us, now, 5);
        assert_eq!((allowed, wake), (0, Some(Timestamp(5_100))));
        assert_eq!(rate_allows(10, at_us, Timestamp(5_100), 5).0, 1);
    }

    #[test]
    fn a_clock_that_jumped_back_does_not_stop_the_tenant() {
        let at_us = rate_take(100, 0, Timestamp(86_400_000), 10);
        assert!(rate_allows(100, at_us, Timestamp(1_000), 5).1.unwrap() <= Timestamp(1_200));
    }
}
