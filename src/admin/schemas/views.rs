//! The schemas of answers.

use serde_json::{Value as Json, json};

use super::{
    answer, answer_with, at, delivery_id, flag, id, list_of, named, number, one_of, or_null,
    page_of, string,
};
use crate::model::attempt::Class;
use crate::model::attention;
use crate::model::delivery::DeliveryState;

/// Every answer that the route table names, and what is in them.
pub(super) fn all() -> Json {
    let mut all = serde_json::Map::new();
    for group in [plain(), tasks(), notices(), log(), operators(), lists()] {
        if let Json::Object(group) = group {
            all.extend(group);
        }
    }
    Json::Object(all)
}

fn plain() -> Json {
    json!({
        "FieldError": answer_with(
            &["pointer", "detail"],
            json!({"pointer": string(), "detail": string()}),
        ),
        "Problem": answer_with(&["type", "title", "status", "code", "detail"], json!({
            "type": string(), "title": string(), "status": number(), "code": string(),
            "detail": string(), "errors": list_of("FieldError"),
            "line": {"type": "integer", "description": "of the body, from 1"},
            "column": {"type": "integer", "description": "of the line, from 1"},
            "added": {"type": "integer", "description": "recipients added before this one"},
            "known": {"type": "integer", "description": "of these, that were there already"},
            "items": {
                "type": "array", "items": named("RefusedItem"),
                "description": "what each of several things was refused for",
            },
        })),
        "ItemError": answer_with(&["status", "code", "detail"], json!({
            "status": number(), "code": string(), "detail": string(),
            "errors": list_of("FieldError"), "line": number(), "column": number(),
        })),
        "RefusedItem": answer_with(&["id", "status", "code", "detail"], json!({
            "id": id(), "status": number(), "code": string(), "detail": string(),
            "errors": list_of("FieldError"),
        })),
        "Health": answer(json!({"status": one_of(&["ok"])})),
        "Readiness": answer_with(&["ready", "role", "reasons"], json!({
            "ready": flag(),
            "role": one_of(&["starting", "standby", "leader", "held", "draining"]),
            "reasons": {"type": "array", "items": string()},
            "lease": {"type": ["object", "null"]},
        })),
        "Any": {"type": "object"},
    })
}

fn tasks() -> Json {
    let states = ["pending", "claimed", "acked", "dead", "rejected", "cancelled"];
    json!({
        "AddedTask": answer(json!({
            "id": id(), "created": flag(), "state": string(), "error": named("ItemError"),
        })),
        "AddedTaskList": answer_with(&["tasks"], json!({"tasks": list_of("AddedTask")})),
        "AddedTasks": {
            "description": "one for one, a list for an array",
            "anyOf": [named("AddedTaskList"), named("AddedTask")],
        },
        "ClaimedTask": answer_with(&["id", "claim", "attempt", "due", "until", "payload"], json!({
            "id": id(), "type": string(), "claim": string(), "attempt": number(), "due": at(),
            "until": at(), "priority": number(), "payload": {},
        })),
        "ClaimedTasks": answer_with(&["tasks"], json!({"tasks": list_of("ClaimedTask")})),
        "SettledTask": answer(json!({
            "id": id(), "state": string(), "due": at(), "until": at(), "error": named("ItemError"),
        })),
        "Settled": answer_with(&["items"], json!({"items": list_of("SettledTask")})),
        "CancelledTask": answer(json!({
            "id": id(), "state": one_of(&["cancelled"]), "was_claimed": flag(),
        })),
        "TaskAttempt": answer(json!({
            "attempt": number(), "claimed": at(), "worker": or_null(string()), "term": number(),
            "ended": or_null(at()), "outcome": or_null(string()), "reason": or_null(string()),
        })),
        "Task": answer_with(&["id", "type", "state", "due", "attempts"], json!({
            "id": id(), "type": string(), "priority": number(), "state": one_of(&states),
            "added": at(), "due": at(), "until": or_null(at()), "ended": or_null(at()),
            "attempt": number(), "failed": number(), "max_attempts": number(),
            "key": or_null(string()), "reason": or_null(string()),
            "attempts": list_of("TaskAttempt"), "payload": {},
            "payload_text": {"type": "string", "description": "instead of a payload that is no JSON"},
        })),
        "QueueView": answer(json!({
            "type": string(), "priority": number(), "depth": number(), "claimed": number(),
            "dead": number(), "acked": number(), "cancelled": number(), "oldest": or_null(at()),
            "late_ms": number(), "paused": flag(), "deliver": one_of(&["push", "claim"]),
            "circuit": one_of(&["open", "closed"]), "rests_until": or_null(at()),
            "failures": number(), "last_error": or_null(string()),
        })),
        "Queue": answer(json!({"type": string(), "paused": flag()})),
        "Dropped": answer(json!({"type": string(), "dropped": flag()})),
        "DeadLetter": answer_with(&["kind", "id", "died"], json!({
            "kind": one_of(&["task", "delivery", "notice", "in_doubt"]),
            "id": string(), "died": at(), "reason": or_null(string()), "tenant": string(),
            "notice": id(), "openid": string(), "attempt": number(), "errcode": or_null(number()),
            "meaning": or_null(string()), "type": string(), "priority": number(),
            "state": string(), "added": at(), "due": or_null(at()), "until": or_null(at()),
            "ended": or_null(at()), "failed": number(), "max_attempts": number(),
            "key": or_null(string()), "attempts": list_of("TaskAttempt"), "payload": {},
            "schedule": string(), "run": id(), "body": {}, "title": or_null(string()),
        })),
    })
}

