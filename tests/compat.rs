//! The on-disk format, kept: records as format 1 wrote them must read as what they were.
//!
//! A change of a record that fails here needs a new version of the record and an upgrade; the
//! fixture stays as it is.

/// The files around the records: journal and image.
mod archive;

use std::collections::BTreeMap;
use std::fmt::Debug;

use duebox::id::{DeliveryId, Id};
use duebox::model::attempt::Class;
use duebox::model::delivery::{Delivery, DeliveryState, Entry, KeyRow, Settled, Standing};
use duebox::model::notice::{Awaited, Canary, Counts, InDoubt, Notice, Sweep, SweepKind};
use duebox::model::run::{Run, RunCounts, RunOutcome, ScheduleRow, Trigger};
use duebox::model::task::{
    self, AttemptEnd, Ended, EndedTask, Payload, QueueCounts, QueueState, Task, TaskAttempt,
};
use duebox::model::tenant::{Quota, StoredToken, TenantState};
use duebox::store::{Record, codec};
use duebox::time::Timestamp;

const FIXTURES: &str =
    concat!(include_str!("fixtures/format-1.txt"), include_str!("fixtures/format-3.txt"));

const NOW: Timestamp = Timestamp(1_795_395_600_000);

fn check<R: Record + PartialEq + Debug>(name: &str, record: &R) {
    let hex = hex(record);
    assert_eq!(hex, read(name, record), "{name} is written in another way");
}

fn hex<R: Record>(record: &R) -> String {
    codec::encode(record).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// That what was kept reads as the record; gives what was kept.
fn read<R: Record + PartialEq + Debug>(name: &str, record: &R) -> &'static str {
    let hex = hex(record);
    let kept = FIXTURES.lines().find_map(|line| line.strip_prefix(&format!("{name} ")));
    let Some(kept) = kept else { panic!("no fixture; as written today:\n{name} {hex}") };
    let bytes: Vec<u8> = (0..kept.len() / 2)
        .map(|at| u8::from_str_radix(&kept[2 * at..2 * at + 2], 16).unwrap())
        .collect();
    assert_eq!(codec::decode::<R>(&bytes).unwrap(), *record, "{name} reads as something else");
    kept
}

fn task() -> Task {
    let mut task = Task::new(Id(1_882_626_522_232_127_488), 7, 1, NOW, NOW.plus(1));
    (task.attempt, task.failed, task.fence) = (2, 1, 2);
    task.terms.max_attempts = Some(9);
    task.terms.key = Some("job-4711".into());
    task.payload = Payload::Inline("{\"a\":1}".into());
    task.history = vec![
        TaskAttempt {
            attempt: 1,
            claimed: NOW,
            worker: Some("w1".into()),
            term: 3,
            ended: Some((NOW.plus(5), AttemptEnd::Nacked(Some("busy".into())))),
        },
        TaskAttempt { attempt: 2, claimed: NOW, worker: None, term: 4, ended: None },
    ];
    task.reason = Some("busy".into());
    task.stand(task::Standing::Claimed { until: NOW.plus(2) });
    task
}

#[test]
fn tasks_of_format_1() {
    check("task", &task());
    let mut ended = task();
    ended.stand(task::Standing::Ended { end: Ended::Acked, at: NOW.plus(2) });
    ended.payload = Payload::Dropped;
    check("ended_task", &EndedTask(ended));
    let counts = QueueCounts { pending: 1, claimed: 2, dead: 3, acked: 400, cancelled: 5 };
    check("queue_counts", &counts);
    let state = QueueState {
        paused: true,
        failures: 5,
        rest_until: NOW,
        last_error: Some("refused".into()),
        rate_at_us: 77,
    };
    check("queue_state", &state);
}

