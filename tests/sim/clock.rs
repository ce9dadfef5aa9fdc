//! Wall clocks that jump, beside a boot clock that does not.

use duebox::engine::Handled;
use duebox::engine::command::{Command, NoticeDraft, Reply, Settlement, TaskDraft, Verdict};
use duebox::engine::query::{LogFilter, Page, Query};
use duebox::model::attempt::Class;
use duebox::store::Order;
use duebox::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Steady, Timestamp};

use super::behaviour::{
    accept_all, add, claim, count, draft, notice_id, sends, settle, submit, task,
};
use super::rules;
use super::world::World;

const YEARS_MS: u64 = 10 * 365 * DAY_MS;

/// A machine: its boot clock goes right, whatever its wall clock shows.
struct Machine {
    world: World,
    steady: Steady,
}

impl Machine {
    fn new() -> Self {
        Self { world: World::new(0, rules::outbox()), steady: Steady { ms: 1_000, boot: 7 } }
    }

    fn look(&mut self) {
        let (now, steady) = (self.world.now, self.steady);
        self.world.engine.observe(now, steady).unwrap();
    }

    /// Time that really passes, in steps of at most ten minutes.
    fn pass(&mut self, mut ms: u64) {
        while ms > 0 {
            let step = ms.min(10 * MINUTE_MS);
            ms -= step;
            self.steady.ms += step;
            self.world.now = self.world.now.plus(step);
            self.look();
            self.world.pass_in_turns(0);
        }
    }

    fn set(&mut self, now: Timestamp) {
        self.world.now = now;
        self.look();
        self.world.idle();
    }

    fn restart(&mut self, boot: u64) {
        self.world.crash(usize::MAX);
        if boot != self.steady.boot {
            self.steady = Steady { ms: 500, boot };
        }
        self.look();
    }

    fn log(&mut self) -> usize {
        let page = Page { limit: 1000, cursor: None };
        let log = Query::Log { filter: LogFilter::default(), order: Order::Ascending, page };
        self.world.look(log)["items"].as_array().unwrap().len()
    }

    fn submit(&mut self, draft: NoticeDraft) -> (Reply, usize) {
        let stepped = self.world.run(submit(draft));
        let jobs = sends(stepped.effects);
        let sent = jobs.len();
        accept_all(&mut self.world, jobs);
        match stepped.handled {
            Handled::Now(Ok(reply)) => (reply, sent),
            other => panic!("{other:?}"),
        }
    }
}

fn keyed() -> NoticeDraft {
    NoticeDraft { key: Some("k".to_owned()), fingerprint: 1, ..draft("a", 3) }
}

#[test]
fn nothing_is_forgotten_because_a_clock_was_ahead() {
    for (boot, ahead) in [(7, YEARS_MS), (8, YEARS_MS), (7, 100 * DAY_MS), (8, 100 * DAY_MS)] {
        let mut machine = Machine::new();
        machine.pass(2 * DAY_MS);
        machine.submit(keyed());
        machine.pass(HOUR_MS);
        let right = machine.world.now;
        machine.restart(boot);
        machine.set(right.plus(ahead));
        machine.pass(20 * HOUR_MS);
        assert_eq!(machine.log(), 3, "boot {boot}, {ahead} ms ahead");
        machine.restart(boot);
        machine.pass(HOUR_MS);
        machine.set(right.plus(21 * HOUR_MS));
        assert_eq!(machine.log(), 3, "boot {boot}, {ahead} ms ahead");
        let (again, sent) = machine.submit(keyed());
        assert!(matches!(again, Reply::Notice { created: false, .. }), "{again:?}");
        assert_eq!(sent, 0);
    }
}

#[test]
fn what_is_old_goes_when_time_has_really_passed_or_the_clock_goes_right_for_a_day() {
    let mut machine = Machine::new();
    machine.pass(2 * DAY_MS);
    machine.submit(keyed());
    machine.pass(91 * DAY_MS);
    assert_eq!(machine.log(), 0);

    // Switched off for a year: after a day it is clear that the clock is right.
    machine.submit(NoticeDraft { fingerprint: 2, key: None, ..keyed() });
    assert_eq!(machine.log(), 3);
    machine.restart(9);
    let later = machine.world.now.plus(365 * DAY_MS);
    machine.set(later);
    machine.pass(20 * HOUR_MS);
    assert_eq!(machine.log(), 3);
    machine.pass(6 * HOUR_MS);
    assert_eq!(machine.log(), 0);
}

