//! The engine: every decision of the daemon, pure.
//!
//! [`Engine::handle`] decides one command against the store and the changes of the group so far;
//! [`Engine::tick`] does whatever is due and says when it wants to be called again. Neither reads a
//! clock, a random number, a file or the network, so a run under a seed is a run of the real logic.
//!
//! Each decision receives a `Tx`: time, store, names, ids, rules. The parts (outbox, queue,
//! pruning) keep what they remember to themselves and call downward only; the engine owns them, hands
//! each command and timer to the one it is for, and does what concerns several of them: redrive,
//! release, a clock that jumped, queries.
//!
//! A handler checks everything before it changes anything: a refusal leaves no trace. Faults are
//! returned outside of refusals and end the process.

mod allowance;
pub mod attention;
pub mod audit;
mod clock;
pub mod command;
mod copy;
mod dead;
mod fire;
mod jump;
mod letter;
mod marks;
mod mend;
mod mode;
mod names;
mod outbox;
mod pace;
mod people;
mod prune;
pub mod query;
mod queue;
pub mod refusal;
mod release;
mod schedule;
mod streaks;
mod tenants;
mod timer;
mod tx;
pub mod view;
mod waits;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::attention::list::SeenSince;
use self::attention::watch::Watch;
use self::clock::WallClock;
use self::command::{Command, Reply};
use self::names::Names;
use self::outbox::Outbox;
use self::prune::Pruning;
use self::queue::Queue;
use self::refusal::{Code, Refusal};
use self::tx::Tx;
use crate::id::Id;
use crate::kv::{Fault, Kv, Write};
use crate::model::callback::{Told, What};
use crate::model::rules::{Deliver, Rules};
use crate::model::tenant::StoredToken;
use crate::store::Store;
use crate::store::keys;
use crate::store::schema::{self, Tree};
use crate::time::Timestamp;

pub use self::clock::ClockTrouble;
pub use self::mode::{Identity, Mode};
pub use self::queue::is_name;
pub use self::tx::{Decision, Handled, Ticked};

/// The engine over a store.
pub struct Engine<K: Kv> {
    tx: Tx<K>,
    outbox: Outbox,
    queue: Queue,
    pruning: Pruning,
    /// Whether this process may still begin something: its lease stands.
    leads: bool,
    /// What trouble is found by.
    watch: Watch,
    seen_since: SeenSince,
}

