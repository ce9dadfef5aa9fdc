//! `[[schedules]]`: cron rules, each adding a task or pulling notices.

use std::collections::BTreeMap;

use toml::Value;

use super::requests::{self, Carried};
use super::section::Section;
use super::text::{Route, advise, check_name, check_template};
use crate::limits::PAYLOAD_BYTES;
use crate::model::cron::CronRule;
use crate::model::rules::{Action, ScheduleRule};
use crate::time::{Clock, DAY_MS, MINUTE_MS, SystemClock, Timestamp};

/// Where a schedule pulls notices from.
#[derive(Clone, Debug)]
pub struct Pull {
    /// The address with the placeholders `{tenant}` and `{last_run}`.
    pub url: String,
    /// What the requests carry.
    pub carried: Carried,
}

/// All schedules: what the edges need and what the engine needs.
#[derive(Default)]
pub(super) struct Schedules {
    pub(super) rules: BTreeMap<String, ScheduleRule>,
    pub(super) pulls: BTreeMap<String, Pull>,
}

/// The zone of a rule that names none: WeChat's own.
const TIMEZONE: &str = "Asia/Shanghai";

/// How far a pull asks back beyond the last good one, unless told otherwise.
const OVERLAP_MS: u64 = 5 * MINUTE_MS;
const OVERLAP_MAX_MS: u64 = DAY_MS;

/// Reads `[[schedules]]`; `tenants` are the names that a pull may be made for.
pub(super) fn read(top: &Section<'_>, tenants: &[String]) -> Schedules {
    let mut schedules = Schedules::default();
    let named = |(name, ..): &Read| !name.is_empty();
    let all = top.list("schedules", |one| read_schedule(one, tenants));
    for (name, rule, pull) in all.into_iter().filter(named) {
        if let Some(pull) = pull {
            schedules.pulls.insert(name.clone(), pull);
        }
        // A rule without a cron expression or an action was noted as a problem.
        if let Some(rule) = rule
            && schedules.rules.insert(name.clone(), rule).is_some()
        {
            let what = "is the name of two schedules; rename one, runs are logged by it";
            top.problem(&format!("schedules.{name}"), what);
        }
    }
    schedules
}

type Read = (String, Option<ScheduleRule>, Option<Pull>);

fn read_schedule(section: &Section<'_>, tenants: &[String]) -> Read {
    let name = section.required_text("name", "\"new-tasks\"");
    if let Err(why) = check_name(name)
        && !name.is_empty()
    {
        section.problem("name", why);
    }
    let cron = read_cron(section);
    let (pull, since) = read_pull(section).unzip();
    let since = since.flatten();
    let task = section.section("task", read_task);
    let asked = read_tenants(section, tenants);
    let overlap_ms = section.duration_ms("overlap", 0..=OVERLAP_MAX_MS, OVERLAP_MS);
    for key in ["overlap", "since"] {
        if section.has(key) && pull.is_none() {
            section.problem(key, "goes with pull only; remove it");
        }
    }
    let action = match (&pull, task) {
        (Some(_), None) => Some(Action::Pull { tenants: asked, overlap_ms, since }),
        (None, Some(task)) => {
            if section.has("tenants") {
                section.problem("tenants", "goes with pull only; remove it");
            }
            Some(task)
        }
        (Some(_), Some(_)) => {
            section.problem_here("has both pull and task; keep one of them");
            None
        }
        (None, None) => {
            if !section.has("pull") && !section.has("task") {
                section.problem_here(
                    "does nothing; add pull = \"http://…\" or task = { type = \"…\", payload = {} }",
                );
            }
            None
        }
    };
    let rule = cron.zip(action).map(|(cron, action)| ScheduleRule { cron, action });
    (name.to_owned(), rule, pull)
}

fn read_cron(section: &Section<'_>) -> Option<CronRule> {
    let expression = section.required_text("cron", "\"0 0/5 * * * ?\"");
    let timezone = section.text("timezone").unwrap_or(TIMEZONE);
    if expression.is_empty() {
        return None;
    }
    match CronRule::parse(expression, timezone) {
        Ok(rule) => {
            rule.remarks().iter().for_each(|remark| section.warn("cron", remark));
            if rule.next_after(SystemClock.now()).is_none() {
                let what = "never comes due again, its years are over; change it or remove it";
                section.warn("cron", format!("{expression:?} {what}"));
            }
            Some(rule)
        }
        Err(why) => {
            let what = format!("{expression:?} in the zone {timezone:?} is no rule: {why}");
            section.problem("cron", what);
            None
        }
    }
}

