//! What needs a person, as far as the engine knows.

pub mod list;
pub(super) mod watch;

use std::collections::BTreeMap;

use serde_json::json;

use super::Engine;
use super::mode::Mode;
use super::query::page::SCAN_ROWS;
use super::waits::{first_due_of, what_holds};
use crate::kv::{Fault, Kv};
use crate::model::attention::{Act, Kind, Row};
use crate::model::run::RunOutcome;
use crate::model::tenant::TenantState;
use crate::store::Order;
use crate::store::keys::{self, DeadItem, TenantNo, TypeNo};
use crate::store::schema::Tree;
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};

pub use list::{Attention, Died};

use list::SeenSince;
use watch::Watch;

/// Rows of one kind; more are summed up in one.
const ROWS_OF_A_KIND: usize = 100;
/// What has been due for so long is late.
const LATE_MS: u64 = 5 * MINUTE_MS;
/// Types whose lateness is looked at.
const TYPES: usize = 500;
/// Dead letters that are counted; more are "more than".
const DEAD: usize = 2_000;

impl<K: Kv> Engine<K> {
    /// The list now.
    pub(super) fn attention(&mut self, now: Timestamp) -> Result<Attention, Fault> {
        let mut rows = Vec::new();
        self.parked_tenants(now, &mut rows)?;
        self.troubled_notices(&mut rows)?;
        self.dead_letters(&mut rows)?;
        self.open_circuits(now, &mut rows);
        self.failing_schedules(&mut rows);
        self.late_work(now, &mut rows)?;
        self.jumped_clock(&mut rows);
        self.set_aside(now, &mut rows)?;
        self.remember_since(&mut rows);
        Ok(Attention { rows, died: self.watch.died })
    }

    /// A trouble that does not know when it began did so when it was first seen.
    fn remember_since(&mut self, rows: &mut [Row]) {
        let mut seen = SeenSince::new();
        for row in rows {
            let key = (row.kind, row.subject.clone());
            row.since = self.seen_since.get(&key).copied().unwrap_or(row.since);
            seen.insert(key, row.since);
        }
        self.seen_since = seen;
    }

    fn parked_tenants(&self, now: Timestamp, rows: &mut Vec<Row>) -> Result<(), Fault> {
        for (number, name) in self.tx.names.tenants() {
            if !self.tx.rules.tenants.contains_key(name) {
                continue;
            }
            let state = self.tx.store.read::<TenantState>(&keys::tenant_state(number))?;
            let Some(state) = state else { continue };
            let rests = state.hold_until > now;
            if !rests && state.refusals == 0 {
                continue;
            }
            let why = state.hold_reason.as_deref().unwrap_or("its last sends failed");
            let next = if rests {
                format!("one send is tried at {}", state.hold_until)
            } else {
                "its next send goes alone, as a try".to_owned()
            };
            rows.push(Row {
                kind: Kind::TenantParked,
                subject: name.to_owned(),
                tenant: Some(name.to_owned()),
                since: now,
                sentence: format!(
                    "Tenant {name} rests, nothing of it is sent: {why}. {}{}. Mend the cause, then \
                     resume it to go on at once.",
                    next[..1].to_uppercase(),
                    &next[1..]
                ),
                acts: vec![
                    Act::post("resume", format!("/v1/tenants/{name}/resume"), None),
                    Act::show("/v1/tenants"),
                ],
            });
        }
        Ok(())
    }

    fn troubled_notices(&mut self, rows: &mut Vec<Row>) -> Result<(), Fault> {
        let troubled = |wanted: fn(&watch::Watched) -> bool, watch: &Watch| -> Vec<_> {
            let all = watch.notices.iter().filter(|(_, it)| wanted(it));
            all.map(|(id, it)| (*id, it.clone())).collect()
        };
        let paused = troubled(|it| it.paused.is_some(), &self.watch);
        let doubts = troubled(|it| it.in_doubt > 0, &self.watch);
        for (id, watched) in paused.iter().take(ROWS_OF_A_KIND) {
            let tenant = self.tx.names.tenant_name(watched.tenant).to_owned();
            let reason = watched.paused.as_deref().unwrap_or_default();
            let called = self.called(*id)?;
            let path = format!("/v1/notices/{id}");
            rows.push(Row {
                kind: Kind::NoticePaused,
                subject: id.to_string(),
                tenant: Some(tenant.clone()),
                since: watched.moved,
                sentence: format!(
                    "Notice {id}{called} of {tenant} is paused: {reason}. Resume or cancel it."
                ),
                acts: vec![
                    Act::show(path.clone()),
                    Act::post("resume", format!("{path}/resume"), None),
                    Act::post("cancel", format!("{path}/cancel"), None),
                ],
            });
        }
        if let Some(more) = paused.len().checked_sub(ROWS_OF_A_KIND).filter(|more| *more > 0) {
            rows.push(summed(
                Kind::NoticePaused,
                paused[ROWS_OF_A_KIND].1.moved,
                &format!(
                    "{more} more notices are paused; GET /v1/notices?state=paused lists them."
                ),
                "/v1/notices?state=paused",
            ));
        }
        for (id, watched) in doubts.iter().take(ROWS_OF_A_KIND) {
            let tenant = self.tx.names.tenant_name(watched.tenant).to_owned();
            let (called, count) = (self.called(*id)?, watched.in_doubt);
            rows.push(Row {
                kind: Kind::InDoubt,
                subject: id.to_string(),
                tenant: Some(tenant.clone()),
                since: watched.moved,
                sentence: format!(
                    "{count} of notice {id}{called} of {tenant} {} in doubt: their answers were lost, so \
                     they may have been shown or not. Resolve each as accepted, refused or resend, \
                     or send all of them again if twice is better than not at all.",
                    if count == 1 { "is" } else { "are" }
                ),
                acts: vec![
                    Act::show(format!("/v1/deliveries?state=in_doubt&notice={id}")),
                    Act::post(
                        "send again",
                        format!("/v1/notices/{id}/resend"),
                        Some(json!({"states": ["in_doubt"]})),
                    ),
                ],
            });
        }
        if let Some(more) = doubts.len().checked_sub(ROWS_OF_A_KIND).filter(|more| *more > 0) {
            rows.push(summed(Kind::InDoubt, doubts[ROWS_OF_A_KIND].1.moved, &format!(
                "Deliveries of {more} more notices are in doubt; GET /v1/deliveries?state=in_doubt \
                 lists them."
            ), "/v1/deliveries?state=in_doubt"));
        }
        Ok(())
    }

