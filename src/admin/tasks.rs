//! Adding, cancelling and moving tasks.
//!
//! Adding is the port's hot path: what is well formed goes from text to command without a JSON value
//! in between, and a payload is never looked into.

use hyper::{HeaderMap, StatusCode};

use super::body::{self, Media};
use super::call::{Answer, Call};
use super::form::{self, Form};
use super::port::Port;
use super::problem::{FieldError, Problem, bad_json};
use super::respond;
use super::tree::Items;
use super::wire::{self, TaskIn};
use crate::engine::command::{AddedTask, Command, Reply, TaskDraft};
use crate::json;
use crate::limits;

/// `POST /v1/tasks`.
pub(super) async fn add(port: &Port, call: Call<'_>) -> Answer {
    let mut params = call.query();
    let atomic = params.flag("atomic");
    params.finish()?;
    let media = body::media(&call.head.headers)?;
    if media == Media::Absent {
        return Err(body::unsupported("send Content-Type: application/json"));
    }
    let headers = call.head.headers;
    let bytes = body::whole(port, call.body).await?;
    match body::off(port, bytes, move |bytes| read(bytes, media, &headers)).await? {
        Drafts::One(draft) => add_one(port, draft).await,
        Drafts::Many(drafts) => add_many(port, drafts, atomic).await,
    }
}

/// What a body asks to add.
enum Drafts {
    One(TaskDraft),
    Many(Vec<Result<TaskDraft, Problem>>),
}

fn read(bytes: &[u8], media: Media, headers: &HeaderMap) -> Result<Drafts, Problem> {
    let text = text(bytes)?;
    if media == Media::Json && !text.trim_start().starts_with('[') {
        return draft(headers, text).map(Drafts::One);
    }
    if headers.contains_key("idempotency-key") {
        let detail = "with many tasks, give each its own \"key\" instead of the header";
        return Err(Problem::field("/key", detail));
    }
    let drafts = if media == Media::Lines { of_lines(text) } else { of_array(text) };
    drafts.map(Drafts::Many)
}

/// A body as text.
pub(super) fn text(bytes: &[u8]) -> Result<&str, Problem> {
    std::str::from_utf8(body::without_mark(bytes))
        .map_err(|error| Problem::new(400, "bad_json", format!("the body is not UTF-8: {error}")))
}

/// No body at all is an object without fields: what is missing is then named.
pub(super) fn or_empty(text: &str) -> &str {
    if text.trim().is_empty() { "{}" } else { text }
}

pub(super) fn too_many(count: usize) -> Problem {
    let detail = format!("{count} items, {} are allowed in one call", limits::BATCH_ITEMS);
    Problem::new(413, "too_many_items", detail)
}

async fn add_one(port: &Port, draft: TaskDraft) -> Answer {
    let command = Command::AddTasks { items: vec![draft], atomic: false };
    let Reply::Tasks(verdicts) = port.call(command).await? else {
        return Err(Problem::unexpected());
    };
    let added = verdicts.into_iter().next().ok_or_else(Problem::unexpected)??;
    let mut out = String::with_capacity(64);
    push_added(&mut out, added);
    Ok(respond::raw(out))
}

fn push_added(out: &mut String, added: AddedTask) {
    out.push('{');
    wire::push_plain(out, "id", added.id);
    wire::push_number(out, "created", added.created);
    wire::push_plain(out, "state", added.state);
    wire::close(out);
}

/// The drafts of a JSON array, each good or bad by itself.
fn of_array(text: &str) -> Result<Vec<Result<TaskDraft, Problem>>, Problem> {
    let items: Items<'_> = serde_json::from_str(text).map_err(|error| bad_json(&error))?;
    if items.count > limits::BATCH_ITEMS {
        return Err(too_many(items.count));
    }
    let none = HeaderMap::new();
    Ok(items.kept.into_iter().map(|item| draft(&none, item.get())).collect())
}

