//! Why a tenant sends nothing at the moment though something is due, and when it goes on.

use super::allowance;
use super::tenants::LIMIT_IS_REACHED;
use super::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::model::day::next_day;
use crate::model::tenant::TenantState;
use crate::store::keys::{self, Lane, TenantNo};
use crate::time::Timestamp;

/// Until when, and why.
pub(super) type Waits = (Timestamp, String);

/// When the first notice of a tenant is due that has something to send.
pub(super) fn first_due_of<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
) -> Result<Option<Timestamp>, Fault> {
    let mut first: Option<Timestamp> = None;
    for lane in [Lane::Urgent(tenant), Lane::Tenant(tenant)] {
        if let Some((due, _)) = tx.store.delay_first(lane, 1)?.pop() {
            first = Some(first.map_or(due, |first| first.min(due)));
        }
    }
    Ok(first)
}

/// Why a tenant's notices are not sent now though they are due.
pub(super) fn what_holds<K: Kv>(
    tx: &Tx<K>,
    now: Timestamp,
    tenant: TenantNo,
    urgent: bool,
) -> Result<Option<Waits>, Fault> {
    let Some(rule) = tx.rules.tenants.get(tx.names.tenant_name(tenant)) else { return Ok(None) };
    let state = tx.store.read::<TenantState>(&keys::tenant_state(tenant))?.unwrap_or_default();
    if state.hold_until > now {
        let why = state.hold_reason.unwrap_or_else(|| "it failed".to_owned());
        return Ok(Some((state.hold_until, why)));
    }
    if let Some(end) = rule.quiet.as_ref().filter(|_| !urgent).and_then(|it| it.end(now)) {
        return Ok(Some((end, "quiet hours".to_owned())));
    }
    Ok(match allowance::left_today(rule, &state, now, 0) {
        Some((0, _)) => Some((next_day(now), LIMIT_IS_REACHED.to_owned())),
        Some((_, 0)) if !urgent => {
            let why = "what is left of the day is kept for urgent notices";
            Some((next_day(now), why.to_owned()))
        }
        Some(_) | None => None,
    })
}
