//! Random histories of tasks.

use std::collections::BTreeMap;

use duebox::engine::Handled;
use duebox::engine::command::{
    ClaimRequest, ClaimedTask, Command, Effect, Redrive, Reply, Settlement, TaskDraft, Verdict,
};
use duebox::engine::query::{Page, Query};
use duebox::id::Id;
use duebox::model::task::Terms;
use duebox::time::{DAY_MS, MINUTE_MS, SECOND_MS};
use fastrand::Rng;

use super::oracle::Oracle;
use super::world::{Fate, World};
use super::{rules, seeds};

/// Steps of one history before its end.
const STEPS: usize = 120;
/// Turns in which all tasks must be done after that.
const TURNS: usize = 3_000;

struct Tasks {
    rng: Rng,
    world: World,
    oracle: Oracle,
    /// Claims that wait.
    waiting: BTreeMap<u64, ClaimRequest>,
    names: u32,
}

/// What a command was, for making sense of its answer.
enum Said {
    Add(Vec<TaskDraft>),
    Claim(ClaimRequest),
    Settle(Vec<Settlement>),
    Cancel(Id),
    Move(Id, Option<duebox::time::Timestamp>),
    Unclaim(Vec<Settlement>),
    Redrive,
    Other,
}

impl Tasks {
    fn new(seed: u64) -> Self {
        Self {
            rng: Rng::with_seed(seed),
            world: World::new(seed, rules::queues()),
            oracle: Oracle::default(),
            waiting: BTreeMap::new(),
            names: 0,
        }
    }

    fn history(&mut self) {
        for _ in 0..STEPS {
            self.pass();
            let (command, said) = self.command();
            self.step(command, said);
            if self.rng.u8(0..8) == 0 {
                self.world.maintain();
            }
            if self.rng.u8(0..40) == 0 {
                self.world.crash(self.rng.usize(0..200));
                self.waiting.clear();
            }
            if self.rng.u8(0..8) == 0 {
                self.try_stale_token();
            }
        }
        self.come_to_an_end();
    }

    fn pass(&mut self) {
        let ms = match self.rng.u16(0..400) {
            0..200 => 0,
            200..300 => self.rng.u64(1..3 * SECOND_MS),
            300..380 => self.rng.u64(1..MINUTE_MS),
            380..399 => self.rng.u64(1..10 * MINUTE_MS),
            _ => self.rng.u64(1..DAY_MS),
        };
        self.world.now = self.world.now.plus(ms);
    }

    fn step(&mut self, command: Option<Command>, said: Said) {
        let fate = match self.rng.u8(0..60) {
            0 => Fate::Lost,
            1 => Fate::Unheard,
            _ => Fate::Answered,
        };
        self.step_with(command, said, fate);
    }

    fn step_with(&mut self, command: Option<Command>, said: Said, fate: Fate) {
        let now = self.world.now;
        let Some(stepped) = self.world.step(command, fate) else {
            self.waiting.clear();
            if fate == Fate::Unheard {
                self.unheard(said);
            }
            return;
        };
        match stepped.handled {
            Handled::Now(Ok(reply)) => self.heard(said, reply),
            Handled::Now(Err(_)) => {}
            Handled::Waits(waiter) => {
                let Said::Claim(request) = said else { panic!("{waiter} waits for nothing") };
                assert!(self.waiting.insert(waiter, request).is_none());
            }
        }
        for effect in stepped.effects {
            let Effect::Answer { waiter, tasks } = effect else { panic!("{effect:?}") };
            let request = self.waiting.remove(&waiter).expect("a waiter is answered once");
            self.claimed(&request, &tasks, now);
        }
    }

    fn claimed(
        &mut self,
        request: &ClaimRequest,
        tasks: &[ClaimedTask],
        now: duebox::time::Timestamp,
    ) {
        assert!(tasks.len() <= request.max);
        for task in tasks {
            assert_eq!(task.kind, request.kind);
            assert!(request.priority.is_none_or(|priority| priority == task.priority));
            self.oracle.claimed(task, now);
        }
    }

    fn heard(&mut self, said: Said, reply: Reply) {
        let now = self.world.now;
        match (said, reply) {
            (Said::Add(drafts), Reply::Tasks(answers)) => {
                for (draft, answer) in drafts.iter().zip(answers) {
                    if let Ok(answer) = answer {
                        self.oracle.added(draft, answer, now);
                    }
                }
            }
            (Said::Claim(request), Reply::Claimed(tasks)) => self.claimed(&request, &tasks, now),
            (Said::Settle(items), Reply::Settled(answers)) => {
                for (item, answer) in items.iter().zip(answers) {
                    if let Ok(answer) = answer {
                        self.oracle.settled(item, answer, now);
                    }
                }
            }
            (Said::Cancel(id), Reply::Cancelled { .. }) => self.oracle.cancelled(id),
            (Said::Move(id, Some(due)), Reply::Done) => self.oracle.moved(id, due),
            (Said::Unclaim(items), Reply::Done) => {
                items.iter().for_each(|item| self.oracle.forget(item.task));
            }
            (Said::Redrive, Reply::Redriven { .. }) => self.oracle.redriven(),
            (Said::Other | Said::Move(_, None), _) => {}
            (_, reply) => panic!("{reply:?}"),
        }
    }

