//! The send log: one entry per request.

use crate::engine::mode::Identity;
use crate::engine::tx::Tx;
use crate::id::DeliveryId;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::attempt::{Class, Try};
use crate::model::delivery::{Delivery, Entry};
use crate::model::notice::Notice;
use crate::store::codec;
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::text::cut;

pub(super) fn record<K: Kv>(
    tx: &mut Tx<K>,
    notice: &Notice,
    id: DeliveryId,
    delivery: &Delivery,
    one: &Try,
    sender: Option<&Identity>,
) -> Result<(), Fault> {
    let sender = sender.unwrap_or(&tx.identity);
    let entry = Entry {
        tenant: notice.tenant,
        delivery: id,
        openid: delivery.openid.clone(),
        attempt: delivery.attempt,
        at: one.at,
        duration_ms: one.duration_ms,
        class: one.class,
        errcode: one.errcode,
        errmsg: cut(&one.errmsg, limits::TEXT_BYTES).to_owned(),
        msgid: one.msgid.clone(),
        rid: one.rid.clone(),
        response: cut(&one.response, limits::ANSWER_BYTES).to_owned(),
        worker: sender.worker.clone(),
        term: sender.term,
    };
    let entry_id = tx.new_id();
    let tenant = TenantNo(notice.tenant);
    let empty: crate::kv::Value = std::sync::Arc::from(&[][..]);
    let mut prefixes =
        vec![keys::log_by_openid(tenant, &entry.openid), keys::log_by_notice(id.notice)];
    if let Some(code) = entry.errcode.filter(|code| *code != 0) {
        prefixes.push(keys::log_by_errcode(tenant, code));
    }
    for prefix in prefixes {
        tx.store.create(Tree::LogIndex, keys::with_id(prefix, entry_id), empty.clone());
    }
    tx.store.create(Tree::SendLog, keys::id(entry_id), codec::encode(&entry));
    Ok(())
}

/// Logs an attempt whose answer nobody will ever have. `sender` is who made it, if not this
/// process.
pub(in crate::engine) fn record_lost<K: Kv>(
    tx: &mut Tx<K>,
    notice: &Notice,
    id: DeliveryId,
    delivery: &Delivery,
    why: &str,
    sender: Option<&Identity>,
) -> Result<(), Fault> {
    let lost = Try {
        at: delivery.started,
        duration_ms: 0,
        class: Class::InDoubt,
        errcode: None,
        errmsg: why.to_owned(),
        msgid: None,
        rid: None,
        field: None,
        response: String::new(),
    };
    record(tx, notice, id, delivery, &lost, sender)
}