#[test]
fn nothing_expires_or_is_sent_by_a_clock_that_is_ahead_for_a_minute() {
    let mut machine = Machine::new();
    machine.pass(2 * DAY_MS);
    let (now, later) = (machine.world.now, 2 * HOUR_MS);
    let expiring = NoticeDraft {
        send_at: Some(now.plus(HOUR_MS)),
        expires_at: Some(now.plus(later)),
        ..draft("a", 3)
    };
    let (reply, _) = machine.submit(expiring);
    let id = notice_id(reply);
    machine.set(now.plus(YEARS_MS));
    machine.pass(MINUTE_MS);
    assert_eq!(count(&mut machine.world, id, "skipped"), 0);
    machine.set(now.plus(2 * MINUTE_MS));
    let mut sent = 0;
    while machine.world.now < now.plus(HOUR_MS + MINUTE_MS) {
        machine.steady.ms += 10_000;
        machine.look();
        let jobs = sends(machine.world.pass(10 * SECOND_MS));
        sent += jobs.len();
        accept_all(&mut machine.world, jobs);
    }
    assert_eq!(sent, 3, "it goes out when it is due");
    assert_eq!(count(&mut machine.world, id, "accepted"), 3);
}

#[test]
fn what_expired_while_the_machine_was_off_is_never_sent() {
    let mut machine = Machine::new();
    machine.pass(2 * DAY_MS);
    let now = machine.world.now;
    let (send_at, expires_at) = (Some(now.plus(HOUR_MS)), Some(now.plus(2 * HOUR_MS)));
    let (reply, _) = machine.submit(NoticeDraft { send_at, expires_at, ..draft("a", 3) });
    let id = notice_id(reply);
    machine.restart(8);
    machine.set(now.plus(DAY_MS));
    for _ in 0..120 {
        machine.steady.ms += 10_000;
        machine.look();
        assert_eq!(sends(machine.world.pass(10 * SECOND_MS)).len(), 0);
    }
    assert_eq!(count(&mut machine.world, id, "skipped"), 3);
}

#[test]
fn a_rest_ends_within_its_own_length_and_at_a_call() {
    for (code, class) in [(45_011, Class::Retry), (45_009, Class::Day), (40_164, Class::Tenant)] {
        let mut machine = Machine::new();
        let right = machine.world.now;
        machine.set(right.plus(YEARS_MS));
        let jobs = sends(machine.world.run(submit(draft("a", 20))).effects);
        for job in &jobs {
            settle(&mut machine.world, job, class, Some(code));
        }
        machine.set(right.plus(MINUTE_MS));
        let rest = |machine: &mut Machine| {
            let tenant = machine.world.look(Query::Tenants)["items"][0].clone();
            Timestamp::parse(tenant["held_until"].as_str()?).ok()
        };
        let until = rest(&mut machine).unwrap();
        assert!(until <= machine.world.now.plus(DAY_MS + HOUR_MS), "{code}: until {until}");
        machine.world.ask(Command::ResumeTenant("a".to_owned())).unwrap();
        assert_eq!(rest(&mut machine), None, "{code}");
    }
    let mut machine = Machine::new();
    assert!(machine.world.ask(Command::ResumeTenant("none".to_owned())).is_err());
}

#[test]
fn the_log_is_found_by_the_time_of_what_happened() {
    let mut machine = Machine::new();
    let right = machine.world.now;
    machine.set(right.plus(DAY_MS));
    machine.submit(draft("a", 2));
    machine.set(right.plus(MINUTE_MS));
    machine.submit(draft("a", 3));
    let mut found = |from: Timestamp, to: Timestamp| {
        let filter = LogFilter { from: Some(from), to: Some(to), ..LogFilter::default() };
        let log = Query::Log { filter, order: Order::Ascending, page: Page::default() };
        machine.world.look(log)["items"].as_array().unwrap().len()
    };
    assert_eq!(found(right, right.plus(HOUR_MS)), 3);
    assert_eq!(found(right.plus(DAY_MS), right.plus(DAY_MS + HOUR_MS)), 2);
    assert_eq!(found(right.plus(HOUR_MS), right.plus(2 * HOUR_MS)), 0);
    let latest = machine.world.engine.latest(machine.world.now);
    assert!(latest > right.plus(DAY_MS - HOUR_MS));
}

fn both() -> Machine {
    let both = duebox::model::rules::Rules { queues: rules::queues().queues, ..rules::outbox() };
    Machine { world: World::new(0, both), ..Machine::new() }
}

/// A delivery and a task that failed while the clock was a day ahead, and the right time.
fn failed_ahead() -> (Machine, Timestamp) {
    let mut machine = both();
    machine.pass(HOUR_MS);
    let right = machine.world.now;
    machine.set(right.plus(DAY_MS));
    let jobs = sends(machine.world.run(submit(draft("a", 3))).effects);
    for job in &jobs {
        settle(&mut machine.world, job, Class::Retry, Some(-1));
    }
    let ids = add(&mut machine.world, vec![task("1"), task("2")]);
    let claimed = claim(&mut machine.world, 1);
    assert_eq!(claimed[0].id, ids[0]);
    let verdict = Verdict::Nack { delay_ms: Some(30 * SECOND_MS), reason: None };
    let item = Settlement { task: ids[0], claim: claimed[0].claim.clone(), verdict };
    machine.world.ask(Command::Settle(vec![item])).unwrap();
    (machine, right)
}

