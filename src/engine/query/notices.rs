//! Notices, deliveries and tenants as people see them.

use serde_json::{Map, Value as Json, json};

use super::super::Engine;
use super::super::refusal::not_found;
use super::page::{Page, SCAN_ROWS, Shown, Text, cursor, hex, limit, time};
use super::rows::{Rows, with_raw};
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv, Tree};
use crate::limits;
use crate::model::delivery::{Delivery, DeliveryState, Entry, Standing};
use crate::model::errcode;
use crate::model::notice::{InDoubt, Notice, NoticeBody};
use crate::model::tenant::TenantState;
use crate::store::keys::{self, TenantNo};
use crate::store::{Order, codec};
use crate::time::Timestamp;

/// Attempts shown with a delivery.
const ATTEMPTS: usize = 200;

impl<K: Kv> Engine<K> {
    pub(super) fn list_notices(
        &mut self,
        now: Timestamp,
        tenant: Option<String>,
        state: Option<String>,
        page: &Page,
    ) -> Result<Shown, Fault> {
        let mut to = match cursor(page, vec![0xff; 9]) {
            Ok(to) => to,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let tenant = tenant.map(|name| self.tx.names.known_tenant(&name));
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let rows =
                self.tx.store.scan(Tree::Notices, &[], &to, Order::Descending, limit(page))?;
            if rows.is_empty() {
                return Ok(Ok(items.page(None)));
            }
            for (key, bytes) in rows {
                looked += 1;
                let notice: Notice = codec::decode(&bytes)?;
                let of_tenant = tenant.is_none_or(|tenant| tenant == Some(TenantNo(notice.tenant)));
                let in_state = state.as_ref().is_none_or(|state| state == notice.state().name());
                if of_tenant && in_state {
                    let body = self.outbox.body(&mut self.tx, notice.id)?;
                    items.push(self.notice_json(now, &notice, &body));
                }
                to = key;
                if items.is_full() {
                    return Ok(Ok(items.page(Some(to))));
                }
            }
        }
        Ok(Ok(items.page(Some(to))))
    }

    pub(super) fn show_notice(&mut self, now: Timestamp, id: Id) -> Result<Shown, Fault> {
        let Some(notice) = self.tx.store.read::<Notice>(&keys::id(id))? else {
            return Ok(Err(not_found("notice", id)));
        };
        let body = self.outbox.body(&mut self.tx, id)?;
        let mut json = self.notice_json(now, &notice, &body);
        if let Json::Object(fields) = &mut json {
            fields.insert("data".into(), json!(body.data));
            fields.insert("template_id".into(), json!(body.template_id));
            fields.insert("url".into(), json!(body.url));
            fields.insert("miniprogram".into(), json!(body.miniprogram));
        }
        Ok(Ok(json.into()))
    }

    fn notice_json(&self, now: Timestamp, notice: &Notice, body: &NoticeBody) -> Json {
        let counts: Map<String, Json> = DeliveryState::ALL
            .into_iter()
            .map(|state| (state.name().to_owned(), json!(notice.counts.of(state))))
            .collect();
        let rate = self.rate(now, notice);
        let eta = rate
            .filter(|rate| *rate > 0.0 && notice.counts.outstanding() > 0)
            .map(|rate| now.plus((f64::from(notice.counts.outstanding()) / rate * 1000.0) as u64));
        json!({
            "id": notice.id.to_string(),
            "tenant": self.tx.names.tenant_name(TenantNo(notice.tenant)),
            "template": body.template,
            "title": body.title,
            "state": notice.state().name(),
            "reason": notice.paused,
            "total": notice.counts.total(),
            "counts": counts,
            "rate": rate,
            "eta": time(eta),
            "created": notice.id.made_at().to_string(),
            "send_at": notice.send_at.to_string(),
            "expires_at": time(notice.expires_at),
            "in_doubt": match notice.in_doubt {
                InDoubt::Hold => "hold",
                InDoubt::Resend => "resend",
            },
            "first_send": time(notice.first_send),
            "last_settled": time(notice.last_settled),
            "finished": time(notice.finished),
        })
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
    ) -> Result<Shown, Fault> {
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
            found.iter().for_each(|delivery| items.push(delivery_json(&row, id, delivery)));
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
                    items.push(delivery_json(&row, id, &delivery));
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
    ) -> Result<Shown, Fault> {
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
        Ok(Ok(json!({"count": count, "cursor": cursor}).into()))
    }

