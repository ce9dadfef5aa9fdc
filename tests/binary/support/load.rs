//! Clients that add and ack tasks and remember what they were told.

use std::collections::BTreeMap;
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

/// Everything that clients were told.
#[derive(Clone, Default)]
pub(crate) struct Known(BTreeMap<String, Fate>);

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
        known.0.insert(id_of(task), fate);
    }
}

impl Known {
    /// How many tasks were acked for certain.
    pub(crate) fn acked(&self) -> usize {
        self.0.values().filter(|fate| **fate == Fate::Acked).count()
    }

    /// Holds that a daemon knows all that the clients know.
    pub(crate) fn check(&self, http: &Http, daemon: &Daemon, now: Now) {
        let mut states = BTreeMap::new();
        for number in 0..CLIENTS {
            for task in rows(http, daemon, &format!("/v1/tasks?type=k{number}")) {
                let state = task["state"].as_str().unwrap().to_owned();
                assert!(states.insert(id_of(&task), state).is_none(), "listed twice: {task}");
            }
        }
        assert!(self.acked() > 0, "the clients did something");
        for (id, fate) in &self.0 {
            // A list may leave out what has ended; one by one all are there.
            let state = states.remove(id).unwrap_or_else(|| {
                let task = http.get(&daemon.at(&format!("/v1/tasks/{id}"))).good();
                task["state"].as_str().unwrap().to_owned()
            });
            let fits = match (fate, now) {
                (Fate::Added, Now::Still) => state == "pending" || state == "claimed",
                (Fate::Added, Now::Later) => ["pending", "claimed", "acked"].contains(&&*state),
                (Fate::AckSent, _) => state == "claimed" || state == "acked",
                (Fate::Acked, _) => state == "acked",
            };
            assert!(fits, "task {id} is {fate:?} to its client and {state} to the daemon");
        }
    }
}
