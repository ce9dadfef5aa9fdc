//! Forgetting what is old, in bounded steps that let other work pass.
//!
//! Rows are found through their ids, which grow with time: a pass reads each tree from its start up
//! to the first id that is too young, and is over after a few rows when there is nothing to do.

use crate::engine::letter;
use crate::engine::marks::{drop_task_marks, forget_marks};
use crate::engine::outbox::Outbox;
use crate::engine::queue::{Queue, RequestRow};
use crate::engine::streaks;
use crate::engine::timer::Timer;
use crate::engine::tx::Tx;
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Key, Kv, Value};
use crate::limits;
use crate::model::delivery::{Delivery, Entry, KeyRow};
use crate::model::marks::Marked;
use crate::model::notice::{Notice, Sweep, SweepKind};
use crate::model::run::Run;
use crate::model::task::{EndedTask, Standing, Task};
use crate::store::chunks::delete_chunks;
use crate::store::keys::{self, DeadItem, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};
use crate::time::{MINUTE_MS, Timestamp};

/// A pass begins this long after the last one ended.
const REST_MS: u64 = 10 * MINUTE_MS;
/// Steps of one pass are this far apart, so that sending goes first.
const STEP_MS: u64 = 20;

/// The trees that are pruned, in this order.
const PASSES: [Tree; 6] =
    [Tree::SendLog, Tree::TaskHistory, Tree::Runs, Tree::Keys, Tree::Dead, Tree::Notices];

/// Where the pass under way stands. In memory: a restart begins a new one.
#[derive(Debug, Default)]
pub(super) struct Pruning {
    pass: usize,
    from: Key,
    pub(super) timer: Option<Timestamp>,
    /// Deliveries that may still go in this step.
    room: usize,
}

impl Pruning {
    pub(super) fn start_pruning<K: Kv>(&mut self, tx: &mut Tx<K>) -> Result<(), Fault> {
        // A timer of the last process may still stand: the step takes any, and sets only one.
        let due = tx.now.plus(MINUTE_MS);
        self.timer = Some(due);
        tx.set_timer(due, &Timer::Prune);
        Ok(())
    }

