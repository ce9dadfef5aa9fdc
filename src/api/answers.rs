//! The answers of the API beside the engine's views.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::Serialize;
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::engine::command;
use crate::engine::view::{At, Circuit, DeliveryText, DryRunView, IdText, Raw, Row, Waiting, Word};
use crate::id::Id;
use crate::model::attention;
use crate::model::task::TaskState;

use super::bodies::operate::Pending;

/// Why one item of a batch was refused: a problem without its frame.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub struct ItemError(pub Json);

impl JsonSchema for ItemError {
    fn schema_name() -> Cow<'static, str> {
        "ItemError".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let fields = generator.subschema_for::<Vec<FieldErrorView>>();
        json_schema!({
            "type": "object",
            "required": ["status", "code", "detail"],
            "properties": {
                "status": {"type": "integer"}, "code": {"type": "string"},
                "detail": {"type": "string"}, "errors": fields,
                "line": {"type": "integer"}, "column": {"type": "integer"},
                "id": {"type": "string", "description": "of the thing, where the list does not say"},
            },
        })
    }
}

/// One thing that is wrong with a field.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "FieldError")]
pub struct FieldErrorView {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
}

/// A no, as RFC 9457 says. The port writes it; here it is described.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[allow(missing_docs, reason = "described by RFC 9457, or by the calls that give them")]
#[schemars(rename = "Problem")]
pub struct ProblemView {
    /// `urn:duebox:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status in words.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// The stable name.
    pub code: String,
    /// What is wrong and what to do.
    pub detail: String,
    /// What is wrong with which field.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<FieldErrorView>>,
    /// Of the body, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub line: Option<u64>,
    /// Of the line, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub column: Option<u64>,
    /// Recipients added before the one that was refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub added: Option<u64>,
    /// Of these, that were there already.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub known: Option<u64>,
    /// What each of several things was refused for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub items: Option<Vec<ItemError>>,
}

/// One item of a batch: what came of it, or why nothing did.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
#[schemars(rename = "{T}Item")]
pub enum Item<T> {
    /// It was taken.
    Taken(T),
    /// It was not.
    Refused(RefusedItem),
}

/// An item that was refused.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RefusedItem {
    /// Its id, where it could be read.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<IdText>,
    /// Why.
    pub error: ItemError,
}

/// A task that was added, or was there already.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AddedTask {
    /// Its id.
    pub id: IdText,
    /// Whether this call made it.
    pub created: bool,
    /// Its state; `gone` when only its key is left of it.
    pub state: &'static str,
}

impl From<command::AddedTask> for AddedTask {
    fn from(added: command::AddedTask) -> Self {
        Self { id: IdText(added.id), created: added.created, state: added.state }
    }
}

/// What was added of many, in their order.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AddedTaskList {
    /// One for each.
    pub tasks: Vec<Item<AddedTask>>,
}

/// One for one, a list for an array.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum AddedTasks {
    /// Of an array.
    Many(AddedTaskList),
    /// Of one.
    One(AddedTask),
}

/// A task handed out; this is also what is posted to a webhook.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ClaimedTask<'a> {
    /// Its id.
    pub id: IdText,
    /// Its type.
    #[serde(rename = "type")]
    pub kind: &'a str,
    /// The token to settle it with.
    pub claim: &'a str,
    /// The number of this attempt, from 1.
    pub attempt: u32,
    /// When it was due.
    pub due: At,
    /// When the claim runs out.
    pub until: At,
    /// Its priority.
    pub priority: u8,
    /// What was given to do.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<Raw>")]
    pub payload: Option<&'a RawValue>,
    /// Instead of a payload that not every reader takes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_text: Option<&'a str>,
}

impl<'a> From<&'a command::ClaimedTask> for ClaimedTask<'a> {
    fn from(task: &'a command::ClaimedTask) -> Self {
        let payload = Some(&task.payload).filter(|text| crate::json::is_readable(text));
        let payload = payload.and_then(|text| serde_json::from_str::<&RawValue>(text).ok());
        Self {
            id: IdText(task.id),
            kind: &task.kind,
            claim: &task.claim,
            attempt: task.attempt,
            due: At(task.due),
            until: At(task.until),
            priority: task.priority,
            payload_text: payload.is_none().then_some(&*task.payload),
            payload,
        }
    }
}

