//! The real binary: kills, stops, standbys, copies, damage.

use std::collections::HashMap;
use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value, json};

use crate::support::{Daemon, Http, Place, Sandbox, done, duebox, submit, wait_for};

fn settled(notice: &Value) -> u64 {
    let count = |state: &str| notice["counts"][state].as_u64().unwrap();
    notice["total"].as_u64().unwrap() - count("pending") - count("sending")
}

/// All messages of an account's ledger, by openid.
fn seen(http: &Http, sandbox: &Sandbox, account: usize) -> HashMap<String, u32> {
    let (mut seen, mut after) = (HashMap::new(), String::new());
    loop {
        let appid = format!("wx{:016}", account + 1);
        let base = format!("{}/_sandbox/ledger/messages", sandbox.url);
        let page = http.get(&format!("{base}?appid={appid}&limit=5000{after}"));
        for message in page["messages"].as_array().unwrap() {
            *seen.entry(message["openid"].as_str().unwrap().to_owned()).or_default() += 1;
        }
        match &page["next"] {
            Value::Null => return seen,
            next => after = format!("&after={next}"),
        }
    }
}

#[test]
fn two_thousand_recipients_survive_four_kills_and_each_sees_it_once() {
    const RECIPIENTS: u32 = 2_000;
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS);
    sandbox.faults(
        &http,
        &json!({"lost_answer_permille": 20, "lost_before_accept_permille": 10, "system_error_permille": 20, "latency_ms": 20}),
    );
    let place = Place::new(&sandbox.url, "");
    let mut daemon = Daemon::start(&place);
    let id = submit(&http, &daemon.url, (0, "acme"), 0, RECIPIENTS);
    for kill in 1..=4 {
        wait_for("a fifth of the recipients", || {
            let notice = http.get(&format!("{}/v1/notices/{id}", daemon.url));
            (settled(&notice) >= kill * u64::from(RECIPIENTS) / 6).then_some(())
        });
        daemon.kill();
        daemon = Daemon::start(&place);
    }
    let notice = done(&http, &daemon.url, &id);
    assert_eq!(notice["counts"]["accepted"], RECIPIENTS, "{notice}");
    let ledger = sandbox.ledger(&http, 0);
    assert_eq!(ledger["duplicates"], 0, "{ledger}");
    assert!(ledger["lost_answers"].as_u64().unwrap() > 0, "the faults did not bite: {ledger}");
    let seen = seen(&http, &sandbox, 0);
    assert_eq!(seen.len(), RECIPIENTS as usize);
    assert!(seen.values().all(|times| *times == 1));
    // The books agree, recipient by recipient.
    let mut cursor = String::new();
    let mut rows = 0;
    loop {
        let url = format!("{}/v1/notices/{id}/deliveries?limit=1000{cursor}", daemon.url);
        let page = http.get(&url);
        for row in page["items"].as_array().unwrap() {
            assert!(seen.contains_key(row["openid"].as_str().unwrap()), "{row}");
            rows += 1;
        }
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(rows, RECIPIENTS);
    assert!(daemon.stop().success());
}

#[test]
fn two_tenants_under_load_never_share_a_token() {
    let http = Http::new();
    let sandbox = Sandbox::start(1_000);
    sandbox.faults(&http, &json!({"lost_answer_permille": 10, "latency_ms": 3}));
    let place = Place::new(&sandbox.url, "");
    let daemon = Daemon::start(&place);
    let mut ids = Vec::new();
    for part in 0..10 {
        for tenant in [(0, "acme"), (1, "bolt")] {
            ids.push(submit(&http, &daemon.url, tenant, part * 100, part * 100 + 100));
        }
        let appid = format!("wx{:016}", part % 2 + 1);
        http.post(&format!("{}/_sandbox/tokens/invalidate", sandbox.url), &json!({"appid": appid}));
    }
    for id in &ids {
        let notice = done(&http, &daemon.url, id);
        assert_eq!(notice["counts"]["accepted"], 100, "{notice}");
    }
    for account in [0, 1] {
        let ledger = sandbox.ledger(&http, account);
        assert_eq!((&ledger["wrong_tenant"], &ledger["duplicates"]), (&json!(0), &json!(0)));
        assert_eq!(ledger["recipients"], 1_000, "{ledger}");
    }
}

