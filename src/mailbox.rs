//! The mailbox: one thread that decides, commits and answers, in this order.
//!
//! 1. Take whatever commands have arrived, at most [`limits::GROUP_COMMANDS`].
//! 2. Decide them one after the other, then let the engine do what is due.
//! 3. Append the group's changes to the journal and make that durable: one fsync for all.
//! 4. Only now give the answers and the effects away.
//! 5. Hand a full table to the applier thread, which writes it to the base.
//!
//! A fault ends the thread, and with it the process. No answer is given for a group that is not
//! durable.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use self::growth::{Admission, Door};
use crate::engine::command::{ClaimedTask, Command, Effect, Reply};
use crate::engine::command::{Settlement, Verdict};
use crate::engine::refusal::{Code, Refusal};
use crate::engine::{Decision, Engine, Handled};
use crate::kv::{Fault, Kv, Write};
use crate::limits;
use crate::store::{self, Table};
use crate::time::{Clock, Timestamp};

mod growth;
mod space;

pub use space::Space;

/// Where commits become durable.
pub trait Journal: Send + 'static {
    /// Appends a commit; when it returns, the commit survives a power cut.
    fn append(&mut self, number: u64, writes: &[Write]) -> Result<(), Fault>;
}

/// Longest sleep: due times are wall-clock times, and the wall clock may jump.
const NAP: Duration = Duration::from_secs(1);

/// Longest sleep while somebody waits for the base.
const APPLIER_NAP: Duration = Duration::from_millis(20);

/// How often the writer shows that it lives while it waits for the base.
const WAIT_BEAT: Duration = Duration::from_millis(500);
/// A base that makes no progress for this long hangs: a sync of some megabytes on the slowest disk
/// takes a part of it.
const BASE_HANGS: Duration = Duration::from_secs(120);

/// What the mailbox takes.
enum Message {
    Call(Envelope),
    /// Bring the base up to date and say so.
    Flush(oneshot::Sender<()>),
    /// Decide what came before, then end.
    Stop,
}

/// A command and who waits for its answer.
struct Envelope {
    command: Command,
    reply: oneshot::Sender<Decision>,
    /// The right to be decided, of what grows the store.
    admission: Option<Admission>,
}

/// Numbers of the writer thread, for metrics and the watchdog.
#[derive(Debug, Default)]
pub struct Pulse {
    /// Groups committed.
    pub groups: AtomicU64,
    /// Commands decided.
    pub commands: AtomicU64,
    /// Microseconds spent making groups durable.
    pub sync_us: AtomicU64,
    /// Turns of the loop: grows at least once a second while the writer lives.
    pub turns: AtomicU64,
    /// Bytes of changes not yet in the base.
    pub active_bytes: AtomicU64,
    /// The number of the last durable commit.
    pub commit: AtomicU64,
    /// The number of the last commit that the base certainly holds, also after a power cut.
    pub base_commit: AtomicU64,
    /// Bytes of tables written to the base.
    pub applied_bytes: AtomicU64,
    /// What is free on the disk.
    pub space: Space,
    /// The latest wall-clock time that anything in the store may have, in milliseconds since 1970: later
    /// than now when the clock went back.
    pub latest_ms: AtomicU64,
    /// Whether a query met what it could not read, since somebody last looked here.
    pub unreadable: AtomicBool,
}

/// A handle to send commands with. Cheap to clone.
#[derive(Clone)]
pub struct Mailbox {
    sender: mpsc::Sender<Message>,
    pulse: Arc<Pulse>,
    door: Door,
}

/// Why a call has no answer.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// An expected no.
    #[error("{}", .0.detail)]
    Refused(Refusal),
    /// The writer has ended: the daemon is stopping or has failed.
    #[error("the daemon is stopping")]
    Closed,
}

impl Mailbox {
    /// Has a command decided. The answer comes when its effects are durable. Waits for room when
    /// the mailbox is full.
    pub async fn call(&self, command: Command) -> Result<Reply, CallError> {
        let admission = self.admit(&command).await?;
        let (reply, answer) = oneshot::channel();
        let envelope = Envelope { command, reply, admission };
        self.sender.send(Message::Call(envelope)).await.map_err(|_| CallError::Closed)?;
        answer.await.map_err(|_| CallError::Closed)?.map_err(CallError::Refused)
    }

