//! The engine: every decision of the daemon, pure.
//!
//! [`Engine::handle`] decides one command against the store and the changes of the group so far;
//! [`Engine::tick`] does whatever is due and says when it wants to be called again. Neither reads a
//! clock, a random number, a file or the network, so a run under a seed is a run of the real logic.
//!
//! A handler checks everything before it changes anything: a refusal leaves no trace. Faults are
//! returned outside of refusals and end the process.

pub mod act;
pub mod attention;
pub mod audit;
pub mod claim;
pub mod clock;
pub mod command;
pub mod dead;
mod kinds;
mod lanes;
mod letter;
mod mend;
mod names;
mod outbox;
pub mod prune;
mod push;
pub mod query;
mod queue;
pub mod recover;
mod release;
pub mod schedule;
pub mod send;
pub mod settle;
pub mod submit;
pub mod task;
mod tenants;
mod timer;
mod trouble;
mod verdict;

use std::collections::{BTreeMap, HashMap};

use self::claim::Waiters;
use self::command::{Code, Command, Effect, Refusal, Reply};
use self::names::Names;
use crate::id::Id;
use crate::kv::{Fault, Key, Kv, Tree, Write};
use crate::model::notice::NoticeBody;
use crate::model::rules::{Deliver, Rules};
use crate::model::task::QueueState;
use crate::model::tenant::{StoredToken, TenantState};
use crate::store::keys::{self, Lane, TenantNo, TypeNo};
use crate::store::{Order, Store};
use crate::time::Timestamp;

/// An answer or a no.
pub type Decision = Result<Reply, Refusal>;

/// What [`Engine::handle`] makes of a command.
#[derive(Debug)]
pub enum Handled {
    /// Decided.
    Now(Decision),
    /// A claim that waits for work; [`Effect::Answer`] names it.
    Waits(u64),
}

/// Whether the engine hands out work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Working,
    /// It does not: this is a copy that nobody has released.
    Held,
    /// It does not: the daemon is stopping.
    Draining,
}

/// What one tick came to.
#[derive(Debug, Default)]
pub struct Ticked {
    /// What the world shall do.
    pub effects: Vec<Effect>,
    /// When to call again at the latest; at once when it has passed already.
    pub wake: Option<Timestamp>,
}

/// Who this process is in the log.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The term of its leadership.
    pub term: u64,
    /// Its name: host and process.
    pub worker: String,
}

/// The engine over a store.
pub struct Engine<K: Kv> {
    store: Store<K>,
    rules: Rules,
    identity: Identity,
    mode: Mode,
    /// Whether this process may still begin something: its lease stands.
    leads: bool,
    names: Names,
    last_id: Id,
    /// Deliveries claimed and not settled, by tenant.
    in_flight: BTreeMap<TenantNo, u32>,
    /// Tasks pushed and not answered, by type.
    pushing: BTreeMap<u32, u32>,
    waiters: Waiters,
    /// Types without lanes: when that began.
    kind_seen: BTreeMap<TypeNo, Timestamp>,
    /// Counts per type and priority.
    lanes: lanes::Lanes,
    /// States of types, as stored.
    queue_states: BTreeMap<TypeNo, QueueState>,
    prune: prune::PruneCursor,
    /// Effects of commands, given out with the next tick.
    outbox: Vec<Effect>,
    /// When this engine was opened: ticks before it are caught up.
    started: Timestamp,
    /// What is known of the wall clock.
    clock: clock::WallClock,
    /// Where the first live key of a lane may be found; saves walking over deleted ones.
    floors: HashMap<Key, Key>,
    /// What trouble is found by.
    watch: attention::Watch,
    seen_since: attention::SeenSince,
    /// Bodies of notices being sent.
    bodies: HashMap<Id, std::sync::Arc<NoticeBody>>,
}

/// Notice bodies kept at hand.
const BODIES: usize = 256;
/// Effects that may still wait for a worker after their claim ran out or was taken back.
const SPARE_EFFECTS: usize = 1_024;
/// Lanes whose floor is remembered.
const FLOORS: usize = 100_000;

