//! Notices as old as they are kept: removed in bounded steps, and by nobody taken up again halfway.

use duebox::engine::Handled;
use duebox::engine::command::{Act, Command, NoticeDraft, Redrive, Reply};
use duebox::engine::query::Query;
use duebox::engine::refusal::Code;
use duebox::id::{DeliveryId, Id};
use duebox::limits;
use duebox::model::attempt::Class;
use duebox::model::delivery::{DeliveryState, Resolution};
use duebox::model::rules::Rules;
use duebox::store::Order;
use duebox::time::{DAY_MS, HOUR_MS, MINUTE_MS};

use super::behaviour::{draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

/// Deliveries are given up after their first failure, and all is kept for a day.
fn one_day() -> Rules {
    let mut rules = rules::outbox();
    rules.retention.log_ms = DAY_MS;
    rules.retention.notices_ms = DAY_MS;
    for tenant in rules.tenants.values_mut() {
        tenant.retry.max_attempts = 1;
    }
    rules
}

/// A notice to so many, withdrawn before anything was sent.
fn withdrawn(world: &mut World, recipients: usize) -> Id {
    let send_at = Some(world.now.plus(HOUR_MS));
    let notice = world.ask(submit(NoticeDraft { send_at, ..draft("a", recipients) })).unwrap();
    let notice = notice_id(notice);
    world.ask(Command::Act { notice, act: Act::Cancel }).unwrap();
    notice
}

fn notices(world: &mut World) -> usize {
    let all = Query::Notices {
        tenant: None,
        state: None,
        key: None,
        marks: Vec::new(),
        order: Order::Descending,
        page: Default::default(),
    };
    world.look(all)["items"].as_array().unwrap().len()
}

#[test]
fn many_old_notices_go_in_small_commits() {
    let mut world = World::new(0, one_day());
    for _ in 0..40 {
        withdrawn(&mut world, 45);
    }
    world.pass_in_turns(HOUR_MS);
    world.now = world.now.plus(DAY_MS);
    let before = world.journal.len();
    world.pass_in_turns(HOUR_MS);
    assert_eq!(notices(&mut world), 0);
    let largest = world.journal[before..].iter().map(|(_, writes)| writes.len()).max().unwrap();
    // Of a delivery: its row, its place by recipient. Of a notice: its row and its body.
    assert!(largest < 3 * limits::STEP_ROWS, "{largest} changes in one commit");
    assert!(world.journal.len() > before + 3, "1,800 deliveries take several steps");
}

#[test]
fn nobody_takes_up_a_notice_that_is_half_removed() {
    let mut world = World::new(0, one_day());
    let recipients = limits::STEP_ROWS + 50;
    let stepped = world.run(submit(draft("a", recipients)));
    let Handled::Now(Ok(reply)) = stepped.handled else { panic!() };
    let notice = notice_id(reply);
    let mut jobs = sends(stepped.effects);
    while let Some(job) = jobs.pop() {
        jobs.extend(settle(&mut world, &job, Class::Retry, None));
    }
    assert_eq!(super::behaviour::count(&mut world, notice, "dead"), recipients as u64);
    world.now = world.now.plus(DAY_MS + HOUR_MS);
    // The pass begins within minutes; one step after the other is let through. Looked at without a
    // turn, which would be the next step.
    let half = |world: &mut World| {
        let mut there = |number| {
            let query = Command::Query(Query::Delivery(DeliveryId { notice, number }));
            matches!(world.engine.handle(world.now, query).unwrap(), Handled::Now(Ok(_)))
        };
        !there(1) && there(recipients as u32)
    };
    for turn in 0.. {
        let stepped = world.step(None, super::world::Fate::Answered).unwrap();
        if half(&mut world) {
            break;
        }
        world.now = stepped.wake.unwrap().max(world.now);
        assert!(turn < 10_000, "it never began");
    }
    let resend = Act::Resend { states: vec![DeliveryState::Dead], errcode: None };
    for act in [resend, Act::Resume, Act::Cancel] {
        let refused = world.ask(Command::Act { notice, act }).unwrap_err();
        assert!(refused.code == Code::WrongState && refused.detail.contains("being removed"));
    }
    let delivery = DeliveryId { notice, number: recipients as u32 };
    let resolved = Command::Resolve { delivery, resolution: Resolution::Resend };
    assert_eq!(world.ask(resolved).unwrap_err().code, Code::WrongState);
    let redrive = Redrive { deliveries: vec![delivery], ..Redrive::default() };
    let Reply::Redriven { count, .. } = world.ask(Command::Redrive(redrive)).unwrap() else {
        panic!()
    };
    assert_eq!(count, 0);
    // Also a crash, and a pass that begins again under a longer retention, finish it.
    let mut longer = one_day();
    longer.retention.notices_ms = 90 * DAY_MS;
    world.configure(longer);
    world.crash(usize::MAX);
    assert_eq!(notices(&mut world), 1);
    world.pass_in_turns(HOUR_MS);
    assert_eq!(notices(&mut world), 0);
}

#[test]
fn a_removed_notice_leaves_no_timer() {
    let mut world = World::new(0, one_day());
    let expires_at = Some(world.now.plus(30 * DAY_MS));
    world.ask(submit(NoticeDraft { expires_at, ..draft("a", 1) })).map(notice_id).unwrap();
    let notice = world.look(Query::Notices {
        tenant: None,
        state: None,
        key: None,
        marks: Vec::new(),
        order: Order::Descending,
        page: Default::default(),
    });
    let id: Id = notice["items"][0]["id"].as_str().unwrap().parse().unwrap();
    world.ask(Command::Act { notice: id, act: Act::Cancel }).unwrap();
    world.pass_in_turns(20 * MINUTE_MS);
    world.now = world.now.plus(2 * DAY_MS);
    world.pass_in_turns(HOUR_MS);
    assert_eq!(notices(&mut world), 0);
    // What is left is the pruning's own.
    let deleted = |key: &[u8]| {
        let last = world.journal.iter().rev().flat_map(|(_, writes)| writes);
        last.filter(|write| write.key == key).map(|write| write.value.is_none()).next()
    };
    let expiry: Vec<_> = world
        .journal
        .iter()
        .flat_map(|(_, writes)| writes)
        .filter(|write| write.tree == duebox::store::schema::Tree::Delay)
        .filter(|write| write.key.windows(8).any(|part| part == id.0.to_be_bytes()))
        .map(|write| write.key.clone())
        .collect();
    assert!(expiry.len() > 1);
    assert!(expiry.iter().all(|key| deleted(key) == Some(true)));
}
