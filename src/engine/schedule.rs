//! Schedules: ticks, runs and their log. No two runs of one schedule at once, and no tick is lost.

use std::collections::BTreeMap;

use crate::engine::command::{Effect, PullJob, Reply, RunNow, TaskDraft};
use crate::engine::copy;
use crate::engine::mode::Mode;
use crate::engine::queue::Queue;
use crate::engine::refusal::{Code, Refusal, not_found};
use crate::engine::timer::Timer;
use crate::engine::tx::{Decision, Ticked, Tx};
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::rules::{Action, ScheduleRule};
use crate::model::run::{Run, RunCounts, RunOutcome, ScheduleRow, Trigger};
use crate::model::task::Terms;
use crate::store::schema::Tree;
use crate::store::{codec, keys};
use crate::text::cut;
use crate::time::Timestamp;

/// Missed ticks that are counted one by one; more are "many".
const COUNTED_TICKS: usize = 1_000;

fn key(name: &str) -> Vec<u8> {
    name.as_bytes().to_vec()
}

/// From when a new schedule's first pull asks, if the configuration says.
fn first_since(action: &Action) -> Option<Timestamp> {
    match action {
        Action::Pull { since, .. } => *since,
        Action::Task { .. } => None,
    }
}

/// Plans all schedules. A run that was cut off by the end of the last process is taken up
/// again; a tick that was missed meanwhile is still to come, since its time is kept.
pub(super) fn start_schedules<K: Kv>(tx: &mut Tx<K>, queue: &mut Queue) -> Result<(), Fault> {
    let names: Vec<String> = tx.rules.schedules.keys().cloned().collect();
    for name in names {
        let Some(rule) = tx.rules.schedules.get(&name).cloned() else { continue };
        let text = format!("{} {}", rule.cron.expr(), rule.cron.timezone());
        let mut row = tx.store.read::<ScheduleRow>(&key(&name))?.unwrap_or_default();
        if let Some(next) = row.next {
            tx.clear_timer(next, &Timer::Schedule(name.clone()));
        }
        if row.rule.is_empty() {
            // A new schedule asks for what comes from now on, not for a whole history.
            row.last_good = Some(first_since(&rule.action).unwrap_or(tx.now).min(tx.now));
        }
        if row.rule != text {
            row.rule = text;
            // A tick that was missed under the old rule is still owed.
            row.next = row.next.filter(|next| *next <= tx.now).or(rule.cron.next_after(tx.now));
        }
        plan_anew(tx, &name, &rule, &mut row);
        if let Some(next) = row.next {
            tx.set_timer(next, &Timer::Schedule(name.clone()));
        }
        if tx.mode == Mode::Working {
            take_up(tx, queue, &name, &rule, &mut row)?;
        }
        tx.store.write(key(&name), &row);
    }
    Ok(())
}

/// The clock went back: what it planned meanwhile lies further away than the rule says.
pub(super) fn plan_schedules_anew<K: Kv>(tx: &mut Tx<K>) -> Result<(), Fault> {
    let names: Vec<String> = tx.rules.schedules.keys().cloned().collect();
    for name in names {
        let Some(rule) = tx.rules.schedules.get(&name).cloned() else { continue };
        let Some(mut row) = tx.store.read::<ScheduleRow>(&key(&name))? else { continue };
        let before = row.clone();
        if let Some(next) = row.next {
            tx.clear_timer(next, &Timer::Schedule(name.clone()));
        }
        plan_anew(tx, &name, &rule, &mut row);
        if let Some(next) = row.next {
            tx.set_timer(next, &Timer::Schedule(name.clone()));
        }
        if row != before {
            tx.store.write(key(&name), &row);
        }
    }
    Ok(())
}

/// A calendar rule is about the clock on the wall: a tick beyond the rule's own next one was
/// planned by a clock that was ahead, and so was a last run that lies in the future.
fn plan_anew<K: Kv>(tx: &mut Tx<K>, name: &str, rule: &ScheduleRule, row: &mut ScheduleRow) {
    row.last_good = row.last_good.map(|at| at.min(tx.now));
    let next = rule.cron.next_after(tx.now);
    if let (Some(kept), Some(right)) = (row.next, next)
        && kept > right
    {
        tracing::warn!(event = "schedule.planned_anew", schedule = name, %kept, next = %right,
            "the clock was ahead when its next tick was planned");
        row.next = next;
    }
}

