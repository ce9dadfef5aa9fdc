//! Two daemons on one data directory.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::binary::support::audit::{done, each_once, notice, rows, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{BASE, Home, TABLES, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

/// Between the end of one daemon and the readiness of the next: under a second, and what a busy
/// machine of two cores adds.
const TAKE_OVER: Duration = Duration::from_secs(4);

const RECIPIENTS: u32 = 800;

/// A home for two, the second with a port of its own that is known before it leads.
fn home_for_two(tables: &str) -> (Home, String) {
    let home = Home::new("", tables);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let tables = format!("{TABLES}{tables}").replace("127.0.0.1:0", &port.to_string());
    home.write("second.toml", &format!("{BASE}{tables}"));
    (home, format!("http://{port}"))
}

fn second(home: &Home, url: &str) -> Daemon {
    let mut second = Daemon::spawn_with(home, "second.toml");
    second.url = url.to_owned();
    second
}

fn reasons(document: &Json) -> String {
    document["reasons"].to_string()
}

#[test]
fn standby_says_who_leads_and_takes_over_from_the_dead_and_from_the_polite() {
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, 6);
    sandbox.faults(&http, &json!({ "latency_ms": 30 }));
    let (home, url) = home_for_two(&tenant(&sandbox, 0));
    let first = Daemon::start(&home, &http);
    let standby = second(&home, &url);
    let seen = standby.wait_for_role(&http, "standby", PATIENCE);
    assert!(reasons(&seen).contains(&format!("pid {}", first.pid())), "{seen}");
    assert_eq!(http.get(&standby.at("/readyz?standby=ok")).status, 200);
    assert_eq!(http.get(&standby.at("/v1/tasks")).status, 503, "a standby answers nothing else");

    // Stopped by a signal, the first keeps the lock: the second says so and does not lead.
    let id = submit(&http, &first, &notice(0, 0, RECIPIENTS, "two"));
    until("messages go out", PATIENCE, || (sandbox.shown(&http, 0) >= 100).then_some(()));
    first.signal(Signal::STOP);
    let told = format!("process {} is stopped", first.pid());
    until("the standby sees the stopped process", PATIENCE, || {
        let document = http.get(&standby.at("/readyz")).json();
        assert_eq!(document["role"], "standby");
        reasons(&document).contains(&told).then_some(())
    });
    first.signal(Signal::CONT);
    until("the first goes on", PATIENCE, || (sandbox.shown(&http, 0) >= 250).then_some(()));

    first.kill();
    let began = Instant::now();
    standby.wait_for_role(&http, "leader", PATIENCE);
    assert!(began.elapsed() < TAKE_OVER, "{:?}", began.elapsed());

    // Now the other way round, with a planned stop.
    let third = Daemon::spawn(&home, &[]);
    until("the third stands by", PATIENCE, || {
        home.log().contains(&format!("leader is pid {}", standby.pid())).then_some(())
    });
    until("messages go out", PATIENCE, || (sandbox.shown(&http, 0) >= 400).then_some(()));
    std::fs::remove_file(home.data().join("admin.addr")).unwrap();
    standby.stop(Duration::from_secs(10));
    let began = Instant::now();
    let mut third = third;
    third.wait_for_address(&home);
    third.wait_for_role(&http, "leader", PATIENCE);
    assert!(began.elapsed() < TAKE_OVER, "{:?}", began.elapsed());
    done(&http, &third, &id, PATIENCE);
    each_once(&http, &sandbox, &third, 0, &[(&id, 0..RECIPIENTS)]);
}

/// The shortest lease, for which sends must time out early; see `daemon::standby`.
const LEASE: Duration = Duration::from_millis(duebox::limits::LEASE_TTL_MS);

#[test]
fn leader_that_slept_through_its_lease_sends_nothing_more() {
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, 7);
    sandbox.faults(&http, &json!({ "latency_ms": 100 }));
    let tables = tenant(&sandbox, 0).replace("rate = 0", "rate = 0\ntimeout = \"2s\"");
    let (home, url) = home_for_two(&tables);
    let mut first = Daemon::start(&home, &http);
    let id = submit(&http, &first, &notice(0, 0, RECIPIENTS, "asleep"));
    until("messages go out", PATIENCE, || (sandbox.shown(&http, 0) >= 100).then_some(()));
    first.signal(Signal::STOP);
    let asleep = Instant::now();
    let standby = second(&home, &url);
    standby.wait_for_role(&http, "standby", PATIENCE);
    until("the lease runs out", 2 * LEASE, || (LEASE < asleep.elapsed()).then_some(()));
    let before = sandbox.ledger(&http, 0)["calls"].clone();
    assert_ne!(before, RECIPIENTS, "there was more to send");
    // Without the standby nothing else would tell who sends after this.
    standby.signal(Signal::STOP);
    first.signal(Signal::CONT);
    let status = first.wait(PATIENCE);
    assert_eq!(status.code(), Some(duebox::lease::EXIT_LOST), "{status:?}");
    assert_eq!(sandbox.ledger(&http, 0)["calls"], before, "sent after the lease");
    standby.signal(Signal::CONT);
    standby.wait_for_role(&http, "leader", PATIENCE);
    done(&http, &standby, &id, PATIENCE);
    each_once(&http, &sandbox, &standby, 0, &[(&id, 0..RECIPIENTS)]);
}

#[test]
fn take_over_does_not_wait_for_a_slow_client_of_the_standby() {
    let http = Http::new();
    let (home, url) = home_for_two("");
    let first = Daemon::start(&home, &http);
    let standby = second(&home, &url);
    standby.wait_for_role(&http, "standby", PATIENCE);
    let mut slow = TcpStream::connect(url.strip_prefix("http://").unwrap()).unwrap();
    slow.write_all(b"GET /readyz HTTP/1.1\r\nHost:").unwrap();
    // Its answer says that the connection before it was accepted.
    standby.wait_for_role(&http, "standby", PATIENCE);
    first.kill();
    let began = Instant::now();
    standby.wait_for_role(&http, "leader", PATIENCE);
    assert!(began.elapsed() < TAKE_OVER, "{:?}", began.elapsed());
}

#[test]
fn start_that_cannot_listen_leaves_nothing_in_doubt() {
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, 8);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let due = duebox::time::Clock::now(&duebox::time::SystemClock).plus(2_000);
    let mut later = notice(0, 0, 40, "no port");
    later["send_at"] = due.to_string().into();
    let id = submit(&http, &daemon, &later);
    daemon.stop(Duration::from_secs(10));
    until("the notice is due", PATIENCE, || {
        (due < duebox::time::Clock::now(&duebox::time::SystemClock)).then_some(())
    });

    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let config = std::fs::read_to_string(home.config()).unwrap();
    home.write("taken.toml", &config.replace("127.0.0.1:0", &address));
    let status = Daemon::spawn_with(&home, "taken.toml").wait(PATIENCE);
    assert_eq!(status.code(), Some(1), "starting again may help: {}", home.log());
    assert!(home.log().contains(&address), "{}", home.log());

    let daemon = Daemon::start(&home, &http);
    assert!(!home.log().contains("recover.in_doubt"), "{}", home.log());
    done(&http, &daemon, &id, PATIENCE);
    let log = rows(&http, &daemon, &format!("/v1/log?notice={id}"));
    assert_eq!(log.len(), 40, "one attempt each");
}
