//! Whoever reads the log, or does not, has no say in what the daemon does.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt as _;
use std::process::{ChildStderr, Command, Stdio};

use rustix::process::Signal;
use serde_json::{Value as Json, json};

use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::Home;
use crate::binary::support::http::Http;
use crate::binary::support::{PATIENCE, until};

fn spawn_logging_to(home: &Home, http: &Http, log: impl Into<Stdio>) -> Daemon {
    let _ = fs::remove_file(home.data().join("admin.addr"));
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--config"]).arg(home.config()).stdin(Stdio::null());
    let child = command.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let mut daemon = Daemon { child, url: String::new() };
    daemon.wait_for_address(home);
    daemon.wait_for_role(http, "leader", PATIENCE);
    daemon
}

fn pause(http: &Http, daemon: &Daemon) {
    let answer = http.post(&daemon.at("/v1/queues/a/pause"), &json!({}));
    assert_eq!(answer.status, 200, "{}", answer.text);
}

#[test]
fn a_reader_that_goes_away_ends_nothing() {
    let (http, home) = (Http::new(), Home::new("", "[queues.a]\n"));
    let mut daemon = spawn_logging_to(&home, &http, Stdio::piped());
    let reader: ChildStderr = daemon.child.stderr.take().unwrap();
    let mut first = String::new();
    BufReader::new(reader).read_line(&mut first).unwrap();
    let line: Json = serde_json::from_str(&first).unwrap();
    assert!(line["message"].as_str().is_some_and(|words| !words.is_empty()), "{first}");
    for _ in 0..5 {
        pause(&http, &daemon);
    }
    // The log is written beside the work, and a scrape may be a second old.
    until("lost lines are counted", PATIENCE, || {
        daemon.metric(&http, "duebox_log_lines_lost_total").filter(|lines| *lines > 0.0)
    });
    daemon.stop(PATIENCE);
}

#[test]
fn a_pipe_that_nobody_reads_holds_nothing_up() {
    let (http, home) = (Http::new(), Home::new("", "[queues.a]\n"));
    let (_unread, log) = std::io::pipe().unwrap();
    let daemon = spawn_logging_to(&home, &http, OwnedFd::from(log));
    // Some 200 bytes each: ten times of what the pipe holds.
    for _ in 0..3000 {
        pause(&http, &daemon);
    }
    daemon.stop(PATIENCE);
}

#[test]
fn a_full_device_ends_nothing() {
    let (http, home) = (Http::new(), Home::new("", "[queues.a]\n"));
    let full = fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let daemon = spawn_logging_to(&home, &http, full);
    pause(&http, &daemon);
    daemon.stop(PATIENCE);
}

#[test]
fn a_hangup_stops_nothing_and_is_ignored_by_who_was_told_so() {
    let (http, home) = (Http::new(), Home::new("", "[queues.a]\n"));
    // Whoever runs the tests may itself have been told to ignore it.
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", PROGRAM, "serve", "--config"]).arg(home.config());
    let mut daemon = Daemon::spawn_command(&home, &mut command);
    daemon.wait_for_address(&home);
    daemon.wait_for_role(&http, "leader", PATIENCE);
    daemon.signal(Signal::HUP);
    until("it is told", PATIENCE, || home.log().contains("signal.hangup").then_some(()));
    pause(&http, &daemon);
    daemon.stop(PATIENCE);

    let _ = fs::remove_file(home.data().join("admin.addr"));
    let mut command = Command::new("nohup");
    command.arg(PROGRAM).args(["serve", "--config"]).arg(home.config()).process_group(0);
    let mut daemon = Daemon::spawn_command(&home, &mut command);
    daemon.wait_for_address(&home);
    daemon.wait_for_role(&http, "leader", PATIENCE);
    daemon.signal(Signal::HUP);
    pause(&http, &daemon);
    assert_eq!(home.log().matches("signal.hangup").count(), 1);
    daemon.stop(PATIENCE);
}