/// Takes up a run that was cut off; or else the one that is owed, when the run before it ended
/// while the daemon was stopping.
fn take_up<K: Kv>(
    tx: &mut Tx<K>,
    queue: &mut Queue,
    name: &str,
    rule: &ScheduleRule,
    row: &mut ScheduleRow,
) -> Result<(), Fault> {
    if let Some(cut_off) = row.running.take() {
        let planned = interrupt_run(tx, cut_off)?;
        begin_run(tx, queue, name, rule, row, planned, Trigger::Restart, None, None)?;
    } else if let Some(planned) = row.owed.take() {
        begin_run(tx, queue, name, rule, row, planned, Trigger::FollowUp, None, None)?;
    }
    Ok(())
}

fn interrupt_run<K: Kv>(tx: &mut Tx<K>, id: Id) -> Result<Timestamp, Fault> {
    let Some(mut run) = tx.store.read::<Run>(&keys::id(id))? else { return Ok(tx.now) };
    run.outcome = RunOutcome::Interrupted;
    run.ended = Some(tx.now);
    run.error = Some("the daemon ended during the run; it is taken up again".to_owned());
    let planned = run.planned;
    tx.store.write(keys::id(id), &run);
    Ok(planned)
}

pub(super) fn schedule_ticked<K: Kv>(
    tx: &mut Tx<K>,
    queue: &mut Queue,
    due: Timestamp,
    name: &str,
    ticked: &mut Ticked,
) -> Result<(), Fault> {
    // A daemon that does not work keeps its ticks: they are planned anew when it does.
    if tx.mode != Mode::Working {
        return Ok(());
    }
    let Some(rule) = tx.rules.schedules.get(name).cloned() else { return Ok(()) };
    let Some(mut row) = tx.store.read::<ScheduleRow>(&key(name))? else { return Ok(()) };
    if row.next.is_none_or(|next| next > tx.now) {
        return Ok(());
    }
    let (missed, next) = following_ticks(&rule, due, tx.now);
    row.next = next;
    if let Some(next) = next {
        tx.set_timer(next, &Timer::Schedule(name.to_owned()));
        ticked.wake_at(next);
    }
    let note = (missed > 0).then(|| format!("stands for {missed} later ticks as well"));
    if let Some(running) = row.running {
        coalesce(tx, due, name, &mut row, running, note);
    } else {
        let trigger = if due < tx.started { Trigger::CatchUp } else { Trigger::Cron };
        begin_run(tx, queue, name, &rule, &mut row, due, trigger, note, None)?;
    }
    tx.store.write(key(name), &row);
    Ok(())
}

/// A tick during a run: one follow-up run is owed, however many ticks there are.
fn coalesce<K: Kv>(
    tx: &mut Tx<K>,
    due: Timestamp,
    name: &str,
    row: &mut ScheduleRow,
    running: Id,
    note: Option<String>,
) {
    row.owed.get_or_insert(due);
    let more = note.map(|note| format!("; {note}")).unwrap_or_default();
    let run = Run {
        schedule: name.to_owned(),
        planned: due,
        trigger: Trigger::Cron,
        started: tx.now,
        ended: Some(tx.now),
        outcome: RunOutcome::Coalesced,
        counts: BTreeMap::new(),
        error: None,
        note: Some(format!("run {running} was under way: one follow-up run comes after it{more}")),
        term: tx.identity.term,
    };
    let id = tx.new_id();
    tx.store.create(Tree::Runs, keys::id(id), codec::encode(&run));
}

