//! Situations in which two things meet: small, named, each once a mistake.

use duebox::engine::Handled;
use duebox::engine::command::{
    Act, Audience, ClaimRequest, ClaimedTask, Command, Effect, NoticeDraft, PushOutcome, Recipient,
    Redrive, Reply, SendJob, Settlement, TaskDraft, Verdict,
};
use duebox::engine::query::{LogFilter, Page, Query};
use duebox::engine::refusal::Code;
use duebox::id::Id;
use duebox::limits;
use duebox::model::attempt::Class;
use duebox::model::delivery::{DeliveryState, Resolution};
use duebox::model::rules::{Action, Deliver, Push, Rules};
use duebox::model::task::Terms;
use duebox::store::Order;
use duebox::time::{DAY_MS, MINUTE_MS, SECOND_MS};

use super::behaviour::{add, answer, claim, count, draft, request, sends, settle, submit, task};
use super::rules;
use super::world::World;

/// Tenants that give a delivery up after its first failure.
fn impatient() -> Rules {
    let mut rules = rules::outbox();
    for tenant in rules.tenants.values_mut() {
        tenant.retry.max_attempts = 1;
    }
    rules
}

/// Submits a notice; its id and what is sent at once.
fn begin(world: &mut World, draft: NoticeDraft) -> (Id, Vec<SendJob>) {
    let stepped = world.run(submit(draft));
    match stepped.handled {
        Handled::Now(Ok(Reply::Notice { id, .. })) => (id, sends(stepped.effects)),
        other => panic!("{other:?}"),
    }
}

fn redriven(world: &mut World, redrive: Redrive) -> u64 {
    match world.ask(Command::Redrive(redrive)).unwrap() {
        Reply::Redriven { count, .. } => count,
        other => panic!("{other:?}"),
    }
}

/// Bytes of the last commit's changes.
fn last_commit(world: &World) -> usize {
    let (_, writes) = world.journal.last().unwrap();
    let value = |value: &Option<duebox::kv::Value>| value.as_ref().map_or(0, |bytes| bytes.len());
    writes.iter().map(|write| write.key.len() + value(&write.value)).sum()
}

#[test]
fn many_waiters_and_much_work_at_once_take_several_commits() {
    let mut world = World::new(0, rules::queues());
    let payload = format!("\"{}\"", "x".repeat(1_000));
    for _ in 0..8 {
        let due = Some(world.now.plus(MINUTE_MS));
        add(&mut world, vec![TaskDraft { due, ..task(&payload) }; 2_500]);
    }
    world.pass(50 * SECOND_MS);
    for _ in 0..20 {
        let stepped = world.run(Command::Claim(request(1_000, 30 * SECOND_MS)));
        assert!(matches!(stepped.handled, Handled::Waits(_)));
    }
    let mut given = 0;
    let mut effects = world.pass(10 * SECOND_MS);
    let commits = world.journal.len();
    loop {
        assert!(last_commit(&world) < 2 * limits::GROUP_BYTES, "{}", last_commit(&world));
        for effect in effects {
            let Effect::Answer { tasks, .. } = effect else { panic!("{effect:?}") };
            given += tasks.len();
        }
        if given == 20_000 {
            break;
        }
        effects = world.idle();
    }
    assert!(world.journal.len() > commits, "it did not fit one");
}

/// Whoever waits does not make the daemon remember every task that is added meanwhile.
#[test]
fn a_waiter_is_woken_when_the_first_of_many_tasks_is_due() {
    let mut world = World::new(0, rules::queues());
    world.run(Command::Claim(request(1, MINUTE_MS)));
    for due_in in [DAY_MS, 40 * SECOND_MS, 20 * SECOND_MS, 30 * SECOND_MS] {
        add(&mut world, vec![TaskDraft { delay_ms: Some(due_in), ..task("1") }]);
    }
    let stepped = world.step(None, super::world::Fate::Answered).unwrap();
    assert!(stepped.wake.unwrap() <= world.now.plus(20 * SECOND_MS));
    let effects = world.pass_in_turns(20 * SECOND_MS);
    assert!(matches!(&effects[..], [Effect::Answer { tasks, .. }] if tasks.len() == 1));
}

