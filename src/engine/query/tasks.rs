//! Tasks, queues and dead letters as people see them.

use serde_json::{Value as Json, json};

use super::super::command::{Code, Refusal};
use super::super::{Engine, not_found};
use super::{DeadKind, Page, SCAN_ROWS, Shown, after, cursor, limit, page_of, time};
use crate::id::Id;
use crate::kv::{Fault, Kv, Tree};
use crate::model::delivery::Delivery;
use crate::model::errcode;
use crate::model::notice::Notice;
use crate::model::rules::Deliver;
use crate::model::task::{EndedTask, Task, TaskState};
use crate::store::keys::{self, DeadItem, Lane, TypeNo};
use crate::store::{Order, codec};
use crate::time::Timestamp;

impl<K: Kv> Engine<K> {
    pub(super) fn list_tasks(
        &mut self,
        kind: Option<String>,
        state: Option<String>,
        page: &Page,
    ) -> Result<Shown, Fault> {
        let kind = kind.map(|name| self.names.known_kind(&name));
        if kind == Some(None) {
            return Ok(Ok(page_of(Vec::new(), None)));
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
        let (mut items, mut looked) = (Vec::new(), 0);
        while looked < SCAN_ROWS {
            let rows = self.store.scan(tree, &from, &[0xff; 9], Order::Ascending, limit(page))?;
            if rows.is_empty() {
                return Ok(Ok(page_of(items, None)));
            }
            for (key, bytes) in rows {
                looked += 1;
                from = after(&key);
                let task: Result<Task, Fault> = match tree {
                    Tree::Tasks => codec::decode(&bytes),
                    _ => codec::decode::<EndedTask>(&bytes).map(|ended| ended.0),
                };
                let Ok(task) = task else { continue };
                let of_kind = kind.is_none_or(|kind| kind == Some(TypeNo(task.kind)));
                let in_state = state.as_ref().is_none_or(|state| state == task.state.name());
                if of_kind && in_state {
                    items.push(self.task_json(&task)?);
                }
                if items.len() == limit(page) {
                    return Ok(Ok(page_of(items, Some(from))));
                }
            }
        }
        Ok(Ok(page_of(items, Some(from))))
    }

    pub(super) fn show_task(&mut self, id: Id) -> Result<Shown, Fault> {
        let live = self.store.read::<Task>(&keys::id(id))?;
        let task = match live {
            Some(task) => Some(task),
            None => self.store.read::<EndedTask>(&keys::id(id))?.map(|ended| ended.0),
        };
        Ok(match task {
            Some(task) => Ok(self.task_json(&task)?),
            None => Err(not_found("task", id)),
        })
    }

    fn task_json(&self, task: &Task) -> Result<Json, Fault> {
        let payload = self.payload(task)?;
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
        let pending = task.state == TaskState::Pending;
        let claimed = task.state == TaskState::Claimed;
        // What an earlier version took in may be no JSON that can be read: shown as a text, never lost.
        let (name, payload) = match serde_json::from_str::<Json>(&payload) {
            Ok(value) => ("payload", value),
            Err(_) => ("payload_text", Json::String(payload)),
        };
        let mut shown = json!({
            "id": task.id.to_string(),
            "type": self.names.kind_name(TypeNo(task.kind)),
            "priority": task.priority,
            "state": task.state.name(),
            "added": task.added.to_string(),
            "due": if pending { task.due } else { task.planned }.to_string(),
            "until": time(claimed.then_some(task.due)),
            "ended": time((!pending && !claimed).then_some(task.due)),
            "attempt": task.attempt,
            "failed": task.failed,
            "max_attempts": self.max_attempts(task),
            "key": task.key,
            "reason": task.reason,
            "attempts": attempts,
        });
        shown[name] = payload;
        Ok(shown)
    }

    pub(super) fn list_queues(&mut self, now: Timestamp) -> Result<Json, Fault> {
        let kinds: Vec<(TypeNo, String)> =
            self.names.kinds().map(|(number, name)| (number, name.to_owned())).collect();
        let mut items = Vec::new();
        for (kind, name) in kinds {
            let priorities: Vec<u8> =
                self.queues.get(&kind).into_iter().flatten().copied().collect();
            for priority in priorities {
                items.push(self.queue_json(now, kind, &name, priority)?);
            }
        }
        Ok(page_of(items, None))
    }

    fn queue_json(
        &mut self,
        now: Timestamp,
        kind: TypeNo,
        name: &str,
        priority: u8,
    ) -> Result<Json, Fault> {
        let counts = self.queue_counts(kind, priority)?;
        let oldest = self.delay_first(Lane::Queue(kind, priority), 1)?.pop().map(|(due, _)| due);
        let state = self.queue_states.get(&kind).cloned().unwrap_or_default();
        let pushed = matches!(self.queue_rule(kind).deliver, Deliver::Push(_));
        Ok(json!({
            "type": name,
            "priority": priority,
            "depth": counts.pending,
            "claimed": counts.claimed,
            "dead": counts.dead,
            "acked": counts.acked,
            "cancelled": counts.cancelled,
            "oldest": time(oldest),
            "late_ms": self.late_ms(now, kind, &[priority])?,
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
        page: &Page,
    ) -> Result<Shown, Fault> {
        let kind = kind.map(|name| self.names.known_kind(&name));
        let mut from = match cursor(page, Vec::new()) {
            Ok(from) => from,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut items, mut looked) = (Vec::new(), 0);
        while looked < SCAN_ROWS {
            let rows =
                self.store.scan(Tree::Dead, &from, &[0xff; 9], Order::Ascending, limit(page))?;
            if rows.is_empty() {
                return Ok(Ok(page_of(items, None)));
            }
            for (key, _) in rows {
                looked += 1;
                from = after(&key);
                let Some((died, item)) = keys::read_dead(&key) else { continue };
                if only.is_some_and(|only| !only.has(item)) {
                    continue;
                }
                if let Some(json) = self.dead_json(died, item, kind)? {
                    items.push(json);
                }
                if items.len() == limit(page) {
                    return Ok(Ok(page_of(items, Some(from))));
                }
            }
        }
        Ok(Ok(page_of(items, Some(from))))
    }

    fn dead_json(
        &self,
        died: Timestamp,
        item: DeadItem,
        kind: Option<Option<TypeNo>>,
    ) -> Result<Option<Json>, Fault> {
        match item {
            DeadItem::Notice(_) if kind.is_some() => Ok(None),
            DeadItem::Notice(id) => self.letter_json(id),
            DeadItem::Task(id) => {
                let Some(task) = self.store.read::<Task>(&keys::id(id))? else { return Ok(None) };
                if kind.is_some_and(|kind| kind != Some(TypeNo(task.kind))) {
                    return Ok(None);
                }
                let mut json = self.task_json(&task)?;
                json["kind"] = json!("task");
                json["died"] = json!(died.to_string());
                Ok(Some(json))
            }
            DeadItem::Delivery(_, _) if kind.is_some() => Ok(None),
            DeadItem::Delivery(tenant, id) => {
                let delivery = self.store.read::<Delivery>(&keys::delivery(tenant, id))?;
                let notice = self.store.read::<Notice>(&keys::id(id.notice))?;
                Ok(delivery.filter(|_| notice.is_some()).map(|delivery| {
                    json!({
                        "kind": "delivery",
                        "id": id.to_string(),
                        "tenant": self.names.tenant_name(tenant),
                        "notice": id.notice.to_string(),
                        "openid": delivery.openid,
                        "attempt": delivery.attempt,
                        "errcode": delivery.errcode,
                        "meaning": delivery.errcode.map(errcode::meaning),
                        "reason": delivery.reason,
                        "died": died.to_string(),
                    })
                }))
            }
        }
    }

    pub(super) fn list_quarantine(&mut self, page: &Page) -> Result<Shown, Fault> {
        let from = match cursor(page, Vec::new()) {
            Ok(from) => from,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let rows =
            self.store.scan(Tree::Quarantine, &from, &[0xff; 9], Order::Ascending, limit(page))?;
        let next = (rows.len() == limit(page)).then(|| rows.last().map(|(key, _)| after(key)));
        let items = rows.iter().map(|(key, bytes)| {
            let tree = key.first().and_then(|tree| Tree::from_number(*tree));
            json!({
                "tree": tree.map(Tree::name),
                "id": key.get(1..).and_then(keys::read_id).map(|id: Id| id.to_string()),
                "bytes": bytes.len(),
            })
        });
        Ok(Ok(page_of(items.collect(), next.flatten())))
    }
}
