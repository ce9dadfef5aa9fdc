//! Templates and quotas of an account.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::answer::read;
use super::options::Template;
use super::quota::{Call, Leave};
use super::world::Sandbox;

/// `GET /cgi-bin/template/get_all_private_template`.
pub(super) fn templates(sandbox: &Sandbox, token: Option<&str>) -> Result<Value, Refusal> {
    let world = sandbox.world();
    world.open(token, world.now())?;
    if world.faults.template_list_refused {
        return Err(Refusal::DAY_QUOTA);
    }
    drop(world);
    let list: Vec<Value> = sandbox.templates().iter().map(listed).collect();
    Ok(json!({ "template_list": list }))
}

fn listed(template: &Template) -> Value {
    let lines = |value: fn(&str) -> String| {
        let lines: Vec<String> =
            template.keys.iter().map(|key| format!("{key}: {}\n", value(key))).collect();
        lines.concat()
    };
    json!({
        "template_id": template.id,
        "title": "Sandbox",
        "primary_industry": "",
        "deputy_industry": "",
        "content": lines(|key| format!("{{{{{key}.DATA}}}}")),
        "example": lines(|_| "…".to_owned()),
    })
}

#[derive(Deserialize)]
struct QuotaCall {
    cgi_path: String,
}

/// `POST /cgi-bin/openapi/quota/get`.
pub(super) fn quota(sandbox: &Sandbox, token: Option<&str>, body: &[u8]) -> Result<Value, Refusal> {
    let mut world = sandbox.world();
    let now = world.now();
    let account = world.open(token, now)?;
    let asked: QuotaCall = read(body)?;
    let call = Call::of_path(&asked.cgi_path).ok_or(Refusal::UNKNOWN_PATH)?;
    let (limit, used) = world.accounts[account].quotas.state(call, now);
    let quota = json!({ "daily_limit": limit, "used": used, "remain": limit.saturating_sub(used) });
    Ok(json!({ "errcode": 0, "errmsg": "ok", "quota": quota }))
}

#[derive(Deserialize)]
struct ClearCall {
    appid: String,
}

/// `POST /cgi-bin/clear_quota`.
pub(super) fn clear_quota(
    sandbox: &Sandbox,
    token: Option<&str>,
    body: &[u8],
) -> Result<Value, Refusal> {
    let mut world = sandbox.world();
    let now = world.now();
    let account = world.open(token, now)?;
    let call: ClearCall = read(body)?;
    if call.appid != sandbox.accounts()[account].appid {
        return Err(Refusal::INVALID_APPID);
    }
    if world.accounts[account].quotas.clear(now) == Leave::Refused {
        return Err(Refusal::CLEAR_LIMIT);
    }
    Ok(json!({ "errcode": 0, "errmsg": "ok" }))
}