    /// Waits until there is room for what the command adds, in memory and on the disk.
    async fn admit(&self, command: &Command) -> Result<Option<Admission>, CallError> {
        let space = &self.pulse.space;
        let full = |what| {
            let detail = format!("the disk is nearly full: {what} until there is space again");
            CallError::Refused(Refusal::new(Code::Storage, detail))
        };
        // A claim that comes back and goes out again takes space each time.
        if matches!(command, Command::Claim(_)) && space.is_scarce() {
            return Err(full("nothing is handed out"));
        }
        let Some(bytes) = growth::growth(command) else { return Ok(None) };
        let admission = self.door.enter(bytes).await.ok_or(CallError::Closed)?;
        space.owe(self.door.above_the_base());
        // Behind the door: those who went in before may have taken what was free.
        space.settle().await;
        if space.is_low() {
            return Err(full("new work is refused"));
        }
        Ok(Some(admission))
    }

    /// Brings the base up to date with all commits so far. Resolves when it is.
    pub async fn flush(&self) -> Result<(), CallError> {
        let (reply, answer) = oneshot::channel();
        self.sender.send(Message::Flush(reply)).await.map_err(|_| CallError::Closed)?;
        answer.await.map_err(|_| CallError::Closed)
    }

    /// The writer's numbers.
    #[must_use]
    pub fn pulse(&self) -> &Arc<Pulse> {
        &self.pulse
    }
}

/// The running writer.
pub struct Writer {
    /// To send commands with.
    pub mailbox: Mailbox,
    effects: Option<mpsc::Receiver<Effect>>,
    thread: JoinHandle<Result<(), Fault>>,
    ended: oneshot::Receiver<()>,
}

impl Writer {
    /// Starts the writer thread. `pulse` shows how it goes; `leads` is asked before anything is
    /// claimed.
    pub fn start<K: Kv>(
        engine: Engine<K>,
        journal: impl Journal,
        clock: Arc<dyn Clock>,
        pulse: Arc<Pulse>,
        leads: impl Fn() -> bool + Send + 'static,
    ) -> std::io::Result<Self> {
        let (sender, commands) = mpsc::channel(limits::MAILBOX);
        let (effects_out, effects) = mpsc::channel(engine.outstanding());
        let (ended_out, ended) = oneshot::channel();
        let mut engine = engine;
        let committed = engine.store().committed();
        pulse.commit.store(committed, Ordering::Relaxed);
        pulse.base_commit.store(committed, Ordering::Relaxed);
        let shared = pulse.clone();
        let door = Door::default();
        let writers_door = door.clone();
        let thread = std::thread::Builder::new().name("writer".into()).spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
            let runtime = runtime.map_err(|error| Fault::io("starting the writer", error))?;
            let applier = Applier::start(engine_base(&engine), writers_door.clone())?;
            let turn = Turn {
                engine,
                journal,
                clock,
                leads: Box::new(leads),
                commands,
                effects: effects_out,
                waiting: HashMap::new(),
                unclaimed: Vec::new(),
                flushes: Vec::new(),
                applier,
                door: writers_door,
                pulse: shared,
                _ended: ended_out,
            };
            runtime.block_on(turn.run())
        })?;
        Ok(Self { mailbox: Mailbox { sender, pulse, door }, effects: Some(effects), thread, ended })
    }

    /// What the world shall do, bounded by what the engine may have claimed at once. It is there for
    /// one: whoever comes second gets nothing.
    pub fn take_effects(&mut self) -> mpsc::Receiver<Effect> {
        self.effects.take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    /// Resolves when the writer thread has ended, for whatever reason.
    pub async fn ended(&mut self) {
        let _ = (&mut self.ended).await;
    }

    /// Ends the writer: what has arrived is decided, all tables go to the base and the base to the
    /// disk. Calls that come later are answered [`CallError::Closed`]. Blocks.
    pub fn stop(self) -> Result<(), Fault> {
        // A writer that has ended by itself takes no message; its thread tells why.
        let _ = self.mailbox.sender.blocking_send(Message::Stop);
        drop(self.effects);
        match self.thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        }
    }
}

fn engine_base<K: Kv>(engine: &Engine<K>) -> Arc<K> {
    engine.base().clone()
}

