//! Who is still there: what events and answers tell of the people of a tenant, and whether that keeps
//! a message from being sent.

use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::model::delivery::{Delivery, SENT_AGAIN};
use crate::model::notice::Notice;
use crate::model::person::Person;
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::time::Timestamp;

/// Skipped since the business no longer knows the person.
pub(super) const GONE: &str = "gone";
/// Skipped since the person no longer follows.
pub(super) const UNFOLLOWED: &str = "unfollowed";
/// Skipped since the person switched the template off.
pub(super) const REFUSED: &str = "refused";

/// Skipped since the person had as many messages as the tenant's cap allows.
pub(super) const CAP: &str = "cap";

/// The row of a person, if there is one.
pub(super) fn person_of<K: Kv>(
    tx: &Tx<K>,
    tenant: TenantNo,
    openid: &str,
) -> Result<Option<Person>, Fault> {
    tx.store.read::<Person>(&keys::person(tenant, openid))
}

fn keep_person<K: Kv>(tx: &mut Tx<K>, tenant: TenantNo, openid: &str, person: &Person) {
    let key = keys::person(tenant, openid);
    if person.is_nobody() {
        tx.store.delete(Tree::People, &key);
    } else {
        tx.store.write(key, person);
    }
}

/// An event told that somebody follows, or no longer does.
pub(super) fn hear<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    openid: &str,
    gone: bool,
    at: Timestamp,
) -> Result<(), Fault> {
    let mut person = person_of(tx, tenant, openid)?.unwrap_or_default();
    if person.hear(gone, at.min(tx.now)) {
        keep_person(tx, tenant, openid, &person);
    }
    Ok(())
}

/// A send was answered that the person does not follow.
pub(super) fn seen_gone<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    openid: &str,
) -> Result<(), Fault> {
    let mut person = person_of(tx, tenant, openid)?.unwrap_or_default();
    person.seen_gone(tx.now);
    keep_person(tx, tenant, openid, &person);
    Ok(())
}

/// A send was answered that the person switched the template off.
pub(super) fn seen_refusing<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    openid: &str,
    template_id: &str,
) -> Result<(), Fault> {
    let mut person = person_of(tx, tenant, openid)?.unwrap_or_default();
    person.refuse(template_id, tx.now);
    keep_person(tx, tenant, openid, &person);
    Ok(())
}

/// A message that left at `at` was taken: what was believed to keep the person from it is outdated.
pub(super) fn seen_taking<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    openid: &str,
    template_id: &str,
    at: Timestamp,
) -> Result<(), Fault> {
    let Some(mut person) = person_of(tx, tenant, openid)? else { return Ok(()) };
    let here = person.seen_here(at);
    if person.take(template_id) || here {
        keep_person(tx, tenant, openid, &person);
    }
    Ok(())
}

/// Notes that a message leaves for a person, where people get only so many.
pub(super) fn sends<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    delivery: &Delivery,
) -> Result<(), Fault> {
    // A repetition of what may have been seen already is the same message.
    let Some(cap) = tx.cap(tenant).filter(|_| delivery.doubt_since.is_none()) else {
        return Ok(());
    };
    let mut person = person_of(tx, tenant, &delivery.openid)?.unwrap_or_default();
    let since = tx.now.minus(cap.per_ms);
    person.sent.retain(|at| since < *at && *at <= tx.now);
    person.sent.push(delivery.started);
    keep_person(tx, tenant, &delivery.openid, &person);
    Ok(())
}

/// The message that left at `at` was not taken: it does not count.
pub(super) fn not_sent<K: Kv>(
    tx: &mut Tx<K>,
    tenant: TenantNo,
    openid: &str,
    at: Timestamp,
) -> Result<(), Fault> {
    if tx.cap(tenant).is_none() {
        return Ok(());
    }
    let Some(mut person) = person_of(tx, tenant, openid)? else { return Ok(()) };
    if let Some(place) = person.sent.iter().position(|sent| *sent == at) {
        person.sent.remove(place);
        keep_person(tx, tenant, openid, &person);
    }
    Ok(())
}

/// Why a delivery that is due is not to be sent, as far as is known of its recipient. `template_id`
/// is asked for only when there is something to know.
///
/// What an event told counts until another one, or a message that was taken, says otherwise. What was
/// seen from an answer counts for what had been asked for before: who asks afterwards may know better.
/// A person who wants it sent again is always heard.
pub(super) fn reason_to_skip<K: Kv>(
    tx: &mut Tx<K>,
    notice: &Notice,
    delivery: &Delivery,
    template_id: impl FnOnce(&mut Tx<K>) -> Result<String, Fault>,
) -> Result<Option<&'static str>, Fault> {
    let Some(person) = person_of(tx, TenantNo(notice.tenant), &delivery.openid)? else {
        return Ok(None);
    };
    let is_asked_again = delivery.reason.as_deref() == Some(SENT_AGAIN);
    let asked = if is_asked_again { delivery.changed } else { notice.id.made_at() };
    if let Some(known) = person.presence().filter(|known| known.gone) {
        let counts = known.told && !is_asked_again || asked < known.at;
        if counts {
            return Ok(Some(UNFOLLOWED));
        }
    }
    if let Some(cap) = tx.cap(TenantNo(notice.tenant)).filter(|_| delivery.doubt_since.is_none()) {
        let since = tx.now.minus(cap.per_ms);
        let sent = person.sent.iter().filter(|at| since < **at && **at <= tx.now).count();
        if sent >= cap.messages as usize {
            return Ok(Some(CAP));
        }
    }
    let template_id = template_id(tx)?;
    let refused = person.refused_at(&template_id, tx.now);
    Ok(refused.filter(|at| !is_asked_again || asked < *at).map(|_| REFUSED))
}