impl<K: Kv> Engine<K> {
    /// An engine over a store whose journal has been replayed. Interns the configured names, takes
    /// up what an earlier process left, and plans the schedules.
    pub fn open(
        store: Store<K>,
        rules: Rules,
        identity: Identity,
        mode: Mode,
        now: Timestamp,
    ) -> Result<Self, Fault> {
        let last_id = match store.get(Tree::Meta, keys::LAST_ID)? {
            Some(bytes) => keys::read_id(&bytes).unwrap_or_default(),
            None => Id(0),
        };
        let names = Names::load(&store)?;
        let clock = clock::WallClock::load(&store, last_id.made_at())?;
        let watch = attention::Watch::load(&store)?;
        let mut engine = Self {
            store,
            rules,
            identity,
            mode,
            leads: true,
            names,
            last_id,
            in_flight: BTreeMap::new(),
            pushing: BTreeMap::new(),
            waiters: Waiters::default(),
            kind_seen: BTreeMap::new(),
            lanes: lanes::Lanes::default(),
            queue_states: BTreeMap::new(),
            prune: prune::PruneCursor::default(),
            outbox: Vec::new(),
            started: now,
            clock,
            floors: HashMap::new(),
            watch,
            seen_since: BTreeMap::new(),
            bodies: HashMap::new(),
        };
        engine.start(now)?;
        Ok(engine)
    }

    fn start(&mut self, now: Timestamp) -> Result<(), Fault> {
        let format = std::sync::Arc::from(&keys::FORMAT.to_be_bytes()[..]);
        self.store.put(Tree::Meta, keys::FORMAT_KEY.to_vec(), format);
        let before = self.identity_before()?;
        self.note_copy(self.clock.last_seen())?;
        let term = std::sync::Arc::from(&self.identity.term.to_be_bytes()[..]);
        self.store.put(Tree::Meta, keys::TERM.to_vec(), term);
        let worker = std::sync::Arc::from(self.identity.worker.as_bytes());
        self.store.put(Tree::Meta, keys::WORKER.to_vec(), worker);
        let tenants: Vec<String> = self.rules.tenants.keys().cloned().collect();
        for tenant in tenants {
            self.names.tenant(&mut self.store, &tenant);
        }
        let kinds: Vec<String> = self.rules.queues.keys().cloned().collect();
        for kind in kinds {
            self.names.kind(&mut self.store, &kind);
        }
        self.load_queues()?;
        self.look_at_clock(now)?;
        self.recover_deliveries(now, &before)?;
        self.start_pruning(now)?;
        self.start_schedules(now)
    }

    /// Who worked on this store before this process: what was on the wire was sent by that one.
    fn identity_before(&self) -> Result<Identity, Fault> {
        let term = self.store.get(Tree::Meta, keys::TERM)?;
        let worker = self.store.get(Tree::Meta, keys::WORKER)?;
        Ok(Identity {
            term: term.and_then(|bytes| keys::read_id(&bytes)).map_or(0, |id| id.0),
            worker: worker.map_or_else(String::new, |name| String::from_utf8_lossy(&name).into()),
        })
    }

    fn load_queues(&mut self) -> Result<(), Fault> {
        let mut from = Vec::new();
        loop {
            let page = self.store.scan(Tree::Counters, &from, &[0xff], Order::Ascending, 1024)?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from.clone_from(last);
            from.push(0);
            for (key, value) in &page {
                match (key.split_first(), keys::queue_priority(key)) {
                    (Some((b'q', kind)), Some(priority)) => {
                        let kind = TypeNo(keys::read_u32(kind).unwrap_or_default());
                        let counts = crate::store::codec::decode(value)?;
                        self.lanes.load((kind, priority), counts, self.started);
                    }
                    (Some((b'Q', kind)), _) => {
                        let kind = TypeNo(keys::read_u32(kind).unwrap_or_default());
                        self.queue_states.insert(kind, crate::store::codec::decode(value)?);
                    }
                    _ => {}
                }
            }
        }
    }

