//! Random histories of notices.

use std::collections::{BTreeMap, BTreeSet};

use duebox::engine::Handled;
use duebox::engine::command::{
    Act, Audience, Command, Effect, NoticeDraft, Recipient, Redrive, Reply, SendJob,
};
use duebox::engine::query::{Page, Query};
use duebox::id::{DeliveryId, Id};
use duebox::model::delivery::{DeliveryState, Resolution};
use duebox::model::notice::{CanaryRule, InDoubt};
use duebox::store::Order;
use duebox::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, Steady};
use fastrand::Rng;

use super::provider::{Faults, Provider};
use super::world::{Fate, World};
use super::{rules, seeds};

/// Steps of one history before the faults stop.
const STEPS: usize = 80;
/// Turns in which everything must have come to its end after that.
const TURNS: usize = 3_000;

struct Outbox {
    rng: Rng,
    world: World,
    provider: Provider,
    /// Answers under way: when they arrive, and what they say.
    answers: Vec<(u64, Command)>,
    /// Claims that were given out.
    claims: BTreeSet<(DeliveryId, u64)>,
    /// Notices that were accepted, with the recipients they were said to have.
    accepted: BTreeMap<Id, u64>,
    /// The notice last streamed to.
    streamed: Id,
    /// What operators may have set off again, and how often.
    again: BTreeMap<DeliveryId, usize>,
    /// What all notices say about doubt.
    in_doubt: InDoubt,
}

