//! kill -9 in a loop, at any moment, also while starting: what was acknowledged is there.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::support::audit::{id_of, rows};
use crate::support::daemon::Daemon;
use crate::support::home::Home;
use crate::support::http::Http;
use crate::support::rounds;

const SEED: u64 = 4_711;
/// Concurrent clients.
const CLIENTS: u32 = 3;

/// What a task must be, given the answers so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Added,
    /// An ack was sent; without an answer it may have been done or not.
    AckSent,
    Acked,
}

type Book = Arc<Mutex<BTreeMap<String, Known>>>;

/// Adds and acks until told to stop or the daemon is gone.
fn client(number: u32, round: u32, url: String, book: Book, stop: Arc<AtomicBool>) {
    let http = Http::new();
    let kind = format!("k{number}");
    for turn in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let batch: Vec<Json> = (0..5)
            .map(|at| json!({ "type": kind, "payload": at, "key": format!("{round}-{turn}-{at}") }))
            .collect();
        let Some(added) = http.try_post(&format!("{url}/v1/tasks"), &json!(batch)) else { return };
        if added.status == 200 {
            let mut book = book.lock().unwrap();
            for task in added.json()["tasks"].as_array().unwrap() {
                book.insert(id_of(task), Known::Added);
            }
        }
        let body = json!({ "type": kind, "max": 3, "ttl_ms": 600_000 });
        let Some(claimed) = http.try_post(&format!("{url}/v1/tasks/claim"), &body) else { return };
        if claimed.status != 200 {
            continue;
        }
        let claimed = claimed.json();
        let claimed = claimed["tasks"].as_array().unwrap();
        let mark = |known: Known| {
            let mut book = book.lock().unwrap();
            claimed.iter().for_each(|task| {
                book.insert(id_of(task), known);
            });
        };
        let items: Vec<Json> = claimed
            .iter()
            .map(|task| json!({ "id": task["id"], "claim": task["claim"], "ack": true }))
            .collect();
        mark(Known::AckSent);
        let body = json!({ "items": items });
        let Some(done) = http.try_post(&format!("{url}/v1/tasks/settle"), &body) else { return };
        if done.status == 200 {
            assert!(!done.text.contains("error"), "{}", done.text);
            mark(Known::Acked);
        }
    }
}

#[test]
fn everything_acknowledged_survives_a_loop_of_kills() {
    let http = Http::new();
    let home = Home::new("", "");
    let mut random = fastrand::Rng::with_seed(SEED);
    let book: Book = Arc::default();
    for round in 0..rounds("DUEBOX_KILL_ROUNDS", 12) {
        if round % 3 == 2 {
            kill_while_starting(&home, random.u64(0..60));
        }
        let daemon = Daemon::start(&home, &http);
        let stop = Arc::new(AtomicBool::new(false));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let (url, book, stop) = (daemon.url.clone(), book.clone(), stop.clone());
                std::thread::spawn(move || client(number, round, url, book, stop))
            })
            .collect();
        // The random moment is the test.
        std::thread::sleep(Duration::from_millis(random.u64(20..400)));
        daemon.kill();
        stop.store(true, Ordering::Relaxed);
        clients.into_iter().for_each(|client| client.join().unwrap());
        if round % 4 == 3 {
            check(&home, &http, &book);
        }
    }
    check(&home, &http, &book);
    let (code, told) = home.run(&["inspect", "data"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("usable"), "{told}");
    assert!(!home.log().contains("quarantin"), "{}", home.log());
}

fn kill_while_starting(home: &Home, after_ms: u64) {
    let began = Instant::now();
    let daemon = Daemon::spawn(home, &[]);
    let after = Duration::from_millis(after_ms);
    // The random moment is the test.
    std::thread::sleep(after.saturating_sub(began.elapsed()));
    daemon.kill();
}

fn check(home: &Home, http: &Http, book: &Book) {
    let daemon = Daemon::start(home, http);
    let mut states = BTreeMap::new();
    for number in 0..CLIENTS {
        for task in rows(http, &daemon, &format!("/v1/tasks?type=k{number}")) {
            let state = task["state"].as_str().unwrap().to_owned();
            assert!(states.insert(id_of(&task), state).is_none(), "listed twice: {task}");
        }
    }
    let book = book.lock().unwrap();
    assert!(book.values().any(|known| *known == Known::Acked), "the clients did something");
    for (id, known) in book.iter() {
        let state = match states.get(id) {
            Some(state) => state.clone(),
            // A list may leave out what has ended; one by one they are all there.
            None => {
                let task = http.get(&daemon.at(&format!("/v1/tasks/{id}"))).good();
                task["state"].as_str().unwrap().to_owned()
            }
        };
        let fits = match known {
            Known::Added => state == "pending" || state == "claimed",
            Known::AckSent => state == "claimed" || state == "acked",
            Known::Acked => state == "acked",
        };
        assert!(fits, "task {id} is {known:?} to its client and {state} to the daemon");
    }
    daemon.stop(Duration::from_secs(20));
}
