//! Daily quotas of one account. A day is one of Shanghai; a month is 30 such days.

use crate::time::{DAY_MS, HOUR_MS, Timestamp};

/// The calls that have a quota.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Send,
    Token,
    StableToken,
    ForcedToken,
    Followers,
    Profiles,
}

/// All of [`Call`]; the position is the index of its counter.
const CALLS: [Call; 6] = [
    Call::Send,
    Call::Token,
    Call::StableToken,
    Call::ForcedToken,
    Call::Followers,
    Call::Profiles,
];

/// How often the counters may be cleared in a month.
const CLEARS: u64 = 10;

impl Call {
    /// The call behind a `cgi_path`.
    pub(super) fn of_path(path: &str) -> Option<Self> {
        match path {
            "/cgi-bin/message/template/send" => Some(Self::Send),
            "/cgi-bin/token" => Some(Self::Token),
            "/cgi-bin/stable_token" => Some(Self::StableToken),
            "/cgi-bin/user/get" => Some(Self::Followers),
            "/cgi-bin/user/info/batchget" => Some(Self::Profiles),
            _ => None,
        }
    }

    /// Calls a day; `sends` is that of sends, which differs among accounts.
    fn limit(self, sends: u64) -> u64 {
        match self {
            Self::Send => sends,
            Self::Token => 2_000,
            Self::StableToken => 500_000,
            Self::ForcedToken => 20,
            Self::Followers => 500,
            Self::Profiles => 5_000_000,
        }
    }

    fn index(self) -> usize {
        CALLS.iter().position(|&call| call == self).unwrap_or_default()
    }
}

/// Whether a call may be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Leave {
    /// It may, and is counted.
    Granted,
    /// Not any more.
    Refused,
}

/// The counters of one account.
#[derive(Debug)]
pub(super) struct Quotas {
    sends: u64,
    day: u64,
    used: [u64; CALLS.len()],
    month: u64,
    clears: u64,
}

impl Quotas {
    /// Nothing used; `sends` may be sent a day.
    pub(super) fn new(sends: u64) -> Self {
        Self { sends, day: 0, used: Default::default(), month: 0, clears: 0 }
    }

    /// Counts a call, unless its quota is used up.
    pub(super) fn take(&mut self, call: Call, now: Timestamp) -> Leave {
        let (limit, used) = self.state(call, now);
        if used >= limit {
            return Leave::Refused;
        }
        self.used[call.index()] += 1;
        Leave::Granted
    }

    /// The daily limit of a call and how much of it is used.
    pub(super) fn state(&mut self, call: Call, now: Timestamp) -> (u64, u64) {
        let day = day(now);
        if day != self.day {
            (self.day, self.used) = (day, Default::default());
        }
        (call.limit(self.sends), self.used[call.index()])
    }

    /// Sets all counters to zero, unless that was done too often in this month.
    pub(super) fn clear(&mut self, now: Timestamp) -> Leave {
        let month = day(now) / 30;
        if month != self.month {
            (self.month, self.clears) = (month, 0);
        }
        if self.clears >= CLEARS {
            return Leave::Refused;
        }
        self.clears += 1;
        self.used = Default::default();
        Leave::Granted
    }
}

/// The number of the day at Shanghai, eight hours ahead all year.
fn day(now: Timestamp) -> u64 {
    now.plus(8 * HOUR_MS).0 / DAY_MS
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 23:59:59.999 at Shanghai.
    const EVENING: Timestamp = Timestamp(100 * DAY_MS - 8 * HOUR_MS - 1);

    #[test]
    fn quota_ends_and_begins_again_at_midnight_of_shanghai() {
        let mut quotas = Quotas::new(2);
        assert_eq!(quotas.take(Call::Send, EVENING), Leave::Granted);
        assert_eq!(quotas.take(Call::Send, EVENING), Leave::Granted);
        assert_eq!(quotas.take(Call::Send, EVENING), Leave::Refused);
        assert_eq!(quotas.state(Call::Send, EVENING), (2, 2));
        assert_eq!(quotas.take(Call::Token, EVENING), Leave::Granted);
        assert_eq!(quotas.take(Call::Send, EVENING.plus(1)), Leave::Granted);
        assert_eq!(quotas.state(Call::Send, EVENING.plus(1)), (2, 1));
    }

    #[test]
    fn clearing_helps_ten_times_a_month() {
        let mut quotas = Quotas::new(1);
        for _ in 0..10 {
            assert_eq!(quotas.take(Call::Send, EVENING), Leave::Granted);
            assert_eq!(quotas.clear(EVENING), Leave::Granted);
        }
        assert_eq!(quotas.clear(EVENING), Leave::Refused);
        assert_eq!(quotas.clear(EVENING.plus(30 * DAY_MS)), Leave::Granted);
    }
}
