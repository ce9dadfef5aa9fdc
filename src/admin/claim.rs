//! Claiming tasks.

use super::body;
use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::respond;
use crate::api::answers::ClaimedTasks;
use crate::engine::command::{ClaimRequest, Command, Reply};

/// `POST /v1/tasks/claim`.
pub(super) async fn claim(port: &Port, call: Call<'_>) -> Answer {
    let request: ClaimRequest = body::read(port, &call.head.headers, call.body).await?;
    let Reply::Claimed(tasks) = port.call(Command::Claim(request)).await? else {
        return Err(Problem::unexpected());
    };
    Ok(respond::ok(&ClaimedTasks { tasks: tasks.iter().map(Into::into).collect() }))
}
