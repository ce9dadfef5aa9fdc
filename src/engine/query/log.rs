//! The send log: by recipient, notice, code and time.

use super::super::Engine;
use super::super::refusal::{Code, Refusal};
use super::super::view::{At, DeliveryText, IdText, Listed, LogEntry, Raw, Word};
use super::asked::LogFilter;
use super::page::{Page, SCAN_ROWS, Shown, limit};
use super::rows::Rows;
use super::walk::Walk;
use crate::id::Id;
use crate::kv::{Fault, Key, Kv};
use crate::model::delivery::{Delivery, Entry};
use crate::model::errcode;
use crate::store::Order;
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::time::HOUR_MS;

impl<K: Kv> Engine<K> {
    /// One page, in order of time. The cursor is given also when the page is empty but not all was
    /// looked at.
    pub(super) fn list_log(
        &mut self,
        filter: &LogFilter,
        order: Order,
        page: &Page,
    ) -> Result<Shown<Listed<LogEntry>>, Fault> {
        let tenant = match &filter.tenant {
            Some(name) => match self.tx.names.known_tenant(name) {
                Some(tenant) => Some(tenant),
                None => return Ok(Ok(Rows::whole().page(None))),
            },
            None => None,
        };
        let (tree, prefix) = match self.log_source(filter, tenant) {
            Ok(source) => source,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let first = filter.from.map_or(Id(0), Id::at);
        let end = match filter.to {
            // Ids never go back, so after a step of the clock they are ahead of what happened then.
            Some(to) => {
                keys::with_id(prefix.clone(), Id::at(self.tx.unwound(to).plus(LOGGED_LATER_MS)))
            }
            None => keys::after_prefix(&prefix),
        };
        let start = keys::with_id(prefix.clone(), first);
        let mut walk = match Walk::new(tree, start, end, order, page) {
            Ok(Some(walk)) => walk,
            Ok(None) => return Ok(Ok(Rows::whole().page(None))),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let rows = walk.rows(&self.tx.store, limit(page))?;
            if rows.is_empty() {
                return Ok(Ok(items.page(None)));
            }
            for (key, _) in rows {
                looked += 1;
                walk.pass(&key);
                let Some(id) = key.get(prefix.len()..).and_then(keys::read_id) else { continue };
                let Some(entry) = self.tx.store.read::<Entry>(&keys::id(id))? else { continue };
                if fits(filter, tenant, &entry) {
                    items.push(self.entry_view(id, &entry)?);
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(walk.place()))));
                }
            }
        }
        Ok(Ok(items.page(Some(walk.place()))))
    }

    /// The narrowest index for a filter.
    fn log_source(
        &self,
        filter: &LogFilter,
        tenant: Option<TenantNo>,
    ) -> Result<(Tree, Key), Refusal> {
        if let Some(openid) = &filter.openid {
            let Some(tenant) = tenant else {
                return Err(Refusal::field(
                    Code::Invalid,
                    "/tenant",
                    "an openid belongs to one tenant: name it",
                ));
            };
            return Ok((Tree::LogIndex, keys::log_by_openid(tenant, openid)));
        }
        if let Some(notice) = filter.notice {
            return Ok((Tree::LogIndex, keys::log_by_notice(notice)));
        }
        match (filter.errcode, tenant) {
            (Some(code), Some(tenant)) if code != 0 => {
                Ok((Tree::LogIndex, keys::log_by_errcode(tenant, code)))
            }
            _ => Ok((Tree::SendLog, Vec::new())),
        }
    }

    pub(super) fn entry_view(&mut self, id: Id, entry: &Entry) -> Result<LogEntry, Fault> {
        let tenant = TenantNo(entry.tenant);
        let name = self.tx.names.tenant_name(tenant).to_owned();
        // The entry may outlive its notice: a late answer is logged when the notice has ended.
        let notice = entry.delivery.notice;
        let body = match self.tx.store.get(Tree::Notices, &keys::id(notice))? {
            Some(_) => Some(self.outbox.body(&mut self.tx, notice)?),
            None => None,
        };
        let row = self.tx.store.read::<Delivery>(&keys::delivery(tenant, entry.delivery))?;
        let request = match row.filter(|_| body.is_some()) {
            Some(row) => {
                let of = entry.delivery;
                Some(self.outbox.render(&mut self.tx, &name, tenant, of, &row, entry.at)?)
            }
            None => None,
        };
        let response = Some(&entry.response).filter(|response| !response.is_empty());
        Ok(LogEntry {
            id: IdText(id),
            tenant: name,
            notice: IdText(notice),
            delivery: DeliveryText(entry.delivery),
            openid: entry.openid.clone(),
            attempt: entry.attempt,
            at: At(entry.at),
            duration_ms: entry.duration_ms,
            class: Word(entry.class),
            errcode: entry.errcode,
            errmsg: entry.errmsg.clone(),
            meaning: entry.errcode.map(errcode::meaning),
            msgid: entry.msgid.clone(),
            rid: entry.rid.clone(),
            template_id: body.as_ref().map(|body| body.as_of(entry.at).template_id.clone()),
            title: body.as_ref().and_then(|body| body.as_of(entry.at).title.clone()),
            worker: entry.worker.clone(),
            term: entry.term,
            request: request.map(Raw::or_string),
            response: response.cloned().map(Raw::or_string),
        })
    }
}

/// An entry is made when its outcome is known, which is later than its attempt began.
const LOGGED_LATER_MS: u64 = HOUR_MS;

fn fits(filter: &LogFilter, tenant: Option<TenantNo>, entry: &Entry) -> bool {
    tenant.is_none_or(|tenant| tenant.0 == entry.tenant)
        && filter.openid.as_ref().is_none_or(|openid| *openid == entry.openid)
        && filter.notice.is_none_or(|notice| notice == entry.delivery.notice)
        && filter.errcode.is_none_or(|code| entry.errcode == Some(code))
        && filter.from.is_none_or(|from| entry.at >= from)
        && filter.to.is_none_or(|to| entry.at < to)
}
