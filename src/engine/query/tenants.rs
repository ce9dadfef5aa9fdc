//! Tenants as people see them.

use super::super::view::{At, Circuit, Listed, QuotaView, TenantView, TokenView, Word};
use super::rows::Rows;
use crate::engine::Engine;
use crate::engine::allowance;
use crate::kv::{Fault, Kv};
use crate::model::day::shanghai_day;
use crate::model::rules::TenantRule;
use crate::model::tenant::TenantState;
use crate::store::keys::{self, TenantNo};
use crate::time::Timestamp;

impl<K: Kv> Engine<K> {
    pub(super) fn list_tenants(&mut self, now: Timestamp) -> Result<Listed<TenantView>, Fault> {
        let tenants: Vec<(TenantNo, String)> =
            self.tx.names.tenants().map(|(number, name)| (number, name.to_owned())).collect();
        let mut items = Rows::whole();
        for (number, name) in tenants {
            let state = self.tx.store.read::<TenantState>(&keys::tenant_state(number))?;
            let state = state.unwrap_or_default();
            let Some(rule) = self.tx.rules.tenants.get(&name) else { continue };
            let in_flight = self.outbox.in_flight_of(number);
            items.push(tenant_view(name, rule, &state, now, in_flight));
        }
        Ok(items.page(None))
    }
}

fn tenant_view(
    name: String,
    rule: &TenantRule,
    state: &TenantState,
    now: Timestamp,
    in_flight: u32,
) -> TenantView {
    let held = state.hold_until > now;
    let rests = held || state.refusals > 0;
    let token = state.token.as_ref();
    let today = u64::from(state.day) == shanghai_day(now);
    let quota = allowance::limit_today(rule, state, now).map(|(limit, used)| QuotaView {
        limit,
        used,
        left: limit.saturating_sub(used),
        reserve: rule.reserve,
        told_at: state.quota.map(|quota| At(quota.at)),
    });
    TenantView {
        concurrency: allowance::concurrency(rule, state),
        rate: state.rate.unwrap_or(rule.rate),
        pace_percent: state.pace() / 10,
        configured_concurrency: rule.concurrency,
        configured_rate: rule.rate,
        templates: rule.templates.keys().cloned().collect(),
        in_flight,
        requests_today: if today { state.sent_today } else { 0 },
        quota,
        quiet_until: rule.quiet.as_ref().and_then(|quiet| quiet.end(now)).map(At),
        circuit: Word(Circuit::open_if(rests)),
        held_until: held.then_some(At(state.hold_until)),
        reason: state.hold_reason.clone().filter(|_| rests),
        token: TokenView {
            fetches: state.token_fetches,
            fetched_at: token.map(|token| At(token.fetched_at)),
            expires_at: token.map(|token| At(token.expires_at)),
            age_ms: token.map(|token| now.since(token.fetched_at)),
        },
        tenant: name,
    }
}
