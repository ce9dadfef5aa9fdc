//! The two token calls.
//!
//! Checks come in this order, which is an assumption: grant type, appid and secret given, appid
//! known, secret right, quota.

use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::Refusal;
use super::query::param;
use super::quota::{Call, Leave};
use super::tokens::Refresh;
use super::world::Sandbox;

/// `GET /cgi-bin/token`.
pub(super) fn classic(sandbox: &Sandbox, query: &str) -> Result<Value, Refusal> {
    let given = |name| param(query, name).unwrap_or_default();
    let (kind, appid, secret) = (given("grant_type"), given("appid"), given("secret"));
    let account = identify(sandbox, &kind, &appid, &secret)?;
    let mut world = sandbox.world();
    let now = world.now();
    let text = world.token_text(account, sandbox.seed(), now);
    let state = &mut world.accounts[account];
    state.token_fetches += 1;
    if state.quotas.take(Call::Token, now) == Leave::Refused {
        return Err(Refusal::DAY_QUOTA);
    }
    Ok(issued(state.tokens.classic(text, now)))
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct StableCall {
    grant_type: String,
    appid: String,
    secret: String,
    force_refresh: bool,
}

/// `POST /cgi-bin/stable_token`.
pub(super) fn stable(sandbox: &Sandbox, body: &[u8]) -> Result<Value, Refusal> {
    let call: StableCall = super::answer::read(body)?;
    let account = identify(sandbox, &call.grant_type, &call.appid, &call.secret)?;
    let mut world = sandbox.world();
    let now = world.now();
    let text = world.token_text(account, sandbox.seed(), now);
    let state = &mut world.accounts[account];
    state.token_fetches += 1;
    if state.quotas.take(Call::StableToken, now) == Leave::Refused {
        return Err(Refusal::DAY_QUOTA);
    }
    // A forced refresh that comes too soon or too often is an ordinary fetch.
    let force = call.force_refresh
        && state.tokens.may_force(now)
        && state.quotas.take(Call::ForcedToken, now) == Leave::Granted;
    let refresh = if force { Refresh::Force } else { Refresh::Share };
    Ok(issued(state.tokens.stable(refresh, text, now)))
}

fn issued((text, seconds): (String, u64)) -> Value {
    json!({ "access_token": text, "expires_in": seconds })
}

fn identify(sandbox: &Sandbox, kind: &str, appid: &str, secret: &str) -> Result<usize, Refusal> {
    if kind != "client_credential" {
        return Err(Refusal::INVALID_GRANT_TYPE);
    }
    if appid.is_empty() {
        return Err(Refusal::APPID_MISSING);
    }
    if secret.is_empty() {
        return Err(Refusal::SECRET_MISSING);
    }
    let account = sandbox.account(appid).ok_or(Refusal::INVALID_APPID)?;
    if sandbox.accounts()[account].secret != secret {
        return Err(Refusal::INVALID_SECRET);
    }
    Ok(account)
}