#[test]
fn a_stop_under_load_is_clean_and_loses_nothing() {
    let http = Http::new();
    let sandbox = Sandbox::start(1_000);
    sandbox.faults(&http, &json!({"latency_ms": 150}));
    let place = Place::new(&sandbox.url, "");
    let daemon = Daemon::start(&place);
    let id = submit(&http, &daemon.url, (0, "acme"), 0, 1_000);
    wait_for("some to be sent", || {
        (settled(&http.get(&format!("{}/v1/notices/{id}", daemon.url))) > 50).then_some(())
    });
    assert!(daemon.stop().success());
    let daemon = Daemon::start(&place);
    assert!(!daemon.log().contains("recover.in_doubt"), "a clean stop left something in doubt");
    done(&http, &daemon.url, &id);
    let ledger = sandbox.ledger(&http, 0);
    assert_eq!(
        (&ledger["accepted"], &ledger["duplicates"]),
        (&json!(1_000), &json!(0)),
        "{ledger}"
    );
    assert_eq!(ledger["repeats"], 0, "nothing had to be sent again: {ledger}");
}

#[test]
fn what_hangs_at_a_stop_is_checkpointed_in_doubt_and_sent_once() {
    let http = Http::new();
    let sandbox = Sandbox::start(100);
    sandbox.faults(&http, &json!({"slow_permille": 1000, "slow_ms": 60_000}));
    let place = Place::new(&sandbox.url, "");
    let daemon = Daemon::start(&place);
    let id = submit(&http, &daemon.url, (0, "acme"), 0, 20);
    wait_for("all to be on the wire", || {
        (sandbox.ledger(&http, 0)["calls"].as_u64()? >= 20).then_some(())
    });
    let began = Instant::now();
    assert!(daemon.stop().success());
    assert!(began.elapsed() < Duration::from_secs(10), "drain is 2 s: {:?}", began.elapsed());
    sandbox.faults(&http, &json!({}));
    let daemon = Daemon::start(&place);
    let log = http.get(&format!("{}/v1/log?notice={id}", daemon.url));
    assert_eq!(
        log["items"].as_array().unwrap().iter().filter(|e| e["class"] == "in_doubt").count(),
        20
    );
    let notice = done(&http, &daemon.url, &id);
    assert_eq!(notice["counts"]["accepted"], 20, "{notice}");
    let ledger = sandbox.ledger(&http, 0);
    assert_eq!((&ledger["accepted"], &ledger["duplicates"]), (&json!(20), &json!(0)), "{ledger}");
}

#[test]
fn a_second_signal_leaves_at_once() {
    let http = Http::new();
    let sandbox = Sandbox::start(10);
    sandbox.faults(&http, &json!({"slow_permille": 1000, "slow_ms": 60_000}));
    let place = Place::new(&sandbox.url, "");
    let mut daemon = Daemon::start(&place);
    submit(&http, &daemon.url, (0, "acme"), 0, 5);
    wait_for("a send", || (sandbox.ledger(&http, 0)["calls"].as_u64()? > 0).then_some(()));
    daemon.signal(Signal::TERM);
    wait_for("the drain", || daemon.log().contains("daemon.stopping").then_some(()));
    daemon.signal(Signal::INT);
    let status = wait_for("the end", || daemon.child.try_wait().unwrap());
    assert_eq!(status.code(), Some(130));
}

