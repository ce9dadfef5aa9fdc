//! Claiming deliveries to send: which, how many, how fast.

use std::collections::BTreeMap;

use super::act::Unsent;
use super::command::{Effect, SendJob};
use super::{Engine, Ticked};
use crate::id::DeliveryId;
use crate::kv::{Fault, Kv, Tree};
use crate::limits;
use crate::model::delivery::{Delivery, DeliveryState, Settled, Standing};
use crate::model::message;
use crate::model::notice::Notice;
use crate::model::rules::TenantRule;
use crate::model::tenant::TenantState;
use crate::store::codec;
use crate::store::keys::{self, Lane, TenantNo};
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};

/// Deliveries taken from one notice before its tenant's next notice is looked at.
const NOTICE_TURN: usize = 64;
/// What a worker handed back is handed out again after this: whatever kept it from working (the
/// lease is about to run out, the daemon is stopping) is not over at once.
pub(super) const RETURN_PAUSE_MS: u64 = SECOND_MS;

impl<K: Kv> Engine<K> {
    /// Claims what each tenant may send now. Tenants are served in turn and have budgets of their
    /// own, so that one tenant's million does not delay another's ten.
    pub(super) fn claim_sends(&mut self, now: Timestamp, ticked: &mut Ticked) -> Result<(), Fault> {
        let tenants: Vec<(TenantNo, String)> = self
            .rules
            .tenants
            .keys()
            .filter_map(|name| Some((self.names.known_tenant(name)?, name.clone())))
            .collect();
        for (tenant, name) in tenants {
            self.claim_for_tenant(now, tenant, &name, ticked)?;
        }
        Ok(())
    }

    fn claim_for_tenant(
        &mut self,
        now: Timestamp,
        tenant: TenantNo,
        name: &str,
        ticked: &mut Ticked,
    ) -> Result<(), Fault> {
        let Some((due, _)) = self.delay_first(Lane::Tenant(tenant), 1)?.pop() else {
            return Ok(());
        };
        if due > now {
            ticked.wake_at(due);
            return Ok(());
        }
        let Some(rule) = self.rules.tenants.get(name) else { return Ok(()) };
        let (rate, slots, timeout_ms) = (rule.rate, slots(rule), rule.send_timeout_ms);
        let free = slots.saturating_sub(self.in_flight.get(&tenant).copied().unwrap_or(0));
        if free == 0 {
            return Ok(());
        }
        let state_key = keys::tenant_state(tenant);
        let mut state = self.store.read::<TenantState>(&state_key)?.unwrap_or_default();
        if state.hold_until > now {
            ticked.wake_at(state.hold_until);
            return Ok(());
        }
        let busy = self.in_flight.get(&tenant).copied().unwrap_or(0);
        // After a rest one goes out alone; the others wait for what it is answered.
        let free = match (state.refusals, busy) {
            (0, _) => free,
            (_, 0) => 1,
            _ => return Ok(()),
        };
        let (allowed, wake) = rate_allows(rate, state.rate_at_us, now, free);
        if let Some(wake) = wake {
            ticked.wake_at(wake);
        }
        let mut left = allowed as usize;
        while left > 0 && self.store.group_bytes() < limits::GROUP_BYTES {
            let taken = self.claim_turn(now, tenant, name, left, timeout_ms, ticked)?;
            let Some(taken) = taken else { break };
            left -= taken;
        }
        let taken = allowed - u32::try_from(left).unwrap_or(0);
        if let Some((next, _)) = self.delay_first(Lane::Tenant(tenant), 1)?.pop()
            && (next > now || (left > 0 && taken > 0))
        {
            ticked.wake_at(next);
        }
        if taken > 0 {
            state.rate_at_us = rate_take(rate, state.rate_at_us, now, taken);
            self.store.write(state_key, &state);
        }
        Ok(())
    }