/// Who calls until nothing is left would call for ever, and what comes after is never reached.
#[test]
fn dead_letters_that_cannot_come_back_are_not_counted_as_redriven() {
    let mut world = World::new(0, impatient());
    let (notice, jobs) = begin(&mut world, draft("a", 2));
    settle(&mut world, &jobs[0], Class::Retry, None);
    world.ask(Command::Act { notice, act: Act::Cancel }).unwrap();
    assert_eq!(count(&mut world, notice, "dead"), 1);
    for dry_run in [true, false] {
        let all = Redrive { all: true, dry_run, ..Redrive::default() };
        assert_eq!(redriven(&mut world, all), 0);
        let deliveries = vec![jobs[0].delivery];
        assert_eq!(redriven(&mut world, Redrive { deliveries, dry_run, ..Redrive::default() }), 0);
    }
    assert_eq!(count(&mut world, notice, "dead"), 1);
}

/// One step of the writer must not walk through a million letters that fit no filter.
#[test]
fn a_redrive_looks_at_a_bounded_part_of_the_dead_letters() {
    let mut world = World::new(0, rules::outbox());
    let wanted = TaskDraft { kind: "wanted".to_owned(), ..task("1") };
    for (kind, drafts) in [("q", vec![task("0"); 5_200]), ("wanted", vec![wanted])] {
        for some in drafts.chunks(400) {
            add(&mut world, some.to_vec());
            let request = ClaimRequest { kind: kind.to_owned(), ..request(400, 0) };
            let Ok(Reply::Claimed(held)) = world.ask(Command::Claim(request)) else { panic!() };
            let reject = |task: &ClaimedTask| Settlement {
                task: task.id,
                claim: task.claim.clone(),
                verdict: Verdict::Reject { reason: None },
            };
            world.ask(Command::Settle(held.iter().map(reject).collect())).unwrap();
        }
    }
    let mut redrive = Redrive { kind: Some("wanted".to_owned()), ..Redrive::default() };
    let first = world.ask(Command::Redrive(redrive.clone())).unwrap();
    let Reply::Redriven { count: 0, next: Some(next) } = first else { panic!("{first:?}") };
    redrive.from = next;
    let second = world.ask(Command::Redrive(redrive)).unwrap();
    assert!(matches!(second, Reply::Redriven { count: 1, next: None }), "{second:?}");
}

#[test]
fn nothing_slips_out_while_an_expired_notice_is_being_swept() {
    let mut world = World::new(0, impatient());
    let expires_at = Some(world.now.plus(SECOND_MS));
    let (notice, mut jobs) = begin(&mut world, NoticeDraft { expires_at, ..draft("a", 1_500) });
    for (at, class) in [Class::InDoubt, Class::Retry].into_iter().enumerate() {
        let more = settle(&mut world, &jobs[at], class, None);
        jobs.extend(more);
    }
    assert!(world.pass(SECOND_MS).is_empty());
    assert!(count(&mut world, notice, "pending") > 0, "one step does not do it all");
    let (doubtful, dead) = (jobs[0].delivery, jobs[1].delivery);
    let resolve = || Command::Resolve { delivery: doubtful, resolution: Resolution::Resend };
    let redrive = || Redrive { deliveries: vec![dead], ..Redrive::default() };
    let stepped = world.run(resolve());
    assert!(sends(stepped.effects).is_empty());
    assert!(
        matches!(&stepped.handled, Handled::Now(Err(no)) if no.code == Code::WrongState),
        "{:?}",
        stepped.handled
    );
    assert_eq!(redriven(&mut world, redrive()), 0);
    for job in &jobs[2..] {
        assert!(settle(&mut world, job, Class::Ok, Some(0)).is_empty());
    }
    assert!(world.pass_in_turns(20).is_empty());
    assert_eq!(count(&mut world, notice, "pending"), 0);
    for command in [resolve(), Command::Redrive(redrive())] {
        assert_eq!(sends(world.run(command).effects).len(), 1, "after the sweep it may");
    }
}