#[test]
fn a_standby_takes_over_after_a_kill_and_after_a_planned_stop() {
    let http = Http::new();
    let sandbox = Sandbox::start(600);
    sandbox.faults(&http, &json!({"latency_ms": 20}));
    let place = Place::new(&sandbox.url, "");
    let first = Daemon::start(&place);
    let id = submit(&http, &first.url, (0, "acme"), 0, 600);
    let second = standby(&place);
    wait_for("some to be sent", || {
        (settled(&http.get(&format!("{}/v1/notices/{id}", first.url))) > 50).then_some(())
    });
    let old = first.url.clone();
    first.kill();
    let since = Instant::now();
    let url = new_leader(&place, &http, &old);
    assert!(since.elapsed() < Duration::from_secs(5), "took over after {:?}", since.elapsed());
    let third = standby(&place);
    let since = Instant::now();
    second.signal(Signal::TERM);
    let url = new_leader(&place, &http, &url);
    assert!(since.elapsed() < Duration::from_secs(8), "handed over after {:?}", since.elapsed());
    let notice = done(&http, &url, &id);
    assert_eq!(notice["counts"]["accepted"], 600, "{notice}");
    let ledger = sandbox.ledger(&http, 0);
    assert_eq!((&ledger["accepted"], &ledger["duplicates"]), (&json!(600), &json!(0)), "{ledger}");
    drop((second, third));
}

/// A daemon that waits for the lease. Its log tells when it does.
fn standby(place: &Place) -> Daemon {
    let config = place.path().join(format!("standby-{}.toml", fastrand::u32(..)));
    std::fs::copy(place.config(), &config).unwrap();
    let address = std::fs::read_to_string(place.data().join("admin.addr")).unwrap();
    // `start_with` removes the leader's address and waits for one: give it back at once.
    let back = place.data().join("admin.addr");
    let ended = AtomicBool::new(false);
    let daemon = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !ended.load(Ordering::Relaxed) {
                if !back.exists() {
                    std::fs::write(&back, &address).unwrap();
                }
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let daemon = Daemon::start_with(&config, &place.data(), |_| {});
        ended.store(true, Ordering::Relaxed);
        daemon
    });
    wait_for("the standby to watch", || daemon.log().contains("standby.sees").then_some(()));
    daemon
}

fn new_leader(place: &Place, http: &Http, old: &str) -> String {
    wait_for("a new leader", || {
        let address = std::fs::read_to_string(place.data().join("admin.addr")).ok()?;
        let url = format!("http://{address}");
        (url != old && http.try_get(&format!("{url}/readyz"))?.0 == 200).then_some(url)
    })
}

#[test]
fn a_stopped_leader_is_reported_by_its_standby() {
    let place = Place::new("http://127.0.0.1:1", "");
    let first = Daemon::start(&place);
    let second = standby(&place);
    first.signal(Signal::STOP);
    let pid = first.child.id().to_string();
    wait_for("the report", || {
        let log = second.log();
        let reported = log.lines().any(|line| line.contains("stopped") && line.contains(&pid));
        reported.then_some(())
    });
    first.signal(Signal::CONT);
}

#[test]
fn the_service_manager_hears_of_everything() {
    let place = Place::new("http://127.0.0.1:1", "");
    let socket = place.path().join("notify");
    let manager = UnixDatagram::bind(&socket).unwrap();
    manager.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let daemon = Daemon::start_with(&place.config(), &place.data(), |command: &mut Command| {
        command.env("NOTIFY_SOCKET", &socket).env("WATCHDOG_USEC", "1500000");
    });
    let mut heard = String::new();
    let mut hear_until = |wanted: &str| {
        let mut buffer = [0; 4096];
        while !heard.contains(wanted) {
            let length =
                manager.recv(&mut buffer).unwrap_or_else(|_| panic!("no {wanted}: {heard}"));
            heard.push_str(&String::from_utf8_lossy(&buffer[..length]));
            heard.push('\n');
        }
    };
    for wanted in ["READY=1", "STATUS=", "WATCHDOG=1"] {
        hear_until(wanted);
    }
    assert!(daemon.stop().success());
    hear_until("STOPPING=1");
}

fn add(http: &Http, url: &str, key: &str) -> Option<String> {
    let body = json!({"type": "work", "payload": {"key": key}, "key": key});
    let (status, body) = http.try_post(&format!("{url}/v1/tasks"), &body)?;
    assert_eq!(status, 200, "{body}");
    let answer: Value = serde_json::from_str(&body).unwrap();
    Some(answer["id"].as_str().unwrap().to_owned())
}

