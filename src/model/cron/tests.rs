//! Ticks of many rules, by the calendar and around clock changes.
#![allow(clippy::unwrap_used)]

use super::*;

/// The first ticks after `after`, in the rule's own time zone.
fn ticks(expr: &str, timezone: &str, after: &str, count: usize) -> Vec<String> {
    let rule = CronRule::parse(expr, timezone).unwrap();
    let mut at = Timestamp::parse(after).unwrap();
    let mut seen = Vec::new();
    while seen.len() < count {
        at = rule.next_after(at).unwrap();
        let zoned = jiff::Timestamp::from_millisecond(at.0 as i64).unwrap();
        let zoned = zoned.to_zoned(rule.zone.clone());
        seen.push(zoned.strftime("%Y-%m-%dT%H:%M:%S%:z").to_string());
    }
    seen
}

/// 2026-11-23 is a Monday.
const MONDAY: &str = "2026-11-23T08:58:30.250Z";

#[test]
fn rules_tick_when_the_calendar_says() {
    let table: &[(&str, [&str; 2])] = &[
        // Quartz: six fields.
        ("0 0/5 * * * ?", ["2026-11-23T09:00:00", "2026-11-23T09:05:00"]),
        ("0 0 12 * * ?", ["2026-11-23T12:00:00", "2026-11-24T12:00:00"]),
        ("0 15 10 ? * *", ["2026-11-23T10:15:00", "2026-11-24T10:15:00"]),
        ("*/20 * * * * ?", ["2026-11-23T08:58:40", "2026-11-23T08:59:00"]),
        ("/20 * * * * ?", ["2026-11-23T08:58:40", "2026-11-23T08:59:00"]),
        ("31 58 8 * * ?", ["2026-11-23T08:58:31", "2026-11-24T08:58:31"]),
        ("0 0-5 14 * * ?", ["2026-11-23T14:00:00", "2026-11-23T14:01:00"]),
        ("0 0,30 9-17/4 * * ?", ["2026-11-23T09:00:00", "2026-11-23T09:30:00"]),
        ("0 0 9 ? * MON-FRI", ["2026-11-23T09:00:00", "2026-11-24T09:00:00"]),
        ("0 0 9 ? * mon-fri", ["2026-11-23T09:00:00", "2026-11-24T09:00:00"]),
        ("0 0 9 ? * 1", ["2026-11-29T09:00:00", "2026-12-06T09:00:00"]),
        ("0 0 9 ? * 2", ["2026-11-23T09:00:00", "2026-11-30T09:00:00"]),
        ("0 0 9 ? * 7", ["2026-11-28T09:00:00", "2026-12-05T09:00:00"]),
        ("0 0 9 ? * SUN", ["2026-11-29T09:00:00", "2026-12-06T09:00:00"]),
        ("0 15 10 L * ?", ["2026-11-30T10:15:00", "2026-12-31T10:15:00"]),
        ("0 15 10 15W * ?", ["2026-12-15T10:15:00", "2027-01-15T10:15:00"]),
        ("0 0 8 1W 8 ?", ["2027-08-02T08:00:00", "2028-08-01T08:00:00"]),
        ("0 0 8 LW * ?", ["2026-11-30T08:00:00", "2026-12-31T08:00:00"]),
        ("0 0 8 LW 1 ?", ["2027-01-29T08:00:00", "2028-01-31T08:00:00"]),
        ("0 15 10 ? * 6L", ["2026-11-27T10:15:00", "2026-12-25T10:15:00"]),
        ("0 15 10 ? * FRI#3", ["2026-12-18T10:15:00", "2027-01-15T10:15:00"]),
        ("0 15 10 ? * 6#3", ["2026-12-18T10:15:00", "2027-01-15T10:15:00"]),
        ("0 11 11 11 11 ?", ["2027-11-11T11:11:00", "2028-11-11T11:11:00"]),
        ("0 0 0 1 JAN,JUL ?", ["2027-01-01T00:00:00", "2027-07-01T00:00:00"]),
        ("0 0 0 29 2 ?", ["2028-02-29T00:00:00", "2032-02-29T00:00:00"]),
        ("0 0 0 13 * FRI", ["2027-08-13T00:00:00", "2028-10-13T00:00:00"]),
        // Quartz: seven fields.
        ("0 0 0 1 1 ? 2030-2031", ["2030-01-01T00:00:00", "2031-01-01T00:00:00"]),
        ("0 0 0 1 1 ? *", ["2027-01-01T00:00:00", "2028-01-01T00:00:00"]),
        // Unix: five fields.
        ("*/5 * * * *", ["2026-11-23T09:00:00", "2026-11-23T09:05:00"]),
        ("0 9 * * 1", ["2026-11-23T09:00:00", "2026-11-30T09:00:00"]),
        ("0 9 * * 0", ["2026-11-29T09:00:00", "2026-12-06T09:00:00"]),
        ("0 9 * * 7", ["2026-11-29T09:00:00", "2026-12-06T09:00:00"]),
        ("0 9 * * FRI-SUN", ["2026-11-27T09:00:00", "2026-11-28T09:00:00"]),
        ("0 0 13 * 5", ["2026-11-27T00:00:00", "2026-12-04T00:00:00"]),
        ("@weekly", ["2026-11-29T00:00:00", "2026-12-06T00:00:00"]),
        ("@hourly", ["2026-11-23T09:00:00", "2026-11-23T10:00:00"]),
        // A day field that begins with `*` restricts nothing in Unix: both must fit.
        ("0 9 */2 * 1", ["2026-11-23T09:00:00", "2026-12-07T09:00:00"]),
        ("0 9 10 * */2", ["2026-12-10T09:00:00", "2027-01-10T09:00:00"]),
        ("0 9 1-31/2 * 1", ["2026-11-23T09:00:00", "2026-11-25T09:00:00"]),
        ("0 9 * * SAT-SUN", ["2026-11-28T09:00:00", "2026-11-29T09:00:00"]),
        ("0 9 * * FRI-MON", ["2026-11-23T09:00:00", "2026-11-27T09:00:00"]),
        // Weeks that go over their end, and the last day of the week.
        ("0 0 9 ? * SAT-SUN", ["2026-11-28T09:00:00", "2026-11-29T09:00:00"]),
        ("0 0 9 ? * MON-SUN", ["2026-11-23T09:00:00", "2026-11-24T09:00:00"]),
        ("0 0 9 ? * FRI-MON/2", ["2026-11-27T09:00:00", "2026-11-29T09:00:00"]),
        ("0 0 9 ? * L", ["2026-11-28T09:00:00", "2026-12-05T09:00:00"]),
        ("0 0 9 ? * L,MON", ["2026-11-23T09:00:00", "2026-11-28T09:00:00"]),
        ("0 0 9 ? * 2,6L", ["2026-11-23T09:00:00", "2026-11-27T09:00:00"]),
        // Days of the month beside each other.
        ("0 0 9 15,L * ?", ["2026-11-30T09:00:00", "2026-12-15T09:00:00"]),
    ];
    for (expr, wanted) in table {
        let wanted = wanted.map(|text| format!("{text}+00:00"));
        assert_eq!(ticks(expr, "UTC", MONDAY, 2), wanted, "{expr}");
    }
}

