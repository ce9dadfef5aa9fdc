//! The machine's wall clock is set a day forward and back, and its zone is changed.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use duebox::time::{DAY_MS, HOUR_MS, Timestamp};
use serde_json::{Value as Json, json};

use crate::binary::support::audit::{done, each_once, id_of, notice, submit};
use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::{BASE, Home, TABLES, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::preload::library;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

const DAY_S: i64 = DAY_MS as i64 / 1000;

/// A wall clock that tests set, for daemons started under it.
struct Wall {
    library: PathBuf,
    file: PathBuf,
}

impl Wall {
    fn new(home: &Home) -> Self {
        let library = library(home, "moved_clock");
        let wall = Self { library, file: home.path("ahead") };
        wall.set(0);
        wall
    }

    /// Sets the clock to so many seconds after the right time.
    fn set(&self, ahead_s: i64) {
        // In one step, since a daemon may be reading.
        let part = self.file.with_extension("part");
        std::fs::write(&part, ahead_s.to_string()).unwrap();
        std::fs::rename(part, &self.file).unwrap();
    }

    fn spawn(&self, home: &Home, config: &str, zone: &str) -> Daemon {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config"]).arg(home.path(config));
        command.env("LD_PRELOAD", &self.library).env("MOVED_CLOCK", &self.file).env("TZ", zone);
        Daemon::spawn_command(home, &mut command)
    }

    fn start(&self, home: &Home, http: &Http, zone: &str) -> Daemon {
        let _ = std::fs::remove_file(home.data().join("admin.addr"));
        let mut daemon = self.spawn(home, "duebox.toml", zone);
        daemon.wait_for_address(home);
        daemon.wait_for_role(http, "leader", PATIENCE);
        daemon
    }
}

/// Now, as the tests' own clock says.
fn now() -> Timestamp {
    use duebox::time::{Clock as _, SystemClock};
    SystemClock.now()
}

fn role(http: &Http, daemon: &Daemon) -> Json {
    http.get(&daemon.at("/readyz")).json()["role"].clone()
}

fn claim(http: &Http, daemon: &Daemon, kind: &str) -> Vec<Json> {
    let body = json!({ "type": kind, "max": 10 });
    http.post(&daemon.at("/v1/tasks/claim"), &body).good()["tasks"].as_array().unwrap().clone()
}

fn shown(http: &Http, sandbox: &Sandbox, count: u64) {
    until("messages go out", PATIENCE, || (sandbox.shown(http, 0) >= count).then_some(()));
}

#[test]
fn a_day_forward_and_back_sends_nothing_twice_and_loses_nothing() {
    let http = Http::new();
    let sandbox = Sandbox::start(900, 5);
    sandbox.faults(&http, &json!({ "latency_ms": 60 }));
    let home = Home::new("", &tenant(&sandbox, 0));
    home.write("standby.toml", &format!("{BASE}{TABLES}{}", tenant(&sandbox, 0)));
    let wall = Wall::new(&home);
    let daemon = wall.start(&home, &http, "UTC");
    let standby = wall.spawn(&home, "standby.toml", "UTC");
    until("one stands by", PATIENCE, || {
        home.log().contains(&format!("leader is pid {}", daemon.pid())).then_some(())
    });

    let tomorrow = |from, to, key: &str| {
        let mut notice = notice(0, from, to, key);
        notice["send_at"] = json!(now().plus(20 * HOUR_MS).0);
        notice
    };
    let early = submit(&http, &daemon, &tomorrow(300, 400, "tomorrow"));
    let task = json!({ "type": "later", "payload": 1, "delay_ms": HOUR_MS });
    let task = id_of(&http.post(&daemon.at("/v1/tasks"), &task).good());
    assert!(claim(&http, &daemon, "later").is_empty());
    let under_way = submit(&http, &daemon, &notice(0, 0, 300, "under way"));
    shown(&http, &sandbox, 60);

    wall.set(DAY_S);
    for id in [&under_way, &early] {
        let last = done(&http, &daemon, id, PATIENCE);
        assert_eq!(last["counts"]["in_doubt"], 0, "{last}");
    }
    let claimed = claim(&http, &daemon, "later");
    assert_eq!(claimed.iter().map(id_of).collect::<Vec<_>>(), [task], "due in the moved time");
    assert_eq!(role(&http, &daemon), "leader", "the lease does not go by the wall clock");

    let late = submit(&http, &daemon, &notice(0, 400, 700, "late"));
    shown(&http, &sandbox, 460);
    wall.set(0);
    let same = submit(&http, &daemon, &notice(0, 0, 300, "under way"));
    assert_eq!(same, under_way, "the key is still known");
    let back = submit(&http, &daemon, &notice(0, 700, 800, "back"));
    done(&http, &daemon, &back, PATIENCE);

    // What was due at a time that has not come again waits for it, also across a restart.
    daemon.stop(Duration::from_secs(20));
    until("the standby leads", PATIENCE, || home.log().contains("lease.taken").then_some(()));
    standby.kill();
    wall.set(DAY_S);
    let daemon = wall.start(&home, &http, "UTC");
    done(&http, &daemon, &late, PATIENCE);
    let notices: Vec<(&str, std::ops::Range<u32>)> =
        vec![(&under_way, 0..300), (&early, 300..400), (&late, 400..700), (&back, 700..800)];
    each_once(&http, &sandbox, &daemon, 0, &notices);
}

#[test]
fn a_change_of_the_machines_zone_moves_no_schedule() {
    let http = Http::new();
    let schedule = "[[schedules]]\nname = \"morning\"\ncron = \"0 9 * * *\"\n\
                    timezone = \"Asia/Shanghai\"\ntask = { type = \"report\" }\n";
    let home = Home::new("", schedule);
    let wall = Wall::new(&home);
    let mut planned = Vec::new();
    for zone in ["UTC", "America/New_York", "Asia/Tokyo"] {
        let daemon = wall.start(&home, &http, zone);
        let listed = http.get(&daemon.at("/v1/schedules")).good();
        planned.push(listed["items"][0]["next"].clone());
        assert!(planned[0].as_str().unwrap().contains("T01:00:00"), "{listed}");
        daemon.stop(Duration::from_secs(20));
    }
    assert!(planned.windows(2).all(|pair| pair[0] == pair[1]), "{planned:?}");

    // Two days pass while it is off: the schedule catches up as it says, with one run.
    wall.set(2 * DAY_S);
    let daemon = wall.start(&home, &http, "UTC");
    let tasks = until("a run", PATIENCE, || {
        let claimed = claim(&http, &daemon, "report");
        (!claimed.is_empty()).then_some(claimed)
    });
    assert_eq!(tasks.len(), 1);
}
