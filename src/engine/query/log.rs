//! The send log: by recipient, notice, code and time.

use super::super::Engine;
use super::super::marks::{has_marks, mark_key};
use super::super::refusal::{Code, Refusal};
use super::super::view::{At, DeliveryText, IdText, Listed, LogEntry, Raw, Word};
use super::asked::LogFilter;
use super::page::{Page, SCAN_ROWS, Shown, cursor, limit};
use super::rows::Rows;
use super::walk::Walk;
use crate::id::Id;
use crate::kv::{Fault, Key, Kv};
use crate::model::delivery::{Delivery, Entry};
use crate::model::errcode;
use crate::model::marks::{Mark, Marked};
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
        if let (Some(mark), None, None) = (filter.marks.first(), &filter.openid, filter.notice) {
            return self.list_log_of_mark(mark, filter, tenant, order, page);
        }
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
                if self.fits(filter, tenant, &entry)? {
                    items.push(self.entry_view(id, &entry)?);
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(walk.place()))));
                }
            }
        }
        Ok(Ok(items.page(Some(walk.place()))))
    }

    /// The entries of all notices with a mark, notice by notice.
    fn list_log_of_mark(
        &mut self,
        mark: &Mark,
        filter: &LogFilter,
        tenant: Option<TenantNo>,
        order: Order,
        page: &Page,
    ) -> Result<Shown<Listed<LogEntry>>, Fault> {
        let marked = mark_key(Marked::Notice, mark);
        let all = keys::log_of_notices();
        let begin = match order {
            Order::Ascending => all.clone(),
            Order::Descending => keys::after_prefix(&all),
        };
        let mut at = match cursor(page, begin) {
            Ok(at) => at,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let Some(notice) = self.next_marked(&marked, &at, order)? else {
                return Ok(Ok(items.page(None)));
            };
            looked += 1;
            let prefix = keys::log_by_notice(notice);
            let end = keys::after_prefix(&prefix);
            let (from, to) = match order {
                Order::Ascending => (at.clone().max(prefix.clone()), end.clone()),
                Order::Descending => (prefix.clone(), at.clone().min(end.clone())),
            };
            let rows = self.tx.store.scan(Tree::LogIndex, &from, &to, order, limit(page))?;
            let whole = rows.len() < limit(page);
            for (key, _) in rows {
                looked += 1;
                at = match order {
                    Order::Ascending => keys::after(&key),
                    Order::Descending => key.clone(),
                };
                let Some(id) = key.get(prefix.len()..).and_then(keys::read_id) else { continue };
                let Some(entry) = self.tx.store.read::<Entry>(&keys::id(id))? else { continue };
                if self.fits(filter, tenant, &entry)? {
                    items.push(self.entry_view(id, &entry)?);
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(at))));
                }
            }
            if whole {
                at = match order {
                    Order::Ascending => end,
                    Order::Descending => prefix,
                };
            }
        }
        Ok(Ok(items.page(Some(at))))
    }

    /// The next notice with a mark, from a place in the log by notice.
    fn next_marked(&self, marked: &Key, at: &Key, order: Order) -> Result<Option<Id>, Fault> {
        let all = keys::log_of_notices();
        let notice = at.get(all.len()..).and_then(keys::read_id);
        let within = |id: u64| keys::with_id(marked.clone(), Id(id));
        let (from, to) = match (order, notice) {
            (Order::Ascending, Some(notice)) => (within(notice.0), keys::after_prefix(marked)),
            // At the very beginning of a notice nothing of it is left.
            (Order::Descending, Some(notice)) if at.len() > all.len() + 8 => {
                (marked.clone(), within(notice.0 + 1))
            }
            (Order::Descending, Some(notice)) => (marked.clone(), within(notice.0)),
            (_, None) => (marked.clone(), keys::after_prefix(marked)),
        };
        let found = self.tx.store.scan(Tree::Marks, &from, &to, order, 1)?;
        Ok(found.first().and_then(|(key, _)| key.get(marked.len()..)).and_then(keys::read_id))
    }

    fn fits(
        &self,
        filter: &LogFilter,
        tenant: Option<TenantNo>,
        entry: &Entry,
    ) -> Result<bool, Fault> {
        let notice = entry.delivery.notice;
        Ok(fits(filter, tenant, entry)
            && has_marks(&self.tx, Marked::Notice, notice, &filter.marks)?)
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
            reference: body.as_ref().and_then(|body| body.marks.reference.clone()),
            labels: body.as_ref().map(|body| body.marks.labels.clone()).unwrap_or_default(),
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
