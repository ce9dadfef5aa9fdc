//! Cron rules: when a schedule ticks.
//!
//! Two dialects share one syntax and are told apart by the number of fields:
//!
//! | fields | dialect | weekdays | day of month and weekday both given |
//! |---|---|---|---|
//! | 5: `minute hour day month weekday`, or `@daily` and the like | Unix | 0 or 7 = SUN, 1 = MON | either; both if one begins with `*`, as in `*/2` |
//! | 6 or 7: `second minute hour day month weekday [year]` | Quartz | 1 = SUN, 2 = MON, 7 = SAT | both |
//!
//! `?` is `*` in the two day fields, `0/5` is `0-59/5`, and `L`, `W`, `LW`, `6L`, `6#3` and the
//! names `MON`, `JAN` work in either dialect. `L` as a day of the week is Saturday. Ranges of
//! weekdays go over the end of the week (`SAT-SUN`, `FRI-MON`); other ranges (`22-2`) and
//! Quartz's `L-3` are refused. A step longer than its field (`0/90`) is refused in Quartz's form
//! and remarked on in Unix's, where it is allowed and never meant.
//!
//! When clocks change: a rule for every hour keeps to elapsed time, so it ticks through the
//! repeated hour and has nothing to do in the missing one. Any other rule keeps to the wall clock:
//! what falls into the missing hour ticks once, at the first moment after it, and what falls into
//! the repeated hour ticks the first time only.

use std::fmt;
use std::sync::Arc;

use croner::Cron;
use croner::parser::{CronParser, Seconds, Year};
use jiff::civil::DateTime;
use jiff::tz::{AmbiguousOffset, TimeZone};

use self::dialect::Prepared;
use crate::limits::{CRON_BYTES, NAME_BYTES, TEXT_BYTES};
use crate::time::Timestamp;

/// A checked cron rule in a time zone. It has ticked or will tick at least once since 1970.
#[derive(Clone)]
pub struct CronRule {
    cron: Arc<Cron>,
    zone: TimeZone,
    clock: WallClock,
    expr: Arc<str>,
    timezone: Arc<str>,
    remarks: Arc<[String]>,
}

/// What a rule does when clocks change.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum WallClock {
    /// Ticks by elapsed time: it names every hour.
    Ignored,
    /// Ticks once for each time on the wall clock: it names certain hours.
    Followed,
}

/// Why a text is no cron rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CronError {
    /// The text is too long to be meant.
    #[error("a cron rule has at most {CRON_BYTES} bytes")]
    TooLong,
    /// The text is not in the syntax.
    #[error("{expr:?} is not a cron rule: {reason}")]
    Syntax {
        /// The text.
        expr: String,
        /// What is wrong.
        reason: String,
    },
    /// No such time zone, neither on the host nor in the program's own copy.
    #[error("{name:?} is not a time zone: give an IANA name such as Asia/Shanghai or UTC")]
    Zone {
        /// The name, cut.
        name: String,
    },
    /// The rule names days that do not exist, such as 31 February.
    #[error("{expr:?} never comes due")]
    Never {
        /// The text.
        expr: String,
    },
}

impl CronRule {
    /// Reads a rule and looks up its time zone: the host's data first, then the bundled copy.
    ///
    /// A rule is refused when it never ticks. One whose years are over is a rule all the same;
    /// [`Self::next_after`] says `None` for it, and only the caller knows what time it is.
    pub fn parse(expr: &str, timezone: &str) -> Result<Self, CronError> {
        let expr = expr.trim();
        if expr.len() > CRON_BYTES {
            return Err(CronError::TooLong);
        }
        let zone = find_zone(timezone.trim())?;
        let syntax = |reason: String| CronError::Syntax { expr: expr.to_owned(), reason };
        let prepared = dialect::prepare(expr)
            .map_err(|why| syntax(crate::text::cut(&why, 2 * TEXT_BYTES).to_owned()))?;
        let cron = parser(&prepared).parse(&prepared.text);
        let cron = cron.map_err(|error| syntax(reason(&error)))?;
        let hours = cron.pattern.hours.values().len();
        let rule = Self {
            cron: Arc::new(cron),
            timezone: zone.iana_name().unwrap_or(timezone.trim()).into(),
            zone,
            clock: if hours == 24 { WallClock::Ignored } else { WallClock::Followed },
            expr: expr.into(),
            remarks: prepared.remarks.into(),
        };
        match rule.next_after(Timestamp(0)) {
            Some(_) => Ok(rule),
            None => Err(CronError::Never { expr: expr.to_owned() }),
        }
    }

