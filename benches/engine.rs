//! How fast decisions are without disk and network, and how fast commits reach the base.
//!
//! `cargo bench --bench engine`. The daemon's own rates are measured by `--bench load`; these
//! numbers say where its time goes.

use std::collections::BTreeMap;
use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use duebox::data_dir::identity::InstanceId;
use duebox::data_dir::journal::JournalWriter;
use duebox::engine::command::{
    Audience, ClaimRequest, ClaimedTask, Command, Effect, NoticeDraft, Recipient, Reply, SendJob,
    Settlement, TaskDraft, Verdict,
};
use duebox::engine::{Engine, Handled, Identity, Mode};
use duebox::id::{DeliveryId, Id};
use duebox::kv::memory::MemoryKv;
use duebox::kv::sled::SledKv;
use duebox::kv::{Fault, Kv, Value, Write};
use duebox::mailbox::{Journal, Writer};
use duebox::model::attempt::{Class, Try};
use duebox::model::delivery::{Delivery, Entry};
use duebox::model::keyword::Overflow;
use duebox::model::rules::{Rules, TemplateRule, TenantRule};
use duebox::store::schema::LAYOUTS;
use duebox::store::schema::Tree;
use duebox::store::{self, Record, Store, codec};
use duebox::time::{SystemClock, Timestamp};

const NOW: Timestamp = Timestamp(1_795_395_600_000);
const TASKS: usize = 500;
const CLAIM: usize = 100;
const RECIPIENTS: usize = 1_000;
/// Cache of the base, as small as a small machine would set it.
const CACHE_BYTES: u64 = 64 * 1024 * 1024;

type Memory = Engine<MemoryKv>;

fn engine() -> Memory {
    let template = TemplateRule {
        id: "TEMPLATE".into(),
        overflow: Overflow::Truncate,
        ..TemplateRule::default()
    };
    let tenant = TenantRule {
        rate: 0,
        templates: BTreeMap::from([("new_task".to_owned(), template)]),
        ..TenantRule::default()
    };
    let tenants = BTreeMap::from([("acme".to_owned(), tenant)]);
    let rules = Rules { tenants, ..Rules::default() };
    let store = Store::new(Arc::new(MemoryKv::new()), 0);
    let identity = Identity { term: 1, worker: "bench".into() };
    Engine::open(store, rules, identity, Mode::Working, NOW).expect("memory does not fail")
}

/// One command, as the mailbox does it: decide, tick, end the group.
fn decide<K: Kv>(engine: &mut Engine<K>, command: Command) -> (Reply, Vec<Effect>) {
    let handled = engine.handle(NOW, command).expect("memory does not fail");
    let Handled::Now(decision) = handled else { panic!("nothing here waits") };
    let ticked = engine.tick(NOW).expect("memory does not fail");
    black_box(engine.end_group());
    (decision.expect("nothing here is refused"), ticked.effects)
}

