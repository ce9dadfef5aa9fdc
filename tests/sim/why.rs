//! What people are told when they ask what became of a message.

use duebox::engine::command::{Act, Audience, Command, NoticeDraft};
use duebox::engine::query::Query;
use duebox::engine::refusal::Code;
use duebox::id::Id;
use duebox::model::attempt::Class;
use duebox::time::HOUR_MS;

use super::behaviour::{draft, notice_id, sends, settle, submit};
use super::rules;
use super::world::World;

fn why(world: &mut World, notice: Id, openid: &str) -> serde_json::Value {
    world.look(Query::Why {
        tenant: None,
        openid: openid.to_owned(),
        notice: Some(notice),
        reference: None,
    })
}

fn says(world: &mut World, notice: Id, openid: &str) -> String {
    why(world, notice, openid)["sentence"].as_str().unwrap().to_owned()
}

#[test]
fn each_state_is_told_in_a_sentence_and_with_what_happened() {
    let mut world = World::new(0, rules::outbox());
    let later = world.now.plus(HOUR_MS);
    let scheduled = NoticeDraft { send_at: Some(later), ..draft("a", 1) };
    let scheduled = notice_id(world.ask(submit(scheduled)).unwrap());
    assert!(says(&mut world, scheduled, "o0").contains(&format!("due at {later}")));

    let stepped = world.run(submit(draft("b", 4)));
    let jobs = sends(stepped.effects);
    let id = jobs[0].delivery.notice;
    let openid = |at: usize| format!("o{}", jobs[at].delivery.number - 1);
    assert!(says(&mut world, id, &openid(0)).contains("is on its way"));
    settle(&mut world, &jobs[0], Class::Ok, Some(0));
    assert!(says(&mut world, id, &openid(0)).contains("WeChat took the message"));
    settle(&mut world, &jobs[1], Class::Recipient, Some(43004));
    let refused = why(&mut world, id, &openid(1));
    let sentence = refused["sentence"].as_str().unwrap();
    assert!(sentence.contains("refused it for good") && sentence.contains("43004"), "{sentence}");
    assert_eq!((&refused["state"], &refused["tenant"]), (&"refused".into(), &"b".into()));
    let timeline = refused["timeline"].as_array().unwrap();
    let told = |words: &str| {
        timeline.iter().position(|it| it["what"].as_str().unwrap().contains(words)).unwrap()
    };
    assert!(told("submitted") < told("attempt 1: recipient, code 43004"), "{refused}");
    assert!(timeline.is_sorted_by_key(|it| it["at"].as_str().unwrap().to_owned()), "{refused}");

    // Who was never in the audience, of a notice that still takes some and of one that does not.
    assert!(says(&mut world, id, "stranger").contains("is not among the 4 recipients"));
    let open = NoticeDraft { audience: Audience::Stream, ..draft("a", 0) };
    let open = notice_id(world.ask(submit(open)).unwrap());
    assert!(says(&mut world, open, "o1").contains("still taken"));

    world.ask(Command::Act { notice: scheduled, act: Act::Pause }).unwrap();
    assert!(says(&mut world, scheduled, "o0").contains("paused"));
    world.ask(Command::Act { notice: scheduled, act: Act::Cancel }).unwrap();
    world.idle();
    assert!(says(&mut world, scheduled, "o0").contains("withdrawn"));

    let ask = |tenant: &str, notice| Query::Why {
        tenant: Some(tenant.to_owned()),
        openid: "o0".to_owned(),
        notice: Some(notice),
        reference: None,
    };
    let wrong = world.ask(Command::Query(ask("a", id))).unwrap_err();
    assert_eq!((wrong.code, wrong.fields[0].0.as_str()), (Code::Invalid, "/tenant"));
    let unknown = world.ask(Command::Query(ask("a", Id(7)))).unwrap_err();
    assert_eq!(unknown.code, Code::NotFound);
}
