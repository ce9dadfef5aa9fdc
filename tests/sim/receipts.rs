//! What WeChat tells by itself: receipts in any order, and who has left or come back.

use duebox::engine::command::{Act, Command, NoticeDraft, Recipient, SendJob};
use duebox::engine::query::Query;
use duebox::id::Id;
use duebox::model::attempt::{Class, Try};
use duebox::model::callback::{Told, What};
use duebox::model::delivery::DeliveryState;
use duebox::model::rules::Rules;
use duebox::time::{DAY_MS, MINUTE_MS, SECOND_MS, Timestamp};

use super::behaviour::{answer, count, draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

fn told() -> Rules {
    let mut rules = rules::outbox();
    rules.tenants.values_mut().for_each(|tenant| tenant.receipts = true);
    rules
}

fn begin(world: &mut World, draft: NoticeDraft) -> (Id, Vec<SendJob>) {
    let stepped = world.run(submit(draft));
    match stepped.handled {
        duebox::engine::Handled::Now(reply) => (notice_id(reply.unwrap()), sends(stepped.effects)),
        other => panic!("{other:?}"),
    }
}

/// Whole seconds, as WeChat has them.
fn second(at: Timestamp) -> Timestamp {
    Timestamp(at.0 / SECOND_MS * SECOND_MS)
}

fn tell(world: &mut World, openid: &str, at: Timestamp, what: What) {
    let told = Told { openid: openid.to_owned(), at: second(at), what };
    world.ask(Command::TakeTold { tenant: "a".into(), told }).unwrap();
}

fn receipt(world: &mut World, openid: &str, msgid: &str, failed: Option<&str>) {
    let (at, msgid) = (world.now, msgid.to_owned());
    tell(world, openid, at, What::Receipt { msgid, failed: failed.map(str::to_owned) });
}

fn accept(world: &mut World, job: &SendJob, msgid: &str) {
    let one = Try { msgid: Some(msgid.to_owned()), ..answer(world, Class::Ok, Some(0)) };
    let command =
        Command::SettleSend { delivery: job.delivery, fence: job.fence, tries: vec![one] };
    world.run(command);
}

/// What an operator's act makes go out at once and in the next second.
fn acted(world: &mut World, notice: Id, act: Act) -> Vec<SendJob> {
    let mut jobs = sends(world.run(Command::Act { notice, act }).effects);
    jobs.extend(sends(world.pass(SECOND_MS)));
    jobs
}

fn to(tenant: &str, openid: &str) -> NoticeDraft {
    let one = Recipient { openid: openid.to_owned(), ..Recipient::default() };
    NoticeDraft {
        audience: duebox::engine::command::Audience::Inline(vec![one]),
        ..draft(tenant, 1)
    }
}

fn state(world: &mut World, job: &SendJob) -> (String, String) {
    let row = world.look(Query::Delivery(job.delivery));
    let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
    (text("state"), text("reason"))
}

#[test]
fn receipts_settle_what_was_accepted_once() {
    let mut world = World::new(0, told());
    let (notice, jobs) = begin(&mut world, draft("a", 3));
    for (n, job) in jobs.iter().enumerate() {
        accept(&mut world, job, &format!("m{n}"));
    }
    receipt(&mut world, "o0", "m0", None);
    receipt(&mut world, "o1", "m1", Some("failed:user block"));
    // They come up to three times, and what came first counts.
    receipt(&mut world, "o0", "m0", Some("failed:system failed"));
    receipt(&mut world, "o1", "m1", None);
    for (state, wanted) in [("accepted", 1), ("delivered", 1), ("failed", 1)] {
        assert_eq!(count(&mut world, notice, state), wanted, "{state}");
    }
    let failed = ("failed".to_owned(), "failed:user block".to_owned());
    assert_eq!(state(&mut world, &jobs[1]), failed);
    let late = |world: &mut World| world.look(Query::Notice(notice))["without_receipt"].clone();
    assert_eq!(late(&mut world), 0);
    world.pass(12 * MINUTE_MS);
    assert_eq!(late(&mut world), 1);
    receipt(&mut world, "o2", "m2", None);
    assert_eq!(late(&mut world), 0);
    // A person may want it sent again.
    let act = Act::Resend { states: vec![DeliveryState::Failed], errcode: None };
    assert_eq!(acted(&mut world, notice, act).len(), 1);
    // The receipt of the first time is not one of the second.
    receipt(&mut world, "o1", "m1", None);
    assert_eq!(count(&mut world, notice, "sending"), 1);
}

#[test]
fn a_receipt_before_the_answer_of_its_send_waits_for_it() {
    let mut world = World::new(0, told());
    let (notice, jobs) = begin(&mut world, draft("a", 2));
    receipt(&mut world, "o0", "m0", None);
    receipt(&mut world, "o1", "m1", Some("failed:freq limit"));
    assert_eq!(count(&mut world, notice, "sending"), 2);
    world.crash(usize::MAX);
    // Both are in doubt after the crash; the repetition is answered with the id of the first time.
    let mut again = Vec::new();
    (0..10).for_each(|_| again.extend(sends(world.pass(SECOND_MS))));
    assert_eq!((again.len(), jobs.len()), (2, 2), "{again:?}");
    for job in &again {
        let msgid = if job.body.contains("\"o0\"") { "m0" } else { "m1" };
        accept(&mut world, job, msgid);
    }
    assert_eq!(count(&mut world, notice, "delivered"), 1);
    assert_eq!(count(&mut world, notice, "failed"), 1);
}

#[test]
fn a_receipt_settles_the_one_message_whose_answer_was_lost() {
    let mut world = World::new(0, told());
    let (notice, jobs) = begin(&mut world, draft("a", 1));
    receipt(&mut world, "o0", "m0", None);
    settle(&mut world, &jobs[0], Class::InDoubt, None);
    // Nobody answers the repetitions either.
    for _ in 0..12 {
        for job in sends(world.pass(20 * SECOND_MS)) {
            settle(&mut world, &job, Class::InDoubt, None);
        }
    }
    assert_eq!(count(&mut world, notice, "delivered"), 1, "{}", world.look(Query::Notice(notice)));
}

#[test]
fn with_two_candidates_a_receipt_settles_none() {
    let mut world = World::new(0, told());
    let (first, jobs) = begin(&mut world, to("a", "o0"));
    let (second, more) = begin(&mut world, to("a", "o0"));
    for job in jobs.iter().chain(&more) {
        settle(&mut world, job, Class::InDoubt, None);
    }
    receipt(&mut world, "o0", "m0", None);
    for _ in 0..40 {
        for job in sends(world.pass(20 * SECOND_MS)) {
            settle(&mut world, &job, Class::InDoubt, None);
        }
    }
    for notice in [first, second] {
        assert_eq!(count(&mut world, notice, "in_doubt"), 1);
    }
    // And a receipt of somebody else's message is nobody's.
    receipt(&mut world, "o7", "m7", None);
    world.pass(10 * MINUTE_MS);
}

#[test]
fn a_message_that_was_in_review_has_its_receipt_under_an_id_nobody_told() {
    let mut world = World::new(0, told());
    let (notice, jobs) = begin(&mut world, draft("a", 1));
    let one = Try { msgid: None, ..answer(&world, Class::Review, Some(40252)) };
    let (delivery, fence) = (jobs[0].delivery, jobs[0].fence);
    world.run(Command::SettleSend { delivery, fence, tries: vec![one] });
    world.pass(29 * MINUTE_MS);
    receipt(&mut world, "o0", "m9", None);
    assert_eq!(count(&mut world, notice, "accepted"), 1);
    world.pass(3 * MINUTE_MS);
    assert_eq!(count(&mut world, notice, "delivered"), 1);
}

#[test]
fn who_left_between_creation_and_sending_is_skipped_and_who_came_back_is_not() {
    let mut world = World::new(0, told());
    let later = Some(world.now.plus(DAY_MS));
    let (notice, jobs) = begin(&mut world, NoticeDraft { send_at: later, ..draft("a", 4) });
    assert!(jobs.is_empty());
    let hour = |n: u64| world_begin().plus(n * 60 * MINUTE_MS);
    world.pass(10 * 60 * MINUTE_MS);
    tell(&mut world, "o0", hour(1), What::Unfollowed);
    tell(&mut world, "o1", hour(1), What::Unfollowed);
    tell(&mut world, "o1", hour(2), What::Followed);
    // In the wrong order: the later event came first.
    tell(&mut world, "o2", hour(3), What::Followed);
    tell(&mut world, "o2", hour(2), What::Unfollowed);
    world.pass(14 * 60 * MINUTE_MS);
    let jobs = sends(world.idle());
    let jobs = if jobs.is_empty() { sends(world.pass(SECOND_MS)) } else { jobs };
    let skipped = count(&mut world, notice, "skipped");
    assert_eq!(skipped, 1, "{jobs:?} {}", world.look(Query::Notice(notice)));
    let rows = world.look(Query::Deliveries {
        notice,
        state: Some(DeliveryState::Skipped),
        openid: None,
        page: Default::default(),
    });
    let row = &rows["items"][0];
    assert_eq!((&row["openid"], &row["reason"]), (&"o0".into(), &"unfollowed".into()));
    assert_eq!(row["attempt"], 0, "nothing was sent");
}

fn world_begin() -> Timestamp {
    super::world::BEGIN
}

#[test]
fn an_answer_that_somebody_left_skips_what_waited_and_not_what_is_asked_afterwards() {
    let mut world = World::new(0, told());
    let later = Some(world.now.plus(MINUTE_MS));
    let (waits, _) = begin(&mut world, NoticeDraft { send_at: later, ..to("a", "o0") });
    world.pass(SECOND_MS);
    let (refused, jobs) = begin(&mut world, to("a", "o0"));
    settle(&mut world, &jobs[0], Class::Recipient, Some(43004));
    assert_eq!(count(&mut world, refused, "refused"), 1);
    world.pass(MINUTE_MS);
    assert_eq!(count(&mut world, waits, "skipped"), 1);
    // Whoever names them now may know that they came back.
    let (asked, jobs) = begin(&mut world, to("a", "o0"));
    accept(&mut world, &jobs[0], "m1");
    assert_eq!(count(&mut world, asked, "accepted"), 1);
    // And so may an operator.
    let act = Act::Resend { states: vec![DeliveryState::Skipped], errcode: None };
    assert_eq!(acted(&mut world, waits, act).len(), 1);
}

#[test]
fn a_template_that_somebody_switched_off_is_not_sent_to_them_for_a_month() {
    let mut world = World::new(0, told());
    let (_, jobs) = begin(&mut world, to("a", "o0"));
    settle(&mut world, &jobs[0], Class::Recipient, Some(43101));
    world.pass(SECOND_MS);
    let (skipped, jobs) = begin(&mut world, to("a", "o0"));
    assert!(jobs.is_empty());
    assert_eq!(count(&mut world, skipped, "skipped"), 1);
    // Another template, another tenant and another person are none of it.
    let other = NoticeDraft { template: "loose".into(), ..to("a", "o0") };
    for draft in [other, to("b", "o0"), to("a", "o1")] {
        assert_eq!(begin(&mut world, draft).1.len(), 1);
    }
    world.pass(31 * DAY_MS);
    let (_, jobs) = begin(&mut world, to("a", "o0"));
    assert_eq!(jobs.len(), 1);
}
