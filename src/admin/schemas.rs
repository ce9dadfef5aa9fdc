//! The JSON schemas of the main bodies, for the OpenAPI document.

use serde_json::{Map, Value as Json, json};

use crate::limits;
use crate::model::attention;

/// Every schema that the route table names.
pub(super) fn all() -> Map<String, Json> {
    let mut all = Map::new();
    for group in [tasks(), settling(), notices(), operators(), answers(), old()] {
        if let Json::Object(group) = group {
            all.extend(group);
        }
    }
    all
}

fn text(bytes: usize) -> Json {
    json!({"type": "string", "minLength": 1, "maxLength": bytes})
}

fn time() -> Json {
    json!({
        "description": "RFC 3339 with a zone, or epoch milliseconds",
        "oneOf": [{"type": "string", "format": "date-time"}, {"type": "integer", "minimum": 0}],
    })
}

fn whole(low: u64, high: u64) -> Json {
    json!({"type": "integer", "minimum": low, "maximum": high})
}

fn object(required: &[&str], properties: Json) -> Json {
    json!({
        "type": "object",
        "required": required,
        "properties": properties,
        "additionalProperties": false,
    })
}

/// An answer: further fields may be added.
fn answer(properties: Json) -> Json {
    json!({"type": "object", "properties": properties})
}

fn list_of(schema: &str) -> Json {
    json!({"type": "array", "items": {"$ref": format!("#/components/schemas/{schema}")}})
}

fn id() -> Json {
    json!({"type": "string", "pattern": "^[0-9]{1,20}$"})
}

fn kind() -> Json {
    json!({"oneOf": [text(limits::NAME_BYTES), {"type": "integer", "minimum": 0}]})
}

/// One row of what needs a person.
fn attention_row() -> Json {
    let kinds: Vec<&str> = attention::Kind::ALL.iter().map(|kind| kind.name()).collect();
    json!({
        "type": "object",
        "required": ["kind", "subject", "tenant", "since", "sentence", "acts"],
        "properties": {
            "kind": {"type": "string", "enum": kinds},
            "subject": {"type": "string"},
            "tenant": {"type": ["string", "null"]},
            "since": {"type": "string", "format": "date-time"},
            "sentence": {"type": "string"},
            "acts": {"type": "array", "items": {
                "type": "object",
                "required": ["label", "method", "path", "body"],
                "properties": {
                    "label": {"type": "string"},
                    "method": {"type": "string", "enum": ["GET", "POST"]},
                    "path": {"type": "string"},
                    "body": {"type": ["object", "null"]},
                },
            }},
        },
    })
}

fn tasks() -> Json {
    let task = object(
        &["type", "payload"],
        json!({
            "type": kind(),
            "priority": whole(0, 255),
            "due": time(),
            "delay_ms": {"type": "integer", "minimum": 0},
            "payload": {"description": "any JSON up to 64 KiB and 64 levels, kept as it is"},
            "max_attempts": whole(1, 1_000),
            "key": text(limits::KEY_BYTES),
            "replace": {"type": "boolean"},
        }),
    );
    let mut many = list_of("TaskIn");
    many["maxItems"] = json!(limits::BATCH_ITEMS);
    json!({
        "TaskIn": task,
        "Tasks": {"oneOf": [{"$ref": "#/components/schemas/TaskIn"}, many]},
        "Claim": object(&["type"], json!({
            "type": kind(),
            "priority": whole(0, 255),
            "max": whole(1, limits::CLAIM_ITEMS as u64),
            "ttl_ms": whole(limits::CLAIM_TTL_MIN_MS, limits::CLAIM_TTL_MAX_MS),
            "wait_ms": whole(0, limits::WAIT_MAX_MS),
            "request_id": text(limits::KEY_BYTES),
            "worker": text(limits::TEXT_BYTES),
        })),
        "Move": object(&[], json!({"due": time(), "priority": whole(0, 255)})),
    })
}

