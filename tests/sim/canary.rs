//! The first few of a notice, and what becomes of the rest.

use duebox::engine::Handled;
use duebox::engine::command::{Act, Command, NoticeDraft, SendJob};
use duebox::engine::query::Query;
use duebox::id::Id;
use duebox::model::attempt::Class;
use duebox::model::notice::CanaryRule;
use duebox::time::{HOUR_MS, MINUTE_MS, SECOND_MS};

use super::behaviour::{accept_all, count, draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

const RULE: CanaryRule =
    CanaryRule { first: 10, refused: Some(20), in_doubt: Some(5), wait_ms: 2 * MINUTE_MS };

fn begin(world: &mut World, people: usize) -> (Id, Vec<SendJob>) {
    let stepped = world.run(submit(NoticeDraft { canary: Some(RULE), ..draft("a", people) }));
    let Handled::Now(reply) = stepped.handled else { panic!() };
    (notice_id(reply.unwrap()), sends(stepped.effects))
}

/// Refuses the first so many, accepts the others.
fn refuse(world: &mut World, mut jobs: Vec<SendJob>, mut refused: usize) -> usize {
    let mut seen = 0;
    while let Some(job) = jobs.pop() {
        seen += 1;
        let (class, code) = if refused > 0 {
            refused -= 1;
            (Class::Recipient, 43004)
        } else {
            (Class::Ok, 0)
        };
        jobs.extend(settle(world, &job, class, Some(code)));
    }
    seen
}

#[test]
fn the_rest_follows_when_the_first_did_well_also_over_a_crash() {
    let mut world = World::new(0, rules::outbox());
    let (id, jobs) = begin(&mut world, 25);
    assert_eq!(refuse(&mut world, jobs, 2), 10, "no more than the first");
    let shown = world.look(Query::Notice(id));
    assert_eq!((&shown["canary"]["sent"], &shown["canary"]["left"]), (&10.into(), &0.into()));
    assert_eq!(shown["state"], "sending", "{shown}");
    world.crash(usize::MAX);
    assert!(sends(world.pass(MINUTE_MS)).is_empty(), "receipts are waited for");
    let jobs = sends(world.pass(2 * MINUTE_MS));
    accept_all(&mut world, jobs);
    assert_eq!((count(&mut world, id, "accepted"), count(&mut world, id, "refused")), (23, 2));
    let shown = world.look(Query::Notice(id));
    assert_eq!((&shown["state"], shown.get("canary")), (&"done".into(), None), "{shown}");
}

#[test]
fn whoever_is_gone_leaves_its_place_among_the_first_to_another() {
    let mut world = World::new(0, rules::outbox());
    let (id, jobs) = begin(&mut world, 25);
    assert_eq!(jobs.len(), 10);
    let mut more = Vec::new();
    for job in &jobs[..4] {
        let (delivery, fence) = (job.delivery, job.fence);
        more.extend(sends(world.run(Command::ReturnSend { delivery, fence, gone: true }).effects));
    }
    assert_eq!(more.len(), 4);
    let first = jobs.into_iter().skip(4).chain(more).collect();
    assert_eq!(refuse(&mut world, first, 0), 10);
    let jobs = sends(world.pass(3 * MINUTE_MS));
    accept_all(&mut world, jobs);
    assert_eq!((count(&mut world, id, "accepted"), count(&mut world, id, "skipped")), (21, 4));
}

#[test]
fn too_many_refused_stop_the_rest_until_somebody_resumes_it() {
    let mut world = World::new(0, rules::outbox());
    let (id, jobs) = begin(&mut world, 25);
    refuse(&mut world, jobs, 3);
    assert!(sends(world.pass(HOUR_MS)).is_empty());
    let shown = world.look(Query::Notice(id));
    assert_eq!(shown["state"], "paused", "{shown}");
    let why = shown["reason"].as_str().unwrap();
    assert!(why.contains("of the first 10, 3 were refused") && why.contains("30 %"), "{why}");
    assert_eq!(count(&mut world, id, "pending"), 15);
    world.crash(usize::MAX);
    assert!(sends(world.pass(HOUR_MS)).is_empty());
    let stepped = world.run(Command::Act { notice: id, act: Act::Resume });
    accept_all(&mut world, sends(stepped.effects));
    assert_eq!((count(&mut world, id, "accepted"), count(&mut world, id, "refused")), (22, 3));
}

#[test]
fn what_did_not_leave_gives_its_place_back_and_what_is_in_doubt_counts() {
    let mut world = World::new(0, rules::outbox());
    let (id, jobs) = begin(&mut world, 25);
    for job in &jobs {
        settle(&mut world, job, Class::Unreached, None);
    }
    let shown = world.look(Query::Notice(id));
    assert_eq!(shown["canary"]["decides_at"], serde_json::Value::Null, "{shown}");
    let mut answered = 0;
    let mut doubted = false;
    for _ in 0..40 {
        let mut jobs = sends(world.pass(30 * SECOND_MS));
        while let Some(job) = jobs.pop() {
            answered += 1;
            let class = if doubted { Class::Ok } else { Class::InDoubt };
            jobs.extend(settle(&mut world, &job, class, (class == Class::Ok).then_some(0)));
            doubted = true;
        }
    }
    let shown = world.look(Query::Notice(id));
    assert_eq!((answered, &shown["canary"]["in_doubt"]), (10, &1.into()), "{shown}");
    let why = shown["reason"].as_str().unwrap();
    assert!(why.contains("of the first 10, 1 had no clear answer"), "{why}");
}

#[test]
fn one_stopped_while_its_first_go_out_keeps_its_rule() {
    let mut world = World::new(0, rules::outbox());
    let (id, mut jobs) = begin(&mut world, 25);
    let held = jobs.split_off(2);
    world.ask(Command::Act { notice: id, act: Act::Pause }).unwrap();
    for job in held.iter().chain(&jobs) {
        settle(&mut world, job, Class::Unreached, None);
    }
    assert!(sends(world.pass(HOUR_MS)).is_empty());
    let mut jobs = sends(world.run(Command::Act { notice: id, act: Act::Resume }).effects);
    let mut answered = 0;
    for _ in 0..10 {
        answered += refuse(&mut world, jobs, 10);
        jobs = sends(world.pass(10 * SECOND_MS));
    }
    assert_eq!(answered, 10, "no more than the first");
    assert!(sends(world.pass(HOUR_MS)).is_empty());
    assert_eq!(world.look(Query::Notice(id))["state"], "paused");
    assert_eq!(count(&mut world, id, "pending"), 15);
}
