//! Small named situations.

use duebox::engine::command::{
    Act, Audience, ClaimRequest, ClaimedTask, Code, Command, Effect, NoticeDraft, Recipient, Reply,
    SendJob, Settled, Settlement, TaskDraft, Verdict,
};
use duebox::engine::query::{LogFilter, Page, Query};
use duebox::engine::Handled;
use duebox::id::Id;
use duebox::model::attempt::{Class, Try};
use duebox::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

use super::rules;
use super::world::World;

fn draft(tenant: &str, openids: usize) -> NoticeDraft {
    let people = (0..openids).map(|n| Recipient { openid: format!("o{n}"), ..Recipient::default() });
    NoticeDraft {
        tenant: tenant.to_owned(),
        template: "strict".to_owned(),
        audience: Audience::Inline(people.collect()),
        ..NoticeDraft::default()
    }
}

fn submit(draft: NoticeDraft) -> Command {
    Command::SubmitNotice(Box::new(draft))
}

fn notice_id(reply: Reply) -> Id {
    match reply {
        Reply::Notice { id, .. } => id,
        other => panic!("{other:?}"),
    }
}

fn sends(effects: Vec<Effect>) -> Vec<SendJob> {
    let job = |effect| if let Effect::Send(job) = effect { Some(job) } else { None };
    effects.into_iter().filter_map(job).collect()
}

fn answer(world: &World, class: Class, errcode: Option<i64>) -> Try {
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

fn settle(world: &mut World, job: &SendJob, class: Class, errcode: Option<i64>) -> Vec<SendJob> {
    let tries = vec![answer(world, class, errcode)];
    let command = Command::SettleSend { delivery: job.delivery, claim: job.claim, tries };
    sends(world.run(command).effects)
}

fn accept_all(world: &mut World, mut jobs: Vec<SendJob>) {
    while let Some(job) = jobs.pop() {
        jobs.extend(settle(world, &job, Class::Ok, Some(0)));
    }
}

fn count(world: &mut World, id: Id, state: &str) -> u64 {
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
    let log = || Query::Log { filter: LogFilter::default(), page: Page::default() };
    let entries = |world: &mut World| world.look(log())["items"].as_array().unwrap().len();
    assert_eq!(entries(&mut world), 4);
    world.pass(HOUR_MS);
    world.pass_in_turns(20 * MINUTE_MS);
    let page = Page::default();
    let left = world.look(Query::Notices { tenant: None, state: None, page });
    assert_eq!(left["items"].as_array().unwrap().len(), 0);
    assert_eq!(entries(&mut world), 1, "the late one is young");
    world.pass(DAY_MS);
    world.pass_in_turns(20 * MINUTE_MS);
    assert_eq!(entries(&mut world), 0);
}
