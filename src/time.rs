//! Points in time and the clock seam.
//!
//! Everything below the daemon takes `now: Timestamp` as an argument; only [`SystemClock`] reads a
//! clock. Durations are plain milliseconds in `u64`, with the unit in the name.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use jiff::tz::{TimeZone, TimeZoneDatabase};
use serde::{Deserialize, Serialize};

/// Milliseconds in one second.
pub const SECOND_MS: u64 = 1_000;
/// Milliseconds in one minute.
pub const MINUTE_MS: u64 = 60 * SECOND_MS;
/// Milliseconds in one hour.
pub const HOUR_MS: u64 = 60 * MINUTE_MS;
/// Milliseconds in one day of 24 hours.
pub const DAY_MS: u64 = 24 * HOUR_MS;

/// A wall-clock instant: milliseconds since 1970-01-01T00:00:00Z.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Timestamp(pub u64);

/// The last instant that is accepted as input: 9999-01-01T00:00:00Z.
pub const LATEST: Timestamp = Timestamp(253_370_764_800_000);

/// The first instant that can be meant as a due time: 2000-01-01T00:00:00Z. Nobody is decades late;
/// what lies before it is a number in another unit.
pub const EARLIEST_DUE: Timestamp = Timestamp(946_684_800_000);
/// Numbers below are epoch seconds, not milliseconds: as those they are before March 1973, as
/// seconds up to the year 5138.
const MILLIS_FROM: i64 = 100_000_000_000;

/// Why a text or number is not a time.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATime {
    /// It is none at all.
    #[error(
        "not a time: give RFC 3339 with a zone (2026-11-23T09:00:00+08:00) or epoch milliseconds"
    )]
    Unreadable,
    /// A number that is a time in seconds.
    #[error("{0} looks like seconds: give epoch milliseconds, {0}000, or RFC 3339 with a zone")]
    Seconds(i64),
    /// A number that is a time in a finer unit.
    #[error("{0} looks like microseconds or nanoseconds: give epoch milliseconds, {1}")]
    TooFine(i64, i64),
    /// A due time long before anybody can have meant it.
    #[error("{0} is decades ago: a time in seconds or 0 by mistake? leave it out for now")]
    LongAgo(Timestamp),
}

impl Timestamp {
    /// This instant plus `ms` milliseconds, clamped to [`LATEST`].
    #[must_use]
    pub fn plus(self, ms: u64) -> Self {
        Self(self.0.saturating_add(ms).min(LATEST.0))
    }

    /// This instant minus `ms` milliseconds, clamped to the epoch.
    #[must_use]
    pub fn minus(self, ms: u64) -> Self {
        Self(self.0.saturating_sub(ms))
    }

    /// Milliseconds from `earlier` to this instant; 0 when `earlier` is not earlier.
    #[must_use]
    pub fn since(self, earlier: Self) -> u64 {
        self.0.saturating_sub(earlier.0)
    }

    /// Reads RFC 3339 with an offset.
    pub fn parse(text: &str) -> Result<Self, NotATime> {
        let at: jiff::Timestamp = text.trim().parse().map_err(|_| NotATime::Unreadable)?;
        Self::from_millis(at.as_millisecond())
    }

    /// Takes epoch milliseconds; negative ones and those past [`LATEST`] are refused.
    pub fn from_millis(ms: i64) -> Result<Self, NotATime> {
        match u64::try_from(ms) {
            Ok(ms) if ms <= LATEST.0 => Ok(Self(ms)),
            _ => Err(NotATime::Unreadable),
        }
    }

    /// Takes a number that somebody gave as epoch milliseconds. One in another unit is named as
    /// such; 0 is the epoch.
    pub fn from_number(number: i64) -> Result<Self, NotATime> {
        let last = i64::try_from(LATEST.0).unwrap_or(i64::MAX);
        match number {
            1..MILLIS_FROM => Err(NotATime::Seconds(number)),
            _ if number <= last => Self::from_millis(number),
            _ => {
                let finer = [1_000, 1_000_000].map(|unit| number / unit);
                let meant = finer
                    .into_iter()
                    .find(|ms| (10 * MILLIS_FROM..10 * 10 * MILLIS_FROM).contains(ms));
                meant.map_or(Err(NotATime::Unreadable), |ms| Err(NotATime::TooFine(number, ms)))
            }
        }
    }

    /// This instant, unless nobody can mean it as a due time.
    pub fn as_due(self) -> Result<Self, NotATime> {
        if self < EARLIEST_DUE { Err(NotATime::LongAgo(self)) } else { Ok(self) }
    }

    /// Takes what JSON may carry: an RFC 3339 string or epoch milliseconds.
    pub fn from_json(value: &serde_json::Value) -> Result<Self, NotATime> {
        match value {
            serde_json::Value::String(text) => Self::parse(text),
            serde_json::Value::Number(number) => {
                number.as_i64().ok_or(NotATime::Unreadable).and_then(Self::from_number)
            }
            _ => Err(NotATime::Unreadable),
        }
    }
}

