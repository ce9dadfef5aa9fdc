//! One scripted history, and a crash at each of its commits and at some places of the apply: what was
//! acknowledged is there, and says what it said.

use std::collections::BTreeMap;

use duebox::engine::Handled;
use duebox::engine::command::{
    Act, Audience, ClaimRequest, Command, Effect, NoticeDraft, Recipient, Reply, Settlement,
    TaskDraft, Verdict,
};
use duebox::engine::query::Query;
use duebox::id::Id;
use duebox::kv::memory::MemoryKv;
use duebox::model::rules::Action;
use duebox::store::{self, Store};
use duebox::time::{MINUTE_MS, SECOND_MS};

use super::provider::answered;
use super::rules;
use super::world::{Stepped, World};

/// What is there, by its name.
type Rows = BTreeMap<String, Row>;

/// What a row says that no crash may change.
#[derive(Debug, PartialEq, Eq)]
enum Row {
    /// All of a task: a crash touches none.
    Task(serde_json::Value),
    /// Deliveries of a notice by state; those on the wire become due again, or doubtful.
    Notice(BTreeMap<String, u64>),
}

/// A history under way: what was acknowledged, and what it said after each commit.
#[derive(Default)]
struct Script {
    notices: Vec<Id>,
    tasks: Vec<Id>,
    seen: BTreeMap<u64, Rows>,
}

impl Script {
    fn run(&mut self, world: &mut World, command: Command) -> Stepped {
        let stepped = world.run(command);
        self.see(world);
        stepped
    }

    fn ask(&mut self, world: &mut World, command: Command) -> duebox::engine::Decision {
        match self.run(world, command).handled {
            Handled::Now(decision) => decision,
            Handled::Waits(waiter) => panic!("waits as {waiter}"),
        }
    }

    fn see(&mut self, world: &mut World) {
        let commit = world.journal.last().unwrap().0;
        let rows = self.rows(world);
        self.seen.insert(commit, rows);
    }

    fn rows(&self, world: &mut World) -> Rows {
        let mut rows = Rows::new();
        for id in &self.tasks {
            rows.insert(format!("task {id}"), Row::Task(glance(world, Query::Task(*id))));
        }
        for id in &self.notices {
            let notice = glance(world, Query::Notice(*id));
            let mut counts = BTreeMap::new();
            for (state, count) in notice["counts"].as_object().unwrap() {
                let open = ["pending", "sending", "in_doubt"].contains(&state.as_str());
                let state = if open { "open" } else { state };
                *counts.entry(state.to_owned()).or_default() += count.as_u64().unwrap();
            }
            rows.insert(format!("notice {id}"), Row::Notice(counts));
        }
        rows
    }
}

/// A document, without a turn that could change anything.
fn glance(world: &mut World, query: Query) -> serde_json::Value {
    let now = world.now;
    let name = format!("{query:?}");
    match world.engine.handle(now, Command::Query(query)).unwrap() {
        Handled::Now(Ok(Reply::View(view))) => {
            serde_json::from_str(&view.document().unwrap()).unwrap()
        }
        other => panic!("{name}: {other:?}"),
    }
}

fn person(n: u32) -> Recipient {
    Recipient { openid: format!("o{n}"), ..Recipient::default() }
}

fn notice(audience: Audience) -> Command {
    Command::SubmitNotice(Box::new(NoticeDraft {
        tenant: "a".to_owned(),
        template: "strict".to_owned(),
        audience,
        ..NoticeDraft::default()
    }))
}

fn task(n: u64) -> TaskDraft {
    let delay_ms = Some(n * SECOND_MS);
    TaskDraft { kind: "q".to_owned(), payload: n.to_string(), delay_ms, ..TaskDraft::default() }
}