/// An answer that waits for its group to be durable.
enum Outcome {
    Decided(oneshot::Sender<Decision>, Decision),
    Waits(oneshot::Sender<Decision>, u64),
}

/// The state of the loop.
struct Turn<K: Kv, J: Journal> {
    engine: Engine<K>,
    journal: J,
    clock: Arc<dyn Clock>,
    leads: Box<dyn Fn() -> bool + Send>,
    commands: mpsc::Receiver<Message>,
    effects: mpsc::Sender<Effect>,
    waiting: HashMap<u64, oneshot::Sender<Decision>>,
    /// Claims whose claimers were gone when they were to hear of them.
    unclaimed: Vec<Settlement>,
    /// Who waits for the base to hold which commit.
    flushes: Vec<(u64, oneshot::Sender<()>)>,
    applier: Applier,
    door: Door,
    pulse: Arc<Pulse>,
    _ended: oneshot::Sender<()>,
}

impl<K: Kv, J: Journal> Drop for Turn<K, J> {
    fn drop(&mut self) {
        self.door.close();
    }
}

impl<K: Kv, J: Journal> Turn<K, J> {
    async fn run(mut self) -> Result<(), Fault> {
        let mut group = Vec::with_capacity(limits::GROUP_COMMANDS);
        let mut nap = Duration::ZERO;
        let mut open = true;
        while open {
            open = self.gather(&mut group, nap).await;
            open &= !group.iter().any(|message| matches!(message, Message::Stop));
            nap = self.turn(&mut group)?;
        }
        self.finish()
    }

    /// Waits for commands, at most for `nap`. False when no more can come.
    async fn gather(&mut self, group: &mut Vec<Message>, nap: Duration) -> bool {
        if !self.unclaimed.is_empty() {
            return true;
        }
        let received = self.commands.recv_many(group, limits::GROUP_COMMANDS);
        match tokio::time::timeout(nap, received).await {
            Ok(count) => count > 0,
            Err(_) => true,
        }
    }

    /// One group. Returns how long to sleep if nothing comes.
    fn turn(&mut self, group: &mut Vec<Message>) -> Result<Duration, Fault> {
        let now = self.clock.now();
        if let Some(steady) = self.clock.steady() {
            self.engine.observe(now, steady)?;
        }
        self.pulse.latest_ms.store(self.engine.latest(now).0, Ordering::Relaxed);
        self.forget_the_gone(now)?;
        let mut outcomes = Vec::with_capacity(group.len());
        // Kept until their bytes count as the table's.
        let mut admissions = Vec::new();
        self.pulse.commands.fetch_add(group.len() as u64, Ordering::Relaxed);
        if !self.unclaimed.is_empty() {
            // What is left takes the next group: one commit must stay within its bounds.
            let some = self.unclaimed.len().min(limits::BATCH_ITEMS);
            let claims = self.unclaimed.drain(..some).collect();
            self.engine.handle(now, Command::Unclaim(claims))?;
        }
        for message in group.drain(..) {
            let Envelope { command, reply, admission } = match message {
                Message::Call(envelope) => envelope,
                Message::Flush(reply) => {
                    let commit = self.engine.store().committed() + 1;
                    self.flushes.push((commit, reply));
                    continue;
                }
                Message::Stop => continue,
            };
            // Nothing is handed to a caller who has left; what others asked for is done anyway.
            if matches!(command, Command::Claim(_)) && reply.is_closed() {
                continue;
            }
            let handled = self.engine.handle(now, command)?;
            if matches!(&handled, Handled::Now(Err(no)) if no.code == Code::Unreadable) {
                self.pulse.unreadable.store(true, Ordering::Relaxed);
            }
            outcomes.push(match handled {
                Handled::Now(decision) => Outcome::Decided(reply, decision),
                Handled::Waits(waiter) => Outcome::Waits(reply, waiter),
            });
            admissions.extend(admission);
            if self.engine.store().group_bytes() > limits::GROUP_BYTES {
                self.commit()?;
                self.release(&mut outcomes);
                // A turn may have many such: the tables must not grow with it.
                self.settle_tables()?;
                admissions.clear();
                self.pulse.turns.fetch_add(1, Ordering::Relaxed);
            }
        }
        self.keep_the_waiting(&mut outcomes);
        self.forget_the_gone(now)?;
        self.engine.set_leads((self.leads)() && !self.pulse.space.is_scarce());
        let ticked = self.engine.tick(now)?;
        self.commit()?;
        self.release(&mut outcomes);
        for effect in ticked.effects {
            self.dispatch(effect)?;
        }
        self.settle_tables()?;
        drop(admissions);
        self.pulse.turns.fetch_add(1, Ordering::Relaxed);
        let nap = ticked.wake.map_or(NAP, |wake| Duration::from_millis(wake.since(now)));
        // The applier has no way to wake this thread; somebody who waits for it shall not wait long.
        let longest = if self.flushes.is_empty() { NAP } else { APPLIER_NAP };
        Ok(nap.min(longest))
    }