fn claim(http: &Http, url: &str, max: u32, ttl_ms: u32, wait_ms: u32) -> Vec<Value> {
    let body = json!({"type": "work", "max": max, "ttl_ms": ttl_ms, "wait_ms": wait_ms});
    let answer = http.post(&format!("{url}/v1/tasks/claim"), &body);
    answer["tasks"].as_array().unwrap().clone()
}

#[test]
fn a_claim_outlives_the_daemon_and_a_dead_consumer_does_not_keep_it() {
    let http = Http::new();
    let place = Place::new("http://127.0.0.1:1", "");
    let daemon = Daemon::start(&place);
    let id = add(&http, &daemon.url, "one").unwrap();
    let held = claim(&http, &daemon.url, 1, 600_000, 0);
    daemon.kill();
    let daemon = Daemon::start(&place);
    assert!(claim(&http, &daemon.url, 1, 1_000, 0).is_empty(), "it is still held");
    let ack = json!({"claim": held[0]["claim"]});
    for _ in 0..2 {
        http.post(&format!("{}/v1/tasks/{id}/ack", daemon.url), &ack);
    }
    // This consumer is never heard of again.
    add(&http, &daemon.url, "two").unwrap();
    let lost = claim(&http, &daemon.url, 1, 1_000, 0);
    let again = claim(&http, &daemon.url, 1, 60_000, 20_000);
    assert_eq!((&again[0]["id"], &again[0]["attempt"]), (&lost[0]["id"], &json!(2)));
    let late = json!({"claim": lost[0]["claim"]});
    let url = format!("{}/v1/tasks/{}/ack", daemon.url, lost[0]["id"].as_str().unwrap());
    let (status, problem) = http.try_post(&url, &late).unwrap();
    assert_eq!(status, 409, "{problem}");
    assert!(problem.contains("claim_taken"), "{problem}");
}

#[test]
fn two_hundred_waiters_and_one_task() {
    let http = Http::new();
    let place = Place::new("http://127.0.0.1:1", "");
    let daemon = Daemon::start(&place);
    let url = daemon.url.clone();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([]).build().unwrap();
    let waiters: Vec<_> = (0..200)
        .map(|_| {
            let request = client
                .post(format!("{url}/v1/tasks/claim"))
                .header("content-type", "application/json")
                .body(json!({"type": "work", "wait_ms": 4_000}).to_string());
            runtime.spawn(async move { request.send().await.unwrap().text().await.unwrap() })
        })
        .collect();
    wait_for("all to wait", || {
        let (_, metrics) = http.try_get(&format!("{url}/metrics"))?;
        metrics.contains("duebox_waiting_claims 200").then_some(())
    });
    add(&http, &url, "only").unwrap();
    let mut given = 0;
    for waiter in waiters {
        let answer: Value = serde_json::from_str(&runtime.block_on(waiter).unwrap()).unwrap();
        given += answer["tasks"].as_array().unwrap().len();
    }
    assert_eq!(given, 1);
}

#[test]
fn nothing_acknowledged_is_lost_over_many_kills() {
    let rounds: usize =
        std::env::var("DUEBOX_KILL_ROUNDS").map_or(12, |rounds| rounds.parse().unwrap());
    let http = Http::new();
    let place = Place::new("http://127.0.0.1:1", "");
    let mut random = fastrand::Rng::with_seed(11);
    let (mut added, mut acked): (Vec<String>, Vec<String>) = Default::default();
    for round in 0..rounds {
        if random.u8(0..4) == 0 {
            // A kill during start-up.
            let mut child =
                duebox().args(["serve", "--config"]).arg(place.config()).spawn().unwrap();
            std::thread::sleep(Duration::from_micros(random.u64(0..40_000)));
            child.kill().unwrap();
            child.wait().unwrap();
        }
        let mut daemon = Daemon::start(&place);
        let until = Instant::now() + Duration::from_millis(random.u64(20..300));
        let mut count = 0;
        while Instant::now() < until {
            let Some(id) = add(&http, &daemon.url, &format!("{round}-{count}")) else { break };
            added.push(id);
            count += 1;
            if count % 3 == 0 {
                for task in claim(&http, &daemon.url, 2, 600_000, 0) {
                    let id = task["id"].as_str().unwrap().to_owned();
                    let url = format!("{}/v1/tasks/{id}/ack", daemon.url);
                    http.post(&url, &json!({"claim": task["claim"]}));
                    acked.push(id);
                }
            }
            if count % 20 == 0 && random.bool() {
                let _ = http.try_post(&format!("{}/v1/backup", daemon.url), &json!({}));
            }
        }
        daemon.child.kill().unwrap();
        daemon.child.wait().unwrap();
    }
    let daemon = Daemon::start(&place);
    for id in &added {
        let task = http.get(&format!("{}/v1/tasks/{id}", daemon.url));
        let state = task["state"].as_str().unwrap();
        if acked.contains(id) {
            assert_eq!(state, "acked", "{task}");
        } else {
            assert!(matches!(state, "pending" | "claimed"), "{task}");
        }
    }
    assert!(added.len() > rounds, "too little happened: {}", added.len());
}

