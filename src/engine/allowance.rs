//! What a tenant may send now: its rate and concurrency as they stand, what the day has left, quiet hours.

use crate::engine::pace::{rate_allows, rate_take};
use crate::limits;
use crate::model::day::shanghai_day;
use crate::model::rules::TenantRule;
use crate::model::tenant::{FULL_PACE, TenantState};
use crate::time::{SECOND_MS, Timestamp};

/// Sends per second that a tenant without a limit is taken to have when it must slow down.
const UNLIMITED: u32 = 1_000;
/// After a change of the pace, the next one comes no sooner.
const PACE_MS: u64 = 10 * SECOND_MS;
/// The slowest pace: a hundredth.
const SLOWEST: u32 = FULL_PACE / 100;
/// What the pace grows by.
const GROWTH: u32 = FULL_PACE / 10;
/// Failures without a clear answer within [`PACE_MS`] that slow a tenant down.
const BURST: u32 = 10;

/// Sends per second as they stand; 0 means no limit.
pub(super) fn rate(rule: &TenantRule, state: &TenantState) -> u32 {
    let set = state.rate.unwrap_or(rule.rate);
    let pace = state.pace();
    if pace == FULL_PACE {
        return set;
    }
    let base = if set == 0 { UNLIMITED } else { set };
    let slowed = u64::from(base) * u64::from(pace) / u64::from(FULL_PACE);
    u32::try_from(slowed).unwrap_or(base).max(1)
}

/// Requests in flight as they stand.
pub(super) fn concurrency(rule: &TenantRule, state: &TenantState) -> u32 {
    state.concurrency.unwrap_or(rule.concurrency)
}

/// Sends of the day that are left: for all notices, and for those that are not urgent. `None` when
/// nobody limits them.
pub(super) fn left_today(
    rule: &TenantRule,
    state: &TenantState,
    now: Timestamp,
    in_flight: u32,
) -> Option<(u64, u64)> {
    let (limit, used) = limit_today(rule, state, now)?;
    let left = limit.saturating_sub(used + u64::from(in_flight));
    Some((left, left.saturating_sub(u64::from(rule.reserve))))
}

/// How many sends the day has, and how many of them are used, as far as is known.
pub(super) fn limit_today(
    rule: &TenantRule,
    state: &TenantState,
    now: Timestamp,
) -> Option<(u64, u64)> {
    let today = u64::from(state.day) == shanghai_day(now);
    let own = if today { state.sent_today } else { 0 };
    let told = state.quota.filter(|quota| shanghai_day(quota.at) == shanghai_day(now));
    // Others may send for the account, too: what the provider counted, and what left since.
    let used = told.map_or(own, |told| own.max(told.used + own.saturating_sub(told.sent)));
    let limits = [rule.daily_limit.map(u64::from), state.quota.map(|quota| quota.limit)];
    limits.into_iter().flatten().min().map(|limit| (limit, used))
}

/// Sends that the rate allows now, at most `wanted`, and when the next one is if not all are.
pub(super) fn by_rate(
    rule: &TenantRule,
    state: &TenantState,
    now: Timestamp,
    wanted: u32,
) -> (u32, Option<Timestamp>) {
    rate_allows(rate(rule, state), state.rate_at_us, now, wanted)
}

/// Notes sends.
pub(super) fn charge(rule: &TenantRule, state: &mut TenantState, now: Timestamp, taken: u32) {
    state.rate_at_us = rate_take(rate(rule, state), state.rate_at_us, now, taken);
}

/// The provider wants it slower: half the pace.
pub(super) fn slow_down(state: &mut TenantState, now: Timestamp) -> bool {
    if state.pace() < FULL_PACE && now.since(state.pace_at) < PACE_MS {
        // All that was in flight is refused together: one step for one burst.
        return false;
    }
    state.set_pace((state.pace() / 2).max(SLOWEST));
    state.pace_at = now;
    (state.burst, state.burst_at) = (0, now);
    true
}