#[test]
fn the_next_tick_is_strictly_later() {
    let rule = CronRule::parse("0 0/5 * * * ?", "UTC").unwrap();
    let nine = Timestamp::parse("2026-11-23T09:00:00Z").unwrap();
    assert_eq!(rule.next_after(nine.minus(1)), Some(nine));
    assert_eq!(rule.next_after(nine), Some(nine.plus(300_000)));
    assert_eq!(rule.next_after(nine.plus(1)), Some(nine.plus(300_000)));
}

#[test]
fn rules_follow_their_own_zone() {
    let eight = ticks("0 0 9 * * ?", "Asia/Shanghai", MONDAY, 1);
    assert_eq!(eight, ["2026-11-24T09:00:00+08:00"]);
    let rule = CronRule::parse(" 0 0 9 * * ? ", "asia/shanghai").unwrap();
    assert_eq!((rule.expr(), rule.timezone()), ("0 0 9 * * ?", "Asia/Shanghai"));
    assert_eq!(format!("{rule:?}"), "CronRule(\"0 0 9 * * ?\" Asia/Shanghai)");
}

#[test]
fn a_tick_in_the_missing_hour_comes_once_right_after_it() {
    // Berlin, 2026-03-29: 02:00 to 03:00 does not exist. New York, 2026-03-08: the same.
    let berlin = ("Europe/Berlin", "2026-03-28T12:00:00Z");
    let table: &[(&str, (&str, &str), &[&str])] = &[
        ("0 30 2 * * ?", berlin, &["2026-03-29T03:00:00+02:00", "2026-03-30T02:30:00+02:00"]),
        ("0 0/10 2 * * ?", berlin, &["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
        ("0 30 2,3 * * ?", berlin, &["2026-03-29T03:00:00+02:00", "2026-03-29T03:30:00+02:00"]),
        ("0 0 2-3 * * ?", berlin, &["2026-03-29T03:00:00+02:00", "2026-03-30T02:00:00+02:00"]),
        (
            "30 2 * * *",
            ("America/New_York", "2026-03-07T12:00:00Z"),
            &["2026-03-08T03:00:00-04:00", "2026-03-09T02:30:00-04:00"],
        ),
        // Lord Howe moves by half an hour.
        (
            "0 15 2 * * ?",
            ("Australia/Lord_Howe", "2026-10-03T12:00:00Z"),
            &["2026-10-04T02:30:00+11:00", "2026-10-05T02:15:00+11:00"],
        ),
        // Apia left out 2011-12-30 altogether.
        (
            "0 0 9 * * ?",
            ("Pacific/Apia", "2011-12-29T20:00:00Z"),
            &["2011-12-31T00:00:00+14:00", "2011-12-31T09:00:00+14:00"],
        ),
        // Every hour: nothing to do in an hour that does not exist.
        (
            "0 30 * * * ?",
            ("Europe/Berlin", "2026-03-29T00:10:00Z"),
            &["2026-03-29T01:30:00+01:00", "2026-03-29T03:30:00+02:00"],
        ),
    ];
    for (expr, (zone, after), wanted) in table {
        assert_eq!(ticks(expr, zone, after, wanted.len()), *wanted, "{expr} {zone}");
    }
}

#[test]
fn a_tick_in_the_repeated_hour_comes_once() {
    // Berlin, 2026-10-25: 02:00 to 03:00 happens twice.
    let berlin = ("Europe/Berlin", "2026-10-24T12:00:00Z");
    let table: &[(&str, (&str, &str), &[&str])] = &[
        ("0 30 2 * * ?", berlin, &["2026-10-25T02:30:00+02:00", "2026-10-26T02:30:00+01:00"]),
        (
            "0 0/30 2,3 * * ?",
            berlin,
            &[
                "2026-10-25T02:00:00+02:00",
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T03:00:00+01:00",
            ],
        ),
        // Asked in the second half, where the first half's ticks are over.
        (
            "* * 2 * * ?",
            ("Europe/Berlin", "2026-10-25T01:10:00Z"),
            &["2026-10-26T02:00:00+01:00", "2026-10-26T02:00:01+01:00"],
        ),
        // Every hour: elapsed time counts.
        (
            "0 30 * * * ?",
            ("Europe/Berlin", "2026-10-25T00:10:00Z"),
            &[
                "2026-10-25T02:30:00+02:00",
                "2026-10-25T02:30:00+01:00",
                "2026-10-25T03:30:00+01:00",
            ],
        ),
    ];
    for (expr, (zone, after), wanted) in table {
        assert_eq!(ticks(expr, zone, after, wanted.len()), *wanted, "{expr} {zone}");
    }
}

#[test]
fn every_five_minutes_keeps_its_pace_through_both_changes() {
    let rule = CronRule::parse("0 0/5 * * * ?", "Europe/Berlin").unwrap();
    for around in ["2026-03-29T00:00:00Z", "2026-10-25T00:00:00Z"] {
        let mut at = Timestamp::parse(around).unwrap();
        for _ in 0..36 {
            let next = rule.next_after(at).unwrap();
            assert_eq!(next.since(at), 300_000, "after {at}");
            at = next;
        }
    }
}

#[test]
fn rules_that_never_tick_are_refused() {
    for expr in ["0 0 0 31 2 ?", "0 0 31 2 *", "0 0 0 30 FEB ?", "0 0 0 31 4,6,9,11 ?"] {
        let error = CronRule::parse(expr, "UTC").unwrap_err();
        assert_eq!(error, CronError::Never { expr: expr.into() });
    }
}

#[test]
fn a_rule_of_past_years_has_no_next_tick() {
    let rule = CronRule::parse("0 0 0 1 1 ? 2020", "UTC").unwrap();
    assert_eq!(rule.next_after(Timestamp::parse(MONDAY).unwrap()), None);
    assert_eq!(rule.next_after(crate::time::LATEST), None);
    let far = CronRule::parse("0 0 0 1 1 ?", "UTC").unwrap();
    assert_eq!(far.next_after(Timestamp::parse("8000-01-01T00:00:00Z").unwrap()), None);
}

#[test]
fn nonsense_is_refused_and_named() {
    for expr in [
        "",
        "* * * *",
        "0 0 0 * * ? * *",
        "61 * * * * ?",
        "0 0 24 * * ?",
        "0 0 0 32 * ?",
        "0 0 9 ? * 0",
        "0 0 9 ? * 8",
        "0 9 * * 8",
        "0 0 9 L-3 * ?",
        "0 0 22-2 * * ?",
        "0 0/0 * * * ?",
        "? * * * * *",
        "@reboot",
        "every day",
        "0 0 9 ? * 6#6",
        "0 1,,5 * * * ?",
        "0 0 9 ? * MON,",
        "0 0 9 ? * L-3",
        "0 0 9 ? NOV-FEB ?",
        "0 0/90 * * * ?",
        "0 0 0/25 * * ?",
        "0/60 * * * * ?",
        "0 0 0 1/32 * ?",
        "0 +5 * * * ?",
        "0 0 9 */W * ?",
    ] {
        match CronRule::parse(expr, "UTC") {
            Err(CronError::Syntax { expr: named, reason }) => {
                assert_eq!(named, expr);
                assert!(!reason.is_empty(), "{expr}");
            }
            other => panic!("{expr:?}: {other:?}"),
        }
    }
    let long = "0,".repeat(CRON_BYTES);
    assert_eq!(CronRule::parse(&long, "UTC").unwrap_err(), CronError::TooLong);
}

#[test]
fn refusals_and_remarks_name_the_fix() {
    for (expr, fix) in [
        ("0 0/90 * * * ?", "hours in their own field (0/2)"),
        ("0 0 0/25 * * ?", "days in their own field (1/2)"),
        ("0 0 22-2 * * ?", "write 22-23,0-2"),
        ("0 0 9 L-3 * ?", "name a day, L or LW"),
        ("1,,5 * * * *", "remove it"),
        ("0 0 9 L,LW 1 ?", "two schedules"),
        ("* * * *", "it has 4 fields"),
        ("0 24 * * *", "values go from 0 to 23"),
    ] {
        let told = CronRule::parse(expr, "UTC").unwrap_err().to_string();
        assert!(told.contains(fix), "{told}");
    }
    let rule = CronRule::parse("*/90 * * * *", "UTC").unwrap();
    assert!(rule.remarks()[0].contains("hours in their own field"), "{:?}", rule.remarks());
    assert!(CronRule::parse("*/59 * * * *", "UTC").unwrap().remarks().is_empty());
}

#[test]
fn an_unknown_zone_is_named() {
    for zone in ["Mars/Olympus", "", "Etc/Unknown", "+08:00", "../../etc/passwd"] {
        let error = CronRule::parse("0 0 9 * * ?", zone).unwrap_err();
        assert_eq!(error, CronError::Zone { name: zone.into() });
    }
    let error = CronRule::parse("0 0 9 * * ?", "Asia/Shangai").unwrap_err();
    assert!(error.to_string().starts_with("\"Asia/Shangai\" is not a time zone"), "{error}");
}

#[test]
fn a_hostile_rule_is_read_or_refused_and_its_ticks_go_forward() {
    use crate::mutants::Mutants;
    let samples: [&[u8]; 5] = [
        b"0 0/5 * * * ?",
        b"0 15 10 ? * MON-FRI#3,L 2026-2030",
        b"*/15 9-17 1,15 * 1-5",
        b"0 0 9 LW * ?",
        b"@daily",
    ];
    let at = Timestamp::parse(MONDAY).unwrap();
    let mut read = 0;
    for bytes in Mutants::of(&samples, 5_000) {
        let text = String::from_utf8_lossy(&bytes);
        match CronRule::parse(&text, "Asia/Shanghai") {
            Ok(rule) => {
                read += 1;
                if let Some(tick) = rule.next_after(at) {
                    assert!(tick > at, "{text:?}");
                    assert!(rule.next_after(tick).is_none_or(|next| next > tick), "{text:?}");
                }
            }
            Err(error) => assert!(!error.to_string().is_empty(), "{text:?}"),
        }
    }
    assert!(read > 0);
}
