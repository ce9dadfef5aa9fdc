//! Looking at things, and the small acts of operators beside notices and tasks.

use hyper::StatusCode;
use serde_json::Value as Json;

use super::body;
use super::call::{Answer, Call, named};
use super::letters;
use super::no_fields::no_fields;
use super::port::Port;
use super::problem::Problem;
use super::query::Params;
use super::respond;
use super::{AccountAct, Role, metrics};
use crate::api::answers::{Count, Dropped, Health, Queue, Readiness, Released, RunStarted, Tenant};
use crate::api::bodies::operate::{Confirm, Pending, Redriven, Release, Run};
use crate::api::unread::Unread;
use crate::engine::command::{Command, Reply, RunNow, TenantLimits};
use crate::engine::query::Query;
use crate::engine::view::{Circuit, IdText, View, Word};
use crate::limits;
use crate::store::Order;

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
    Why,
}

/// Answers a GET with the engine's view.
pub(super) async fn show(port: &Port, call: Call<'_>, sight: Sight) -> Answer {
    let mut params = call.query();
    let query = match sight {
        Sight::Notices => Query::Notices {
            tenant: params.text("tenant"),
            state: params.word("state"),
            key: params.text("key"),
            marks: params.marks(),
            order: params.order(Order::Descending),
            page: params.page(),
        },
        Sight::Notice => Query::Notice(call.named(0, "notice")?),
        Sight::Deliveries => Query::Deliveries {
            notice: call.named(0, "notice")?,
            state: params.word("state"),
            openid: params.text("openid"),
            page: params.page(),
        },
        Sight::Delivery => Query::Delivery(call.named(0, "delivery")?),
        Sight::Tenants => Query::Tenants,
        Sight::Tasks => Query::Tasks {
            kind: params.text("type"),
            state: params.word("state"),
            key: params.text("key"),
            marks: params.marks(),
            payload: params.flag("payload"),
            order: params.order(Order::Ascending),
            page: params.page(),
        },
        Sight::Task => Query::Task(call.named(0, "task")?),
        Sight::Queues => Query::Queues { kind: params.text("type"), page: params.page() },
        Sight::Dead => letters::query(&mut params),
        Sight::Doubts => {
            let state =
                params.named("state", "in_doubt", |name| (name == "in_doubt").then_some(()));
            let notice = params.text("notice").map(|text| named("notice", &text)).transpose()?;
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
        Sight::Run => Query::Run(call.named(0, "run")?),
        Sight::Quarantine => Query::Quarantine(params.page()),
        Sight::Why => why(&mut params),
    };
    params.finish()?;
    Ok(respond::raw(port.text(query).await?))
}

/// What `GET /v1/why` asks for.
fn why(params: &mut Params) -> Query {
    let tenant = params.text("tenant");
    let openid = params.text("openid");
    let notice = params.parse("notice", "a notice's id");
    if openid.is_none() {
        params.wrong("openid", "is missing: give the openid that is asked about");
    }
    let reference = params.text("ref");
    match (notice, &reference) {
        (None, None) => {
            params.wrong("notice", "give the id of a notice, or ref, your own id for it")
        }
        (Some(_), Some(_)) => params.wrong("ref", "give notice or ref, not both"),
        _ => {}
    }
    Query::Why { tenant, openid: openid.unwrap_or_default(), notice, reference }
}

/// `POST /v1/queues/{type}/pause` and `resume`.
pub(super) async fn pause(port: &Port, call: Call<'_>, paused: bool) -> Answer {
    let kind = call.id(0).to_owned();
    no_fields(port, call).await?;
    port.call(Command::PauseQueue { kind: kind.clone(), paused }).await?;
    Ok(respond::ok(&Queue { kind, paused }))
}

/// `DELETE /v1/queues/{type}`.
pub(super) async fn drop_queue(port: &Port, call: Call<'_>) -> Answer {
    let kind = call.id(0).to_owned();
    no_fields(port, call).await?;
    port.call(Command::DropQueue(kind.clone())).await?;
    Ok(respond::ok(&Dropped { kind, dropped: true }))
}

/// `POST /v1/tenants/{tenant}/resume`.
pub(super) async fn resume_tenant(port: &Port, call: Call<'_>) -> Answer {
    let tenant = call.id(0).to_owned();
    no_fields(port, call).await?;
    port.call(Command::ResumeTenant(tenant.clone())).await?;
    Ok(respond::ok(&Tenant { tenant, circuit: Word(Circuit::Closed) }))
}

/// What is done with a tenant's account at WeChat.
pub(super) async fn account(port: &Port, call: Call<'_>, act: AccountAct) -> Answer {
    let tenant = call.id(0).to_owned();
    no_fields(port, call).await?;
    Ok(respond::ok(&port.ports.actions.account(tenant, act).await?))
}

/// `POST /v1/tenants/{tenant}/quota/clear`.
pub(super) async fn clear_quota(port: &Port, call: Call<'_>) -> Answer {
    let tenant = call.id(0).to_owned();
    let Confirm(confirm) = body::read(port, &call.head.headers, call.body).await?;
    if confirm != tenant {
        let detail = format!(
            "say the tenant's name once more, {tenant:?}: it can be done ten times a month"
        );
        return Err(Problem::field("/confirm", detail));
    }
    Ok(respond::ok(&port.ports.actions.account(tenant, AccountAct::ClearQuota).await?))
}

/// `POST /v1/tenants/{tenant}/limits`.
pub(super) async fn limit_tenant(port: &Port, call: Call<'_>) -> Answer {
    let tenant = call.id(0).to_owned();
    let limits: TenantLimits = body::read(port, &call.head.headers, call.body).await?;
    port.call(Command::LimitTenant { tenant: tenant.clone(), limits }).await?;
    let View::Tenants(tenants) = port.look(Query::Tenants).await? else {
        return Err(Problem::unexpected());
    };
    let shown = tenants.items.into_iter().find(|one| one.tenant == tenant);
    Ok(respond::ok(&shown.ok_or_else(Problem::unexpected)?))
}

/// `POST /v1/dead/redrive`.
pub(super) async fn redrive(port: &Port, call: Call<'_>) -> Answer {
    let Redriven { mut redrive, notices, mended } =
        body::read(port, &call.head.headers, call.body).await?;
    if !notices.is_empty() {
        return letters::redrive(port, notices, mended, redrive.dry_run).await;
    }
    let count = redrive.tasks.len() + redrive.deliveries.len();
    if count > limits::BATCH_ITEMS {
        return Err(Unread::TooMany { count, most: limits::BATCH_ITEMS }.into());
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
                let more = next.is_some();
                return Ok(respond::ok(&Count { count, dry_run, more, errors: None }));
            }
        }
    }
}

