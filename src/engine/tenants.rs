//! The tenant's row: its rests, its requests of the day, its token.

use std::collections::BTreeMap;

use crate::engine::allowance;
use crate::engine::command::{AccountTold, Reply, TenantLimits};
use crate::engine::refusal::{Code, Refusal};
use crate::engine::streaks;
use crate::engine::tx::{Decision, Tx};
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::day::{next_day, shanghai_day};
use crate::model::templates::{Learned, Listing, TEMPLATES};
use crate::model::tenant::{FULL_PACE, Quota, StoredToken, TenantState};
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};
use crate::text::cut;
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};

/// The first rest of a tenant whose account is refused; doubled up to [`TENANT_REST_MAX_MS`].
const TENANT_REST_MS: u64 = 30 * SECOND_MS;
const TENANT_REST_MAX_MS: u64 = 10 * MINUTE_MS;

pub(super) fn change_tenant<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    change: impl FnOnce(&mut TenantState) -> bool,
) -> Result<(), Fault> {
    let key = keys::tenant_state(tenant);
    let mut state = tx.store.read::<TenantState>(&key)?.unwrap_or_default();
    if change(&mut state) {
        tx.store.write(key, &state);
    }
    Ok(())
}

/// Nothing is sent until then; the first send after it goes alone.
pub(super) fn hold<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    until: Timestamp,
    why: &str,
) -> Result<(), Fault> {
    let name = tx.names.tenant_name(tenant).to_owned();
    change_tenant(tx, tenant, |state| {
        let later = until > state.hold_until;
        if later {
            note_rest(&name, state, until, why);
            state.refusals = state.refusals.max(1);
        }
        later
    })
}

pub(super) fn day_is_over<K: Kv>(tx: &mut Tx<K>, tenant: TenantNo) -> Result<(), Fault> {
    hold(tx, tenant, next_day(tx.now), DAY_IS_OVER)
}

pub(super) fn refuse_tenant<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    why: &str,
) -> Result<(), Fault> {
    rest_tenant(tx, tenant, TENANT_REST_MS, TENANT_REST_MAX_MS, why)
}

/// A rest that is doubled with each one that follows without an answer of the provider between.
pub(super) fn rest_tenant<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    first_ms: u64,
    max_ms: u64,
    why: &str,
) -> Result<(), Fault> {
    let (name, now) = (tx.names.tenant_name(tenant).to_owned(), tx.now);
    change_tenant(tx, tenant, |state| {
        // All that was in flight fails together: one rest for one outage.
        if state.hold_until > now {
            return false;
        }
        let rest = (first_ms << state.refusals.min(10)).min(max_ms);
        note_rest(&name, state, now.plus(rest), why);
        state.refusals = state.refusals.saturating_add(1);
        true
    })
}

pub(super) fn forget_refusals<K: Kv>(tx: &mut Tx<K>, tenant: TenantNo) -> Result<(), Fault> {
    let (name, now) = (tx.names.tenant_name(tenant).to_owned(), tx.now);
    change_tenant(tx, tenant, |state| {
        // Nothing begins during a rest: this is an answer to what was sent before it.
        if state.hold_until > now || (state.refusals == 0 && state.hold_reason.is_none()) {
            return false;
        }
        tracing::info!(event = "tenant.goes_on", tenant = name, "its rest is over");
        state.refusals = 0;
        state.hold_reason = None;
        true
    })
}

pub(super) fn count_requests<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    requests: usize,
) -> Result<(), Fault> {
    let day = u32::try_from(shanghai_day(tx.now)).unwrap_or(0);
    change_tenant(tx, tenant, |state| {
        if state.day != day {
            state.day = day;
            state.sent_today = 0;
        }
        state.sent_today += requests as u64;
        true
    })
}

/// Changes how fast a tenant sends.
pub(super) fn limit_tenant<K: Kv>(
    tx: &mut Tx<K>,
    tenant: &str,
    limits: TenantLimits,
) -> Result<Decision, Fault> {
    let Some(number) = tx.configured_tenant(tenant) else {
        return Ok(Err(Refusal::new(Code::NotFound, tx.no_tenant(tenant))));
    };
    change_tenant(tx, number, |state| {
        state.rate = limits.rate.unwrap_or(state.rate);
        state.concurrency = limits.concurrency.unwrap_or(state.concurrency);
        // Who sets it has seen why it was slow.
        state.set_pace(FULL_PACE);
        true
    })?;
    Ok(Ok(Reply::Done))
}

/// Keeps what the provider told of an account.
pub(super) fn account_told<K: Kv>(
    tx: &mut Tx<K>,
    tenant: &str,
    told: AccountTold,
) -> Result<Decision, Fault> {
    match told {
        AccountTold::Quota(limit, used) => save_quota(tx, tenant, limit, used),
        AccountTold::Templates(list) => save_templates(tx, tenant, list),
    }
}

fn save_quota<K: Kv>(
    tx: &mut Tx<K>,
    tenant: &str,
    limit: u64,
    used: u64,
) -> Result<Decision, Fault> {
    let (day, at) = (shanghai_day(tx.now), tx.now);
    if let Some(number) = tx.configured_tenant(tenant) {
        change_tenant(tx, number, |state| {
            let sent = if u64::from(state.day) == day { state.sent_today } else { 0 };
            state.quota = Some(Quota { limit, used, sent, at });
            true
        })?;
    }
    Ok(Ok(Reply::Done))
}

