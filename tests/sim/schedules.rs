//! Random histories of a schedule: no tick is lost, and no two runs are under way at once.

use std::collections::{BTreeMap, BTreeSet};

use duebox::engine::command::{Command, Effect, RunNow};
use duebox::engine::query::{Page, Query};
use duebox::id::Id;
use duebox::model::rules::Action;
use duebox::time::{HOUR_MS, MINUTE_MS, Timestamp};
use fastrand::Rng;

use super::world::{BEGIN, Fate, World};
use super::{rules, seeds};

/// Steps of one history.
const STEPS: usize = 60;

struct Schedules {
    rng: Rng,
    world: World,
    /// The run that a worker does, and when it is done.
    running: Option<(Id, Timestamp)>,
    pulls: bool,
}

impl Schedules {
    fn new(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let pulls = rng.bool();
        let action = if pulls {
            Action::Pull { tenants: vec!["a".to_owned()], overlap_ms: 0, since: None }
        } else {
            Action::Task { kind: "q".to_owned(), priority: 0, payload: "null".to_owned() }
        };
        Self { world: World::new(seed, rules::schedule(action)), rng, running: None, pulls }
    }

    fn history(&mut self) {
        for _ in 0..STEPS {
            let ms = match self.rng.u8(0..40) {
                0..20 => self.rng.u64(0..MINUTE_MS / 2),
                20..38 => self.rng.u64(0..3 * MINUTE_MS),
                38 => self.rng.u64(0..2 * HOUR_MS),
                _ => 0,
            };
            self.world.now = self.world.now.plus(ms);
            if self.rng.u8(0..60) == 0 {
                self.world.now = self.world.now.minus(self.rng.u64(0..HOUR_MS)).max(BEGIN);
            }
            self.turn();
            if self.rng.u8(0..8) == 0 {
                self.world.maintain();
            }
            if self.rng.u8(0..15) == 0 {
                self.running = None;
                // Sometimes it is down for long.
                let down = if self.rng.bool() { 0 } else { self.rng.u64(0..HOUR_MS) };
                self.world.now = self.world.now.plus(down);
                self.world.crash(self.rng.usize(0..50));
            }
        }
        self.running = None;
        self.world.crash(0);
        for _ in 0..5 {
            self.world.now = self.world.now.plus(MINUTE_MS);
            self.finish(Timestamp(u64::MAX));
            self.step(None, Fate::Answered);
        }
        self.finish(Timestamp(u64::MAX));
        self.check();
    }

    fn turn(&mut self) {
        let now = self.world.now;
        if !self.finish(now) {
            let manual = self.rng.u8(0..12) == 0;
            let command = manual.then(|| {
                let schedule = "job".to_owned();
                Command::RunSchedule(RunNow { schedule, ..RunNow::default() })
            });
            let fate = match self.rng.u8(0..30) {
                0 => Fate::Lost,
                1 => Fate::Unheard,
                _ => Fate::Answered,
            };
            self.step(command, fate);
        }
    }

    /// Ends the run under way if it is done by `now`.
    fn finish(&mut self, now: Timestamp) -> bool {
        let Some((run, _)) = self.running.take_if(|(_, done)| *done <= now) else { return false };
        let error = (self.rng.u8(0..4) == 0).then(|| "unreachable".to_owned());
        self.step(
            Some(Command::RunDone { run, counts: BTreeMap::new(), error, whole: true }),
            Fate::Answered,
        );
        true
    }

    fn step(&mut self, command: Option<Command>, fate: Fate) {
        let Some(stepped) = self.world.step(command, fate) else {
            self.running = None;
            return;
        };
        for effect in stepped.effects {
            let Effect::Pull(job) = effect else { panic!("{effect:?}") };
            assert!(self.pulls);
            let before = self.running;
            assert!(before.is_none(), "{} began during {before:?}", job.run);
            let done = self.world.now.plus(self.rng.u64(0..4 * MINUTE_MS));
            self.running = Some((job.run, done));
        }
    }

    /// Each minute was run, or some run or note stands for it.
    fn check(&mut self) {
        // By planned minute: whether it ended, and how many later ticks it stands for. A run that was
        // cut off and the one that takes it up have the same.
        let mut planned: BTreeMap<u64, (bool, u64)> = BTreeMap::new();
        let mut under_way = 0;
        for run in self.runs() {
            if run["trigger"] == "manual" {
                continue;
            }
            let outcome = run["outcome"].as_str().unwrap();
            under_way += u32::from(outcome == "running");
            let note = run["note"].as_str().unwrap_or("");
            let more = note.split_once("stands for ").and_then(|(_, rest)| rest.split(' ').next());
            let more: u64 = more.map_or(0, |count| count.parse().unwrap());
            let at = Timestamp::parse(run["planned"].as_str().unwrap()).unwrap();
            let entry = planned.entry(at.0 / MINUTE_MS).or_default();
            entry.0 |= outcome != "interrupted";
            entry.1 = entry.1.max(more);
        }
        let ended = planned.iter().filter(|(_, (ended, _))| *ended);
        let stood_for: BTreeSet<u64> =
            ended.flat_map(|(minute, (_, more))| *minute..=minute + more).collect();
        assert!(under_way <= 1);
        let (first, last) = (BEGIN.0 / MINUTE_MS + 1, self.world.now.0 / MINUTE_MS);
        for minute in first..=last {
            assert!(
                stood_for.contains(&minute),
                "nothing stands for the tick at {}",
                Timestamp(minute * MINUTE_MS)
            );
        }
    }

    fn runs(&mut self) -> Vec<serde_json::Value> {
        let (mut all, mut cursor) = (Vec::new(), None);
        loop {
            let page = Page { limit: 1000, cursor };
            let found = self.world.look(Query::Runs { schedule: None, page });
            all.extend(found["items"].as_array().unwrap().iter().cloned());
            match found["cursor"].as_str() {
                Some(next) => cursor = Some(next.to_owned()),
                None => return all,
            }
        }
    }
}

#[test]
fn no_tick_is_lost() {
    for seed in seeds() {
        Schedules::new(seed).history();
    }
}
