//! What operators send.

use serde_json::{Value as Json, json};

use crate::api::form::{Body, Form};
use crate::engine::command::{Redrive, RunNow, TenantLimits};
use crate::id::Id;
use crate::limits;
use crate::named::Named;

/// A call whose body says nothing.
pub struct Nothing;

impl Body for Nothing {
    const NAME: &'static str = "";

    fn fields(_: &mut Form<'_>) -> Self {
        Self
    }

    fn example() -> Json {
        json!({})
    }
}

/// `POST /v1/tenants/{tenant}/limits`.
///
/// ```json
/// {"rate": 50, "concurrency": 20}
/// ```
impl Body for TenantLimits {
    const NAME: &'static str = "TenantLimits";

    fn fields(form: &mut Form<'_>) -> Self {
        let number = |number: u64| Some(u32::try_from(number).unwrap_or(u32::MAX));
        let rate = form.whole("rate", 0..=u64::from(limits::RATE_MAX)).map(number);
        form.also("rate", json!({"description": "sends per second, 0 for no limit"}));
        let concurrency = form.whole("concurrency", 1..=u64::from(limits::CONCURRENCY_MAX));
        form.also("concurrency", json!({"description": "requests in flight"}));
        let concurrency = concurrency.map(number);
        let reset = form.flag("reset").unwrap_or(false);
        form.also("reset", json!({"default": false, "description": "both as configured"}));
        let given = rate.is_some() || concurrency.is_some();
        if reset && given {
            form.wrong("reset", "goes without rate and concurrency: it is as configured then");
        } else if !reset && !given && !form.has_errors() {
            form.wrong_here("give rate, concurrency or both, or \"reset\": true");
        }
        if reset {
            Self { rate: Some(None), concurrency: Some(None) }
        } else {
            Self { rate, concurrency }
        }
    }

    fn example() -> Json {
        json!({"rate": 50, "concurrency": 20})
    }
}

/// `POST /v1/tenants/{tenant}/quota/clear`.
///
/// ```json
/// {"confirm": "acme"}
/// ```
pub struct Confirm(
    /// The tenant's name, once more.
    pub String,
);

impl Body for Confirm {
    const NAME: &'static str = "Confirm";

    fn fields(form: &mut Form<'_>) -> Self {
        Self(form.must_text("confirm", limits::NAME_BYTES))
    }

    fn example() -> Json {
        json!({"confirm": "acme"})
    }
}

/// What becomes of the unfinished notices of a copy.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pending {
    /// They are paused.
    #[default]
    Hold,
    /// They are sent.
    Send,
}

impl Named for Pending {
    const ALL: &'static [Self] = &[Self::Hold, Self::Send];

    fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Send => "send",
        }
    }
}

/// `POST /v1/release`.
///
/// ```json
/// {"pending": "hold"}
/// ```
pub struct Release {
    /// What becomes of what waits.
    pub pending: Pending,
}

impl Body for Release {
    const NAME: &'static str = "Release";

    fn fields(form: &mut Form<'_>) -> Self {
        let pending = form.word("pending", &Pending::words()).unwrap_or_default();
        let description = "hold pauses unfinished notices: the original may have sent them";
        form.also("pending", json!({"default": "hold", "description": description}));
        Self { pending }
    }

    fn example() -> Json {
        json!({"pending": "hold"})
    }
}

/// `POST /v1/schedules/{name}/run`.
///
/// ```json
/// {"tenants": ["acme"], "since": "2026-11-20T00:00:00+08:00"}
/// ```
pub struct Run(
    /// The run, whose schedule is in the path.
    pub RunNow,
);

impl Body for Run {
    const NAME: &'static str = "RunNow";

    fn fields(form: &mut Form<'_>) -> Self {
        let schema = || json!({"type": "string", "minLength": 1});
        let read = |value: &Json| value.as_str().map(str::to_owned);
        let most = limits::BATCH_ITEMS;
        let tenants = form.list("tenants", most, "a tenant's name", schema, read);
        form.also("tenants", json!({"description": "only these, of those that the pull asks for"}));
        let since = form.time("since");
        Self(RunNow { schedule: String::new(), tenants: tenants.unwrap_or_default(), since })
    }

    fn example() -> Json {
        json!({"tenants": ["acme"], "since": "2026-11-20T00:00:00+08:00"})
    }
}

/// `POST /v1/dead/redrive`.
///
/// ```json
/// {"type": "1001", "dry_run": true}
/// ```
pub struct Redriven {
    /// Tasks and deliveries.
    pub redrive: Redrive,
    /// Refused notices.
    pub notices: Vec<Id>,
    /// The one of them as it should have been.
    pub mended: Option<String>,
}

impl Body for Redriven {
    const NAME: &'static str = "Redrive";

    fn fields(form: &mut Form<'_>) -> Self {
        let most = limits::BATCH_ITEMS;
        let redrive = Redrive {
            tasks: form.ids("tasks", most),
            deliveries: form.ids("deliveries", most),
            kind: form.name("type"),
            notice: form.id("notice"),
            all: form.flag("all").unwrap_or(false),
            dry_run: form.flag("dry_run").unwrap_or(false),
            from: Vec::new(),
        };
        let notices: Vec<Id> = form.ids("notices", limits::PAGE_ITEMS);
        let mended = form.open_object("body", "a notice").map(str::to_owned);
        form.also("body", json!({"description": "the mended notice, with one of notices"}));
        if mended.is_some() && notices.len() != 1 && !form.has_errors() {
            form.wrong("body", "a mended notice goes with exactly one of notices");
        }
        let others = !redrive.tasks.is_empty()
            || !redrive.deliveries.is_empty()
            || redrive.kind.is_some()
            || redrive.notice.is_some()
            || redrive.all;
        if !notices.is_empty() && others && !form.has_errors() {
            form.wrong("notices", "notices go alone: give the others in a second call");
        }
        Self { redrive, notices, mended }
    }

    fn example() -> Json {
        json!({"type": "1001", "dry_run": true})
    }
}
