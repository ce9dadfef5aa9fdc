//! Notices: submitted, sent again, settled by hand, tried.

use std::collections::BTreeMap;

use serde_json::{Value as Json, json};

use super::audience::audience;
use super::canary::canary;
use super::marks::marks;
use super::recipient;
use super::task::either;
use crate::api::form::{Body, Form, named};
use crate::api::submitted;
use crate::engine::command::{Audience, NoticeDraft, NoticePatch, Recipient};
use crate::limits;
use crate::model::delivery::{DeliveryState, Resolution};
use crate::model::notice::{InDoubt, Miniprogram};
use crate::named::Named;

/// Notices of one page of a pull.
const PULLED: usize = 1_000;

/// `POST /v1/notices`.
///
/// ```json
/// {"tenant": "acme", "template": "new_task", "key": "task-4711",
///  "data": {"thing1": "Inspect the pump", "time2": "2026-11-23 09:00"},
///  "audience": {"openids": ["o6_bmjrPTlm6_2sgVt7hMZOPfL2M"]}}
/// ```
impl Body for NoticeDraft {
    const NAME: &'static str = "Notice";

    fn fields(form: &mut Form<'_>) -> Self {
        Self {
            tenant: tenant(form),
            tenants: tenants(form),
            template: form.must_text("template", limits::NAME_BYTES),
            title: form.text("title", limits::TITLE_BYTES),
            data: form.strings("data", limits::NOTICE_DATA_BYTES),
            url: url(form),
            miniprogram: miniprogram(form),
            audience: audience(form),
            send_at: form.time("send_at"),
            expires_at: form.time("expires_at"),
            in_doubt: form.word("in_doubt", IN_DOUBT).unwrap_or(InDoubt::Hold),
            key: form.text("key", limits::KEY_BYTES),
            paused: None,
            seen_since: None,
            replace: form.flag("replace").unwrap_or(false),
            urgent: form.flag("urgent").unwrap_or(false),
            canary: canary(form),
            marks: marks(form),
            fingerprint: 0,
            meaning: 0,
        }
    }

    fn example() -> Json {
        json!({
            "tenant": "acme", "template": "new_task", "key": "task-4711",
            "data": {"thing1": "Inspect the pump", "time2": "2026-11-23 09:00"},
            "url": "https://example.com/tasks/4711",
            "audience": {"openids": [recipient::OPENID]},
        })
    }
}

/// Most tenants of one submission.
const TENANTS: usize = 100;

fn tenant(form: &mut Form<'_>) -> String {
    if form.is_given("tenants") {
        let tenant = form.text("tenant", limits::NAME_BYTES);
        if tenant.is_some() {
            form.wrong("tenants", "give tenant or tenants, not both");
        }
        return tenant.unwrap_or_default();
    }
    form.must_text("tenant", limits::NAME_BYTES)
}

fn tenants(form: &mut Form<'_>) -> Vec<String> {
    let schema = || json!({"type": "string"});
    let read = |value: &Json| value.as_str().map(str::to_owned);
    let given = form.is_given("tenants");
    let tenants = form.list("tenants", TENANTS, "a tenant's name", schema, read);
    form.also("tenants", json!({"description": "one notice for each, in place of tenant"}));
    let tenants = tenants.unwrap_or_default();
    if given && tenants.is_empty() && !form.has_errors() {
        form.wrong("tenants", "name at least one tenant");
    }
    tenants
}

const IN_DOUBT: &str = "hold (an operator decides) or resend (rather twice than never)";

fn url(form: &mut Form<'_>) -> Option<String> {
    let url = form.text("url", limits::URL_BYTES)?;
    if !url.starts_with("https://") && !url.starts_with("http://") {
        form.wrong("url", "an address begins with https:// or http://");
    }
    Some(url)
}

fn miniprogram(form: &mut Form<'_>) -> Option<Miniprogram> {
    form.object("miniprogram", "Miniprogram", |inner| Miniprogram {
        appid: inner.must_text("appid", limits::NAME_BYTES),
        pagepath: inner.text("pagepath", limits::URL_BYTES).unwrap_or_default(),
    })
}

/// Reads a notice that a business system gave in answer to a pull; in words what is wrong with it.
pub fn read_pulled(value: &Json) -> Result<NoticeDraft, String> {
    let text = value.to_string();
    let mut read: NoticeDraft = crate::api::form::read(&text).map_err(|wrong| wrong.words())?;
    (read.fingerprint, read.meaning) = submitted::known_by(value);
    Ok(read)
}

/// The schema of what a pull is answered: a page of notices or all of them.
#[must_use]
pub fn pulled() -> Json {
    let page = json!({
        "type": "object",
        "required": ["notices"],
        "properties": {
            "notices": {"type": "array", "items": named(NoticeDraft::NAME)},
            "next": {"type": ["string", "null"], "description": "address of the next page"},
        },
        "additionalProperties": false,
    });
    either(page, "a page of notices, or an array of them", NoticeDraft::NAME, PULLED)
}

