//! Copies of the data directory as backups: by `cp -a`, running or stopped, and by `backup`.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::binary::support::audit::{count, done, each_once, look, notice, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, files, tenant};
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
    // Whoever knows that the original is gone and sent nothing since may say so.
    let released = http.post(&held.at("/v1/release"), &json!({ "pending": "send" })).good();
    assert_eq!((&released["was_held"], &released["pending"]), (&json!(true), &json!("send")));
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

#[test]
fn a_released_copy_sends_nothing_that_the_original_may_have_sent_until_somebody_says_so() {
    let http = Http::new();
    let sandbox = Sandbox::start(60, 12);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let mut later = notice(0, 0, 60, "later");
    later["send_at"] = json!("2036-01-01T00:00:00Z");
    let id = submit(&http, &daemon, &later);
    let copy = home.copied();
    // The original goes on and finishes.
    http.post(&daemon.at(&format!("/v1/notices/{id}/send")), &json!({})).good();
    done(&http, &daemon, &id, PATIENCE);
    each_once(&http, &sandbox, &daemon, 0, &[(&id, 0..60)]);
    daemon.stop(PATIENCE);

    let (held, document) = start_held(&copy, &http);
    let told = document["reasons"].to_string();
    assert!(told.contains("60 deliveries of 1 notices"), "{told}");
    let wrong = http.post(&held.at("/v1/release"), &json!({ "pending": "keep" }));
    assert_eq!((wrong.status, wrong.code().as_str()), (422, "invalid"));
    let released = http.post(&held.at("/v1/release"), &json!({})).good();
    assert_eq!(released["pending"], "hold", "{released}");
    assert_eq!(released["waiting"]["deliveries"], 60, "{released}");
    assert!(released["waiting"]["last_commit_at"].is_string(), "{released}");
    let waits = look(&http, &held, &id);
    assert_eq!(waits["state"], "paused", "{waits}");
    assert!(waits["reason"].as_str().unwrap().contains("may have been sent since"), "{waits}");
    // A second release is none, and pauses nothing.
    let second = submit(&http, &held, &later_with_key(&later, "other"));
    let again = http.post(&held.at("/v1/release"), &json!({})).good();
    assert_eq!(again["was_held"], false, "{again}");
    assert_ne!(look(&http, &held, &second)["state"], "paused");
    copy.logged("daemon.released");
    assert_eq!(copy.log().matches("daemon.released").count(), 1);
    // It stays so over a crash; nothing was sent by the copy.
    held.kill();
    let daemon = Daemon::start(&copy, &http);
    assert_eq!(look(&http, &daemon, &id)["state"], "paused");
    assert_eq!(sandbox.shown(&http, 0), 60);
    http.post(&daemon.at(&format!("/v1/notices/{id}/cancel")), &json!({})).good();
}

fn later_with_key(notice: &Json, key: &str) -> Json {
    let mut other = notice.clone();
    other["key"] = json!(key);
    other
}

#[test]
fn a_copy_that_is_not_whole_is_refused() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    some_work(&daemon);
    let copy = home.copied();
    daemon.stop(PATIENCE);
    std::fs::remove_file(copy.data().join("mark")).unwrap();
    let Err(refused) = Daemon::start_or_refusal(&copy, &http, &[]) else { panic!("it started") };
    assert!(refused.contains("not complete"), "{refused}");
    let (code, told) = copy.run(&["inspect", "data"]);
    assert!(told.contains("not complete"), "{code} {told}");
    let (code, told) = copy.run(&["restore", "data", "restored"]);
    assert_eq!(code, 1, "{told}");
    let (code, told) = copy.run(&["restore", "--lossy", "data", "restored"]);
    assert_eq!(code, 0, "{told}");

    // A backup says that it is whole; without its identity nobody knows what must be in it.
    let (code, told) = home.run(&["backup", "data", "bk"]);
    assert_eq!(code, 0, "{told}");
    let (code, told) = home.run(&["restore", "bk", "again"]);
    assert_eq!(code, 0, "{told}");
    std::fs::remove_file(home.path("bk/identity")).unwrap();
    let (code, told) = home.run(&["restore", "bk", "third"]);
    assert_eq!(code, 1, "{told}");
}

#[test]
fn a_copy_by_hard_links_is_held_and_the_original_is_not() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    some_work(&daemon);
    daemon.stop(PATIENCE);
    let copy = Home::with(&std::fs::read_to_string(home.config()).unwrap());
    let mut link = std::process::Command::new("cp");
    if !link.arg("-al").arg(home.data()).arg(copy.data()).status().unwrap().success() {
        eprintln!("copies: skipped, no hard links between these directories");
        return;
    }
    start_held(&copy, &http).0.stop(PATIENCE);
    Daemon::start(&home, &http).stop(PATIENCE);
}

#[test]
fn copies_are_for_this_user_only_whatever_the_umask() {
    use std::os::unix::fs::PermissionsExt as _;
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    some_work(&daemon);
    daemon.stop(PATIENCE);
    let program = crate::binary::support::daemon::PROGRAM;
    for (verb, from, to) in [("backup", "data", "bk"), ("restore", "bk", "restored")] {
        let mut command = std::process::Command::new("sh");
        let line = format!("umask 022; exec {program} {verb} {from} {to}");
        let done = command.args(["-c", &line]).current_dir(home.path(".")).output().unwrap();
        assert!(done.status.success(), "{done:?}");
        let mut dirs = vec![home.path(to)];
        while let Some(dir) = dirs.pop() {
            for entry in std::fs::read_dir(&dir).unwrap() {
                let entry = entry.unwrap();
                let mode = entry.metadata().unwrap().permissions().mode();
                assert_eq!(mode & 0o077, 0, "{} is {mode:o}", entry.path().display());
                if entry.path().is_dir() {
                    dirs.push(entry.path());
                }
            }
        }
    }
}

#[test]
fn a_stray_journal_file_is_set_aside_and_breaks_no_copy() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let known = some_work(&daemon);
    daemon.stop(PATIENCE);
    let journal = home.data().join("journal");
    let first = files(&journal, "jnl").remove(0);
    std::fs::copy(first, journal.join(format!("{:020}.jnl", 999_999))).unwrap();
    let daemon = Daemon::start(&home, &http);
    home.logged("archive.stray_journal");
    http.post(&daemon.at("/v1/backup"), &json!({})).good();
    known.check(&http, &daemon, Now::Still);
    daemon.kill();
    let (code, told) = home.run(&["backup", "data", "bk"]);
    assert_eq!(code, 0, "{told}");
    let daemon = Daemon::start(&home, &http);
    known.check(&http, &daemon, Now::Still);
}

#[test]
fn images_in_a_loop_do_not_fill_the_disk() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    for round in 0..12 {
        let task = json!({ "type": "k", "payload": round });
        http.post(&daemon.at("/v1/tasks"), &task).good();
        let made = http.post(&daemon.at("/v1/backup"), &json!({})).good();
        assert!(made["image"].is_string(), "{made}");
    }
    assert!(files(&home.data().join("images"), "img").len() <= 4);
}
