//! Dead letters and bringing them back.

use super::outbox::{lane, read_delivery};
use crate::engine::Engine;
use crate::engine::command::{Redrive, Reply};
use crate::engine::query::SCAN_ROWS;
use crate::engine::refusal::{Code, Refusal};
use crate::engine::tx::Decision;
use crate::id::DeliveryId;
use crate::kv::{Fault, Key, Kv};
use crate::limits;
use crate::model::delivery::{Delivery, DeliveryState};
use crate::model::notice::Notice;
use crate::model::task::Task;
use crate::store::Order;
use crate::store::keys::{self, DeadItem, TenantNo, TypeNo};
use crate::store::schema::Tree;
use crate::time::Timestamp;

impl<K: Kv> Engine<K> {
    /// Brings dead letters back. Bounded: at most [`limits::PAGE_ITEMS`] come back in one call, and
    /// at most [`SCAN_ROWS`] are looked at; the caller goes on from where it ended.
    pub(super) fn redrive(&mut self, now: Timestamp, redrive: Redrive) -> Result<Decision, Fault> {
        let by_id = !redrive.tasks.is_empty() || !redrive.deliveries.is_empty();
        let by_filter = redrive.kind.is_some() || redrive.notice.is_some() || redrive.all;
        if by_id == by_filter {
            return Ok(Err(Refusal::new(
                Code::Invalid,
                "name tasks or deliveries, or give a filter (type, notice), or {\"all\": true}",
            )));
        }
        let (items, next) =
            if by_id { (self.named(&redrive)?, None) } else { self.matching(&redrive)? };
        let mut count = 0;
        for item in items {
            // What was named twice is brought back once.
            if self.can_revive(item)? {
                count += 1;
                if !redrive.dry_run {
                    self.revive(now, item)?;
                }
            }
        }
        Ok(Ok(Reply::Redriven { count, next }))
    }

    fn named(&self, redrive: &Redrive) -> Result<Vec<DeadItem>, Fault> {
        let mut items: Vec<DeadItem> = redrive.tasks.iter().copied().map(DeadItem::Task).collect();
        for id in &redrive.deliveries {
            let Some(notice) = self.tx.store.read::<Notice>(&keys::id(id.notice))? else {
                continue;
            };
            items.push(DeadItem::Delivery(TenantNo(notice.tenant), *id));
        }
        Ok(items)
    }

    /// Whether a redrive may bring this back. What it may not is not counted either: callers call
    /// until nothing is left.
    fn can_revive(&self, item: DeadItem) -> Result<bool, Fault> {
        match item {
            DeadItem::Notice(_) => Ok(false),
            DeadItem::Task(id) => {
                let task = self.tx.store.read::<Task>(&keys::id(id))?;
                Ok(task.is_some_and(|task| task.state().is_dead()))
            }
            DeadItem::Delivery(tenant, id) => {
                let notice = self.tx.store.read::<Notice>(&keys::id(id.notice))?;
                let busy = |it: &Notice| it.cancelled || it.is_expiring() || it.is_forgotten();
                if notice.as_ref().is_none_or(busy) {
                    return Ok(false);
                }
                let row = self.tx.store.read::<Delivery>(&keys::delivery(tenant, id))?;
                Ok(row.is_some_and(|row| row.state() == DeliveryState::Dead))
            }
        }
    }

    /// What fits the filter, from where the last call ended, and where the next one begins.
    fn matching(&self, redrive: &Redrive) -> Result<(Vec<DeadItem>, Option<Key>), Fault> {
        let kind = redrive.kind.as_deref().map(|name| self.tx.names.known_kind(name));
        let order = Order::Ascending;
        let rows = self.tx.store.scan(Tree::Dead, &redrive.from, &[0xff], order, SCAN_ROWS)?;
        let all_seen = rows.len() < SCAN_ROWS;
        let (mut items, mut seen) = (Vec::new(), None);
        for (key, _) in rows {
            if items.len() == limits::PAGE_ITEMS {
                return Ok((items, seen));
            }
            if let Some((_, item)) = keys::read_dead(&key)
                && self.redrive_wants(redrive, kind, item)?
                && self.can_revive(item)?
            {
                items.push(item);
            }
            seen = Some(keys::after(&key));
        }
        Ok((items, seen.filter(|_| !all_seen)))
    }

    fn redrive_wants(
        &self,
        redrive: &Redrive,
        kind: Option<Option<TypeNo>>,
        item: DeadItem,
    ) -> Result<bool, Fault> {
        Ok(match item {
            DeadItem::Task(id) => match kind {
                Some(Some(kind)) => {
                    let task = self.tx.store.read::<Task>(&keys::id(id))?;
                    task.is_some_and(|task| task.kind == kind.0)
                }
                Some(None) => false,
                None => redrive.all,
            },
            DeadItem::Delivery(_, DeliveryId { notice, .. }) => {
                redrive.notice == Some(notice) || redrive.all
            }
            // It is submitted again, which is more than bringing it back.
            DeadItem::Notice(_) => false,
        })
    }

    fn revive(&mut self, now: Timestamp, item: DeadItem) -> Result<(), Fault> {
        match item {
            DeadItem::Notice(_) => {}
            DeadItem::Task(id) => {
                let Some(mut task) = self.tx.store.read::<Task>(&keys::id(id))? else {
                    return Ok(());
                };
                task.failed = 0;
                self.queue.requeue(&mut self.tx, task, now, Some("redriven".to_owned()))?;
            }
            DeadItem::Delivery(_, id) => {
                let Some((mut notice, mut delivery)) = read_delivery(&self.tx, id)? else {
                    return Ok(());
                };
                notice.reopen(now);
                self.outbox.send_again(&mut self.tx, &mut notice, id, &mut delivery, "redriven");
                lane::refile(&mut self.tx, &mut notice)?;
                self.tx.store.write(keys::id(id.notice), &notice);
            }
        }
        Ok(())
    }
}
