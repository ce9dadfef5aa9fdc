//! Tasks, queues and dead letters as people see them.

use serde_json::{Value as Json, json};

use super::super::Engine;
use super::super::letter;
use super::super::queue::payload;
use super::super::refusal::not_found;
use super::super::refusal::{Code, Refusal};
use super::asked::DeadKind;
use super::page::{Page, SCAN_ROWS, Shown, Text, cursor, limit, time};
use super::rows::{Rows, with_raw};
use crate::id::Id;
use crate::kv::{Fault, Kv, Tree};
use crate::model::delivery::Delivery;
use crate::model::errcode;
use crate::model::notice::Notice;
use crate::model::rules::Deliver;
use crate::model::task::{EndedTask, Standing, Task};
use crate::store::keys::{self, DeadItem, Lane, TypeNo};
use crate::store::{Order, codec};
use crate::time::Timestamp;

/// Rows with payloads that are read at once.
const ROWS_AT_ONCE: usize = 100;

impl<K: Kv> Engine<K> {
    pub(super) fn list_tasks(
        &mut self,
        kind: Option<String>,
        state: Option<String>,
        payload: bool,
        page: &Page,
    ) -> Result<Shown, Fault> {
        let kind = kind.map(|name| self.tx.names.known_kind(&name));
        if kind == Some(None) {
            return Ok(Ok(Rows::whole().page(None)));
        }
        let live = ["pending", "claimed", "dead", "rejected"];
        let ended = ["acked", "cancelled"];
        let tree = match state.as_deref() {
            None => Tree::Tasks,
            Some(state) if live.contains(&state) => Tree::Tasks,
            Some(state) if ended.contains(&state) => Tree::TaskHistory,
            Some(_) => {
                let all = [&live[..], &ended[..]].concat().join(", ");
                return Ok(Err(Refusal::field(Code::Invalid, "/state", format!("one of {all}"))));
            }
        };
        let mut from = match cursor(page, Vec::new()) {
            Ok(from) => from,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let some = limit(page).min(ROWS_AT_ONCE);
            let rows = self.tx.store.scan(tree, &from, &[0xff; 9], Order::Ascending, some)?;
            if rows.is_empty() {
                return Ok(Ok(items.page(None)));
            }
            for (key, bytes) in rows {
                looked += 1;
                from = keys::after(&key);
                let task: Result<Task, Fault> = match tree {
                    Tree::Tasks => codec::decode(&bytes),
                    _ => codec::decode::<EndedTask>(&bytes).map(|ended| ended.0),
                };
                let Ok(task) = task else { continue };
                let of_kind = kind.is_none_or(|kind| kind == Some(TypeNo(task.kind)));
                let in_state = state.as_ref().is_none_or(|state| state == task.state().name());
                if of_kind && in_state {
                    items.push(self.task_text(&task, None, payload)?);
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(from))));
                }
            }
        }
        Ok(Ok(items.page(Some(from))))
    }

    pub(super) fn show_task(&mut self, id: Id) -> Result<Shown, Fault> {
        let live = self.tx.store.read::<Task>(&keys::id(id))?;
        let task = match live {
            Some(task) => Some(task),
            None => self.tx.store.read::<EndedTask>(&keys::id(id))?.map(|ended| ended.0),
        };
        Ok(match task {
            Some(task) => Ok(self.task_text(&task, None, true)?),
            None => Err(not_found("task", id)),
        })
    }

    /// A task, with the time of its death if it is a dead letter, and with its payload if asked for.
    fn task_text(
        &self,
        task: &Task,
        died: Option<Timestamp>,
        payload: bool,
    ) -> Result<Text, Fault> {
        let mut json = self.task_json(task);
        if let Some(died) = died {
            json["kind"] = json!("task");
            json["died"] = json!(died.to_string());
        }
        if !payload {
            return Ok(json.into());
        }
        Ok(with_raw(&json, &[("payload", &payload::text(&self.tx, task)?)]))
    }

    fn task_json(&self, task: &Task) -> Json {
        let attempts: Vec<Json> = task
            .history
            .iter()
            .map(|attempt| {
                let ended = attempt.ended.as_ref();
                json!({
                    "attempt": attempt.attempt,
                    "claimed": attempt.claimed.to_string(),
                    "worker": attempt.worker,
                    "term": attempt.term,
                    "ended": time(ended.map(|(at, _)| *at)),
                    "outcome": ended.map(|(_, end)| end.name()),
                    "reason": ended.and_then(|(_, end)| end.reason()),
                })
            })
            .collect();
        let (due, until, ended) = match task.standing() {
            Standing::Pending { due } => (due, None, None),
            Standing::Claimed { until } => (task.planned, Some(until), None),
            Standing::Ended { at, .. } => (task.planned, None, Some(at)),
        };
        json!({
            "id": task.id.to_string(),
            "type": self.tx.names.kind_name(TypeNo(task.kind)),
            "priority": task.priority,
            "state": task.state().name(),
            "added": task.added.to_string(),
            "due": due.to_string(),
            "until": time(until),
            "ended": time(ended),
            "attempt": task.attempt,
            "failed": task.failed,
            "max_attempts": self.tx.max_attempts(task),
            "key": task.key,
            "reason": task.reason,
            "attempts": attempts,
        })
    }

    /// One page of types and priorities, in the order in which the types came up.
    pub(super) fn list_queues(
        &mut self,
        now: Timestamp,
        kind: Option<String>,
        page: &Page,
    ) -> Result<Shown, Fault> {
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
            items.push(self.queue_json(now, kind, &name, priority)?);
        }
        Ok(Ok(items.page(None)))
    }

    fn queue_json(
        &mut self,
        now: Timestamp,
        kind: TypeNo,
        name: &str,
        priority: u8,
    ) -> Result<Json, Fault> {
        let counts = self.queue.lanes.counts((kind, priority));
        let oldest =
            self.tx.store.delay_first(Lane::Queue(kind, priority), 1)?.pop().map(|(due, _)| due);
        let state = self.queue.states.get(&kind).cloned().unwrap_or_default();
        let pushed = matches!(self.tx.queue_rule(kind).deliver, Deliver::Push(_));
        Ok(json!({
            "type": name,
            "priority": priority,
            "depth": counts.pending,
            "claimed": counts.claimed,
            "dead": counts.dead,
            "acked": counts.acked,
            "cancelled": counts.cancelled,
            "oldest": time(oldest),
            "late_ms": self.lane_late_ms(now, kind, priority)?,
            "paused": state.paused,
            "deliver": if pushed { "push" } else { "claim" },
            "circuit": if state.rest_until > now { "open" } else { "closed" },
            "rests_until": time((state.rest_until > now).then_some(state.rest_until)),
            "failures": state.failures,
            "last_error": state.last_error,
        }))
    }

    pub(super) fn list_dead(
        &mut self,
        kind: Option<String>,
        only: Option<DeadKind>,
        payload: bool,
        page: &Page,
    ) -> Result<Shown, Fault> {
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
                if let Some(text) = self.dead_text(died, item, kind, payload)? {
                    items.push(text);
                }
                if items.is_full() {
                    return Ok(Ok(items.page(Some(from))));
                }
            }
        }
        Ok(Ok(items.page(Some(from))))
    }

    fn dead_text(
        &self,
        died: Timestamp,
        item: DeadItem,
        kind: Option<Option<TypeNo>>,
        payload: bool,
    ) -> Result<Option<Text>, Fault> {
        match item {
            DeadItem::Notice(_) if kind.is_some() => Ok(None),
            DeadItem::Notice(id) => Ok(letter::letter_json(&self.tx, id)?.map(Text::from)),
            DeadItem::Task(id) => {
                let Some(task) = self.tx.store.read::<Task>(&keys::id(id))? else {
                    return Ok(None);
                };
                if kind.is_some_and(|kind| kind != Some(TypeNo(task.kind))) {
                    return Ok(None);
                }
                Ok(Some(self.task_text(&task, Some(died), payload)?))
            }
            DeadItem::Delivery(_, _) if kind.is_some() => Ok(None),
            DeadItem::Delivery(tenant, id) => {
                let delivery = self.tx.store.read::<Delivery>(&keys::delivery(tenant, id))?;
                let notice = self.tx.store.read::<Notice>(&keys::id(id.notice))?;
                Ok(delivery.filter(|_| notice.is_some()).map(|delivery| {
                    json!({
                        "kind": "delivery",
                        "id": id.to_string(),
                        "tenant": self.tx.names.tenant_name(tenant),
                        "notice": id.notice.to_string(),
                        "openid": delivery.openid,
                        "attempt": delivery.attempt,
                        "errcode": delivery.errcode,
                        "meaning": delivery.errcode.map(errcode::meaning),
                        "reason": delivery.reason,
                        "died": died.to_string(),
                    })
                    .into()
                }))
            }
        }
    }

    pub(super) fn list_quarantine(&mut self, page: &Page) -> Result<Shown, Fault> {
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
            items.push(json!({
                "tree": tree.map(Tree::name),
                "id": key.get(1..).and_then(keys::read_id).map(|id: Id| id.to_string()),
                "bytes": bytes.len(),
            }));
        }
        Ok(Ok(items.page(next.flatten())))
    }
}