fn settling() -> Json {
    let claim = || json!({"type": "string"});
    let reason = || json!({"type": "string"});
    let ttl = || whole(limits::CLAIM_TTL_MIN_MS, limits::CLAIM_TTL_MAX_MS);
    let delay = || json!({"type": "integer", "minimum": 0});
    let nack = object(&[], json!({"delay_ms": delay(), "reason": reason()}));
    json!({
        "Ack": object(&["claim"], json!({"claim": claim()})),
        "Nack": object(
            &["claim"],
            json!({"claim": claim(), "delay_ms": delay(), "reason": reason()}),
        ),
        "Reject": object(&["claim"], json!({"claim": claim(), "reason": reason()})),
        "Extend": object(&["claim"], json!({"claim": claim(), "ttl_ms": ttl()})),
        "Settlement": object(&["id", "claim"], json!({
            "id": id(),
            "claim": claim(),
            "ack": {"const": true},
            "nack": nack,
            "reject": object(&[], json!({"reason": reason()})),
            "extend": object(&[], json!({"ttl_ms": ttl()})),
        })),
        "Settlements": object(&["items"], json!({"items": list_of("Settlement")})),
    })
}

fn data() -> Json {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

fn notices() -> Json {
    let recipient =
        object(&["openid"], json!({"openid": text(limits::OPENID_BYTES), "data": data()}));
    let one = json!({"oneOf": [text(limits::OPENID_BYTES), recipient]});
    let page =
        object(&["appid"], json!({"appid": {"type": "string"}, "pagepath": {"type": "string"}}));
    let openids = json!({"type": "array", "minItems": 1, "maxItems": limits::INLINE_RECIPIENTS, "items": one});
    json!({
        "Notice": object(&["tenant", "template", "audience"], json!({
            "tenant": text(limits::NAME_BYTES),
            "template": text(limits::NAME_BYTES),
            "title": text(limits::TITLE_BYTES),
            "data": data(),
            "url": text(limits::URL_BYTES),
            "miniprogram": page,
            "audience": {"oneOf": [
                object(&["openids"], json!({"openids": openids})),
                object(&["stream"], json!({"stream": {"const": true}})),
            ]},
            "send_at": time(),
            "expires_at": time(),
            "in_doubt": {"enum": ["hold", "resend"]},
            "key": text(limits::KEY_BYTES),
        })),
        "Recipients": {"description": "one recipient per line", "oneOf": [
            {"type": "string"},
            object(&["openid"], json!({"openid": {"type": "string"}, "data": data()})),
        ]},
        "Resend": object(&[], json!({
            "states": {
                "type": "array",
                "minItems": 1,
                "items": {"enum": ["refused", "dead", "skipped", "in_doubt"]},
                "default": ["refused", "dead"],
            },
            "errcode": {"type": "integer"},
            "dry_run": {"type": "boolean", "default": false},
        })),
        "Resolve": object(&["as"], json!({"as": {"enum": ["accepted", "resend", "refused"]}})),
        "Test": object(&["openid", "template"], json!({
            "openid": text(limits::OPENID_BYTES),
            "template": text(limits::NAME_BYTES),
            "data": data(),
            "url": text(limits::URL_BYTES),
            "miniprogram": {"type": "object"},
        })),
    })
}

fn operators() -> Json {
    let ids = || json!({"type": "array", "items": {"type": "string"}});
    json!({
        "Release": object(&[], json!({
            "pending": {
                "enum": ["hold", "send"],
                "default": "hold",
                "description": "hold pauses unfinished notices: the original may have sent them",
            },
        })),
        "Redrive": object(&[], json!({
            "tasks": ids(),
            "deliveries": ids(),
            "notices": ids(),
            "body": {"type": "object", "description": "the mended notice, with one of notices"},
            "type": kind(),
            "notice": id(),
            "all": {"type": "boolean"},
            "dry_run": {"type": "boolean"},
        })),
        "Count": answer(json!({
            "count": {"type": "integer"},
            "dry_run": {"type": "boolean"},
            "more": {"type": "boolean", "description": "call again for the rest"},
            "errors": {"type": "array", "items": {"type": "object"}},
        })),
        "Queue": answer(json!({"type": {"type": "string"}, "paused": {"type": "boolean"}})),
        "RunStarted": answer(json!({"run": id(), "schedule": {"type": "string"}})),
        "Backup": {"type": "object"},
        "Tenant": answer(json!({"tenant": {"type": "string"}, "circuit": {"const": "closed"}})),
        "Forgotten": answer(json!({"id": id(), "forgotten": {"const": true}})),
        "Released": answer(json!({
            "released": {"type": "boolean"},
            "was_held": {"type": "boolean"},
            "pending": {"enum": ["hold", "send"]},
            "waiting": answer(json!({
                "notices": {"type": "integer"},
                "deliveries": {"type": "integer"},
                "tasks": {"type": "integer"},
                "last_commit_at": {"type": ["string", "null"]},
            })),
        })),
        "Health": answer(json!({"status": {"const": "ok"}})),
        "Readiness": answer(json!({
            "ready": {"type": "boolean"},
            "role": {"enum": ["starting", "standby", "leader", "held", "draining"]},
            "reasons": {"type": "array", "items": {"type": "string"}},
            "lease": {},
        })),
        "Any": {},
    })
}

fn answers() -> Json {
    let text = || json!({"type": "string"});
    let number = || json!({"type": "integer"});
    let at = || json!({"type": "string", "format": "date-time"});
    let field_error = answer(json!({"pointer": text(), "detail": text()}));
    let added = answer(json!({"id": id(), "created": {"type": "boolean"}, "error": {}}));
    let claimed = answer(json!({
        "id": id(), "type": text(), "claim": text(), "attempt": number(), "due": at(),
        "until": at(), "priority": number(), "payload": {},
    }));
    json!({
        "Problem": answer(json!({
            "type": text(), "title": text(), "status": number(), "code": text(), "detail": text(),
            "errors": {"type": "array", "items": field_error},
        })),
        "Dropped": answer(json!({"type": text(), "dropped": {"type": "boolean"}})),
        "Attention": answer(json!({"items": {"type": "array", "items": attention_row()}})),
        "List": answer(json!({
            "items": {"type": "array", "items": {"type": "object"}},
            "cursor": text(),
        })),
        "AddedTask": added,
        "AddedTasks": {"oneOf": [
            {"$ref": "#/components/schemas/AddedTask"},
            answer(json!({"tasks": list_of("AddedTask")})),
        ]},
        "ClaimedTask": claimed,
        "ClaimedTasks": answer(json!({"tasks": list_of("ClaimedTask")})),
        "SettledTask": answer(json!({
            "id": id(), "state": text(), "due": at(), "until": at(), "error": {},
        })),
        "Settled": answer(json!({"items": list_of("SettledTask")})),
        "CancelledTask": answer(json!({
            "id": id(), "state": {"const": "cancelled"}, "was_claimed": {"type": "boolean"},
        })),
        "Submitted": answer(json!({
            "id": id(), "state": text(), "created": {"type": "boolean"}, "recipients": number(),
            "duplicates": number(),
        })),
        "NoticeState": answer(json!({
            "id": id(), "state": text(), "in_flight": number(), "count": number(),
            "dry_run": {"type": "boolean"},
        })),
        "AddedRecipients": answer(json!({
            "added": number(), "known": number(), "total": number(), "lines": number(),
            "closed": {"type": "boolean"},
        })),
        "NoticeView": answer(json!({
            "id": id(), "tenant": text(), "template": text(), "state": text(), "total": number(),
            "counts": {"type": "object", "additionalProperties": {"type": "integer"}},
        })),
        "Task": answer(json!({
            "id": id(), "type": text(), "priority": number(), "state": text(), "due": at(),
            "attempt": number(), "payload": {}, "attempts": {"type": "array"},
        })),
        "Delivery": answer(json!({
            "id": text(), "notice": id(), "openid": text(), "state": text(), "attempt": number(),
            "attempts": {"type": "array"},
        })),
        "Run": answer(json!({"id": id(), "schedule": text(), "outcome": text()})),
    })
}

fn old() -> Json {
    json!({
        "OldTask": {"type": "object", "required": ["taskType", "priority"], "properties": {
            "taskType": {"type": "integer", "minimum": 0},
            "priority": whole(0, 255),
            "executeTime": {"type": "integer", "minimum": 0},
            "parameters": {"type": "string", "contentEncoding": "base64"},
        }},
        "Envelope": answer(json!({
            "host": {"type": "null"},
            "code": {"enum": [200, 501, 503, 1002]},
            "errorMessage": {"type": "string"},
            "data": {},
        })),
    })
}
