//! Task types come with their first task and go when nothing is left of them.

use duebox::engine::Handled;
use duebox::engine::command::{ClaimRequest, Command, Reply, TaskDraft};
use duebox::engine::query::{Page, Query};
use duebox::engine::refusal::Code;
use duebox::model::task::Terms;
use duebox::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use serde_json::Value as Json;

use super::rules;
use super::world::World;

fn add(world: &mut World, kind: &str, key: Option<&str>) -> Result<(duebox::id::Id, bool), Code> {
    let draft = TaskDraft {
        kind: kind.to_owned(),
        payload: "1.10".to_owned(),
        terms: Terms { max_attempts: None, key: key.map(str::to_owned) },
        ..TaskDraft::default()
    };
    match world.ask(Command::AddTasks { items: vec![draft], atomic: false }) {
        Ok(Reply::Tasks(mut added)) => {
            added.remove(0).map(|task| (task.id, task.created)).map_err(|refusal| refusal.code)
        }
        other => panic!("{other:?}"),
    }
}

fn queues(world: &mut World) -> Vec<String> {
    let page = Page { limit: 1_000, cursor: None };
    let found = world.look(Query::Queues { kind: None, page });
    let items = found["items"].as_array().unwrap();
    items.iter().map(|item| item["type"].as_str().unwrap().to_owned()).collect()
}

fn types(world: &mut World) -> usize {
    match world.ask(Command::Query(Query::Stats)) {
        Ok(Reply::View(view)) => match *view {
            duebox::engine::view::View::Stats(stats) => stats.types,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

#[test]
fn whoever_waits_for_a_type_makes_none_and_gets_its_first_task() {
    let mut world = World::new(0, rules::outbox());
    let before = types(&mut world);
    let wait = |kind: &str| ClaimRequest {
        kind: kind.to_owned(),
        max: 1,
        wait_ms: MINUTE_MS,
        ..ClaimRequest::default()
    };
    for number in 0..300 {
        let stepped = world.run(Command::Claim(wait(&format!("none-{number}"))));
        assert!(matches!(stepped.handled, Handled::Waits(_)));
    }
    assert_eq!(types(&mut world), before);
    let stepped = world.run(Command::Claim(wait("some")));
    let Handled::Waits(waiter) = stepped.handled else { panic!("it does not wait") };
    add(&mut world, "some", None).unwrap();
    assert_eq!(types(&mut world), before + 1);
    let _ = waiter;
    world.pass_in_turns(2 * MINUTE_MS);
    world.crash(0);
    assert_eq!(types(&mut world), before + 1, "and it lasts");
}

#[test]
fn an_empty_type_is_dropped_by_hand_and_one_with_tasks_is_not() {
    let mut world = World::new(0, rules::outbox());
    let before = types(&mut world);
    let (task, _) = add(&mut world, "wrong-4711", None).unwrap();
    let refused = world.ask(Command::DropQueue("wrong-4711".to_owned())).unwrap_err();
    assert_eq!(refused.code, Code::WrongState);
    assert!(refused.detail.contains("1 tasks"), "{}", refused.detail);
    world.ask(Command::CancelTask(task)).unwrap();
    world.ask(Command::DropQueue("wrong-4711".to_owned())).unwrap();
    assert!(!queues(&mut world).contains(&"wrong-4711".to_owned()));
    assert_eq!(types(&mut world), before);
    let gone = world.ask(Command::DropQueue("wrong-4711".to_owned())).unwrap_err();
    assert_eq!(gone.code, Code::NotFound);
    // It may come again, and is another one: nothing of the old one is taken for its own.
    world.crash(0);
    let (again, created) = add(&mut world, "wrong-4711", None).unwrap();
    assert!(created && again != task);
    let shown: Json = world.look(Query::Task(again));
    assert_eq!(shown["type"], "wrong-4711");
    let old: Json = world.look(Query::Task(task));
    assert_ne!(old["type"], "wrong-4711", "{old}");
}

#[test]
fn what_nobody_uses_is_forgotten_with_its_last_key() {
    let mut world = World::new(0, rules::outbox());
    let before = types(&mut world);
    let (task, _) = add(&mut world, "once", Some("k")).unwrap();
    world.ask(Command::CancelTask(task)).unwrap();
    for _ in 0..20 {
        world.pass_in_turns(DAY_MS);
    }
    assert_eq!(types(&mut world), before + 1);
    assert_eq!(add(&mut world, "once", Some("k")), Ok((task, false)), "its key is known");
    for _ in 0..40 {
        world.pass_in_turns(DAY_MS);
    }
    world.pass_in_turns(HOUR_MS);
    assert_eq!(types(&mut world), before);
    assert!(!queues(&mut world).contains(&"once".to_owned()));
}

#[test]
fn queues_are_listed_page_by_page() {
    let mut world = World::new(0, rules::outbox());
    for number in 0..25 {
        add(&mut world, &format!("type-{number:02}"), None).unwrap();
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let page = Page { limit: 10, cursor };
        let found = world.look(Query::Queues { kind: None, page });
        let items = found["items"].as_array().unwrap();
        assert!(items.len() <= 10);
        seen.extend(items.iter().map(|item| item["type"].as_str().unwrap().to_owned()));
        cursor = found["cursor"].as_str().map(str::to_owned);
        if cursor.is_none() {
            break;
        }
    }
    let wanted: Vec<String> = (0..25).map(|number| format!("type-{number:02}")).collect();
    seen.retain(|name| name.starts_with("type-"));
    assert_eq!(seen, wanted);
    let one = Query::Queues { kind: Some("type-07".to_owned()), page: Page::default() };
    assert_eq!(world.look(one)["items"].as_array().unwrap().len(), 1);
    let none = Query::Queues { kind: Some("nothing".to_owned()), page: Page::default() };
    assert_eq!(world.look(none)["items"].as_array().unwrap().len(), 0);
}
