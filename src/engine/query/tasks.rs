//! Tasks, queues and dead letters as people see them.

use super::super::Engine;
use super::super::letter;
use super::super::marks;
use super::super::queue::payload;
use super::super::refusal::{Code, Refusal, not_found};
use super::super::view::{
    At, Circuit, DeadLetter, Deliverer, DeliveryLetter, DeliveryText, IdText, Listed,
    QuarantinedRow, QueueView, TaskAttempt, TaskLetter, TaskView, Word, raw_or_text,
};
use super::asked::DeadKind;
use super::page::{Page, SCAN_ROWS, Shown, cursor, limit};
use super::rows::Rows;
use super::walk::{Walk, by_mark};
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::model::delivery::{Delivery, KeyRow};
use crate::model::errcode;
use crate::model::marks::{Mark, Marked};
use crate::model::notice::Notice;
use crate::model::rules::Deliver;
use crate::model::task::{self, EndedTask, Standing, Task, TaskState};
use crate::store::keys::{self, DeadItem, Lane, TypeNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};
use crate::time::Timestamp;

/// Rows with payloads that are read at once.
const ROWS_AT_ONCE: usize = 100;

impl<K: Kv> Engine<K> {
    pub(super) fn list_tasks(
        &mut self,
        (kind, state, marked): (Option<String>, Option<TaskState>, Vec<Mark>),
        payload: bool,
        order: Order,
        page: &Page,
    ) -> Result<Shown<Listed<TaskView>>, Fault> {
        let kind = kind.map(|name| self.tx.names.known_kind(&name));
        if kind == Some(None) {
            return Ok(Ok(Rows::whole().page(None)));
        }
        let tree = match state {
            Some(TaskState::Acked | TaskState::Cancelled) => Tree::TaskHistory,
            _ => Tree::Tasks,
        };
        let place = by_mark(Marked::Task, &marked, tree);
        let prefix = place.prefix.len();
        let mut walk = match Walk::new(place.tree, place.prefix, place.end, order, page) {
            Ok(Some(walk)) => walk,
            Ok(None) => return Ok(Ok(Rows::whole().page(None))),
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let rows = walk.rows(&self.tx.store, limit(page).min(ROWS_AT_ONCE))?;
            if rows.is_empty() {
                return Ok(Ok(items.page(None)));
            }
            for (key, bytes) in rows {
                looked += 1;
                walk.pass(&key);
                let Some(id) = key.get(prefix..).and_then(keys::read_id) else { continue };
                let task = match place.tree {
                    Tree::Tasks => codec::decode(&bytes).ok(),
                    Tree::TaskHistory => codec::decode(&bytes).ok().map(|EndedTask(task)| task),
                    _ => self.task(id)?,
                };
                let Some(task) = task else { continue };
                if !marks::has_marks(&self.tx, Marked::Task, id, &marked)? {
                    continue;
                }
                let of_kind = kind.is_none_or(|kind| kind == Some(TypeNo(task.kind)));
                if of_kind && state.is_none_or(|state| state == task.state()) {
                    items.push(self.task_view(&task, payload)?);
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(walk.place()))));
                }
            }
        }
        Ok(Ok(items.page(Some(walk.place()))))
    }

    /// The task that a key stands for, as a list of one or none.
    pub(super) fn task_of_key(
        &mut self,
        kind: Option<String>,
        state: Option<TaskState>,
        key: &str,
        payload: bool,
    ) -> Result<Shown<Listed<TaskView>>, Fault> {
        let Some(kind) = kind else {
            let detail = "a key belongs to one type: name it";
            return Ok(Err(Refusal::field(Code::Invalid, "/type", detail)));
        };
        let mut items = Rows::whole();
        if let Some(kind) = self.tx.names.known_kind(&kind)
            && let Some(row) = self.tx.store.read::<KeyRow>(&keys::task_key(kind, key))?
            && let Some(task) = self.task(row.id)?
            && state.is_none_or(|state| state == task.state())
        {
            items.push(self.task_view(&task, payload)?);
        }
        Ok(Ok(items.page(None)))
    }

    /// A task, also one that has ended.
    fn task(&self, id: Id) -> Result<Option<Task>, Fault> {
        match self.tx.store.read::<Task>(&keys::id(id))? {
            Some(task) => Ok(Some(task)),
            None => Ok(self.tx.store.read::<EndedTask>(&keys::id(id))?.map(|ended| ended.0)),
        }
    }

    pub(super) fn show_task(&mut self, id: Id) -> Result<Shown<TaskView>, Fault> {
        Ok(match self.task(id)? {
            Some(task) => Ok(self.task_view(&task, true)?),
            None => Err(not_found("task", id)),
        })
    }

    /// A task, with its payload if asked for.
    fn task_view(&self, task: &Task, payload: bool) -> Result<TaskView, Fault> {
        let (due, until, ended) = match task.standing() {
            Standing::Pending { due } => (due, None, None),
            Standing::Claimed { until } => (task.planned, Some(until), None),
            Standing::Ended { at, .. } => (task.planned, None, Some(at)),
        };
        let (payload, payload_text) = match payload {
            true => raw_or_text(payload::text(&self.tx, task)?),
            false => (None, None),
        };
        let marks = marks::task_marks(&self.tx, task.id)?;
        Ok(TaskView {
            id: IdText(task.id),
            reference: marks.reference,
            labels: marks.labels,
            kind: self.tx.names.kind_name(TypeNo(task.kind)).to_owned(),
            priority: task.priority,
            state: Word(task.state()),
            added: At(task.added),
            due: At(due),
            until: until.map(At),
            ended: ended.map(At),
            attempt: task.attempt,
            failed: task.failed,
            max_attempts: self.tx.max_attempts(task),
            key: task.terms.key.clone(),
            reason: task.reason.clone(),
            attempts: task.history.iter().map(attempt_view).collect(),
            payload,
            payload_text,
        })
    }

    /// One page of types and priorities, in the order in which the types came up.
    pub(super) fn list_queues(
        &mut self,
        now: Timestamp,
        kind: Option<String>,
        page: &Page,
    ) -> Result<Shown<Listed<QueueView>>, Fault> {
        let from = match cursor(page, Vec::new()) {
            Ok(from) => from,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let only = match kind.map(|name| self.tx.names.known_kind(&name)) {
            Some(None) => return Ok(Ok(Rows::whole().page(None))),
            Some(Some(kind)) => Some(kind),
            None => None,
        };
        let first = keys::queue_lane(&from).unwrap_or((TypeNo(0), 0));
        let first = only.map_or(first, |only| first.max((only, 0)));
        let wanted = self.queue.lanes.from(first).map(|(lane, _)| lane);
        let wanted = wanted.take_while(|(kind, _)| only.is_none_or(|only| only == *kind));
        let lanes: Vec<(TypeNo, u8)> = wanted.take(limit(page) + 1).collect();
        let mut items = Rows::new(page);
        for (kind, priority) in lanes {
            if items.is_full() {
                return Ok(Ok(items.page(Some(keys::queue_counts(kind, priority)))));
            }
            let name = self.tx.names.kind_name(kind).to_owned();
            items.push(self.queue_view(now, kind, name, priority)?);
        }
        Ok(Ok(items.page(None)))
    }

    fn queue_view(
        &mut self,
        now: Timestamp,
        kind: TypeNo,
        name: String,
        priority: u8,
    ) -> Result<QueueView, Fault> {
        let counts = self.queue.lanes.counts((kind, priority));
        let oldest =
            self.tx.store.delay_first(Lane::Queue(kind, priority), 1)?.pop().map(|(due, _)| due);
        let state = self.queue.states.get(&kind).cloned().unwrap_or_default();
        let pushed = matches!(self.tx.queue_rule(kind).deliver, Deliver::Push(_));
        let rests = state.rest_until > now;
        Ok(QueueView {
            kind: name,
            priority,
            depth: counts.pending,
            claimed: counts.claimed,
            dead: counts.dead,
            acked: counts.acked,
            cancelled: counts.cancelled,
            oldest: oldest.map(At),
            late_ms: self.lane_late_ms(now, kind, priority)?,
            paused: state.paused,
            deliver: Word(if pushed { Deliverer::Push } else { Deliverer::Claim }),
            circuit: Word(Circuit::open_if(rests)),
            rests_until: rests.then_some(At(state.rest_until)),
            failures: state.failures,
            last_error: state.last_error,
        })
    }

    pub(super) fn list_dead(
        &mut self,
        kind: Option<String>,
        only: Option<DeadKind>,
        payload: bool,
        page: &Page,
    ) -> Result<Shown<Listed<DeadLetter>>, Fault> {
        let kind = kind.map(|name| self.tx.names.known_kind(&name));
        let mut from = match cursor(page, Vec::new()) {
            Ok(from) => from,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let rows =
                self.tx.store.scan(Tree::Dead, &from, &[0xff; 9], Order::Ascending, limit(page))?;
            if rows.is_empty() {
                return Ok(Ok(items.page(None)));
            }
            for (key, _) in rows {
                looked += 1;
                from = keys::after(&key);
                let Some((died, item)) = keys::read_dead(&key) else { continue };
                if only.is_some_and(|only| !only.has(item)) {
                    continue;
                }
                if let Some(letter) = self.dead_letter(died, item, kind, payload)? {
                    items.push(letter);
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(from))));
                }
            }
        }
        Ok(Ok(items.page(Some(from))))
    }

    fn dead_letter(
        &self,
        died: Timestamp,
        item: DeadItem,
        kind: Option<Option<TypeNo>>,
        payload: bool,
    ) -> Result<Option<DeadLetter>, Fault> {
        match item {
            DeadItem::Notice(_) | DeadItem::Delivery(..) if kind.is_some() => Ok(None),
            DeadItem::Notice(id) => Ok(letter::letter_view(&self.tx, id)?
                .map(|letter| DeadLetter::Notice(Box::new(letter)))),
            DeadItem::Task(id) => {
                let Some(task) = self.tx.store.read::<Task>(&keys::id(id))? else {
                    return Ok(None);
                };
                if kind.is_some_and(|kind| kind != Some(TypeNo(task.kind))) {
                    return Ok(None);
                }
                Ok(Some(DeadLetter::Task(Box::new(TaskLetter {
                    letter: Word(DeadKind::Task),
                    died: At(died),
                    task: self.task_view(&task, payload)?,
                }))))
            }
            DeadItem::Delivery(tenant, id) => {
                let delivery = self.tx.store.read::<Delivery>(&keys::delivery(tenant, id))?;
                let notice = self.tx.store.read::<Notice>(&keys::id(id.notice))?;
                Ok(delivery.filter(|_| notice.is_some()).map(|delivery| {
                    DeadLetter::Delivery(Box::new(DeliveryLetter {
                        kind: Word(DeadKind::Delivery),
                        died: At(died),
                        id: DeliveryText(id),
                        tenant: self.tx.names.tenant_name(tenant).to_owned(),
                        notice: IdText(id.notice),
                        openid: delivery.openid,
                        attempt: delivery.attempt,
                        errcode: delivery.errcode,
                        meaning: delivery.errcode.map(errcode::meaning),
                        reason: delivery.reason,
                    }))
                }))
            }
        }
    }

    pub(super) fn list_quarantine(
        &mut self,
        page: &Page,
    ) -> Result<Shown<Listed<QuarantinedRow>>, Fault> {
        let from = match cursor(page, Vec::new()) {
            Ok(from) => from,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let rows = self.tx.store.scan(
            Tree::Quarantine,
            &from,
            &[0xff; 9],
            Order::Ascending,
            limit(page),
        )?;
        let next =
            (rows.len() == limit(page)).then(|| rows.last().map(|(key, _)| keys::after(key)));
        let mut items = Rows::new(page);
        for (key, bytes) in &rows {
            let tree = key.first().and_then(|tree| Tree::from_number(*tree));
            items.push(QuarantinedRow {
                tree: tree.map(Tree::name),
                id: key.get(1..).and_then(keys::read_id).map(IdText),
                bytes: bytes.len(),
            });
        }
        Ok(Ok(items.page(next.flatten())))
    }
}

fn attempt_view(attempt: &task::TaskAttempt) -> TaskAttempt {
    let ended = attempt.ended.as_ref();
    TaskAttempt {
        attempt: attempt.attempt,
        claimed: At(attempt.claimed),
        worker: attempt.worker.clone(),
        term: attempt.term,
        ended: ended.map(|(at, _)| At(*at)),
        outcome: ended.map(|(_, end)| Word(end.kind())),
        reason: ended.and_then(|(_, end)| end.reason()).map(str::to_owned),
    }
}
