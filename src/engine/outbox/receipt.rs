//! Receipts: what WeChat tells of a message after it took it.
//!
//! | the receipt's message | then |
//! |---|---|
//! | is one that was accepted | delivered, or failed with its status |
//! | is not known yet | it waits: it may be here before the answer to its send |
//! | is not known after a while | it is of the one delivery to that person whose answer was lost, if there is exactly one; else nobody's |
//!
//! A message is found by the send log of its person, around the time that the receipt names: no
//! further index is kept for it.

use crate::engine::outbox::{Outbox, lane, read_delivery};
use crate::engine::timer::Timer;
use crate::engine::tx::Tx;
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Key, Kv};
use crate::model::attempt::Class;
use crate::model::delivery::{Delivery, DeliveryState, Entry, Settled};
use crate::model::notice::Notice;
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, Record};
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};
use serde::{Deserialize, Serialize};

/// How long before a receipt its send may have been answered: a message in review waits half an hour.
const BEFORE_MS: u64 = 40 * MINUTE_MS;
/// How much later than the receipt by WeChat's clock, which need not be ours.
const AFTER_MS: u64 = 15 * MINUTE_MS;
/// Entries of one person's log that are looked at for one receipt.
const ENTRIES: usize = 64;
/// An unknown receipt waits so long until it is taken for one whose answer was lost: longer than any
/// answer takes.
const EARLY_MS: u64 = 2 * MINUTE_MS;
/// Unknown receipts of one person that are remembered.
const EARLY_OF_ONE: usize = 8;

/// A receipt of a message that is not known yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::engine) struct EarlyReceipt {
    /// When it was sent, by WeChat's clock.
    at: Timestamp,
    /// When it is looked at again.
    until: Timestamp,
    /// Why the message was not delivered, if it was not.
    failed: Option<String>,
}

impl Record for EarlyReceipt {
    const TREE: Tree = Tree::Receipts;
}

/// What the send log of a person says about a receipt.
#[derive(Default)]
struct Found {
    /// The delivery that was accepted under its id.
    sent: Option<DeliveryId>,
    /// Deliveries with an attempt whose message's id was never told.
    untold: Vec<DeliveryId>,
}

impl Outbox {
    /// A receipt has come.
    pub(in crate::engine) fn take_receipt<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        tenant: TenantNo,
        openid: &str,
        at: Timestamp,
        msgid: &str,
        failed: Option<String>,
    ) -> Result<(), Fault> {
        let found = find_sent(tx, tenant, openid, at, msgid)?;
        if let Some(id) = found.sent {
            let Some((mut notice, mut delivery)) = read_delivery(tx, id)? else { return Ok(()) };
            let is_of_it = delivery.msgid.as_deref() == Some(msgid);
            if is_of_it && delivery.state() == DeliveryState::Accepted {
                self.settle_receipt(tx, &mut notice, id, &mut delivery, failed)?;
            }
            return Ok(());
        }
        let key = keys::receipt(tenant, openid, msgid);
        let first = keys::receipts(tenant, openid);
        let known = tx.store.scan(
            Tree::Receipts,
            &first,
            &keys::after_prefix(&first),
            Order::Ascending,
            EARLY_OF_ONE,
        )?;
        if known.len() == EARLY_OF_ONE || known.iter().any(|(known, _)| *known == key) {
            return Ok(());
        }
        let until = tx.now.plus(EARLY_MS);
        tx.set_timer(until, &Timer::EarlyReceipt(key.clone()));
        tx.store.write(key, &EarlyReceipt { at, until, failed });
        Ok(())
    }

    /// A send was accepted under an id: its receipt may be here already.
    pub(super) fn take_early_receipt<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
    ) -> Result<(), Fault> {
        let tenant = TenantNo(notice.tenant);
        let Some(msgid) = delivery.msgid.clone().filter(|_| tx.has_receipts(tenant)) else {
            return Ok(());
        };
        let key = keys::receipt(tenant, &delivery.openid, &msgid);
        let Some(early) = tx.store.read::<EarlyReceipt>(&key)? else { return Ok(()) };
        forget_early(tx, &key, &early);
        let (end, reason) = ended_as(early.failed);
        self.settle_delivery(tx, notice, id, delivery, end, reason);
        Ok(())
    }

    /// An unknown receipt has waited long enough for the answer to its send.
    pub(in crate::engine) fn receipt_has_waited<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        key: &Key,
    ) -> Result<(), Fault> {
        let Some(early) = tx.store.read::<EarlyReceipt>(key)? else { return Ok(()) };
        tx.store.delete(Tree::Receipts, key);
        let Some((tenant, openid, msgid)) = keys::read_receipt(key) else { return Ok(()) };
        let first = keys::receipts(tenant, &openid);
        let to = keys::after_prefix(&first);
        let others = tx.store.scan(Tree::Receipts, &first, &to, Order::Ascending, 1)?;
        let found = find_sent(tx, tenant, &openid, early.at, &msgid)?;
        // With two receipts or two deliveries nobody knows which is whose: rather in doubt than wrong.
        let ([id], true) = (found.untold.as_slice(), others.is_empty()) else { return Ok(()) };
        let Some((mut notice, mut delivery)) = read_delivery(tx, *id)? else { return Ok(()) };
        delivery.msgid = Some(msgid);
        delivery.doubt_since = None;
        self.settle_receipt(tx, &mut notice, *id, &mut delivery, early.failed)
    }

    fn settle_receipt<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        failed: Option<String>,
    ) -> Result<(), Fault> {
        let (end, reason) = ended_as(failed);
        self.settle_delivery(tx, notice, id, delivery, end, reason);
        lane::close(tx, notice)
    }
}