impl Outbox {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let provider = Provider::new(Faults::random(&mut rng));
        let in_doubt = if rng.u8(0..4) == 0 { InDoubt::Resend } else { InDoubt::Hold };
        let mut world = World::new(seed, rules::outbox());
        world.steady = Some(Steady { ms: DAY_MS, boot: 1 });
        Self {
            world,
            rng,
            provider,
            answers: Vec::new(),
            claims: BTreeSet::new(),
            accepted: BTreeMap::new(),
            streamed: Id(0),
            again: BTreeMap::new(),
            in_doubt,
        }
    }

    fn history(&mut self) {
        for _ in 0..STEPS {
            self.pass();
            if let Some(command) = self.arrived() {
                self.step(Some(command));
            }
            let command = self.command();
            self.step(command);
            if self.rng.u8(0..8) == 0 {
                self.world.maintain();
            }
            if self.rng.u8(0..40) == 0 {
                self.crash();
            }
        }
        self.come_to_an_end();
        self.check_users();
    }

    fn pass(&mut self) {
        let ms = match self.rng.u8(0..20) {
            0..10 => 0,
            10..15 => self.rng.u64(1..3 * SECOND_MS),
            15..19 => self.rng.u64(1..MINUTE_MS),
            _ => self.rng.u64(1..8 * MINUTE_MS),
        };
        self.passes(ms);
        match self.rng.u16(0..600) {
            0 => self.world.now = self.world.now.plus(self.rng.u64(1..DAY_MS)),
            1 => self.world.now = self.world.now.minus(self.rng.u64(1..DAY_MS)),
            _ => {}
        }
    }

    /// Time that really passes.
    fn passes(&mut self, ms: u64) {
        self.world.now = self.world.now.plus(ms);
        self.world.steady.as_mut().unwrap().ms += ms;
        self.provider.clock_ms += ms;
    }

    /// The process dies, or the machine does; a request on the wire may still be answered, to the
    /// next process.
    fn crash(&mut self) {
        if self.rng.bool() {
            self.answers.clear();
        }
        let prefix = self.rng.usize(0..200);
        self.world.crash(prefix);
        if self.rng.u8(0..4) == 0 {
            // It is off for a while, and its wall clock goes on from where it was.
            self.provider.clock_ms += self.rng.u64(0..10 * MINUTE_MS);
            let boot = self.world.steady.unwrap().boot + 1;
            self.world.steady = Some(Steady { ms: SECOND_MS, boot });
        }
        self.check_accepted();
    }

    /// An answer that has arrived by now.
    fn arrived(&mut self) -> Option<Command> {
        let clock = self.provider.clock_ms;
        let at = self.answers.iter().position(|(at, _)| *at <= clock)?;
        Some(self.answers.swap_remove(at).1)
    }

    fn step(&mut self, command: Option<Command>) {
        let fate = match self.rng.u8(0..60) {
            0 => Fate::Lost,
            1 => Fate::Unheard,
            _ => Fate::Answered,
        };
        if fate != Fate::Lost {
            for id in sent_again(command.as_ref()) {
                *self.again.entry(id).or_default() += 1;
            }
        }
        if let Some(Command::AddRecipients { notice, .. }) = &command {
            self.streamed = *notice;
        }
        let Some(stepped) = self.world.step(command, fate) else {
            self.check_accepted();
            return;
        };
        match stepped.handled {
            Handled::Now(Ok(Reply::Notice { id, created: true, .. })) => {
                self.accepted.insert(id, 0);
            }
            Handled::Now(Ok(Reply::Added { total, .. })) => {
                self.accepted.insert(self.streamed, u64::from(total));
            }
            Handled::Now(_) | Handled::Waits(_) => {}
        }
        for effect in stepped.effects {
            let Effect::Send(job) = effect else { panic!("{effect:?}") };
            self.send(&job);
        }
    }

    fn send(&mut self, job: &SendJob) {
        let new = self.claims.insert((job.delivery, job.fence));
        assert!(new, "{} was given out twice under claim {}", job.delivery, job.fence);
        let (delivery, claim) = (job.delivery, job.fence);
        if self.rng.u8(0..50) == 0 {
            self.answers.push((
                self.provider.clock_ms,
                Command::ReturnSend { delivery, fence: claim, gone: false },
            ));
            return;
        }
        let one = self.provider.send(&mut self.rng, job, self.world.now);
        let late = match self.rng.u8(0..20) {
            0 => self.rng.u64(0..5 * MINUTE_MS),
            1..6 => self.rng.u64(0..10 * SECOND_MS),
            _ => 0,
        };
        let calm = self.provider.faults == Faults::NONE;
        let at = self.provider.clock_ms + if calm { 0 } else { late };
        // An answer may come twice.
        let times = if self.rng.u8(0..30) == 0 { 2 } else { 1 };
        for _ in 0..times {
            let tries = vec![one.clone()];
            self.answers.push((at, Command::SettleSend { delivery, fence: claim, tries }));
        }
    }

    fn command(&mut self) -> Option<Command> {
        let known: Vec<Id> = self.accepted.keys().copied().collect();
        let roll = self.rng.u8(0..100);
        if known.is_empty() || roll < 6 {
            return (known.len() < 6).then(|| self.submission());
        }
        let notice = known[self.rng.usize(0..known.len())];
        let number = self.rng.u32(1..=20);
        let delivery = DeliveryId { notice, number };
        let act = |act| Some(Command::Act { notice, act });
        match roll {
            6..10 => act(Act::Pause),
            10..17 => act(Act::Resume),
            17 => act(Act::Cancel),
            18..20 => act(Act::Send),
            20..23 => act(self.resend()),
            23..35 => Some(self.chunk(notice)),
            35..38 => {
                let all = [Resolution::Accepted, Resolution::Resend, Resolution::Refused];
                let resolution = all[self.rng.usize(0..all.len())];
                Some(Command::Resolve { delivery, resolution })
            }
            38..40 => {
                Some(Command::Redrive(Redrive { notice: Some(notice), ..Redrive::default() }))
            }
            _ => None,
        }
    }

    fn resend(&mut self) -> Act {
        let all = [
            DeliveryState::Refused,
            DeliveryState::Dead,
            DeliveryState::Skipped,
            DeliveryState::InDoubt,
        ];
        let states = all.into_iter().filter(|_| self.rng.bool()).collect();
        let errcode = (self.rng.u8(0..3) == 0).then_some(43004);
        Act::Resend { states, errcode }
    }

    fn people(&mut self) -> Vec<Recipient> {
        let count = self.rng.usize(1..20);
        (0..count)
            .map(|_| {
                let mut one = Recipient {
                    openid: format!("o{}", self.rng.u8(0..40)),
                    ..Recipient::default()
                };
                if self.rng.u8(0..4) == 0 {
                    one.data.insert("thing1".to_owned(), "own".to_owned());
                }
                one
            })
            .collect()
    }

    fn submission(&mut self) -> Command {
        let audience =
            if self.rng.bool() { Audience::Stream } else { Audience::Inline(self.people()) };
        let mut later = |most| (self.rng.u8(0..3) == 0).then(|| self.rng.u64(1..most));
        let send_at = later(10 * MINUTE_MS).map(|ms| self.world.now.plus(ms));
        let expires_at = later(HOUR_MS).map(|ms| send_at.unwrap_or(self.world.now).plus(ms));
        // It never stops here: whatever comes of the first few, the rest has to come to its end.
        let all = Some(100);
        let canary = (self.rng.u8(0..4) == 0).then(|| CanaryRule {
            first: self.rng.u32(1..4),
            refused: all,
            in_doubt: all,
            wait_ms: 2 * MINUTE_MS,
        });
        Command::SubmitNotice(Box::new(NoticeDraft {
            canary,
            tenant: if self.rng.bool() { "a" } else { "b" }.to_owned(),
            template: "strict".to_owned(),
            data: [("thing1".to_owned(), "all".to_owned())].into(),
            audience,
            send_at,
            expires_at,
            in_doubt: self.in_doubt,
            ..NoticeDraft::default()
        }))
    }

    fn chunk(&mut self, notice: Id) -> Command {
        let done = self.rng.u8(0..4) == 0;
        Command::AddRecipients { notice, recipients: self.people(), done }
    }

    /// The faults stop; everything must come to its end by itself, once nothing holds it.
    fn come_to_an_end(&mut self) {
        self.provider.faults = Faults::NONE;
        let all: Vec<Id> = self.accepted.keys().copied().collect();
        for notice in all {
            let done = Command::AddRecipients { notice, recipients: Vec::new(), done: true };
            self.calm_step(Some(done));
            self.calm_step(Some(Command::Act { notice, act: Act::Resume }));
        }
        for turn in 0..TURNS {
            self.calm_step(None);
            if turn % 16 == 0 && self.outstanding() == 0 {
                return;
            }
        }
        panic!("{} deliveries never came to an end", self.outstanding());
    }

    /// A step in which nothing goes wrong, then all answers, then time until the next is due.
    fn calm_step(&mut self, command: Option<Command>) {
        let mut next = command;
        loop {
            let stepped = self.world.step(next, Fate::Answered).unwrap();
            for effect in stepped.effects {
                let Effect::Send(job) = effect else { panic!("{effect:?}") };
                self.send(&job);
            }
            match self.answers.pop() {
                Some((_, command)) => next = Some(command),
                None => {
                    let wake = stepped.wake.unwrap_or(self.world.now.plus(SECOND_MS));
                    let ms = wake.since(self.world.now).min(HOUR_MS);
                    self.passes(ms);
                    return;
                }
            }
        }
    }

    /// Deliveries that the daemon would still work on by itself.
    fn outstanding(&mut self) -> u64 {
        let waiting = |notice: &serde_json::Value| {
            ["pending", "sending"]
                .iter()
                .map(|name| notice["counts"][name].as_u64().unwrap())
                .sum::<u64>()
        };
        self.notices().iter().map(waiting).sum::<u64>()
    }

    fn notices(&mut self) -> Vec<serde_json::Value> {
        let page = Page { limit: 1000, cursor: None };
        let all = self.world.look(Query::Notices {
            tenant: None,
            state: None,
            key: None,
            marks: Vec::new(),
            order: Order::Descending,
            page,
        });
        all["items"].as_array().unwrap().clone()
    }

    /// What was accepted is there.
    fn check_accepted(&mut self) {
        for (id, total) in self.accepted.clone() {
            let notice = self.world.look(Query::Notice(id));
            assert!(notice["total"].as_u64().unwrap() >= total, "{notice}");
        }
    }

    /// Nobody saw a message twice that was not meant to come twice, and the states tell the truth.
    fn check_users(&mut self) {
        let empty = Vec::new();
        for notice in self.notices() {
            let id: Id = notice["id"].as_str().unwrap().parse().unwrap();
            let page = Page { limit: 1000, cursor: None };
            let query = Query::Deliveries { notice: id, state: None, openid: None, page };
            for row in self.world.look(query)["items"].as_array().unwrap() {
                let id: DeliveryId = row["id"].as_str().unwrap().parse().unwrap();
                let shown = self.provider.shown.get(&id).unwrap_or(&empty);
                let again = self.again.get(&id).copied().unwrap_or(0);
                if self.in_doubt == InDoubt::Hold {
                    assert!(shown.len() <= 1 + again, "{row} shown at {shown:?}, again {again}");
                }
                if again > 0 {
                    continue;
                }
                match row["state"].as_str().unwrap() {
                    "accepted" => assert!(!shown.is_empty(), "{row} was never shown"),
                    "in_doubt" => {}
                    _ => assert!(shown.is_empty(), "{row} shown at {shown:?}"),
                }
            }
        }
    }
}

/// Deliveries that an operator's command may send again.
fn sent_again(command: Option<&Command>) -> Vec<DeliveryId> {
    let notice = match command {
        Some(Command::Act { notice, act: Act::Resend { .. } }) => Some(*notice),
        Some(Command::Resolve { delivery, .. }) => return vec![*delivery],
        Some(Command::Redrive(redrive)) => redrive.notice,
        _ => None,
    };
    let Some(notice) = notice else { return Vec::new() };
    (1..=100).map(|number| DeliveryId { notice, number }).collect()
}

#[test]
fn notices_survive_everything() {
    for seed in seeds() {
        Outbox::new(seed).history();
    }
}

#[test]
fn a_seed_is_one_history() {
    for seed in 0..3 {
        let hash = || {
            let mut outbox = Outbox::new(seed);
            outbox.history();
            outbox.world.hash()
        };
        assert_eq!(hash(), hash(), "seed {seed}");
    }
}
