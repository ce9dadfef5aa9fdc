//! Looking at things, and the small acts of operators beside notices and tasks.

use hyper::StatusCode;
use serde_json::{Value as Json, json};

use super::body;
use super::call::{Answer, Call};
use super::form::{self, Form};
use super::letters;
use super::no_fields::no_fields;
use super::port::Port;
use super::problem::Problem;
use super::respond;
use super::{Role, metrics};
use crate::engine::command::{Command, Redrive, Reply};
use crate::engine::query::Query;
use crate::id::Id;
use crate::limits;
use crate::model::delivery::DeliveryState;

/// What can be looked at by a GET.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Sight {
    Notices,
    Notice,
    Deliveries,
    Delivery,
    Doubts,
    Tenants,
    Tasks,
    Task,
    Queues,
    Dead,
    Schedules,
    Runs,
    Run,
    Quarantine,
}

/// Answers a GET with the engine's view.
pub(super) async fn show(port: &Port, call: Call<'_>, sight: Sight) -> Answer {
    let mut params = call.query();
    let query = match sight {
        Sight::Notices => Query::Notices {
            tenant: params.text("tenant"),
            state: params.named("state", NOTICE_STATES, notice_state),
            page: params.page(),
        },
        Sight::Notice => Query::Notice(form::id("notice", call.id(0))?),
        Sight::Deliveries => Query::Deliveries {
            notice: form::id("notice", call.id(0))?,
            state: params.named("state", DELIVERY_STATES, DeliveryState::from_name),
            openid: params.text("openid"),
            page: params.page(),
        },
        Sight::Delivery => Query::Delivery(form::path_id("delivery", call.id(0))?),
        Sight::Tenants => Query::Tenants,
        Sight::Tasks => Query::Tasks {
            kind: params.text("type"),
            state: params.text("state"),
            payload: params.flag("payload"),
            page: params.page(),
        },
        Sight::Task => Query::Task(form::id("task", call.id(0))?),
        Sight::Queues => Query::Queues { kind: params.text("type"), page: params.page() },
        Sight::Dead => letters::query(&mut params),
        Sight::Doubts => {
            let state =
                params.named("state", "in_doubt", |name| (name == "in_doubt").then_some(()));
            let notice = params.text("notice").map(|text| form::id("notice", &text)).transpose()?;
            let query =
                Query::Doubts { tenant: params.text("tenant"), notice, page: params.page() };
            if state.is_none() {
                let detail = "give state=in_doubt; others are listed for one notice, \
                              see /v1/notices/{id}/deliveries";
                params.wrong("state", detail.to_owned());
            }
            query
        }
        Sight::Schedules => Query::Schedules,
        Sight::Runs => Query::Runs { schedule: params.text("schedule"), page: params.page() },
        Sight::Run => Query::Run(form::id("run", call.id(0))?),
        Sight::Quarantine => Query::Quarantine(params.page()),
    };
    params.finish()?;
    Ok(respond::raw(port.text(query).await?))
}

const NOTICE_STATES: &str = "scheduled, expanding, sending, paused, done, cancelled";
const DELIVERY_STATES: &str =
    "pending, sending, accepted, delivered, refused, skipped, dead, in_doubt, cancelled";

fn notice_state(name: &str) -> Option<String> {
    NOTICE_STATES.split(", ").any(|state| state == name).then(|| name.to_owned())
}

/// `POST /v1/queues/{type}/pause` and `resume`.
pub(super) async fn pause(port: &Port, call: Call<'_>, paused: bool) -> Answer {
    let kind = call.id(0).to_owned();
    no_fields(port, call).await?;
    port.call(Command::PauseQueue { kind: kind.clone(), paused }).await?;
    Ok(respond::ok(&json!({"type": kind, "paused": paused})))
}

/// `DELETE /v1/queues/{type}`.
pub(super) async fn drop_queue(port: &Port, call: Call<'_>) -> Answer {
    let kind = call.id(0).to_owned();
    no_fields(port, call).await?;
    port.call(Command::DropQueue(kind.clone())).await?;
    Ok(respond::ok(&json!({"type": kind, "dropped": true})))
}

/// `POST /v1/tenants/{tenant}/resume`.
pub(super) async fn resume_tenant(port: &Port, call: Call<'_>) -> Answer {
    let tenant = call.id(0).to_owned();
    no_fields(port, call).await?;
    port.call(Command::ResumeTenant(tenant.clone())).await?;
    Ok(respond::ok(&json!({"tenant": tenant, "circuit": "closed"})))
}