/// Tasks handed out, perhaps none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct ClaimedTasks<'a> {
    /// The tasks.
    pub tasks: Vec<ClaimedTask<'a>>,
}

/// A task that was settled.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SettledTask {
    /// Its id.
    pub id: IdText,
    /// Its state now.
    pub state: &'static str,
    /// When it is due again, if it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub due: Option<At>,
    /// Until when the claim stands, if it was extended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<At>,
}

impl SettledTask {
    /// What came of a settlement.
    #[must_use]
    pub fn new(id: Id, settled: command::Settled, extends: bool) -> Self {
        let at = settled.at.map(At);
        let (due, until) = if extends { (None, at) } else { (at, None) };
        Self { id: IdText(id), state: settled.state, due, until }
    }
}

/// What came of many settlements, in their order.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Settled {
    /// One for each.
    pub items: Vec<Item<SettledTask>>,
}

/// A task that was withdrawn.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct CancelledTask {
    /// Its id.
    pub id: IdText,
    /// `cancelled`.
    pub state: Word<TaskState>,
    /// Whether a consumer was at it.
    pub was_claimed: bool,
}

/// A type that was paused or resumed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Queue {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether nothing is handed out.
    pub paused: bool,
}

/// A type that was dropped.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Dropped {
    /// The type.
    #[serde(rename = "type")]
    pub kind: String,
    /// True.
    pub dropped: bool,
}

/// A test message that is on its way.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Tested {
    /// Its notice.
    pub id: IdText,
    /// The notice's state.
    pub state: &'static str,
    /// Its delivery, to be looked at.
    pub delivery: DeliveryText,
}

/// A notice that was submitted, or was there already.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Submitted {
    /// Its id.
    pub id: IdText,
    /// Its state.
    pub state: &'static str,
    /// Whether this call made it.
    pub created: bool,
    /// Different recipients named in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recipients: Option<usize>,
    /// How often one was named again: each gets one message.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub duplicates: Option<usize>,
    /// What is sent and will not be seen as it was given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A submission's answer: of one notice, of one for each tenant, or of one that was only tried.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(untagged)]
pub enum Submission {
    /// Of one.
    One(Submitted),
    /// Of one for each tenant, in their order.
    Many(SubmittedMany),
    /// Of one that was only tried.
    Tried(DryRunView),
    /// Of those that were only tried, one for each tenant.
    TriedMany(TriedMany),
}

/// One notice for each tenant.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SubmittedMany {
    /// In the order of `tenants`.
    pub notices: Vec<SubmittedOne>,
}

/// What was tried, for each tenant.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct TriedMany {
    /// In the order of `tenants`.
    pub tenants: Vec<DryRunView>,
}

/// A tenant's notice, or why there is none.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct SubmittedOne {
    /// The tenant.
    pub tenant: String,
    /// Its notice.
    #[serde(flatten)]
    pub notice: Option<Submitted>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub error: Option<ItemError>,
}

/// A notice after an act on it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NoticeState {
    /// Its id.
    pub id: IdText,
    /// Its state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<&'static str>,
    /// Messages on the wire, which cannot be called back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_flight: Option<u32>,
    /// Deliveries that are sent again, or would be.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u64>,
    /// Whether they were only counted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dry_run: Option<bool>,
}

impl NoticeState {
    /// Nothing but a notice.
    #[must_use]
    pub fn of(id: Id) -> Self {
        Self { id: IdText(id), state: None, in_flight: None, count: None, dry_run: None }
    }
}

/// Recipients that were streamed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AddedRecipients {
    /// New deliveries.
    pub added: u64,
    /// Recipients that the notice had already.
    pub known: u64,
    /// Deliveries of the notice now.
    pub total: u64,
    /// Lines read.
    pub lines: u64,
    /// Whether no more are taken.
    pub closed: bool,
}

