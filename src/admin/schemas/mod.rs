//! The JSON schemas of the main bodies, for the OpenAPI document.

use serde_json::{Map, Value as Json, json};

mod examples;
mod hooks;
mod views;

pub(super) use hooks::webhooks;

use crate::limits;

/// Every schema that the route table names.
pub(super) fn all() -> Map<String, Json> {
    let mut all = Map::new();
    for group in [tasks(), settling(), notices(), operators(), views::all(), old()] {
        if let Json::Object(group) = group {
            all.extend(group);
        }
    }
    examples::give(&mut all);
    all
}

fn text(bytes: usize) -> Json {
    json!({"type": "string", "minLength": 1, "maxLength": bytes})
}

fn string() -> Json {
    json!({"type": "string"})
}

fn number() -> Json {
    json!({"type": "integer", "format": "int64"})
}

fn flag() -> Json {
    json!({"type": "boolean"})
}

/// One of these words.
fn one_of(words: &[&str]) -> Json {
    json!({"type": "string", "enum": words})
}

/// A time in an answer.
fn at() -> Json {
    json!({"type": "string", "format": "date-time"})
}

/// The same or null.
fn or_null(schema: Json) -> Json {
    let mut schema = schema;
    let kind = schema["type"].take();
    schema["type"] = json!([kind, "null"]);
    schema
}

/// A time in a body. Epoch milliseconds are taken as well, as a number; generated clients have one type.
fn time() -> Json {
    json!({
        "type": "string",
        "format": "date-time",
        "description": "RFC 3339 with a zone; epoch milliseconds as a number are taken as well",
        "examples": ["2026-11-23T09:00:00+08:00"],
    })
}

fn whole(low: u64, high: u64) -> Json {
    json!({"type": "integer", "format": "int64", "minimum": low, "maximum": high})
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

/// An answer in which these fields are always there.
fn answer_with(required: &[&str], properties: Json) -> Json {
    json!({"type": "object", "required": required, "properties": properties})
}

fn named(schema: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

fn list_of(schema: &str) -> Json {
    json!({"type": "array", "items": named(schema)})
}

/// A page of a list.
fn page_of(schema: &str) -> Json {
    answer_with(
        &["items"],
        json!({
            "items": list_of(schema),
            "cursor": {"type": "string", "description": "for the next page; absent when there is none"},
        }),
    )
}

/// An object, or an array of what `items` names. Not as a `oneOf`: generators make no code of one with an
/// array in it that compiles.
fn either(description: &str, object: Json, items: &str, most: usize) -> Json {
    let mut both = object;
    both["type"] = json!(["object", "array"]);
    both["description"] = json!(description);
    both["items"] = named(items);
    both["maxItems"] = json!(most);
    both
}

fn id() -> Json {
    json!({"type": "string", "pattern": "^[0-9]{1,20}$", "examples": ["1882626522232127488"]})
}

fn delivery_id() -> Json {
    json!({
        "type": "string",
        "pattern": "^[0-9]{1,20}-[0-9]{1,10}$",
        "examples": ["1882626522232127488-17"],
    })
}

/// A task's type. A number is taken as well, as its text.
fn kind() -> Json {
    text(limits::NAME_BYTES)
}

fn tasks() -> Json {
    let task = object(
        &["type", "payload"],
        json!({
            "type": kind(),
            "priority": whole(0, 255),
            "due": time(),
            "delay_ms": whole(0, limits::DELAY_MAX_MS),
            "payload": {"description": "any JSON up to 64 KiB and 64 levels, kept as it is"},
            "max_attempts": whole(1, 1_000),
            "key": text(limits::KEY_BYTES),
            "replace": {"type": "boolean"},
        }),
    );
    json!({
        "TaskIn": task.clone(),
        "Tasks": either("one task, or an array of them", task, "TaskIn", limits::BATCH_ITEMS),
        "Claim": object(&["type"], json!({
            "type": kind(),
            "priority": whole(0, 255),
            "max": whole(1, limits::CLAIM_ITEMS as u64),
            "ttl_ms": whole(limits::CLAIM_TTL_MIN_MS, limits::CLAIM_TTL_MAX_MS),
            "wait_ms": whole(0, limits::WAIT_MAX_MS),
            "request_id": text(limits::KEY_BYTES),
            "worker": text(limits::TEXT_BYTES),
        })),
        "Move": {
            "type": "object",
            "minProperties": 1,
            "properties": {"due": time(), "priority": whole(0, 255)},
            "additionalProperties": false,
        },
    })
}

fn settling() -> Json {
    let claim = || json!({"type": "string", "minLength": 1});
    let reason = || json!({"type": "string", "minLength": 1});
    let ttl = || whole(limits::CLAIM_TTL_MIN_MS, limits::CLAIM_TTL_MAX_MS);
    let delay = || whole(0, limits::DELAY_MAX_MS);
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
            "ack": {"type": "boolean", "enum": [true]},
            "nack": named("NackHow"),
            "reject": named("RejectHow"),
            "extend": named("ExtendHow"),
        })),
        "NackHow": nack,
        "RejectHow": object(&[], json!({"reason": reason()})),
        "ExtendHow": object(&[], json!({"ttl_ms": ttl()})),
        "Settlements": object(&["items"], json!({"items": list_of("Settlement")})),
    })
}

