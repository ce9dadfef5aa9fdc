//! Settling claimed tasks: one by one and many at once.

use super::body;
use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::respond;
use super::tasks::{Told, refused};
use crate::api::answers::{Item, Settled, SettledTask};
use crate::api::bodies::task::{OneOfMany, Says, Settlements};
use crate::api::form::{Body, Form};
use crate::engine::command::{Command, Reply, Settlement, Verdict};
use crate::id::Id;

/// `POST /v1/tasks/{id}/ack`, `nack`, `reject` and `extend`.
pub(super) async fn one<S: Says + Send + 'static>(port: &Port, call: Call<'_>) -> Answer {
    let task: Id = call.named(0, "task")?;
    let said: S = body::read(port, &call.head.headers, call.body).await?;
    let (claim, verdict) = said.said();
    let extends = matches!(verdict, Verdict::Extend { .. });
    let settlement = Settlement { task, claim, verdict };
    let Reply::Settled(verdicts) = port.call(Command::Settle(vec![settlement])).await? else {
        return Err(Problem::unexpected());
    };
    let settled = verdicts.into_iter().next().ok_or_else(Problem::unexpected)??;
    Ok(respond::ok(&SettledTask::new(task, settled, extends)))
}

/// What is told of an item before the engine has decided: whether it extends, or why it is refused.
type Before = (Option<Id>, Result<bool, Problem>);

/// `POST /v1/tasks/settle`.
pub(super) async fn many(port: &Port, call: Call<'_>) -> Answer {
    let bytes = body::json_bytes(port, &call.head.headers, call.body).await?;
    let items = body::off(port, bytes, items).await?;
    let mut before: Vec<Before> = Vec::with_capacity(items.len());
    let mut good = Vec::with_capacity(items.len());
    for item in items {
        before.push(match item {
            Ok(item) => {
                let extends = matches!(item.verdict, Verdict::Extend { .. });
                let task = item.task;
                good.push(item);
                (Some(task), Ok(extends))
            }
            Err((id, problem)) => (id, Err(*problem)),
        });
    }
    let verdicts = if good.is_empty() {
        Vec::new()
    } else {
        match port.call(Command::Settle(good)).await? {
            Reply::Settled(verdicts) => verdicts,
            _ => return Err(Problem::unexpected()),
        }
    };
    let mut verdicts = verdicts.into_iter();
    let mut fields = Told::default();
    let mut items = Vec::with_capacity(before.len());
    for (at, (id, extends)) in before.into_iter().enumerate() {
        let outcome = match extends {
            Ok(extends) => {
                let verdict = verdicts.next().ok_or_else(Problem::unexpected)?;
                let id = id.ok_or_else(Problem::unexpected)?;
                verdict.map(|settled| SettledTask::new(id, settled, extends)).map_err(Into::into)
            }
            Err(problem) => Err(problem),
        };
        items.push(match outcome {
            Ok(settled) => Item::Taken(settled),
            Err(problem) => refused(id, &fields.cut(problem).below(&format!("/items/{at}"))),
        });
    }
    Ok(respond::ok(&Settled { items }))
}

/// One settlement, or why it is none.
type Read = Result<Settlement, (Option<Id>, Box<Problem>)>;

/// The items of a batch: counted first, then read one by one.
fn items(bytes: &[u8]) -> Result<Vec<Read>, Problem> {
    let Settlements(items) = crate::api::form::read(crate::api::submitted::text(bytes)?)?;
    Ok(items.iter().map(|text| item(text)).collect())
}

fn item(text: &str) -> Read {
    let (read, wrong) = Form::over(text, OneOfMany::fields);
    match (read, wrong) {
        (Some(OneOfMany { task: Some(task), claim, verdict: Some(verdict) }), None) => {
            Ok(Settlement { task, claim, verdict })
        }
        (read, wrong) => {
            let problem = wrong.map_or_else(Problem::unexpected, Problem::from);
            Err((read.and_then(|read| read.task), Box::new(problem)))
        }
    }
}
