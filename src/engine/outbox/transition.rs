//! The one way of a delivery from one state to another.
//!
//! | stands as | has |
//! |---|---|
//! | pending | a key in its notice's lane |
//! | sending | the timer of its claim, a place among those in flight |
//! | dead | a dead letter |
//! | settled otherwise | nothing |

use std::sync::Arc;

use crate::engine::Engine;
use crate::engine::timer::Timer;
use crate::id::DeliveryId;
use crate::kv::{Kv, Tree};
use crate::model::delivery::{Delivery, Settled, Standing};
use crate::model::notice::Notice;
use crate::store::keys::{self, DeadItem, Lane, TenantNo};
use crate::time::Timestamp;

impl<K: Kv> Engine<K> {
    /// Brings a delivery to another state: out of what the old one keeps it in, into what the new one
    /// does; its notice counts it, and its row is written. The notice is the caller's to write.
    pub(in crate::engine) fn move_delivery(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        to: Standing,
        reason: Option<String>,
    ) {
        let tenant = TenantNo(notice.tenant);
        let (lane, number) = (Lane::Notice(tenant, id.notice), id.number.to_be_bytes());
        let from = delivery.state();
        match delivery.standing() {
            Standing::Pending { due } => self.delay_delete(lane, due, &number),
            Standing::Sending { until } => {
                self.clear_timer(until, &Timer::DeliveryClaim(tenant, id));
                if let Some(count) = self.in_flight.get_mut(&tenant) {
                    *count = count.saturating_sub(1);
                }
            }
            Standing::Settled { end: Settled::Dead, .. } => {
                let letter = keys::dead(delivery.changed, DeadItem::Delivery(tenant, id));
                self.store.delete(Tree::Dead, &letter);
            }
            Standing::Settled { .. } => {}
        }
        delivery.stand(to);
        delivery.changed = now;
        delivery.reason = reason;
        match to {
            Standing::Pending { due } => self.delay_put(lane, due, &number),
            Standing::Sending { until } => {
                self.set_timer(until, &Timer::DeliveryClaim(tenant, id));
                *self.in_flight.entry(tenant).or_default() += 1;
            }
            Standing::Settled { end: Settled::Dead, .. } => {
                let letter = keys::dead(now, DeadItem::Delivery(tenant, id));
                self.store.create(Tree::Dead, letter, Arc::from(&[][..]));
            }
            Standing::Settled { .. } => {}
        }
        notice.counts.moved(from, delivery.state());
        self.store.write(keys::delivery(tenant, id), delivery);
    }

    /// Settles a delivery.
    pub(in crate::engine) fn settle_delivery(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        end: Settled,
        reason: Option<String>,
    ) {
        self.move_delivery(now, notice, id, delivery, Standing::Settled { end, at: now }, reason);
    }

    /// Settles a delivery that shall not be sent: one that may have been accepted stays in doubt.
    pub(in crate::engine) fn withdraw_delivery(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        end: Settled,
        reason: &str,
    ) {
        let end = withdrawn(delivery, end);
        self.settle_delivery(now, notice, id, delivery, end, Some(reason.to_owned()));
    }

    /// Sends a settled delivery again because a person wants it. That settles the old doubt, too: a
    /// new window begins with the next attempt.
    pub(in crate::engine) fn send_again(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        reason: &str,
    ) {
        delivery.failed = 0;
        delivery.doubt_since = None;
        let to = Standing::Pending { due: now };
        self.move_delivery(now, notice, id, delivery, to, Some(reason.to_owned()));
    }

    /// Gives a pending delivery another due time; nothing else of it changes.
    pub(in crate::engine) fn postpone(
        &mut self,
        id: DeliveryId,
        notice: &Notice,
        delivery: &mut Delivery,
        due: Timestamp,
    ) {
        let Standing::Pending { due: before } = delivery.standing() else { return };
        let tenant = TenantNo(notice.tenant);
        let (lane, number) = (Lane::Notice(tenant, id.notice), id.number.to_be_bytes());
        self.delay_delete(lane, before, &number);
        self.delay_put(lane, due, &number);
        delivery.stand(Standing::Pending { due });
        self.store.write(keys::delivery(tenant, id), delivery);
    }
}

/// What a withdrawn delivery becomes: one that may have been accepted stays in doubt.
pub(in crate::engine) fn withdrawn(delivery: &Delivery, otherwise: Settled) -> Settled {
    if delivery.doubt_since.is_some() { Settled::InDoubt } else { otherwise }
}
