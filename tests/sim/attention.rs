//! What needs a person is found, told since when, and gone when it is mended.

use duebox::engine::command::{Act, Command, Reply, SendJob};
use duebox::engine::query::{Page, Query};
use duebox::engine::view::View;
use duebox::id::{DeliveryId, Id};
use duebox::model::attempt::Class;
use duebox::model::attention::{Kind, Row};
use duebox::model::delivery::Resolution;
use duebox::time::{HOUR_MS, MINUTE_MS};

use super::behaviour::{accept_all, draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

fn rows(world: &mut World) -> Vec<Row> {
    match world.ask(Command::Query(Query::Attention)) {
        Ok(Reply::View(view)) => match *view {
            View::Attention(found) => found.rows,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

fn kinds(world: &mut World) -> Vec<(Kind, String)> {
    rows(world).into_iter().map(|row| (row.kind, row.subject)).collect()
}

fn begin(world: &mut World, openids: usize) -> (Id, Vec<SendJob>) {
    let stepped = world.run(submit(draft("a", openids)));
    let duebox::engine::Handled::Now(Ok(reply)) = stepped.handled else { panic!("refused") };
    (notice_id(reply), sends(stepped.effects))
}

#[test]
fn a_calm_daemon_needs_nobody() {
    let mut world = World::new(0, rules::outbox());
    let (_, jobs) = begin(&mut world, 3);
    assert_eq!(kinds(&mut world), []);
    accept_all(&mut world, jobs);
    assert_eq!(kinds(&mut world), []);
}

#[test]
fn a_paused_notice_is_told_with_its_reason_also_after_a_restart() {
    let mut world = World::new(0, rules::outbox());
    let (id, jobs) = begin(&mut world, 3);
    world.run(Command::Act { notice: id, act: Act::Pause });
    let began = world.now;
    world.pass_in_turns(HOUR_MS);
    let found = rows(&mut world);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!(found[0].key(), (Kind::NoticePaused, id.to_string().as_str()));
    assert!(found[0].sentence.contains("paused by an operator"), "{found:?}");
    assert!(found[0].since <= began, "{found:?}");
    let acts: Vec<&str> = found[0].acts.iter().map(|act| act.label).collect();
    assert_eq!(acts, ["show", "resume", "cancel"]);
    drop(jobs);
    world.crash(0);
    let told = kinds(&mut world);
    assert!(told.contains(&(Kind::NoticePaused, id.to_string())), "{told:?}");
    world.run(Command::Act { notice: id, act: Act::Resume });
    let told = kinds(&mut world);
    assert!(!told.contains(&(Kind::NoticePaused, id.to_string())), "{told:?}");
}

#[test]
fn a_tenant_that_rests_is_told_until_it_goes_on() {
    let mut world = World::new(0, rules::outbox());
    let (_, jobs) = begin(&mut world, 3);
    for job in jobs {
        settle(&mut world, &job, Class::Unreached, None);
    }
    assert_eq!(kinds(&mut world), [(Kind::TenantParked, "a".to_owned())]);
    let since = rows(&mut world)[0].since;
    let probe = sends(world.pass_in_turns(5_000));
    assert_eq!(rows(&mut world)[0].since, since, "it keeps the time at which it was first seen");
    accept_all(&mut world, probe);
    assert_eq!(kinds(&mut world), []);
}

#[test]
fn what_is_in_doubt_is_found_over_all_notices_and_gone_when_resolved() {
    let mut world = World::new(0, rules::outbox());
    let mut doubts = Vec::new();
    for _ in 0..3 {
        let (id, mut jobs) = begin(&mut world, 2);
        let lost = jobs.pop().unwrap();
        accept_all(&mut world, jobs);
        doubts.push((id, lost));
    }
    for (_, job) in &doubts {
        settle(&mut world, job, Class::InDoubt, None);
    }
    for _ in 0..40 {
        for job in sends(world.pass_in_turns(MINUTE_MS)) {
            settle(&mut world, &job, Class::InDoubt, None);
        }
    }
    let told = kinds(&mut world);
    let wanted: Vec<_> = doubts.iter().map(|(id, _)| (Kind::InDoubt, id.to_string())).collect();
    assert_eq!(
        told.iter().filter(|(kind, _)| *kind == Kind::InDoubt).cloned().collect::<Vec<_>>(),
        wanted
    );
    world.crash(0);
    // Page by page, each once, and by notice.
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = Page { limit: 2, cursor };
        let found = world.look(Query::Doubts { tenant: None, notice: None, page });
        for item in found["items"].as_array().unwrap() {
            assert_eq!((&item["state"], &item["tenant"]), (&"in_doubt".into(), &"a".into()));
            seen.push(item["id"].as_str().unwrap().to_owned());
        }
        cursor = found["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let all: Vec<String> = doubts.iter().map(|(_, job)| job.delivery.to_string()).collect();
    assert_eq!(seen, all);
    let page = Page::default();
    let only = Query::Doubts { tenant: Some("a".to_owned()), notice: Some(doubts[1].0), page };
    assert_eq!(world.look(only)["items"].as_array().unwrap().len(), 1);
    for (_, job) in &doubts {
        let delivery: DeliveryId = job.delivery;
        let resolved = world.ask(Command::Resolve { delivery, resolution: Resolution::Accepted });
        assert!(resolved.is_ok(), "{resolved:?}");
    }
    assert!(kinds(&mut world).iter().all(|(kind, _)| *kind != Kind::InDoubt));
    let page = Page::default();
    let none = world.look(Query::Doubts { tenant: None, notice: None, page });
    assert_eq!(none["items"].as_array().unwrap().len(), 0);
}
