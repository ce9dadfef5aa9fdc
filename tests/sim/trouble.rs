//! Failures that are nobody's in particular: the line, the token service, a notice that nobody gets.

use duebox::engine::command::{Act, Command, SendJob};
use duebox::engine::query::{LogFilter, Page, Query};
use duebox::id::Id;
use duebox::model::attempt::Class;
use duebox::store::Order;
use duebox::time::{HOUR_MS, MINUTE_MS};

use super::behaviour::{accept_all, count, draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

fn begin(world: &mut World, openids: usize) -> (Id, Vec<SendJob>) {
    let stepped = world.run(submit(draft("a", openids)));
    let duebox::engine::Handled::Now(Ok(reply)) = stepped.handled else { panic!("refused") };
    (notice_id(reply), sends(stepped.effects))
}

/// Answers all that is sent in so much time with the same; gives how many that were.
fn answer_all(
    world: &mut World,
    mut jobs: Vec<SendJob>,
    ms: u64,
    class: Class,
    errcode: Option<i64>,
) -> usize {
    let (end, mut answered) = (world.now.plus(ms), 0);
    while world.now < end {
        while let Some(job) = jobs.pop() {
            answered += 1;
            jobs.extend(settle(world, &job, class, errcode));
        }
        jobs = sends(world.pass_in_turns(10_000));
    }
    answered
}

fn tenant(world: &mut World) -> serde_json::Value {
    world.look(Query::Tenants)["items"][0].clone()
}

#[test]
fn a_night_without_a_line_costs_nobody_anything() {
    let mut world = World::new(0, rules::outbox());
    let (id, jobs) = begin(&mut world, 50);
    let tries = answer_all(&mut world, jobs, 10 * HOUR_MS, Class::Unreached, None);
    assert!((10..1500).contains(&tries), "{tries} probes in ten hours");
    assert_eq!((count(&mut world, id, "dead"), count(&mut world, id, "accepted")), (0, 0));
    let seen = tenant(&mut world);
    assert_eq!((&seen["circuit"], &seen["requests_today"]), (&"open".into(), &0.into()));
    let log =
        Query::Log { filter: LogFilter::default(), order: Order::Ascending, page: Page::default() };
    assert_eq!(world.look(log)["items"].as_array().unwrap().len(), 0, "nothing left the house");
    // The line is back: all go out within two minutes.
    let mut jobs = Vec::new();
    for _ in 0..12 {
        jobs.extend(sends(world.pass_in_turns(10_000)));
        accept_all(&mut world, std::mem::take(&mut jobs));
    }
    assert_eq!(count(&mut world, id, "accepted"), 50);
    assert_eq!(tenant(&mut world)["circuit"], "closed");
}

#[test]
fn a_rested_tenant_probes_with_one_and_stays_open_meanwhile() {
    let mut world = World::new(0, rules::outbox());
    let (_, jobs) = begin(&mut world, 50);
    for job in jobs {
        settle(&mut world, &job, Class::Unreached, None);
    }
    let probes = sends(world.pass_in_turns(5_000));
    assert_eq!(probes.len(), 1);
    assert_eq!(tenant(&mut world)["circuit"], "open");
    world.crash(0);
    assert_eq!(tenant(&mut world)["circuit"], "open", "also after a restart");
}

#[test]
fn a_code_that_all_get_pauses_the_notice_known_or_not() {
    for (code, told) in [(40165, "page"), (99_999, "not in our table"), (-1, "-1")] {
        let mut world = World::new(0, rules::outbox());
        let (id, jobs) = begin(&mut world, 200);
        let class = duebox::model::errcode::classify(code);
        let tries = answer_all(&mut world, jobs, HOUR_MS, class, Some(code));
        // Those in flight when it pauses still come back.
        assert!(tries <= 20 + 2 * 8, "{tries} sends of {code}");
        let notice = world.look(Query::Notice(id));
        assert_eq!(notice["state"], "paused", "{code}: {notice}");
        assert_eq!(notice["counts"]["dead"].as_u64().unwrap_or(0), 0, "{notice}");
        let reason = notice["reason"].as_str().unwrap();
        assert!(reason.contains(&code.to_string()) && reason.contains(told), "{reason}");
        // Mended: the pause is over, and the count begins anew.
        let resumed = world.run(Command::Act { notice: id, act: Act::Resume });
        accept_all(&mut world, sends(resumed.effects));
        for _ in 0..60 {
            let jobs = sends(world.pass_in_turns(MINUTE_MS));
            accept_all(&mut world, jobs);
        }
        let notice = world.look(Query::Notice(id));
        assert_ne!(notice["state"], "paused", "{notice}");
    }
}

#[test]
fn what_is_the_recipients_own_settles_the_recipient_only() {
    for code in [43004, 43101] {
        let mut world = World::new(0, rules::outbox());
        let (id, jobs) = begin(&mut world, 60);
        let class = duebox::model::errcode::classify(code);
        answer_all(&mut world, jobs, HOUR_MS, class, Some(code));
        let notice = world.look(Query::Notice(id));
        assert_eq!((&notice["state"], &notice["counts"]["refused"]), (&"done".into(), &60.into()));
    }
}

#[test]
fn a_notice_that_everybody_is_refused_is_not_done() {
    for act in [Act::Resume, Act::Cancel] {
        let mut world = World::new(0, rules::outbox());
        let (id, jobs) = begin(&mut world, 2);
        assert_eq!(jobs.len(), 2, "both are on the wire before the first refusal");
        answer_all(&mut world, jobs, HOUR_MS, Class::Notice, Some(47_003));
        let notice = world.look(Query::Notice(id));
        assert_eq!((&notice["state"], &notice["counts"]["refused"]), (&"paused".into(), &2.into()));
        assert!(notice["reason"].as_str().unwrap().contains("47003"), "{notice}");
        world.ask(Command::Act { notice: id, act: act.clone() }).unwrap();
        let state = world.look(Query::Notice(id))["state"].clone();
        assert_eq!(state, if act == Act::Resume { "done" } else { "cancelled" });
    }
    // Somebody got it: the others were refused for what is their own.
    let mut world = World::new(0, rules::outbox());
    let (id, jobs) = begin(&mut world, 2);
    settle(&mut world, &jobs[0], Class::Ok, Some(0));
    settle(&mut world, &jobs[1], Class::Notice, Some(47_003));
    assert_eq!(world.look(Query::Notice(id))["state"], "done");
}
