//! Two and three daemons on one data directory, whose leader is killed, stopped politely or put to
//! sleep past its lease again and again while messages go out.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::binary::support::audit::{done, each_once, notice, rows, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{BASE, Home, TABLES, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, rounds, until};

const SEED: u64 = 88;
/// Messages that go out between two events.
const STRIDE: u32 = 150;
/// Attempts that a tenant of these tests has on disk as begun at once: its concurrency of 50, and a
/// quarter more that wait for a connection.
const CLAIMED: u64 = 63;

/// What happens to a leader.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Event {
    /// SIGKILL.
    Kill,
    /// SIGTERM, and a clean end.
    Stop,
    /// SIGSTOP until the lease is over, then SIGCONT: it must leave by itself.
    Sleep,
}

/// Daemons that share a data directory, each with a port that is known before it leads.
struct Crew {
    home: Home,
    tables: String,
    members: Vec<Daemon>,
    hired: u32,
}

impl Crew {
    fn new(size: u32, sandbox: &Sandbox) -> Self {
        // Sends that time out early make the lease as short as it can be.
        let tables = tenant(sandbox, 0).replace("rate = 0", "rate = 0\ntimeout = \"2s\"");
        let home = Home::new("", &tables);
        let tables = format!("{TABLES}{tables}");
        let mut crew = Self { home, tables, members: Vec::new(), hired: 0 };
        (0..size).for_each(|_| crew.hire());
        crew
    }

    fn hire(&mut self) {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let config = format!("member{}.toml", self.hired);
        let tables = self.tables.replace("127.0.0.1:0", &port.to_string());
        self.home.write(&config, &format!("{BASE}{tables}"));
        let mut member = Daemon::spawn_with(&self.home, &config);
        member.url = format!("http://{port}");
        self.members.push(member);
        self.hired += 1;
    }

    /// Waits until exactly one leads; its place among the members.
    fn leader(&self, http: &Http) -> usize {
        until("one leads", PATIENCE, || {
            let role = |member: &Daemon| {
                http.try_get(&member.at("/readyz")).map(|answer| answer.json()["role"].clone())
            };
            let roles: Vec<Option<Json>> = self.members.iter().map(role).collect();
            let leads = |role: &Option<Json>| role.as_ref().is_some_and(|role| role == "leader");
            assert!(roles.iter().filter(|role| leads(role)).count() < 2, "two lead: {roles:?}");
            roles.iter().position(leads)
        })
    }

    /// Does it to the leader and replaces it; how long nobody led.
    fn suffer(&mut self, http: &Http, event: Event) -> Duration {
        let mut leader = self.members.remove(self.leader(http));
        let began = match event {
            Event::Kill => {
                let began = Instant::now();
                leader.kill();
                began
            }
            Event::Stop => {
                let began = Instant::now();
                leader.signal(Signal::TERM);
                assert_eq!(leader.wait(PATIENCE).code(), Some(0));
                began
            }
            Event::Sleep => {
                leader.signal(Signal::STOP);
                // Longer than the lease is what this event is.
                std::thread::sleep(Duration::from_millis(duebox::limits::LEASE_TTL_MS + 1_000));
                let began = Instant::now();
                leader.signal(Signal::CONT);
                let code = leader.wait(PATIENCE).code();
                assert_eq!(code, Some(duebox::lease::EXIT_LOST), "{}", self.home.log());
                began
            }
        };
        self.leader(http);
        let took = began.elapsed();
        self.hire();
        took
    }
}

/// Attempts beyond the first, by openid, as the send log tells them.
fn repeated(http: &Http, daemon: &Daemon, id: &str) -> BTreeMap<String, u64> {
    let mut attempts: BTreeMap<String, u64> = BTreeMap::new();
    for entry in rows(http, daemon, &format!("/v1/log?notice={id}")) {
        let openid = entry["openid"].as_str().unwrap().to_owned();
        let attempt = entry["attempt"].as_u64().unwrap();
        let most = attempts.entry(openid).or_default();
        *most = attempt.max(*most);
    }
    attempts.retain(|_, most| *most > 1);
    attempts
}

fn relay(size: u32, events: &[Event]) {
    let http = Http::new();
    let recipients = STRIDE * (u32::try_from(events.len()).unwrap() + 1);
    let sandbox = Sandbox::start(recipients, SEED);
    sandbox.faults(&http, &json!({ "latency_ms": 40 }));
    let mut crew = Crew::new(size, &sandbox);
    let first = &crew.members[crew.leader(&http)];
    let id = submit(&http, first, &notice(0, 0, recipients, "relay"));
    let mut gaps: BTreeMap<Event, Vec<u128>> = BTreeMap::new();
    for (event, after) in events.iter().zip(1..) {
        until("messages go out", PATIENCE, || {
            (sandbox.shown(&http, 0) >= u64::from(STRIDE) * after).then_some(())
        });
        gaps.entry(*event).or_default().push(crew.suffer(&http, *event).as_millis());
    }
    let last = &crew.members[crew.leader(&http)];
    done(&http, last, &id, PATIENCE);
    each_once(&http, &sandbox, last, 0, &[(&id, 0..recipients)]);

    // What was on the wire in a kill or a sleep was sent again under the same id, and nothing else.
    let again = repeated(&http, last, &id);
    let cut = events.iter().filter(|event| **event != Event::Stop).count() as u64;
    let calls = sandbox.ledger(&http, 0)["calls"].as_u64().unwrap();
    let beyond: u64 = again.values().map(|most| most - 1).sum();
    assert!(beyond <= cut * CLAIMED, "{beyond} repeated in {cut} cuts: {again:?}");
    assert!(calls <= u64::from(recipients) + beyond, "{calls} calls, {beyond} repeated");
    println!("{size} daemons: seen twice 0, on the wire in a cut and repeated {beyond}: {again:?}");
    println!("nobody led for, in ms: {gaps:?}");
}

fn events(seed: u64, count: u32) -> Vec<Event> {
    let mut random = fastrand::Rng::with_seed(seed);
    let kinds = [Event::Kill, Event::Kill, Event::Stop, Event::Stop, Event::Sleep];
    (0..count).map(|_| kinds[random.usize(..kinds.len())]).collect()
}

#[test]
fn three_daemons_hand_a_notice_on_and_nobody_sees_it_twice() {
    let short = [Event::Kill, Event::Stop, Event::Kill, Event::Stop].to_vec();
    let longer = rounds("DUEBOX_RELAY_EVENTS", 0);
    relay(3, &if longer == 0 { short } else { events(SEED, longer) });
}

#[test]
fn two_daemons_hand_a_notice_on_and_nobody_sees_it_twice() {
    let short = [Event::Stop, Event::Kill].to_vec();
    let longer = rounds("DUEBOX_RELAY_EVENTS", 0);
    relay(2, &if longer == 0 { short } else { events(SEED + 1, longer) });
}
