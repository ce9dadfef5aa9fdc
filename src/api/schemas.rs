//! The schemas of all bodies and answers, for the OpenAPI document.

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::{Map, Value as Json, json};

use super::answers::{
    AccountDone, AddedRecipients, AddedTasks, AttentionRow, Backup, CancelledTask, ClaimedTasks,
    Count, Dropped, Forgotten, Health, NoticeState, ProblemView, Queue, Readiness, Released,
    RunStarted, Settled, SettledTask, Submission, Tenant, Tested,
};
use super::bodies::notice::{Resend, Resolve, Test};
use super::bodies::operate::{Confirm, Nothing, Redriven, Release, Run};
use super::bodies::task::{Ack, Extend, Move, Nack, OneOfMany, Reject, Settlements};
use super::bodies::{notice, recipient, task};
use super::form::{Body, describe};
use crate::engine::command::{
    ClaimRequest, NoticeDraft, NoticePatch, Recipient, TaskDraft, TenantLimits,
};
use crate::engine::view::{
    DeadOrDoubt, DeliveryView, Listed, LogEntry, NoticeView, QuarantinedRow, QueueView, RunView,
    ScheduleView, TaskView, TenantView, WhyView,
};

/// Every schema that the route table may name.
#[must_use]
pub fn all() -> Map<String, Json> {
    let mut all = answers();
    all.extend(bodies());
    all
}

/// The bodies by name, and the objects in them.
fn bodies() -> Map<String, Json> {
    let mut all = Map::new();
    put::<TaskDraft>(&mut all);
    put::<ClaimRequest>(&mut all);
    put::<Move>(&mut all);
    put::<Ack>(&mut all);
    put::<Nack>(&mut all);
    put::<Reject>(&mut all);
    put::<Extend>(&mut all);
    put::<OneOfMany>(&mut all);
    put::<Settlements>(&mut all);
    put::<NoticeDraft>(&mut all);
    put::<NoticePatch>(&mut all);
    put::<Recipient>(&mut all);
    put::<Resend>(&mut all);
    put::<Resolve>(&mut all);
    put::<Test>(&mut all);
    put::<TenantLimits>(&mut all);
    put::<Confirm>(&mut all);
    put::<Release>(&mut all);
    put::<Redriven>(&mut all);
    put::<Run>(&mut all);
    put::<Nothing>(&mut all);
    for (name, schema) in [
        ("Tasks", task::one_or_many()),
        ("Recipients", recipient::line()),
        (recipient::OPENID_NAME, recipient::openid()),
        ("PulledNotices", notice::pulled()),
        ("OldTask", old_task()),
        ("Envelope", envelope()),
        ("Any", json!({"type": "object"})),
    ] {
        all.insert(name.to_owned(), schema);
    }
    all
}

fn put<B: Body>(all: &mut Map<String, Json>) {
    let (schema, within) = describe::<B>();
    for (name, schema) in within {
        // An object that is also a body by itself has an example there.
        all.entry(name).or_insert(schema);
    }
    if !B::NAME.is_empty() {
        all.insert(B::NAME.to_owned(), schema);
    }
}

/// The answers by name, and the objects in them.
fn answers() -> Map<String, Json> {
    let settings = SchemaSettings::draft2020_12().for_serialize().with(|settings| {
        settings.definitions_path = "/components/schemas".into();
        settings.meta_schema = None;
    });
    let mut of = settings.into_generator();
    add::<ProblemView>(&mut of);
    add::<AddedTasks>(&mut of);
    add::<ClaimedTasks<'_>>(&mut of);
    add::<SettledTask>(&mut of);
    add::<Settled>(&mut of);
    add::<CancelledTask>(&mut of);
    add::<Queue>(&mut of);
    add::<Dropped>(&mut of);
    add::<Tested>(&mut of);
    add::<Submission>(&mut of);
    add::<NoticeState>(&mut of);
    add::<AddedRecipients>(&mut of);
    add::<Count>(&mut of);
    add::<RunStarted>(&mut of);
    add::<Tenant>(&mut of);
    add::<AccountDone>(&mut of);
    add::<Forgotten>(&mut of);
    add::<Backup>(&mut of);
    add::<Released>(&mut of);
    add::<Health>(&mut of);
    add::<Readiness>(&mut of);
    add::<NoticeView>(&mut of);
    add::<TenantView>(&mut of);
    add::<WhyView>(&mut of);
    add::<Listed<AttentionRow>>(&mut of);
    add::<Listed<TaskView>>(&mut of);
    add::<Listed<QueueView>>(&mut of);
    add::<Listed<NoticeView>>(&mut of);
    add::<Listed<DeliveryView>>(&mut of);
    add::<Listed<DeadOrDoubt>>(&mut of);
    add::<Listed<LogEntry>>(&mut of);
    add::<Listed<ScheduleView>>(&mut of);
    add::<Listed<RunView>>(&mut of);
    add::<Listed<TenantView>>(&mut of);
    add::<Listed<QuarantinedRow>>(&mut of);
    of.take_definitions(true)
}

fn add<T: JsonSchema>(of: &mut SchemaGenerator) {
    let _ = of.subschema_for::<T>();
}

/// What the old service's clients send.
fn old_task() -> Json {
    let whole =
        |most: u64| json!({"type": "integer", "format": "int64", "minimum": 0, "maximum": most});
    json!({
        "type": "object",
        "required": ["taskType", "priority"],
        "properties": {
            "taskType": whole(i64::MAX as u64),
            "priority": whole(255),
            "executeTime": whole(253_402_300_799_999),
            "parameters": {"type": "string", "contentEncoding": "base64"},
        },
        "examples": [
            {"taskType": 1001, "priority": 1, "executeTime": 0, "parameters": "AQID"},
        ],
    })
}

/// What they are answered.
fn envelope() -> Json {
    json!({
        "type": "object",
        "properties": {
            "host": {"type": ["string", "null"]},
            "code": {"type": "integer", "enum": [200, 501, 503, 1002]},
            "errorMessage": {"type": "string"},
            "data": {},
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_example_is_as_its_schema_says() {
        let all = all();
        let mut seen = 0;
        for (name, schema) in &all {
            let Some(example) = schema.get("examples").map(|examples| &examples[0]) else {
                continue;
            };
            let whole = json!({
                "$ref": format!("#/components/schemas/{name}"),
                "components": {"schemas": all},
            });
            let validator = jsonschema::validator_for(&whole).unwrap();
            let wrong: Vec<String> =
                validator.iter_errors(example).map(|wrong| wrong.to_string()).collect();
            assert!(wrong.is_empty(), "{name}: {wrong:?}");
            seen += 1;
        }
        assert!(seen > 15, "{seen}");
    }

    #[test]
    fn every_field_of_every_answer_is_described() {
        for (name, schema) in answers() {
            for (field, described) in schema["properties"].as_object().into_iter().flatten() {
                let words = described.get("description").is_some();
                assert!(words || name == "ItemError", "{name}.{field}: {described}");
            }
        }
    }
}
