//! The world around the engine: a journal, a base that lags behind it, a clock, and crashes.

use std::collections::VecDeque;
use std::collections::hash_map::DefaultHasher;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use duebox::engine::command::{Command, Effect, Reply};
use duebox::engine::query::Query;
use duebox::engine::{Decision, Engine, Handled, Identity, Mode};
use duebox::kv::memory::MemoryKv;
use duebox::kv::{Kv, Write};
use duebox::model::rules::Rules;
use duebox::store::{self, Store, Table};
use duebox::time::{Steady, Timestamp};

/// Where all histories begin: 2026-11-18T11:06:40Z.
pub(crate) const BEGIN: Timestamp = Timestamp(1_795_000_000_000);
/// Steps that a failure prints.
const SHOWN: usize = 30;

/// Characters of a step that are printed.
const LINE: usize = 400;

/// What becomes of a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is committed and answered.
    Answered,
    /// The power goes before its commit is durable.
    Lost,
    /// The power goes after its commit is durable and before anyone hears of it.
    Unheard,
}

/// What a step came to.
#[derive(Debug)]
pub(crate) struct Stepped {
    pub(crate) handled: Handled,
    pub(crate) effects: Vec<Effect>,
    pub(crate) wake: Option<Timestamp>,
}

/// The daemon's surroundings. Prints its seed and last steps when a test fails.
pub(crate) struct World {
    pub(crate) engine: Engine<MemoryKv>,
    pub(crate) now: Timestamp,
    /// The boot clock, where there is one.
    pub(crate) steady: Option<Steady>,
    pub(crate) journal: Vec<(u64, Vec<Write>)>,
    pub(crate) crashes: u32,
    seed: u64,
    rules: Rules,
    base: Arc<MemoryKv>,
    frozen: Option<Arc<Table>>,
    term: u64,
    steps: u64,
    trace: VecDeque<String>,
    hash: DefaultHasher,
}

impl World {
    pub(crate) fn new(seed: u64, rules: Rules) -> Self {
        let base = Arc::new(MemoryKv::new());
        let engine = open(base.clone(), 0, &rules, 1, BEGIN);
        let mut world = Self {
            engine,
            now: BEGIN,
            steady: None,
            journal: Vec::new(),
            crashes: 0,
            seed,
            rules,
            base,
            frozen: None,
            term: 1,
            steps: 0,
            trace: VecDeque::new(),
            hash: DefaultHasher::new(),
        };
        world.commit();
        world
    }

    /// One turn of the mailbox with one command, or with none.
    pub(crate) fn step(&mut self, command: Option<Command>, fate: Fate) -> Option<Stepped> {
        self.note(format!("{fate:?} {command:?}"));
        if let Some(steady) = self.steady {
            self.engine.observe(self.now, steady).unwrap();
        }
        let handled = match command {
            Some(command) => self.engine.handle(self.now, command).unwrap(),
            None => Handled::Now(Ok(Reply::Done)),
        };
        let ticked = self.engine.tick(self.now).unwrap();
        if fate == Fate::Lost {
            self.crash(usize::MAX);
            return None;
        }
        let changed = self.commit();
        if fate == Fate::Unheard {
            self.crash(usize::MAX);
            return None;
        }
        if changed {
            self.audit();
        }
        let stepped = Stepped { handled, effects: ticked.effects, wake: ticked.wake };
        self.note(format!("= {:?} {:?}", stepped.handled, stepped.effects));
        Some(stepped)
    }

    /// A step that is answered.
    pub(crate) fn run(&mut self, command: Command) -> Stepped {
        self.step(Some(command), Fate::Answered).unwrap()
    }

    /// The answer of a step, when its effects do not matter.
    pub(crate) fn ask(&mut self, command: Command) -> Decision {
        match self.run(command).handled {
            Handled::Now(decision) => decision,
            Handled::Waits(waiter) => panic!("waits as {waiter}"),
        }
    }

    /// A document.
    pub(crate) fn look(&mut self, query: Query) -> serde_json::Value {
        match self.ask(Command::Query(query)) {
            Ok(Reply::View(view)) => {
                let document = view.document().unwrap_or_else(|| panic!("{view:?}"));
                serde_json::from_str(&document).unwrap()
            }
            other => panic!("{other:?}"),
        }
    }