/// About forty steps that touch everything.
fn script(world: &mut World) -> Script {
    let mut script = Script::default();
    let mut jobs = Vec::new();
    let mut streamed = Id(0);
    for round in 0..8u32 {
        let inline = Audience::Inline((0..4).map(person).collect());
        let audience = if round % 4 == 0 { Audience::Stream } else { inline };
        let streams = matches!(audience, Audience::Stream);
        let stepped = script.run(world, notice(audience));
        let Handled::Now(Ok(Reply::Notice { id, .. })) = stepped.handled else {
            panic!("{stepped:?}")
        };
        jobs.extend(stepped.effects);
        script.notices.push(id);
        script.see(world);
        if streams {
            streamed = id;
        }
        let recipients = (4 * round..4 * round + 3).map(person).collect();
        let done = round % 4 == 3;
        jobs.extend(
            script
                .run(world, Command::AddRecipients { notice: streamed, recipients, done })
                .effects,
        );
        for effect in jobs.drain(..jobs.len() / 2).collect::<Vec<_>>() {
            let Effect::Send(job) = effect else { continue };
            let tries = vec![answered(world.now, if round % 2 == 0 { 0 } else { 43004 })];
            let command = Command::SettleSend { delivery: job.delivery, fence: job.fence, tries };
            jobs.extend(script.run(world, command).effects);
        }
        let items = (0..3).map(task).collect();
        let added = script.ask(world, Command::AddTasks { items, atomic: true });
        let Ok(Reply::Tasks(added)) = added else { panic!("not added") };
        script.tasks.extend(added.into_iter().map(|one| one.unwrap().id));
        script.see(world);
        let request = ClaimRequest { kind: "q".to_owned(), max: 2, ..ClaimRequest::default() };
        if let Ok(Reply::Claimed(tasks)) = script.ask(world, Command::Claim(request)) {
            for (at, one) in tasks.into_iter().enumerate() {
                let verdict = if at == 0 { Verdict::Ack } else { Verdict::Reject { reason: None } };
                let item = Settlement { task: one.id, claim: one.claim, verdict };
                script.ask(world, Command::Settle(vec![item])).unwrap().settled();
            }
        }
        let act = [Act::Pause, Act::Resume, Act::Cancel][round as usize % 3].clone();
        let _ = script.ask(world, Command::Act { notice: id, act });
        jobs.extend(world.pass(if round % 3 == 0 { MINUTE_MS } else { SECOND_MS }));
        script.see(world);
        if round % 2 == 0 {
            world.maintain();
        }
    }
    script
}

trait Answer {
    fn settled(self);
}

impl Answer for Reply {
    fn settled(self) {
        let Reply::Settled(answers) = self else { panic!("{self:?}") };
        assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    }
}

/// The ids of the rows of a kind.
fn named(rows: &Rows, kind: &str) -> Vec<Id> {
    let ids = rows.keys().filter_map(|name| name.strip_prefix(kind)?.strip_prefix(' '));
    ids.map(|id| id.parse().unwrap()).collect()
}

#[test]
fn every_commit_may_be_the_last() {
    let payload = "null".to_owned();
    let rules = rules::schedule(Action::Task { kind: "q".to_owned(), priority: 0, payload });
    let mut world = World::new(0, rules);
    let script = script(&mut world);
    let journal = world.journal.clone();
    assert!(journal.len() > 40, "{}", journal.len());
    let now = world.now;
    let mut compared = 0;
    for commits in 1..=journal.len() {
        // All of the first third is in the base; of the rest the apply was cut off somewhere.
        let kept = commits / 3;
        for prefix in [0, 1, 7, usize::MAX] {
            let base = MemoryKv::new();
            let mut below = Store::new(std::sync::Arc::new(base.clone()), 0);
            for (number, writes) in &journal[..commits] {
                if *number <= kept as u64 {
                    duebox::kv::Kv::apply(&base, writes).unwrap();
                    duebox::kv::Kv::apply(&base, &[store::applied_write(*number)]).unwrap();
                    below = Store::new(std::sync::Arc::new(base.clone()), *number);
                    continue;
                }
                for write in writes {
                    let tree = store::schema::Tree::from_number(write.tree.0).unwrap();
                    match &write.value {
                        Some(value) => below.put(tree, write.key.clone(), value.clone()),
                        None => below.delete(tree, &write.key),
                    }
                }
                below.end_group();
            }
            let table = below.freeze();
            let part: Vec<_> = table.writes().take(prefix).collect();
            duebox::kv::Kv::apply(&base, &part).unwrap();
            world.journal = journal[..commits].to_vec();
            world.now = now;
            world.recover(base);
            let last = journal[commits - 1].0;
            if let Some(seen) = script.seen.get(&last) {
                let known = Script {
                    notices: named(seen, "notice"),
                    tasks: named(seen, "task"),
                    ..Script::default()
                };
                assert_eq!(&known.rows(&mut world), seen, "after commit {last}, {prefix} rows");
                compared += seen.len();
            }
            world.pass(MINUTE_MS);
        }
    }
    assert!(compared > 1_000, "{compared}");
}