fn data() -> Json {
    json!({"type": "object", "additionalProperties": {"type": "string"}})
}

fn notices() -> Json {
    let states = ["refused", "dead", "skipped", "in_doubt"];
    let page = object(
        &["notices"],
        json!({
            "notices": list_of("Notice"),
            "next": {"type": ["string", "null"], "description": "address of the next page"},
        }),
    );
    json!({
        "Recipient": object(
            &["openid"],
            json!({"openid": text(limits::OPENID_BYTES), "data": data()}),
        ),
        "Openid": text(limits::OPENID_BYTES),
        "OpenidOrRecipient": {"oneOf": [named("Openid"), named("Recipient")]},
        "Miniprogram": object(&["appid"], json!({"appid": string(), "pagepath": string()})),
        "Audience": {
            "type": "object",
            "description": "openids or stream, not both",
            "properties": {
                "openids": {
                    "type": "array",
                    "minItems": 1,
                    "maxItems": limits::INLINE_RECIPIENTS,
                    "items": named("OpenidOrRecipient"),
                },
                "stream": {"type": "boolean", "description": "recipients come later, as NDJSON"},
            },
            "additionalProperties": false,
            "minProperties": 1,
        },
        "Notice": object(&["tenant", "template", "audience"], json!({
            "tenant": text(limits::NAME_BYTES),
            "template": text(limits::NAME_BYTES),
            "title": text(limits::TITLE_BYTES),
            "data": data(),
            "url": text(limits::URL_BYTES),
            "miniprogram": named("Miniprogram"),
            "audience": named("Audience"),
            "send_at": time(),
            "expires_at": time(),
            "in_doubt": one_of(&["hold", "resend"]),
            "replace": flag(),
            "key": text(limits::KEY_BYTES),
        })),
        "Recipients": {
            "description": "one recipient per line",
            "oneOf": [named("Openid"), named("Recipient")],
        },
        "PulledNotices": either("a page of notices, or an array of them", page, "Notice", 1_000),
        "ResendState": one_of(&states),
        "Resend": object(&[], json!({
            "states": {
                "type": "array",
                "minItems": 1,
                "uniqueItems": true,
                "items": named("ResendState"),
                "default": ["refused", "dead"],
            },
            "errcode": number(),
            "dry_run": {"type": "boolean", "default": false},
        })),
        "Resolve": object(
            &["as"],
            json!({"as": one_of(&["accepted", "resend", "refused"])}),
        ),
        "Test": object(&["openid", "template"], json!({
            "openid": text(limits::OPENID_BYTES),
            "template": text(limits::NAME_BYTES),
            "data": data(),
            "url": text(limits::URL_BYTES),
            "miniprogram": named("Miniprogram"),
        })),
    })
}

fn operators() -> Json {
    let ids = || json!({"type": "array", "items": {"type": "string"}});
    json!({
        "Release": object(&[], json!({
            "pending": {
                "type": "string",
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
            "all": flag(),
            "dry_run": flag(),
        })),
    })
}

fn old() -> Json {
    json!({
        "OldTask": {"type": "object", "required": ["taskType", "priority"], "properties": {
            "taskType": whole(0, i64::MAX as u64),
            "priority": whole(0, 255),
            "executeTime": whole(0, 253_402_300_799_999),
            "parameters": {"type": "string", "contentEncoding": "base64"},
        }},
        "Envelope": answer(json!({
            "host": {"type": ["string", "null"]},
            "code": {"type": "integer", "enum": [200, 501, 503, 1002]},
            "errorMessage": {"type": "string"},
            "data": {},
        })),
    })
}