    /// Claims up to `left` deliveries of the notice at the head of the tenant's lane. `None` when
    /// no notice is due.
    fn claim_turn(
        &mut self,
        now: Timestamp,
        tenant: TenantNo,
        name: &str,
        left: usize,
        timeout_ms: u64,
        ticked: &mut Ticked,
    ) -> Result<Option<usize>, Fault> {
        let Some((due, item)) = self.delay_first(Lane::Tenant(tenant), 1)?.pop() else {
            return Ok(None);
        };
        let Some(id) = keys::read_id(&item).filter(|_| due <= now) else { return Ok(None) };
        let Some(mut notice) = self.store.read::<Notice>(&keys::id(id))? else {
            self.delay_delete(Lane::Tenant(tenant), due, &item);
            return Ok(Some(0));
        };
        assert_eq!(notice.tenant, tenant.0, "notice {id} stands in another tenant's lane");
        if notice.expires_at.is_some_and(|expiry| expiry <= now && !self.is_over(now, expiry)) {
            // Too late by a clock that has just jumped: neither sent nor given up.
            self.file(&mut notice, Some(now.plus(MINUTE_MS)));
            self.store.write(keys::id(id), &notice);
            return Ok(Some(0));
        }
        let lane = Lane::Notice(tenant, id);
        let mut taken = 0;
        for (row_due, number) in self.delay_first(lane, left.min(NOTICE_TURN))? {
            let Some(number) = keys::read_u32(&number).filter(|_| row_due <= now) else { break };
            let id = DeliveryId { notice: id, number };
            let job = self.claim_delivery(now, &mut notice, name, id, timeout_ms)?;
            if let Some(job) = job {
                ticked.effects.push(Effect::Send(job));
                taken += 1;
            }
        }
        if taken > 0 {
            notice.first_send.get_or_insert(now);
        }
        self.refile_behind(now, &mut notice)?;
        self.store.write(keys::id(id), &notice);
        Ok(Some(taken))
    }

    /// Writes the intent to send one delivery: its attempt is on disk before the network is touched.
    fn claim_delivery(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        tenant_name: &str,
        id: DeliveryId,
        timeout_ms: u64,
    ) -> Result<Option<SendJob>, Fault> {
        let tenant = TenantNo(notice.tenant);
        let row = self.store.read::<Delivery>(&keys::delivery(tenant, id))?;
        let mut delivery = row.ok_or_else(|| Fault::Damaged {
            tree: Tree::Outbox.name(),
            why: format!("delivery {id} is due but has no row"),
        })?;
        if notice.expires_at.is_some_and(|expiry| expiry <= now) {
            // The notice's own timer does the rest; nothing slips out before it fires.
            let (end, reason) = (Settled::Skipped, "the notice expired");
            self.withdraw_delivery(now, notice, id, &mut delivery, end, reason);
            self.finish_if_done(now, notice);
            return Ok(None);
        }
        if self.doubt_is_over(now, notice, &delivery) {
            let reason = Some("its outcome stayed unknown past the dedupe window".to_owned());
            self.settle_delivery(now, notice, id, &mut delivery, Settled::InDoubt, reason);
            self.finish_if_done(now, notice);
            return Ok(None);
        }
        delivery.attempt += 1;
        delivery.fence += 1;
        delivery.started = now;
        // The worker settles long before; this fires only if it was lost.
        let until = now.plus(3 * timeout_ms + 10 * SECOND_MS);
        let reason = delivery.reason.take();
        self.move_delivery(now, notice, id, &mut delivery, Standing::Sending { until }, reason);
        let body = self.render(tenant_name, tenant, id, &delivery)?;
        let tenant = tenant_name.to_owned();
        Ok(Some(SendJob { tenant, delivery: id, fence: delivery.fence, body }))
    }

    /// The request of a delivery. It depends on rows that never change, so the send log need not
    /// keep a copy of it.
    pub(super) fn render(
        &mut self,
        tenant_name: &str,
        tenant: TenantNo,
        id: DeliveryId,
        delivery: &Delivery,
    ) -> Result<String, Fault> {
        let body = self.body(id.notice)?;
        let own: Option<BTreeMap<String, String>> = if delivery.has_data {
            let bytes = self.store.get(Tree::Overrides, &keys::delivery(tenant, id))?;
            bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok())
        } else {
            None
        };
        let merged = own.map(|own| {
            let mut data = body.data.clone();
            data.extend(own);
            data
        });
        let miniprogram =
            body.miniprogram.as_ref().map(|page| (page.appid.as_str(), page.pagepath.as_str()));
        Ok(message::render(
            &delivery.openid,
            &body.template_id,
            &message::client_msg_id(tenant_name, id),
            body.url.as_deref(),
            miniprogram,
            merged.as_ref().unwrap_or(&body.data),
        ))
    }

    /// Hands a claimed delivery back that was certainly not put on the wire.
    pub(super) fn return_send(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        fence: u64,
    ) -> Result<super::Decision, Fault> {
        let Some((mut notice, mut delivery)) = self.claimed_delivery(id, fence)? else {
            return Ok(Ok(super::command::Reply::Done));
        };
        delivery.attempt -= 1;
        let due = now.plus(RETURN_PAUSE_MS);
        self.unsend(now, &mut notice, id, &mut delivery, Unsent { due, reason: None });
        self.finish_if_done(now, &mut notice);
        self.refile(now, &mut notice)?;
        self.store.write(keys::id(id.notice), &notice);
        Ok(Ok(super::command::Reply::Done))
    }

    /// The notice and row of a delivery that is being sent under this fence.
    pub(super) fn claimed_delivery(
        &self,
        id: DeliveryId,
        fence: u64,
    ) -> Result<Option<(Notice, Delivery)>, Fault> {
        let Some(notice) = self.store.read::<Notice>(&keys::id(id.notice))? else {
            return Ok(None);
        };
        let key = keys::delivery(TenantNo(notice.tenant), id);
        let Some(bytes) = self.store.get(Tree::Outbox, &key)? else { return Ok(None) };
        let delivery: Delivery = codec::decode(&bytes)?;
        let held = delivery.state() == DeliveryState::Sending && delivery.fence == fence;
        Ok(held.then_some((notice, delivery)))
    }
}

