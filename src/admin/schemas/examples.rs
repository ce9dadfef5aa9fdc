//! One example of each body, as a caller would send it.

use serde_json::{Map, Value as Json, json};

const ID: &str = "1882626522232127488";

/// By the name of the schema.
fn all() -> [(&'static str, Json); 19] {
    let task = json!({
        "type": "1001", "payload": {"order": 4711}, "due": "2026-11-23T09:00:00+08:00",
        "key": "order-4711",
    });
    let claim = "1-d762e5c9";
    [
        ("TaskIn", task.clone()),
        ("Tasks", task),
        ("Claim", json!({"type": "1001", "max": 10, "wait_ms": 30_000, "worker": "mailer-1"})),
        ("Move", json!({"due": "2026-11-24T09:00:00+08:00", "priority": 1})),
        ("Ack", json!({"claim": claim})),
        ("Nack", json!({"claim": claim, "delay_ms": 60_000, "reason": "the mail server is busy"})),
        ("Reject", json!({"claim": claim, "reason": "there is no such order"})),
        ("Extend", json!({"claim": claim, "ttl_ms": 120_000})),
        ("Settlement", json!({"id": ID, "claim": claim, "ack": true})),
        (
            "Settlements",
            json!({"items": [
                {"id": ID, "claim": claim, "ack": true},
                {"id": ID, "claim": claim, "nack": {"reason": "busy"}},
            ]}),
        ),
        ("Recipient", json!({"openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M", "data": {"thing1": "own"}})),
        ("Recipients", json!({"openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M"})),
        (
            "Notice",
            json!({
                "tenant": "acme", "template": "new_task", "key": "task-4711",
                "data": {"thing1": "Inspect the pump", "time2": "2026-11-23 09:00"},
                "url": "https://example.com/tasks/4711",
                "audience": {"openids": ["o6_bmjrPTlm6_2sgVt7hMZOPfL2M"]},
            }),
        ),
        ("Resend", json!({"states": ["refused", "dead"], "errcode": 43004, "dry_run": true})),
        ("Resolve", json!({"as": "resend"})),
        (
            "Test",
            json!({
                "openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M", "template": "new_task",
                "data": {"thing1": "Inspect the pump", "time2": "2026-11-23 09:00"},
            }),
        ),
        ("Release", json!({"pending": "hold"})),
        ("Redrive", json!({"type": "1001", "dry_run": true})),
        (
            "OldTask",
            json!({"taskType": 1001, "priority": 1, "executeTime": 0, "parameters": "AQID"}),
        ),
    ]
}

/// Puts each with its schema.
pub(super) fn give(schemas: &mut Map<String, Json>) {
    for (name, example) in all() {
        if let Some(schema) = schemas.get_mut(name) {
            schema["examples"] = json!([example]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::admin::openapi::document;
    use crate::admin::table::ROUTES;

    #[test]
    fn every_body_has_an_example_that_is_as_it_says() {
        let document = document(true);
        for route in ROUTES.iter().filter(|route| !route.takes.is_empty()) {
            let example = &document["components"]["schemas"][route.takes]["examples"][0];
            assert!(!example.is_null(), "{}", route.takes);
        }
        for (name, example) in all() {
            let schema = json!({
                "$ref": format!("#/components/schemas/{name}"),
                "components": document["components"],
            });
            let validator = jsonschema::validator_for(&schema).unwrap();
            let wrong: Vec<String> =
                validator.iter_errors(&example).map(|wrong| wrong.to_string()).collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?}");
        }
    }
}
