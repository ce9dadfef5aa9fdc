//! What duebox itself asks others: the contracts of consumers and of sources of notices.

use serde_json::{Value as Json, json};

use crate::api::form::named;

/// The `webhooks` of the document.
pub(super) fn webhooks() -> Json {
    json!({
        "task": {"post": {
            "operationId": "webhook_task",
            "summary": "A due task, for the address of queues.K.deliver",
            "description": "Signed as Standard Webhooks says: webhook-signature is `v1,` and the \
                Base64 of the HMAC-SHA-256 of `ID.TIMESTAMP.BODY` under the secret (`whsec_` and \
                Base64). The id is the same for all attempts of a task. 2xx but 202 is done; 202 \
                is taken, to be acked with the claim before `until`; 410 is never wanted; 429 and \
                503 with Retry-After are asked again after that; anything else is a failure.",
            "parameters": [
                header("webhook-id", "the task's id"),
                header("webhook-timestamp", "when this attempt was signed, epoch seconds"),
                header("webhook-signature", "one or more signatures, apart by a space"),
            ],
            "requestBody": {"required": true, "content": {
                "application/json": {"schema": named("ClaimedTask")},
            }},
            "responses": {
                "200": {"description": "done"},
                "202": {"description": "taken; acked later with the claim"},
                "410": {"description": "never wanted"},
                "429": {"description": "later, after Retry-After"},
                "503": {"description": "later, after Retry-After"},
            },
        }},
        "pull": {"get": {
            "operationId": "webhook_pull",
            "summary": "New notices, from the address of schedules.pull",
            "description": "`{tenant}` and `{last_run}` in the address are filled in; the latter is \
                RFC 3339 in UTC: the start of the last good run less the overlap. 5xx, 408 and 429 \
                are asked again.",
            "responses": {"200": {
                "description": "an array of notices, or a page of them",
                "content": {"application/json": {"schema": named("PulledNotices")}},
            }},
        }},
    })
}

fn header(name: &str, description: &str) -> Json {
    json!({
        "name": name,
        "in": "header",
        "required": false,
        "description": description,
        "schema": {"type": "string"},
    })
}