/// An attempt had no clear answer. True when these are so many that the tenant is slowed down.
pub(super) fn unclear(state: &mut TenantState, now: Timestamp) -> bool {
    if now.since(state.burst_at) >= PACE_MS || state.burst_at > now {
        (state.burst, state.burst_at) = (0, now);
    }
    state.burst = state.burst.saturating_add(1);
    state.burst == BURST && slow_down(state, now)
}

/// A message was taken: the pace grows back, step by step. True when it did.
pub(super) fn went_well(state: &mut TenantState, now: Timestamp) -> bool {
    if state.pace() == FULL_PACE || now.since(state.pace_at) < PACE_MS && state.pace_at <= now {
        return false;
    }
    state.set_pace((state.pace() + GROWTH).min(FULL_PACE));
    state.pace_at = now;
    true
}

/// Deliveries that a tenant may have claimed at once: those on the wire, and enough queued behind
/// them that a commit's latency never leaves a connection idle.
pub(super) fn slots(concurrency: u32) -> u32 {
    concurrency + concurrency.div_ceil(4).max(2)
}

/// As many as a tenant can ever have claimed, whatever is set while the daemon runs.
pub(super) fn most_slots() -> u32 {
    slots(limits::CONCURRENCY_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tenant::Quota;
    use crate::time::DAY_MS;

    const NOW: Timestamp = Timestamp(1_795_395_600_000);

    fn rule(daily_limit: Option<u32>, reserve: u32) -> TenantRule {
        TenantRule { daily_limit, reserve, ..TenantRule::default() }
    }

    #[test]
    fn the_pace_halves_at_most_once_in_ten_seconds_and_grows_back() {
        let (rule, mut state) = (TenantRule { rate: 80, ..rule(None, 0) }, TenantState::default());
        assert!(slow_down(&mut state, NOW) && !slow_down(&mut state, NOW.plus(9_999)));
        assert_eq!(rate(&rule, &state), 40);
        assert!(slow_down(&mut state, NOW.plus(10_000)));
        assert_eq!(rate(&rule, &state), 20);
        assert!(!went_well(&mut state, NOW.plus(15_000)));
        let mut now = NOW.plus(10_000);
        for _ in 0..8 {
            now = now.plus(10_000);
            assert!(went_well(&mut state, now));
        }
        assert_eq!(rate(&rule, &state), 80);
        let unlimited = TenantRule { rate: 0, ..rule };
        assert_eq!(rate(&unlimited, &state), 0);
        assert!(slow_down(&mut state, now.plus(10_000)));
        assert_eq!(rate(&unlimited, &state), 500);
    }

    #[test]
    fn a_burst_without_clear_answers_slows_down_and_single_ones_do_not() {
        let mut state = TenantState::default();
        for n in 0..30 {
            assert!(!unclear(&mut state, NOW.plus(n * 2_000)), "{n}");
        }
        let later = NOW.plus(100_000);
        let slowed = (0..12).filter(|n| unclear(&mut state, later.plus(*n))).count();
        assert_eq!(slowed, 1);
    }

    #[test]
    fn what_the_day_has_left_goes_by_the_smaller_limit_and_the_larger_count() {
        let day = u32::try_from(shanghai_day(NOW)).unwrap();
        let mut state = TenantState { day, sent_today: 30, ..TenantState::default() };
        assert_eq!(left_today(&rule(None, 5), &state, NOW, 0), None);
        assert_eq!(left_today(&rule(Some(100), 5), &state, NOW, 10), Some((60, 55)));
        state.quota = Some(Quota { limit: 90, used: 50, sent: 20, at: NOW });
        assert_eq!(left_today(&rule(Some(100), 5), &state, NOW, 0), Some((30, 25)));
        let tomorrow = NOW.plus(DAY_MS);
        assert_eq!(left_today(&rule(Some(100), 5), &state, tomorrow, 0), Some((90, 85)));
    }
}