/// `PATCH /v1/notices/{id}`.
///
/// ```json
/// {"data": {"thing1": "Inspect the other pump"}, "expires_at": "2026-11-23T18:00:00+08:00"}
/// ```
impl Body for NoticePatch {
    const NAME: &'static str = "NoticePatch";

    fn fields(form: &mut Form<'_>) -> Self {
        let data = form.is_given("data").then(|| form.strings("data", limits::NOTICE_DATA_BYTES));
        let patch = Self {
            template: form.text("template", limits::NAME_BYTES),
            title: form.text("title", limits::TITLE_BYTES),
            data,
            url: url(form),
            miniprogram: miniprogram(form),
            send_at: form.time("send_at"),
            expires_at: form.time("expires_at"),
        };
        let nothing = !patch.says_something() && patch.send_at.or(patch.expires_at).is_none();
        if nothing && !form.has_errors() {
            form.wrong_here(
                "give what changes: data, url, miniprogram, template, send_at, expires_at",
            );
        }
        patch
    }

    fn example() -> Json {
        json!({"data": {"thing1": "Inspect the other pump"}})
    }
}

/// States that a resend may take; `in_doubt` only when it is asked for by name.
const RESENDABLE: [DeliveryState; 5] = [
    DeliveryState::Refused,
    DeliveryState::Dead,
    DeliveryState::Skipped,
    DeliveryState::Failed,
    DeliveryState::InDoubt,
];

/// `POST /v1/notices/{id}/resend`.
///
/// ```json
/// {"states": ["refused", "dead"], "errcode": 43004, "dry_run": true}
/// ```
pub struct Resend {
    /// Which states to take.
    pub states: Vec<DeliveryState>,
    /// Only with this code.
    pub errcode: Option<i64>,
    /// Only count them.
    pub dry_run: bool,
}

impl Body for Resend {
    const NAME: &'static str = "Resend";

    fn fields(form: &mut Form<'_>) -> Self {
        let words = || RESENDABLE.map(DeliveryState::name);
        let schema = || json!({"type": "string", "enum": words()});
        let wanted = "refused, dead, skipped, failed or in_doubt";
        let read = |value: &Json| {
            DeliveryState::of_word(value.as_str()?).filter(|state| RESENDABLE.contains(state))
        };
        let states = form.list("states", limits::BATCH_ITEMS, wanted, schema, read);
        form.also(
            "states",
            json!({
                "minItems": 1, "maxItems": RESENDABLE.len(), "uniqueItems": true,
                "default": ["refused", "dead"],
            }),
        );
        if let Some(states) = &states
            && !form.has_errors()
        {
            if states.is_empty() {
                form.wrong("states", "name at least one state, or leave it out");
            } else if states.len() > RESENDABLE.len() {
                form.wrong("states", "name each state once");
            }
        }
        let errcode = form.signed("errcode");
        let dry_run = form.flag("dry_run").unwrap_or(false);
        form.also("dry_run", json!({"default": false}));
        let usual = || vec![DeliveryState::Refused, DeliveryState::Dead];
        Self { states: states.unwrap_or_else(usual), errcode, dry_run }
    }

    fn example() -> Json {
        json!({"states": ["refused", "dead"], "errcode": 43004, "dry_run": true})
    }
}

/// `POST /v1/deliveries/{id}/resolve`.
///
/// ```json
/// {"as": "resend"}
/// ```
pub struct Resolve(
    /// What the delivery becomes; `None` when that is wrong.
    pub Option<Resolution>,
);

impl Body for Resolve {
    const NAME: &'static str = "Resolve";

    fn fields(form: &mut Form<'_>) -> Self {
        form.must("as");
        Self(form.word("as", &Resolution::words()))
    }

    fn example() -> Json {
        json!({"as": "resend"})
    }
}

/// `POST /v1/tenants/{tenant}/test`: a notice to one recipient.
pub struct Test(
    /// The notice, whose tenant is in the path.
    pub NoticeDraft,
);

impl Body for Test {
    const NAME: &'static str = "Test";

    fn fields(form: &mut Form<'_>) -> Self {
        let openid = form.must_text("openid", limits::OPENID_BYTES);
        Self(NoticeDraft {
            template: form.must_text("template", limits::NAME_BYTES),
            title: Some("test".to_owned()),
            data: form.strings("data", limits::NOTICE_DATA_BYTES),
            url: url(form),
            miniprogram: miniprogram(form),
            audience: Audience::Inline(vec![Recipient { openid, data: BTreeMap::new() }]),
            ..NoticeDraft::default()
        })
    }

    fn example() -> Json {
        json!({
            "openid": recipient::OPENID, "template": "new_task",
            "data": {"thing1": "Inspect the pump", "time2": "2026-11-23 09:00"},
        })
    }
}
