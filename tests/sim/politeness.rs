//! What a tenant may send and when: the day's limit and its reserve, quiet hours, messages per person,
//! a pace that WeChat wants slower.

use std::collections::BTreeSet;

use duebox::engine::command::{AccountTold, Command, NoticeDraft, SendJob, TenantLimits};
use duebox::engine::query::Query;
use duebox::id::Id;
use duebox::model::attempt::Class;
use duebox::model::quiet::Quiet;
use duebox::model::rules::{Cap, Rules, TenantRule};
use duebox::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, zone};

use super::behaviour::{accept_all, answer, count, draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

fn with(change: impl Fn(&mut TenantRule)) -> Rules {
    let mut rules = rules::outbox();
    rules.tenants.values_mut().for_each(change);
    rules
}

fn begin(world: &mut World, draft: NoticeDraft) -> (Id, Vec<SendJob>) {
    let stepped = world.run(submit(draft));
    let duebox::engine::Handled::Now(reply) = stepped.handled else { panic!() };
    (notice_id(reply.unwrap()), sends(stepped.effects))
}

fn urgent(draft: NoticeDraft) -> NoticeDraft {
    NoticeDraft { urgent: true, ..draft }
}

#[test]
fn at_the_limit_of_the_day_the_tenant_rests_and_goes_on_the_next_one() {
    let mut world = World::new(0, with(|rule| rule.daily_limit = Some(10)));
    let (id, jobs) = begin(&mut world, draft("a", 25));
    accept_all(&mut world, jobs);
    assert_eq!(count(&mut world, id, "accepted"), 10);
    let shown = world.look(Query::Notice(id));
    // It is 19:06 in Shanghai when histories begin.
    assert_eq!(shown["goes_on_at"], "2026-11-18T16:05:00.000Z", "{shown}");
    assert!(shown["waits_for"].as_str().unwrap().contains("limit of the day"), "{shown}");
    world.crash(usize::MAX);
    world.pass(MINUTE_MS);
    assert_eq!(count(&mut world, id, "accepted"), 10, "a restart grants nothing");
    let other = begin(&mut world, draft("b", 2)).1;
    assert_eq!(other.len(), 2, "another tenant has its own");
    let jobs = sends(world.pass(5 * HOUR_MS));
    accept_all(&mut world, jobs);
    assert_eq!(count(&mut world, id, "accepted"), 20, "a new day");
}

#[test]
fn the_reserve_of_the_day_is_for_urgent_notices() {
    let mut world = World::new(
        0,
        with(|rule| {
            (rule.daily_limit, rule.reserve) = (Some(10), 4);
        }),
    );
    let (id, jobs) = begin(&mut world, draft("a", 25));
    accept_all(&mut world, jobs);
    assert_eq!(count(&mut world, id, "accepted"), 6);
    let shown = world.look(Query::Notice(id));
    assert!(shown["waits_for"].as_str().unwrap().contains("urgent"), "{shown}");
    let (first, jobs) = begin(&mut world, urgent(draft("a", 3)));
    accept_all(&mut world, jobs);
    assert_eq!(count(&mut world, first, "accepted"), 3);
    let (last, jobs) = begin(&mut world, urgent(draft("a", 3)));
    accept_all(&mut world, jobs);
    assert_eq!(count(&mut world, last, "accepted"), 1);
    let tenants = world.look(Query::Tenants);
    let quota = &tenants["items"][0]["quota"];
    assert_eq!(
        (&quota["limit"], &quota["used"], &quota["left"]),
        (&10.into(), &10.into(), &0.into())
    );
}

#[test]
fn what_the_provider_told_of_the_day_counts_too() {
    let mut world = World::new(0, with(|rule| rule.daily_limit = Some(100)));
    world
        .ask(Command::AccountTold { tenant: "a".into(), told: AccountTold::Quota(50, 45) })
        .unwrap();
    let (id, jobs) = begin(&mut world, draft("a", 25));
    accept_all(&mut world, jobs);
    assert_eq!(count(&mut world, id, "accepted"), 5, "others send for the account as well");
}

#[test]
fn in_quiet_hours_only_what_is_urgent_is_sent() {
    let shanghai = zone("Asia/Shanghai").unwrap();
    let at = |hour| jiff::civil::Time::constant(hour, 0, 0, 0);
    let quiet = Quiet::new(at(19), at(8), shanghai).unwrap();
    let mut world = World::new(0, with(|rule| rule.quiet = Some(quiet.clone())));
    let (id, jobs) = begin(&mut world, draft("a", 2));
    assert!(jobs.is_empty());
    let shown = world.look(Query::Notice(id));
    assert_eq!(
        (&shown["goes_on_at"], &shown["waits_for"]),
        (&"2026-11-19T00:00:00.000Z".into(), &"quiet hours".into())
    );
    let jobs = begin(&mut world, urgent(draft("a", 1))).1;
    assert_eq!(jobs.len(), 1);
    let late = world.look(Query::Notice(id))["state"].clone();
    assert_eq!(late, "sending");
    assert!(sends(world.pass(12 * HOUR_MS)).is_empty());
    assert_eq!(sends(world.pass(HOUR_MS)).len(), 2);
}

#[test]
fn a_person_gets_so_many_messages_in_a_time_and_the_rest_is_skipped() {
    let cap = Cap { messages: 2, per_ms: DAY_MS };
    let mut world = World::new(0, with(|rule| rule.cap = Some(cap)));
    for n in 0..2 {
        let (id, jobs) = begin(&mut world, draft("a", 1));
        if n == 0 {
            // What was not taken does not count.
            let again = settle(&mut world, &jobs[0], Class::Retry, Some(43117));
            assert!(again.is_empty());
            let jobs = sends(world.pass(40 * MINUTE_MS));
            accept_all(&mut world, jobs);
        } else {
            // And what is in doubt counts once, however often it is repeated.
            settle(&mut world, &jobs[0], Class::InDoubt, None);
            let jobs = sends(world.pass(10 * SECOND_MS));
            accept_all(&mut world, jobs);
        }
        assert_eq!(count(&mut world, id, "accepted"), 1);
    }
    let (over, jobs) = begin(&mut world, draft("a", 1));
    assert!(jobs.is_empty());
    assert_eq!(count(&mut world, over, "skipped"), 1);
    let page = Default::default();
    let rows = world.look(Query::Deliveries { notice: over, state: None, openid: None, page });
    assert_eq!(rows["items"][0]["reason"], "cap");
    assert_eq!(begin(&mut world, draft("b", 1)).1.len(), 1, "another tenant counts by itself");
    world.pass(DAY_MS);
    assert_eq!(begin(&mut world, draft("a", 1)).1.len(), 1);
}

#[test]
fn what_came_back_unsent_does_not_count_against_the_cap() {
    let cap = Cap { messages: 1, per_ms: DAY_MS };
    let mut world = World::new(0, with(|rule| rule.cap = Some(cap)));
    let (id, mut jobs) = begin(&mut world, draft("a", 1));
    for round in 0..4 {
        let (delivery, fence) = (jobs[0].delivery, jobs[0].fence);
        let back = if round % 2 == 0 {
            Command::ReturnSend { delivery, fence, gone: false }
        } else {
            Command::SettleSend { delivery, fence, tries: Vec::new() }
        };
        jobs = sends(world.run(back).effects);
        jobs.extend(sends(world.pass(10 * SECOND_MS)));
        assert_eq!(jobs.len(), 1);
    }
    accept_all(&mut world, jobs);
    assert_eq!(count(&mut world, id, "accepted"), 1);
}

#[test]
fn whom_the_business_no_longer_knows_is_skipped_unless_it_may_have_been_shown_something() {
    let mut world = World::new(0, with(|_| ()));
    let (id, jobs) = begin(&mut world, draft("a", 2));
    settle(&mut world, &jobs[1], Class::InDoubt, None);
    let again = sends(world.pass(10 * SECOND_MS));
    for job in [&jobs[0], &again[0]] {
        let (delivery, fence) = (job.delivery, job.fence);
        let told = || Command::ReturnSend { delivery, fence, gone: true };
        world.ask(told()).unwrap();
        world.ask(told()).unwrap();
    }
    assert_eq!(count(&mut world, id, "skipped"), 1);
    assert_eq!(count(&mut world, id, "in_doubt"), 1);
    let page = Default::default();
    let rows = world.look(Query::Deliveries { notice: id, state: None, openid: None, page });
    assert_eq!(
        (&rows["items"][0]["reason"], &rows["items"][0]["attempt"]),
        (&"gone".into(), &0.into())
    );
}

#[test]
fn a_tenant_that_shall_be_slower_is_and_grows_back() {
    let mut world = World::new(0, with(|rule| rule.rate = 100));
    let (_, jobs) = begin(&mut world, draft("a", 2_000));
    settle(&mut world, &jobs[0], Class::Retry, Some(45011));
    let pace = |world: &mut World| world.look(Query::Tenants)["items"][0]["pace_percent"].clone();
    assert_eq!(pace(&mut world), 50);
    world.crash(usize::MAX);
    assert_eq!(pace(&mut world), 50, "a restart forgets nothing");
    world.pass(2 * MINUTE_MS);
    for _ in 0..30 {
        let jobs = sends(world.pass(10 * SECOND_MS));
        accept_all(&mut world, jobs);
    }
    assert_eq!(pace(&mut world), 100);
}

#[test]
fn rate_and_concurrency_can_be_changed_live_and_outlive_a_restart() {
    let mut world = World::new(0, rules::outbox());
    let set = |rate, concurrency| Command::LimitTenant {
        tenant: "a".into(),
        limits: TenantLimits { rate, concurrency },
    };
    world.ask(set(Some(Some(10)), Some(Some(2)))).unwrap();
    world.crash(usize::MAX);
    let (_, jobs) = begin(&mut world, draft("a", 100));
    let slots = BTreeSet::from_iter(jobs.iter().map(|job| job.concurrency));
    assert_eq!((jobs.len(), slots), (1, BTreeSet::from([2])), "a tenth of a second's worth");
    let shown = world.look(Query::Tenants)["items"][0].clone();
    assert_eq!((&shown["rate"], &shown["configured_rate"]), (&10.into(), &0.into()));
    let one = vec![answer(&world, Class::Ok, Some(0))];
    let (delivery, fence) = (jobs[0].delivery, jobs[0].fence);
    world.run(Command::SettleSend { delivery, fence, tries: one });
    let more = sends(world.run(set(Some(None), Some(None))).effects);
    assert_eq!(more.len(), 10, "eight on the wire, and two queued behind them");
    let nobody = Command::LimitTenant { tenant: "nobody".into(), limits: TenantLimits::default() };
    assert!(world.ask(nobody).is_err());
}
