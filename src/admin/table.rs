//! The route table: the one place that says what there is, and who does it.

use super::call::Verb;
use super::legacy::Old;
use super::look::Sight;
use super::route::{Handler, Note, Route, Time, Who};
use super::{
    AccountAct, attention, callback, claim, legacy, letters, log, look, notices, page, recipients,
    settle, tasks,
};
use crate::api::bodies::task::{Ack, Extend, Nack, Reject};
use crate::engine::command::Act;
use crate::limits;

/// A handler with what it is told beside the call.
macro_rules! run {
    ($handler:expr $(, $told:expr)?) => {
        |port, call| Box::pin($handler(port, call $(, $told)?))
    };
}

const fn get(
    path: &'static str,
    handler: Handler,
    summary: &'static str,
    query: &'static [&'static str],
    schema: &'static str,
) -> Route {
    Route {
        method: Verb::Get,
        path,
        handler,
        summary,
        query,
        takes: "",
        gives: (200, schema),
        who: Who::Clients,
        time: Time::Ordinary,
        body_bytes: limits::ACT_BODY_BYTES,
        notes: &[],
    }
}

const fn post(
    path: &'static str,
    handler: Handler,
    summary: &'static str,
    takes: &'static str,
    gives: (u16, &'static str),
) -> Route {
    Route { method: Verb::Post, takes, gives, ..get(path, handler, summary, &[], "") }
}

/// A path of the old service.
const fn old(route: Route) -> Route {
    Route { who: Who::OldClients, body_bytes: limits::OLD_BODY_BYTES, ..route }
}

const PAGE: &[&str] = &["limit", "cursor"];
const STATE: (u16, &str) = (200, "NoticeState");

/// All routes. Of two that fit a path, the first wins.
pub(super) static ROUTES: &[Route] = &[
    Route {
        query: &["atomic"],
        body_bytes: limits::BODY_BYTES,
        notes: &[Note::Keyed, Note::AlsoLines("TaskIn")],
        ..post("/v1/tasks", run!(tasks::add), "Add tasks", "Tasks", (200, "AddedTasks"))
    },
    Route {
        time: Time::WaitsForWork,
        ..post("/v1/tasks/claim", run!(claim::claim), "Claim tasks", "Claim", (200, "ClaimedTasks"))
    },
    Route {
        body_bytes: limits::BODY_BYTES,
        ..post(
            "/v1/tasks/settle",
            run!(settle::many),
            "Settle many",
            "Settlements",
            (200, "Settled"),
        )
    },
    post(
        "/v1/tasks/{id}/ack",
        run!(settle::one::<Ack>),
        "Tell that a task is done",
        "Ack",
        (200, "SettledTask"),
    ),
    post(
        "/v1/tasks/{id}/nack",
        run!(settle::one::<Nack>),
        "Tell that a task failed for now",
        "Nack",
        (200, "SettledTask"),
    ),
    post(
        "/v1/tasks/{id}/reject",
        run!(settle::one::<Reject>),
        "Tell that a task failed for good",
        "Reject",
        (200, "SettledTask"),
    ),
    post(
        "/v1/tasks/{id}/extend",
        run!(settle::one::<Extend>),
        "Keep a claim longer",
        "Extend",
        (200, "SettledTask"),
    ),
    get(
        "/v1/tasks",
        run!(look::show, Sight::Tasks),
        "List tasks",
        &["type", "state", "key", "ref", "label", "payload", "order", "limit", "cursor"],
        "TaskPage",
    ),
    get("/v1/tasks/{id}", run!(look::show, Sight::Task), "One task with its attempts", &[], "Task"),
    Route {
        method: Verb::Delete,
        ..get("/v1/tasks/{id}", run!(tasks::cancel), "Cancel a task", &[], "CancelledTask")
    },
    Route {
        method: Verb::Patch,
        takes: "Move",
        ..get("/v1/tasks/{id}", run!(tasks::change), "Change due or priority", &[], "Task")
    },
    get(
        "/v1/queues",
        run!(look::show, Sight::Queues),
        "Depth and state per type and priority",
        &["type", "limit", "cursor"],
        "QueueViewPage",
    ),
    Route {
        method: Verb::Delete,
        ..get("/v1/queues/{type}", run!(look::drop_queue), "Drop an empty type", &[], "Dropped")
    },
    post(
        "/v1/queues/{type}/pause",
        run!(look::pause, true),
        "Pause a type: hand out none of its tasks",
        "",
        (200, "Queue"),
    ),
    post("/v1/queues/{type}/resume", run!(look::pause, false), "Resume a type", "", (200, "Queue")),
    Route {
        query: &["dry_run"],
        body_bytes: limits::BODY_BYTES,
        notes: &[Note::Keyed, Note::Known],
        ..post(
            "/v1/notices",
            run!(notices::submit),
            "Submit a notice",
            "Notice",
            (202, "Submission"),
        )
    },
    get(
        "/v1/notices",
        run!(look::show, Sight::Notices),
        "List notices",
        &["tenant", "state", "key", "ref", "label", "order", "limit", "cursor"],
        "NoticeViewPage",
    ),
    get("/v1/notices/{id}", run!(look::show, Sight::Notice), "One notice", &[], "NoticeView"),
    Route {
        method: Verb::Patch,
        takes: "NoticePatch",
        ..get(
            "/v1/notices/{id}",
            run!(notices::patch),
            "Change what it says, for whoever has not got it",
            &[],
            "NoticeView",
        )
    },
    get(
        "/v1/notices/{id}/deliveries",
        run!(look::show, Sight::Deliveries),
        "Its deliveries",
        &["state", "openid", "limit", "cursor"],
        "DeliveryPage",
    ),
    Route {
        query: &["done"],
        time: Time::Long,
        notes: &[Note::OnlyLines],
        ..post(
            "/v1/notices/{id}/recipients",
            run!(recipients::stream),
            "Stream recipients, one per line",
            "Recipients",
            (200, "AddedRecipients"),
        )
    },
    post("/v1/notices/{id}/send", run!(notices::act, Act::Send), "Send now", "", STATE),
    post("/v1/notices/{id}/pause", run!(notices::act, Act::Pause), "Hold", "", STATE),
    post("/v1/notices/{id}/resume", run!(notices::act, Act::Resume), "Go on", "", STATE),
    post(
        "/v1/notices/{id}/cancel",
        run!(notices::act, Act::Cancel),
        "Withdraw what waits",
        "",
        STATE,
    ),
    Route {
        notes: &[Note::BodyMayBeMissing],
        ..post(
            "/v1/notices/{id}/resend",
            run!(notices::resend),
            "Send again to the failed",
            "Resend",
            STATE,
        )
    },
    get(
        "/v1/deliveries",
        run!(look::show, Sight::Doubts),
        "Deliveries in doubt, of all notices",
        &["state", "tenant", "notice", "limit", "cursor"],
        "DeliveryPage",
    ),
    get(
        "/v1/deliveries/{id}",
        run!(look::show, Sight::Delivery),
        "One delivery with its attempts",
        &[],
        "Delivery",
    ),
    post(
        "/v1/deliveries/{id}/resolve",
        run!(notices::resolve),
        "Settle a delivery that is in doubt",
        "Resolve",
        (200, "Delivery"),
    ),
    get(
        "/v1/dead",
        run!(look::show, Sight::Dead),
        "Dead letters",
        &["type", "kind", "payload", "limit", "cursor"],
        "DeadOrDoubtPage",
    ),
    Route {
        method: Verb::Delete,
        ..get("/v1/dead/{id}", run!(letters::forget), "Forget a refused notice", &[], "Forgotten")
    },
    Route {
        body_bytes: limits::IDS_BODY_BYTES,
        ..post(
            "/v1/dead/redrive",
            run!(look::redrive),
            "Bring dead letters back",
            "Redrive",
            (200, "Count"),
        )
    },
    get(
        "/v1/why",
        run!(look::show, Sight::Why),
        "Why somebody got a message of a notice, or did not",
        &["tenant", "openid", "notice", "ref"],
        "Why",
    ),
    get("/v1/attention", run!(attention::show), "What needs a person", PAGE, "AttentionRowPage"),
    Route {
        notes: &[Note::Gives(&["application/x-ndjson", "text/csv"])],
        ..get(
            "/v1/log",
            run!(log::show),
            "The send log; as NDJSON or CSV all of it",
            &[
                "tenant", "openid", "notice", "ref", "label", "errcode", "from", "to", "order",
                "for", "tz", "limit", "cursor",
            ],
            "LogEntryPage",
        )
    },
    get("/v1/schedules", run!(look::show, Sight::Schedules), "Cron rules", &[], "ScheduleViewPage"),
    Route {
        notes: &[Note::BodyMayBeMissing],
        ..post(
            "/v1/schedules/{name}/run",
            run!(look::run),
            "Run a schedule now",
            "RunNow",
            (202, "RunStarted"),
        )
    },
    get(
        "/v1/runs",
        run!(look::show, Sight::Runs),
        "The run log, newest first",
        &["schedule", "limit", "cursor"],
        "RunPage",
    ),
    get("/v1/runs/{id}", run!(look::show, Sight::Run), "One run", &[], "Run"),
    get(
        "/v1/tenants",
        run!(look::show, Sight::Tenants),
        "Limits, quota, token age",
        &[],
        "TenantViewPage",
    ),
    post(
        "/v1/tenants/{tenant}/test",
        run!(notices::test),
        "Send one message to one openid",
        "Test",
        (202, "Tested"),
    ),
    post(
        "/v1/tenants/{tenant}/token/refresh",
        run!(look::account, AccountAct::RefreshToken),
        "Fetch the access token anew",
        "",
        (200, "AccountDone"),
    ),
    post(
        "/v1/tenants/{tenant}/quota/clear",
        run!(look::clear_quota),
        "Set WeChat's counters of the day back: ten times a month",
        "Confirm",
        (200, "AccountDone"),
    ),
    post(
        "/v1/tenants/{tenant}/templates/refresh",
        run!(look::account, AccountAct::RefreshTemplates),
        "Ask WeChat for the list of templates",
        "",
        (200, "AccountDone"),
    ),
    post(
        "/v1/tenants/{tenant}/limits",
        run!(look::limit_tenant),
        "Change rate and concurrency, until they are changed again",
        "TenantLimits",
        (200, "TenantView"),
    ),
    post(
        "/v1/tenants/{tenant}/resume",
        run!(look::resume_tenant),
        "End a tenant's rest: send at once",
        "",
        (200, "Tenant"),
    ),
    get(
        "/v1/quarantine",
        run!(look::show, Sight::Quarantine),
        "Rows set aside",
        PAGE,
        "QuarantinedRowPage",
    ),
    Route {
        time: Time::Long,
        ..post("/v1/backup", run!(look::backup), "Make an image now", "", (200, "Backup"))
    },
    post(
        "/v1/release",
        run!(look::release),
        "Let a held daemon work",
        "Release",
        (200, "Released"),
    ),
    Route {
        who: Who::Anybody,
        ..get("/healthz", run!(look::health), "Whether the process lives", &[], "Health")
    },
    Route {
        who: Who::Anybody,
        notes: &[Note::NotReady],
        ..get(
            "/readyz",
            run!(look::readiness),
            "Whether it takes and does work",
            &["standby"],
            "Readiness",
        )
    },
    Route {
        who: Who::Anybody,
        notes: &[Note::Gives(&["text/plain", "application/openmetrics-text"])],
        ..get("/metrics", run!(look::numbers), "Numbers for Prometheus", &[], "")
    },
    get("/openapi.json", run!(page::description), "This document", &[], "Any"),
    Route {
        who: Who::Anybody,
        notes: &[Note::Gives(&["text/html"])],
        ..get("/", run!(page::page), "A page to look at", &[], "")
    },
    Route {
        who: Who::Provider,
        notes: &[Note::Gives(&["text/plain"])],
        ..get("/callback/{tenant}", run!(callback::echo), "WeChat's check of the address", &[], "")
    },
    Route {
        who: Who::Provider,
        notes: &[Note::Gives(&["text/plain"])],
        ..post("/callback/{tenant}", run!(callback::take), "WeChat's own events", "", (200, ""))
    },
    old(post(
        "/api/v1/task/add",
        run!(legacy::answer, Old::Add),
        "Old: add",
        "OldTask",
        (200, "Envelope"),
    )),
    old(get(
        "/api/v1/task/cancel/{taskId}",
        run!(legacy::answer, Old::Cancel),
        "Old: cancel",
        &[],
        "Envelope",
    )),
    old(get(
        "/api/v1/task/poll/{type}/{priority}",
        run!(legacy::answer, Old::Poll),
        "Old: poll",
        &[],
        "Envelope",
    )),
    old(get(
        "/api/v1/task/{taskId}",
        run!(legacy::answer, Old::Cancel),
        "Old: cancel",
        &[],
        "Envelope",
    )),
    old(get(
        "/api/v1/task/{type}/{priority}",
        run!(legacy::answer, Old::Poll),
        "Old: poll",
        &[],
        "Envelope",
    )),
    old(Route {
        method: Verb::Delete,
        ..get(
            "/api/v1/task/delete/{taskId}/{status}",
            run!(legacy::answer, Old::Delete),
            "Old: done (1) or cancelled (2)",
            &[],
            "Envelope",
        )
    }),
];