/// The machine was suspended, or the clock jumped: the answer is there, only late.
#[test]
fn a_late_acceptance_ends_the_doubt() {
    for (late_ms, state) in [(41 * SECOND_MS, "pending"), (DAY_MS, "in_doubt")] {
        let mut world = World::new(0, rules::outbox());
        let (notice, jobs) = begin(&mut world, draft("a", 1));
        assert!(world.pass(late_ms).is_empty());
        assert_eq!(count(&mut world, notice, state), 1);
        assert!(settle(&mut world, &jobs[0], Class::Ok, Some(0)).is_empty());
        assert_eq!(count(&mut world, notice, "accepted"), 1, "after {late_ms} ms");
        assert_eq!(world.look(Query::Notice(notice))["state"], "done");
        assert!(world.pass_in_turns(MINUTE_MS).is_empty(), "it is not sent again");
    }
}

#[test]
fn a_late_answer_is_logged_under_its_own_attempt() {
    let mut world = World::new(0, rules::outbox());
    let (notice, jobs) = begin(&mut world, draft("a", 1));
    world.pass(41 * SECOND_MS);
    let again = sends(world.pass(3 * SECOND_MS));
    assert_eq!(again.len(), 1);
    settle(&mut world, &jobs[0], Class::Retry, Some(-2));
    settle(&mut world, &again[0], Class::Ok, Some(0));
    let filter = LogFilter { notice: Some(notice), ..LogFilter::default() };
    let log = world.look(Query::Log { filter, order: Order::Ascending, page: Page::default() });
    let mut attempts: Vec<(String, u64)> = Vec::new();
    for entry in log["items"].as_array().unwrap() {
        let class = entry["class"].as_str().unwrap().to_owned();
        attempts.push((class, entry["attempt"].as_u64().unwrap()));
    }
    attempts.sort();
    let wanted = [("in_doubt", 1), ("ok", 2), ("retry", 1)];
    assert_eq!(attempts, wanted.map(|(class, attempt)| (class.to_owned(), attempt)));
    let tenants = world.look(Query::Tenants);
    assert_eq!(tenants["items"][0]["requests_today"], 2, "{tenants}");
}

#[test]
fn a_follow_up_that_is_owed_survives_a_restart() {
    let action = Action::Pull { tenants: vec!["a".to_owned()], overlap_ms: 0, since: None };
    let mut world = World::new(0, rules::schedule(action));
    let pulls = |effects: Vec<Effect>| -> Vec<Id> {
        let run =
            |effect: &Effect| if let Effect::Pull(job) = effect { Some(job.run) } else { None };
        effects.iter().filter_map(run).collect()
    };
    let first = pulls(world.pass(MINUTE_MS))[0];
    assert!(pulls(world.pass(MINUTE_MS)).is_empty(), "this tick is owed");
    world.ask(Command::Drain).unwrap();
    world.run(Command::RunDone { run: first, counts: [].into(), error: None, whole: true });
    world.crash(0);
    assert_eq!(pulls(world.idle()).len(), 1, "it does not wait for the next tick");
    let runs = world.look(Query::Runs { schedule: None, page: Page::default() });
    assert_eq!(runs["items"][0]["trigger"], "follow_up");
}

#[test]
fn a_notice_with_nothing_left_to_do_is_done_though_it_was_paused() {
    let mut world = World::new(0, rules::outbox());
    let expires_at = Some(world.now.plus(MINUTE_MS));
    let (expired, jobs) = begin(&mut world, NoticeDraft { expires_at, ..draft("a", 3) });
    for job in &jobs {
        settle(&mut world, job, Class::Retry, None);
    }
    world.ask(Command::Act { notice: expired, act: Act::Pause }).unwrap();
    assert_eq!(world.look(Query::Notice(expired))["state"], "paused");
    world.pass(MINUTE_MS);
    assert_eq!(world.look(Query::Notice(expired))["state"], "done");
    let (refused, jobs) = begin(&mut world, draft("a", 1));
    settle(&mut world, &jobs[0], Class::Notice, Some(40_249));
    // Nothing is left to do here either, but nobody got it, and somebody has to hear of that.
    assert_eq!(world.look(Query::Notice(refused))["state"], "paused");
    let resend = Act::Resend { states: vec![DeliveryState::Refused], errcode: None };
    let effects = world.run(Command::Act { notice: refused, act: resend }).effects;
    assert!(sends(effects).is_empty(), "it is still held until somebody mends it");
    assert_eq!(world.look(Query::Notice(refused))["state"], "paused");
    let effects = world.run(Command::Act { notice: refused, act: Act::Resume }).effects;
    assert_eq!(sends(effects).len(), 1);
}