fn add() -> Command {
    let payload = format!(r#"{{"pad":"{}"}}"#, "x".repeat(290));
    let draft = TaskDraft { kind: "1001".into(), payload, ..TaskDraft::default() };
    Command::AddTasks { items: vec![draft; TASKS], atomic: false }
}

fn claim() -> Command {
    Command::Claim(ClaimRequest { kind: "1001".into(), max: CLAIM, ..ClaimRequest::default() })
}

fn ack(task: &ClaimedTask) -> Settlement {
    Settlement { task: task.id, claim: task.claim.clone(), verdict: Verdict::Ack }
}

fn tasks(c: &mut Criterion) {
    let mut group = c.benchmark_group("tasks");
    group.sample_size(20);
    group.throughput(Throughput::Elements(TASKS as u64));
    group.bench_function("add_500", |bench| {
        bench.iter_batched(
            || (engine(), add()),
            |(mut engine, add)| {
                let (reply, _) = decide(&mut engine, add);
                assert!(matches!(reply, Reply::Tasks(tasks) if tasks.len() == TASKS));
                engine
            },
            BatchSize::LargeInput,
        );
    });
    group.throughput(Throughput::Elements(CLAIM as u64));
    group.bench_function("claim_and_ack_100", |bench| {
        bench.iter_batched(
            || {
                let mut engine = engine();
                decide(&mut engine, add());
                engine
            },
            |mut engine| {
                let (Reply::Claimed(tasks), _) = decide(&mut engine, claim()) else { panic!() };
                assert_eq!(tasks.len(), CLAIM);
                decide(&mut engine, Command::Settle(tasks.iter().map(ack).collect()));
                engine
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

fn notice() -> Command {
    let data = BTreeMap::from([("thing1".to_owned(), "Boiler check".to_owned())]);
    let recipient = |number| Recipient { openid: openid(number), data: BTreeMap::new() };
    Command::SubmitNotice(Box::new(NoticeDraft {
        tenant: "acme".into(),
        template: "new_task".into(),
        data,
        audience: Audience::Inline((0..RECIPIENTS).map(recipient).collect()),
        ..NoticeDraft::default()
    }))
}

fn openid(number: usize) -> String {
    format!("oLoad{number:023}")
}

fn taken(job: &SendJob) -> Command {
    let answer = Try {
        at: NOW,
        duration_ms: 50,
        class: Class::Ok,
        errcode: Some(0),
        errmsg: "ok".into(),
        msgid: Some("3000000001".into()),
        rid: None,
        field: None,
        response: r#"{"errcode":0,"errmsg":"ok","msgid":3000000001}"#.into(),
    };
    Command::SettleSend { delivery: job.delivery, fence: job.fence, tries: vec![answer] }
}

/// Settles what was handed out until nothing more comes, a group at a time.
fn send_all(engine: &mut Memory, mut effects: Vec<Effect>) -> usize {
    let mut sent = 0;
    while !effects.is_empty() {
        for effect in &effects {
            let Effect::Send(job) = effect else { panic!("only sends are due") };
            let settled = engine.handle(NOW, taken(job)).expect("memory does not fail");
            assert!(matches!(settled, Handled::Now(Ok(_))));
        }
        sent += effects.len();
        effects = engine.tick(NOW).expect("memory does not fail").effects;
        black_box(engine.end_group());
    }
    sent
}

fn sends(c: &mut Criterion) {
    let mut group = c.benchmark_group("sends");
    group.sample_size(20);
    group.throughput(Throughput::Elements(RECIPIENTS as u64));
    group.bench_function("fan_out_1000", |bench| {
        bench.iter_batched(
            || (engine(), notice()),
            |(mut engine, notice)| {
                let (reply, _) = decide(&mut engine, notice);
                assert!(matches!(reply, Reply::Notice { created: true, .. }));
                engine
            },
            BatchSize::LargeInput,
        );
    });
    group.bench_function("claim_and_settle_1000", |bench| {
        bench.iter_batched(
            || {
                let mut engine = engine();
                let (_, effects) = decide(&mut engine, notice());
                (engine, effects)
            },
            |(mut engine, effects)| {
                assert_eq!(send_all(&mut engine, effects), RECIPIENTS);
                engine
            },
            BatchSize::LargeInput,
        );
    });
    group.finish();
}

/// Rows of one group, random keys.
const ROWS: usize = 1_000;

fn commits(c: &mut Criterion) {
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a place for the base");
    let base = SledKv::open(dir.path(), CACHE_BYTES, &LAYOUTS).expect("a new base opens");
    let mut store = Store::new(Arc::new(base), 0);
    let mut random = fastrand::Rng::with_seed(1);
    let value: Value = Arc::from(&[7; 300][..]);
    let mut group = c.benchmark_group("store");
    group.sample_size(20);
    group.throughput(Throughput::Elements(ROWS as u64));
    group.bench_function("commit_1000_rows_to_sled", |bench| {
        bench.iter(|| {
            for _ in 0..ROWS {
                let key = random.u64(..).to_be_bytes().to_vec();
                store.create(Tree::Tasks, key, value.clone());
            }
            black_box(store.end_group());
            let table = store.freeze();
            store::apply(&**store.base(), &table, &mut |_| {}).expect("the base takes it");
            store.thaw();
        });
    });
    group.finish();
}

/// A journal that keeps nothing, to see what the real one costs.
struct NoJournal;

impl Journal for NoJournal {
    fn append(&mut self, number: u64, writes: &[Write]) -> Result<(), Fault> {
        black_box((number, writes));
        Ok(())
    }
}

/// Arrays under way at once in [`durable_adds`].
const IN_FLIGHT: usize = 8;
/// How often so many are added in one measurement: enough that the base takes several tables, whose
/// pauses are the same with and without a journal.
const ROUNDS: usize = 40;

/// The whole way of a commit over sled, with the journal and its fsync, and without: the journal's
/// cost is the difference of two rates of one run. Each measurement begins with an empty store.
fn durable_adds(c: &mut Criterion) {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let mut group = c.benchmark_group("durable_adds");
    let tasks = (TASKS * IN_FLIGHT * ROUNDS) as u64;
    group.sample_size(10).throughput(Throughput::Elements(tasks));
    let mut measure = |name: &str, journaled: bool| {
        let once = || {
            let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a place");
            let writer = start(dir.path(), journaled);
            let began = Instant::now();
            runtime.block_on(async {
                for _ in 0..ROUNDS {
                    let calls: Vec<_> =
                        (0..IN_FLIGHT).map(|_| writer.mailbox.call(add())).collect();
                    for call in calls {
                        black_box(call.await.expect("added"));
                    }
                }
            });
            let took = began.elapsed();
            writer.stop().expect("stopped");
            took
        };
        group.bench_function(name, |bench| {
            bench.iter_custom(|times| (0..times).map(|_| once()).sum());
        });
    };
    measure("with_journal", true);
    measure("without_journal", false);
    group.finish();
}

fn start(dir: &Path, journaled: bool) -> Writer {
    let base = Arc::new(SledKv::open(&dir.join("store"), CACHE_BYTES, &LAYOUTS).expect("a base"));
    let identity = Identity { term: 1, worker: "bench".into() };
    let store = Store::new(base, 0);
    let engine = Engine::open(store, Rules::default(), identity, Mode::Working, NOW);
    let (engine, clock) = (engine.expect("an engine"), Arc::new(SystemClock));
    let writer = if journaled {
        let own = InstanceId(1);
        let journal = JournalWriter::create(&dir.join("journal"), 1, own, InstanceId(0));
        Writer::start(engine, journal.expect("a journal"), clock, Arc::default(), || true)
    } else {
        Writer::start(engine, NoJournal, clock, Arc::default(), || true)
    };
    writer.expect("a writer")
}

fn records(c: &mut Criterion) {
    let id = DeliveryId { notice: Id(1_882_000_000_000_000_000), number: 77 };
    let entry = Entry {
        tenant: 1,
        delivery: id,
        openid: openid(77),
        attempt: 1,
        at: NOW,
        duration_ms: 87,
        class: Class::Ok,
        errcode: Some(0),
        errmsg: "ok".into(),
        msgid: Some("3000000001".into()),
        rid: None,
        response: r#"{"errcode":0,"errmsg":"ok","msgid":3000000001}"#.into(),
        worker: "host/4711".into(),
        term: 3,
    };
    record(c, "delivery", &Delivery::new(openid(77), NOW, false));
    record(c, "entry", &entry);
}

fn record<R: Record>(c: &mut Criterion, name: &str, record: &R) {
    let bytes = codec::encode(record);
    let mut group = c.benchmark_group("codec");
    group.sample_size(20);
    group.bench_function(format!("encode_{name}"), |bench| {
        bench.iter(|| codec::encode(black_box(record)));
    });
    group.bench_function(format!("decode_{name}"), |bench| {
        bench.iter(|| codec::decode::<R>(black_box(&bytes)).expect("what was just written"));
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .warm_up_time(std::time::Duration::from_millis(500))
        .measurement_time(std::time::Duration::from_secs(2));
    targets = tasks, sends, commits, durable_adds, records
}
criterion_main!(benches);
