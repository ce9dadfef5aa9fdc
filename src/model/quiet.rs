//! Quiet hours: when nothing is sent that is not urgent.

use jiff::ToSpan as _;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::time::Timestamp;

/// Quiet hours of every day in a zone; over midnight when they end before they begin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quiet {
    from: Time,
    to: Time,
    zone: TimeZone,
}

impl Quiet {
    /// From one time of day to another one.
    ///
    /// # Errors
    /// When they are the same: nothing could ever be sent, or all.
    pub fn new(from: Time, to: Time, zone: TimeZone) -> Result<Self, &'static str> {
        if from == to {
            return Err(
                "from and to are the same: these quiet hours leave no time, or none are meant",
            );
        }
        Ok(Self { from, to, zone })
    }

    /// When they end, if `now` is within them.
    #[must_use]
    pub fn end(&self, now: Timestamp) -> Option<Timestamp> {
        let ms = i64::try_from(now.0).ok()?;
        let here = jiff::Timestamp::from_millisecond(ms).ok()?.to_zoned(self.zone.clone());
        let time = here.time();
        let over_midnight = self.to < self.from;
        let within = if over_midnight {
            self.from <= time || time < self.to
        } else {
            self.from <= time && time < self.to
        };
        if !within {
            return None;
        }
        let tomorrow = over_midnight && self.from <= time;
        let day = here.date().checked_add(i64::from(tomorrow).days()).ok()?;
        let end = day.to_datetime(self.to).to_zoned(self.zone.clone()).ok()?;
        let end = u64::try_from(end.timestamp().as_millisecond()).ok()?;
        // A clock that is changed within them ends them late and never before now.
        Some(Timestamp(end.max(now.0 + 1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quiet(from: i8, to: i8) -> Quiet {
        let zone = crate::time::zone("Asia/Shanghai").unwrap();
        Quiet::new(Time::constant(from, 0, 0, 0), Time::constant(to, 30, 0, 0), zone).unwrap()
    }

    fn end(quiet: &Quiet, at: &str) -> Option<String> {
        let end = quiet.end(Timestamp::parse(at).unwrap());
        end.map(|end| end.to_string())
    }

    #[test]
    fn they_end_at_their_end_also_over_midnight() {
        let night = quiet(22, 8);
        let morning = Some("2026-11-24T00:30:00.000Z".to_owned());
        assert_eq!(end(&night, "2026-11-23T22:00:00+08:00"), morning);
        assert_eq!(end(&night, "2026-11-24T08:29:59+08:00"), morning);
        assert_eq!(end(&night, "2026-11-24T08:30:00+08:00"), None);
        assert_eq!(end(&night, "2026-11-23T21:59:59+08:00"), None);
        let noon = quiet(12, 13);
        assert_eq!(end(&noon, "2026-11-23T12:10:00+08:00").unwrap(), "2026-11-23T05:30:00.000Z");
        assert_eq!(end(&noon, "2026-11-23T11:59:00+08:00"), None);
    }

    #[test]
    fn hours_that_leave_no_time_are_refused() {
        let noon = Time::constant(12, 0, 0, 0);
        assert!(Quiet::new(noon, noon, TimeZone::UTC).is_err());
    }
}
