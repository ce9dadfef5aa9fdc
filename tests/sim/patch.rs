//! A notice that is changed while it is sent: for whoever has not got it, and never for who has.

use std::collections::BTreeMap;

use duebox::engine::command::{Act, Command, NoticeDraft, NoticePatch, SendJob};
use duebox::engine::query::{LogFilter, Page, Query};
use duebox::engine::refusal::Code;
use duebox::id::Id;
use duebox::model::attempt::Class;
use duebox::store::Order;
use duebox::time::{MINUTE_MS, SECOND_MS};

use super::behaviour::{accept_all, count, draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

fn values(text: &str) -> BTreeMap<String, String> {
    BTreeMap::from([("thing1".to_owned(), text.to_owned())])
}

fn begin(world: &mut World, draft: NoticeDraft) -> (Id, Vec<SendJob>) {
    let stepped = world.run(submit(draft));
    let duebox::engine::Handled::Now(reply) = stepped.handled else { panic!() };
    (notice_id(reply.unwrap()), sends(stepped.effects))
}

fn says(text: &str) -> NoticePatch {
    NoticePatch { data: Some(values(text)), ..NoticePatch::default() }
}

#[test]
fn a_wrong_value_is_mended_in_the_middle_and_everybody_gets_one_message() {
    let mut world = World::new(0, rules::outbox());
    let (id, mut jobs) = begin(&mut world, NoticeDraft { data: values("wrong"), ..draft("a", 30) });
    let mut got = BTreeMap::new();
    // Three got it, then WeChat says that the value is not allowed.
    for _ in 0..3 {
        let job = jobs.remove(0);
        got.insert(job.delivery.number, job.body.clone());
        jobs.extend(settle(&mut world, &job, Class::Ok, Some(0)));
    }
    for job in std::mem::take(&mut jobs) {
        jobs.extend(settle(&mut world, &job, Class::Notice, Some(40066)));
    }
    let refused = count(&mut world, id, "refused");
    assert!(refused > 0 && jobs.is_empty());
    assert_eq!(world.look(Query::Notice(id))["state"], "paused");
    world.pass(SECOND_MS);
    world.ask(Command::Patch { notice: id, patch: Box::new(says("right")) }).unwrap();
    world.crash(usize::MAX);
    world.pass(SECOND_MS);
    assert_eq!(count(&mut world, id, "refused"), 0, "they were refused for what it said before");
    let mut jobs = sends(world.run(Command::Act { notice: id, act: Act::Resume }).effects);
    while let Some(job) = jobs.pop() {
        assert!(job.body.contains("right"), "{}", job.body);
        assert!(got.insert(job.delivery.number, job.body.clone()).is_none(), "{}", job.delivery);
        jobs.extend(settle(&mut world, &job, Class::Ok, Some(0)));
    }
    assert_eq!((got.len(), count(&mut world, id, "accepted")), (30, 30));
    // The send log shows each attempt as it was made.
    let (filter, page) = (LogFilter { notice: Some(id), ..LogFilter::default() }, Page::default());
    let log = world.look(Query::Log { filter, order: Order::Ascending, page });
    for entry in log["items"].as_array().unwrap() {
        let said = entry["request"]["data"]["thing1"]["value"].as_str().unwrap();
        let first = entry["attempt"] == 1 && entry["at"] == log["items"][0]["at"];
        assert_eq!(said, if first { "wrong" } else { "right" }, "{entry}");
    }
}

#[test]
fn when_it_is_sent_and_until_when_may_change_before_it_began() {
    let mut world = World::new(0, rules::outbox());
    let at = world.now.plus(10 * MINUTE_MS);
    let (id, _) = begin(&mut world, NoticeDraft { send_at: Some(at), ..draft("a", 2) });
    let when = |send_at: u64, expires_at: u64| NoticePatch {
        send_at: Some(super::world::BEGIN.plus(send_at * MINUTE_MS)),
        expires_at: Some(super::world::BEGIN.plus(expires_at * MINUTE_MS)),
        ..NoticePatch::default()
    };
    let wrong =
        world.ask(Command::Patch { notice: id, patch: Box::new(when(30, 20)) }).unwrap_err();
    assert_eq!(wrong.fields[0].0, "/expires_at");
    world.ask(Command::Patch { notice: id, patch: Box::new(when(30, 40)) }).unwrap();
    assert!(sends(world.pass(20 * MINUTE_MS)).is_empty(), "the old time is none any more");
    let jobs = sends(world.pass(10 * MINUTE_MS));
    assert_eq!(jobs.len(), 2);
    let begun =
        world.ask(Command::Patch { notice: id, patch: Box::new(when(50, 60)) }).unwrap_err();
    assert_eq!((begun.code, begun.fields[0].0.as_str()), (Code::WrongState, "/send_at"));
    accept_all(&mut world, jobs);
    world.pass(20 * MINUTE_MS);
    assert_eq!(count(&mut world, id, "accepted"), 2);
}

#[test]
fn what_cannot_be_said_is_refused_and_nothing_changes() {
    let mut world = World::new(0, rules::outbox());
    let later = Some(world.now.plus(MINUTE_MS));
    let draft = NoticeDraft { data: values("as it was"), send_at: later, ..draft("a", 1) };
    let (id, _) = begin(&mut world, draft);
    let other = NoticePatch { template: Some("nothing".into()), ..NoticePatch::default() };
    for (patch, pointer) in [(says(&"x".repeat(21)), "/data/thing1"), (other, "/template")] {
        let wrong = world.ask(Command::Patch { notice: id, patch: Box::new(patch) }).unwrap_err();
        assert_eq!(wrong.fields[0].0, pointer);
    }
    let loose = NoticePatch { template: Some("loose".into()), ..says(&"x".repeat(30)) };
    world.ask(Command::Patch { notice: id, patch: Box::new(loose) }).unwrap();
    let shown = world.look(Query::Notice(id));
    assert_eq!((&shown["template"], &shown["template_id"]), (&"loose".into(), &"TPL-L".into()));
    let cut = shown["data"]["thing1"].as_str().unwrap().chars().count();
    assert_eq!(cut, 20);
    for _ in 0..3 {
        world.ask(Command::Patch { notice: id, patch: Box::new(says("again")) }).unwrap();
    }
    world.ask(Command::Act { notice: id, act: Act::Cancel }).unwrap();
    let gone = world.ask(Command::Patch { notice: id, patch: Box::new(says("late")) }).unwrap_err();
    assert_eq!(gone.code, Code::WrongState);
}