    /// Waiters count from now on, so that nothing is offered to one who leaves before the tick. None
    /// of them has been answered yet, and a wait changes nothing that must be durable first.
    fn keep_the_waiting(&mut self, outcomes: &mut Vec<Outcome>) {
        let waits = outcomes.extract_if(.., |outcome| matches!(outcome, Outcome::Waits(..)));
        for outcome in waits {
            if let Outcome::Waits(reply, waiter) = outcome {
                self.waiting.insert(waiter, reply);
            }
        }
    }

    /// Takes waiters off the engine's list whose callers have hung up.
    fn forget_the_gone(&mut self, now: Timestamp) -> Result<(), Fault> {
        let mut gone = Vec::new();
        self.waiting.retain(|waiter, reply| {
            let left = reply.is_closed();
            if left {
                gone.push(*waiter);
            }
            !left
        });
        for waiter in gone {
            self.engine.handle(now, Command::Forget(waiter))?;
        }
        Ok(())
    }

    fn commit(&mut self) -> Result<(), Fault> {
        let Some((number, writes)) = self.engine.end_group() else { return Ok(()) };
        let began = Instant::now();
        self.journal.append(number, &writes)?;
        let took = u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX);
        self.pulse.sync_us.fetch_add(took, Ordering::Relaxed);
        self.pulse.groups.fetch_add(1, Ordering::Relaxed);
        let bytes = writes.iter().map(|it| it.key.len() + it.value.as_ref().map_or(0, |v| v.len()));
        self.pulse.space.spend(bytes.sum::<usize>() as u64);
        self.pulse.commit.store(number, Ordering::Relaxed);
        Ok(())
    }

    fn release(&mut self, outcomes: &mut Vec<Outcome>) {
        for outcome in outcomes.drain(..) {
            match outcome {
                Outcome::Decided(reply, decision) => self.answer(reply, decision),
                Outcome::Waits(reply, waiter) => {
                    self.waiting.insert(waiter, reply);
                }
            }
        }
    }

    fn answer(&mut self, reply: oneshot::Sender<Decision>, decision: Decision) {
        if let Err(Ok(Reply::Claimed(tasks))) = reply.send(decision) {
            self.take_back(tasks);
        }
    }

    fn take_back(&mut self, tasks: Vec<ClaimedTask>) {
        let verdict = Verdict::Nack { delay_ms: Some(0), reason: None };
        self.unclaimed.extend(tasks.into_iter().map(|task| Settlement {
            task: task.id,
            claim: task.claim,
            verdict: verdict.clone(),
        }));
    }

    fn dispatch(&mut self, effect: Effect) -> Result<(), Fault> {
        match effect {
            Effect::Answer { waiter, tasks } => {
                match self.waiting.remove(&waiter) {
                    Some(reply) => self.answer(reply, Ok(Reply::Claimed(tasks))),
                    None => self.take_back(tasks),
                }
                Ok(())
            }
            other => match self.effects.try_send(other) {
                Ok(()) => Ok(()),
                // Nobody works any more: what was claimed is taken up after the restart.
                Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    Err(Fault::io("handing out work", "more was claimed than can be outstanding"))
                }
            },
        }
    }

    /// Moves tables towards the base. Waits only when the base stands still for so long that not even
    /// the door for new work helps.
    fn settle_tables(&mut self) -> Result<(), Fault> {
        let store = self.engine.store();
        let bytes = store.active_bytes();
        self.pulse.active_bytes.store(bytes as u64, Ordering::Relaxed);
        self.door.active(bytes);
        self.pulse.space.owe(self.door.above_the_base());
        if store.is_applying() {
            let done = if bytes > limits::BACKLOG_BYTES {
                Some(self.applier.wait(&self.pulse)?)
            } else {
                self.applier.poll()?
            };
            if let Some(number) = done {
                store.thaw();
                self.applied(number);
            }
        }
        let store = self.engine.store();
        let wanted = bytes > limits::MEMTABLE_BYTES || !self.flushes.is_empty();
        if wanted && !store.is_applying() {
            self.pulse.applied_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
            self.door.freeze(bytes);
            self.applier.apply(store.freeze())?;
        }
        Ok(())
    }

    fn applied(&mut self, number: u64) {
        self.pulse.base_commit.store(number, Ordering::Relaxed);
        let committed = self.engine.store().committed();
        let (done, waiting) = std::mem::take(&mut self.flushes)
            .into_iter()
            .partition(|(commit, _)| (*commit).min(committed) <= number);
        self.flushes = waiting;
        for (_, reply) in done {
            let _ = reply.send(());
        }
    }

    /// The last commits go to the base, which is made durable.
    fn finish(mut self) -> Result<(), Fault> {
        self.commit()?;
        let store = self.engine.store();
        if store.is_applying() {
            self.applier.wait(&self.pulse)?;
            store.thaw();
        }
        let table = store.freeze();
        self.applier.apply(table)?;
        let number = self.applier.wait(&self.pulse)?;
        self.applied(number);
        Ok(())
    }
}

