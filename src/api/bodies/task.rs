//! Tasks: added, claimed, changed, settled.

use serde_json::{Value as Json, json};

use super::marks::marks;
use crate::api::form::{Body, Form, describe, named};
use crate::engine::command::{ClaimRequest, TaskDraft, Verdict};
use crate::id::Id;
use crate::limits;
use crate::model::task::Terms;
use crate::time::{DAY_MS, Timestamp};

/// The longest delay that a nack may ask for: a year.
const NACK_DELAY_MAX_MS: u64 = 366 * DAY_MS;
/// Longest reason that is read; [`limits::TEXT_BYTES`] of it are kept.
const REASON_BYTES: usize = 64 * 1024;
/// Claim tokens are short.
const CLAIM_BYTES: usize = limits::NAME_BYTES * 2;

const ID: &str = "1882626522232127488";
const CLAIM: &str = "1-d762e5c9";

/// One task of `POST /v1/tasks`.
///
/// ```json
/// {"type": "1001", "payload": {"order": 4711}, "due": "2026-11-23T09:00:00+08:00", "key": "order-4711"}
/// ```
impl Body for TaskDraft {
    const NAME: &'static str = "TaskIn";

    fn fields(form: &mut Form<'_>) -> Self {
        form.must("type");
        let kind = form.name("type").unwrap_or_default();
        let priority = form.priority("priority").unwrap_or(0);
        let due = form.due("due");
        let delay_ms = form.whole_or("delay_ms", 0..=limits::DELAY_MAX_MS, || {
            let most = limits::DELAY_MAX_MS;
            format!("at most {most} ms, ten years: give \"due\" for a point in time")
        });
        let payload = payload(form);
        Self {
            kind,
            priority,
            due,
            delay_ms,
            payload,
            terms: Terms {
                max_attempts: form
                    .whole("max_attempts", 1..=u64::from(u32::MAX))
                    .and_then(|most| u32::try_from(most).ok()),
                key: form.text("key", limits::KEY_BYTES),
            },
            marks: marks(form),
            replace: form.flag("replace").unwrap_or(false),
            fingerprint: 0,
            meaning: 0,
        }
    }

    fn example() -> Json {
        json!({
            "type": "1001", "payload": {"order": 4711}, "due": "2026-11-23T09:00:00+08:00",
            "key": "order-4711",
        })
    }
}

/// What is given to do, as the text it came as.
fn payload(form: &mut Form<'_>) -> String {
    form.must_be_there("payload", "this field is required; any JSON will do, also null");
    let description = "any JSON up to 64 KiB and 64 levels, kept as it is";
    form.json("payload", description).unwrap_or("null").to_owned()
}

/// `POST /v1/tasks/claim`.
///
/// ```json
/// {"type": "1001", "max": 10, "wait_ms": 30000, "worker": "mailer-1"}
/// ```
impl Body for ClaimRequest {
    const NAME: &'static str = "Claim";

    fn fields(form: &mut Form<'_>) -> Self {
        form.must("type");
        let kind = form.name("type");
        // Refuses what can be no task type, before it is given a number of its own.
        if kind.as_ref().is_some_and(|kind| !crate::engine::is_name(kind)) {
            form.wrong("type", format!("1 to {} letters, digits, - _ .", limits::NAME_BYTES));
        }
        let max = form.whole("max", 1..=limits::CLAIM_ITEMS as u64);
        Self {
            kind: kind.unwrap_or_default(),
            priority: form.priority("priority"),
            max: max.map_or(1, |max| max as usize),
            ttl_ms: ttl_ms(form),
            wait_ms: form.whole("wait_ms", 0..=limits::WAIT_MAX_MS).unwrap_or(0),
            request: form.text("request_id", limits::KEY_BYTES),
            worker: form.text("worker", limits::TEXT_BYTES),
        }
    }

    fn example() -> Json {
        json!({"type": "1001", "max": 10, "wait_ms": 30_000, "worker": "mailer-1"})
    }
}

fn ttl_ms(form: &mut Form<'_>) -> Option<u64> {
    form.whole("ttl_ms", limits::CLAIM_TTL_MIN_MS..=limits::CLAIM_TTL_MAX_MS)
}

/// `PATCH /v1/tasks/{id}`.
///
/// ```json
/// {"due": "2026-11-24T09:00:00+08:00", "priority": 1}
/// ```
pub struct Move {
    /// The new due time.
    pub due: Option<Timestamp>,
    /// The new priority.
    pub priority: Option<u8>,
}

impl Body for Move {
    const NAME: &'static str = "Move";

    fn fields(form: &mut Form<'_>) -> Self {
        let found = Self { due: form.due("due"), priority: form.priority("priority") };
        if found.due.is_none() && found.priority.is_none() && !form.has_errors() {
            form.wrong_here("give due, priority or both");
        }
        found
    }

    fn example() -> Json {
        json!({"due": "2026-11-24T09:00:00+08:00", "priority": 1})
    }
}