    /// What people call a notice: its title, in brackets.
    fn called(&mut self, id: crate::id::Id) -> Result<String, Fault> {
        let body = self.outbox.body(&mut self.tx, id)?;
        Ok(body.title.as_ref().map_or_else(String::new, |title| format!(" ({title})")))
    }

    fn dead_letters(&self, rows: &mut Vec<Row>) -> Result<(), Fault> {
        let order = Order::Ascending;
        let found = self.tx.store.scan(Tree::Dead, &[], &[0xff; 9], order, DEAD)?;
        let all = found.len() < DEAD;
        let mut kinds: BTreeMap<&str, (usize, Timestamp)> = BTreeMap::new();
        for (key, _) in &found {
            let Some((died, item)) = keys::read_dead(key) else { continue };
            let kind = match item {
                DeadItem::Task(_) => "task",
                DeadItem::Delivery(..) => "delivery",
                DeadItem::Notice(_) => "notice",
            };
            kinds.entry(kind).or_insert((0, died)).0 += 1;
        }
        for (kind, (count, since)) in kinds {
            let at_least = if all { "" } else { "at least " };
            let (what, help) = match kind {
                "task" => ("tasks were given up", "Mend their consumer and redrive them"),
                "delivery" => ("messages were given up", "Mend the cause and redrive them"),
                _ => (
                    "pulled notices were refused and are kept",
                    "Mend and redrive each, or delete it",
                ),
            };
            let mut acts = vec![Act::show(format!("/v1/dead?kind={kind}"))];
            if kind != "notice" {
                let body = json!({"all": true, "dry_run": true});
                acts.push(Act::post("count all", "/v1/dead/redrive", Some(body)));
                acts.push(Act::post("redrive all", "/v1/dead/redrive", Some(json!({"all": true}))));
            }
            rows.push(Row {
                kind: Kind::DeadLetters,
                subject: kind.to_owned(),
                tenant: None,
                since,
                sentence: format!(
                    "{at_least}{count} {what}, the first at {since}. {help}; what nobody redrives is \
                     forgotten after {} days.",
                    self.tx.rules.retention.dead_ms / crate::time::DAY_MS
                ),
                acts,
            });
        }
        Ok(())
    }

    fn open_circuits(&self, now: Timestamp, rows: &mut Vec<Row>) {
        let open = self.queue.states.iter().filter(|(_, state)| state.rest_until > now);
        for (kind, state) in open.take(ROWS_OF_A_KIND) {
            let name = self.tx.names.kind_name(*kind);
            let error = state.last_error.as_deref().unwrap_or("no answer");
            rows.push(Row {
                kind: Kind::CircuitOpen,
                subject: name.to_owned(),
                tenant: None,
                since: now,
                sentence: format!(
                    "The consumer of type {name} failed {} times in a row ({error}): nothing is pushed to \
                     it before {}. Mend it, then resume the queue to go on at once.",
                    state.failures, state.rest_until
                ),
                acts: vec![
                    Act::post("resume", format!("/v1/queues/{name}/resume"), None),
                    Act::show("/v1/queues"),
                ],
            });
        }
    }