#[allow(clippy::too_many_arguments)]
fn begin_run<K: Kv>(
    tx: &mut Tx<K>,
    queue: &mut Queue,
    name: &str,
    rule: &ScheduleRule,
    row: &mut ScheduleRow,
    planned: Timestamp,
    trigger: Trigger,
    note: Option<String>,
    asked: Option<&RunNow>,
) -> Result<Id, Fault> {
    let wanted = asked.map_or(&[][..], |asked| &asked.tenants);
    let since = asked.and_then(|asked| asked.since);
    let id = tx.new_id();
    let mut run = Run {
        schedule: name.to_owned(),
        planned,
        trigger,
        started: tx.now,
        ended: None,
        outcome: RunOutcome::Running,
        counts: BTreeMap::new(),
        error: None,
        note,
        term: tx.identity.term,
    };
    match &rule.action {
        Action::Task { kind, priority, payload } => {
            let counts =
                add_scheduled_task(tx, queue, name, planned, trigger, kind, *priority, payload)?;
            run.error.clone_from(&counts.error);
            run.outcome = if run.error.is_some() { RunOutcome::Failed } else { RunOutcome::Done };
            run.ended = Some(tx.now);
            run.counts.insert("task".to_owned(), counts);
            row.last_good = Some(tx.now);
        }
        Action::Pull { tenants, overlap_ms, .. } => {
            row.running = Some(id);
            let usual = row.last_good.map(|at| at.minus(*overlap_ms));
            let last_run = since.or(usual);
            let asks_all = wanted.is_empty() || tenants.iter().all(|it| wanted.contains(it));
            tx.effects.push(Effect::Pull(PullJob {
                run: id,
                schedule: name.to_owned(),
                tenants: if wanted.is_empty() { tenants.clone() } else { wanted.to_vec() },
                last_run,
                last_good: row.last_good,
                held: copy::pull_is_held(tx, row.last_good.min(since.or(row.last_good)))?,
                whole: asks_all && since.is_none_or(|since| usual.is_some_and(|it| since <= it)),
            }));
        }
    }
    tx.store.create(Tree::Runs, keys::id(id), codec::encode(&run));
    Ok(id)
}

/// The task of a tick. Its key names the tick, so that a tick makes one task, ever; a manual
/// run makes one each time.
#[allow(clippy::too_many_arguments)]
fn add_scheduled_task<K: Kv>(
    tx: &mut Tx<K>,
    queue: &mut Queue,
    name: &str,
    planned: Timestamp,
    trigger: Trigger,
    kind: &str,
    priority: u8,
    payload: &str,
) -> Result<RunCounts, Fault> {
    let key = (trigger != Trigger::Manual).then(|| format!("schedule:{name}:{}", planned.0));
    let draft = TaskDraft {
        kind: kind.to_owned(),
        priority,
        payload: payload.to_owned(),
        terms: Terms { key, ..Terms::default() },
        // A consumer that is late learns which day it is for.
        due: Some(planned),
        ..TaskDraft::default()
    };
    let mut counts = RunCounts { found: 1, ..RunCounts::default() };
    match queue.add_task(tx, draft)? {
        Ok(task) if task.created => counts.submitted = 1,
        Ok(_) => counts.known = 1,
        Err(refusal) => {
            counts.refused = 1;
            counts.error = Some(refusal.detail);
        }
    }
    Ok(counts)
}

pub(super) fn run_schedule<K: Kv>(
    tx: &mut Tx<K>,
    queue: &mut Queue,
    asked: &RunNow,
) -> Result<Decision, Fault> {
    let name = asked.schedule.as_str();
    let Some(rule) = tx.rules.schedules.get(name).cloned() else {
        let known = tx.rules.schedules.keys().map(String::as_str);
        let advice = crate::near::advise(name, "there are", known);
        return Ok(Err(Refusal::new(
            Code::UnknownSchedule,
            format!("there is no schedule {name:?}; {advice}"),
        )));
    };
    if let Err(refusal) = check_asked(&rule.action, asked, tx.now) {
        return Ok(Err(refusal));
    }
    if tx.mode != Mode::Working {
        return Ok(Err(Refusal::new(Code::Held, "this daemon hands out no work now")));
    }
    let mut row = tx.store.read::<ScheduleRow>(&key(name))?.unwrap_or_default();
    if let Some(running) = row.running {
        return Ok(Err(Refusal::new(
            Code::Running,
            format!("run {running} of {name} is under way: two at once are never started"),
        )));
    }
    let now = tx.now;
    let note = note_of(asked);
    let asked = Some(asked);
    let run = begin_run(tx, queue, name, &rule, &mut row, now, Trigger::Manual, note, asked)?;
    tx.store.write(key(name), &row);
    Ok(Ok(Reply::Run(run)))
}