/// `POST /v1/schedules/{name}/run`.
pub(super) async fn run(port: &Port, call: Call<'_>) -> Answer {
    let name = call.id(0).to_owned();
    let Run(asked) = body::read(port, &call.head.headers, call.body).await?;
    let asked = RunNow { schedule: name.clone(), ..asked };
    let Reply::Run(id) = port.call(Command::RunSchedule(asked)).await? else {
        return Err(Problem::unexpected());
    };
    let answer = RunStarted { run: IdText(id), schedule: name };
    Ok(respond::json(StatusCode::ACCEPTED, &answer))
}

/// `POST /v1/backup`.
pub(super) async fn backup(port: &Port, call: Call<'_>) -> Answer {
    no_fields(port, call).await?;
    Ok(respond::ok(&port.ports.actions.backup().await?))
}

/// `POST /v1/release`.
pub(super) async fn release(port: &Port, call: Call<'_>) -> Answer {
    let Release { pending } = body::read(port, &call.head.headers, call.body).await?;
    let was_held = port.ports.status.ready().role == Role::Held;
    let waiting = match was_held {
        true => match port.look(Query::Pending).await? {
            View::Pending(waiting) => Some(waiting),
            _ => return Err(Problem::unexpected()),
        },
        false => None,
    };
    port.ports.actions.release(pending == Pending::Hold).await?;
    let pending = was_held.then_some(Word(pending));
    Ok(respond::ok(&Released { released: true, was_held, pending, waiting }))
}

/// `GET /healthz`: whether the process does anything at all.
pub(super) async fn health(port: &Port, _: Call<'_>) -> Answer {
    if port.lives() {
        return Ok(respond::ok(&Health { status: "ok" }));
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
    let answer = Readiness {
        ready: found.ready,
        role: found.role.name(),
        reasons: found.reasons,
        // Hosts, processes and addresses are nobody's business who only may know whether it works.
        lease: match found.lease {
            Json::Object(lease) if call.is_known => Some(lease),
            _ => None,
        },
    };
    Ok(respond::json(status, &answer))
}

/// `GET /metrics`.
pub(super) async fn numbers(port: &Port, call: Call<'_>) -> Answer {
    metrics::respond(port, &call.head.headers, call.is_known).await
}