    fn unheard(&mut self, said: Said) {
        match said {
            Said::Add(drafts) => drafts.iter().for_each(|draft| self.oracle.forget_key(draft)),
            Said::Settle(items) | Said::Unclaim(items) => {
                items.iter().for_each(|item| self.oracle.unheard(item.task));
            }
            Said::Cancel(id) | Said::Move(id, _) => self.oracle.unheard(id),
            Said::Redrive => self.oracle.redriven(),
            Said::Claim(_) | Said::Other => {}
        }
    }

    fn kind(&mut self) -> String {
        ["q", "mail", "42"][self.rng.usize(0..3)].to_owned()
    }

    fn command(&mut self) -> (Option<Command>, Said) {
        match self.rng.u8(0..100) {
            0..25 => {
                let items: Vec<TaskDraft> =
                    (0..self.rng.usize(1..5)).map(|_| self.draft()).collect();
                let atomic = self.rng.bool();
                (Some(Command::AddTasks { items: items.clone(), atomic }), Said::Add(items))
            }
            25..45 => {
                let request = self.claim();
                (Some(Command::Claim(request.clone())), Said::Claim(request))
            }
            45..70 => {
                let items: Vec<Settlement> = (0..3).filter_map(|_| self.settlement()).collect();
                (Some(Command::Settle(items.clone())), Said::Settle(items))
            }
            70..73 => match self.any() {
                Some(id) => (Some(Command::CancelTask(id)), Said::Cancel(id)),
                None => (None, Said::Other),
            },
            73..76 => match self.any() {
                Some(task) => {
                    let due =
                        self.rng.bool().then(|| self.world.now.plus(self.rng.u64(0..MINUTE_MS)));
                    let priority = self.rng.bool().then(|| self.rng.u8(0..3));
                    (Some(Command::MoveTask { task, due, priority }), Said::Move(task, due))
                }
                None => (None, Said::Other),
            },
            76..79 => {
                let items: Vec<Settlement> = self.settlement().into_iter().collect();
                (Some(Command::Unclaim(items.clone())), Said::Unclaim(items))
            }
            79..81 => {
                let redrive = Redrive { all: true, ..Redrive::default() };
                (Some(Command::Redrive(redrive)), Said::Redrive)
            }
            81..84 => {
                let (kind, paused) = (self.kind(), self.rng.u8(0..3) == 0);
                (Some(Command::PauseQueue { kind, paused }), Said::Other)
            }
            84..86 => match self.waiting.pop_first() {
                Some((waiter, _)) => (Some(Command::Forget(waiter)), Said::Other),
                None => (None, Said::Other),
            },
            _ => (None, Said::Other),
        }
    }

    fn draft(&mut self) -> TaskDraft {
        self.names += 1;
        let keyed = self.rng.u8(0..3) == 0;
        TaskDraft {
            marks: Default::default(),
            kind: self.kind(),
            priority: self.rng.u8(0..3),
            due: None,
            delay_ms: self.rng.bool().then(|| self.rng.u64(0..3 * MINUTE_MS)),
            payload: format!("{}", self.names),
            terms: Terms {
                max_attempts: (self.rng.u8(0..3) == 0).then(|| self.rng.u32(1..4)),
                key: keyed.then(|| format!("k{}", self.rng.u8(0..5))),
            },
            replace: self.rng.bool(),
            fingerprint: self.rng.u128(0..3),
            meaning: 0,
        }
    }

    fn claim(&mut self) -> ClaimRequest {
        // A request that is named is repeated as it was.
        let name = (self.rng.u8(0..3) == 0).then(|| self.rng.u8(0..4));
        let priority = (self.rng.u8(0..4) == 0).then(|| self.rng.u8(0..3));
        ClaimRequest {
            kind: self.kind(),
            priority: name.map_or(priority, |name| name.checked_sub(2)),
            max: if name.is_some() { 3 } else { self.rng.usize(1..6) },
            ttl_ms: Some(self.rng.u64(SECOND_MS..2 * MINUTE_MS)),
            wait_ms: if self.rng.bool() { 0 } else { self.rng.u64(1..MINUTE_MS) },
            request: name.map(|name| format!("r{name}")),
            worker: None,
        }
    }