    /// The store, for the mailbox, which commits it.
    pub fn store(&mut self) -> &mut Store<K> {
        &mut self.store
    }

    /// The base of the store.
    pub fn base(&self) -> &std::sync::Arc<K> {
        self.store.base()
    }

    /// Says whether the lease stands. Without it, nothing is claimed for this process's own workers:
    /// they could not begin it, and it would be in doubt for nothing.
    pub fn set_leads(&mut self, leads: bool) {
        self.leads = leads;
    }

    /// Whether work is handed out.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Takes the access tokens out of the store that an earlier version left in it, by tenant: what is
    /// copied and kept for long holds none.
    pub fn take_tokens(&mut self) -> Result<BTreeMap<String, StoredToken>, Fault> {
        let mut tokens = BTreeMap::new();
        for (number, name) in self.names.tenants() {
            let key = keys::tenant_state(number);
            let Some(mut state) = self.store.read::<TenantState>(&key)? else { continue };
            let Some(token) = &mut state.token else { continue };
            if token.value.is_empty() {
                continue;
            }
            tokens.insert(name.to_owned(), token.clone());
            token.value.clear();
            self.store.write(key, &state);
        }
        Ok(tokens)
    }

    /// Deliveries claimed and not yet settled.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.in_flight.values().sum()
    }

    /// Tasks pushed and not yet answered.
    #[must_use]
    pub fn pushing(&self) -> u32 {
        self.pushing.values().sum()
    }

    /// How many effects may wait for a worker at once: what may be claimed for tenants and types, one
    /// pull per schedule, and some whose claim ended before a worker took them.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let sends = self.rules.tenants.values().map(|rule| send::slots(rule) as usize);
        let pushes = self.rules.queues.values().map(|rule| match &rule.deliver {
            Deliver::Push(push) => push.concurrency as usize,
            Deliver::Claim => 0,
        });
        let pulls = self.rules.schedules.len();
        sends.sum::<usize>() + pushes.sum::<usize>() + pulls + SPARE_EFFECTS
    }

    /// Decides one command.
    pub fn handle(&mut self, now: Timestamp, command: Command) -> Result<Handled, Fault> {
        self.look_at_clock(now)?;
        let decision = match command {
            Command::SubmitNotice(draft) => self.submit_notice(now, *draft)?,
            Command::AddRecipients { notice, recipients, done } => {
                self.add_recipients(now, notice, recipients, done)?
            }
            Command::Act { notice, act } => self.act(now, notice, act)?,
            Command::Resolve { delivery, resolution } => self.resolve(now, delivery, resolution)?,
            Command::SettleSend { delivery, fence, tries } => {
                self.settle_send(now, delivery, fence, tries)?
            }
            Command::ReturnSend { delivery, fence } => self.return_send(now, delivery, fence)?,
            Command::SaveToken { tenant, token } => self.save_token(&tenant, token)?,
            Command::AddTasks { items, atomic } => self.add_tasks(now, items, atomic)?,
            Command::Claim(request) => return self.claim(now, request),
            Command::Forget(waiter) => {
                self.waiters.forget(waiter);
                Ok(Reply::Done)
            }
            Command::Unclaim(claims) => self.unclaim(now, claims)?,
            Command::Settle(items) => self.settle_tasks(now, items)?,
            Command::SettleUnfenced { task, verdict } => {
                self.settle_unfenced(now, task, &verdict)?
            }
            Command::CancelTask(task) => self.cancel_task(now, task)?,
            Command::MoveTask { task, due, priority } => {
                self.reschedule_task(task, due, priority)?
            }
            Command::ResumeTenant(tenant) => self.resume_tenant(&tenant)?,
            Command::PauseQueue { kind, paused } => self.pause_queue(&kind, paused)?,
            Command::DropQueue(kind) => self.drop_kind(&kind)?,
            Command::Redrive(redrive) => self.redrive(now, redrive)?,
            Command::SettlePush { task, fence, outcome } => {
                self.settle_push(now, task, fence, outcome)?
            }
            Command::RunSchedule(name) => self.run_schedule(now, &name)?,
            Command::RunDone { run, counts, error } => self.run_done(now, run, counts, error)?,
            Command::KeepRefused(refused) => self.keep_refused(now, *refused)?,
            Command::DropLetter(id) => self.drop_letter(id)?,
            Command::Query(query) => self.query(now, query).map(|view| Reply::View(Box::new(view))),
            Command::Drain => {
                self.mode = Mode::Draining;
                Ok(Reply::Done)
            }
            Command::HoldPending { from } => self.hold_pending(&from)?,
            Command::Release { held } => self.release(now, held)?,
        };
        Ok(Handled::Now(decision))
    }

    /// Does what is due. Bounded: what does not fit waits for the next call, which `wake` asks for
    /// at once.
    pub fn tick(&mut self, now: Timestamp) -> Result<Ticked, Fault> {
        let mut ticked = Ticked::default();
        self.look_at_clock(now)?;
        // A copy that is looked at stays as it is: nothing is deleted, expires or runs out in it.
        if self.mode != Mode::Held {
            self.fire_timers(now, &mut ticked)?;
        }
        if self.mode == Mode::Working && self.leads {
            self.claim_sends(now, &mut ticked)?;
            self.claim_pushes(now, &mut ticked)?;
        }
        self.serve_waiters(now, &mut ticked)?;
        ticked.effects.append(&mut self.outbox);
        Ok(ticked)
    }

    fn new_id(&mut self, now: Timestamp) -> Id {
        self.last_id = self.last_id.next(now);
        self.last_id
    }

    /// Ends a group: writes what is kept in memory within one, and gives the commit's number and
    /// changes. `None` when nothing changed.
    pub fn end_group(&mut self) -> Option<(u64, Vec<Write>)> {
        for ((kind, priority), counts) in self.lanes.take_changed() {
            self.store.write(keys::queue_counts(kind, priority), &counts);
        }
        if self.store.group_bytes() > 0 {
            let bytes = std::sync::Arc::from(&self.last_id.0.to_be_bytes()[..]);
            self.store.put(Tree::Meta, keys::LAST_ID.to_vec(), bytes);
            self.write_wall();
        }
        let group = self.store.end_group();
        if let Some((_, writes)) = &group {
            let names = &self.names;
            self.watch.see(writes, |tenant| names.tenant_name(tenant).to_owned());
        }
        group
    }

    // The delay tree: the one index of time.

    fn delay_put(&mut self, lane: Lane, due: Timestamp, item: &[u8]) {
        let key = lane.key(due, item);
        if let Some(floor) = self.floors.get_mut(&lane.prefix())
            && key < *floor
        {
            floor.clone_from(&key);
        }
        self.store.create(Tree::Delay, key, std::sync::Arc::from(&[][..]));
    }

    fn delay_delete(&mut self, lane: Lane, due: Timestamp, item: &[u8]) {
        self.store.delete(Tree::Delay, &lane.key(due, item));
    }

    /// Up to `limit` items of a lane in order of due time, due or not.
    fn delay_first(
        &mut self,
        lane: Lane,
        limit: usize,
    ) -> Result<Vec<(Timestamp, Vec<u8>)>, Fault> {
        let prefix = lane.prefix();
        let end = keys::after_prefix(&prefix);
        let from = self.floors.get(&prefix).unwrap_or(&prefix).clone();
        let found = self.store.scan(Tree::Delay, &from, &end, Order::Ascending, limit)?;
        if self.floors.len() >= FLOORS {
            self.floors.clear();
        }
        let floor = found.first().map_or(end, |(key, _)| key.clone());
        self.floors.insert(prefix.clone(), floor);
        let items = found.iter().filter_map(|(key, _)| keys::split_delay(key, prefix.len()));
        Ok(items.map(|(due, item)| (due, item.to_vec())).collect())
    }
}

impl Ticked {
    /// Asks to be called at `at` or earlier.
    fn wake_at(&mut self, at: Timestamp) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

/// A refusal of a thing that is not there.
fn not_found(what: &str, id: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no {what} {id}"))
}
