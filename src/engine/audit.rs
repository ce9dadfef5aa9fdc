//! The auditor: whether the rows, the indexes and the counts agree. For tests and `inspect`; it
//! reads the whole store.

use std::collections::BTreeMap;

use super::Engine;
use super::letter;
use super::timer::Timer;
use crate::id::Id;
use crate::kv::{Fault, Key, Kv, Value};
use crate::model::delivery::{Delivery, DeliveryState, Standing};
use crate::model::notice::{Counts, Notice};
use crate::model::task::{self, EndedTask, QueueCounts, Task};
use crate::store::keys::{self, DeadItem, Lane, TenantNo, TypeNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};

impl<K: Kv> Engine<K> {
    /// Everything that does not agree, in words; empty when all is well.
    pub fn audit(&self) -> Result<Vec<String>, Fault> {
        let mut wrong = Vec::new();
        let mut delays: BTreeMap<Key, bool> = BTreeMap::new();
        self.each(Tree::Delay, |key, _| {
            delays.insert(key.to_vec(), false);
            Ok(())
        })?;
        self.audit_deliveries(&mut delays, &mut wrong)?;
        self.audit_tasks(&mut delays, &mut wrong)?;
        self.audit_letters(&mut wrong)?;
        for (key, seen) in delays {
            let own = key.first() == Some(&1)
                && keys::split_delay(&key, 1)
                    .and_then(|(_, item)| Timer::decode(item))
                    .is_some_and(|timer| {
                        !matches!(timer, Timer::TaskClaim(_) | Timer::DeliveryClaim(_, _))
                    });
            if !seen && !own {
                wrong.push(format!("delay key {key:02x?} stands for nothing"));
            }
        }
        Ok(wrong)
    }

    /// Each dead letter stands for something dead. Not the reverse: a delivery's letter is pruned
    /// by age while the delivery stays with its notice.
    fn audit_letters(&self, wrong: &mut Vec<String>) -> Result<(), Fault> {
        self.each(Tree::Dead, |key, _| {
            let dead = match keys::read_dead(key) {
                Some((_, DeadItem::Task(id))) => {
                    let task = self.tx.store.read::<Task>(&keys::id(id))?;
                    task.is_some_and(|task| task.state().is_dead())
                }
                Some((_, DeadItem::Delivery(tenant, id))) => {
                    let row = self.tx.store.read::<Delivery>(&keys::delivery(tenant, id))?;
                    row.is_some_and(|row| row.state() == DeliveryState::Dead)
                }
                Some((_, DeadItem::Notice(id))) => letter::letter_view(&self.tx, id)?.is_some(),
                None => false,
            };
            if !dead {
                wrong.push(format!("letter {key:02x?} stands for nothing dead"));
            }
            Ok(())
        })
    }

    fn audit_deliveries(
        &self,
        delays: &mut BTreeMap<Key, bool>,
        wrong: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let mut counted: BTreeMap<Id, Counts> = BTreeMap::new();
        self.each(Tree::Outbox, |key, bytes| {
            let delivery: Delivery = codec::decode(bytes)?;
            let Some((tenant, id)) = keys::read_delivery(key) else { return Ok(()) };
            counted.entry(id.notice).or_default().add(delivery.state());
            let wanted = match delivery.standing() {
                Standing::Pending { due } => {
                    let lane = Lane::Notice(tenant, id.notice);
                    Some(lane.key(due, &id.number.to_be_bytes()))
                }
                Standing::Sending { until } => {
                    let timer = Timer::DeliveryClaim(tenant, id).encode();
                    Some(Lane::Timers.key(until, &timer))
                }
                Standing::Settled { .. } => None,
            };
            if wanted.is_some_and(|key| !mark(delays, &key)) {
                wrong.push(format!("delivery {id} ({}) is in no lane", delivery.state().name()));
            }
            let by_openid = keys::recipient(tenant, id.notice, &delivery.openid);
            let number = self.tx.store.get(Tree::Recipients, &by_openid)?;
            if number.and_then(|bytes| keys::read_u32(&bytes)) != Some(id.number) {
                wrong.push(format!("delivery {id} is not found by its openid"));
            }
            Ok(())
        })?;
        self.each(Tree::Notices, |_, bytes| {
            let notice: Notice = codec::decode(bytes)?;
            let scanned = counted.remove(&notice.id).unwrap_or_default();
            if scanned != notice.counts && !notice.is_forgotten() {
                let id = notice.id;
                wrong.push(format!("notice {id} counts {:?}, has {scanned:?}", notice.counts));
            }
            if let Some(due) = notice.lane_due {
                let lane = Lane::of_notice(TenantNo(notice.tenant), notice.urgent);
                if !mark(delays, &lane.key(due, &keys::id(notice.id))) {
                    wrong.push(format!("notice {} is not where it says in its lane", notice.id));
                }
            }
            let waits = notice.counts.of(DeliveryState::Pending) > 0
                && notice.is_active()
                && !notice.is_canary_out();
            if waits && notice.lane_due.is_none() {
                wrong.push(format!("notice {} has work but is in no lane", notice.id));
            }
            Ok(())
        })?;
        for id in counted.keys() {
            wrong.push(format!("deliveries of notice {id}, which is not there"));
        }
        Ok(())
    }