    /// The first tick strictly after `after`; `None` when there is none up to the year 5000.
    ///
    /// The search goes from field to field, not from second to second, so that also a rule that
    /// never ticks again costs milliseconds.
    #[must_use]
    pub fn next_after(&self, after: Timestamp) -> Option<Timestamp> {
        let start = jiff::Timestamp::from_millisecond(i64::try_from(after.0).ok()?).ok()?;
        let next = match self.clock {
            WallClock::Ignored => {
                let start = start.to_zoned(self.zone.clone());
                self.cron.find_next_occurrence(&start, false).ok()?.timestamp()
            }
            WallClock::Followed => self.next_on_wall_clock(start)?,
        };
        Timestamp::from_millis(next.as_millisecond()).ok().filter(|next| *next > after)
    }

    /// Walks the wall clock without its jumps and places each tick on the time line.
    fn next_on_wall_clock(&self, after: jiff::Timestamp) -> Option<jiff::Timestamp> {
        let mut wall = self.zone.to_datetime(after);
        // Only ticks of a repeated hour, which happened the first time, are passed over.
        loop {
            wall = self.cron.find_next_occurrence(&wall, false).ok()?;
            let at = self.place(wall)?;
            if at > after {
                return Some(at);
            }
        }
    }

    /// The instant of a time on the wall clock: the first of two, or the end of the gap it is in.
    fn place(&self, wall: DateTime) -> Option<jiff::Timestamp> {
        let ambiguous = self.zone.to_ambiguous_timestamp(wall);
        match ambiguous.offset() {
            AmbiguousOffset::Unambiguous { .. } | AmbiguousOffset::Fold { .. } => {
                ambiguous.earlier().ok()
            }
            AmbiguousOffset::Gap { .. } => {
                // Read with the offset that holds after the gap it lies before it.
                let before = ambiguous.earlier().ok()?;
                self.zone.following(before).next().map(|transition| transition.timestamp())
            }
        }
    }

    /// The rule's text, trimmed.
    #[must_use]
    pub fn expr(&self) -> &str {
        &self.expr
    }

    /// What a person should know about the text though it is a rule.
    #[must_use]
    pub fn remarks(&self) -> &[String] {
        &self.remarks
    }

    /// The name of its time zone, as IANA spells it.
    #[must_use]
    pub fn timezone(&self) -> &str {
        &self.timezone
    }
}

impl fmt::Debug for CronRule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CronRule({:?} {})", self.expr, self.timezone)
    }
}

/// The parser of the dialect that the number of fields shows.
fn parser(prepared: &Prepared) -> CronParser {
    CronParser::builder()
        .seconds(Seconds::Optional)
        .year(Year::Optional)
        .alternative_weekdays(prepared.quartz)
        .dom_and_dow(prepared.both_days)
        .sloppy_ranges(true)
        .build()
}

/// The parser's complaint without its own class names.
fn reason(error: &croner::errors::CronError) -> String {
    use croner::errors::CronError as Theirs;
    let text = match error {
        Theirs::EmptyPattern => "it is empty".to_owned(),
        Theirs::InvalidPattern(text)
        | Theirs::IllegalCharacters(text)
        | Theirs::ComponentError(text) => text.trim_end_matches('.').to_owned(),
        Theirs::InvalidDate | Theirs::InvalidTime | Theirs::TimeSearchLimitExceeded => {
            error.to_string()
        }
    };
    crate::text::cut(&text, TEXT_BYTES).to_owned()
}

fn find_zone(name: &str) -> Result<TimeZone, CronError> {
    let unknown = || CronError::Zone { name: crate::text::cut(name, NAME_BYTES).to_owned() };
    crate::time::zone(name).ok_or_else(unknown)
}

mod dialect;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;