/// Whether a run can be what was asked for.
fn check_asked(action: &Action, asked: &RunNow, now: Timestamp) -> Result<(), Refusal> {
    let wrong = |pointer: &str, detail: String| Refusal::field(Code::Invalid, pointer, detail);
    let Action::Pull { tenants, .. } = action else {
        let field = match (asked.tenants.is_empty(), asked.since) {
            (true, None) => return Ok(()),
            (false, _) => "/tenants",
            (true, Some(_)) => "/since",
        };
        return Err(wrong(
            field,
            "this schedule adds a task and pulls nothing: leave it out".into(),
        ));
    };
    for (at, tenant) in asked.tenants.iter().enumerate() {
        if !tenants.contains(tenant) {
            let known = tenants.iter().map(String::as_str);
            let advice = crate::near::advise(tenant, "it asks for", known);
            let shown = cut(tenant, 80);
            let detail = format!("the schedule does not ask for {shown:?}; {advice}");
            return Err(wrong(&format!("/tenants/{at}"), detail));
        }
        if asked.tenants[..at].contains(tenant) {
            return Err(wrong(&format!("/tenants/{at}"), "name each tenant once".into()));
        }
    }
    match asked.since {
        Some(since) if since > now => Err(wrong("/since", format!("{since} is still to come"))),
        Some(_) | None => Ok(()),
    }
}

/// What is particular about a run that a person asked for.
fn note_of(asked: &RunNow) -> Option<String> {
    let tenants = (!asked.tenants.is_empty())
        .then(|| format!("asked for {} only", cut(&asked.tenants.join(", "), limits::TEXT_BYTES)));
    let since = asked.since.map(|since| format!("asked for what is new since {since}"));
    match (tenants, since) {
        (Some(tenants), Some(since)) => Some(format!("{tenants}; {since}")),
        (one, other) => one.or(other),
    }
}

pub(super) fn run_done<K: Kv>(
    tx: &mut Tx<K>,
    queue: &mut Queue,
    id: Id,
    counts: BTreeMap<String, RunCounts>,
    error: Option<String>,
    whole: bool,
) -> Result<Decision, Fault> {
    let Some(mut run) = tx.store.read::<Run>(&keys::id(id))? else {
        return Ok(Err(not_found("run", id)));
    };
    let name = run.schedule.clone();
    let mut row = tx.store.read::<ScheduleRow>(&key(&name))?.unwrap_or_default();
    if row.running != Some(id) {
        return Ok(Ok(Reply::Done));
    }
    run.ended = Some(tx.now);
    run.counts = bounded(counts);
    run.error = error.map(|error| cut(&error, limits::TEXT_BYTES).to_owned());
    let refused = run.counts.values().any(|one| one.refused > 0);
    run.outcome = match (&run.error, refused) {
        (Some(_), _) => RunOutcome::Failed,
        (None, true) => RunOutcome::Partly,
        (None, false) => RunOutcome::Done,
    };
    row.running = None;
    // What was refused is kept: the source need not be asked for it again.
    if run.error.is_none() && whole {
        row.last_good = Some(run.started);
    }
    tx.store.write(keys::id(id), &run);
    let rule = tx.rules.schedules.get(&name).cloned();
    if tx.mode == Mode::Working
        && let (Some(planned), Some(rule)) = (row.owed.take(), rule)
    {
        begin_run(tx, queue, &name, &rule, &mut row, planned, Trigger::FollowUp, None, None)?;
    }
    tx.store.write(key(&name), &row);
    Ok(Ok(Reply::Done))
}

/// Counts that fit a row: the first tenants one by one, the others summed.
fn bounded(counts: BTreeMap<String, RunCounts>) -> BTreeMap<String, RunCounts> {
    let mut kept: BTreeMap<String, RunCounts> = BTreeMap::new();
    for (tenant, mut one) in counts {
        one.error = one.error.map(|error| cut(&error, limits::RUN_ERROR_BYTES).to_owned());
        if kept.len() < limits::RUN_TENANTS {
            kept.insert(tenant, one);
            continue;
        }
        let others = kept.entry("(others)".to_owned()).or_default();
        others.found += one.found;
        others.submitted += one.submitted;
        others.known += one.known;
        others.refused += one.refused;
        others.error = others.error.take().or(one.error);
    }
    kept
}

/// How many ticks after `due` have passed by `now`, and the first one that has not.
fn following_ticks(
    rule: &ScheduleRule,
    due: Timestamp,
    now: Timestamp,
) -> (usize, Option<Timestamp>) {
    let (mut missed, mut at) = (0, due);
    while let Some(next) = rule.cron.next_after(at) {
        if next > now {
            return (missed, Some(next));
        }
        missed += 1;
        at = next;
        if missed == COUNTED_TICKS {
            return (missed, rule.cron.next_after(now));
        }
    }
    (missed, None)
}
