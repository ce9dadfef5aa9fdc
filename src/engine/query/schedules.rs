//! Schedules and runs as people see them.

use super::super::Engine;
use super::super::refusal::not_found;
use super::super::view::{At, IdText, Listed, RunView, ScheduleView, Word};
use super::page::{Page, SCAN_ROWS, Shown, cursor, limit};
use super::rows::Rows;
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::model::run::{Run, ScheduleRow};
use crate::store::keys;
use crate::store::schema::Tree;
use crate::store::{Order, codec};

impl<K: Kv> Engine<K> {
    pub(super) fn list_schedules(&mut self) -> Result<Listed<ScheduleView>, Fault> {
        let mut items = Rows::whole();
        for (name, rule) in &self.tx.rules.schedules {
            let row = self.tx.store.read::<ScheduleRow>(name.as_bytes())?.unwrap_or_default();
            items.push(ScheduleView {
                name: name.clone(),
                cron: rule.cron.expr().to_owned(),
                timezone: rule.cron.timezone().to_owned(),
                action: Word(rule.action.kind()),
                next: row.next.map(At),
                running: row.running.map(IdText),
                owed: row.owed.map(At),
                last_good: row.last_good.map(At),
            });
        }
        Ok(items.page(None))
    }

    pub(super) fn list_runs(
        &mut self,
        schedule: Option<String>,
        page: &Page,
    ) -> Result<Shown<Listed<RunView>>, Fault> {
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
                    items.push(run_view(id, run));
                }
                to = key;
                if items.is_full() {
                    return Ok(Ok(items.page(Some(to))));
                }
            }
        }
        Ok(Ok(items.page(Some(to))))
    }

    pub(super) fn show_run(&mut self, id: Id) -> Result<Shown<RunView>, Fault> {
        let run = self.tx.store.read::<Run>(&keys::id(id))?;
        Ok(run.map(|run| run_view(id, run)).ok_or_else(|| not_found("run", id)))
    }
}

fn run_view(id: Id, run: Run) -> RunView {
    RunView {
        id: IdText(id),
        planned: At(run.planned),
        trigger: Word(run.trigger),
        start: At(run.started),
        end: run.ended.map(At),
        outcome: Word(run.outcome),
        counts: run.counts.iter().map(|(tenant, one)| (tenant.clone(), one.into())).collect(),
        schedule: run.schedule,
        error: run.error,
        note: run.note,
        term: run.term,
    }
}