/// Deliveries that a tenant may have claimed at once: those on the wire, and enough queued behind
/// them that a commit's latency never leaves a connection idle.
pub(super) fn slots(rule: &TenantRule) -> u32 {
    rule.concurrency + rule.concurrency.div_ceil(4).max(2)
}

/// How many sends a rate allows now, at most `wanted`, and when the next one is allowed if not all
/// are. The rate is a token bucket of a tenth of a second, kept as one theoretical arrival time.
#[must_use]
pub fn rate_allows(rate: u32, at_us: u64, now: Timestamp, wanted: u32) -> (u32, Option<Timestamp>) {
    if rate == 0 {
        return (wanted, None);
    }
    let interval_us = 1_000_000 / u64::from(rate);
    let burst_us = interval_us * u64::from(rate.div_ceil(10));
    let now_us = now.0 * 1000;
    // A bucket that is further ahead than a full one can be was filled under another clock.
    let at_us = at_us.min(now_us + burst_us).max(now_us.saturating_sub(0));
    let allowed =
        ((now_us + burst_us).saturating_sub(at_us) / interval_us.max(1)).min(u64::from(wanted));
    let allowed = u32::try_from(allowed).unwrap_or(wanted);
    let next_us = at_us + interval_us * (u64::from(allowed) + 1);
    let wake = (allowed < wanted)
        .then(|| Timestamp(next_us.saturating_sub(burst_us).div_ceil(1000).max(now.0 + 1)));
    (allowed, wake)
}

/// The theoretical arrival time after `taken` sends.
#[must_use]
pub fn rate_take(rate: u32, at_us: u64, now: Timestamp, taken: u32) -> u64 {
    if rate == 0 {
        return at_us;
    }
    let interval_us = 1_000_000 / u64::from(rate);
    let burst_us = interval_us * u64::from(rate.div_ceil(10));
    let now_us = now.0 * 1000;
    at_us.clamp(now_us, now_us + burst_us) + interval_us * u64::from(taken)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Takes as much as allowed at each millisecond for two seconds.
    #[test]
    fn a_rate_is_kept_and_used() {
        for rate in [1, 7, 100, 999, 5_000] {
            let (mut at_us, mut sent) = (0, 0);
            for ms in 0..2_000 {
                let now = Timestamp(1_000_000 + ms);
                let (allowed, _) = rate_allows(rate, at_us, now, 1_000);
                at_us = rate_take(rate, at_us, now, allowed);
                sent += allowed;
            }
            let burst = rate.div_ceil(10);
            assert!(sent <= 2 * rate + burst + 1, "{rate}: {sent}");
            assert!(sent + 1 >= 2 * rate * 99 / 100, "{rate}: {sent}");
        }
    }

    #[test]
    fn the_wake_up_is_when_the_next_send_is_allowed() {
        let now = Timestamp(5_000);
        let at_us = rate_take(10, 0, now, 1);
        let (allowed, wake) = rate_allows(10, at_us, now, 5);
        assert_eq!((allowed, wake), (0, Some(Timestamp(5_100))));
        assert_eq!(rate_allows(10, at_us, Timestamp(5_100), 5).0, 1);
    }

    #[test]
    fn a_clock_that_jumped_back_does_not_stop_the_tenant() {
        let at_us = rate_take(100, 0, Timestamp(86_400_000), 10);
        assert!(rate_allows(100, at_us, Timestamp(1_000), 5).1.unwrap() <= Timestamp(1_200));
    }
}
