//! What callers call their notices and tasks: found by it, in lists, the log and why, until forgotten.

use std::collections::BTreeMap;

use duebox::engine::command::{Command, NoticeDraft, TaskDraft};
use duebox::engine::query::{LogFilter, Page, Query};
use duebox::engine::refusal::Code;
use duebox::model::marks::{Mark, Marks};
use duebox::store::Order;
use duebox::time::{DAY_MS, HOUR_MS, MINUTE_MS};
use serde_json::Value as Json;

use super::behaviour::{accept_all, add, draft, sends, submit, task};
use super::rules;
use super::world::World;

fn marks(reference: &str, labels: &[(&str, &str)]) -> Marks {
    let label = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Marks {
        reference: Some(reference.to_owned()),
        labels: labels.iter().map(label).collect::<BTreeMap<_, _>>(),
    }
}

fn by(reference: &str) -> Mark {
    Mark::Ref(reference.to_owned())
}

fn label(name: &str, value: &str) -> Mark {
    Mark::Label(name.to_owned(), value.to_owned())
}

fn items(page: &Json) -> Vec<String> {
    let id = |item: &Json| item["id"].as_str().unwrap().to_owned();
    page["items"].as_array().unwrap().iter().map(id).collect()
}

fn notices(world: &mut World, marks: Vec<Mark>, page: Page) -> Json {
    let (tenant, state, key, order) = (None, None, None, Order::Ascending);
    world.look(Query::Notices { tenant, state, key, marks, order, page })
}

fn log(world: &mut World, marks: Vec<Mark>, order: Order, page: Page) -> Json {
    world.look(Query::Log { filter: LogFilter { marks, ..LogFilter::default() }, order, page })
}

fn send(world: &mut World, marks: Marks, people: usize) {
    let stepped = world.run(submit(NoticeDraft { marks, ..draft("a", people) }));
    accept_all(world, sends(stepped.effects));
    world.pass(10);
}

#[test]
fn notices_are_found_by_their_callers_own_id_and_labels() {
    let mut world = World::new(0, rules::outbox());
    for n in 0..5 {
        let env = if n % 2 == 0 { "prod" } else { "test" };
        send(&mut world, marks(&format!("job-{}", n / 2), &[("env", env), ("team", "x")]), 1);
    }
    send(&mut world, Marks::default(), 1);
    for (asked, wanted) in [
        (vec![by("job-0")], 2),
        (vec![by("job-2")], 1),
        (vec![by("job")], 0),
        (vec![label("env", "prod")], 3),
        (vec![label("env", "prod"), label("team", "x")], 3),
        (vec![by("job-0"), label("env", "test")], 1),
        (vec![label("env", "pro")], 0),
        (Vec::new(), 6),
    ] {
        let found = notices(&mut world, asked.clone(), Page::default());
        assert_eq!(items(&found).len(), wanted, "{asked:?}");
    }
    let first = notices(&mut world, vec![label("team", "x")], Page { limit: 2, cursor: None });
    let cursor = first["cursor"].as_str().map(str::to_owned);
    let rest = notices(&mut world, vec![label("team", "x")], Page { limit: 10, cursor });
    assert_eq!((items(&first).len(), items(&rest).len()), (2, 3));
    assert_eq!(first["items"][0]["ref"], "job-0");
    assert_eq!(first["items"][0]["labels"]["env"], "prod");
}

#[test]
fn the_log_is_found_by_them_page_by_page_in_both_directions() {
    let mut world = World::new(0, rules::outbox());
    for n in 0..4 {
        send(&mut world, marks(if n == 2 { "other" } else { "job" }, &[]), 5);
    }
    for order in [Order::Ascending, Order::Descending] {
        let (mut found, mut cursor) = (Vec::new(), None);
        loop {
            let page = log(&mut world, vec![by("job")], order, Page { limit: 4, cursor });
            found.extend(items(&page));
            cursor = page["cursor"].as_str().map(str::to_owned);
            if cursor.is_none() {
                break;
            }
        }
        let mut sorted = found.clone();
        sorted.sort();
        sorted.dedup();
        assert_eq!((found.len(), sorted.len()), (15, 15), "{order:?}");
        if order == Order::Descending {
            sorted.reverse();
        }
        assert_eq!(found, sorted, "{order:?}");
    }
    let page = log(&mut world, vec![by("job")], Order::Ascending, Page::default());
    assert_eq!(page["items"][0]["ref"], "job");
    let why = |world: &mut World, reference: &str, openid: &str| {
        let reference = Some(reference.to_owned());
        let openid = openid.to_owned();
        world.ask(Command::Query(Query::Why { tenant: None, openid, notice: None, reference }))
    };
    assert!(why(&mut world, "job", "o3").is_ok());
    assert!(why(&mut world, "job", "o77").is_ok(), "also of who was never asked");
    assert_eq!(why(&mut world, "nothing", "o3").unwrap_err().code, Code::NotFound);
}

#[test]
fn tasks_are_found_by_them_also_when_they_have_ended_and_not_when_forgotten() {
    let mut rules = rules::queues();
    rules.retention.tasks_ms = DAY_MS;
    rules.retention.notices_ms = DAY_MS;
    rules.retention.log_ms = DAY_MS;
    let mut world = World::new(0, rules);
    let marked =
        |reference: &str| TaskDraft { marks: marks(reference, &[("env", "prod")]), ..task("1") };
    add(&mut world, vec![marked("t1"), marked("t1"), marked("t2"), task("2")]);
    send(&mut world, marks("n1", &[]), 1);
    let tasks = |world: &mut World, marks: Vec<Mark>| {
        let (kind, state, key, payload) = (None, None, None, false);
        let (order, page) = (Order::Ascending, Page::default());
        world.look(Query::Tasks { kind, state, key, marks, payload, order, page })
    };
    let found = tasks(&mut world, vec![by("t1")]);
    assert_eq!((items(&found).len(), &found["items"][0]["labels"]["env"]), (2, &"prod".into()));
    let id = items(&found)[0].parse().unwrap();
    world.ask(Command::CancelTask(id)).unwrap();
    let found = tasks(&mut world, vec![by("t1"), label("env", "prod")]);
    assert_eq!(found["items"][0]["state"], "cancelled");
    assert_eq!(items(&tasks(&mut world, vec![label("env", "prod")])).len(), 3);
    world.pass(DAY_MS + HOUR_MS);
    world.pass_in_turns(20 * MINUTE_MS);
    assert_eq!(items(&tasks(&mut world, vec![by("t1")])).len(), 1, "the ended one is forgotten");
    assert!(items(&notices(&mut world, vec![by("n1")], Page::default())).is_empty());
}
