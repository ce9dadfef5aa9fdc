//! Audiences that are read from elsewhere: when, how far, again after a crash, and who came later.

use duebox::engine::Handled;
use duebox::engine::command::{
    Act, Audience, Command, Effect, NoticeDraft, Portion, Recipient, Reply, ResolveJob,
};
use duebox::engine::query::Query;
use duebox::engine::refusal::Code;
use duebox::id::Id;
use duebox::model::attempt::Class;
use duebox::model::audience::{Source, Sourcing};
use duebox::model::delivery::DeliveryState;
use duebox::time::{MINUTE_MS, SECOND_MS};

use super::behaviour::{accept_all, count, draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

fn from(source: Source) -> NoticeDraft {
    let sourcing = Sourcing { source, at_send: false, newcomers: false };
    NoticeDraft { audience: Audience::Source(sourcing), ..draft("a", 0) }
}

fn sourcing(draft: &mut NoticeDraft) -> &mut Sourcing {
    let Audience::Source(sourcing) = &mut draft.audience else { panic!() };
    sourcing
}

fn jobs(effects: &[Effect]) -> Vec<&ResolveJob> {
    let mut jobs = Vec::new();
    for effect in effects {
        if let Effect::Resolve(job) = effect {
            jobs.push(job);
        }
    }
    jobs
}

fn begin(world: &mut World, draft: NoticeDraft) -> (Id, Vec<Effect>) {
    let stepped = world.run(submit(draft));
    let Handled::Now(reply) = stepped.handled else { panic!() };
    let mut effects = stepped.effects;
    effects.extend(world.idle());
    (notice_id(reply.unwrap()), effects)
}

fn portion(job: (Id, u64), people: &[&str], resume: Option<&str>, done: bool) -> Command {
    let recipient =
        |openid: &&str| Recipient { openid: (*openid).to_owned(), ..Recipient::default() };
    Command::Resolved(Portion {
        notice: job.0,
        fence: job.1,
        recipients: people.iter().map(recipient).collect(),
        resume: resume.map(str::to_owned),
        expected: None,
        done,
    })
}

fn state(world: &mut World, id: Id) -> String {
    world.look(Query::Notice(id))["state"].as_str().unwrap().to_owned()
}

#[test]
fn an_audience_is_read_portion_by_portion_and_goes_on_where_it_was_after_a_crash() {
    let mut world = World::new(0, rules::outbox());
    let (id, effects) = begin(&mut world, from(Source::Followers));
    let [job] = jobs(&effects)[..] else { panic!("{effects:?}") };
    assert_eq!((job.resume.as_deref(), state(&mut world, id).as_str()), (None, "expanding"));
    let job = (id, job.fence);
    world.ask(portion(job, &["o1", "o2"], Some("o2"), false)).unwrap();
    world.ask(portion(job, &["o3"], Some("o2"), false)).unwrap();
    let shown = world.look(Query::Notice(id));
    assert_eq!(
        (&shown["audience"]["found"], &shown["audience"]["state"]),
        (&3.into(), &"reading".into())
    );
    world.crash(usize::MAX);
    let mut effects = world.idle();
    effects.extend(world.pass(SECOND_MS));
    let found = jobs(&effects);
    let [again] = found[..] else { panic!("{effects:?}") };
    assert_eq!(again.resume.as_deref(), Some("o2"));
    // What the one before still brings comes too late.
    let late = world.ask(portion(job, &["o9"], None, true)).unwrap_err();
    assert_eq!(late.code, Code::NotOpen);
    let job = (id, again.fence);
    world.ask(portion(job, &["o3", "o4"], None, true)).unwrap();
    let shown = world.look(Query::Notice(id));
    assert_eq!((&shown["total"], &shown["audience"]), (&4.into(), &serde_json::Value::Null));
    assert_ne!(shown["state"], "expanding");
}

#[test]
fn newcomers_are_read_when_it_is_sent_and_who_was_there_has_one_message() {
    let mut world = World::new(0, rules::outbox());
    let mut it = from(Source::Tag(12));
    it.send_at = Some(world.now.plus(MINUTE_MS));
    sourcing(&mut it).newcomers = true;
    let (id, effects) = begin(&mut world, it);
    let first = (id, jobs(&effects)[0].fence);
    world.ask(portion(first, &["o1", "o2"], None, true)).unwrap();
    assert_eq!(state(&mut world, id), "scheduled");
    assert_eq!(world.look(Query::Notice(id))["audience"]["state"], "waits");
    world.crash(usize::MAX);
    let mut effects = world.pass(MINUTE_MS);
    effects.extend(world.pass(SECOND_MS));
    let second = (id, jobs(&effects)[0].fence);
    let sent = sends(effects);
    accept_all(&mut world, sent);
    assert_eq!(state(&mut world, id), "expanding", "it is not done before all are read");
    let stepped = world.run(portion(second, &["o2", "o3"], None, true));
    accept_all(&mut world, sends(stepped.effects));
    assert_eq!((state(&mut world, id).as_str(), count(&mut world, id, "accepted")), ("done", 3));
}

#[test]
fn at_send_reads_nothing_before_and_a_send_by_hand_reads_at_once() {
    let mut world = World::new(0, rules::outbox());
    let mut it = from(Source::Followers);
    it.send_at = Some(world.now.plus(60 * MINUTE_MS));
    sourcing(&mut it).at_send = true;
    let (id, effects) = begin(&mut world, it);
    assert!(jobs(&effects).is_empty());
    assert_eq!(state(&mut world, id), "scheduled");
    assert!(jobs(&world.pass(MINUTE_MS)).is_empty());
    let mut effects = world.run(Command::Act { notice: id, act: Act::Send }).effects;
    effects.extend(world.idle());
    let job = (id, jobs(&effects)[0].fence);
    // An audience of nobody is an end, and not an error.
    world.ask(portion(job, &[], None, true)).unwrap();
    assert_eq!(state(&mut world, id), "done");
}

#[test]
fn a_source_that_fails_is_asked_again_and_one_that_is_wrong_pauses_the_notice() {
    let mut world = World::new(0, rules::outbox());
    let (id, effects) = begin(&mut world, from(Source::Url("http://x/".into())));
    let fence = jobs(&effects)[0].fence;
    let failed = |fence, lasting| Command::ResolveFailed {
        notice: id,
        fence,
        reason: "HTTP 503".into(),
        lasting,
    };
    world.ask(failed(fence, false)).unwrap();
    let shown = world.look(Query::Notice(id));
    assert_eq!((&shown["audience"]["failed"], &shown["state"]), (&1.into(), &"expanding".into()));
    let mut effects = Vec::new();
    (0..10).for_each(|_| effects.extend(world.pass(SECOND_MS)));
    let fence = jobs(&effects)[0].fence;
    world.ask(failed(fence, true)).unwrap();
    let shown = world.look(Query::Notice(id));
    assert_eq!(
        (&shown["state"], &shown["audience"]["state"]),
        (&"paused".into(), &"stopped".into())
    );
    assert!(shown["reason"].as_str().unwrap().contains("HTTP 503"), "{shown}");
    assert!(jobs(&world.pass(MINUTE_MS * 10)).is_empty(), "it waits for a person");
    let mut effects = world.run(Command::Act { notice: id, act: Act::Resume }).effects;
    effects.extend(world.idle());
    let job = (id, jobs(&effects)[0].fence);
    // One that no longer waits takes no more.
    world.ask(Command::Act { notice: id, act: Act::Cancel }).unwrap();
    assert!(world.ask(portion(job, &["o1"], None, true)).is_err());
    world.pass(MINUTE_MS);
    assert_eq!(state(&mut world, id), "cancelled");
}

#[test]
fn those_of_an_earlier_notice_are_taken_by_state_and_code() {
    let mut world = World::new(0, rules::outbox());
    let stepped = world.run(submit(draft("a", 6)));
    let Handled::Now(reply) = stepped.handled else { panic!() };
    let first = notice_id(reply.unwrap());
    let mut left = sends(stepped.effects);
    let mut n = 0;
    while let Some(job) = left.pop() {
        let (class, code) = match n {
            0 | 1 => (Class::Recipient, 43004),
            2 => (Class::Recipient, 43019),
            _ => (Class::Ok, 0),
        };
        n += 1;
        left.extend(settle(&mut world, &job, class, Some(code)));
    }
    let of = |states: Vec<DeliveryState>, errcode| {
        from(Source::Notice { notice: first, states, errcode })
    };
    let refused = vec![DeliveryState::Refused];
    for (draft, wanted) in [
        (of(Vec::new(), None), 6),
        (of(refused.clone(), None), 3),
        (of(refused, Some(43004)), 2),
        (of(vec![DeliveryState::Dead], None), 0),
    ] {
        let (id, _) = begin(&mut world, draft);
        world.pass(SECOND_MS);
        assert_eq!(world.look(Query::Notice(id))["total"], wanted);
    }
    let other = NoticeDraft { tenant: "b".into(), ..of(Vec::new(), None) };
    let refused = world.ask(submit(other)).unwrap_err();
    assert_eq!(refused.fields[0].0, "/audience/notice");
    let nothing = from(Source::Notice { notice: Id(7), states: Vec::new(), errcode: None });
    assert_eq!(world.ask(submit(nothing)).unwrap_err().fields[0].0, "/audience/notice");
}

#[test]
fn recipients_cannot_be_streamed_into_an_audience_that_is_read() {
    let mut world = World::new(0, rules::outbox());
    let (id, _) = begin(&mut world, from(Source::Followers));
    let more = Command::AddRecipients {
        notice: id,
        recipients: vec![Recipient { openid: "o1".into(), ..Recipient::default() }],
        done: true,
    };
    assert_eq!(world.ask(more).unwrap_err().code, Code::NotOpen);
    let reply = world.ask(Command::Act { notice: id, act: Act::Pause }).unwrap();
    assert!(matches!(reply, Reply::Notice { state: "paused", .. }));
}