fn notices() -> Json {
    let states = ["scheduled", "expanding", "sending", "paused", "done", "cancelled"];
    let deliveries = DeliveryState::ALL.map(DeliveryState::name);
    let counts: serde_json::Map<String, Json> =
        deliveries.iter().map(|name| ((*name).to_owned(), number())).collect();
    json!({
        "Tested": answer_with(&["id", "delivery", "state"], json!({
            "id": id(), "delivery": delivery_id(), "state": string(),
        })),
        "Submitted": answer_with(&["id", "state", "created"], json!({
            "id": id(), "state": string(), "created": flag(), "recipients": number(),
            "duplicates": number(),
        })),
        "NoticeState": answer_with(&["id"], json!({
            "id": id(), "state": string(), "in_flight": number(), "count": number(),
            "dry_run": flag(),
        })),
        "AddedRecipients": answer(json!({
            "added": number(), "known": number(), "total": number(), "lines": number(),
            "closed": flag(),
        })),
        "Counts": {"type": "object", "properties": counts},
        "NoticeView": answer_with(&["id", "tenant", "template", "state", "total", "counts"], json!({
            "id": id(), "tenant": string(), "template": string(), "title": or_null(string()),
            "state": one_of(&states), "reason": or_null(string()), "total": number(),
            "counts": named("Counts"),
            "rate": {"type": ["number", "null"], "description": "deliveries a second"},
            "eta": or_null(at()), "created": at(), "send_at": at(), "expires_at": or_null(at()),
            "in_doubt": one_of(&["hold", "resend"]), "first_send": or_null(at()),
            "last_settled": or_null(at()), "finished": or_null(at()),
            "data": {"type": "object", "additionalProperties": {"type": "string"}},
            "template_id": string(), "url": or_null(string()),
            "miniprogram": {"type": ["object", "null"]},
        })),
        "Delivery": answer_with(&["id", "notice", "openid", "state"], json!({
            "id": delivery_id(), "notice": id(), "openid": string(), "state": one_of(&deliveries),
            "attempt": number(), "failed": number(), "due": or_null(at()), "until": or_null(at()),
            "started": or_null(at()), "doubt_since": or_null(at()), "errcode": or_null(number()),
            "meaning": or_null(string()), "msgid": or_null(string()), "reason": or_null(string()),
            "changed": at(), "tenant": string(), "title": or_null(string()), "kind": string(),
            "request": {}, "attempts": list_of("LogEntry"),
        })),
    })
}

