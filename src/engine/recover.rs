//! Taking up what an earlier process left: deliveries that were being sent when it ended.

use super::act::Unsent;
use super::timer::Timer;
use super::{Engine, Identity};
use crate::id::DeliveryId;
use crate::kv::{Fault, Kv, Tree};
use crate::limits;
use crate::model::delivery::{Delivery, DeliveryState, Settled, Standing};
use crate::model::notice::Notice;
use crate::store::Order;
use crate::store::keys::{self, Lane, TenantNo};
use crate::time::Timestamp;

impl<K: Kv> Engine<K> {
    /// Every delivery that was being sent is in doubt now: its attempt is on disk, its outcome is
    /// not. There are at most as many as were in flight. `before` is who sent them.
    pub(super) fn recover_deliveries(
        &mut self,
        now: Timestamp,
        before: &Identity,
    ) -> Result<(), Fault> {
        let prefix = Lane::Timers.prefix();
        let (mut from, to) = (prefix.clone(), keys::after_prefix(&prefix));
        let mut left = Vec::new();
        loop {
            let page =
                self.store.scan(Tree::Delay, &from, &to, Order::Ascending, limits::PAGE_ITEMS)?;
            let Some((last, _)) = page.last() else { break };
            from.clone_from(last);
            from.push(0);
            for (key, _) in &page {
                let timer =
                    keys::split_delay(key, prefix.len()).and_then(|(_, item)| Timer::decode(item));
                if let Some(Timer::DeliveryClaim(tenant, id)) = timer {
                    left.push((tenant, id));
                }
            }
        }
        if !left.is_empty() {
            tracing::warn!(
                event = "recover.in_doubt",
                deliveries = left.len(),
                "these were on the wire when the last process ended"
            );
        }
        for (tenant, id) in left {
            self.lose(now, tenant, id, "the daemon ended during the attempt", Some(before))?;
        }
        Ok(())
    }

    /// A delivery's claim ran out in a living process: its worker was lost.
    pub(super) fn delivery_claim_ran_out(
        &mut self,
        now: Timestamp,
        tenant: TenantNo,
        id: DeliveryId,
    ) -> Result<(), Fault> {
        tracing::warn!(event = "send.lost", delivery = %id, "no outcome within the claim");
        self.lose(now, tenant, id, "no outcome within the claim", None)
    }

    fn lose(
        &mut self,
        now: Timestamp,
        tenant: TenantNo,
        id: DeliveryId,
        why: &str,
        sender: Option<&Identity>,
    ) -> Result<(), Fault> {
        let Some(mut notice) = self.store.read::<Notice>(&keys::id(id.notice))? else {
            return Ok(());
        };
        let Some(mut delivery) = self.store.read::<Delivery>(&keys::delivery(tenant, id))? else {
            return Ok(());
        };
        if delivery.state() != DeliveryState::Sending {
            return Ok(());
        }
        self.log_lost(now, &notice, id, &delivery, why, sender)?;
        self.doubt(now, &mut notice, id, &mut delivery, why);
        self.finish_if_done(now, &mut notice);
        self.refile(now, &mut notice)?;
        self.store.write(keys::id(id.notice), &notice);
        Ok(())
    }

    /// Puts a delivery that is being sent back among the pending, unless its notice no longer
    /// wants that.
    pub(super) fn unsend(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        unsent: Unsent,
    ) {
        if notice.cancelled {
            let (end, why) = (Settled::Cancelled, "the notice was cancelled");
            self.withdraw_delivery(now, notice, id, delivery, end, why);
        } else if notice.expired {
            let (end, why) = (Settled::Skipped, "the notice expired");
            self.withdraw_delivery(now, notice, id, delivery, end, why);
        } else {
            let to = Standing::Pending { due: unsent.due };
            self.move_delivery(now, notice, id, delivery, to, unsent.reason);
        }
    }
}