/// What a receipt makes of a delivery.
fn ended_as(failed: Option<String>) -> (Settled, Option<String>) {
    match failed {
        None => (Settled::Delivered, None),
        Some(status) => (Settled::Failed, Some(status)),
    }
}

fn forget_early<K: Kv>(tx: &mut Tx<K>, key: &Key, early: &EarlyReceipt) {
    tx.clear_timer(early.until, &Timer::EarlyReceipt(key.clone()));
    tx.store.delete(Tree::Receipts, key);
}

/// Looks through the send log of a person around the time of a receipt.
fn find_sent<K: Kv>(
    tx: &Tx<K>,
    tenant: TenantNo,
    openid: &str,
    at: Timestamp,
    msgid: &str,
) -> Result<Found, Fault> {
    let prefix = keys::log_by_openid(tenant, openid);
    let from = keys::with_id(prefix.clone(), Id::at(at.minus(BEFORE_MS)));
    let to = keys::with_id(prefix.clone(), Id::at(at.plus(AFTER_MS)));
    let rows = tx.store.scan(Tree::LogIndex, &from, &to, Order::Ascending, ENTRIES)?;
    let mut found = Found::default();
    for (key, _) in rows {
        let Some(entry) = key.get(prefix.len()..).and_then(keys::read_id) else { continue };
        let Some(entry) = tx.store.read::<Entry>(&keys::id(entry))? else { continue };
        if entry.msgid.as_deref() == Some(msgid) {
            return Ok(Found { sent: Some(entry.delivery), untold: Vec::new() });
        }
        // WeChat's clock has whole seconds, and may differ a little.
        let began_before = entry.at <= at.plus(5 * SECOND_MS);
        if began_before && is_untold(tx, &entry)? && !found.untold.contains(&entry.delivery) {
            found.untold.push(entry.delivery);
        }
    }
    Ok(found)
}

/// Whether an attempt may be the one of a message whose id nobody told: its answer was lost, or it was
/// taken for a review; and its delivery has no receipt yet.
fn is_untold<K: Kv>(tx: &Tx<K>, entry: &Entry) -> Result<bool, Fault> {
    let lost = matches!(entry.class, Class::InDoubt | Class::Retry);
    if !lost && entry.class != Class::Review {
        return Ok(false);
    }
    Ok(read_delivery(tx, entry.delivery)?.is_some_and(|(_, delivery)| match delivery.state() {
        DeliveryState::Accepted => true,
        DeliveryState::InDoubt => true,
        DeliveryState::Pending => delivery.doubt_since.is_some(),
        DeliveryState::Sending
        | DeliveryState::Delivered
        | DeliveryState::Failed
        | DeliveryState::Refused
        | DeliveryState::Skipped
        | DeliveryState::Dead
        | DeliveryState::Cancelled => false,
    }))
}
