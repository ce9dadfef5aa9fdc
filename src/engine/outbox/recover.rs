//! Taking up what an earlier process left: deliveries that were being sent when it ended.

use crate::engine::mode::Identity;
use crate::engine::outbox::{Outbox, lane, log, read_delivery};
use crate::engine::timer::Timer;
use crate::engine::tx::Tx;
use crate::id::DeliveryId;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::delivery::DeliveryState;
use crate::store::Order;
use crate::store::keys::{self, Lane};
use crate::store::schema::Tree;

impl Outbox {
    /// Every delivery that was being sent is in doubt now: its attempt is on disk, its outcome is
    /// not. There are at most as many as were in flight. `before` is who sent them.
    pub(in crate::engine) fn recover_deliveries<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        before: &Identity,
    ) -> Result<(), Fault> {
        let prefix = Lane::Timers.prefix();
        let (mut from, to) = (prefix.clone(), keys::after_prefix(&prefix));
        let mut left = Vec::new();
        loop {
            let page =
                tx.store.scan(Tree::Delay, &from, &to, Order::Ascending, limits::PAGE_ITEMS)?;
            let Some((last, _)) = page.last() else { break };
            from = keys::after(last);
            for (key, _) in &page {
                let timer =
                    keys::split_delay(key, prefix.len()).and_then(|(_, item)| Timer::decode(item));
                if let Some(Timer::DeliveryClaim(_, id)) = timer {
                    left.push(id);
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
        for id in left {
            self.lose(tx, id, "the daemon ended during the attempt", Some(before))?;
        }
        Ok(())
    }

    /// A delivery's claim ran out in a living process: its worker was lost.
    pub(in crate::engine) fn delivery_claim_ran_out<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: DeliveryId,
    ) -> Result<(), Fault> {
        tracing::warn!(event = "send.lost", delivery = %id, "no outcome within the claim");
        self.lose(tx, id, "no outcome within the claim", None)
    }

    fn lose<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: DeliveryId,
        why: &str,
        sender: Option<&Identity>,
    ) -> Result<(), Fault> {
        let Some((mut notice, mut delivery)) = read_delivery(tx, id)? else { return Ok(()) };
        if delivery.state() != DeliveryState::Sending {
            return Ok(());
        }
        log::record_lost(tx, &notice, id, &delivery, why, sender)?;
        self.doubt(tx, &mut notice, id, &mut delivery, why);
        lane::close(tx, &mut notice)
    }
}