/// The drafts of newline-delimited JSON.
fn of_lines(text: &str) -> Result<Vec<Result<TaskDraft, Problem>>, Problem> {
    let lines = || text.lines().filter(|line| !line.trim().is_empty());
    let count = lines().count();
    if count > limits::BATCH_ITEMS {
        return Err(too_many(count));
    }
    let none = HeaderMap::new();
    let numbered = text.lines().zip(1_u64..).filter(|(line, _)| !line.trim().is_empty());
    Ok(numbered.map(|(line, number)| draft(&none, line).map_err(|it| it.in_line(number))).collect())
}

fn draft(headers: &HeaderMap, text: &str) -> Result<TaskDraft, Problem> {
    let task: TaskIn<'_> =
        serde_json::from_str(text).map_err(|error| explain(text, &error, check_task))?;
    json::check(task.payload.get()).map_err(|why| body::unreadable(&why).below("/payload"))?;
    let due = task.due.map(|due| due.0.as_due()).transpose();
    let due = due.map_err(|why| Problem::field("/due", why.to_string()))?;
    if task.delay_ms.is_some_and(|delay| delay > limits::DELAY_MAX_MS) {
        return Err(Problem::field("/delay_ms", too_far()));
    }
    let key = body::key(headers, task.key)?;
    let (fingerprint, meaning) = match &key {
        Some(_) => {
            let value = body::parse(text.as_bytes())?;
            (body::fingerprint(&value), body::meaning(&value))
        }
        None => (0, 0),
    };
    Ok(TaskDraft {
        kind: task.kind.0,
        priority: task.priority.unwrap_or(0),
        due,
        delay_ms: task.delay_ms,
        payload: task.payload.get().to_owned(),
        max_attempts: task.max_attempts,
        key,
        replace: task.replace.unwrap_or(false),
        fingerprint,
        meaning,
    })
}

/// Finds out what is wrong with a body that did not fit, slowly and completely.
pub(super) fn explain(text: &str, error: &serde_json::Error, check: fn(&mut Form)) -> Problem {
    let value = match body::parse(text.as_bytes()) {
        Ok(value) => value,
        Err(problem) => return problem,
    };
    let object = value.is_object();
    let mut form = Form::new(value, "");
    if object {
        check(&mut form);
    }
    let errors = form.finish();
    // What only the typed reading minds, like a field that is given twice.
    if errors.is_empty() { bad_json(error) } else { Problem::fields(errors) }
}

fn check_task(form: &mut Form) {
    form.must("type");
    form.name("type");
    form.whole("priority", 0..=255);
    form.due("due");
    if form.whole("delay_ms", 0..=u64::MAX).is_some_and(|delay| delay > limits::DELAY_MAX_MS) {
        form.wrong("delay_ms", too_far());
    }
    if form.any("payload").is_none() {
        form.wrong("payload", "this field is required; any JSON will do, also null");
    }
    form.whole("max_attempts", 1..=u64::from(u32::MAX));
    form.text("key", limits::KEY_BYTES);
    form.flag("replace");
}

fn too_far() -> String {
    format!("at most {} ms, ten years: give \"due\" for a point in time", limits::DELAY_MAX_MS)
}