/// Effects that may still wait for a worker after their claim ran out or was taken back.
const SPARE_EFFECTS: usize = 1_024;

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
        let last_id = match store.get(Tree::Meta, schema::LAST_ID)? {
            Some(bytes) => keys::read_id(&bytes).unwrap_or_default(),
            None => Id(0),
        };
        let names = Names::load(&store)?;
        let clock = WallClock::load(&store, last_id.made_at())?;
        let watch = Watch::load(&store)?;
        let mut engine = Self {
            tx: Tx {
                now,
                store,
                rules,
                identity,
                mode,
                names,
                last_id,
                clock,
                started: now,
                effects: Vec::new(),
            },
            outbox: Outbox::default(),
            queue: Queue::default(),
            pruning: Pruning::default(),
            leads: true,
            watch,
            seen_since: BTreeMap::new(),
        };
        engine.start(now)?;
        Ok(engine)
    }

    fn start(&mut self, now: Timestamp) -> Result<(), Fault> {
        let format = Arc::from(&schema::FORMAT.to_be_bytes()[..]);
        self.tx.store.put(Tree::Meta, schema::FORMAT_KEY.to_vec(), format);
        let before = self.identity_before()?;
        let last = self.tx.clock.last_seen();
        copy::note_copy(&mut self.tx, last)?;
        let term = Arc::from(&self.tx.identity.term.to_be_bytes()[..]);
        self.tx.store.put(Tree::Meta, schema::TERM.to_vec(), term);
        let worker = Arc::from(self.tx.identity.worker.as_bytes());
        self.tx.store.put(Tree::Meta, schema::WORKER.to_vec(), worker);
        let tenants: Vec<String> = self.tx.rules.tenants.keys().cloned().collect();
        for tenant in tenants {
            self.tx.names.tenant(&mut self.tx.store, &tenant);
        }
        let kinds: Vec<String> = self.tx.rules.queues.keys().cloned().collect();
        for kind in kinds {
            self.tx.names.kind(&mut self.tx.store, &kind);
        }
        self.queue.load(&mut self.tx)?;
        self.look_at_clock(now)?;
        self.outbox.recover_deliveries(&mut self.tx, &before)?;
        self.outbox.take_up_audiences(&mut self.tx)?;
        self.pruning.start_pruning(&mut self.tx)?;
        schedule::start_schedules(&mut self.tx, &mut self.queue)
    }

    /// Who worked on this store before this process: what was on the wire was sent by that one.
    fn identity_before(&self) -> Result<Identity, Fault> {
        let term = self.tx.store.get(Tree::Meta, schema::TERM)?;
        let worker = self.tx.store.get(Tree::Meta, schema::WORKER)?;
        Ok(Identity {
            term: term.and_then(|bytes| keys::read_id(&bytes)).map_or(0, |id| id.0),
            worker: worker.map_or_else(String::new, |name| String::from_utf8_lossy(&name).into()),
        })
    }

    /// The store, for the mailbox, which commits it.
    pub fn store(&mut self) -> &mut Store<K> {
        &mut self.tx.store
    }

    /// The base of the store.
    pub fn base(&self) -> &Arc<K> {
        self.tx.store.base()
    }

    /// Says whether the lease stands. Without it, nothing is claimed for this process's own workers:
    /// they could not begin it, and it would be in doubt for nothing.
    pub fn set_leads(&mut self, leads: bool) {
        self.leads = leads;
    }

    /// Whether work is handed out.
    #[must_use]
    pub fn mode(&self) -> Mode {
        self.tx.mode
    }

    /// Takes the access tokens out of the store that an earlier version left in it, by tenant: what is
    /// copied and kept for long holds none.
    pub fn take_tokens(&mut self) -> Result<BTreeMap<String, StoredToken>, Fault> {
        tenants::take_tokens(&mut self.tx)
    }

    /// Deliveries claimed and not yet settled.
    #[must_use]
    pub fn in_flight(&self) -> u32 {
        self.outbox.in_flight()
    }

    /// Tasks pushed and not yet answered.
    #[must_use]
    pub fn pushing(&self) -> u32 {
        self.queue.pushing()
    }

    /// How many effects may wait for a worker at once: what may be claimed for tenants and types, one
    /// pull per schedule, and some whose claim ended before a worker took them.
    #[must_use]
    pub fn outstanding(&self) -> usize {
        let sends = self.tx.rules.tenants.values().map(|_| allowance::most_slots() as usize);
        let pushes = self.tx.rules.queues.values().map(|rule| match &rule.deliver {
            Deliver::Push(push) => push.concurrency as usize,
            Deliver::Claim => 0,
        });
        let pulls = self.tx.rules.schedules.len();
        sends.sum::<usize>()
            + pushes.sum::<usize>()
            + pulls
            + outbox::audience::AT_ONCE
            + SPARE_EFFECTS
    }

    /// Decides one command.
    pub fn handle(&mut self, now: Timestamp, command: Command) -> Result<Handled, Fault> {
        self.look_at_clock(now)?;
        let decision = match command {
            Command::Rehearse(draft) => self.outbox.rehearse(&mut self.tx, &draft)?,
            Command::SubmitNotice(draft) => self.outbox.submit_notice(&mut self.tx, *draft)?,
            Command::AddRecipients { notice, recipients, done } => {
                self.outbox.add_recipients(&mut self.tx, notice, recipients, done)?
            }
            Command::Resolved(portion) => self.outbox.take_portion(&mut self.tx, portion)?,
            Command::ResolveFailed { notice, fence, reason, lasting } => {
                self.outbox.audience_failed(&mut self.tx, notice, fence, &reason, lasting)?
            }
            Command::Act { notice, act } => self.outbox.act(&mut self.tx, notice, act)?,
            Command::Patch { notice, patch } => {
                self.outbox.patch_notice(&mut self.tx, notice, *patch)?
            }
            Command::Resolve { delivery, resolution } => {
                self.outbox.resolve(&mut self.tx, delivery, resolution)?
            }
            Command::SettleSend { delivery, fence, tries } => {
                self.outbox.settle_send(&mut self.tx, delivery, fence, tries)?
            }
            Command::ReturnSend { delivery, fence, gone } => {
                self.outbox.return_send(&mut self.tx, delivery, fence, gone)?
            }
            Command::TakeTold { tenant, told } => self.take_told(&tenant, &told)?,
            Command::SaveToken { tenant, token } => {
                tenants::save_token(&mut self.tx, &tenant, token)?
            }
            Command::AddTasks { items, atomic } => {
                self.queue.add_tasks(&mut self.tx, items, atomic)?
            }
            Command::Claim(request) => return self.queue.claim(&mut self.tx, request),
            Command::Forget(waiter) => {
                self.queue.forget_waiter(waiter);
                Ok(Reply::Done)
            }
            Command::Unclaim(claims) => self.queue.unclaim(&mut self.tx, claims)?,
            Command::Settle(items) => self.queue.settle_tasks(&mut self.tx, items)?,
            Command::SettleUnfenced { task, verdict } => {
                self.queue.settle_unfenced(&mut self.tx, task, &verdict)?
            }
            Command::CancelTask(task) => self.queue.cancel_task(&mut self.tx, task)?,
            Command::MoveTask { task, due, priority } => {
                self.queue.reschedule_task(&mut self.tx, task, due, priority)?
            }
            Command::LimitTenant { tenant, limits } => {
                tenants::limit_tenant(&mut self.tx, &tenant, limits)?
            }
            Command::AccountTold { tenant, told } => {
                tenants::account_told(&mut self.tx, &tenant, told)?
            }
            Command::ResumeTenant(tenant) => tenants::resume_tenant(&mut self.tx, &tenant)?,
            Command::PauseQueue { kind, paused } => {
                self.queue.pause_queue(&mut self.tx, &kind, paused)?
            }
            Command::DropQueue(kind) => self.queue.drop_kind(&mut self.tx, &kind)?,
            Command::Redrive(redrive) => self.redrive(now, redrive)?,
            Command::SettlePush { task, fence, outcome } => {
                self.queue.settle_push(&mut self.tx, task, fence, outcome)?
            }
            Command::RunSchedule(asked) => {
                schedule::run_schedule(&mut self.tx, &mut self.queue, &asked)?
            }
            Command::RunDone { run, counts, error, whole } => {
                schedule::run_done(&mut self.tx, &mut self.queue, run, counts, error, whole)?
            }
            Command::KeepRefused(refused) => letter::keep_refused(&mut self.tx, *refused)?,
            Command::DropLetter(id) => letter::drop_letter(&mut self.tx, id)?,
            Command::Query(query) => self.query(now, query).map(|view| Reply::View(Box::new(view))),
            Command::Drain => {
                self.tx.mode = Mode::Draining;
                Ok(Reply::Done)
            }
            Command::HoldPending { from } => self.hold_pending(&from)?,
            Command::Release { held } => self.release(now, held)?,
        };
        Ok(Handled::Now(decision))
    }

    /// Takes in what WeChat told by itself.
    fn take_told(&mut self, tenant: &str, told: &Told) -> Result<Decision, Fault> {
        let Some(number) = self.tx.configured_tenant(tenant) else {
            let detail = self.tx.no_tenant(tenant);
            return Ok(Err(Refusal::field(Code::UnknownTenant, "/tenant", detail)));
        };
        let (tx, openid, at) = (&mut self.tx, told.openid.as_str(), told.at);
        match &told.what {
            What::Followed => people::hear(tx, number, openid, false, at)?,
            What::Unfollowed => people::hear(tx, number, openid, true, at)?,
            What::Receipt { msgid, failed } => {
                self.outbox.take_receipt(tx, number, openid, at, msgid, failed.clone())?;
            }
        }
        Ok(Ok(Reply::Done))
    }

    /// Does what is due. Bounded: what does not fit waits for the next call, which `wake` asks for
    /// at once.
    pub fn tick(&mut self, now: Timestamp) -> Result<Ticked, Fault> {
        let mut ticked = Ticked::default();
        self.look_at_clock(now)?;
        // A copy that is looked at stays as it is: nothing is deleted, expires or runs out in it.
        if self.tx.mode != Mode::Held {
            self.fire_timers(now, &mut ticked)?;
        }
        if self.tx.mode == Mode::Working && self.leads {
            self.outbox.claim_sends(&mut self.tx, &mut ticked)?;
            self.queue.claim_pushes(&mut self.tx, &mut ticked)?;
        }
        self.queue.serve_waiters(&mut self.tx, &mut ticked)?;
        ticked.effects.append(&mut self.tx.effects);
        Ok(ticked)
    }

    /// Ends a group: writes what is kept in memory within one, and gives the commit's number and
    /// changes. `None` when nothing changed.
    pub fn end_group(&mut self) -> Option<(u64, Vec<Write>)> {
        self.queue.write_counts(&mut self.tx);
        if self.tx.store.group_bytes() > 0 {
            let bytes = Arc::from(&self.tx.last_id.0.to_be_bytes()[..]);
            self.tx.store.put(Tree::Meta, schema::LAST_ID.to_vec(), bytes);
            self.tx.write_wall();
        }
        let group = self.tx.store.end_group();
        if let Some((_, writes)) = &group {
            let names = &self.tx.names;
            self.watch.see(writes, |tenant| names.tenant_name(tenant).to_owned());
        }
        group
    }
}
