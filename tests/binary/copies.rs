//! Copies of the data directory as backups: by `cp -a`, running or stopped, and by `backup`.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::binary::support::audit::{count, done, each_once, look, notice, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::load::{Known, Load, Now};
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, rounds, until};

const RECIPIENTS: u32 = 1_000;
/// How long a held daemon is watched: longer than the pause before a repetition.
const QUIET: Duration = Duration::from_secs(3);

/// Starts a daemon on a copy without adopting it; gives its readiness document.
fn start_held(home: &Home, http: &Http) -> (Daemon, Json) {
    let daemon = Daemon::start_as(home, http, &[], "held");
    let document = daemon.wait_for_role(http, "held", PATIENCE);
    (daemon, document)
}

/// Holds that a held daemon shows everything and hands out nothing until it is released.
fn held_until_released(http: &Http, (daemon, document): &(Daemon, Json), known: &Known, now: Now) {
    assert!(document["reasons"].to_string().contains("release"), "{document}");
    known.check(http, daemon, now);
    let add = json!({ "type": "k0", "payload": null, "key": "on the copy" });
    let added = http.post(&daemon.at("/v1/tasks"), &add);
    assert!([200, 503].contains(&added.status), "{}", added.text);
    let claim = json!({ "type": "k0" });
    let refused = http.post(&daemon.at("/v1/tasks/claim"), &claim);
    assert_eq!((refused.status, refused.code().as_str()), (503, "held"));
    assert_eq!(http.post(&daemon.at("/v1/release"), &json!({})).status, 200);
    assert_eq!(http.get(&daemon.at("/readyz")).status, 200);
    let added = http.post(&daemon.at("/v1/tasks"), &add);
    assert_eq!(added.status, 200, "{}", added.text);
    let claimed = http.post(&daemon.at("/v1/tasks/claim"), &claim).good();
    assert_eq!(claimed["tasks"].as_array().unwrap().len(), 1);
}

#[test]
fn copies_of_a_running_directory_hold_everything_acknowledged_before() {
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, 9);
    sandbox.faults(&http, &json!({ "latency_ms": 400 }));
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &notice(0, 0, RECIPIENTS, "copied"));
    let mut load = Load::default();
    load.start(&daemon);
    let mut copies = Vec::new();
    for round in 0..rounds("DUEBOX_COPY_ROUNDS", 3) {
        let more = load.known().acked() + 30;
        until("the clients work", PATIENCE, || (load.known().acked() > more).then_some(()));
        // An image in the middle of a copy removes nothing that the copy needs.
        let url = daemon.at("/v1/backup");
        let image = std::thread::spawn(move || {
            if round % 2 == 1 {
                Http::new().post(&url, &json!({})).good();
            }
        });
        let known = load.known();
        copies.push((home.copied(), known));
        image.join().unwrap();
    }
    load.stop();
    for (number, (copy, known)) in copies.iter().enumerate() {
        if number % 2 == 0 {
            let adopted = Daemon::start_as(copy, &http, &["--adopt"], "leader");
            known.check(&http, &adopted, Now::Later);
            assert_eq!(look(&http, &adopted, &id)["total"], RECIPIENTS);
            adopted.kill();
            // Adopted once is adopted for good.
            Daemon::start(copy, &http).stop(PATIENCE);
        } else {
            let shown = start_held(copy, &http);
            let before = look(&http, &shown.0, &id);
            assert_eq!((&before["total"], count(&before, "sending")), (&json!(RECIPIENTS), 0));
            held_until_released(&http, &shown, known, Now::Later);
        }
    }
    load.known().check(&http, &daemon, Now::Still);
    sandbox.no_faults(&http);
    done(&http, &daemon, &id, PATIENCE);
    // The copies sent, too, and the provider recognised every message.
    each_once(&http, &sandbox, &daemon, 0, &[(&id, 0..RECIPIENTS)]);
}

#[test]
fn held_copy_sends_nothing() {
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, 10);
    sandbox.faults(&http, &json!({ "latency_ms": 500 }));
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &notice(0, 0, RECIPIENTS, "held"));
    until("messages go out", PATIENCE, || (sandbox.shown(&http, 0) > 100).then_some(()));
    let copy = home.copied();
    daemon.kill();
    let (held, document) = start_held(&copy, &http);
    assert!(document["reasons"].to_string().contains("held"), "{document}");
    let before = sandbox.ledger(&http, 0)["calls"].clone();
    // What was in doubt when the copy was made would be due after two seconds.
    let began = Instant::now();
    until("doubt would be due", PATIENCE, || (QUIET < began.elapsed()).then_some(()));
    assert_eq!(sandbox.ledger(&http, 0)["calls"], before);
    http.post(&held.at("/v1/release"), &json!({})).good();
    sandbox.no_faults(&http);
    done(&http, &held, &id, PATIENCE);
    each_once(&http, &sandbox, &held, 0, &[(&id, 0..RECIPIENTS)]);
}

#[test]
fn copy_of_a_stopped_directory_is_exact_and_held_and_the_original_is_neither() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let known = some_work(&daemon);
    daemon.stop(PATIENCE);
    let copy = home.copied();
    held_until_released(&http, &start_held(&copy, &http), &known, Now::Still);
    let daemon = Daemon::start(&home, &http);
    known.check(&http, &daemon, Now::Still);
}

#[test]
fn backup_of_a_running_daemon_is_restored_with_everything() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let mut load = Load::default();
    load.start(&daemon);
    until("the clients work", PATIENCE, || (load.known().acked() > 50).then_some(()));
    let known = load.known();
    let (code, told) = home.run(&["backup", "data", "backup"]);
    load.stop();
    assert_eq!(code, 0, "{told}");
    daemon.stop(PATIENCE);
    let backup = home.path("backup");
    let backup = backup.to_str().unwrap();

    let adopted = Home::new("", "");
    let (code, told) = adopted.run(&["restore", backup, "data", "--adopt"]);
    assert_eq!(code, 0, "{told}");
    let daemon = Daemon::start(&adopted, &http);
    known.check(&http, &daemon, Now::Later);

    let held = Home::new("", "");
    let (code, told) = held.run(&["restore", backup, "data"]);
    assert_eq!(code, 0, "{told}");
    held_until_released(&http, &start_held(&held, &http), &known, Now::Later);

    let (code, told) = held.run(&["restore", backup, "data"]);
    assert_eq!(code, 1, "a directory with data is not overwritten: {told}");
}

/// Lets clients work for a moment.
fn some_work(daemon: &Daemon) -> Known {
    let mut load = Load::default();
    load.start(daemon);
    until("the clients work", PATIENCE, || (load.known().acked() > 50).then_some(()));
    load.stop();
    load.known()
}
