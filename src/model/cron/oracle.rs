//! Rules of both dialects against a second, slow and simple reading of them: each minute of the
//! wall clock is held against each field as the manual pages describe it.
#![allow(clippy::unwrap_used)]

use jiff::civil::DateTime;

use super::*;

struct Oracle {
    quartz: bool,
    fields: Vec<String>,
}

impl Oracle {
    /// Minute, hour, day, month, weekday; the second of a Quartz rule is always 0 here.
    fn new(expr: &str) -> Self {
        let fields: Vec<String> = expr.split(' ').map(str::to_owned).collect();
        let quartz = fields.len() == 6;
        Self { quartz, fields: fields[usize::from(quartz)..].to_vec() }
    }

    /// Whether `value` is in a field whose values go from `low` to `high`.
    fn holds(field: &str, value: i32, low: i32, high: i32) -> bool {
        field.split(',').any(|part| {
            let (span, step) = part.split_once('/').unwrap_or((part, "1"));
            let step: i32 = step.parse().unwrap();
            let (from, to) = match span.split_once('-') {
                _ if span == "*" || span == "?" => (low, high),
                Some((from, to)) => (from.parse().unwrap(), to.parse().unwrap()),
                None if part.contains('/') => (span.parse().unwrap(), high),
                None => (span.parse().unwrap(), span.parse().unwrap()),
            };
            let mut at = from;
            let to = if to < from { to + 7 } else { to };
            while at <= to {
                if at == value || (high < at && at - 7 == value) {
                    return true;
                }
                at += step;
            }
            false
        })
    }

    fn fits(&self, at: DateTime) -> bool {
        let field = |index: usize| self.fields[index].as_str();
        let sunday_zero = i32::from(at.weekday().to_sunday_zero_offset());
        let day = Self::holds(field(2), at.day().into(), 1, 31);
        let weekday = if self.quartz {
            Self::holds(field(4), sunday_zero + 1, 1, 7)
        } else {
            // Seven is another name of Sunday, and the end of what begins with a number (`5/1`).
            let high = if field(4).starts_with('*') { 6 } else { 7 };
            Self::holds(field(4), sunday_zero, 0, high)
                || (sunday_zero == 0 && high == 7 && Self::holds(field(4), 7, 0, high))
        };
        let star = |text: &str| text.starts_with('*');
        let days = if self.quartz || star(field(2)) || star(field(4)) {
            day && weekday
        } else {
            day || weekday
        };
        days && Self::holds(field(0), at.minute().into(), 0, 59)
            && Self::holds(field(1), at.hour().into(), 0, 23)
            && Self::holds(field(3), at.month().into(), 1, 12)
    }

    /// The ticks from `from` on, up to `to`, minute by minute.
    fn ticks(&self, zone: &TimeZone, from: jiff::Timestamp, to: jiff::Timestamp) -> Vec<i64> {
        let every_hour = (0..24).all(|hour| Self::holds(&self.fields[1], hour, 0, 23));
        let mut ticks = Vec::new();
        if every_hour {
            let mut at = from.as_second() / 60 * 60 + 60;
            while at <= to.as_second() {
                let instant = jiff::Timestamp::from_second(at).unwrap();
                if self.fits(zone.to_datetime(instant)) {
                    ticks.push(at);
                }
                at += 60;
            }
            return ticks;
        }
        // The wall clock without jumps; a missing time is the end of its gap, a repeated one the first.
        let mut wall =
            zone.to_datetime(from).with().second(0).subsec_nanosecond(0).build().unwrap();
        let end = zone.to_datetime(to);
        while wall <= end {
            if self.fits(wall) {
                let first = zone.to_ambiguous_timestamp(wall).compatible().unwrap();
                let read_back = zone.to_datetime(first);
                let at = if read_back == wall {
                    first
                } else {
                    // The gap's end: step back to the first minute that has the new offset.
                    let offset = zone.to_offset(first);
                    let mut end_of_gap = first;
                    loop {
                        let before =
                            jiff::Timestamp::from_second(end_of_gap.as_second() - 60).unwrap();
                        if zone.to_offset(before) != offset {
                            break end_of_gap;
                        }
                        end_of_gap = before;
                    }
                };
                if from < at && at <= to {
                    ticks.push(at.as_second());
                }
            }
            wall = wall.checked_add(jiff::Span::new().minutes(1)).unwrap();
        }
        ticks.sort_unstable();
        ticks.dedup();
        ticks
    }
}