/// Copies a directory as `cp -a` does.
fn copy(from: &std::path::Path, to: &std::path::Path) {
    assert!(Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap().success());
}

#[test]
fn copies_of_a_running_directory_hold_all_and_come_up_held() {
    let rounds: usize = std::env::var("DUEBOX_COPIES").map_or(3, |rounds| rounds.parse().unwrap());
    let http = Http::new();
    let place = Place::new("http://127.0.0.1:1", "");
    let daemon = Daemon::start(&place);
    let writing = AtomicBool::new(true);
    let url = daemon.url.clone();
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let http = Http::new();
            let mut number = 0;
            while writing.load(Ordering::Relaxed) {
                add(&http, &url, &format!("load-{number}"));
                number += 1;
            }
        });
        let acknowledged = |round: usize| -> Vec<String> {
            let ids = (0..30).filter_map(|n| add(&http, &url, &format!("mark-{round}-{n}")));
            ids.collect()
        };
        let mut known = Vec::new();
        for round in 0..rounds {
            known.extend(acknowledged(round));
            if round % 2 == 1 {
                http.post(&format!("{url}/v1/backup"), &json!({}));
            }
            let name = format!("copy-{round}");
            copy(&place.data(), &place.path().join(&name));
            check_copy(&http, &place, &name, &known);
        }
        writing.store(false, Ordering::Relaxed);
    });
    assert!(daemon.stop().success());
    copy(&place.data(), &place.path().join("stopped"));
    check_copy(&http, &place, "stopped", &[]);
}

fn check_copy(http: &Http, place: &Place, name: &str, known: &[String]) {
    let (config, data) = (place.with_data(name), place.path().join(name));
    let copy = Daemon::start_with(&config, &data, |_| {});
    let (status, ready) = http.try_get(&format!("{}/readyz", copy.url)).unwrap();
    assert!(status == 503 && ready.contains("held"), "{status} {ready}");
    let claim_url = format!("{}/v1/tasks/claim", copy.url);
    let (status, problem) = http.try_post(&claim_url, &json!({"type": "work"})).unwrap();
    assert!(status == 503 && problem.contains("held"), "{status} {problem}");
    for id in known {
        http.get(&format!("{}/v1/tasks/{id}", copy.url));
    }
    http.post(&format!("{}/v1/release", copy.url), &json!({}));
    assert_eq!(http.try_get(&format!("{}/readyz", copy.url)).unwrap().0, 200);
    assert!(!claim(http, &copy.url, 1, 1_000, 0).is_empty());
}

#[test]
fn a_backup_is_restored_with_everything() {
    let http = Http::new();
    let place = Place::new("http://127.0.0.1:1", "");
    let daemon = Daemon::start(&place);
    let ids: Vec<String> =
        (0..50).map(|n| add(&http, &daemon.url, &n.to_string()).unwrap()).collect();
    let (backup, restored) = (place.path().join("backup"), place.path().join("restored"));
    let run = |arguments: &[&std::ffi::OsStr]| {
        let done = duebox().args(arguments).output().unwrap();
        assert!(done.status.success(), "{}", String::from_utf8_lossy(&done.stderr));
    };
    run(&["backup".as_ref(), place.data().as_os_str(), backup.as_os_str()]);
    run(&["restore".as_ref(), "--adopt".as_ref(), backup.as_os_str(), restored.as_os_str()]);
    run(&["inspect".as_ref(), restored.as_os_str()]);
    let other = Daemon::start_with(&place.with_data("restored"), &restored, |_| {});
    assert_eq!(http.try_get(&format!("{}/readyz", other.url)).unwrap().0, 200);
    for id in &ids {
        http.get(&format!("{}/v1/tasks/{id}", other.url));
    }
}

