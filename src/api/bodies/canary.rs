//! A notice's first few: how many, and when the rest follows.

use serde_json::{Value as Json, json};

use crate::api::form::Form;
use crate::model::notice::CanaryRule;
use crate::time::{DAY_MS, MINUTE_MS, parse_duration_ms};

/// Most of the first few.
const FIRST_MAX: u64 = 100_000;
const FIRST: u64 = 50;
const WAIT_MS: u64 = 2 * MINUTE_MS;
const WAIT_MAX_MS: u64 = DAY_MS;

/// Reads `canary`.
pub(super) fn canary(form: &mut Form<'_>) -> Option<CanaryRule> {
    form.object("canary", "CanaryRule", |inner| {
        let first = inner.whole("first", 1..=FIRST_MAX).unwrap_or(FIRST);
        inner.also("first", json!({"default": FIRST}));
        let limits = inner.object("stop_if", "CanaryLimits", |limits| {
            let refused = percent(limits, "refused");
            let in_doubt = percent(limits, "in_doubt");
            if refused.is_none() && in_doubt.is_none() && !limits.has_errors() {
                limits.wrong_here("give refused, in_doubt or both: \"20%\"");
            }
            (refused, in_doubt)
        });
        let (refused, in_doubt) = limits.unwrap_or((Some(20), Some(5)));
        inner.also("stop_if", json!({"default": {"refused": "20%", "in_doubt": "5%"}}));
        let wait = inner.text("wait", 16);
        inner.also("wait", json!({"default": "2m", "description": "a duration: 30s, 2m, 1h"}));
        let wait_ms = wait.as_deref().map_or(Some(WAIT_MS), parse_duration_ms);
        let wait_ms = wait_ms.filter(|ms| *ms <= WAIT_MAX_MS);
        if wait_ms.is_none() {
            inner.wrong("wait", "give a duration up to a day: 30s, 2m, 1h");
        }
        CanaryRule {
            first: u32::try_from(first).unwrap_or(u32::MAX),
            refused,
            in_doubt,
            wait_ms: wait_ms.unwrap_or(WAIT_MS),
        }
    })
}

/// A share as a text: `"20%"`.
fn percent(form: &mut Form<'_>, name: &'static str) -> Option<u32> {
    let schema = || json!({"type": "string", "pattern": "^[0-9]{1,3}%$"});
    let read = |value: &Json| {
        let number: u32 = value.as_str()?.strip_suffix('%')?.trim().parse().ok()?;
        (number <= 100).then_some(number)
    };
    form.special(name, "a share such as \"20%\"", schema, read)
}
