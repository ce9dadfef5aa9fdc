//! What a tenant spares its people and its quota: the day's limit, quiet hours, messages per person.

use jiff::civil::Time;

use super::section::Section;
use crate::model::quiet::Quiet;
use crate::model::rules::Cap;
use crate::time::{DAY_MS, MINUTE_MS, zone};

/// The zone of quiet hours that name none: WeChat's own.
const TIMEZONE: &str = "Asia/Shanghai";
/// Messages per person are remembered one by one.
const CAP_MESSAGES: u32 = 100;
const CAP_MAX_MS: u64 = 90 * DAY_MS;
/// More sends than any account has in a day.
const DAILY_MAX: u32 = 1_000_000_000;

/// Reads `daily_limit` and `reserve`.
pub(super) fn read_day(section: &Section<'_>) -> (Option<u32>, u32) {
    let limit = section.number("daily_limit", 1..=DAILY_MAX, DAILY_MAX);
    let limit = section.has("daily_limit").then_some(limit);
    let reserve = section.number("reserve", 0..=DAILY_MAX, 0);
    if limit.is_some_and(|limit| reserve >= limit) {
        let what = "leaves nothing of daily_limit for what is not urgent; make it smaller";
        section.problem("reserve", what);
    }
    (limit, reserve)
}

/// Reads `quiet`.
pub(super) fn read_quiet(section: &Section<'_>) -> Option<Quiet> {
    let from = read_time(section, "from", "22:00");
    let to = read_time(section, "to", "08:00");
    let name = section.text("timezone").unwrap_or(TIMEZONE);
    let Some(zone) = zone(name) else {
        section.problem("timezone", format!("there is no zone {name:?}; write Asia/Shanghai"));
        return None;
    };
    let quiet = Quiet::new(from?, to?, zone);
    quiet.map_err(|why| section.problem("to", why)).ok()
}

fn read_time(section: &Section<'_>, key: &'static str, example: &str) -> Option<Time> {
    let text = section.required_text(key, &format!("\"{example}\""));
    if text.is_empty() {
        return None;
    }
    let whole = format!("{text}:00");
    let time = text.split_once(':').and_then(|_| whole.parse::<Time>().ok());
    if time.is_none() {
        section
            .problem(key, format!("must be a time of day such as \"{example}\", found {text:?}"));
    }
    time
}

/// Reads `cap`.
pub(super) fn read_cap(section: &Section<'_>) -> Option<Cap> {
    if !section.has("messages") {
        section.problem("messages", "is missing; add messages = 3");
        return None;
    }
    let messages = section.number("messages", 1..=CAP_MESSAGES, 3);
    let per_ms = section.duration_ms("per", MINUTE_MS..=CAP_MAX_MS, DAY_MS);
    Some(Cap { messages, per_ms })
}
