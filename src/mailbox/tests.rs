//! The writer thread over stores and journals that are slow, broken, or remember.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::engine::command::{AddedTask, ClaimRequest, TaskDraft};
use crate::engine::{Identity, Mode};
use crate::kv::memory::MemoryKv;
use crate::kv::{Key, TreeNo, Value};
use crate::model::rules::Rules;
use crate::store::Store;
use crate::time::SystemClock;
use std::sync::Mutex;

type Commits = Arc<Mutex<Vec<u64>>>;
type Rows = Vec<(Key, Value)>;

struct Remember(Commits);

impl Journal for Remember {
    fn append(&mut self, number: u64, _writes: &[Write]) -> Result<(), Fault> {
        self.0.lock().unwrap().push(number);
        Ok(())
    }
}

struct Broken;

impl Journal for Broken {
    fn append(&mut self, _number: u64, _writes: &[Write]) -> Result<(), Fault> {
        Err(Fault::io("appending", "the disk is full"))
    }
}

fn engine() -> Engine<MemoryKv> {
    let store = Store::new(Arc::new(MemoryKv::new()), 0);
    let identity = Identity { term: 1, worker: "test".into() };
    let now = SystemClock.now();
    Engine::open(store, Rules::default(), identity, Mode::Working, now).unwrap()
}

fn add() -> Command {
    let draft = TaskDraft { kind: "1001".into(), payload: "{}".into(), ..TaskDraft::default() };
    Command::AddTasks { items: vec![draft], atomic: false }
}