/// Keeps what the provider listed of a tenant's templates. One that is listed no longer is kept as gone.
fn save_templates<K: Kv>(
    tx: &mut Tx<K>,
    tenant: &str,
    list: Vec<Listing>,
) -> Result<Decision, Fault> {
    let Some(number) = tx.configured_tenant(tenant).filter(|_| !list.is_empty()) else {
        // An account that can send has templates: an empty list says nothing.
        return Ok(Ok(Reply::Done));
    };
    let prefix = keys::templates(number);
    let to = keys::after_prefix(&prefix);
    let known = tx.store.scan(Tree::Templates, &prefix, &to, Order::Ascending, 2 * TEMPLATES)?;
    for (key, bytes) in known {
        let learned: Learned = codec::decode(&bytes)?;
        let listed = list.iter().any(|one| key == keys::template(number, &one.id));
        if !listed && learned.gone.is_none() {
            let title = learned.title.as_str();
            tracing::warn!(
                event = "template.gone",
                tenant,
                title,
                "WeChat lists a template no longer: notices with it are paused"
            );
            tx.store.write(key, &Learned { gone: Some(tx.now), ..learned });
        }
    }
    for Listing { id, title, fields } in list.into_iter().take(TEMPLATES) {
        let learned = Learned { title, fields, seen: tx.now, gone: None };
        tx.store.write(keys::template(number, &id), &learned);
    }
    Ok(Ok(Reply::Done))
}

/// The provider's limit per minute is reached: slower from now on.
pub(super) fn slow_down<K: Kv>(tx: &mut Tx<K>, tenant: TenantNo) -> Result<(), Fault> {
    let (name, now) = (tx.names.tenant_name(tenant).to_owned(), tx.now);
    change_tenant(tx, tenant, |state| {
        let slower = allowance::slow_down(state, now);
        if slower {
            tell_pace(&name, state);
        }
        slower
    })
}

/// An attempt had no clear answer.
pub(super) fn unclear<K: Kv>(tx: &mut Tx<K>, tenant: TenantNo) -> Result<(), Fault> {
    let (name, now) = (tx.names.tenant_name(tenant).to_owned(), tx.now);
    change_tenant(tx, tenant, |state| {
        if allowance::unclear(state, now) {
            tell_pace(&name, state);
        }
        true
    })
}

/// A message was taken.
pub(super) fn went_well<K: Kv>(tx: &mut Tx<K>, tenant: TenantNo) -> Result<(), Fault> {
    let now = tx.now;
    change_tenant(tx, tenant, |state| allowance::went_well(state, now))
}

fn tell_pace(name: &str, state: &TenantState) {
    let percent = state.pace() / 10;
    tracing::warn!(
        event = "tenant.slower",
        tenant = name,
        percent,
        "WeChat wants it slower, or gives no clear answers: {percent} % of the rate; it grows back"
    );
}

/// Ends a tenant's rest, whatever began it: an operator knows better.
pub(super) fn resume_tenant<K: Kv>(tx: &mut Tx<K>, tenant: &str) -> Result<Decision, Fault> {
    let number = tx.names.known_tenant(tenant);
    let Some(number) = number.filter(|_| tx.rules.tenants.contains_key(tenant)) else {
        return Ok(Err(Refusal::new(Code::NotFound, tx.no_tenant(tenant))));
    };
    streaks::forget(tx, &keys::tenant_streak(number))?;
    change_tenant(tx, number, |state| {
        state.hold_until = Timestamp(0);
        state.hold_reason = None;
        state.refusals = 0;
        true
    })?;
    Ok(Ok(Reply::Done))
}

pub(super) fn save_token<K: Kv>(
    tx: &mut Tx<K>,
    tenant: &str,
    token: StoredToken,
) -> Result<Decision, Fault> {
    if let Some(tenant) = tx.names.known_tenant(tenant) {
        change_tenant(tx, tenant, |state| {
            state.token = Some(token);
            state.token_fetches += 1;
            true
        })?;
    }
    Ok(Ok(Reply::Done))
}

/// Writes a rest down; the first of an outage is told.
fn note_rest(name: &str, state: &mut TenantState, until: Timestamp, why: &str) {
    let why = cut(why, limits::TEXT_BYTES);
    if state.refusals == 0 {
        tracing::warn!(
            event = "tenant.rests", tenant = name, until = %until, reason = why,
            "nothing is sent for it; one send is tried after each rest"
        );
    }
    state.hold_until = until;
    state.hold_reason = Some(why.to_owned());
}

/// The latest that a tenant's rest may end, however it was begun.
pub(super) fn longest_rest(now: Timestamp, state: &TenantState) -> Timestamp {
    match state.hold_reason.as_deref() {
        Some(DAY_IS_OVER | LIMIT_IS_REACHED) => next_day(now),
        Some(_) | None => now.plus(TENANT_REST_MAX_MS),
    }
}

/// Why a tenant rests until tomorrow.
pub(super) const LIMIT_IS_REACHED: &str = "its limit of the day is reached";
/// Why a tenant rests until tomorrow.
const DAY_IS_OVER: &str = "the provider's quota of the day is used up";

/// Takes the access tokens out of the store that an earlier version left in it, by tenant.
pub(super) fn take_tokens<K: Kv>(tx: &mut Tx<K>) -> Result<BTreeMap<String, StoredToken>, Fault> {
    let mut tokens = BTreeMap::new();
    for (number, name) in tx.names.tenants() {
        let key = keys::tenant_state(number);
        let Some(mut state) = tx.store.read::<TenantState>(&key)? else { continue };
        let Some(token) = &mut state.token else { continue };
        if token.value.is_empty() {
            continue;
        }
        tokens.insert(name.to_owned(), token.clone());
        token.value.clear();
        tx.store.write(key, &state);
    }
    Ok(tokens)
}