    fn any(&mut self) -> Option<Id> {
        let at = self.rng.usize(0..self.oracle.added.len().max(1));
        self.oracle.added.iter().nth(at).copied()
    }

    /// A verdict on a task that somebody holds.
    fn settlement(&mut self) -> Option<Settlement> {
        let at = self.rng.usize(0..self.oracle.held.len().max(1));
        let (task, held) = self.oracle.held.iter().nth(at)?;
        let (task, claim) = (*task, held.token.clone());
        let verdict = self.verdict();
        Some(Settlement { task, claim, verdict })
    }

    fn verdict(&mut self) -> Verdict {
        match self.rng.u8(0..8) {
            0..4 => Verdict::Ack,
            4..6 => {
                let delay_ms = self.rng.bool().then(|| self.rng.u64(0..MINUTE_MS));
                Verdict::Nack { delay_ms, reason: None }
            }
            6 => Verdict::Reject { reason: None },
            _ => Verdict::Extend { ttl_ms: Some(self.rng.u64(SECOND_MS..MINUTE_MS)) },
        }
    }

    /// A token that is over, or one of another task, changes nothing.
    fn try_stale_token(&mut self) {
        let Some((task, stale)) = self.rng.choice(&self.oracle.stale).cloned() else { return };
        let foreign = self.rng.choice(&self.oracle.stale).map(|(_, token)| token.clone());
        let claim = if self.rng.bool() { stale } else { foreign.unwrap() };
        let verdict = self.verdict();
        if self.oracle.held.get(&task).is_some_and(|held| held.token == claim) {
            return;
        }
        self.step_with(None, Said::Other, Fate::Answered);
        let before = self.world.look(Query::Task(task));
        let item = Settlement { task, claim, verdict: verdict.clone() };
        let answer = self.world.ask(Command::Settle(vec![item])).unwrap();
        let Reply::Settled(answers) = answer else { panic!("{answer:?}") };
        if verdict != Verdict::Ack {
            assert!(answers[0].is_err(), "{answers:?}");
        }
        assert_eq!(self.world.look(Query::Task(task)), before);
    }

    /// Everything is claimed and done, and then nothing is left.
    fn come_to_an_end(&mut self) {
        for kind in ["q", "mail", "42"] {
            let resume = Command::PauseQueue { kind: kind.to_owned(), paused: false };
            self.step_with(Some(resume), Said::Other, Fate::Answered);
        }
        for _ in 0..TURNS {
            for kind in ["q", "mail", "42"] {
                let request =
                    ClaimRequest { kind: kind.to_owned(), max: 100, ..ClaimRequest::default() };
                let command = Command::Claim(request.clone());
                self.step_with(Some(command), Said::Claim(request), Fate::Answered);
            }
            let held = std::mem::take(&mut self.oracle.held);
            let done = held.iter().map(|(task, held)| Settlement {
                task: *task,
                claim: held.token.clone(),
                verdict: Verdict::Ack,
            });
            let items: Vec<Settlement> = done.collect();
            self.oracle.held = held;
            self.step_with(
                Some(Command::Settle(items.clone())),
                Said::Settle(items),
                Fate::Answered,
            );
            if self.left() == 0 {
                return self.check_ends();
            }
            self.world.now = self.world.now.plus(MINUTE_MS);
        }
        panic!("{} tasks were never done", self.left());
    }

    fn left(&mut self) -> u64 {
        let queues = self
            .world
            .look(Query::Queues { kind: None, page: Page { limit: 1_000, cursor: None } });
        let count = |queue: &serde_json::Value| {
            ["depth", "claimed"].iter().map(|name| queue[name].as_u64().unwrap()).sum::<u64>()
        };
        queues["items"].as_array().unwrap().iter().map(count).sum()
    }

    /// Every task that was added has one end, and the one that was told.
    fn check_ends(&mut self) {
        for id in self.oracle.added.clone() {
            let state = self.world.look(Query::Task(id))["state"].as_str().unwrap().to_owned();
            assert!(["acked", "cancelled", "dead", "rejected"].contains(&&*state), "{id} {state}");
            if let Some(end) = self.oracle.ended.get(&id) {
                assert!(state == *end || *end == "over", "{id} is {state}, was {end}");
            }
        }
    }
}

#[test]
fn tasks_survive_everything() {
    for seed in seeds() {
        Tasks::new(seed).history();
    }
}

#[test]
fn a_seed_is_one_history_of_tasks() {
    for seed in 0..3 {
        let hash = || {
            let mut tasks = Tasks::new(seed);
            tasks.history();
            tasks.world.hash()
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