    fn audit_tasks(
        &self,
        delays: &mut BTreeMap<Key, bool>,
        wrong: &mut Vec<String>,
    ) -> Result<(), Fault> {
        let mut counted: BTreeMap<(u32, u8), QueueCounts> = BTreeMap::new();
        self.each(Tree::Tasks, |_, bytes| {
            let task: Task = codec::decode(bytes)?;
            *counted.entry((task.kind, task.priority)).or_default().of(task.state()) += 1;
            let wanted = match task.standing() {
                task::Standing::Pending { due } => {
                    let lane = Lane::Queue(TypeNo(task.kind), task.priority);
                    Some(lane.key(due, &keys::id(task.id)))
                }
                task::Standing::Claimed { until } => {
                    Some(Lane::Timers.key(until, &Timer::TaskClaim(task.id).encode()))
                }
                task::Standing::Ended { .. } => None,
            };
            if wanted.is_some_and(|key| !mark(delays, &key)) {
                wrong.push(format!("task {} ({}) is in no lane", task.id, task.state().name()));
            }
            if let task::Standing::Ended { at, .. } = task.standing() {
                let letter = keys::dead(at, DeadItem::Task(task.id));
                if self.tx.store.get(Tree::Dead, &letter)?.is_none() {
                    wrong.push(format!("task {} is dead without a letter", task.id));
                }
            }
            Ok(())
        })?;
        self.each(Tree::TaskHistory, |_, bytes| {
            let EndedTask(task) = codec::decode(bytes)?;
            if self.tx.store.get(Tree::Tasks, &keys::id(task.id))?.is_some() {
                wrong.push(format!("task {} has ended and lives", task.id));
            }
            Ok(())
        })?;
        self.each(Tree::Counters, |key, bytes| {
            let (Some((b'q', kind)), Some(priority)) =
                (key.split_first(), keys::queue_priority(key))
            else {
                return Ok(());
            };
            let counts: QueueCounts = codec::decode(bytes)?;
            let kind = keys::read_u32(kind).unwrap_or_default();
            let scanned = counted.remove(&(kind, priority)).unwrap_or_default();
            let same = (counts.pending, counts.claimed, counts.dead)
                == (scanned.pending, scanned.claimed, scanned.dead);
            if !same {
                wrong.push(format!("type {kind}/{priority} counts {counts:?}, has {scanned:?}"));
            }
            Ok(())
        })?;
        for key in counted.keys() {
            wrong.push(format!("type {key:?} has tasks and no counts"));
        }
        Ok(())
    }

    fn each(
        &self,
        tree: Tree,
        mut look: impl FnMut(&[u8], &Value) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut from = Vec::new();
        loop {
            let page = self.tx.store.scan(tree, &from, &[0xff; 64], Order::Ascending, 1000)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = [last, &[0][..]].concat();
            for (key, value) in &page {
                look(key, value)?;
            }
        }
    }
}

fn mark(delays: &mut BTreeMap<Key, bool>, key: &[u8]) -> bool {
    delays.get_mut(key).is_some_and(|seen| !std::mem::replace(seen, true))
}
