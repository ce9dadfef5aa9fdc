//! Failures that are nobody's in particular: of what a tenant's sends share, and of a whole notice.
//!
//! What is shared (the line, the token service, the account) rests the tenant. When the rest is
//! over, one delivery goes out alone as a probe; whatever the provider answers it ends the trouble,
//! and without an answer the tenant rests on. No recipient's failures are counted for it.
//!
//! What fails alike for one recipient after the other is the notice's fault, whatever the code: it
//! is paused before it burns the attempts of all. Those that are in flight then still come back.

use crate::engine::streaks;
use crate::engine::tenants;
use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::attempt::{Class, Try};
use crate::model::errcode;
use crate::model::notice::Notice;
use crate::store::keys::{self, TenantNo};
use crate::text::cut;
use crate::time::{MINUTE_MS, SECOND_MS};

/// Attempts in a row that fail alike and pause their notice, or rest their tenant.
const ALIKE: u32 = 20;
/// Openids refused in a row until the tenant is taken for the wrong one: single ones are the
/// recipient's own affair.
const ALIKE_OPENIDS: u32 = 100;
/// A recipient that would be given up pauses the notice instead once so many failed alike.
const ALIKE_AT_THE_END: u32 = 5;
/// The first rest of a tenant whose line or token service does not answer, and the longest.
const LINE_REST_MS: u64 = SECOND_MS;
const LINE_REST_MAX_MS: u64 = MINUTE_MS;

/// Nothing was sent: the tenant rests. A refused token call rests it as that code says.
pub(in crate::engine) fn unreached<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    answer: &Try,
) -> Result<(), Fault> {
    match answer.errcode.map(errcode::classify_token_call) {
        Some(Class::Day) => tenants::day_is_over(tx, tenant),
        Some(Class::Tenant) => tenants::refuse_tenant(tx, tenant, &answer.errmsg),
        _ => tenants::rest_tenant(tx, tenant, LINE_REST_MS, LINE_REST_MAX_MS, &answer.errmsg),
    }
}

/// An attempt of a tenant came back without saying what became of it. Says whether the tenant
/// rests for it: then it is no failure of its recipient.
pub(in crate::engine) fn unsure<K: Kv>(
    tx: &mut Tx<K>,
    notice: &mut Notice,
    answer: &Try,
) -> Result<bool, Fault> {
    let tenant = TenantNo(notice.tenant);
    if is_in_trouble(tx, tenant)? {
        tenants::rest_tenant(tx, tenant, LINE_REST_MS, LINE_REST_MAX_MS, &answer.errmsg)?;
        return Ok(true);
    }
    let answered = answer.errmsg.starts_with("HTTP ") && !answer.errmsg.starts_with("HTTP 5");
    if answered || answer.errcode.is_some() {
        failed_alike(tx, notice, answer, ALIKE)?;
        return Ok(false);
    }
    let times = streaks::lengthen(tx, keys::tenant_streak(tenant), "no clear answer")?;
    if times >= ALIKE {
        let words = format!("{times} sends in a row got no clear answer: {}", answer.errmsg);
        tenants::rest_tenant(tx, tenant, LINE_REST_MS, LINE_REST_MAX_MS, &words)?;
    }
    Ok(false)
}

/// The provider answered: line, token and account are in order.
pub(in crate::engine) fn answered<K: Kv>(tx: &mut Tx<K>, tenant: TenantNo) -> Result<(), Fault> {
    streaks::forget(tx, &keys::tenant_streak(tenant))?;
    tenants::forget_refusals(tx, tenant)
}

/// A failure that may be everybody's. Pauses the notice when it is one too many, and says
/// whether the notice is paused.
pub(in crate::engine) fn failed_alike<K: Kv>(
    tx: &mut Tx<K>,
    notice: &mut Notice,
    answer: &Try,
    limit: u32,
) -> Result<bool, Fault> {
    let what = match answer.errcode {
        Some(code) => code.to_string(),
        None => cut(&answer.errmsg, limits::NAME_BYTES).to_owned(),
    };
    let times = streaks::lengthen(tx, keys::notice_streak(notice.id), &what)?;
    if times >= limit {
        pause_for_all(notice, answer, times);
    }
    Ok(notice.paused.is_some())
}

/// As [`failed_alike`] for a recipient whose attempts are used up.
pub(in crate::engine) fn gave_up_alike<K: Kv>(
    tx: &mut Tx<K>,
    notice: &mut Notice,
    answer: &Try,
) -> Result<bool, Fault> {
    let times = streaks::length(tx, &keys::notice_streak(notice.id))?;
    if times >= ALIKE_AT_THE_END {
        pause_for_all(notice, answer, times);
    }
    Ok(notice.paused.is_some())
}

/// Failures alike that pause a notice, by the code.
pub(in crate::engine) fn alike_limit(answer: &Try) -> Option<u32> {
    match answer.errcode? {
        code if errcode::is_foreign_openid(code) => Some(ALIKE_OPENIDS),
        _ if answer.class == Class::Recipient => None,
        _ => Some(ALIKE),
    }
}

fn pause_for_all(notice: &mut Notice, answer: &Try, times: u32) {
    if notice.paused.is_some() {
        return;
    }
    let text = cut(&answer.errmsg, limits::TEXT_BYTES);
    let what = match answer.errcode {
        Some(code) => format!("{code} {text} ({})", errcode::meaning(code)),
        None => text.to_owned(),
    };
    let hint = match answer.errcode {
        Some(code) if errcode::is_foreign_openid(code) => " Is it the wrong tenant?",
        _ => "",
    };
    let reason = format!(
        "{times} attempts in a row failed alike and none succeeded: {what}.{hint} Mend it and \
         resume, or cancel"
    );
    notice.paused = Some(reason);
}

pub(in crate::engine) fn is_in_trouble<K: Kv>(tx: &Tx<K>, tenant: TenantNo) -> Result<bool, Fault> {
    let key = keys::tenant_state(tenant);
    let state = tx.store.read::<crate::model::tenant::TenantState>(&key)?;
    Ok(state.is_some_and(|state| state.refusals > 0))
}