/// An address, or a table of an address and what the requests carry; and from when the first one asks.
fn read_pull(section: &Section<'_>) -> Option<(Pull, Option<Timestamp>)> {
    let since = read_since(section);
    if section.value("pull").is_some_and(Value::is_table) {
        return section.section("pull", |pull| {
            let url =
                pull.required_text("url", "\"http://127.0.0.1:8080/notices?tenant={tenant}\"");
            check_pull(pull, "url", url);
            let carried = requests::read(pull);
            (Pull { url: url.to_owned(), carried }, read_since(pull).or(since))
        });
    }
    let url = section.text("pull")?;
    check_pull(section, "pull", url);
    Some((Pull { url: url.to_owned(), carried: Carried::default() }, since))
}

fn read_since(section: &Section<'_>) -> Option<Timestamp> {
    let text = section.text("since")?;
    let day = format!("{text}T00:00:00Z");
    let since = Timestamp::parse(text).or_else(|_| Timestamp::parse(&day)).ok();
    if since.is_none() {
        let what = "must be a day (\"1970-01-01\") or a time (\"2026-11-23T00:00:00+08:00\")";
        section.problem("since", format!("{what}, found {text:?}"));
    }
    since
}

fn check_pull(section: &Section<'_>, key: &'static str, url: &str) {
    if url.is_empty() {
        return;
    }
    match check_template(url, &["tenant", "last_run"]) {
        Ok(Route::Open) => {
            section.warn(key, "what it brings is sent on, and comes unencrypted: https is safer");
        }
        Ok(Route::Private) => {}
        Err(why) => section.problem(key, why),
    }
}

/// The tenants named, or all of them.
fn read_tenants(section: &Section<'_>, known: &[String]) -> Vec<String> {
    if !section.has("tenants") {
        if section.has("pull") && known.is_empty() {
            section.problem("pull", "is made per tenant and there is none; add [tenants.NAME]");
        }
        return known.to_vec();
    }
    let mut asked: Vec<String> = Vec::new();
    for name in section.texts("tenants") {
        if asked.iter().any(|earlier| earlier == name) {
            section.problem("tenants", format!("names {name:?} twice; remove one"));
        } else if known.iter().any(|tenant| tenant == name) {
            asked.push(name.to_owned());
        } else {
            let names: Vec<&str> = known.iter().map(String::as_str).collect();
            let advice = advise(name, &names);
            section.problem("tenants", format!("there is no tenant {name:?}; {advice}"));
        }
    }
    if section.texts("tenants").is_empty() {
        section.problem("tenants", "is empty; name tenants, or remove the key to mean all");
    }
    asked
}

fn read_task(section: &Section<'_>) -> Action {
    let kind = section.required_text("type", "\"1001\"");
    if let Err(why) = check_name(kind)
        && !kind.is_empty()
    {
        section.problem("type", why);
    }
    let priority = section.number("priority", 0..=u32::from(u8::MAX), 0);
    let payload = section.value("payload").map_or(Ok(serde_json::json!({})), json);
    let payload = payload.map(|payload| payload.to_string()).unwrap_or_else(|why| {
        section.problem("payload", why);
        String::new()
    });
    if let Err(why) = crate::json::check(&payload) {
        section.problem("payload", format!("{} at {:?}", why.detail, why.pointer));
    }
    if PAYLOAD_BYTES < payload.len() {
        section.problem("payload", format!("is longer than {PAYLOAD_BYTES} bytes as JSON"));
    }
    let priority = u8::try_from(priority).unwrap_or(u8::MAX);
    Action::Task { kind: kind.to_owned(), priority, payload }
}

/// A TOML value as JSON; dates become texts.
fn json(value: &Value) -> Result<serde_json::Value, &'static str> {
    Ok(match value {
        Value::String(text) => text.as_str().into(),
        Value::Integer(number) => (*number).into(),
        Value::Float(number) => serde_json::Number::from_f64(*number)
            .ok_or("holds a number that JSON does not have (inf or nan)")?
            .into(),
        Value::Boolean(flag) => (*flag).into(),
        Value::Datetime(time) => time.to_string().into(),
        Value::Array(items) => items.iter().map(json).collect::<Result<_, _>>()?,
        Value::Table(table) => {
            let entry = |(key, value): (&String, &Value)| json(value).map(|v| (key.clone(), v));
            serde_json::Value::Object(table.iter().map(entry).collect::<Result<_, _>>()?)
        }
    })
}
