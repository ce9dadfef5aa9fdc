//! Notices, deliveries and tenants as people see them.

use super::super::Engine;
use super::super::marks::has_marks;
use super::super::refusal::{Code, Refusal, not_found};
use super::super::view::{
    At, AudienceView, CanaryView, Counted, DeliveryText, DeliveryView, IdText, Listed, LogEntry,
    MiniprogramView, NoticeView, Raw, Row, Word,
};
use super::super::waits;
use super::page::{Page, SCAN_ROWS, Shown, cursor, hex, limit};
use super::rows::Rows;
use super::walk::{Walk, by_mark};
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::audience::Resolution;
use crate::model::delivery::{Delivery, DeliveryState, Entry, KeyRow, Standing};
use crate::model::errcode;
use crate::model::marks::{Mark, Marked};
use crate::model::notice::{Notice, NoticeBody, NoticeState};
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};
use crate::time::Timestamp;

/// Attempts shown with a delivery.
const ATTEMPTS: usize = 200;

impl<K: Kv> Engine<K> {
    pub(super) fn list_notices(
        &mut self,
        now: Timestamp,
        tenant: Option<String>,
        state: Option<NoticeState>,
        marks: &[Mark],
        order: Order,
        page: &Page,
    ) -> Result<Shown<Listed<NoticeView>>, Fault> {
        let place = by_mark(Marked::Notice, marks, Tree::Notices);
        let prefix = place.prefix.len();
        let mut walk = match Walk::new(place.tree, place.prefix, place.end, order, page) {
            Ok(Some(walk)) => walk,
            Ok(None) => return Ok(Ok(Rows::whole().page(None))),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let tenant = tenant.map(|name| self.tx.names.known_tenant(&name));
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let rows = walk.rows(&self.tx.store, limit(page))?;
            if rows.is_empty() {
                return Ok(Ok(items.page(None)));
            }
            for (key, bytes) in rows {
                looked += 1;
                walk.pass(&key);
                let Some(id) = key.get(prefix..).and_then(keys::read_id) else { continue };
                let notice = match place.tree {
                    Tree::Notices => Some(codec::decode(&bytes)?),
                    _ => self.tx.store.read::<Notice>(&keys::id(id))?,
                };
                let Some(notice) = notice else { continue };
                if !has_marks(&self.tx, Marked::Notice, id, marks)? {
                    continue;
                }
                let of_tenant = tenant.is_none_or(|tenant| tenant == Some(TenantNo(notice.tenant)));
                if of_tenant && state.is_none_or(|state| state == notice.state()) {
                    let body = self.outbox.body(&mut self.tx, notice.id)?;
                    items.push(self.notice_view(now, &notice, &body)?);
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(walk.place()))));
                }
            }
        }
        Ok(Ok(items.page(Some(walk.place()))))
    }

    /// The notice that a key stands for, as a list of one or none.
    pub(super) fn notice_of_key(
        &mut self,
        now: Timestamp,
        tenant: Option<String>,
        state: Option<NoticeState>,
        key: &str,
    ) -> Result<Shown<Listed<NoticeView>>, Fault> {
        let Some(tenant) = tenant else {
            let detail = "a key belongs to one tenant: name it";
            return Ok(Err(Refusal::field(Code::Invalid, "/tenant", detail)));
        };
        let mut items = Rows::whole();
        if let Some(tenant) = self.tx.names.known_tenant(&tenant)
            && let Some(row) = self.tx.store.read::<KeyRow>(&keys::notice_key(tenant, key))?
            && let Some(notice) = self.tx.store.read::<Notice>(&keys::id(row.id))?
            && state.is_none_or(|state| state == notice.state())
        {
            let body = self.outbox.body(&mut self.tx, notice.id)?;
            items.push(self.notice_view(now, &notice, &body)?);
        }
        Ok(Ok(items.page(None)))
    }

    pub(super) fn show_notice(
        &mut self,
        now: Timestamp,
        id: Id,
    ) -> Result<Shown<NoticeView>, Fault> {
        let Some(notice) = self.tx.store.read::<Notice>(&keys::id(id))? else {
            return Ok(Err(not_found("notice", id)));
        };
        let body = self.outbox.body(&mut self.tx, id)?;
        let miniprogram = body
            .miniprogram
            .as_ref()
            .map(|it| MiniprogramView { appid: it.appid.clone(), pagepath: it.pagepath.clone() });
        Ok(Ok(NoticeView {
            data: Some(body.data.clone()),
            template_id: Some(body.template_id.clone()),
            url: Some(body.url.clone()),
            miniprogram: Some(miniprogram),
            ..self.notice_view(now, &notice, &body)?
        }))
    }

    fn notice_view(
        &self,
        now: Timestamp,
        notice: &Notice,
        body: &NoticeBody,
    ) -> Result<NoticeView, Fault> {
        let rate = self.rate(now, notice);
        let eta = rate
            .filter(|rate| *rate > 0.0 && notice.counts.outstanding() > 0)
            .map(|rate| now.plus((f64::from(notice.counts.outstanding()) / rate * 1000.0) as u64));
        let waits = match notice.state() {
            NoticeState::Sending | NoticeState::Expanding if notice.counts.outstanding() > 0 => {
                waits::what_holds(&self.tx, now, TenantNo(notice.tenant), notice.urgent)?
            }
            _ => None,
        };
        let (goes_on_at, waits_for) = waits.unzip();
        Ok(NoticeView {
            id: IdText(notice.id),
            tenant: self.tx.names.tenant_name(TenantNo(notice.tenant)).to_owned(),
            template: body.template.clone(),
            title: body.title.clone(),
            reference: body.marks.reference.clone(),
            labels: body.marks.labels.clone(),
            state: Word(notice.state()),
            reason: notice.paused.clone(),
            total: notice.counts.total(),
            counts: (&notice.counts).into(),
            without_receipt: self.without_receipt(now, notice),
            audience: self.audience_view(notice, body)?,
            canary: notice.canary.as_ref().map(|canary| CanaryView {
                sent: canary.claimed,
                left: canary.left,
                in_doubt: canary.doubts,
                decides_at: canary.decides.map(At),
            }),
            urgent: notice.urgent,
            goes_on_at: goes_on_at.map(At),
            waits_for,
            rate,
            eta: eta.map(At),
            created: At(notice.id.made_at()),
            send_at: At(notice.send_at),
            expires_at: notice.expires_at.map(At),
            in_doubt: Word(notice.in_doubt),
            first_send: notice.first_send.map(At),
            last_settled: notice.last_settled.map(At),
            finished: notice.finished.map(At),
            data: None,
            template_id: None,
            url: None,
            miniprogram: None,
        })
    }

    fn audience_view(
        &self,
        notice: &Notice,
        body: &NoticeBody,
    ) -> Result<Option<AudienceView>, Fault> {
        let Some(sourcing) = body.sourcing.as_ref().filter(|_| notice.awaits) else {
            return Ok(None);
        };
        let row = self.tx.store.read::<Resolution>(&keys::id(notice.id))?.unwrap_or_default();
        let state = match (notice.open, notice.paused.is_some() && row.error.is_some()) {
            (false, _) => "waits",
            (true, true) => "stopped",
            (true, false) => "reading",
        };
        Ok(Some(AudienceView {
            source: sourcing.source.word(),
            state,
            found: row.found,
            expected: row.expected,
            failed: row.failed,
            error: row.error,
            retry_at: row.retry_at.map(At),
        }))
    }

    fn without_receipt(&self, now: Timestamp, notice: &Notice) -> Option<u32> {
        let told = self.tx.has_receipts(TenantNo(notice.tenant));
        told.then(|| notice.without_receipt(now))
    }

    /// Deliveries settled per second since the first send.
    fn rate(&self, now: Timestamp, notice: &Notice) -> Option<f64> {
        let first = notice.first_send?;
        let last = notice.finished.or(notice.last_settled).unwrap_or(now);
        let settled = notice.counts.total()
            - notice.counts.outstanding()
            - notice.counts.of(DeliveryState::Cancelled);
        let seconds = (last.since(first).max(1)) as f64 / 1000.0;
        Some((f64::from(settled) / seconds * 10.0).round() / 10.0)
    }

    pub(super) fn list_deliveries(
        &mut self,
        notice: Id,
        state: Option<DeliveryState>,
        openid: Option<String>,
        page: &Page,
    ) -> Result<Shown<Listed<DeliveryView>>, Fault> {
        let Some(row) = self.tx.store.read::<Notice>(&keys::id(notice))? else {
            return Ok(Err(not_found("notice", notice)));
        };
        let tenant = TenantNo(row.tenant);
        if let Some(openid) = openid {
            let number =
                self.tx.store.get(Tree::Recipients, &keys::recipient(tenant, notice, &openid))?;
            let Some(number) = number.and_then(|bytes| keys::read_u32(&bytes)) else {
                return Ok(Ok(Rows::whole().page(None)));
            };
            let id = DeliveryId { notice, number };
            let found = self.tx.store.read::<Delivery>(&keys::delivery(tenant, id))?;
            let mut items = Rows::whole();
            found.into_iter().for_each(|delivery| items.push(delivery_view(&row, id, delivery)));
            return Ok(Ok(items.page(None)));
        }
        let prefix = keys::notice_rows(tenant, notice);
        let to = keys::after_prefix(&prefix);
        let mut from = match cursor(page, prefix.clone()) {
            Ok(from) if from.starts_with(&prefix) => from,
            Ok(_) => return Ok(Ok(Rows::whole().page(None))),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let rows =
                self.tx.store.scan(Tree::Outbox, &from, &to, Order::Ascending, limit(page))?;
            if rows.is_empty() {
                return Ok(Ok(items.page(None)));
            }
            for (key, bytes) in rows {
                looked += 1;
                from = keys::after(&key);
                let delivery: Delivery = codec::decode(&bytes)?;
                let Some((_, id)) = keys::read_delivery(&key) else { continue };
                if state.is_none_or(|state| state == delivery.state()) {
                    items.push(delivery_view(&row, id, delivery));
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(from))));
                }
            }
        }
        Ok(Ok(items.page(Some(from))))
    }

    /// Counts one page of a notice's deliveries; the cursor says that there are more.
    pub(super) fn count_deliveries(
        &mut self,
        notice: Id,
        states: &[DeliveryState],
        errcode: Option<i64>,
        page: &Page,
    ) -> Result<Shown<Counted>, Fault> {
        let Some(row) = self.tx.store.read::<Notice>(&keys::id(notice))? else {
            return Ok(Err(not_found("notice", notice)));
        };
        let prefix = keys::notice_rows(TenantNo(row.tenant), notice);
        let to = keys::after_prefix(&prefix);
        let from = match cursor(page, prefix) {
            Ok(from) => from,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let rows = self.tx.store.scan(Tree::Outbox, &from, &to, Order::Ascending, SCAN_ROWS)?;
        let next = rows.last().filter(|_| rows.len() == SCAN_ROWS).map(|(key, _)| keys::after(key));
        let mut count = 0;
        for (_, bytes) in &rows {
            let delivery: Delivery = codec::decode(bytes)?;
            let of_code = errcode.is_none_or(|code| delivery.errcode == Some(code));
            count += u64::from(of_code && states.contains(&delivery.state()));
        }
        let cursor = next.map(|next| hex(&next));
        Ok(Ok(Counted { count, cursor }))
    }

    pub(super) fn show_delivery(&mut self, id: DeliveryId) -> Result<Shown<DeliveryView>, Fault> {
        let Some(notice) = self.tx.store.read::<Notice>(&keys::id(id.notice))? else {
            return Ok(Err(not_found("delivery", id)));
        };
        let tenant = TenantNo(notice.tenant);
        let Some(delivery) = self.tx.store.read::<Delivery>(&keys::delivery(tenant, id))? else {
            return Ok(Err(not_found("delivery", id)));
        };
        let attempts = self.attempts_of(tenant, id, &delivery.openid)?;
        let name = self.tx.names.tenant_name(tenant).to_owned();
        let waits = matches!(delivery.standing(), Standing::Pending { .. });
        let at = if waits { self.tx.now } else { delivery.started };
        let request = self.outbox.render(&mut self.tx, &name, tenant, id, &delivery, at)?;
        Ok(Ok(DeliveryView {
            tenant: Some(name),
            request: Some(Raw::or_string(request)),
            attempts: Some(attempts),
            ..delivery_view(&notice, id, delivery)
        }))
    }

    /// What the send log has of a delivery.
    pub(super) fn attempts_of(
        &mut self,
        tenant: TenantNo,
        id: DeliveryId,
        openid: &str,
    ) -> Result<Vec<LogEntry>, Fault> {
        let prefix = keys::log_by_openid(tenant, openid);
        let (from, to) = (keys::with_id(prefix.clone(), id.notice), keys::after_prefix(&prefix));
        let (mut attempts, mut bytes) = (Vec::new(), 0);
        for (key, _) in
            self.tx.store.scan(Tree::LogIndex, &from, &to, Order::Ascending, ATTEMPTS)?
        {
            let Some(entry_id) = key.get(prefix.len()..).and_then(keys::read_id) else { continue };
            let Some(entry) = self.tx.store.read::<Entry>(&keys::id(entry_id))? else { continue };
            if entry.delivery == id && bytes < limits::PAGE_BYTES {
                let attempt = self.entry_view(entry_id, &entry)?;
                bytes += attempt.bytes();
                attempts.push(attempt);
            }
        }
        Ok(attempts)
    }
}

pub(super) fn delivery_view(notice: &Notice, id: DeliveryId, delivery: Delivery) -> DeliveryView {
    let (due, until) = match delivery.standing() {
        Standing::Pending { due } => (Some(due.max(notice.send_at)), None),
        Standing::Sending { until } => (None, Some(until)),
        Standing::Settled { .. } => (None, None),
    };
    DeliveryView {
        id: DeliveryText(id),
        notice: IdText(id.notice),
        state: Word(delivery.state()),
        attempt: delivery.attempt,
        failed: delivery.failed,
        due: due.map(At),
        until: until.map(At),
        started: (delivery.attempt > 0).then_some(At(delivery.started)),
        doubt_since: delivery.doubt_since.map(At),
        errcode: delivery.errcode,
        meaning: delivery.errcode.map(errcode::meaning),
        changed: At(delivery.changed),
        openid: delivery.openid,
        msgid: delivery.msgid,
        reason: delivery.reason,
        kind: None,
        tenant: None,
        title: None,
        request: None,
        attempts: None,
    }
}