/// What is common to what a consumer says of one task.
pub trait Says: Body {
    /// The claim it was given, and what came of the task.
    fn said(self) -> (String, Verdict);
}

/// A body that is a claim and the fields of a verdict.
macro_rules! verdict {
    ($(#[$doc:meta])* $name:ident, $title:literal, $fields:expr, $example:expr) => {
        $(#[$doc])*
        pub struct $name(String, Verdict);

        impl Body for $name {
            const NAME: &'static str = $title;

            fn fields(form: &mut Form<'_>) -> Self {
                let claim = form.must_text("claim", CLAIM_BYTES);
                Self(claim, $fields(form))
            }

            fn example() -> Json {
                $example
            }
        }

        impl Says for $name {
            fn said(self) -> (String, Verdict) {
                (self.0, self.1)
            }
        }
    };
}

verdict!(
    /// `POST /v1/tasks/{id}/ack`: done.
    Ack,
    "Ack",
    |_: &mut Form<'_>| Verdict::Ack,
    json!({"claim": CLAIM})
);
verdict!(
    /// `POST /v1/tasks/{id}/nack`: failed for now.
    Nack,
    "Nack",
    nack,
    json!({"claim": CLAIM, "delay_ms": 60_000, "reason": "the mail server is busy"})
);
verdict!(
    /// `POST /v1/tasks/{id}/reject`: failed for good.
    Reject,
    "Reject",
    reject,
    json!({"claim": CLAIM, "reason": "there is no such order"})
);
verdict!(
    /// `POST /v1/tasks/{id}/extend`: still at it.
    Extend,
    "Extend",
    extend,
    json!({"claim": CLAIM, "ttl_ms": 120_000})
);

fn nack(form: &mut Form<'_>) -> Verdict {
    Verdict::Nack {
        delay_ms: form.whole("delay_ms", 0..=NACK_DELAY_MAX_MS),
        reason: form.text("reason", REASON_BYTES),
    }
}

fn reject(form: &mut Form<'_>) -> Verdict {
    Verdict::Reject { reason: form.text("reason", REASON_BYTES) }
}

fn extend(form: &mut Form<'_>) -> Verdict {
    Verdict::Extend { ttl_ms: ttl_ms(form) }
}

/// One item of `POST /v1/tasks/settle`.
///
/// ```json
/// {"id": "1882626522232127488", "claim": "1-d762e5c9", "nack": {"reason": "busy"}}
/// ```
pub struct OneOfMany {
    /// The task; `None` when that is wrong.
    pub task: Option<Id>,
    /// The claim token.
    pub claim: String,
    /// What came of it; `None` when that is wrong.
    pub verdict: Option<Verdict>,
}

impl Body for OneOfMany {
    const NAME: &'static str = "Settlement";

    fn fields(form: &mut Form<'_>) -> Self {
        form.must("id");
        let task = form.id("id");
        let claim = form.must_text("claim", CLAIM_BYTES);
        let mut verdicts = Vec::new();
        if let Some(yes) = form.flag("ack") {
            if yes {
                verdicts.push(Verdict::Ack);
            } else {
                form.wrong("ack", "true, or leave it out");
            }
        }
        form.also("ack", json!({"enum": [true]}));
        verdicts.extend(form.object_or_true("nack", "NackHow", nack));
        verdicts.extend(form.object_or_true("reject", "RejectHow", reject));
        verdicts.extend(form.object_or_true("extend", "ExtendHow", extend));
        if verdicts.len() != 1 && !form.has_errors() {
            form.wrong_here("give exactly one of ack, nack, reject, extend");
        }
        Self { task, claim, verdict: verdicts.pop() }
    }

    fn example() -> Json {
        json!({"id": ID, "claim": CLAIM, "ack": true})
    }
}

/// `POST /v1/tasks/settle`: its items are read one by one.
pub struct Settlements(
    /// The items, as text.
    pub Vec<String>,
);

impl Body for Settlements {
    const NAME: &'static str = "Settlements";

    fn fields(form: &mut Form<'_>) -> Self {
        let items = form.parts("items", limits::BATCH_ITEMS, || named(OneOfMany::NAME));
        Self(items.into_iter().map(str::to_owned).collect())
    }

    fn example() -> Json {
        json!({"items": [
            {"id": ID, "claim": CLAIM, "ack": true},
            {"id": ID, "claim": CLAIM, "nack": {"reason": "busy"}},
        ]})
    }
}

/// The schema of `POST /v1/tasks`: one task or many.
#[must_use]
pub fn one_or_many() -> Json {
    let (one, _) = describe::<TaskDraft>();
    either(one, "one task, or an array of them", TaskDraft::NAME, limits::BATCH_ITEMS)
}

/// An object, or an array of what `items` names. Not as a `oneOf`: generators make no code of one with an
/// array in it that compiles.
pub(super) fn either(object: Json, description: &str, items: &str, most: usize) -> Json {
    let mut both = object;
    both["type"] = json!(["object", "array"]);
    both["description"] = json!(description);
    both["items"] = named(items);
    both["maxItems"] = json!(most);
    both
}
