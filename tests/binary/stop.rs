//! Clean stops, while much is under way and while the provider hangs.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::json;

use crate::binary::support::audit::{done, each_once, notice, rows, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, files, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

const RECIPIENTS: u32 = 600;

/// Exit code of a process that was told to stop twice.
const TOLD_TWICE: i32 = 130;

#[test]
fn stop_under_load_waits_for_answers_and_leaves_nothing_in_doubt() {
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, 3);
    sandbox.faults(&http, &json!({ "latency_ms": 300 }));
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &notice(0, 0, RECIPIENTS, "stopped"));
    until("messages go out", PATIENCE, || (sandbox.shown(&http, 0) >= 60).then_some(()));
    let began = Instant::now();
    daemon.stop(Duration::from_secs(10));
    let took = began.elapsed();
    let shown = sandbox.shown(&http, 0);
    assert!(shown < u64::from(RECIPIENTS), "the stop came in the middle");
    assert!(took < Duration::from_secs(5), "{took:?}");

    sandbox.no_faults(&http);
    let daemon = Daemon::start(&home, &http);
    assert!(!home.log().contains("recover.in_doubt"));
    done(&http, &daemon, &id, PATIENCE);
    each_once(&http, &sandbox, &daemon, 0, &[(&id, 0..RECIPIENTS)]);
    let ledger = sandbox.ledger(&http, 0);
    assert_eq!((&ledger["repeats"], &ledger["calls"]), (&json!(0), &json!(RECIPIENTS)));
    assert_eq!(sandbox.token_fetches(&http, 0), 1, "the token outlived the stop");
}

#[test]
fn stop_with_a_hanging_provider_records_doubt_and_repeats_harmlessly() {
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, 4);
    sandbox.faults(&http, &json!({ "slow_permille": 1000, "slow_ms": 60_000 }));
    let home = Home::new("drain = \"1s\"", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &notice(0, 0, RECIPIENTS, "hanging"));
    until("messages hang", PATIENCE, || (sandbox.shown(&http, 0) >= 50).then_some(()));
    let began = Instant::now();
    daemon.stop(Duration::from_secs(10));
    assert!(began.elapsed() < Duration::from_secs(6), "{:?}", began.elapsed());

    sandbox.no_faults(&http);
    let daemon = Daemon::start(&home, &http);
    assert!(!home.log().contains("recover.in_doubt"), "the stop itself recorded the doubt");
    let log = rows(&http, &daemon, &format!("/v1/log?notice={id}"));
    let doubtful = log.iter().filter(|entry| entry["class"] == "in_doubt").count();
    assert!(doubtful >= 50, "{doubtful} in the log");
    done(&http, &daemon, &id, PATIENCE);
    each_once(&http, &sandbox, &daemon, 0, &[(&id, 0..RECIPIENTS)]);
    assert!(sandbox.ledger(&http, 0)["repeats"].as_u64().unwrap() >= 50);
}

#[test]
fn stop_while_no_token_comes_leaves_nothing_in_doubt() {
    let http = Http::new();
    // Connections stand in its backlog; nobody ever answers.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let sandbox = Sandbox::start(RECIPIENTS, 9);
    let right = tenant(&sandbox, 0);
    let hangs = format!("http://{}", silent.local_addr().unwrap());
    let wrong =
        right.replace(&sandbox.url, &hangs).replace("rate = 0", "rate = 0\ntimeout = \"60s\"");
    let home = Home::new("drain = \"1s\"", &wrong);
    let daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &notice(0, 0, 40, "no token"));
    until("the token is asked for", PATIENCE, || {
        (daemon.metric(&http, "duebox_sends_in_flight{tenant=\"t0\"}") == Some(40.0)).then_some(())
    });
    daemon.stop(Duration::from_secs(10));
    let config = std::fs::read_to_string(home.config()).unwrap();
    home.write("duebox.toml", &config.replace(&hangs, &sandbox.url));
    let daemon = Daemon::start(&home, &http);
    done(&http, &daemon, &id, PATIENCE);
    let log = rows(&http, &daemon, &format!("/v1/log?notice={id}"));
    let classes: Vec<_> = log.iter().map(|entry| &entry["class"]).collect();
    assert_eq!(classes, vec![&json!("ok"); 40]);
}

#[test]
fn second_signal_ends_at_once_and_loses_nothing() {
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, 5);
    sandbox.faults(&http, &json!({ "slow_permille": 1000, "slow_ms": 60_000 }));
    let home = Home::new("", &tenant(&sandbox, 0));
    let mut daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &notice(0, 0, RECIPIENTS, "told twice"));
    until("messages hang", PATIENCE, || (sandbox.shown(&http, 0) >= 50).then_some(()));
    daemon.signal(Signal::TERM);
    daemon.wait_for_role(&http, "draining", PATIENCE);
    assert!(!daemon.has_ended());
    let refused = http.post(&daemon.at("/v1/notices"), &notice(0, 0, 1, "too late"));
    let began = Instant::now();
    daemon.signal(Signal::INT);
    assert_eq!(daemon.wait(PATIENCE).code(), Some(TOLD_TWICE));
    assert!(began.elapsed() < Duration::from_secs(2), "{:?}", began.elapsed());

    sandbox.no_faults(&http);
    let daemon = Daemon::start(&home, &http);
    done(&http, &daemon, &id, PATIENCE);
    // A draining daemon may take a notice and keep it, or refuse it; it must keep its word.
    if refused.status == 202 {
        done(&http, &daemon, refused.good()["id"].as_str().unwrap(), PATIENCE);
    } else {
        assert_eq!(refused.status, 503, "{}", refused.text);
        each_once(&http, &sandbox, &daemon, 0, &[(&id, 0..RECIPIENTS)]);
    }
}

#[test]
fn stop_does_not_wait_for_an_image() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    for batch in 0..20 {
        let task = |at| json!({ "type": "many", "payload": at, "key": format!("{batch}-{at}") });
        let tasks: Vec<_> = (0..1_000).map(task).collect();
        http.post(&daemon.at("/v1/tasks"), &json!(tasks)).good();
    }
    let url = daemon.at("/v1/backup");
    let image = std::thread::spawn(move || Http::new().try_post(&url, &json!({})));
    let images = home.data().join("images");
    until("an image is begun", PATIENCE, || files(&images, ".part").pop());
    daemon.stop(PATIENCE);
    let answer = image.join().unwrap();
    assert!(answer.is_none_or(|answer| answer.status >= 500), "the image was waited for");
    assert_eq!(fs::read_dir(&images).unwrap().count(), 0, "and nothing of it is left");
}

#[test]
fn stop_does_not_wait_for_the_opening_of_the_store() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let text = "x".repeat(900);
    for _ in 0..40 {
        let tasks = vec![json!({ "type": "many", "payload": text }); 1_000];
        http.post(&daemon.at("/v1/tasks"), &json!(tasks)).good();
    }
    daemon.kill();
    // It takes seconds to make the store anew.
    fs::remove_dir_all(home.data().join("store")).unwrap();
    let logged = home.log().len();
    let daemon = Daemon::spawn(&home, &[]);
    until("it begins", PATIENCE, || home.log()[logged..].contains("archive.rebuild").then_some(()));
    let began = Instant::now();
    daemon.stop(Duration::from_secs(10));
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    assert!(!home.log()[logged..].contains("daemon.ready"));
    let daemon = Daemon::start(&home, &http);
    assert_eq!(rows(&http, &daemon, "/v1/tasks?type=many").len(), 40_000);
}
