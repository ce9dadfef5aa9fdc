//! Schedules and runs as people see them.

use serde_json::{Value as Json, json};

use super::super::Engine;
use super::super::refusal::not_found;
use super::page::{Page, SCAN_ROWS, Shown, Text, cursor, limit, time};
use super::rows::Rows;
use crate::id::Id;
use crate::kv::{Fault, Kv, Tree};
use crate::model::rules::Action;
use crate::model::run::{Run, ScheduleRow};
use crate::store::keys;
use crate::store::{Order, codec};

impl<K: Kv> Engine<K> {
    pub(super) fn list_schedules(&mut self) -> Result<Text, Fault> {
        let mut items = Rows::whole();
        for (name, rule) in &self.tx.rules.schedules {
            let row = self.tx.store.read::<ScheduleRow>(name.as_bytes())?.unwrap_or_default();
            items.push(json!({
                "name": name,
                "cron": rule.cron.expr(),
                "timezone": rule.cron.timezone(),
                "action": match rule.action {
                    Action::Task { .. } => "task",
                    Action::Pull { .. } => "pull",
                },
                "next": time(row.next),
                "running": row.running.map(|id| id.to_string()),
                "owed": time(row.owed),
                "last_good": time(row.last_good),
            }));
        }
        Ok(items.page(None))
    }

    pub(super) fn list_runs(
        &mut self,
        schedule: Option<String>,
        page: &Page,
    ) -> Result<Shown, Fault> {
        let mut to = match cursor(page, vec![0xff; 9]) {
            Ok(to) => to,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut items, mut looked) = (Rows::new(page), 0);
        while looked < SCAN_ROWS {
            let rows = self.tx.store.scan(Tree::Runs, &[], &to, Order::Descending, limit(page))?;
            if rows.is_empty() {
                return Ok(Ok(items.page(None)));
            }
            for (key, bytes) in rows {
                looked += 1;
                let run: Run = codec::decode(&bytes)?;
                if schedule.as_ref().is_none_or(|name| *name == run.schedule)
                    && let Some(id) = keys::read_id(&key)
                {
                    items.push(run_json(id, &run));
                }
                to = key;
                if items.is_full() {
                    return Ok(Ok(items.page(Some(to))));
                }
            }
        }
        Ok(Ok(items.page(Some(to))))
    }

    pub(super) fn show_run(&mut self, id: Id) -> Result<Shown, Fault> {
        let run = self.tx.store.read::<Run>(&keys::id(id))?;
        Ok(run.map(|run| run_json(id, &run).into()).ok_or_else(|| not_found("run", id)))
    }
}

fn run_json(id: Id, run: &Run) -> Json {
    json!({
        "id": id.to_string(),
        "schedule": run.schedule,
        "planned": run.planned.to_string(),
        "trigger": run.trigger.name(),
        "start": run.started.to_string(),
        "end": time(run.ended),
        "outcome": run.outcome.name(),
        "counts": run.counts,
        "error": run.error,
        "note": run.note,
        "term": run.term,
    })
}