    fn failing_schedules(&self, rows: &mut Vec<Row>) {
        for (name, last) in &self.watch.runs {
            let words = match last.outcome {
                RunOutcome::Failed => "failed",
                RunOutcome::Partly => "lost a part, which was refused and is kept",
                _ => continue,
            };
            if !self.tx.rules.schedules.contains_key(name) {
                continue;
            }
            let error = last.error.as_deref().unwrap_or("see its counts");
            let mut acts = vec![
                Act::show(format!("/v1/runs/{}", last.id)),
                Act::post("run now", format!("/v1/schedules/{name}/run"), None),
            ];
            if last.outcome == RunOutcome::Partly {
                acts.insert(0, Act::show("/v1/dead?kind=notice"));
            }
            rows.push(Row {
                kind: Kind::ScheduleFails,
                subject: name.clone(),
                tenant: None,
                since: last.ended,
                sentence: format!(
                    "The last run of schedule {name} {words}: {error}. Mend the cause; the next run asks \
                     again for what this one missed, or run it now."
                ),
                acts,
            });
        }
    }

    fn late_work(&mut self, now: Timestamp, rows: &mut Vec<Row>) -> Result<(), Fault> {
        if self.tx.mode != Mode::Working {
            return Ok(());
        }
        let kinds: Vec<(TypeNo, String)> =
            self.tx.names.kinds().take(TYPES).map(|(kind, name)| (kind, name.to_owned())).collect();
        for (kind, name) in kinds {
            let late_ms = self.late_ms(now, kind)?;
            if late_ms < LATE_MS {
                continue;
            }
            rows.push(Row {
                kind: Kind::Late,
                subject: name.clone(),
                tenant: None,
                since: now.minus(late_ms),
                sentence: format!(
                    "A task of type {name} has been due for {} and nobody has taken it. Look whether its \
                     consumers run and keep up.",
                    in_words(late_ms)
                ),
                acts: vec![
                    Act::show("/v1/queues"),
                    Act::show(format!("/v1/tasks?type={name}&state=pending")),
                ],
            });
        }
        let tenants: Vec<(TenantNo, String)> =
            self.tx.names.tenants().map(|(number, name)| (number, name.to_owned())).collect();
        for (number, name) in tenants {
            let parked = rows.iter().any(|row| row.key() == (Kind::TenantParked, &name));
            let holds = what_holds(&self.tx, now, number, false)?.is_some();
            let first = first_due_of(&mut self.tx, number)?.filter(|_| !holds);
            let late_ms = first.map_or(0, |due| now.since(due));
            if parked || late_ms < LATE_MS || !self.tx.rules.tenants.contains_key(&name) {
                continue;
            }
            rows.push(Row {
                kind: Kind::Late,
                subject: name.clone(),
                tenant: Some(name.clone()),
                since: now.minus(late_ms),
                sentence: format!(
                    "A notice of {name} has been due for {} and waits for its turn: its rate or \
                     concurrency is too low for what is sent.",
                    in_words(late_ms)
                ),
                acts: vec![Act::show("/v1/tenants")],
            });
        }
        Ok(())
    }

    fn jumped_clock(&self, rows: &mut Vec<Row>) {
        let Some(trouble) = self.clock_trouble() else { return };
        let direction = if trouble.forward { "forward" } else { "back" };
        rows.push(Row {
            kind: Kind::ClockJumped,
            subject: "clock".to_owned(),
            tenant: None,
            since: trouble.since,
            sentence: format!(
                "The machine's clock jumped {direction} by {}. Look whether it is right now and why it \
                 jumped; nothing is deleted and nothing expires until it has gone steadily for a while.",
                in_words(trouble.by_ms)
            ),
            acts: Vec::new(),
        });
    }

    fn set_aside(&self, now: Timestamp, rows: &mut Vec<Row>) -> Result<(), Fault> {
        let order = Order::Ascending;
        let found = self.tx.store.scan(Tree::Quarantine, &[], &[0xff; 9], order, SCAN_ROWS)?;
        if found.is_empty() {
            return Ok(());
        }
        rows.push(Row {
            kind: Kind::Quarantine,
            subject: "quarantine".to_owned(),
            tenant: None,
            since: now,
            sentence: format!(
                "{} damaged rows were set aside: what they stood for is not done. Look at them, and at \
                 the disk.",
                found.len()
            ),
            acts: vec![Act::show("/v1/quarantine")],
        });
        Ok(())
    }
}

fn summed(kind: Kind, since: Timestamp, sentence: &str, path: &str) -> Row {
    Row {
        kind,
        subject: "more".to_owned(),
        tenant: None,
        since,
        sentence: sentence.to_owned(),
        acts: vec![Act::show(path)],
    }
}

/// A span in words, as long as it takes.
fn in_words(ms: u64) -> String {
    const UNITS: [(u64, &str); 4] = [
        (24 * 60 * MINUTE_MS, "days"),
        (60 * MINUTE_MS, "hours"),
        (MINUTE_MS, "minutes"),
        (SECOND_MS, "seconds"),
    ];
    let found = UNITS.iter().find(|(unit, _)| ms >= 2 * unit);
    found.map_or_else(|| format!("{ms} ms"), |(unit, name)| format!("{} {name}", ms / unit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_told_in_the_largest_unit_that_fits_twice() {
        assert_eq!(in_words(119_000), "119 seconds");
        assert_eq!(in_words(120_000), "2 minutes");
        assert_eq!(in_words(86_400_000), "24 hours");
        assert_eq!(in_words(900), "900 ms");
    }
}