/// RFC 3339, UTC, always three digits of milliseconds.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ms = i64::try_from(self.0.min(LATEST.0)).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_millisecond(ms) {
            Ok(at) => write!(f, "{at:.3}"),
            Err(_) => write!(f, "{}ms", self.0),
        }
    }
}

/// A zone by its IANA name: of the system, or of the copy in the program where that knows none.
#[must_use]
pub fn zone(name: &str) -> Option<TimeZone> {
    let found = jiff::tz::db().get(name).or_else(|_| TimeZoneDatabase::bundled().get(name));
    found.ok().filter(|zone| !zone.is_unknown())
}

/// The clock seam: the system's in the daemon, a hand-moved one in tests.
pub trait Clock: Send + Sync + 'static {
    /// The wall clock now. It may jump; nothing may rely on it growing.
    fn now(&self) -> Timestamp;

    /// The boot clock, where there is one.
    fn steady(&self) -> Option<Steady> {
        None
    }
}

/// A reading of the machine's boot clock, which nobody sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Steady {
    /// Milliseconds since the machine was started, time asleep included.
    pub ms: u64,
    /// Which start of the machine; 0 when that cannot be known.
    pub boot: u64,
}

/// The system's wall clock.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        Timestamp(since.map_or(0, |age| u64::try_from(age.as_millis()).unwrap_or(LATEST.0)))
    }

    fn steady(&self) -> Option<Steady> {
        let id = crate::boot::boot_id();
        let boot = id.and_then(|id| u64::from_str_radix(&id[..16], 16).ok()).unwrap_or(0);
        Some(Steady { ms: crate::boot::boot_ms(), boot })
    }
}

/// A clock that stands still until a test moves it, forward or back.
#[derive(Debug, Default)]
pub struct ManualClock(AtomicU64);

impl ManualClock {
    /// A clock that shows `at`.
    #[must_use]
    pub fn new(at: Timestamp) -> Self {
        Self(AtomicU64::new(at.0))
    }

    /// Sets the time shown.
    pub fn set(&self, at: Timestamp) {
        self.0.store(at.0, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp(self.0.load(Ordering::SeqCst))
    }
}

/// Reads a duration as people write it: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
///
/// Returns milliseconds, or `None` when the text is something else or exceeds ten years.
#[must_use]
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (number, unit) = text.split_at(digits);
    let factor = match unit.trim() {
        "ms" => 1,
        "s" => SECOND_MS,
        "m" => MINUTE_MS,
        "h" => HOUR_MS,
        "d" => DAY_MS,
        _ => return None,
    };
    let ms = number.parse::<u64>().ok()?.checked_mul(factor)?;
    (ms <= 3653 * DAY_MS).then_some(ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_is_rfc3339_utc_with_milliseconds() {
        assert_eq!(Timestamp(0).to_string(), "1970-01-01T00:00:00.000Z");
        assert_eq!(Timestamp(1_795_000_000_007).to_string(), "2026-11-18T11:06:40.007Z");
        assert_eq!(LATEST.to_string(), "9999-01-01T00:00:00.000Z");
    }

    #[test]
    fn both_forms_of_input_agree() {
        let text = serde_json::json!("2026-11-23T09:00:00+08:00");
        let at = Timestamp::from_json(&text);
        assert_eq!(at, Ok(Timestamp(1_795_395_600_000)));
        assert_eq!(Timestamp::from_json(&serde_json::json!(1_795_395_600_000u64)), at);
        for bad in [
            serde_json::json!("tomorrow"),
            serde_json::json!("2026-11-23T09:00:00"),
            serde_json::json!(-1),
            serde_json::json!(1.5),
            serde_json::json!(true),
            serde_json::json!(253_370_764_800_001u64),
        ] {
            assert_eq!(Timestamp::from_json(&bad), Err(NotATime::Unreadable), "{bad}");
        }
    }

    #[test]
    fn numbers_in_another_unit_are_named() {
        let told = |number| Timestamp::from_number(number).map_err(|why| why.to_string());
        for seconds in [1, 1_795_671_188, 99_999_999_999] {
            assert!(told(seconds).unwrap_err().contains("looks like seconds"), "{seconds}");
        }
        assert!(told(1_795_671_188_000_000).unwrap_err().contains("milliseconds, 1795671188000"));
        assert!(told(1_795_671_188_000_000_000).unwrap_err().contains("1795671188000"));
        assert_eq!(told(1_795_671_188_000), Ok(Timestamp(1_795_671_188_000)));
        assert_eq!(told(0), Ok(Timestamp(0)));
        assert!(Timestamp(0).as_due().is_err());
        assert!(Timestamp::parse("1970-01-21T18:47:51Z").unwrap().as_due().is_err());
        assert!(Timestamp(1_795_671_188_000).as_due().is_ok());
    }

    #[test]
    fn durations_need_a_unit() {
        assert_eq!(parse_duration_ms("5m"), Some(300_000));
        assert_eq!(parse_duration_ms("250ms"), Some(250));
        assert_eq!(parse_duration_ms("90d"), Some(90 * DAY_MS));
        for bad in ["5", "", "m", "-5m", "5 weeks", "99999999999999999999s", "4000d"] {
            assert_eq!(parse_duration_ms(bad), None, "{bad}");
        }
    }
}
