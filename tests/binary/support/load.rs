//! Clients that add and ack tasks and remember what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde_json::{Value as Json, json};

use super::audit::{id_of, rows};
use super::daemon::Daemon;
use super::http::Http;

/// Concurrent clients.
const CLIENTS: u32 = 3;

/// What a task must be, given the answers so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Added,
    /// An ack was sent; without an answer it may have been done or not.
    AckSent,
    Acked,
}

/// Everything that clients were told, or a part of it.
#[derive(Clone, Default)]
pub(crate) struct Known {
    fates: BTreeMap<String, Fate>,
    /// The ids in the order of their first answer.
    order: Vec<String>,
    /// What was noted since [`Load::lately`] was last asked.
    fresh: BTreeSet<String>,
}

/// Whether the clients went on between what is known and what is looked at.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Now {
    /// They did not.
    Still,
    /// They did: what was added may have been acked.
    Later,
}

/// Clients at work, or not.
#[derive(Default)]
pub(crate) struct Load {
    known: Arc<Mutex<Known>>,
    stop: Arc<AtomicBool>,
    clients: Vec<JoinHandle<()>>,
    starts: u32,
}

impl Load {
    /// Clients begin to call; they end when they get no answer any more.
    pub(crate) fn start(&mut self, daemon: &Daemon) {
        self.stop = Arc::default();
        self.starts += 1;
        for number in 0..CLIENTS {
            let (known, stop) = (self.known.clone(), self.stop.clone());
            let (url, start) = (daemon.url.clone(), self.starts);
            let client = move || client(number, start, &url, &known, &stop);
            self.clients.push(std::thread::spawn(client));
        }
    }

    /// Waits for the clients' end.
    pub(crate) fn stop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        self.clients.drain(..).for_each(|client| client.join().unwrap());
    }

    /// What they know so far.
    pub(crate) fn known(&self) -> Known {
        self.known.lock().unwrap().clone()
    }

    /// What they learned since the last call, and `sample` tasks of any age: little, however long
    /// they have been at work.
    pub(crate) fn lately(&self, random: &mut fastrand::Rng, sample: usize) -> Known {
        let mut known = self.known.lock().unwrap();
        let mut wanted = std::mem::take(&mut known.fresh);
        if !known.order.is_empty() {
            let any = |_| known.order[random.usize(..known.order.len())].clone();
            wanted.extend((0..sample).map(any));
        }
        let fates = wanted.into_iter().map(|id| (id.clone(), known.fates[&id]));
        Known { fates: fates.collect(), ..Known::default() }
    }
}

/// Adds, claims and acks until told to stop or the daemon is gone.
fn client(number: u32, start: u32, url: &str, known: &Mutex<Known>, stop: &AtomicBool) {
    let http = Http::new();
    let kind = format!("k{number}");
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let task =
            |at| json!({ "type": kind, "payload": at, "key": format!("{start}-{turn}-{at}") });
        let batch: Vec<Json> = (0..5).map(task).collect();
        let Some(added) = http.try_post(&format!("{url}/v1/tasks"), &json!(batch)) else { return };
        if added.status == 200 {
            note(known, added.json()["tasks"].as_array().unwrap(), Fate::Added);
        }
        let body = json!({ "type": kind, "max": 3, "ttl_ms": 86_400_000 });
        let Some(claimed) = http.try_post(&format!("{url}/v1/tasks/claim"), &body) else { return };
        if claimed.status != 200 {
            continue;
        }
        let claimed = claimed.json();
        let claimed = claimed["tasks"].as_array().unwrap();
        known.lock().unwrap().accept_claims(claimed);
        let ack = |task: &Json| json!({ "id": task["id"], "claim": task["claim"], "ack": true });
        let body = json!({ "items": claimed.iter().map(ack).collect::<Vec<_>>() });
        note(known, claimed, Fate::AckSent);
        let Some(done) = http.try_post(&format!("{url}/v1/tasks/settle"), &body) else { return };
        if done.status == 200 {
            assert!(!done.text.contains("error"), "{}", done.text);
            note(known, claimed, Fate::Acked);
        }
    }
}

fn note(known: &Mutex<Known>, tasks: &[Json], fate: Fate) {
    let mut known = known.lock().unwrap();
    for task in tasks {
        let id = id_of(task);
        if known.fates.insert(id.clone(), fate).is_none() {
            known.order.push(id.clone());
        }
        known.fresh.insert(id);
    }
}

impl Known {
    /// How many tasks were acked for certain.
    pub(crate) fn acked(&self) -> usize {
        self.fates.values().filter(|fate| **fate == Fate::Acked).count()
    }

    /// How many tasks were answered for.
    pub(crate) fn len(&self) -> usize {
        self.fates.len()
    }

    /// Holds that nothing is handed out again: claims last longer than any test.
    fn accept_claims(&self, claimed: &[Json]) {
        for task in claimed {
            let before = self.fates.get(&id_of(task));
            assert!(matches!(before, None | Some(Fate::Added)), "{before:?} came back: {task}");
        }
    }

    /// Holds that a daemon knows all that the clients know: two lists, of what lives and of what
    /// was acked.
    pub(crate) fn check(&self, http: &Http, daemon: &Daemon, now: Now) {
        assert!(self.acked() > 0, "the clients did something");
        let mut states = BTreeMap::new();
        for list in ["/v1/tasks", "/v1/tasks?state=acked"] {
            for task in rows(http, daemon, list) {
                let state = task["state"].as_str().unwrap().to_owned();
                assert!(states.insert(id_of(&task), state).is_none(), "listed twice: {task}");
            }
        }
        for (id, fate) in &self.fates {
            let state = states.get(id).unwrap_or_else(|| panic!("{fate:?}, now missing: {id}"));
            fate.accept(id, state, now);
        }
    }

    /// The same for a part of it, task by task.
    pub(crate) fn check_each(&self, http: &Http, daemon: &Daemon, now: Now) {
        let urls: Vec<String> =
            self.fates.keys().map(|id| daemon.at(&format!("/v1/tasks/{id}"))).collect();
        for ((id, fate), answer) in self.fates.iter().zip(http.get_at_once(&urls)) {
            assert_eq!(answer.status, 200, "{fate:?}, now {}: {id}", answer.text);
            fate.accept(id, answer.json()["state"].as_str().unwrap(), now);
        }
    }
}

impl Fate {
    /// Holds that a task of this fate may be in this state.
    fn accept(self, id: &str, state: &str, now: Now) {
        let fits = match (self, now) {
            (Self::Added, Now::Still) => state == "pending" || state == "claimed",
            (Self::Added, Now::Later) => ["pending", "claimed", "acked"].contains(&state),
            (Self::AckSent, _) => state == "claimed" || state == "acked",
            (Self::Acked, _) => state == "acked",
        };
        assert!(fits, "task {id} is {self:?} to its client and {state} to the daemon");
    }
}
