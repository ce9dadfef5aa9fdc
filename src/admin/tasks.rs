//! Adding, cancelling and moving tasks.

use hyper::{HeaderMap, StatusCode};

use super::body::{self, Media};
use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::respond;
use crate::api::answers::{AddedTaskList, AddedTasks, CancelledTask, Item, ItemError, RefusedItem};
use crate::api::bodies::task::Move;
use crate::api::unread::{FieldError, Unread};
use crate::api::{form, submitted};
use crate::engine::command::{AddedTask, Command, Reply, TaskDraft};
use crate::engine::query::Query;
use crate::engine::view::{IdText, Word};
use crate::id::Id;
use crate::limits;
use crate::model::task::TaskState;

/// `POST /v1/tasks`.
pub(super) async fn add(port: &Port, call: Call<'_>) -> Answer {
    let mut params = call.query();
    let atomic = params.flag("atomic");
    params.finish()?;
    let media = body::media(&call.head.headers)?;
    if matches!(media, Media::Absent | Media::Csv) {
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
    let text = submitted::text(bytes)?;
    if text.trim().is_empty() && media == Media::Json {
        // Nothing at all was rather not meant as a task without fields.
        return Err(submitted::tree(text).err().map_or_else(Problem::unexpected, Problem::from));
    }
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

fn too_many(count: usize) -> Problem {
    Unread::TooMany { count, most: limits::BATCH_ITEMS }.into()
}

async fn add_one(port: &Port, draft: TaskDraft) -> Answer {
    let command = Command::AddTasks { items: vec![draft], atomic: false };
    let Reply::Tasks(verdicts) = port.call(command).await? else {
        return Err(Problem::unexpected());
    };
    let added = verdicts.into_iter().next().ok_or_else(Problem::unexpected)??;
    Ok(respond::ok(&AddedTasks::One(added.into())))
}

/// The drafts of a JSON array, each good or bad by itself.
fn of_array(text: &str) -> Result<Vec<Result<TaskDraft, Problem>>, Problem> {
    let items = form::array(text, limits::BATCH_ITEMS)?;
    let none = HeaderMap::new();
    Ok(items.into_iter().map(|item| draft(&none, item)).collect())
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
    let mut task: TaskDraft = form::read(text)?;
    task.terms.key = body::key(headers, task.terms.key)?;
    if task.terms.key.is_some() {
        (task.fingerprint, task.meaning) = submitted::known_by(&submitted::tree(text)?);
    }
    Ok(task)
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
    let mut told = Told::default();
    let mut tasks = Vec::with_capacity(slots.len());
    for (at, slot) in slots.into_iter().enumerate() {
        tasks.push(match slot {
            Ok(added) => Item::Taken(added.into()),
            Err(problem) => refused(None, &told.cut(problem).below(&format!("/{at}"))),
        });
    }
    let status = if none { StatusCode::UNPROCESSABLE_ENTITY } else { StatusCode::OK };
    Ok(respond::json(status, &AddedTasks::Many(AddedTaskList { tasks })))
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

/// An item of a batch that was refused.
pub(super) fn refused<T>(id: Option<Id>, problem: &Problem) -> Item<T> {
    Item::Refused(RefusedItem { id: id.map(IdText), error: ItemError(problem.item()) })
}

/// `DELETE /v1/tasks/{id}`.
pub(super) async fn cancel(port: &Port, call: Call<'_>) -> Answer {
    let id: Id = call.named(0, "task")?;
    let Reply::Cancelled { claimed } = port.call(Command::CancelTask(id)).await? else {
        return Err(Problem::unexpected());
    };
    let (id, state) = (IdText(id), Word(TaskState::Cancelled));
    Ok(respond::ok(&CancelledTask { id, state, was_claimed: claimed }))
}

/// `PATCH /v1/tasks/{id}`.
pub(super) async fn change(port: &Port, call: Call<'_>) -> Answer {
    let task: Id = call.named(0, "task")?;
    let Move { due, priority } = body::read(port, &call.head.headers, call.body).await?;
    port.call(Command::MoveTask { task, due, priority }).await?;
    Ok(respond::raw(port.text(Query::Task(task)).await?))
}
