//! Claiming deliveries to send: which, how many, how fast.

use std::collections::BTreeMap;

use crate::engine::allowance;
use crate::engine::command::{Effect, SendJob};
use crate::engine::outbox::canary::canary_claimed;
use crate::engine::outbox::{Outbox, doubt, lane};
use crate::engine::people;
use crate::engine::tenants;
use crate::engine::tx::{Ticked, Tx};
use crate::id::DeliveryId;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::day::next_day;
use crate::model::delivery::{Delivery, Settled, Standing};
use crate::model::message;
use crate::model::notice::Notice;
use crate::model::rules::TenantRule;
use crate::model::tenant::TenantState;
use crate::store::keys::{self, Lane, TenantNo};
use crate::store::schema::Tree;
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};

/// Deliveries taken from one notice before its tenant's next notice is looked at.
const NOTICE_TURN: usize = 64;
impl Outbox {
    /// Claims what each tenant may send now. Tenants are served in turn and have budgets of their
    /// own, so that one tenant's million does not delay another's ten.
    pub(in crate::engine) fn claim_sends<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        ticked: &mut Ticked,
    ) -> Result<(), Fault> {
        let tenants: Vec<(TenantNo, String)> = tx
            .rules
            .tenants
            .keys()
            .filter_map(|name| Some((tx.names.known_tenant(name)?, name.clone())))
            .collect();
        for (tenant, name) in tenants {
            self.claim_for_tenant(tx, tenant, &name, ticked)?;
        }
        Ok(())
    }

    fn claim_for_tenant<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        tenant: TenantNo,
        name: &str,
        ticked: &mut Ticked,
    ) -> Result<(), Fault> {
        let lanes = [Lane::Urgent(tenant), Lane::Tenant(tenant)];
        let mut is_due = [false; 2];
        for (lane, is_due) in lanes.into_iter().zip(&mut is_due) {
            if let Some((due, _)) = tx.store.delay_first(lane, 1)?.pop() {
                *is_due = due <= tx.now;
                if !*is_due {
                    ticked.wake_at(due);
                }
            }
        }
        let Some(rule) = tx.rules.tenants.get(name).filter(|_| is_due != [false; 2]) else {
            return Ok(());
        };
        let rule = rule.clone();
        let state_key = keys::tenant_state(tenant);
        let mut state = tx.store.read::<TenantState>(&state_key)?.unwrap_or_default();
        let busy = self.in_flight_of(tenant);
        let concurrency = allowance::concurrency(&rule, &state);
        let free = allowance::slots(concurrency).saturating_sub(busy);
        if free == 0 {
            return Ok(());
        }
        if state.hold_until > tx.now {
            ticked.wake_at(state.hold_until);
            return Ok(());
        }
        // After a rest one goes out alone; the others wait for what it is answered.
        let free = match (state.refusals, busy) {
            (0, _) => free,
            (_, 0) => 1,
            _ => return Ok(()),
        };
        let left_today = allowance::left_today(&rule, &state, tx.now, busy);
        if left_today.is_some_and(|(all, _)| all == 0) {
            if busy == 0 {
                let until = next_day(tx.now);
                tenants::hold(tx, tenant, until, tenants::LIMIT_IS_REACHED)?;
                ticked.wake_at(until);
            }
            return Ok(());
        }
        let (allowed, wake) = allowance::by_rate(&rule, &state, tx.now, free);
        if let Some(wake) = wake {
            ticked.wake_at(wake);
        }
        let budget = Budget { name, concurrency, timeout_ms: rule.send_timeout_ms };
        let mut taken = 0;
        for (lane, is_due) in lanes.into_iter().zip(is_due) {
            let urgent = matches!(lane, Lane::Urgent(_));
            if !is_due {
                continue;
            }
            if let Some(end) = quiet_end(&rule, tx.now).filter(|_| !urgent) {
                ticked.wake_at(end);
                continue;
            }
            let of_day =
                left_today.map_or(u64::MAX, |(all, others)| if urgent { all } else { others });
            let of_day = of_day.saturating_sub(u64::from(taken));
            if of_day == 0 {
                ticked.wake_at(next_day(tx.now));
                continue;
            }
            let most = u64::from(allowed - taken).min(of_day);
            taken += self.claim_lane(tx, lane, &budget, most, ticked)?;
        }
        if taken > 0 {
            allowance::charge(&rule, &mut state, tx.now, taken);
            tx.store.write(state_key, &state);
        }
        Ok(())
    }

    /// Claims up to `most` deliveries of a lane's notices; gives how many.
    fn claim_lane<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        lane: Lane,
        budget: &Budget<'_>,
        most: u64,
        ticked: &mut Ticked,
    ) -> Result<u32, Fault> {
        let most = u32::try_from(most).unwrap_or(u32::MAX);
        let mut left = most as usize;
        while left > 0 && tx.store.group_bytes() < limits::GROUP_BYTES {
            let taken = self.claim_turn(tx, lane, budget, left, ticked)?;
            let Some(taken) = taken else { break };
            left -= taken;
        }
        let taken = most - u32::try_from(left).unwrap_or(0);
        if let Some((next, _)) = tx.store.delay_first(lane, 1)?.pop()
            && (next > tx.now || (left > 0 && taken > 0))
        {
            ticked.wake_at(next);
        }
        Ok(taken)
    }

    /// Claims up to `left` deliveries of the notice at the head of the tenant's lane. `None` when
    /// no notice is due.
    fn claim_turn<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        place: Lane,
        budget: &Budget<'_>,
        left: usize,
        ticked: &mut Ticked,
    ) -> Result<Option<usize>, Fault> {
        let Some((due, item)) = tx.store.delay_first(place, 1)?.pop() else {
            return Ok(None);
        };
        let Some(id) = keys::read_id(&item).filter(|_| due <= tx.now) else { return Ok(None) };
        let Some(mut notice) = tx.store.read::<Notice>(&keys::id(id))? else {
            tx.store.delay_delete(place, due, &item);
            return Ok(Some(0));
        };
        let tenant = TenantNo(notice.tenant);
        let right = place == Lane::of_notice(tenant, notice.urgent);
        assert!(right, "notice {id} stands in another tenant's lane");
        if notice.expires_at.is_some_and(|expiry| expiry <= tx.now && !tx.is_over(expiry)) {
            // Too late by a clock that has just jumped: neither sent nor given up.
            lane::file(tx, &mut notice, Some(tx.now.plus(MINUTE_MS)));
            tx.store.write(keys::id(id), &notice);
            return Ok(Some(0));
        }
        self.follow_template(tx, &mut notice, budget.name)?;
        if !notice.is_active() {
            lane::refile_behind(tx, &mut notice)?;
            tx.store.write(keys::id(id), &notice);
            return Ok(Some(0));
        }
        let lane = Lane::Notice(tenant, id);
        let mut taken = 0;
        let first = notice.canary.as_ref().map_or(NOTICE_TURN, |canary| canary.left as usize);
        let most = left.min(NOTICE_TURN).min(first);
        for (row_due, number) in tx.store.delay_first(lane, most)? {
            let Some(number) = keys::read_u32(&number).filter(|_| row_due <= tx.now) else { break };
            let id = DeliveryId { notice: id, number };
            let job = self.claim_delivery(tx, &mut notice, budget, id)?;
            if let Some(job) = job {
                ticked.effects.push(Effect::Send(job));
                taken += 1;
            }
        }
        if taken > 0 {
            notice.first_send.get_or_insert(tx.now);
        }
        canary_claimed(&mut notice, taken);
        lane::refile_behind(tx, &mut notice)?;
        tx.store.write(keys::id(id), &notice);
        Ok(Some(taken))
    }

    /// Writes the intent to send one delivery: its attempt is on disk before the network is touched.
    fn claim_delivery<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        budget: &Budget<'_>,
        id: DeliveryId,
    ) -> Result<Option<SendJob>, Fault> {
        let tenant = TenantNo(notice.tenant);
        let row = tx.store.read::<Delivery>(&keys::delivery(tenant, id))?;
        let mut delivery = row.ok_or_else(|| Fault::Damaged {
            tree: Tree::Outbox.name(),
            why: format!("delivery {id} is due but has no row"),
        })?;
        if notice.expires_at.is_some_and(|expiry| expiry <= tx.now) {
            // The notice's own timer does the rest; nothing slips out before it fires.
            let (end, reason) = (Settled::Skipped, "the notice expired");
            self.withdraw_delivery(tx, notice, id, &mut delivery, end, reason);
            lane::finish_if_done(tx, notice);
            return Ok(None);
        }
        if doubt::doubt_is_over(tx, notice, &delivery) {
            let reason = Some("its outcome stayed unknown past the dedupe window".to_owned());
            self.settle_delivery(tx, notice, id, &mut delivery, Settled::InDoubt, reason);
            lane::finish_if_done(tx, notice);
            return Ok(None);
        }
        let template_id = |tx: &mut Tx<K>| Ok(self.body(tx, id.notice)?.template_id.clone());
        if let Some(reason) = people::reason_to_skip(tx, notice, &delivery, template_id)? {
            self.withdraw_delivery(tx, notice, id, &mut delivery, Settled::Skipped, reason);
            lane::finish_if_done(tx, notice);
            return Ok(None);
        }
        delivery.attempt += 1;
        delivery.fence += 1;
        delivery.started = tx.now;
        // The worker settles long before; this fires only if it was lost.
        let until = tx.now.plus(3 * budget.timeout_ms + 10 * SECOND_MS);
        let reason = delivery.reason.take();
        self.move_delivery(tx, notice, id, &mut delivery, Standing::Sending { until }, reason);
        people::sends(tx, tenant, &delivery)?;
        let body = self.render(tx, budget.name, tenant, id, &delivery, tx.now)?;
        Ok(Some(SendJob {
            tenant: budget.name.to_owned(),
            delivery: id,
            fence: delivery.fence,
            openid: delivery.openid,
            body,
            concurrency: budget.concurrency,
        }))
    }

    /// The request of a delivery as it was, or would be, made at a time. What a notice said before it
    /// was changed is kept with it, so the send log need not keep a copy.
    pub(in crate::engine) fn render<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        tenant_name: &str,
        tenant: TenantNo,
        id: DeliveryId,
        delivery: &Delivery,
        at: Timestamp,
    ) -> Result<String, Fault> {
        let body = self.body(tx, id.notice)?;
        let body = body.as_of(at);
        let own: Option<BTreeMap<String, String>> = if delivery.has_data {
            let bytes = tx.store.get(Tree::Overrides, &keys::delivery(tenant, id))?;
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
}

/// What one turn of a tenant goes by.
struct Budget<'a> {
    /// The tenant's name.
    name: &'a str,
    concurrency: u32,
    timeout_ms: u64,
}

/// When quiet hours end, if these are some.
fn quiet_end(rule: &TenantRule, now: Timestamp) -> Option<Timestamp> {
    rule.quiet.as_ref().and_then(|quiet| quiet.end(now))
}