#[test]
fn the_outbox_of_format_1() {
    let mut counts = Counts::default();
    counts.add(DeliveryState::Pending);
    counts.add(DeliveryState::Accepted);
    let mut notice = Notice {
        id: Id(1_882_626_522_232_127_488),
        tenant: 2,
        send_at: NOW,
        expires_at: Some(NOW.plus(9)),
        in_doubt: InDoubt::Resend,
        open: true,
        started: true,
        paused: Some("paused by an operator".into()),
        cancelled: false,
        expired: false,
        counts,
        lane_due: Some(NOW),
        template_misses: 1,
        sweep: Some(Sweep {
            kind: SweepKind::Resend { states: vec![DeliveryState::Refused], errcode: Some(43004) },
            next: 501,
        }),
        first_send: Some(NOW),
        last_settled: None,
        finished: None,
        awaited: Awaited::default(),
        canary: None,
        urgent: false,
        awaits: false,
        revision: 0,
    };
    // Version 1 knew no receipts.
    read("notice", &notice);
    notice.counts.add(DeliveryState::Failed);
    notice.awaited.add(NOW);
    notice.canary =
        Some(Canary { left: 7, claimed: 43, doubts: 1, wait_ms: 9, decides: Some(NOW) });
    notice.awaits = true;
    notice.revision = 3;
    check("notice_2", &notice);
    let mut delivery = Delivery::new("o6_bmjrPTlm6_2sgVt7hMZOPfL2M".into(), NOW, true);
    (delivery.attempt, delivery.failed, delivery.fence) = (3, 2, 4);
    (delivery.started, delivery.changed) = (NOW.plus(1), NOW.plus(2));
    delivery.doubt_since = Some(NOW);
    delivery.errcode = Some(-1);
    delivery.msgid = Some("3557254367693750277".into());
    delivery.reason = Some("system error".into());
    delivery.stand(Standing::Settled { end: Settled::InDoubt, at: NOW });
    check("delivery", &delivery);
    let entry = Entry {
        tenant: 2,
        delivery: DeliveryId { notice: notice.id, number: 5 },
        openid: delivery.openid.clone(),
        attempt: 3,
        at: NOW,
        duration_ms: 87,
        class: Class::Recipient,
        errcode: Some(43004),
        errmsg: "require subscribe".into(),
        msgid: None,
        rid: Some("6a0b1c2d-11111111-22222222".into()),
        response: "{\"errcode\":43004}".into(),
        worker: "vm:4711".into(),
        term: 3,
    };
    check("entry", &entry);
    check("key", &KeyRow { id: notice.id, fingerprint: u128::MAX - 5, at: NOW });
    let tenant = TenantState {
        hold_until: NOW,
        hold_reason: Some("quota".into()),
        refusals: 2,
        rate_at_us: 1_795_395_600_000_000,
        token: Some(StoredToken { value: "t".into(), expires_at: NOW, fetched_at: NOW }),
        token_fetches: 4,
        day: 20_780,
        sent_today: 8_000,
        ..TenantState::default()
    };
    // Version 1 had nothing that is set by hand.
    read("tenant", &tenant);
    let mut tenant = TenantState { rate: Some(50), concurrency: Some(7), ..tenant };
    tenant.set_pace(500);
    (tenant.pace_at, tenant.burst, tenant.burst_at) = (NOW, 3, NOW.plus(1));
    tenant.quota = Some(Quota { limit: 100_000, used: 9_000, sent: 8_000, at: NOW });
    check("tenant_2", &tenant);
}

#[test]
fn schedules_of_format_1() {
    let row = ScheduleRow {
        rule: "0 0/5 * * * ? Asia/Shanghai".into(),
        next: Some(NOW),
        running: Some(Id(5)),
        owed: None,
        last_good: Some(NOW),
    };
    check("schedule", &row);
    let counts =
        RunCounts { found: 3, submitted: 1, known: 1, refused: 1, error: Some("no".into()) };
    let run = Run {
        schedule: "new-tasks".into(),
        planned: NOW,
        trigger: Trigger::CatchUp,
        started: NOW,
        ended: Some(NOW),
        outcome: RunOutcome::Failed,
        counts: BTreeMap::from([("acme".to_owned(), counts)]),
        error: Some("acme: 503".into()),
        note: Some("stands for 2 later ticks as well".into()),
        term: 3,
    };
    check("run", &run);
}