#[test]
fn a_notice_that_is_done_cannot_be_cancelled() {
    let mut world = World::new(0, rules::outbox());
    let (notice, jobs) = begin(&mut world, draft("a", 2));
    settle(&mut world, &jobs[0], Class::Ok, Some(0));
    settle(&mut world, &jobs[1], Class::Recipient, Some(43_004));
    let refusal = world.ask(Command::Act { notice, act: Act::Cancel }).unwrap_err();
    assert_eq!(refusal.code, Code::WrongState);
    assert_eq!(world.look(Query::Notice(notice))["state"], "done");
    let resend = Act::Resend { states: vec![DeliveryState::Refused], errcode: None };
    let jobs = sends(world.run(Command::Act { notice, act: resend }).effects);
    assert_eq!(jobs.len(), 1);
    world.ask(Command::Act { notice, act: Act::Cancel }).unwrap();
    settle(&mut world, &jobs[0], Class::Ok, Some(0));
    assert!(world.ask(Command::Act { notice, act: Act::Cancel }).is_ok(), "once more is fine");
    assert_eq!(world.look(Query::Notice(notice))["state"], "cancelled");
}

#[test]
fn all_or_none_holds_when_the_items_contradict_each_other() {
    let mut world = World::new(0, rules::queues());
    let keyed = |fingerprint, replace| TaskDraft {
        terms: Terms { key: Some("k".to_owned()), ..Terms::default() },
        fingerprint,
        replace,
        ..task("1")
    };
    let contradicting = [
        vec![keyed(1, false), keyed(2, false)],
        vec![keyed(1, false), keyed(2, true), keyed(1, false)],
    ];
    for items in contradicting {
        let count = items.len();
        match world.ask(Command::AddTasks { items, atomic: true }).unwrap() {
            Reply::Tasks(verdicts) => {
                assert_eq!(verdicts.iter().filter(|verdict| verdict.is_err()).count(), count);
                assert_eq!(verdicts.last().unwrap().as_ref().unwrap_err().code, Code::KeyReused);
            }
            other => panic!("{other:?}"),
        }
        assert!(claim(&mut world, 10).is_empty());
    }
    let agreeing = vec![keyed(1, false), keyed(1, false), keyed(2, true)];
    let added = add(&mut world, agreeing);
    assert_eq!(added[0], added[1]);
    assert_eq!(claim(&mut world, 10).len(), 1);
}

/// A key that is used again tells how it stands with its task, and a replacement always lives.
#[test]
fn a_replacement_lives_whatever_became_of_the_first() {
    let mut world = World::new(0, rules::queues());
    let keyed = |replace| TaskDraft {
        terms: Terms { key: Some("article-7".to_owned()), ..Terms::default() },
        fingerprint: 1,
        replace,
        ..task("1")
    };
    let again = |world: &mut World, replace| {
        let items = vec![keyed(replace)];
        match world.ask(Command::AddTasks { items, atomic: false }).unwrap() {
            Reply::Tasks(mut verdicts) => verdicts.remove(0),
            other => panic!("{other:?}"),
        }
    };
    let first = again(&mut world, false).unwrap();
    assert_eq!((first.created, first.state), (true, "pending"));
    world.ask(Command::CancelTask(first.id)).unwrap();
    let told = again(&mut world, false).unwrap();
    assert_eq!((told.id, told.created, told.state), (first.id, false, "cancelled"));
    let second = again(&mut world, true).unwrap();
    assert!(second.created && second.id != first.id);
    assert_eq!(second.state, "pending");
    let third = again(&mut world, true).unwrap();
    assert!(third.created && third.id != second.id, "also in place of a waiting one");
    assert_eq!(claim(&mut world, 10).len(), 1, "only the last one lives");
    assert_eq!(again(&mut world, true).unwrap_err().code, Code::WrongState);
    assert_eq!(again(&mut world, false).unwrap().state, "claimed");
}