fn log() -> Json {
    let classes = Class::ALL.map(Class::name);
    json!({
        "LogEntry": answer_with(&["id", "tenant", "notice", "delivery", "openid", "at"], json!({
            "id": id(), "tenant": string(), "notice": id(), "delivery": delivery_id(),
            "openid": string(), "attempt": number(), "at": at(), "duration_ms": number(),
            "class": one_of(&classes), "errcode": or_null(number()), "errmsg": or_null(string()),
            "meaning": or_null(string()), "msgid": or_null(string()), "rid": or_null(string()),
            "template_id": or_null(string()), "title": or_null(string()), "request": {},
            "response": {}, "worker": or_null(string()), "term": number(),
        })),
    })
}

fn operators() -> Json {
    let kinds: Vec<&str> = attention::Kind::ALL.iter().map(|kind| kind.name()).collect();
    json!({
        "AttentionAct": answer_with(&["label", "method", "path", "body"], json!({
            "label": string(), "method": one_of(&["GET", "POST"]), "path": string(),
            "body": {"type": ["object", "null"]},
        })),
        "AttentionRow": answer_with(
            &["kind", "subject", "tenant", "since", "sentence", "acts"],
            json!({
                "kind": one_of(&kinds), "subject": string(), "tenant": or_null(string()),
                "since": at(), "sentence": string(), "acts": list_of("AttentionAct"),
            }),
        ),
        "Count": answer_with(&["count"], json!({
            "count": number(), "dry_run": flag(),
            "more": {"type": "boolean", "description": "call again for the rest"},
            "errors": list_of("Problem"),
        })),
        "RunStarted": answer(json!({"run": id(), "schedule": string()})),
        "TenantRun": answer(json!({
            "found": number(), "submitted": number(), "known": number(), "refused": number(),
            "error": or_null(string()),
        })),
        "Run": answer_with(&["id", "schedule", "outcome"], json!({
            "id": id(), "schedule": string(), "planned": at(),
            "trigger": one_of(&["cron", "manual", "catch_up", "follow_up", "restart"]),
            "start": at(), "end": or_null(at()),
            "outcome": one_of(&["running", "done", "failed", "coalesced", "interrupted", "partly"]),
            "counts": {"type": "object", "additionalProperties": named("TenantRun")},
            "error": or_null(string()), "note": or_null(string()), "term": number(),
        })),
        "ScheduleView": answer(json!({
            "name": string(), "cron": string(), "timezone": string(),
            "action": one_of(&["task", "pull"]), "next": or_null(at()), "running": or_null(id()),
            "owed": or_null(at()), "last_good": or_null(at()),
        })),
        "TokenView": answer(json!({
            "fetches": number(), "fetched_at": or_null(at()), "expires_at": or_null(at()),
            "age_ms": or_null(number()),
        })),
        "TenantView": answer(json!({
            "tenant": string(), "concurrency": number(), "rate": number(),
            "templates": {"type": "array", "items": string()}, "in_flight": number(),
            "requests_today": number(), "circuit": one_of(&["open", "closed"]),
            "held_until": or_null(at()), "reason": or_null(string()), "token": named("TokenView"),
        })),
        "Tenant": answer(json!({"tenant": string(), "circuit": one_of(&["closed"])})),
        "Forgotten": answer(json!({"id": id(), "forgotten": flag()})),
        "Backup": answer(json!({
            "image": string(), "path": string(), "commit": number(), "rows": number(),
            "bytes": number(), "took_ms": number(),
        })),
        "Waiting": answer(json!({
            "notices": number(), "deliveries": number(), "tasks": number(),
            "last_commit_at": or_null(at()),
        })),
        "Released": answer(json!({
            "released": flag(), "was_held": flag(), "pending": one_of(&["hold", "send"]),
            "waiting": named("Waiting"),
        })),
        "QuarantinedRow": answer(json!({
            "tree": or_null(string()), "id": or_null(id()), "bytes": number(),
        })),
    })
}

fn lists() -> Json {
    json!({
        "Attention": page_of("AttentionRow"),
        "TaskPage": page_of("Task"),
        "QueuePage": page_of("QueueView"),
        "NoticePage": page_of("NoticeView"),
        "DeliveryPage": page_of("Delivery"),
        "DeadPage": page_of("DeadLetter"),
        "LogPage": page_of("LogEntry"),
        "SchedulePage": page_of("ScheduleView"),
        "RunPage": page_of("Run"),
        "TenantPage": page_of("TenantView"),
        "QuarantinePage": page_of("QuarantinedRow"),
    })
}