/// How many things were brought back, or would be.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Count {
    /// How many.
    pub count: u64,
    /// Whether they were only counted.
    pub dry_run: bool,
    /// Whether to call again for the rest.
    pub more: bool,
    /// Those that were refused.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub errors: Option<Vec<ItemError>>,
}

/// A run that began.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct RunStarted {
    /// Its id.
    pub run: IdText,
    /// Its schedule.
    pub schedule: String,
}

/// A tenant whose rest was ended.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Tenant {
    /// Its name.
    pub tenant: String,
    /// `closed`: it works.
    pub circuit: Word<Circuit>,
}

/// What was done with a tenant's account at WeChat.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AccountDone {
    /// Its name.
    pub tenant: String,
    /// True.
    pub done: bool,
    /// When the access token ends.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_expires_at: Option<At>,
    /// How many templates WeChat lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub templates: Option<usize>,
}

impl AccountDone {
    /// That it was done.
    #[must_use]
    pub fn of(tenant: &str) -> Self {
        Self { tenant: tenant.to_owned(), done: true, token_expires_at: None, templates: None }
    }
}

/// A dead letter that was forgotten.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Forgotten {
    /// Its id.
    pub id: IdText,
    /// True.
    pub forgotten: bool,
}

/// An image that was made.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Backup {
    /// Its file.
    pub image: String,
    /// Where it is.
    pub path: String,
    /// Up to which commit it goes.
    pub commit: u64,
    /// Its rows.
    pub rows: u64,
    /// Its bytes.
    pub bytes: u64,
    /// How long it took.
    pub took_ms: u64,
}

/// A copy that was released.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Released {
    /// True.
    pub released: bool,
    /// Whether it was held.
    pub was_held: bool,
    /// What becomes of what waited in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub pending: Option<Word<Pending>>,
    /// What waited in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub waiting: Option<Waiting>,
}

/// The process lives.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Health {
    /// `ok`.
    pub status: &'static str,
}

/// Whether work is taken and done.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Readiness {
    /// Whether it is.
    pub ready: bool,
    /// What the process is at the moment.
    #[schemars(extend("enum" = ["starting", "standby", "leader", "held", "draining"]))]
    pub role: &'static str,
    /// Why it is not ready.
    pub reasons: Vec<String>,
    /// Who leads; null for those who may not know.
    pub lease: Option<serde_json::Map<String, Json>>,
}

/// What needs a person.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AttentionRow {
    /// What it is.
    pub kind: Word<attention::Kind>,
    /// What has it: a tenant, a notice's id, a type, a schedule, or a kind of dead letters.
    pub subject: String,
    /// Whose it is, if it is one tenant's.
    pub tenant: Option<String>,
    /// Since when.
    pub since: At,
    /// What is wrong and what to do.
    pub sentence: String,
    /// Calls that help. Empty when none does.
    pub acts: Vec<AttentionAct>,
}

impl Row for AttentionRow {
    fn bytes(&self) -> usize {
        self.sentence.len()
    }
}

/// A call that helps, or shows more.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct AttentionAct {
    /// What it does, one or two words.
    pub label: &'static str,
    /// The HTTP method.
    #[schemars(extend("enum" = ["GET", "POST"]))]
    pub method: &'static str,
    /// The path, with its query.
    pub path: String,
    /// The body to send; null for a GET.
    #[schemars(with = "Option<serde_json::Map<String, Json>>")]
    pub body: Option<Json>,
}

impl From<attention::Row> for AttentionRow {
    fn from(row: attention::Row) -> Self {
        Self {
            kind: Word(row.kind),
            subject: row.subject,
            tenant: row.tenant,
            since: At(row.since),
            sentence: row.sentence,
            acts: row.acts.into_iter().map(AttentionAct::from).collect(),
        }
    }
}

impl From<attention::Act> for AttentionAct {
    fn from(act: attention::Act) -> Self {
        Self { label: act.label, method: act.method, path: act.path, body: act.body }
    }
}