    /// A turn without a command.
    pub(crate) fn idle(&mut self) -> Vec<Effect> {
        self.step(None, Fate::Answered).unwrap().effects
    }

    /// Lets time pass and takes a turn.
    pub(crate) fn pass(&mut self, ms: u64) -> Vec<Effect> {
        self.now = self.now.plus(ms);
        self.idle()
    }

    /// Turns until the engine asks for none before `ms` have passed; gathers the effects.
    pub(crate) fn pass_in_turns(&mut self, ms: u64) -> Vec<Effect> {
        let end = self.now.plus(ms);
        let mut effects = Vec::new();
        loop {
            let stepped = self.step(None, Fate::Answered).unwrap();
            effects.extend(stepped.effects);
            match stepped.wake {
                Some(wake) if wake <= end => self.now = wake.max(self.now),
                _ if self.now < end => self.now = end,
                _ => return effects,
            }
        }
    }

    /// Makes the group durable. Says whether anything had changed.
    fn commit(&mut self) -> bool {
        let group = self.engine.end_group();
        let changed = group.is_some();
        self.journal.extend(group);
        changed
    }

    /// The next step of bringing the base up to date: freeze, or apply what is frozen.
    pub(crate) fn maintain(&mut self) {
        self.note("maintain".to_owned());
        if let Some(table) = self.frozen.take() {
            store::apply(&*self.base, &table, &mut |_| {}).unwrap();
            self.engine.store().thaw();
        } else {
            self.frozen = Some(self.engine.store().freeze());
        }
    }

    /// The power goes. A frozen table has reached the base up to `prefix` rows.
    pub(crate) fn crash(&mut self, prefix: usize) {
        self.note(format!("crash {prefix}"));
        self.crashes += 1;
        let base = (*self.base).clone();
        if let Some(table) = self.frozen.take() {
            let part: Vec<Write> = table.writes().take(prefix).collect();
            base.apply(&part).unwrap();
        }
        self.recover(base);
    }

    /// What the next process is told.
    pub(crate) fn configure(&mut self, rules: Rules) {
        self.rules = rules;
    }

    /// Starts a new process over `base` and the journal.
    pub(crate) fn recover(&mut self, base: MemoryKv) {
        let applied = store::applied(&base).unwrap();
        let mut last = applied;
        for (number, writes) in self.journal.iter().filter(|(number, _)| *number > applied) {
            base.apply(writes).unwrap();
            base.apply(&[store::applied_write(*number)]).unwrap();
            last = *number;
        }
        self.term += 1;
        self.base = Arc::new(base);
        self.engine = open(self.base.clone(), last, &self.rules, self.term, self.now);
        self.frozen = None;
        self.commit();
        self.audit();
    }

    /// Everything agrees with everything.
    pub(crate) fn audit(&self) {
        let wrong = self.engine.audit().unwrap();
        assert!(wrong.is_empty(), "{wrong:#?}");
    }

    /// Everything that happened, as one number.
    pub(crate) fn hash(&self) -> u64 {
        self.hash.finish()
    }

    pub(crate) fn note(&mut self, text: String) {
        self.steps += 1;
        let line = format!("{:>5} {} {text}", self.steps, self.now);
        line.hash(&mut self.hash);
        let line: String = line.chars().take(LINE).collect();
        if self.trace.len() == SHOWN {
            self.trace.pop_front();
        }
        self.trace.push_back(line);
    }
}

impl Drop for World {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("SIM_SEED={} failed; its last steps:", self.seed);
            for line in &self.trace {
                eprintln!("  {line}");
            }
        }
    }
}

fn open(
    base: Arc<MemoryKv>,
    committed: u64,
    rules: &Rules,
    term: u64,
    now: Timestamp,
) -> Engine<MemoryKv> {
    let identity = Identity { term, worker: format!("worker-{term}") };
    let store = Store::new(base, committed);
    Engine::open(store, rules.clone(), identity, Mode::Working, now).unwrap()
}