#[test]
fn a_lost_store_is_rebuilt_and_a_broken_journal_is_refused() {
    let http = Http::new();
    let place = Place::new("http://127.0.0.1:1", "");
    let daemon = Daemon::start(&place);
    let ids: Vec<String> =
        (0..50).map(|n| add(&http, &daemon.url, &n.to_string()).unwrap()).collect();
    assert!(daemon.stop().success());
    std::fs::remove_dir_all(place.data().join("store")).unwrap();
    let daemon = Daemon::start(&place);
    for id in &ids {
        http.get(&format!("{}/v1/tasks/{id}", daemon.url));
    }
    daemon.kill();
    std::fs::remove_dir_all(place.data().join("store")).unwrap();
    std::fs::remove_dir_all(place.data().join("images")).unwrap();
    let mut journals: Vec<_> = std::fs::read_dir(place.data().join("journal"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    journals.sort();
    let mut bytes = std::fs::read(&journals[0]).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&journals[0], bytes).unwrap();
    let refused = duebox().args(["serve", "--config"]).arg(place.config()).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(4), "{told}");
    assert!(told.contains("hint: ") && told.contains("restore"), "{told}");
}

#[test]
fn a_wrong_configuration_ends_with_2_before_anything_is_opened() {
    let place = Place::new("http://127.0.0.1:1", "concurency = 5\n");
    let refused = duebox().args(["serve", "--config"]).arg(place.config()).output().unwrap();
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!(refused.status.code(), Some(2), "{told}");
    assert!(told.contains("concurency"), "{told}");
    assert!(!place.data().exists(), "the data directory was made");
}

#[test]
fn a_nearly_full_disk_refuses_new_work_only() {
    let http = Http::new();
    let place = Place::new("http://127.0.0.1:1", "");
    let daemon = Daemon::start(&place);
    add(&http, &daemon.url, "before").unwrap();
    assert!(daemon.stop().success());
    let text = std::fs::read_to_string(place.config()).unwrap();
    let text = text.replace("min_free_disk = \"1MiB\"", "min_free_disk = \"1024GiB\"");
    std::fs::write(place.config(), text).unwrap();
    let daemon = Daemon::start(&place);
    let problem = wait_for("the refusal", || {
        let body = json!({"type": "work", "payload": 1});
        let (status, body) = http.try_post(&format!("{}/v1/tasks", daemon.url), &body)?;
        (status == 507).then_some(body)
    });
    assert!(problem.contains("storage_low"), "{problem}");
    let (_, metrics) = http.try_get(&format!("{}/metrics", daemon.url)).unwrap();
    assert!(metrics.contains("duebox_storage_low 1"), "{metrics}");
    let task = &claim(&http, &daemon.url, 1, 60_000, 0)[0];
    let url = format!("{}/v1/tasks/{}/ack", daemon.url, task["id"].as_str().unwrap());
    http.post(&url, &json!({"claim": task["claim"]}));
}

#[test]
fn no_secret_is_seen_anywhere() {
    let http = Http::new();
    let sandbox = Sandbox::start(10);
    let place = Place::new(&sandbox.url, "");
    let daemon = Daemon::start_with(&place.config(), &place.data(), |command| {
        command.env("DUEBOX_LOG", "debug");
    });
    let id = submit(&http, &daemon.url, (0, "acme"), 0, 10);
    done(&http, &daemon.url, &id);
    let mut texts = vec![daemon.log()];
    for path in ["/metrics", "/v1/tenants", "/v1/log", "/readyz", "/openapi.json", "/"] {
        texts.push(http.try_get(&format!("{}{path}", daemon.url)).unwrap().1);
    }
    for text in texts {
        for secret in ["sandbox-secret", "NN_sandbox_"] {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
}
