//! Small named situations.

use duebox::engine::Handled;
use duebox::engine::command::{
    Act, Audience, ClaimRequest, ClaimedTask, Command, Effect, NoticeDraft, Recipient, Reply,
    SendJob, Settled, Settlement, TaskDraft, Verdict,
};
use duebox::engine::query::{LogFilter, Page, Query};
use duebox::engine::refusal::Code;
use duebox::id::Id;
use duebox::model::attempt::{Class, Try};
use duebox::model::delivery::Resolution;
use duebox::model::rules::Action;
use duebox::model::task::Terms;
use duebox::store::Order;
use duebox::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

use super::rules;
use super::world::World;

pub(crate) fn draft(tenant: &str, openids: usize) -> NoticeDraft {
    let people =
        (0..openids).map(|n| Recipient { openid: format!("o{n}"), ..Recipient::default() });
    NoticeDraft {
        tenant: tenant.to_owned(),
        template: "strict".to_owned(),
        audience: Audience::Inline(people.collect()),
        ..NoticeDraft::default()
    }
}

pub(crate) fn submit(draft: NoticeDraft) -> Command {
    Command::SubmitNotice(Box::new(draft))
}

pub(crate) fn notice_id(reply: Reply) -> Id {
    match reply {
        Reply::Notice { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

pub(crate) fn sends(effects: Vec<Effect>) -> Vec<SendJob> {
    let job = |effect| if let Effect::Send(job) = effect { Some(job) } else { None };
    effects.into_iter().filter_map(job).collect()
}

pub(crate) fn answer(world: &World, class: Class, errcode: Option<i64>) -> Try {
    Try {
        at: world.now,
        duration_ms: 5,
        class,
        errcode,
        errmsg: class.name().to_owned(),
        msgid: Some("1".to_owned()),
        rid: None,
        field: None,
        response: String::new(),
    }
}

pub(crate) fn settle(
    world: &mut World,
    job: &SendJob,
    class: Class,
    errcode: Option<i64>,
) -> Vec<SendJob> {
    let tries = vec![answer(world, class, errcode)];
    let command = Command::SettleSend { delivery: job.delivery, fence: job.fence, tries };
    sends(world.run(command).effects)
}

pub(crate) fn accept_all(world: &mut World, mut jobs: Vec<SendJob>) {
    while let Some(job) = jobs.pop() {
        jobs.extend(settle(world, &job, Class::Ok, Some(0)));
    }
}

pub(crate) fn count(world: &mut World, id: Id, state: &str) -> u64 {
    world.look(Query::Notice(id))["counts"][state].as_u64().unwrap_or(0)
}

#[test]
fn a_key_is_idempotent_and_another_body_is_refused() {
    let mut world = World::new(0, rules::outbox());
    let keyed = |fingerprint| {
        submit(NoticeDraft { key: Some("k".to_owned()), fingerprint, ..draft("a", 2) })
    };
    let first = world.ask(keyed(1)).unwrap();
    let again = world.ask(keyed(1)).unwrap();
    assert!(matches!(again, Reply::Notice { created: false, .. }), "{again:?}");
    assert_eq!(notice_id(first), notice_id(again));
    assert_eq!(world.ask(keyed(2)).unwrap_err().code, Code::KeyReused);
}

#[test]
fn old_rows_go_and_a_late_entry_outlives_its_notice() {
    let mut rules = rules::outbox();
    rules.retention.log_ms = DAY_MS;
    rules.retention.notices_ms = DAY_MS;
    let mut world = World::new(0, rules);
    let stepped = world.run(submit(draft("a", 3)));
    let mut jobs = sends(stepped.effects);
    let late = jobs.pop().unwrap();
    accept_all(&mut world, jobs);
    // Its claim runs out, the window passes, and it is held; then the answer comes after all.
    world.pass(20 * MINUTE_MS);
    world.pass(20 * MINUTE_MS);
    world.pass(DAY_MS - HOUR_MS);
    settle(&mut world, &late, Class::Ok, Some(0));
    let log = || Query::Log {
        filter: LogFilter::default(),
        order: Order::Ascending,
        page: Page::default(),
    };
    let entries = |world: &mut World| world.look(log())["items"].as_array().unwrap().len();
    assert_eq!(entries(&mut world), 4);
    world.pass(HOUR_MS);
    world.pass_in_turns(20 * MINUTE_MS);
    let page = Page::default();
    let left = world.look(Query::Notices {
        tenant: None,
        state: None,
        key: None,
        marks: Vec::new(),
        order: Order::Descending,
        page,
    });
    assert_eq!(left["items"].as_array().unwrap().len(), 0);
    assert_eq!(entries(&mut world), 1, "the late one is young");
    world.pass(DAY_MS);
    world.pass_in_turns(20 * MINUTE_MS);
    assert_eq!(entries(&mut world), 0);
}

#[test]
fn long_values_are_refused_or_cut_as_the_template_says() {
    let mut world = World::new(0, rules::outbox());
    let long = |template: &str| {
        let data = [("thing1".to_owned(), "字".repeat(30))].into();
        submit(NoticeDraft { template: template.to_owned(), data, ..draft("a", 1) })
    };
    let refusal = world.ask(long("strict")).unwrap_err();
    assert_eq!(refusal.code, Code::FieldTooLong);
    assert_eq!(refusal.fields[0].0, "/data/thing1");
    let jobs = sends(world.run(long("loose")).effects);
    let body: serde_json::Value = serde_json::from_str(&jobs[0].body).unwrap();
    assert_eq!(body["data"]["thing1"]["value"].as_str().unwrap().chars().count(), 20);
}

#[test]
fn what_waits_when_a_notice_expires_is_skipped() {
    let mut world = World::new(0, rules::outbox());
    let expires_at = Some(world.now.plus(MINUTE_MS));
    let stepped = world.run(submit(NoticeDraft { expires_at, ..draft("a", 30) }));
    let id = match stepped.handled {
        Handled::Now(Ok(reply)) => notice_id(reply),
        other => panic!("{other:?}"),
    };
    let mut jobs = sends(stepped.effects);
    let claimed = jobs.len() as u64;
    assert!(world.pass(2 * MINUTE_MS - 1).is_empty());
    // Their claims have run out by now, too: they may have been accepted and stay in doubt.
    assert_eq!(count(&mut world, id, "skipped"), 30 - claimed);
    assert_eq!(count(&mut world, id, "in_doubt"), claimed);
    let job = jobs.pop().unwrap();
    assert!(settle(&mut world, &job, Class::Ok, Some(0)).is_empty());
    assert_eq!(world.look(Query::Notice(id))["state"], "done");
}

#[test]
fn a_paused_notice_sends_nothing_until_it_is_resumed() {
    let mut world = World::new(0, rules::outbox());
    let stepped = world.run(submit(draft("a", 30)));
    let mut jobs = sends(stepped.effects);
    let notice = jobs[0].delivery.notice;
    world.ask(Command::Act { notice, act: Act::Pause }).unwrap();
    while let Some(job) = jobs.pop() {
        assert!(settle(&mut world, &job, Class::Ok, Some(0)).is_empty());
    }
    assert!(world.pass(MINUTE_MS).is_empty());
    let jobs = sends(world.run(Command::Act { notice, act: Act::Resume }).effects);
    accept_all(&mut world, jobs);
    assert_eq!(count(&mut world, notice, "accepted"), 30);
    let again = world.ask(Command::Act { notice, act: Act::Pause });
    assert_eq!(again.unwrap_err().code, Code::WrongState);
}

#[test]
fn a_cancel_withdraws_what_waits_and_what_comes_back() {
    let mut world = World::new(0, rules::outbox());
    let mut jobs = sends(world.run(submit(draft("a", 30))).effects);
    let notice = jobs[0].delivery.notice;
    let claimed = jobs.len() as u64;
    world.ask(Command::Act { notice, act: Act::Cancel }).unwrap();
    assert_eq!(count(&mut world, notice, "cancelled"), 30 - claimed);
    let job = jobs.pop().unwrap();
    settle(&mut world, &job, Class::Ok, Some(0));
    let job = jobs.pop().unwrap();
    world
        .ask(Command::ReturnSend { delivery: job.delivery, fence: job.fence, gone: false })
        .unwrap();
    let job = jobs.pop().unwrap();
    settle(&mut world, &job, Class::InDoubt, None);
    assert_eq!(count(&mut world, notice, "accepted"), 1);
    assert_eq!(count(&mut world, notice, "cancelled"), 31 - claimed);
    assert_eq!(count(&mut world, notice, "in_doubt"), 1, "it may have been accepted");
}

/// A timer far in the future stands in the same lane: it must not hide the next step of the sweep.
#[test]
fn a_sweep_goes_on_until_it_is_done() {
    let mut world = World::new(0, rules::outbox());
    let send_at = Some(world.now.plus(DAY_MS));
    let submitted = world.ask(submit(NoticeDraft { send_at, ..draft("a", 3_000) })).unwrap();
    let notice = notice_id(submitted);
    world.ask(Command::Act { notice, act: Act::Cancel }).unwrap();
    assert!(count(&mut world, notice, "pending") > 0, "one step does not do it all");
    world.pass_in_turns(20);
    assert_eq!(count(&mut world, notice, "cancelled"), 3_000);
}

#[test]
fn ten_recipients_do_not_wait_for_a_thousand() {
    for second in ["b", "a"] {
        let mut world = World::new(0, rules::outbox());
        let mut jobs = sends(world.run(submit(draft("a", 1_000))).effects);
        let stepped = world.run(submit(draft(second, 10)));
        let small = match stepped.handled {
            Handled::Now(Ok(reply)) => notice_id(reply),
            other => panic!("{other:?}"),
        };
        jobs.extend(sends(stepped.effects));
        let mut settled = 0;
        while count(&mut world, small, "accepted") < 10 {
            let job = jobs.remove(0);
            world.now = world.now.plus(1);
            jobs.extend(settle(&mut world, &job, Class::Ok, Some(0)));
            settled += 1;
        }
        assert!(settled < 150, "{second}: after {settled} sends");
    }
}

#[test]
fn an_attempt_in_doubt_is_repeated_inside_the_window_only() {
    for (late_ms, repeated) in [(MINUTE_MS, true), (8 * MINUTE_MS, false)] {
        let mut world = World::new(0, rules::outbox());
        let job = sends(world.run(submit(draft("a", 1))).effects).remove(0);
        let id = job.delivery.notice;
        assert!(settle(&mut world, &job, Class::InDoubt, None).is_empty());
        assert_eq!(count(&mut world, id, "pending"), 1);
        let jobs = sends(world.pass(late_ms));
        assert_eq!(jobs.len(), usize::from(repeated), "after {late_ms} ms");
        assert_eq!(count(&mut world, id, "in_doubt"), u64::from(!repeated));
        if repeated {
            let body: serde_json::Value = serde_json::from_str(&jobs[0].body).unwrap();
            let first: serde_json::Value = serde_json::from_str(&job.body).unwrap();
            assert_eq!(body["client_msg_id"], first["client_msg_id"]);
        }
    }
}

// Tasks.

pub(crate) fn add(world: &mut World, drafts: Vec<TaskDraft>) -> Vec<Id> {
    match world.ask(Command::AddTasks { items: drafts, atomic: true }).unwrap() {
        Reply::Tasks(added) => added.into_iter().map(|one| one.unwrap().id).collect(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn task(payload: &str) -> TaskDraft {
    TaskDraft { kind: "q".to_owned(), payload: payload.to_owned(), ..TaskDraft::default() }
}

pub(crate) fn request(max: usize, wait_ms: u64) -> ClaimRequest {
    ClaimRequest { kind: "q".to_owned(), max, wait_ms, ..ClaimRequest::default() }
}

pub(crate) fn claim(world: &mut World, max: usize) -> Vec<ClaimedTask> {
    match world.ask(Command::Claim(request(max, 0))).unwrap() {
        Reply::Claimed(tasks) => tasks,
        other => panic!("{other:?}"),
    }
}

fn say(world: &mut World, task: Id, claim: &str, verdict: Verdict) -> Result<Settled, Code> {
    let item = Settlement { task, claim: claim.to_owned(), verdict };
    match world.ask(Command::Settle(vec![item])).unwrap() {
        Reply::Settled(mut answers) => answers.remove(0).map_err(|refusal| refusal.code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_stale_token_is_refused_in_three_ways() {
    let mut world = World::new(0, rules::queues());
    let ids = add(&mut world, vec![task("1"), task("2")]);
    let first = claim(&mut world, 2);
    let foreign = say(&mut world, ids[0], &first[1].claim, Verdict::Ack);
    assert_eq!(foreign, Err(Code::ClaimUnknown));
    world.pass(31 * SECOND_MS);
    assert_eq!(say(&mut world, ids[0], &first[0].claim, Verdict::Ack), Err(Code::ClaimExpired));
    let second = claim(&mut world, 2);
    assert_eq!((second[0].id, second[0].attempt), (ids[0], 2));
    assert_eq!(say(&mut world, ids[0], &first[0].claim, Verdict::Ack), Err(Code::ClaimTaken));
    assert!(say(&mut world, ids[0], &second[0].claim, Verdict::Ack).is_ok());
    assert!(say(&mut world, ids[0], &second[0].claim, Verdict::Ack).is_ok(), "the same ack again");
    let late = say(&mut world, ids[0], &first[0].claim, Verdict::Ack);
    assert_eq!(late, Err(Code::TaskGone));
    world.ask(Command::CancelTask(ids[1])).unwrap();
    let late = say(&mut world, ids[1], &second[1].claim, Verdict::Ack);
    assert_eq!(late, Err(Code::TaskCancelled));
}

#[test]
fn a_claim_that_nobody_heard_of_counts_for_nothing() {
    let mut world = World::new(0, rules::queues());
    let id = add(
        &mut world,
        vec![TaskDraft { terms: Terms { max_attempts: Some(1), key: None }, ..task("1") }],
    )[0];
    for _ in 0..3 {
        let one = claim(&mut world, 1).remove(0);
        assert_eq!((one.id, one.attempt), (id, 1));
        let verdict = Verdict::Nack { delay_ms: Some(0), reason: None };
        let item = Settlement { task: id, claim: one.claim, verdict };
        world.ask(Command::Unclaim(vec![item])).unwrap();
    }
    assert_eq!(world.look(Query::Task(id))["state"], "pending");
}

#[test]
fn a_paused_type_hands_out_nothing_and_wakes_its_waiters_when_resumed() {
    let mut world = World::new(0, rules::queues());
    let pause = |paused| Command::PauseQueue { kind: "q".to_owned(), paused };
    world.ask(pause(true)).unwrap();
    add(&mut world, vec![task("1")]);
    assert!(claim(&mut world, 1).is_empty());
    let stepped = world.run(Command::Claim(request(1, MINUTE_MS)));
    assert!(matches!(stepped.handled, Handled::Waits(_)) && stepped.effects.is_empty());
    assert!(world.pass(SECOND_MS).is_empty());
    let effects = world.run(pause(false)).effects;
    assert!(matches!(&effects[..], [Effect::Answer { tasks, .. }] if tasks.len() == 1));
}

#[test]
fn each_task_goes_to_one_waiter_and_each_waiter_is_answered_once() {
    let mut world = World::new(0, rules::queues());
    for _ in 0..5 {
        let stepped = world.run(Command::Claim(request(1, 20 * SECOND_MS)));
        assert!(matches!(stepped.handled, Handled::Waits(_)), "{stepped:?}");
    }
    let items = vec![task("1"), task("2"), TaskDraft { delay_ms: Some(5_000), ..task("3") }];
    let mut answered = Vec::new();
    let mut given = Vec::new();
    let mut effects = world.run(Command::AddTasks { items, atomic: false }).effects;
    assert_eq!(effects.len(), 2);
    effects.extend(world.pass_in_turns(25 * SECOND_MS));
    for effect in effects {
        let Effect::Answer { waiter, tasks } = effect else { panic!("{effect:?}") };
        answered.push(waiter);
        given.extend(tasks.into_iter().map(|task| task.payload));
    }
    given.sort_unstable();
    assert_eq!(given, ["1", "2", "3"]);
    answered.sort_unstable();
    assert_eq!(answered, [1, 2, 3, 4, 5]);
}

#[test]
fn a_tick_missed_while_down_is_caught_up_once_and_names_the_others() {
    let payload = "null".to_owned();
    let action = Action::Task { kind: "q".to_owned(), priority: 0, payload };
    let mut world = World::new(0, rules::schedule(action));
    world.pass(MINUTE_MS);
    world.now = world.now.plus(10 * MINUTE_MS);
    world.crash(0);
    world.idle();
    let runs = world.look(Query::Runs { schedule: None, page: Page::default() });
    let runs = runs["items"].as_array().unwrap();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["trigger"], "catch_up");
    assert!(runs[0]["note"].as_str().unwrap().contains("9 later ticks"), "{}", runs[0]);
    assert_eq!(claim(&mut world, 10).len(), 2);
}

#[test]
fn what_was_on_the_wire_in_a_crash_is_in_doubt_at_once_and_sent_again_soon() {
    let mut world = World::new(0, rules::outbox());
    let jobs = sends(world.run(submit(draft("a", 3))).effects);
    world.crash(0);
    let notice = jobs[0].delivery.notice;
    assert_eq!(count(&mut world, notice, "sending"), 0);
    let again = sends(world.pass(3 * SECOND_MS));
    assert_eq!(again.len(), 3);
    assert!(again.iter().all(|job| job.fence == 2));
    // The answer to the first attempt settles nothing any more.
    settle(&mut world, &jobs[0], Class::Ok, Some(0));
    assert_eq!(count(&mut world, notice, "sending"), 3);
    accept_all(&mut world, again);
    assert_eq!(count(&mut world, notice, "accepted"), 3);
}

#[test]
fn a_named_claim_is_answered_with_the_same_tasks_while_they_are_held() {
    let mut world = World::new(0, rules::queues());
    add(&mut world, vec![task("1"), task("2"), task("3")]);
    let named = || {
        let request = ClaimRequest { request: Some("r".to_owned()), ..request(2, 0) };
        Command::Claim(request)
    };
    let claimed = |world: &mut World| match world.ask(named()).unwrap() {
        Reply::Claimed(tasks) => tasks,
        other => panic!("{other:?}"),
    };
    let first = claimed(&mut world);
    assert_eq!(first.len(), 2);
    world.crash(0);
    assert_eq!(claimed(&mut world), first);
    for one in &first {
        say(&mut world, one.id, &one.claim, Verdict::Ack).unwrap();
    }
    let next = claimed(&mut world);
    assert_eq!(next.iter().map(|task| task.payload.as_str()).collect::<Vec<_>>(), ["3"]);
}

#[test]
fn ticks_during_a_run_are_owed_one_follow_up() {
    let action = Action::Pull { tenants: vec!["a".to_owned()], overlap_ms: 0, since: None };
    let mut world = World::new(0, rules::schedule(action));
    let pulls = |effects: Vec<Effect>| -> Vec<Id> {
        let run =
            |effect: &Effect| if let Effect::Pull(job) = effect { Some(job.run) } else { None };
        effects.iter().filter_map(run).collect()
    };
    let first = pulls(world.pass(MINUTE_MS))[0];
    for _ in 0..3 {
        assert!(pulls(world.pass(MINUTE_MS)).is_empty());
    }
    let done = |run| Command::RunDone { run, counts: [].into(), error: None, whole: true };
    let second = pulls(world.run(done(first)).effects);
    assert_eq!(second.len(), 1);
    assert!(pulls(world.run(done(second[0])).effects).is_empty());
}

#[test]
fn a_stream_that_ends_without_recipients_is_done() {
    let mut world = World::new(0, rules::outbox());
    let stream = NoticeDraft { audience: Audience::Stream, ..draft("a", 0) };
    let notice = notice_id(world.ask(submit(stream)).unwrap());
    let done = Command::AddRecipients { notice, recipients: Vec::new(), done: true };
    world.ask(done).unwrap();
    assert_eq!(world.look(Query::Notice(notice))["state"], "done");
}

#[test]
fn an_operator_may_send_what_is_in_doubt_after_the_notice_expired() {
    let mut world = World::new(0, rules::outbox());
    let expires_at = Some(world.now.plus(SECOND_MS));
    let stepped = world.run(submit(NoticeDraft { expires_at, ..draft("a", 1) }));
    let job = sends(stepped.effects).remove(0);
    world.pass(SECOND_MS);
    settle(&mut world, &job, Class::InDoubt, None);
    let resolution = Resolution::Resend;
    let effects = world.run(Command::Resolve { delivery: job.delivery, resolution }).effects;
    assert_eq!(sends(effects).len(), 1);
}