    pub(super) fn show_delivery(&mut self, id: DeliveryId) -> Result<Shown, Fault> {
        let Some(notice) = self.tx.store.read::<Notice>(&keys::id(id.notice))? else {
            return Ok(Err(not_found("delivery", id)));
        };
        let tenant = TenantNo(notice.tenant);
        let Some(delivery) = self.tx.store.read::<Delivery>(&keys::delivery(tenant, id))? else {
            return Ok(Err(not_found("delivery", id)));
        };
        let prefix = keys::log_by_openid(tenant, &delivery.openid);
        let (from, to) = (keys::with_id(prefix.clone(), id.notice), keys::after_prefix(&prefix));
        let mut attempts = Vec::new();
        let mut bytes = 0;
        for (key, _) in
            self.tx.store.scan(Tree::LogIndex, &from, &to, Order::Ascending, ATTEMPTS)?
        {
            let Some(entry_id) = key.get(prefix.len()..).and_then(keys::read_id) else { continue };
            let Some(entry) = self.tx.store.read::<Entry>(&keys::id(entry_id))? else { continue };
            if entry.delivery == id && bytes < limits::PAGE_BYTES {
                let Text(attempt) = self.entry_json(entry_id, &entry)?;
                bytes += attempt.len();
                attempts.push(attempt);
            }
        }
        let mut json = delivery_json(&notice, id, &delivery);
        let name = self.tx.names.tenant_name(tenant).to_owned();
        let request = self.outbox.render(&mut self.tx, &name, tenant, id, &delivery)?;
        json["tenant"] = json!(name);
        let attempts = format!("[{}]", attempts.join(","));
        Ok(Ok(with_raw(&json, &[("request", &request), ("attempts", &attempts)])))
    }

    pub(super) fn list_tenants(&mut self, now: Timestamp) -> Result<Text, Fault> {
        let tenants: Vec<(TenantNo, String)> =
            self.tx.names.tenants().map(|(number, name)| (number, name.to_owned())).collect();
        let mut items = Rows::whole();
        for (number, name) in tenants {
            let state = self.tx.store.read::<TenantState>(&keys::tenant_state(number))?;
            let state = state.unwrap_or_default();
            let Some(rule) = self.tx.rules.tenants.get(&name) else { continue };
            let held = state.hold_until > now;
            items.push(json!({
                "tenant": name,
                "concurrency": rule.concurrency,
                "rate": rule.rate,
                "templates": rule.templates.keys().collect::<Vec<_>>(),
                "in_flight": self.outbox.in_flight_of(number),
                "requests_today": if self.is_today(now, state.day) { state.sent_today } else { 0 },
                "circuit": if held || state.refusals > 0 { "open" } else { "closed" },
                "held_until": time(held.then_some(state.hold_until)),
                "reason": if held || state.refusals > 0 { state.hold_reason } else { None },
                "token": {
                    "fetches": state.token_fetches,
                    "fetched_at": time(state.token.as_ref().map(|token| token.fetched_at)),
                    "expires_at": time(state.token.as_ref().map(|token| token.expires_at)),
                    "age_ms": state.token.as_ref().map(|token| now.since(token.fetched_at)),
                },
            }));
        }
        Ok(items.page(None))
    }

    fn is_today(&self, now: Timestamp, day: u32) -> bool {
        u64::from(day) == super::super::tenants::shanghai_day(now)
    }
}

pub(super) fn delivery_json(notice: &Notice, id: DeliveryId, delivery: &Delivery) -> Json {
    let (due, until) = match delivery.standing() {
        Standing::Pending { due } => (Some(due.max(notice.send_at)), None),
        Standing::Sending { until } => (None, Some(until)),
        Standing::Settled { .. } => (None, None),
    };
    json!({
        "id": id.to_string(),
        "notice": id.notice.to_string(),
        "openid": delivery.openid,
        "state": delivery.state().name(),
        "attempt": delivery.attempt,
        "failed": delivery.failed,
        "due": time(due),
        "until": time(until),
        "started": time((delivery.attempt > 0).then_some(delivery.started)),
        "doubt_since": time(delivery.doubt_since),
        "errcode": delivery.errcode,
        "meaning": delivery.errcode.map(errcode::meaning),
        "msgid": delivery.msgid,
        "reason": delivery.reason,
        "changed": delivery.changed.to_string(),
    })
}