/// What is planned for later than keys are kept would be done twice.
#[test]
fn a_key_is_kept_as_long_as_what_it_made_waits() {
    let mut rules = rules::queues();
    rules.retention.keys_ms = DAY_MS;
    let mut world = World::new(0, rules);
    let send_at = Some(world.now.plus(3 * DAY_MS));
    let key = || Some("k".to_owned());
    let keyed = || submit(NoticeDraft { send_at, key: key(), fingerprint: 1, ..draft("a", 1) });
    world.ask(keyed()).unwrap();
    let delay_ms = Some(3 * DAY_MS);
    let later = || {
        vec![TaskDraft {
            delay_ms,
            terms: Terms { key: key(), ..Terms::default() },
            fingerprint: 1,
            ..task("1")
        }]
    };
    let ids = add(&mut world, later());
    world.pass(2 * DAY_MS);
    world.pass_in_turns(20 * MINUTE_MS);
    let again = world.ask(keyed()).unwrap();
    assert!(matches!(again, Reply::Notice { created: false, .. }), "{again:?}");
    assert_eq!(add(&mut world, later()), ids);
    let jobs = sends(world.pass(DAY_MS));
    settle(&mut world, &jobs[0], Class::Ok, Some(0));
    world.ask(Command::CancelTask(ids[0])).unwrap();
    world.pass_in_turns(20 * MINUTE_MS);
    let again = world.ask(keyed()).unwrap();
    assert!(matches!(again, Reply::Notice { created: false, .. }), "{again:?}");
    assert_eq!(add(&mut world, later()), ids, "both can still be looked at");
    world.pass(100 * DAY_MS);
    world.pass_in_turns(20 * MINUTE_MS);
    world.pass_in_turns(20 * MINUTE_MS);
    let again = submit(NoticeDraft { key: key(), fingerprint: 1, ..draft("a", 1) });
    let again = world.ask(again).unwrap();
    assert!(matches!(again, Reply::Notice { created: true, .. }), "{again:?}");
    assert_ne!(add(&mut world, later()), ids);
}

/// A clock that was ahead has planned the next tick, also for the process that comes after.
#[test]
fn a_schedule_goes_on_when_a_clock_that_was_ahead_is_put_right() {
    for restart in [false, true] {
        let action = Action::Task { kind: "q".to_owned(), priority: 0, payload: "null".to_owned() };
        let mut world = World::new(0, rules::schedule(action));
        world.pass(3_650 * DAY_MS);
        world.now = world.now.minus(3_650 * DAY_MS);
        if restart {
            world.crash(usize::MAX);
        }
        world.idle();
        let runs = |world: &mut World| {
            let page = Page::default();
            let runs = world.look(Query::Runs { schedule: None, page });
            runs["items"].as_array().unwrap().len()
        };
        let before = runs(&mut world);
        world.pass(MINUTE_MS);
        assert_eq!(runs(&mut world), before + 1, "restart {restart}");
        let listed = world.look(Query::Schedules);
        let row = &listed["items"][0];
        assert!(row["last_good"].as_str().unwrap() <= world.now.to_string().as_str(), "{row}");
    }
}

#[test]
fn a_task_is_late_since_it_was_due_and_there_and_never_while_paused() {
    let mut world = World::new(0, rules::queues());
    let long_ago = Some(duebox::time::Timestamp(0));
    add(&mut world, vec![TaskDraft { due: long_ago, ..task("1") }]);
    world.pass(SECOND_MS);
    let late = |world: &mut World| {
        world.look(Query::Queues { kind: None, page: Page { limit: 1_000, cursor: None } })["items"]
            [0]["late_ms"]
            .clone()
    };
    assert_eq!(late(&mut world), 1_000);
    world.ask(Command::PauseQueue { kind: "q".to_owned(), paused: true }).unwrap();
    assert_eq!(late(&mut world), 0);
}

/// `thing1` is the notice's own value although each recipient brings a `thing10`.
#[test]
fn a_refused_value_of_the_notice_is_not_taken_for_the_recipients_own() {
    for (field, state) in [("thing1", "paused"), ("thing10", "sending")] {
        let mut world = World::new(0, rules::outbox());
        let mut draft = draft("a", 30);
        draft.data.insert("thing1".to_owned(), "all".to_owned());
        if let Audience::Inline(people) = &mut draft.audience {
            for one in people {
                one.data.insert("thing10".to_owned(), "own".to_owned());
            }
        }
        let (notice, jobs) = begin(&mut world, draft);
        let mut refusal = answer(&world, Class::Notice, Some(47_003));
        refusal.field = Some(field.to_owned());
        let (delivery, claim) = (jobs[0].delivery, jobs[0].fence);
        world.run(Command::SettleSend { delivery, fence: claim, tries: vec![refusal] });
        assert_eq!(world.look(Query::Notice(notice))["state"], state, "{field}");
    }
}

