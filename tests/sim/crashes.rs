//! One scripted history, and a crash at each of its commits and at some places of the apply.

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
use super::world::World;

/// What was acknowledged, and by which commit.
struct Acknowledged {
    commit: u64,
    query: Query,
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
fn script(world: &mut World) -> Vec<Acknowledged> {
    let mut told = Vec::new();
    let mut tell = |world: &World, query| {
        let commit = world.journal.last().unwrap().0;
        told.push(Acknowledged { commit, query });
    };
    let mut jobs = Vec::new();
    let mut streamed = Id(0);
    for round in 0..8u32 {
        let inline = Audience::Inline((0..4).map(person).collect());
        let audience = if round % 4 == 0 { Audience::Stream } else { inline };
        let streams = matches!(audience, Audience::Stream);
        let stepped = world.run(notice(audience));
        let duebox::engine::Handled::Now(Ok(Reply::Notice { id, .. })) = stepped.handled else {
            panic!("{stepped:?}")
        };
        jobs.extend(stepped.effects);
        tell(world, Query::Notice(id));
        if streams {
            streamed = id;
        }
        let recipients = (4 * round..4 * round + 3).map(person).collect();
        let done = round % 4 == 3;
        jobs.extend(
            world.run(Command::AddRecipients { notice: streamed, recipients, done }).effects,
        );
        for effect in jobs.drain(..jobs.len() / 2).collect::<Vec<_>>() {
            let Effect::Send(job) = effect else { continue };
            let tries = vec![answered(world.now, if round % 2 == 0 { 0 } else { 43004 })];
            let command = Command::SettleSend { delivery: job.delivery, fence: job.fence, tries };
            jobs.extend(world.run(command).effects);
        }
        let items = (0..3).map(task).collect();
        let Ok(Reply::Tasks(added)) = world.ask(Command::AddTasks { items, atomic: true }) else {
            panic!("not added")
        };
        for one in added {
            tell(world, Query::Task(one.unwrap().id));
        }
        let request = ClaimRequest { kind: "q".to_owned(), max: 2, ..ClaimRequest::default() };
        if let Ok(Reply::Claimed(tasks)) = world.ask(Command::Claim(request)) {
            for (at, one) in tasks.into_iter().enumerate() {
                let verdict = if at == 0 { Verdict::Ack } else { Verdict::Reject { reason: None } };
                let item = Settlement { task: one.id, claim: one.claim, verdict };
                world.ask(Command::Settle(vec![item])).unwrap().settled();
            }
        }
        let act = [Act::Pause, Act::Resume, Act::Cancel][round as usize % 3].clone();
        let _ = world.ask(Command::Act { notice: id, act });
        jobs.extend(world.pass(if round % 3 == 0 { MINUTE_MS } else { SECOND_MS }));
        if round % 2 == 0 {
            world.maintain();
        }
    }
    told
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

#[test]
fn every_commit_may_be_the_last() {
    let payload = "null".to_owned();
    let rules = rules::schedule(Action::Task { kind: "q".to_owned(), priority: 0, payload });
    let mut world = World::new(0, rules);
    let told = script(&mut world);
    let journal = world.journal.clone();
    assert!(journal.len() > 40, "{}", journal.len());
    let now = world.now;
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
                    match &write.value {
                        Some(value) => below.put(write.tree, write.key.clone(), value.clone()),
                        None => below.delete(write.tree, &write.key),
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
            for one in told.iter().filter(|one| one.commit <= last) {
                let query = match &one.query {
                    Query::Notice(id) => Query::Notice(*id),
                    Query::Task(id) => Query::Task(*id),
                    other => panic!("{other:?}"),
                };
                world.look(query);
            }
            world.pass(MINUTE_MS);
        }
    }
}
