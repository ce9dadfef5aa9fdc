//! Tasks and their consumers, who die and repeat themselves.

use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::binary::support::audit::id_of;
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::Home;
use crate::binary::support::http::{Answer, Http};
use crate::binary::support::{PATIENCE, until};

fn add(http: &Http, daemon: &Daemon, count: u32) -> Vec<String> {
    let tasks: Vec<Json> =
        (0..count).map(|number| json!({ "type": "1001", "payload": { "n": number } })).collect();
    let added = http.post(&daemon.at("/v1/tasks"), &json!(tasks)).good();
    added["tasks"].as_array().unwrap().iter().map(id_of).collect()
}

fn claim(http: &Http, daemon: &Daemon, more: &Json) -> Vec<Json> {
    let mut body = json!({ "type": "1001", "max": 1000 });
    for (name, value) in more.as_object().unwrap() {
        body[name] = value.clone();
    }
    let answer = http.post(&daemon.at("/v1/tasks/claim"), &body).good();
    answer["tasks"].as_array().unwrap().clone()
}

fn ack(http: &Http, daemon: &Daemon, task: &Json) -> Answer {
    let path = format!("/v1/tasks/{}/ack", task["id"].as_str().unwrap());
    http.post(&daemon.at(&path), &json!({ "claim": task["claim"] }))
}

fn sorted(mut ids: Vec<String>) -> Vec<String> {
    ids.sort();
    ids
}

fn ids(tasks: &[Json]) -> Vec<String> {
    sorted(tasks.iter().map(id_of).collect())
}

#[test]
fn tasks_of_a_consumer_that_died_come_back_and_its_late_acks_are_refused() {
    let http = Http::new();
    let home = Home::new("", "[queues.1001]\nretry = { policy = \"fixed\", delay = \"1s\" }\n");
    let daemon = Daemon::start(&home, &http);
    let added = sorted(add(&http, &daemon, 20));
    let lost = claim(&http, &daemon, &json!({ "ttl_ms": 1_000 }));
    assert_eq!(ids(&lost), added);
    assert!(claim(&http, &daemon, &json!({})).is_empty(), "all are claimed");
    let mut back = Vec::new();
    until("all come back", PATIENCE, || {
        back.extend(claim(&http, &daemon, &json!({ "wait_ms": 5_000 })));
        (back.len() == added.len()).then_some(())
    });
    assert_eq!(ids(&back), added);
    for (old, new) in lost.iter().zip(&back) {
        let late = ack(&http, &daemon, old);
        assert_eq!((late.status, late.code().as_str()), (409, "claim_taken"), "{}", late.text);
        assert_eq!(new["attempt"], 2);
        assert_eq!(ack(&http, &daemon, new).status, 200);
    }
    assert!(claim(&http, &daemon, &json!({})).is_empty());
}

#[test]
fn claims_outlive_the_daemon() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let added = sorted(add(&http, &daemon, 30));
    let named = json!({ "max": 10, "request_id": "once", "ttl_ms": 60_000 });
    let claimed = claim(&http, &daemon, &named);
    assert_eq!(claimed.len(), 10);
    daemon.kill();

    let daemon = Daemon::start(&home, &http);
    // The consumer did not hear the answer and asks again: the same tasks, the same tokens.
    assert_eq!(claim(&http, &daemon, &named), claimed);
    for task in &claimed {
        assert_eq!(ack(&http, &daemon, task).status, 200);
        assert_eq!(ack(&http, &daemon, task).status, 200, "the same ack twice is fine");
    }
    daemon.kill();

    let daemon = Daemon::start(&home, &http);
    for task in &claimed {
        assert_eq!(ack(&http, &daemon, task).status, 200, "and after a crash, too");
    }
    let rest = claim(&http, &daemon, &json!({}));
    assert_eq!(sorted([ids(&claimed), ids(&rest)].concat()), added);
    let again = claim(&http, &daemon, &named);
    assert!(again.is_empty(), "a request whose tasks are done gets none of them again: {again:?}");
    daemon.stop(Duration::from_secs(10));
}

#[test]
fn one_task_goes_to_exactly_one_of_two_hundred_waiters() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let url = daemon.at("/v1/tasks/claim");
    let waiter = std::thread::spawn(move || {
        let bodies = vec![json!({ "type": "1001", "wait_ms": 4_000, "ttl_ms": 60_000 }); 200];
        Http::new().post_at_once(&url, &bodies)
    });
    until("all wait", PATIENCE, || {
        (daemon.metric(&http, "duebox_waiting_claims") == Some(200.0)).then_some(())
    });
    let added = add(&http, &daemon, 1);
    let answers: Vec<Json> = waiter.join().unwrap().iter().map(Answer::good).collect();
    let got: Vec<&Json> = answers.iter().flat_map(|a| a["tasks"].as_array().unwrap()).collect();
    assert_eq!(got.len(), 1);
    assert_eq!(id_of(got[0]), added[0]);
    assert_eq!(ack(&http, &daemon, got[0]).status, 200);
}

#[test]
fn waiters_do_not_keep_a_daemon_from_stopping() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let url = daemon.at("/v1/tasks/claim");
    let waiter = std::thread::spawn(move || {
        let bodies = vec![json!({ "type": "1001", "wait_ms": 60_000 }); 20];
        Http::new().post_at_once(&url, &bodies)
    });
    until("all wait", PATIENCE, || {
        (daemon.metric(&http, "duebox_waiting_claims") == Some(20.0)).then_some(())
    });
    let began = Instant::now();
    daemon.stop(Duration::from_secs(10));
    assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    for answer in waiter.join().unwrap() {
        assert!(answer.status == 503 || answer.good()["tasks"] == json!([]), "{}", answer.text);
    }
}