/// The answer to the first may have been lost with the connection.
#[test]
fn a_stream_that_comes_again_after_its_end_is_known() {
    let mut world = World::new(0, rules::outbox());
    let stream = NoticeDraft { audience: Audience::Stream, ..draft("a", 0) };
    let (notice, _) = begin(&mut world, stream);
    let Audience::Inline(people) = draft("a", 4).audience else { panic!() };
    let chunk = |from: usize, to: usize, done| {
        let recipients = people[from..to].to_vec();
        Command::AddRecipients { notice, recipients, done }
    };
    let mut added = |command| match world.ask(command) {
        Ok(Reply::Added { added, known, refused: None, total }) => Ok((added, known, total)),
        Ok(other) => panic!("{other:?}"),
        Err(refusal) => Err(refusal.code),
    };
    assert_eq!(added(chunk(0, 2, false)), Ok((2, 0, 2)));
    assert_eq!(added(chunk(2, 3, true)), Ok((1, 0, 3)));
    assert_eq!(added(chunk(0, 2, false)), Ok((0, 2, 3)));
    assert_eq!(added(chunk(2, 3, true)), Ok((0, 1, 3)));
    assert_eq!(added(chunk(2, 4, true)), Err(Code::NotOpen), "somebody new");
    world.ask(Command::Act { notice, act: Act::Cancel }).unwrap();
    let late = world.ask(chunk(0, 2, false));
    assert_eq!(late.unwrap_err().code, Code::NotOpen, "withdrawn");
}

/// The lease is about to run out, so nothing may be sent: no busy loop through the disk.
#[test]
fn what_a_worker_hands_back_is_not_handed_out_again_at_once() {
    let mut rules = rules::queues();
    let rule = rules.queues.get_mut("q").unwrap();
    rule.deliver = Deliver::Push(Push::default());
    let mut world = World::new(0, rules);
    let (_, jobs) = begin(&mut world, draft("a", 1));
    let (delivery, claim) = (jobs[0].delivery, jobs[0].fence);
    assert!(
        world.run(Command::ReturnSend { delivery, fence: claim, gone: false }).effects.is_empty()
    );
    let again = sends(world.pass(SECOND_MS));
    assert_eq!(again.len(), 1);
    settle(&mut world, &again[0], Class::Ok, Some(0));
    let command = Command::AddTasks { items: vec![task("1")], atomic: false };
    let [Effect::Push(pushed)] = &world.run(command).effects[..] else { panic!() };
    let (task, claim) = (pushed.id, pushed.fence);
    let back = Command::SettlePush { task, fence: claim, outcome: PushOutcome::Returned };
    assert!(world.run(back).effects.is_empty());
    assert!(matches!(&world.pass(SECOND_MS)[..], [Effect::Push(again)] if again.attempt == 1));
}

/// The provider is known to say so by mistake, to all that are on the wire at that moment.
#[test]
fn a_burst_of_missing_templates_refuses_nobody() {
    let mut world = World::new(0, rules::outbox());
    let (notice, mut jobs) = begin(&mut world, draft("a", 10));
    assert_eq!(jobs.len(), 10);
    for job in &jobs {
        assert!(settle(&mut world, job, Class::Notice, Some(40_037)).is_empty());
    }
    assert_eq!(world.look(Query::Notice(notice))["state"], "paused");
    assert_eq!(count(&mut world, notice, "pending"), 10);
    assert!(world.pass_in_turns(MINUTE_MS).is_empty());
    jobs = sends(world.run(Command::Act { notice, act: Act::Resume }).effects);
    assert_eq!(jobs.len(), 10);
    for job in &jobs {
        settle(&mut world, job, Class::Ok, Some(0));
    }
    assert_eq!(count(&mut world, notice, "accepted"), 10);
}

/// The first attempt may have been accepted: sending it anew when the notice is mended would be
/// a second message.
#[test]
fn a_refusal_of_the_notice_leaves_in_doubt_what_was_in_doubt() {
    let mut world = World::new(0, rules::outbox());
    let (notice, jobs) = begin(&mut world, draft("a", 1));
    assert!(settle(&mut world, &jobs[0], Class::InDoubt, None).is_empty());
    let again = sends(world.pass(MINUTE_MS));
    assert_eq!(again.len(), 1);
    settle(&mut world, &again[0], Class::Notice, Some(40_249));
    assert_eq!(count(&mut world, notice, "in_doubt"), 1);
    assert_eq!(count(&mut world, notice, "refused"), 0);
}

