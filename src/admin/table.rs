//! The route table: the one place that says what there is.

use super::legacy::Old;
use super::look::Sight;
use super::routes::{Handler, Route, Verb};
use super::settle::Outcome;

const fn get(
    path: &'static str,
    handler: Handler,
    summary: &'static str,
    query: &'static [&'static str],
    schema: &'static str,
) -> Route {
    Route { method: Verb::Get, path, handler, summary, query, takes: "", gives: (200, schema) }
}

const fn post(
    path: &'static str,
    handler: Handler,
    summary: &'static str,
    takes: &'static str,
    gives: (u16, &'static str),
) -> Route {
    Route { method: Verb::Post, path, handler, summary, query: &[], takes, gives }
}

const PAGE: &[&str] = &["limit", "cursor"];
const STATE: (u16, &str) = (200, "NoticeState");

/// All routes. Of two that fit a path, the first wins.
pub(super) static ROUTES: &[Route] = &[
    Route {
        query: &["atomic"],
        ..post("/v1/tasks", Handler::AddTasks, "Add tasks", "Tasks", (200, "AddedTasks"))
    },
    post("/v1/tasks/claim", Handler::Claim, "Claim tasks", "Claim", (200, "ClaimedTasks")),
    post("/v1/tasks/settle", Handler::SettleMany, "Settle many", "Settlements", (200, "Settled")),
    post("/v1/tasks/{id}/ack", Handler::Settle(Outcome::Ack), "Done", "Ack", (200, "SettledTask")),
    post(
        "/v1/tasks/{id}/nack",
        Handler::Settle(Outcome::Nack),
        "Failed for now",
        "Nack",
        (200, "SettledTask"),
    ),
    post(
        "/v1/tasks/{id}/reject",
        Handler::Settle(Outcome::Reject),
        "Failed for good",
        "Reject",
        (200, "SettledTask"),
    ),
    post(
        "/v1/tasks/{id}/extend",
        Handler::Settle(Outcome::Extend),
        "Still at it",
        "Extend",
        (200, "SettledTask"),
    ),
    get(
        "/v1/tasks",
        Handler::Show(Sight::Tasks),
        "List tasks",
        &["type", "state", "payload", "limit", "cursor"],
        "TaskPage",
    ),
    get("/v1/tasks/{id}", Handler::Show(Sight::Task), "One task with its attempts", &[], "Task"),
    Route {
        method: Verb::Delete,
        ..get("/v1/tasks/{id}", Handler::CancelTask, "Cancel a task", &[], "CancelledTask")
    },
    Route {
        method: Verb::Patch,
        takes: "Move",
        ..get("/v1/tasks/{id}", Handler::ChangeTask, "Change due or priority", &[], "Task")
    },
    get(
        "/v1/queues",
        Handler::Show(Sight::Queues),
        "Depth and state per type and priority",
        &["type", "limit", "cursor"],
        "QueuePage",
    ),
    Route {
        method: Verb::Delete,
        ..get("/v1/queues/{type}", Handler::DropQueue, "Drop an empty type", &[], "Dropped")
    },
    post("/v1/queues/{type}/pause", Handler::PauseQueue, "Hand out nothing", "", (200, "Queue")),
    post("/v1/queues/{type}/resume", Handler::ResumeQueue, "Hand out again", "", (200, "Queue")),
    post("/v1/notices", Handler::Submit, "Submit a notice", "Notice", (202, "Submitted")),
    get(
        "/v1/notices",
        Handler::Show(Sight::Notices),
        "List notices",
        &["tenant", "state", "limit", "cursor"],
        "NoticePage",
    ),
    get("/v1/notices/{id}", Handler::Show(Sight::Notice), "One notice", &[], "NoticeView"),
    get(
        "/v1/notices/{id}/deliveries",
        Handler::Show(Sight::Deliveries),
        "Its deliveries",
        &["state", "openid", "limit", "cursor"],
        "DeliveryPage",
    ),
    Route {
        query: &["done"],
        ..post(
            "/v1/notices/{id}/recipients",
            Handler::Recipients,
            "Stream recipients, one per line",
            "Recipients",
            (200, "AddedRecipients"),
        )
    },
    post("/v1/notices/{id}/send", Handler::Send, "Send now", "", STATE),
    post("/v1/notices/{id}/pause", Handler::Pause, "Hold", "", STATE),
    post("/v1/notices/{id}/resume", Handler::Resume, "Go on", "", STATE),
    post("/v1/notices/{id}/cancel", Handler::Cancel, "Withdraw what waits", "", STATE),
    post("/v1/notices/{id}/resend", Handler::Resend, "Send again to the failed", "Resend", STATE),
    get(
        "/v1/deliveries",
        Handler::Show(Sight::Doubts),
        "Deliveries in doubt, of all notices",
        &["state", "tenant", "notice", "limit", "cursor"],
        "DeliveryPage",
    ),
    get(
        "/v1/deliveries/{id}",
        Handler::Show(Sight::Delivery),
        "One delivery with its attempts",
        &[],
        "Delivery",
    ),
    post(
        "/v1/deliveries/{id}/resolve",
        Handler::Resolve,
        "Settle a delivery that is in doubt",
        "Resolve",
        (200, "Delivery"),
    ),
    get(
        "/v1/dead",
        Handler::Show(Sight::Dead),
        "Dead letters",
        &["type", "kind", "payload", "limit", "cursor"],
        "DeadPage",
    ),
    Route {
        method: Verb::Delete,
        ..get("/v1/dead/{id}", Handler::ForgetLetter, "Forget a refused notice", &[], "Forgotten")
    },
    post(
        "/v1/dead/redrive",
        Handler::Redrive,
        "Bring dead letters back",
        "Redrive",
        (200, "Count"),
    ),
    get("/v1/attention", Handler::Attention, "What needs a person", PAGE, "Attention"),
    get(
        "/v1/log",
        Handler::Log,
        "The send log; as NDJSON or CSV all of it",
        &["tenant", "openid", "notice", "errcode", "from", "to", "for", "tz", "limit", "cursor"],
        "LogPage",
    ),
    get("/v1/schedules", Handler::Show(Sight::Schedules), "Cron rules", &[], "SchedulePage"),
    post("/v1/schedules/{name}/run", Handler::Run, "Run a schedule now", "", (202, "RunStarted")),
    get(
        "/v1/runs",
        Handler::Show(Sight::Runs),
        "The run log, newest first",
        &["schedule", "limit", "cursor"],
        "RunPage",
    ),
    get("/v1/runs/{id}", Handler::Show(Sight::Run), "One run", &[], "Run"),
    get(
        "/v1/tenants",
        Handler::Show(Sight::Tenants),
        "Limits, quota, token age",
        &[],
        "TenantPage",
    ),
    post(
        "/v1/tenants/{tenant}/test",
        Handler::Test,
        "Send one message to one openid",
        "Test",
        (202, "Submitted"),
    ),
    post(
        "/v1/tenants/{tenant}/resume",
        Handler::ResumeTenant,
        "End a tenant's rest: send at once",
        "",
        (200, "Tenant"),
    ),
    get(
        "/v1/quarantine",
        Handler::Show(Sight::Quarantine),
        "Rows set aside",
        PAGE,
        "QuarantinePage",
    ),
    post("/v1/backup", Handler::Backup, "Make an image now", "", (200, "Backup")),
    post("/v1/release", Handler::Release, "Let a held daemon work", "Release", (200, "Released")),
    get("/healthz", Handler::Health, "Whether the process lives", &[], "Health"),
    get("/readyz", Handler::Ready, "Whether it takes and does work", &["standby"], "Readiness"),
    get("/metrics", Handler::Metrics, "Numbers for Prometheus", &[], ""),
    get("/openapi.json", Handler::OpenApi, "This document", &[], "Any"),
    get("/", Handler::Page, "A page to look at", &[], ""),
    post("/api/v1/task/add", Handler::Old(Old::Add), "Old: add", "OldTask", (200, "Envelope")),
    get("/api/v1/task/cancel/{taskId}", Handler::Old(Old::Cancel), "Old: cancel", &[], "Envelope"),
    get(
        "/api/v1/task/poll/{type}/{priority}",
        Handler::Old(Old::Poll),
        "Old: poll",
        &[],
        "Envelope",
    ),
    get("/api/v1/task/{taskId}", Handler::Old(Old::Cancel), "Old: cancel", &[], "Envelope"),
    get("/api/v1/task/{type}/{priority}", Handler::Old(Old::Poll), "Old: poll", &[], "Envelope"),
    Route {
        method: Verb::Delete,
        ..get(
            "/api/v1/task/delete/{taskId}/{status}",
            Handler::Old(Old::Delete),
            "Old: done (1) or cancelled (2)",
            &[],
            "Envelope",
        )
    },
];