    pub(super) fn prune_step<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        outbox: &mut Outbox,
        queue: &mut Queue,
    ) -> Result<(), Fault> {
        if self.timer.is_none_or(|timer| timer > tx.now) {
            return Ok(());
        }
        self.room = limits::STEP_ROWS;
        let tree = PASSES[self.pass];
        let from = std::mem::take(&mut self.from);
        let page = tx.store.scan(tree, &from, &[0xff; 40], Order::Ascending, limits::STEP_ROWS)?;
        let mut over = page.len() < limits::STEP_ROWS;
        for (key, value) in &page {
            match self.prune_row(tx, outbox, queue, tree, key, value)? {
                Pruned::Next => {
                    self.from.clone_from(key);
                    self.from.push(0);
                }
                Pruned::Again => {
                    self.from.clone_from(key);
                    over = false;
                    break;
                }
                Pruned::TooYoung => {
                    over = true;
                    break;
                }
            }
        }
        let mut pause = STEP_MS;
        if over {
            self.from.clear();
            self.pass = (self.pass + 1) % PASSES.len();
            if self.pass == 0 {
                queue.forget_idle(tx);
                pause = REST_MS;
            }
        }
        let due = tx.now.plus(pause);
        self.timer = Some(due);
        tx.set_timer(due, &Timer::Prune);
        Ok(())
    }

    fn prune_row<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        outbox: &mut Outbox,
        queue: &mut Queue,
        tree: Tree,
        key: &[u8],
        value: &Value,
    ) -> Result<Pruned, Fault> {
        let keep = tx.rules.retention;
        let now = tx.settled();
        let notices_ms = keep.notices_ms.max(keep.log_ms);
        let too_young =
            |kept_ms: u64| keys::read_id(key).is_some_and(|id| id.made_at() > now.minus(kept_ms));
        match tree {
            Tree::SendLog if too_young(keep.log_ms) => Ok(Pruned::TooYoung),
            Tree::SendLog => self.prune_entry(tx, key, value),
            Tree::TaskHistory if too_young(keep.tasks_ms) => Ok(Pruned::TooYoung),
            Tree::TaskHistory => {
                let EndedTask(task) = codec::decode(value)?;
                let before = now.minus(keep.tasks_ms);
                if matches!(task.standing(), Standing::Ended { at, .. } if at < before) {
                    drop_task_marks(tx, task.id)?;
                    tx.store.delete(tree, key);
                }
                Ok(Pruned::Next)
            }
            Tree::Runs if too_young(keep.runs_ms) => Ok(Pruned::TooYoung),
            Tree::Runs => {
                let run: Run = codec::decode(value)?;
                if run.ended.is_some() {
                    tx.store.delete(tree, key);
                }
                Ok(Pruned::Next)
            }
            Tree::Keys => self.prune_key(tx, now.minus(keep.keys_ms), key, value),
            Tree::Dead => self.prune_dead(tx, queue, now.minus(keep.dead_ms), key),
            Tree::Notices => {
                let notice: Notice = codec::decode(value)?;
                // What was begun is finished, also under a longer retention.
                if too_young(notices_ms) && !notice.is_forgotten() {
                    return Ok(Pruned::TooYoung);
                }
                self.prune_notice(tx, outbox, now.minus(notices_ms), notice)
            }
            _ => Ok(Pruned::TooYoung),
        }
    }

    fn prune_entry<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        key: &[u8],
        value: &Value,
    ) -> Result<Pruned, Fault> {
        let entry: Entry = codec::decode(value)?;
        let Some(id) = keys::read_id(key) else { return Ok(Pruned::Next) };
        let tenant = TenantNo(entry.tenant);
        let mut prefixes = vec![
            keys::log_by_openid(tenant, &entry.openid),
            keys::log_by_notice(entry.delivery.notice),
        ];
        if let Some(code) = entry.errcode.filter(|code| *code != 0) {
            prefixes.push(keys::log_by_errcode(tenant, code));
        }
        for prefix in prefixes {
            tx.store.delete(Tree::LogIndex, &keys::with_id(prefix, id));
        }
        tx.store.delete(Tree::SendLog, key);
        Ok(Pruned::Next)
    }

    fn prune_key<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        before: Timestamp,
        key: &[u8],
        value: &Value,
    ) -> Result<Pruned, Fault> {
        let over = if key.first() == Some(&b'r') {
            codec::decode::<RequestRow>(value)?.at < before
        } else {
            let row: KeyRow = codec::decode(value)?;
            row.at < before && !self.is_there(tx, row.id)?
        };
        if over {
            tx.store.delete(Tree::Keys, key);
        }
        Ok(Pruned::Next)
    }

    /// Whether what a key made can still be looked at, done or not: without its key it could be
    /// asked for again.
    fn is_there<K: Kv>(&self, tx: &Tx<K>, id: Id) -> Result<bool, Fault> {
        for tree in [Tree::Tasks, Tree::TaskHistory, Tree::Notices] {
            if tx.store.get(tree, &keys::id(id))?.is_some() {
                return Ok(true);
            }
        }
        Ok(false)
    }

    fn prune_dead<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        queue: &mut Queue,
        before: Timestamp,
        key: &[u8],
    ) -> Result<Pruned, Fault> {
        let Some((died, item)) = keys::read_dead(key) else { return Ok(Pruned::Next) };
        if died > before {
            return Ok(Pruned::TooYoung);
        }
        if let DeadItem::Notice(id) = item {
            let _ = letter::drop_letter(tx, id)?;
        }
        // A dead delivery goes with its notice; only its letter goes now.
        tx.store.delete(Tree::Dead, key);
        if let DeadItem::Task(id) = item
            && let Some(task) = tx.store.read::<Task>(&keys::id(id))?
            && task.state().is_dead()
        {
            drop_task_marks(tx, id)?;
            queue.delete_task(tx, &task)?;
        }
        Ok(Pruned::Next)
    }

    fn prune_notice<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        outbox: &mut Outbox,
        before: Timestamp,
        mut notice: Notice,
    ) -> Result<Pruned, Fault> {
        let over = notice.cancelled && notice.is_finished() || notice.finished.is_some();
        let ended = notice.finished.or(notice.last_settled).unwrap_or(notice.id.made_at());
        if !notice.is_forgotten() && (!over || ended > before) {
            return Ok(Pruned::Next);
        }
        let room = self.room;
        if room == 0 {
            return Ok(Pruned::Again);
        }
        let tenant = TenantNo(notice.tenant);
        let prefix = keys::notice_rows(tenant, notice.id);
        let to = keys::after_prefix(&prefix);
        let rows = tx.store.scan(Tree::Outbox, &prefix, &to, Order::Ascending, room)?;
        self.room -= rows.len();
        let more = rows.len() == room;
        for (key, bytes) in rows {
            self.forget_delivery(tx, tenant, notice.id, &key, &bytes)?;
        }
        if more {
            // Nobody may take up again what is half gone.
            if !notice.is_forgotten() {
                notice.sweep = Some(Sweep { kind: SweepKind::Forget, next: 0 });
                tx.store.write(keys::id(notice.id), &notice);
            }
            return Ok(Pruned::Again);
        }
        if let Some(expiry) = notice.expires_at {
            tx.clear_timer(expiry, &Timer::NoticeExpiry(notice.id));
        }
        let marks = outbox.body(tx, notice.id)?.marks.clone();
        forget_marks(tx, Marked::Notice, notice.id, &marks);
        delete_chunks(&mut tx.store, Tree::NoticeBodies, notice.id)?;
        outbox.forget_body(notice.id);
        tx.store.delete(Tree::Sources, &keys::id(notice.id));
        streaks::forget(tx, &keys::notice_streak(notice.id))?;
        tx.store.delete(Tree::Notices, &keys::id(notice.id));
        Ok(Pruned::Next)
    }

    fn forget_delivery<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        tenant: TenantNo,
        notice: Id,
        key: &[u8],
        bytes: &Value,
    ) -> Result<(), Fault> {
        let delivery: Delivery = codec::decode(bytes)?;
        if let Some((_, id)) = keys::read_delivery(key) {
            let letter = DeadItem::Delivery(tenant, DeliveryId { notice, number: id.number });
            if delivery.state() == crate::model::delivery::DeliveryState::Dead {
                tx.store.delete(Tree::Dead, &keys::dead(delivery.changed, letter));
            }
        }
        if delivery.has_data {
            tx.store.delete(Tree::Overrides, key);
        }
        tx.store.delete(Tree::Recipients, &keys::recipient(tenant, notice, &delivery.openid));
        tx.store.delete(Tree::Outbox, key);
        Ok(())
    }
}

/// How pruning goes on after a row.
enum Pruned {
    /// With the next row.
    Next,
    /// With this row once more: it had too many parts for one step.
    Again,
    /// With the next tree.
    TooYoung,
}