#[tokio::test]
async fn an_answer_comes_after_its_commit() {
    let commits = Commits::default();
    let journal = Remember(commits.clone());
    let writer =
        Writer::start(engine(), journal, Arc::new(SystemClock), Arc::default(), || true).unwrap();
    let Ok(Reply::Tasks(verdicts)) = writer.mailbox.call(add()).await else { panic!() };
    assert!(matches!(verdicts[..], [Ok(AddedTask { created: true, .. })]));
    assert!(!commits.lock().unwrap().is_empty());
    tokio::task::spawn_blocking(|| writer.stop()).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_failed_commit_is_never_answered_and_ends_the_writer() {
    let mut writer =
        Writer::start(engine(), Broken, Arc::new(SystemClock), Arc::default(), || true).unwrap();
    assert!(matches!(writer.mailbox.call(add()).await, Err(CallError::Closed)));
    writer.ended().await;
    assert!(tokio::task::spawn_blocking(|| writer.stop()).await.unwrap().is_err());
}

/// A base that syncs when it is let.
#[derive(Clone, Default)]
struct Slow {
    rows: Arc<MemoryKv>,
    stuck: Arc<AtomicBool>,
    tables: Arc<AtomicU64>,
}

impl Kv for Slow {
    fn get(&self, tree: TreeNo, key: &[u8]) -> Result<Option<Value>, Fault> {
        self.rows.get(tree, key)
    }
    fn scan(&self, tree: TreeNo, from: &[u8], to: &[u8], limit: usize) -> Result<Rows, Fault> {
        self.rows.scan(tree, from, to, limit)
    }
    fn scan_back(&self, tree: TreeNo, from: &[u8], to: &[u8], limit: usize) -> Result<Rows, Fault> {
        self.rows.scan_back(tree, from, to, limit)
    }
    fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
        let ends = writes.iter().filter(|write| write.key == store::schema::APPLIED).count();
        self.tables.fetch_add(ends as u64, Ordering::SeqCst);
        self.rows.apply(writes)
    }
    fn sync(&self) -> Result<(), Fault> {
        while self.stuck.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
    fn size_bytes(&self) -> u64 {
        0
    }
}

fn over(base: Slow) -> Writer {
    let identity = Identity { term: 1, worker: "test".into() };
    let now = SystemClock.now();
    let store = Store::new(Arc::new(base), 0);
    let engine = Engine::open(store, Rules::default(), identity, Mode::Working, now).unwrap();
    Writer::start(
        engine,
        Remember(Commits::default()),
        Arc::new(SystemClock),
        Arc::default(),
        || true,
    )
    .unwrap()
}

/// About 4 MiB.
fn bulk() -> Command {
    let payload = format!("\"{}\"", "x".repeat(60_000));
    let draft = TaskDraft { kind: "1001".into(), payload, ..TaskDraft::default() };
    Command::AddTasks { items: vec![draft; 70], atomic: false }
}

#[tokio::test(flavor = "multi_thread")]
async fn while_the_base_stands_still_only_new_work_waits() {
    let base = Slow::default();
    base.stuck.store(true, Ordering::SeqCst);
    let writer = over(base.clone());
    let (mailbox, pulse) = (writer.mailbox.clone(), writer.mailbox.pulse().clone());
    let adding = tokio::spawn(async move {
        for _ in 0..12 {
            mailbox.call(bulk()).await.unwrap();
        }
    });
    // What is above the base grows no further, and everything else goes on.
    let waits = || pulse.active_bytes.load(Ordering::Relaxed) as usize;
    while waits() <= limits::MEMTABLE_BYTES {
        tokio::task::yield_now().await;
    }
    let others = writer.mailbox.clone();
    let mut worked = 0;
    while worked < 50 {
        let request = ClaimRequest { kind: "1001".into(), max: 1, ..ClaimRequest::default() };
        let Ok(Reply::Claimed(tasks)) = others.call(Command::Claim(request)).await else {
            panic!("no claim")
        };
        let ack = |task: &ClaimedTask| Settlement {
            task: task.id,
            claim: task.claim.clone(),
            verdict: Verdict::Ack,
        };
        others.call(Command::Settle(tasks.iter().map(ack).collect())).await.unwrap();
        worked += tasks.len();
    }
    assert!(waits() <= limits::GROWTH_BYTES + 8 * 1024 * 1024, "{} wait", waits());
    assert!(!adding.is_finished(), "new work waits");
    base.stuck.store(false, Ordering::SeqCst);
    adding.await.unwrap();
    tokio::task::spawn_blocking(|| writer.stop()).await.unwrap().unwrap();
}

/// A writer of which the test itself makes the turns, so that no door is between.
fn turn_over(base: &Slow, pulse: Arc<Pulse>) -> Turn<Slow, Remember> {
    let identity = Identity { term: 1, worker: "test".into() };
    let store = Store::new(Arc::new(base.clone()), 0);
    let now = SystemClock.now();
    let engine = Engine::open(store, Rules::default(), identity, Mode::Working, now).unwrap();
    Turn {
        applier: Applier::start(engine_base(&engine), Door::default()).unwrap(),
        engine,
        journal: Remember(Commits::default()),
        clock: Arc::new(SystemClock),
        leads: Box::new(|| true),
        commands: mpsc::channel(1).1,
        effects: mpsc::channel(1).0,
        waiting: HashMap::new(),
        unclaimed: Vec::new(),
        flushes: Vec::new(),
        door: Door::default(),
        pulse,
        _ended: oneshot::channel().0,
    }
}

/// Over 120 MiB.
fn much() -> Vec<Message> {
    let message = || {
        let (reply, admission) = (oneshot::channel().0, None);
        Message::Call(Envelope { command: bulk(), reply, admission })
    };
    (0..30).map(|_| message()).collect()
}

#[test]
fn one_turn_hands_over_as_many_tables_as_it_fills() {
    let base = Slow::default();
    let mut turn = turn_over(&base, Arc::default());
    turn.turn(&mut much()).unwrap();
    turn.finish().unwrap();
    // A table may have grown to the whole backlog and a group while another was written.
    let tables = base.tables.load(Ordering::SeqCst);
    assert!(tables >= 4, "{tables} tables");
}

#[test]
fn a_writer_that_waits_for_a_slow_base_counts_as_alive() {
    let base = Slow::default();
    base.stuck.store(true, Ordering::SeqCst);
    let pulse = Arc::new(Pulse::default());
    let mut turn = turn_over(&base, pulse.clone());
    let waiting = std::thread::spawn(move || {
        turn.turn(&mut much()).unwrap();
        turn.finish().unwrap();
    });
    // It stands still when all that may wait does, and its pulse goes on.
    while (pulse.active_bytes.load(Ordering::Relaxed) as usize) <= limits::BACKLOG_BYTES {
        std::thread::yield_now();
    }
    let read = |number: &AtomicU64| number.load(Ordering::Relaxed);
    let (turns, groups) = (read(&pulse.turns), read(&pulse.groups));
    while read(&pulse.turns) < turns + 3 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert!(read(&pulse.groups) <= groups + 1, "it waits");
    base.stuck.store(false, Ordering::SeqCst);
    waiting.join().unwrap();
}

#[tokio::test]
async fn a_waiting_claim_is_answered_when_work_comes() {
    let journal = Remember(Commits::default());
    let writer =
        Writer::start(engine(), journal, Arc::new(SystemClock), Arc::default(), || true).unwrap();
    let mailbox = writer.mailbox.clone();
    let waiting = tokio::spawn(async move {
        let request = ClaimRequest {
            kind: "1001".into(),
            max: 1,
            wait_ms: 30_000,
            ..ClaimRequest::default()
        };
        mailbox.call(Command::Claim(request)).await
    });
    writer.mailbox.call(add()).await.unwrap();
    let Ok(Ok(Reply::Claimed(tasks))) = waiting.await else { panic!() };
    assert_eq!(tasks.len(), 1);
    tokio::task::spawn_blocking(|| writer.stop()).await.unwrap().unwrap();
}

/// Callers that hang up are forgotten before anything is offered: the one who stayed gets the task
/// with the commit that adds it.
#[tokio::test]
async fn nothing_is_offered_to_those_who_left() {
    let commits = Commits::default();
    let journal = Remember(commits.clone());
    let writer =
        Writer::start(engine(), journal, Arc::new(SystemClock), Arc::default(), || true).unwrap();
    let wait =
        || ClaimRequest { kind: "1001".into(), max: 1, wait_ms: 60_000, ..ClaimRequest::default() };
    // The type exists.
    writer.mailbox.call(add()).await.unwrap();
    writer.mailbox.call(Command::Claim(ClaimRequest { wait_ms: 0, ..wait() })).await.unwrap();
    for _ in 0..3_000 {
        let mut call = Box::pin(writer.mailbox.call(Command::Claim(wait())));
        let sent = std::future::poll_fn(|context| {
            std::task::Poll::Ready(call.as_mut().poll(context).is_pending())
        });
        assert!(sent.await);
    }
    let mailbox = writer.mailbox.clone();
    let stays = tokio::spawn(async move { mailbox.call(Command::Claim(wait())).await });
    tokio::task::yield_now().await;
    let before = commits.lock().unwrap().len();
    writer.mailbox.call(add()).await.unwrap();
    let Ok(Reply::Claimed(tasks)) = stays.await.unwrap() else { panic!() };
    assert_eq!((tasks.len(), tasks[0].attempt), (1, 1));
    assert!(tasks[0].claim.starts_with("1-"), "{}", tasks[0].claim);
    assert_eq!(commits.lock().unwrap().len() - before, 1);
    tokio::task::spawn_blocking(|| writer.stop()).await.unwrap().unwrap();
}