#[test]
fn what_failed_while_a_clock_was_ahead_is_tried_again_after_its_own_pause() {
    for crash in [false, true] {
        let (mut machine, right) = failed_ahead();
        machine.set(right.plus(MINUTE_MS));
        if crash {
            let boot = machine.steady.boot;
            machine.restart(boot);
        }
        let mut sent = 0;
        for _ in 0..120 {
            machine.steady.ms += SECOND_MS;
            machine.look();
            let jobs = sends(machine.world.pass(SECOND_MS));
            sent += jobs.len();
            accept_all(&mut machine.world, jobs);
        }
        assert_eq!(sent, 3, "crash: {crash}");
        assert_eq!(claim(&mut machine.world, 5).len(), 2, "crash: {crash}");
    }
}

#[test]
fn what_was_asked_for_at_a_time_of_its_own_keeps_it() {
    let mut machine = both();
    machine.pass(HOUR_MS);
    let right = machine.world.now;
    machine.set(right.plus(DAY_MS));
    let due = Some(right.plus(2 * DAY_MS));
    add(&mut machine.world, vec![TaskDraft { due, ..task("1") }]);
    let later = NoticeDraft { send_at: due, ..draft("a", 2) };
    machine.world.run(submit(later));
    machine.set(right.plus(MINUTE_MS));
    machine.pass(2 * DAY_MS - 2 * MINUTE_MS);
    assert_eq!(machine.log(), 0);
    assert_eq!(claim(&mut machine.world, 5).len(), 0);
    machine.pass(MINUTE_MS);
    assert_eq!(claim(&mut machine.world, 5).len(), 1);
}

#[test]
fn what_a_clock_that_was_ahead_let_begin_goes_on() {
    let mut machine = both();
    machine.pass(HOUR_MS);
    let right = machine.world.now;
    machine.set(right.plus(DAY_MS));
    // More than may be on the wire at once: the others wait.
    let mut jobs = sends(machine.world.run(submit(draft("a", 600))).effects);
    assert!(!jobs.is_empty() && jobs.len() < 600, "{}", jobs.len());
    machine.set(right.plus(MINUTE_MS));
    let mut sent = 0;
    for _ in 0..600 {
        sent += jobs.len();
        accept_all(&mut machine.world, std::mem::take(&mut jobs));
        machine.steady.ms += SECOND_MS;
        machine.look();
        jobs = sends(machine.world.pass(SECOND_MS));
    }
    let page = Page { limit: 1000, cursor: None };
    let log = Query::Log { filter: LogFilter::default(), order: Order::Ascending, page };
    let logged = machine.world.look(log)["items"].as_array().unwrap().len();
    assert_eq!(logged, 600, "{sent} of them by themselves");
}

#[test]
fn a_doubt_is_as_old_as_time_that_really_passed_whatever_the_wall_clock_shows() {
    // What really passes unseen, by how much the wall clock is behind then, which start of the
    // machine it is, and whether the provider would still know the message.
    let cases = [
        ("set back before what it last showed", 9 * MINUTE_MS, 10 * MINUTE_MS, 7, 7, false),
        ("set back and still later", 9 * MINUTE_MS, 6 * MINUTE_MS, 7, 7, false),
        ("set back by little", 9 * MINUTE_MS, 30 * SECOND_MS, 7, 7, false),
        ("set back soon after", 2 * MINUTE_MS, 3 * MINUTE_MS, 7, 7, true),
        ("set right", 2 * MINUTE_MS, 0, 7, 7, true),
        ("an unknown start of the machine", 2 * MINUTE_MS, MINUTE_MS, 0, 0, true),
        ("the machine was off", MINUTE_MS, 0, 7, 8, false),
        ("the machine was off, and its clock is behind", 9 * MINUTE_MS, DAY_MS, 7, 8, false),
    ];
    for (name, passed, behind, boot, then, again) in cases {
        for crash in [false, true] {
            let mut machine = Machine::new();
            machine.steady.boot = boot;
            machine.look();
            machine.pass(HOUR_MS);
            let jobs = sends(machine.world.run(submit(draft("a", 1))).effects);
            settle(&mut machine.world, &jobs[0], Class::InDoubt, None);
            machine.world.now = machine.world.now.plus(passed).minus(behind);
            machine.steady.ms += passed;
            if then != boot {
                machine.restart(then);
            } else if crash && boot != 0 {
                machine.restart(boot);
            }
            let mut sent = Vec::new();
            for _ in 0..100 {
                machine.look();
                sent.extend(sends(machine.world.pass(SECOND_MS)));
                machine.steady.ms += SECOND_MS;
            }
            assert_eq!(!sent.is_empty(), again, "{name}, crash: {crash}");
            if !again {
                let query = Query::Notices {
                    tenant: None,
                    state: None,
                    key: None,
                    marks: Vec::new(),
                    order: Order::Descending,
                    page: Page::default(),
                };
                let notice = machine.world.look(query)["items"][0].clone();
                assert_eq!(notice["counts"]["in_doubt"], 1, "{name}, crash: {crash}");
            }
        }
    }
}