/// A random field whose values go from `low` to `high`.
fn field(rng: &mut fastrand::Rng, low: u32, high: u32, open: &str, steps: bool) -> String {
    let value = |rng: &mut fastrand::Rng| rng.u32(low..=high);
    let step = |rng: &mut fastrand::Rng| rng.u32(1..=(high - low).max(2) / 2);
    match rng.u8(0..8) {
        0..=2 => open.to_owned(),
        3 => value(rng).to_string(),
        4 => {
            let from = value(rng);
            format!("{from}-{}", rng.u32(from..=high))
        }
        5 if steps => format!("*/{}", step(rng)),
        6 if steps => format!("{}/{}", value(rng), step(rng)),
        _ => {
            let from = value(rng);
            format!("{},{from}-{}/{}", value(rng), rng.u32(from..=high), step(rng))
        }
    }
}

fn rule(rng: &mut fastrand::Rng) -> String {
    let quartz = rng.bool();
    let minute = field(rng, 0, 59, "0", true);
    let hour = field(rng, 0, 23, "*", true);
    let day = field(rng, 1, 31, "*", true);
    let month = field(rng, 1, 12, "*", true);
    if quartz {
        let weekday = match rng.u8(0..4) {
            0 => "7-1".to_owned(),
            1 => format!("{}-{}", rng.u8(1..=7), rng.u8(1..=7)),
            _ => field(rng, 1, 7, "?", true),
        };
        format!("0 {minute} {hour} {day} {month} {weekday}")
    } else {
        let weekday = field(rng, 0, 6, "*", true);
        format!("{minute} {hour} {day} {month} {weekday}")
    }
}

const ZONES: [&str; 6] = [
    "UTC",
    "Asia/Shanghai",
    "Europe/Berlin",
    "America/New_York",
    "Australia/Lord_Howe",
    "Africa/Casablanca",
];

#[test]
fn rules_tick_as_the_manual_pages_say_in_all_zones_and_years() {
    let seed = std::env::var("CRON_SEED").ok().and_then(|seed| seed.parse().ok()).unwrap_or(1);
    let rounds: u64 =
        std::env::var("CRON_RULES").ok().and_then(|it| it.parse().ok()).unwrap_or(100);
    for round in seed..seed + rounds {
        let mut rng = fastrand::Rng::with_seed(round);
        let expr = rule(&mut rng);
        let zone_name = ZONES[rng.usize(..ZONES.len())];
        let Ok(rule) = CronRule::parse(&expr, zone_name) else {
            // Only a day that no month has is refused: 31 February.
            assert!(
                matches!(CronRule::parse(&expr, zone_name), Err(CronError::Never { .. })),
                "{expr}"
            );
            continue;
        };
        // Twenty days somewhere in six years; half of them around a change of the clock.
        let mut start = jiff::Timestamp::from_second(
            1_735_689_600 + rng.i64(0..6 * 365) * 86_400 + rng.i64(0..86_400),
        )
        .unwrap();
        if rng.bool()
            && let Some(change) = rule.zone.following(start).next()
        {
            start =
                jiff::Timestamp::from_second(change.timestamp().as_second() - rng.i64(0..200_000))
                    .unwrap();
        }
        let end = jiff::Timestamp::from_second(start.as_second() + 20 * 86_400).unwrap();
        let wanted = Oracle::new(&expr).ticks(&rule.zone, start, end);
        let mut found = Vec::new();
        let mut at = Timestamp(u64::try_from(start.as_millisecond()).unwrap());
        while let Some(next) = rule.next_after(at) {
            let second = i64::try_from(next.0 / 1_000).unwrap();
            if end.as_second() < second {
                break;
            }
            found.push(second);
            at = next;
        }
        assert_eq!(found, wanted, "CRON_SEED={round}: {expr} {zone_name} from {start}");
    }
}