async fn add_many(port: &Port, drafts: Vec<Result<TaskDraft, Problem>>, atomic: bool) -> Answer {
    let mut slots: Vec<Result<AddedTask, Problem>> = Vec::with_capacity(drafts.len());
    let mut items = Vec::with_capacity(drafts.len());
    let mut places = Vec::with_capacity(drafts.len());
    for (at, draft) in drafts.into_iter().enumerate() {
        slots.push(match draft {
            Ok(draft) => {
                items.push(draft);
                places.push(at);
                Err(Problem::unexpected())
            }
            Err(problem) => Err(problem),
        });
    }
    if atomic && items.len() < slots.len() {
        let bad = (0..slots.len()).filter(|at| places.binary_search(at).is_err());
        let bad: Vec<usize> = bad.collect();
        return Err(none_added(slots, |at, _| bad.contains(&at)));
    }
    if !items.is_empty() {
        let Reply::Tasks(verdicts) = port.call(Command::AddTasks { items, atomic }).await? else {
            return Err(Problem::unexpected());
        };
        for (at, verdict) in places.into_iter().zip(verdicts) {
            if let Some(slot) = slots.get_mut(at) {
                *slot = verdict.map_err(Problem::from);
            }
        }
    }
    if atomic && slots.iter().any(Result::is_err) {
        // Those that were only spared name no field.
        return Err(none_added(slots, |_, problem| !problem.errors.is_empty()));
    }
    // A client that only looks at the status must not take it that something was added.
    let none = !slots.is_empty() && slots.iter().all(Result::is_err);
    let mut out = String::with_capacity(16 + 48 * slots.len());
    let mut told = Told::default();
    out.push_str("{\"tasks\":[");
    for (at, slot) in slots.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        match slot {
            Ok(added) => push_added(&mut out, added),
            Err(problem) => {
                push_error(&mut out, &told.cut(problem).below(&format!("/{at}")));
            }
        }
    }
    out.push_str("]}");
    let status = if none { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(respond::document(status, respond::JSON, out))
}

/// The problem of an all-or-nothing batch with bad items.
fn none_added(
    slots: Vec<Result<AddedTask, Problem>>,
    is_bad: impl Fn(usize, &Problem) -> bool,
) -> Problem {
    let mut errors = Vec::new();
    let mut first: Option<(u16, &'static str, String)> = None;
    for (at, slot) in slots.into_iter().enumerate() {
        let Err(problem) = slot else { continue };
        if !is_bad(at, &problem) {
            continue;
        }
        let problem = problem.below(&format!("/{at}"));
        first.get_or_insert_with(|| {
            let detail = format!("item {at}: {}; nothing was added", problem.detail);
            (problem.status, problem.code, detail)
        });
        if errors.len() >= limits::ERRORS {
            break;
        }
        if problem.errors.is_empty() {
            errors.push(FieldError::new(format!("/{at}"), problem.detail));
        } else {
            errors.extend(problem.errors);
        }
    }
    let (status, code, detail) = first.unwrap_or((422, "invalid", "nothing was added".to_owned()));
    Problem { errors, ..Problem::new(status, code, detail) }
}

/// How many field errors the answer to a batch has already.
#[derive(Default)]
pub(super) struct Told(usize);

impl Told {
    /// Leaves the fields away when there are many already: the words still name the first.
    pub(super) fn cut(&mut self, mut problem: Problem) -> Problem {
        if self.0 >= limits::BATCH_ERRORS {
            problem.errors.clear();
        }
        self.0 += problem.errors.len();
        problem
    }
}

/// Appends the error of one item of a batch.
pub(super) fn push_error(out: &mut String, problem: &Problem) {
    out.push_str(&serde_json::json!({ "error": problem.item() }).to_string());
}

/// `DELETE /v1/tasks/{id}`.
pub(super) async fn cancel(port: &Port, call: Call<'_>) -> Answer {
    let id = form::id("task", call.id(0))?;
    let Reply::Cancelled { claimed } = port.call(Command::CancelTask(id)).await? else {
        return Err(Problem::unexpected());
    };
    Ok(respond::ok(
        &serde_json::json!({"id": id.to_string(), "state": "cancelled", "was_claimed": claimed}),
    ))
}

/// `PATCH /v1/tasks/{id}`.
pub(super) async fn change(port: &Port, call: Call<'_>) -> Answer {
    let task = form::id("task", call.id(0))?;
    let value = body::json(port, &call.head.headers, call.body).await?;
    let mut form = Form::new(value, "");
    let due = form.due("due");
    let priority = form.whole("priority", 0..=255).and_then(|number| u8::try_from(number).ok());
    let errors = form.finish();
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    if due.is_none() && priority.is_none() {
        return Err(Problem::new(422, "invalid", "give due, priority or both"));
    }
    port.call(Command::MoveTask { task, due, priority }).await?;
    Ok(respond::raw(port.text(crate::engine::query::Query::Task(task)).await?))
}
