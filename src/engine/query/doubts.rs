//! Deliveries in doubt over all notices: what waits for a person's word.

use super::super::Engine;
use super::super::refusal::not_found;
use super::super::view::{DeliveryView, Listed, Word};
use super::asked::DeadKind;
use super::notices::delivery_view;
use super::page::{Page, SCAN_ROWS, Shown, cursor};
use super::rows::Rows;
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::model::delivery::{Delivery, DeliveryState};
use crate::model::notice::Notice;
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};

impl<K: Kv> Engine<K> {
    /// One page, by tenant and notice. The cursor is given also when the page is empty but not all
    /// was looked at.
    pub(super) fn list_doubts(
        &mut self,
        tenant: Option<String>,
        notice: Option<Id>,
        page: &Page,
    ) -> Result<Shown<Listed<DeliveryView>>, Fault> {
        if let Some(id) = notice
            && self.tx.store.read::<Notice>(&keys::id(id))?.is_none()
        {
            return Ok(Err(not_found("notice", id)));
        }
        let tenant = tenant.map(|name| self.tx.names.known_tenant(&name));
        let mut from = match cursor(page, Vec::new()) {
            Ok(from) => from,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let mut notices = self.notices_in_doubt();
        notices.retain(|(of, id)| {
            tenant.is_none_or(|tenant| tenant == Some(*of)) && notice.is_none_or(|only| only == *id)
        });
        let (mut items, mut looked) = (Rows::new(page), 0);
        for (of, id) in notices {
            let prefix = keys::notice_rows(of, id);
            let end = keys::after_prefix(&prefix);
            if from >= end {
                continue;
            }
            from = from.max(prefix);
            let Some(row) = self.tx.store.read::<Notice>(&keys::id(id))? else { continue };
            loop {
                let rows = self.tx.store.scan(Tree::Outbox, &from, &end, Order::Ascending, PAGE)?;
                let Some((last, _)) = rows.last() else { break };
                let next = keys::after(last);
                for (key, bytes) in rows {
                    looked += 1;
                    let delivery: Delivery = codec::decode(&bytes)?;
                    let Some((_, delivery_id)) = keys::read_delivery(&key) else { continue };
                    if delivery.state() != DeliveryState::InDoubt {
                        continue;
                    }
                    let title = self.outbox.body(&mut self.tx, id)?.title.clone();
                    items.push(DeliveryView {
                        kind: Some(Word(DeadKind::InDoubt)),
                        tenant: Some(self.tx.names.tenant_name(of).to_owned()),
                        title: Some(title),
                        ..delivery_view(&row, delivery_id, delivery)
                    });
                    if items.is_full() {
                        return Ok(Ok(items.page(Some(keys::after(&key)))));
                    }
                }
                from = next;
                if looked >= SCAN_ROWS {
                    return Ok(Ok(items.page(Some(from))));
                }
            }
        }
        Ok(Ok(items.page(None)))
    }

    /// Notices with deliveries in doubt, in the order of their rows.
    fn notices_in_doubt(&self) -> Vec<(TenantNo, Id)> {
        let mut notices = self.watch.in_doubt();
        notices.sort_unstable();
        notices
    }
}

/// Rows read at once.
const PAGE: usize = 1_000;
