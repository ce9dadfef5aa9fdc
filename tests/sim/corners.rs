//! Situations in which two things meet: small, named, each once a mistake.

use duebox::engine::Handled;
use duebox::engine::command::{Command, Effect, TaskDraft};
use duebox::limits;
use duebox::time::{DAY_MS, MINUTE_MS, SECOND_MS};

use super::behaviour::{add, request, task};
use super::rules;
use super::world::World;

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
