//! The one way of a delivery from one state to another.
//!
//! | stands as | has |
//! |---|---|
//! | pending | a key in its notice's lane |
//! | sending | the timer of its claim, a place among those in flight |
//! | dead | a dead letter |
//! | accepted | a place among those whose receipt is awaited |
//! | settled otherwise | nothing |

use std::sync::Arc;

use crate::engine::outbox::Outbox;
use crate::engine::outbox::canary::canary_unsent;
use crate::engine::timer::Timer;
use crate::engine::tx::Tx;
use crate::id::DeliveryId;
use crate::kv::Kv;
use crate::model::delivery::{Delivery, Settled, Standing};
use crate::model::notice::Notice;
use crate::store::keys::{self, DeadItem, Lane, TenantNo};
use crate::store::schema::Tree;
use crate::time::Timestamp;

impl Outbox {
    /// Puts a delivery that is being sent back among the pending, unless its notice no longer
    /// wants that.
    pub(in crate::engine) fn unsend<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        unsent: Unsent,
    ) {
        if notice.cancelled {
            let (end, why) = (Settled::Cancelled, "the notice was cancelled");
            self.withdraw_delivery(tx, notice, id, delivery, end, why);
        } else if notice.expired {
            let (end, why) = (Settled::Skipped, "the notice expired");
            self.withdraw_delivery(tx, notice, id, delivery, end, why);
        } else {
            if delivery.doubt_since.is_none() {
                canary_unsent(tx, notice);
            }
            let to = Standing::Pending { due: unsent.due };
            self.move_delivery(tx, notice, id, delivery, to, unsent.reason);
        }
    }

    /// Brings a delivery to another state: out of what the old one keeps it in, into what the new one
    /// does; its notice counts it, and its row is written. The notice is the caller's to write.
    pub(in crate::engine) fn move_delivery<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
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
            Standing::Pending { due } => tx.store.delay_delete(lane, due, &number),
            Standing::Sending { until } => {
                tx.clear_timer(until, &Timer::DeliveryClaim(tenant, id));
                if let Some(count) = self.in_flight.get_mut(&tenant) {
                    *count = count.saturating_sub(1);
                }
            }
            Standing::Settled { end: Settled::Dead, .. } => {
                let letter = keys::dead(delivery.changed, DeadItem::Delivery(tenant, id));
                tx.store.delete(Tree::Dead, &letter);
            }
            Standing::Settled { .. } => {}
        }
        if let Standing::Settled { end: Settled::Accepted, at } = delivery.standing() {
            notice.awaited.take(at);
        }
        if let Standing::Settled { end: Settled::Accepted, at } = to {
            notice.awaited.add(at);
        }
        delivery.stand(to);
        delivery.changed = tx.now;
        delivery.reason = reason;
        match to {
            Standing::Pending { due } => tx.store.delay_put(lane, due, &number),
            Standing::Sending { until } => {
                tx.set_timer(until, &Timer::DeliveryClaim(tenant, id));
                *self.in_flight.entry(tenant).or_default() += 1;
            }
            Standing::Settled { end: Settled::Dead, .. } => {
                let letter = keys::dead(tx.now, DeadItem::Delivery(tenant, id));
                tx.store.create(Tree::Dead, letter, Arc::from(&[][..]));
            }
            Standing::Settled { .. } => {}
        }
        notice.counts.moved(from, delivery.state());
        tx.store.write(keys::delivery(tenant, id), delivery);
    }

    /// Settles a delivery.
    pub(in crate::engine) fn settle_delivery<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        end: Settled,
        reason: Option<String>,
    ) {
        self.move_delivery(tx, notice, id, delivery, Standing::Settled { end, at: tx.now }, reason);
    }

    /// Settles a delivery that shall not be sent: one that may have been accepted stays in doubt.
    pub(in crate::engine) fn withdraw_delivery<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        end: Settled,
        reason: &str,
    ) {
        let end = withdrawn(delivery, end);
        self.settle_delivery(tx, notice, id, delivery, end, Some(reason.to_owned()));
    }

    /// Sends a settled delivery again because a person wants it. That settles the old doubt, too: a
    /// new window begins with the next attempt.
    pub(in crate::engine) fn send_again<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        reason: &str,
    ) {
        delivery.failed = 0;
        delivery.doubt_since = None;
        let to = Standing::Pending { due: tx.now };
        self.move_delivery(tx, notice, id, delivery, to, Some(reason.to_owned()));
    }

    /// Gives a pending delivery another due time; nothing else of it changes.
    pub(in crate::engine) fn postpone<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: DeliveryId,
        notice: &Notice,
        delivery: &mut Delivery,
        due: Timestamp,
    ) {
        let Standing::Pending { due: before } = delivery.standing() else { return };
        let tenant = TenantNo(notice.tenant);
        let (lane, number) = (Lane::Notice(tenant, id.notice), id.number.to_be_bytes());
        tx.store.delay_delete(lane, before, &number);
        tx.store.delay_put(lane, due, &number);
        delivery.stand(Standing::Pending { due });
        tx.store.write(keys::delivery(tenant, id), delivery);
    }
}

/// Why a delivery that was claimed goes back, and until when.
pub(in crate::engine) struct Unsent {
    /// When it is due again.
    pub(in crate::engine) due: Timestamp,
    /// Why, for people.
    pub(in crate::engine) reason: Option<String>,
}

/// What a withdrawn delivery becomes: one that may have been accepted stays in doubt.
pub(in crate::engine) fn withdrawn(delivery: &Delivery, otherwise: Settled) -> Settled {
    if delivery.doubt_since.is_some() { Settled::InDoubt } else { otherwise }
}