/// A row that the base refuses would be in the journal by then, and stop every start.
#[test]
fn values_that_grow_as_json_are_refused_before_anything_is_stored() {
    let mut world = World::new(0, rules::outbox());
    let data = (1..=19).map(|n| (format!("a{n}"), "\"".repeat(200))).collect();
    let people = vec![Recipient { openid: "o1".to_owned(), data }];
    let inline = NoticeDraft { audience: Audience::Inline(people.clone()), ..draft("a", 0) };
    let refused = world.ask(submit(inline)).unwrap_err();
    assert_eq!(refused.code, Code::FieldTooLong);
    assert_eq!(refused.fields[0].0, "/audience/openids/0/data");
    let streamed = NoticeDraft { audience: Audience::Stream, ..draft("a", 0) };
    let (notice, _) = begin(&mut world, streamed);
    let add = Command::AddRecipients { notice, recipients: people, done: false };
    let Reply::Added { added: 0, refused: Some((0, refusal)), .. } = world.ask(add).unwrap() else {
        panic!("stored")
    };
    assert_eq!(refusal.code, Code::FieldTooLong);
}

#[test]
fn a_resend_names_each_state_once() {
    let mut world = World::new(0, impatient());
    let (notice, jobs) = begin(&mut world, draft("a", 1));
    settle(&mut world, &jobs[0], Class::Retry, None);
    let act = Act::Resend { states: vec![DeliveryState::Dead; 7_000], errcode: None };
    assert_eq!(world.ask(Command::Act { notice, act }).unwrap_err().code, Code::Invalid);
}

/// After a take-over people ask who sent what is in doubt.
#[test]
fn an_attempt_that_was_lost_is_logged_as_its_senders() {
    let mut world = World::new(0, rules::outbox());
    let (notice, jobs) = begin(&mut world, draft("a", 1));
    assert_eq!(jobs.len(), 1);
    world.crash(usize::MAX);
    let filter = LogFilter { notice: Some(notice), ..LogFilter::default() };
    let log = world.look(Query::Log { filter, order: Order::Ascending, page: Page::default() });
    let entry = &log["items"][0];
    assert_eq!((&entry["class"], &entry["attempt"]), (&"in_doubt".into(), &1.into()), "{log}");
    assert_eq!((&entry["term"], &entry["worker"]), (&1.into(), &"worker-1".into()), "{log}");
}

/// A leader that slept past its lease wakes up with claims that ran out. It leaves in a moment, and
/// what it claimed again until then would be in doubt once more.
#[test]
fn nothing_is_claimed_without_a_lease() {
    let mut world = World::new(0, rules::outbox());
    let (notice, jobs) = begin(&mut world, draft("a", 30));
    let sending = jobs.len() as u64;
    assert!(0 < sending && sending < 30);
    world.engine.set_leads(false);
    assert!(sends(world.pass(MINUTE_MS)).is_empty());
    assert!(sends(world.pass(MINUTE_MS)).is_empty());
    assert_eq!(
        (count(&mut world, notice, "sending"), count(&mut world, notice, "pending")),
        (0, 30)
    );
    world.engine.set_leads(true);
    assert_eq!(sends(world.idle()).len() as u64, sending);
}

/// A consumer that is late, or gets a task again, learns what it is for.
#[test]
fn a_task_says_when_it_was_asked_for_however_often_it_comes() {
    let mut world = World::new(0, rules::queues());
    let due = world.now.plus(5 * SECOND_MS);
    add(&mut world, vec![TaskDraft { due: Some(due), ..task("1") }]);
    world.pass(3 * MINUTE_MS);
    for attempt in 1..=3 {
        let held = claim(&mut world, 1);
        assert_eq!((held[0].due, held[0].attempt), (due, attempt));
        let verdict = Verdict::Nack { delay_ms: Some(1_000), reason: None };
        let (task, claim) = (held[0].id, held[0].claim.clone());
        world.ask(Command::Settle(vec![Settlement { task, claim, verdict }])).unwrap();
        world.pass(2_000);
    }
}