/// `POST /v1/dead/redrive`.
pub(super) async fn redrive(port: &Port, call: Call<'_>) -> Answer {
    let value = body::json(port, &call.head.headers, call.body).await?;
    let mut form = Form::new(value, "");
    let mut redrive = Redrive {
        tasks: form.ids("tasks"),
        deliveries: form.ids("deliveries"),
        kind: form.name("type"),
        notice: form.id("notice"),
        all: form.flag("all").unwrap_or(false),
        dry_run: form.flag("dry_run").unwrap_or(false),
        from: Vec::new(),
    };
    let letters: Vec<Id> = form.ids("notices");
    let mended = form.read("body", "a notice", |value| value.is_object().then(|| value.clone()));
    let errors = form.finish();
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    if mended.is_some() && letters.len() != 1 {
        return Err(Problem::field("/body", "a mended notice goes with exactly one of notices"));
    }
    if !letters.is_empty() {
        let others = !redrive.tasks.is_empty() || !redrive.deliveries.is_empty();
        if others || redrive.kind.is_some() || redrive.notice.is_some() || redrive.all {
            return Err(Problem::field(
                "/notices",
                "notices go alone: give the others in a second call",
            ));
        }
        if letters.len() > limits::PAGE_ITEMS {
            return Err(super::tasks::too_many(letters.len()));
        }
        return letters::redrive(port, letters, mended, redrive.dry_run).await;
    }
    let named = redrive.tasks.len() + redrive.deliveries.len();
    if named > limits::BATCH_ITEMS {
        return Err(super::tasks::too_many(named));
    }
    let dry_run = redrive.dry_run;
    loop {
        let Reply::Redriven { count, next } = port.call(Command::Redrive(redrive.clone())).await?
        else {
            return Err(Problem::unexpected());
        };
        match next {
            // Others may have their turn between two looks.
            Some(next) if count == 0 => redrive.from = next,
            next => {
                let answer = json!({"count": count, "dry_run": dry_run, "more": next.is_some()});
                return Ok(respond::ok(&answer));
            }
        }
    }
}

/// `POST /v1/schedules/{name}/run`.
pub(super) async fn run(port: &Port, call: Call<'_>) -> Answer {
    let name = call.id(0).to_owned();
    no_fields(port, call).await?;
    let Reply::Run(id) = port.call(Command::RunSchedule(name.clone())).await? else {
        return Err(Problem::unexpected());
    };
    let answer = json!({"run": id.to_string(), "schedule": name});
    Ok(respond::json(StatusCode::ACCEPTED, &answer))
}

/// `POST /v1/backup`.
pub(super) async fn backup(port: &Port, call: Call<'_>) -> Answer {
    no_fields(port, call).await?;
    Ok(respond::ok(&port.ports.actions.backup().await?))
}

/// `POST /v1/release`.
pub(super) async fn release(port: &Port, call: Call<'_>) -> Answer {
    let value = body::json(port, &call.head.headers, call.body).await?;
    let mut form = Form::new(value, "");
    let pending = form.read("pending", "hold or send", |value| match value.as_str()? {
        "hold" => Some(true),
        "send" => Some(false),
        _ => None,
    });
    let errors = form.finish();
    if !errors.is_empty() {
        return Err(Problem::fields(errors));
    }
    let hold = pending.unwrap_or(true);
    let was_held = port.ports.status.ready().role == Role::Held;
    let waits = if was_held { Some(port.look(Query::Pending).await?) } else { None };
    port.ports.actions.release(hold).await?;
    let mut answer = json!({"released": true, "was_held": was_held});
    if let Some(waits) = waits {
        answer["pending"] = json!(if hold { "hold" } else { "send" });
        answer["waiting"] = waits;
    }
    Ok(respond::ok(&answer))
}

/// `GET /healthz`: whether the process does anything at all.
pub(super) async fn health(port: &Port, _: Call<'_>) -> Answer {
    if port.lives() {
        return Ok(respond::ok(&json!({"status": "ok"})));
    }
    let detail = "the writer thread has not turned for a while";
    Err(Problem::new(503, "stuck", detail))
}

/// `GET /readyz`: whether it takes and does work.
pub(super) async fn readiness(port: &Port, call: Call<'_>) -> Answer {
    let mut params = call.query();
    let standby_ok = params.named("standby", "ok", |value| (value == "ok").then_some(()));
    params.finish()?;
    let found = port.ports.status.ready();
    let fine = found.ready || (standby_ok.is_some() && found.role == Role::Standby);
    let status = if fine { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let document: Json = json!({
        "ready": found.ready,
        "role": found.role.name(),
        "reasons": found.reasons,
        // Hosts, processes and addresses are nobody's business who only may know whether it works.
        "lease": if call.is_known { found.lease } else { Json::Null },
    });
    Ok(respond::json(status, &document))
}

/// `GET /metrics`.
pub(super) async fn numbers(port: &Port, call: Call<'_>) -> Answer {
    metrics::respond(port, &call.head.headers, call.is_known).await
}
