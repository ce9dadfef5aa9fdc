//! The paths of the schedule service that duebox replaces, in its own shapes.
//!
//! Everything is answered with 200 and an envelope whose `code` tells how it went, as its clients
//! expect: 200 done, 501 bad parameter, 503 server error, 1002 no such data. Both published
//! spellings of the paths are taken. Parameters are bytes in Base64.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Response;
use serde_json::{Value as Json, json};

use super::body;
use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::respond::{self, Body};
use crate::engine::command::{ClaimRequest, ClaimedTask, Command, Reply};
use crate::engine::command::{TaskDraft, Verdict};
use crate::engine::refusal::{Code, Refusal};
use crate::id::Id;
use crate::time::{NotATime, Timestamp};

const DONE: &str = "操作成功";

/// What a call of the old service does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Old {
    Add,
    Cancel,
    Poll,
    Delete,
}

/// Answers a call of the old service.
pub(super) async fn answer(port: &Port, call: Call<'_>, old: Old) -> Answer {
    let outcome = match old {
        Old::Add => add(port, call).await,
        Old::Cancel => cancel(port, &call).await,
        Old::Poll => poll(port, &call).await,
        Old::Delete => delete(port, &call).await,
    };
    Ok(match outcome {
        Ok(data) => envelope(200, DONE, &data),
        Err(problem) => refused(problem),
    })
}

/// A refusal in the envelope.
pub(super) fn refused(problem: Problem) -> Response<Body> {
    envelope(code_of(&problem), &problem.detail, &Json::Null)
}

fn envelope(code: u32, message: &str, data: &Json) -> Response<Body> {
    respond::ok(&json!({"host": null, "code": code, "errorMessage": message, "data": data}))
}

fn code_of(problem: &Problem) -> u32 {
    match problem.status {
        404 | 409 => 1002,
        500.. => 503,
        _ => 501,
    }
}

fn bad(detail: &str) -> Problem {
    Problem::new(422, "invalid", detail)
}

/// Unknown fields are left alone, as the old service did.
async fn add(port: &Port, call: Call<'_>) -> Result<Json, Problem> {
    let value = body::json(port, &call.head.headers, call.body).await?;
    let number = |name: &str| value.get(name).and_then(Json::as_i64);
    let kind = number("taskType").ok_or_else(|| bad("taskType: give a whole number"))?;
    let priority = number("priority").ok_or_else(|| bad("priority: give a whole number"))?;
    let at = match value.get("executeTime") {
        None | Some(Json::Null) => 0,
        Some(at) => at.as_i64().ok_or_else(|| bad("executeTime: give epoch milliseconds"))?,
    };
    let due = execute_time(at).map_err(|why| bad(&format!("executeTime: {why}")))?;
    let parameters = match value.get("parameters") {
        None | Some(Json::Null) => "",
        Some(text) => text.as_str().ok_or_else(|| bad("parameters: give Base64 text"))?,
    };
    if STANDARD.decode(parameters).is_err() {
        return Err(bad("parameters: this is not Base64"));
    }
    let draft = TaskDraft {
        kind: kind_name(kind)?,
        priority: small(priority)?,
        due: Some(due),
        payload: json!({"parameters": parameters}).to_string(),
        ..TaskDraft::default()
    };
    let command = Command::AddTasks { items: vec![draft], atomic: false };
    let Reply::Tasks(verdicts) = port.call(command).await? else {
        return Err(Problem::unexpected());
    };
    let added = verdicts.into_iter().next().ok_or_else(Problem::unexpected)??;
    Ok(json!(added.id.0))
}

/// 0 is now, as for the old service.
fn execute_time(at: i64) -> Result<Timestamp, NotATime> {
    if at == 0 { Ok(Timestamp(0)) } else { Timestamp::from_number(at)?.as_due() }
}

fn kind_name(kind: i64) -> Result<String, Problem> {
    if kind < 0 { Err(bad("taskType: not below 0")) } else { Ok(kind.to_string()) }
}

/// The old service had 32 bits for it; here it is one byte.
fn small(priority: i64) -> Result<u8, Problem> {
    u8::try_from(priority).map_err(|_| bad("priority: 0 to 255"))
}

fn number(text: &str, what: &str) -> Result<i64, Problem> {
    text.parse().map_err(|_| bad(&format!("{what}: give a whole number")))
}

fn task_id(text: &str) -> Result<Id, Problem> {
    text.parse().map_err(|_| bad("taskId: give a whole number"))
}

async fn cancel(port: &Port, call: &Call<'_>) -> Result<Json, Problem> {
    match port.call(Command::CancelTask(task_id(call.id(0))?)).await? {
        Reply::Cancelled { .. } => Ok(json!(true)),
        _ => Err(Problem::unexpected()),
    }
}

async fn poll(port: &Port, call: &Call<'_>) -> Result<Json, Problem> {
    let kind = number(call.id(0), "type")?;
    let priority = small(number(call.id(1), "priority")?)?;
    let request = ClaimRequest {
        kind: kind_name(kind)?,
        priority: Some(priority),
        max: 1,
        worker: Some("poll".to_owned()),
        ..ClaimRequest::default()
    };
    let Reply::Claimed(mut tasks) = port.call(Command::Claim(request)).await? else {
        return Err(Problem::unexpected());
    };
    Ok(tasks.pop().map_or(Json::Null, |task| task_json(&task)))
}

fn task_json(task: &ClaimedTask) -> Json {
    json!({
        "taskId": task.id.0,
        "taskType": task.kind.parse::<i64>().map_or_else(|_| json!(task.kind), |kind| json!(kind)),
        "priority": task.priority,
        "executeTime": task.due.0,
        "parameters": parameters(&task.payload),
    })
}

/// What was given to `add`; of a task that was added in the new way, its JSON.
fn parameters(payload: &str) -> String {
    let value: Json = serde_json::from_str(payload).unwrap_or(Json::Null);
    match value.as_object().filter(|fields| fields.len() == 1).and_then(|it| it.get("parameters")) {
        Some(Json::String(text)) => text.clone(),
        _ => STANDARD.encode(payload),
    }
}

/// Status 1 says that the task was done, 2 that it is withdrawn.
async fn delete(port: &Port, call: &Call<'_>) -> Result<Json, Problem> {
    let task = task_id(call.id(0))?;
    match call.id(1) {
        "1" => {
            port.call(Command::SettleUnfenced { task, verdict: Verdict::Ack }).await?;
        }
        "2" => {
            let cancelled = port.call(Command::CancelTask(task)).await;
            // A task that is over already stays over: the old service took it as done.
            if let Err(problem) = cancelled
                && problem.code != Code::TaskGone.name()
            {
                return Err(problem);
            }
        }
        _ => {
            return Err(Refusal::new(Code::Invalid, "status: 1 (executed) or 2 (cancelled)").into());
        }
    }
    Ok(Json::Null)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_in_seconds_is_refused_and_zero_is_now() {
        assert_eq!(execute_time(0), Ok(Timestamp(0)));
        assert_eq!(execute_time(1_795_672_687_000), Ok(Timestamp(1_795_672_687_000)));
        for bad in [1_795_672_687, 1_795_672_687_000_000, -1, 500_000_000_000] {
            assert!(execute_time(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn parameters_come_back_as_they_were_given() {
        assert_eq!(parameters(r#"{"parameters":"AQID"}"#), "AQID");
        assert_eq!(parameters(r#"{"a":1}"#), STANDARD.encode(r#"{"a":1}"#));
        let more = r#"{"parameters":"AQID","b":1}"#;
        assert_eq!(parameters(more), STANDARD.encode(more));
    }
}