/// The thread that writes frozen tables to the base.
struct Applier {
    tables: std::sync::mpsc::SyncSender<Arc<Table>>,
    done: std::sync::mpsc::Receiver<Result<u64, Fault>>,
    /// Grows while it gets on.
    progress: Arc<AtomicU64>,
}

impl Applier {
    fn start<K: Kv>(base: Arc<K>, door: Door) -> Result<Self, Fault> {
        let (tables, incoming) = std::sync::mpsc::sync_channel::<Arc<Table>>(1);
        let (outgoing, done) = std::sync::mpsc::sync_channel(1);
        let progress = Arc::new(AtomicU64::new(0));
        let made = progress.clone();
        std::thread::Builder::new()
            .name("applier".into())
            .spawn(move || {
                while let Ok(table) = incoming.recv() {
                    let mut note = |bytes| {
                        door.wrote(bytes);
                        made.fetch_add(1, Ordering::Relaxed);
                    };
                    let result =
                        store::apply(&*base, &table, &mut note).map(|()| table.committed());
                    door.thaw();
                    drop(table);
                    if outgoing.send(result).is_err() {
                        break;
                    }
                }
            })
            .map_err(|error| Fault::io("starting the applier", error))?;
        Ok(Self { tables, done, progress })
    }

    fn apply(&self, table: Arc<Table>) -> Result<(), Fault> {
        self.tables.send(table).map_err(|_| gone())
    }

    fn poll(&self) -> Result<Option<u64>, Fault> {
        match self.done.try_recv() {
            Ok(result) => result.map(Some),
            Err(std::sync::mpsc::TryRecvError::Empty) => Ok(None),
            Err(std::sync::mpsc::TryRecvError::Disconnected) => Err(gone()),
        }
    }

    /// Waits for the table. A slow disk is no hang: the writer counts as alive meanwhile, up to
    /// [`BASE_HANGS`] without any progress.
    fn wait(&self, pulse: &Pulse) -> Result<u64, Fault> {
        let (mut seen, mut since) = (0, Instant::now());
        loop {
            match self.done.recv_timeout(WAIT_BEAT) {
                Ok(result) => return result,
                Err(std::sync::mpsc::RecvTimeoutError::Disconnected) => return Err(gone()),
                Err(std::sync::mpsc::RecvTimeoutError::Timeout) => {}
            }
            pulse.turns.fetch_add(1, Ordering::Relaxed);
            let made = self.progress.load(Ordering::Relaxed);
            if made != seen {
                (seen, since) = (made, Instant::now());
            } else if since.elapsed() > BASE_HANGS {
                return Err(Fault::io("writing the base", "it stands still"));
            }
        }
    }
}

fn gone() -> Fault {
    Fault::io("writing the base", "the applier thread has ended")
}

#[cfg(test)]
mod tests;
