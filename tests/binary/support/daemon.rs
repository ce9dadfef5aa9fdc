//! The daemon as a process.

use std::fs::{self, OpenOptions};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value as Json;

use super::home::Home;
use super::http::Http;
use super::{PATIENCE, until};

/// The program under test.
pub(crate) const PROGRAM: &str = env!("CARGO_BIN_EXE_duebox");

/// How a daemon ends that refuses a damaged or incomplete data directory.
const REFUSED: i32 = 4;

/// A running daemon; dropping it kills it.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) url: String,
}

impl Daemon {
    /// Starts the process and does not wait for anything.
    pub(crate) fn spawn(home: &Home, args: &[&str]) -> Self {
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config"]).arg(home.config()).args(args);
        Self::spawn_command(home, &mut command)
    }

    /// The same with another configuration of the same home.
    pub(crate) fn spawn_with(home: &Home, config: &str) -> Self {
        let mut command = Command::new(PROGRAM);
        Self::spawn_command(home, command.args(["serve", "--config"]).arg(home.path(config)))
    }

    /// Starts a command that becomes the daemon; it logs to the home's log.
    pub(crate) fn spawn_command(home: &Home, command: &mut Command) -> Self {
        let log = OpenOptions::new().create(true).append(true).open(home.path("daemon.log"));
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log.unwrap())
            .spawn()
            .unwrap();
        Self { child, url: String::new() }
    }

    /// Starts a daemon and waits until it is ready.
    pub(crate) fn start(home: &Home, http: &Http) -> Self {
        Self::start_as(home, http, &[], "leader")
    }

    /// Starts a daemon and waits until it has a role.
    pub(crate) fn start_as(home: &Home, http: &Http, args: &[&str], role: &str) -> Self {
        let _ = fs::remove_file(home.data().join("admin.addr"));
        let mut daemon = Self::spawn(home, args);
        daemon.wait_for_address(home);
        daemon.wait_for_role(http, role, PATIENCE);
        daemon
    }

    /// Starts a daemon that may refuse its data directory: then what it said. It leads or is held.
    pub(crate) fn start_or_refusal(
        home: &Home,
        http: &Http,
        args: &[&str],
    ) -> Result<Self, String> {
        let _ = fs::remove_file(home.data().join("admin.addr"));
        let logged = home.log().len();
        let mut daemon = Self::spawn(home, args);
        let ended = until("the daemon comes up or ends", PATIENCE, || {
            let up = home.data().join("admin.addr").exists().then_some(None);
            up.or_else(|| daemon.child.try_wait().unwrap().map(Some))
        });
        if let Some(status) = ended {
            let said = home.log().split_off(logged);
            assert_eq!(status.code(), Some(REFUSED), "{said}");
            return Err(said);
        }
        daemon.wait_for_address(home);
        until("the daemon leads or is held", PATIENCE, || {
            let role = http.try_get(&daemon.at("/readyz"))?.json()["role"].clone();
            (role == "leader" || role == "held").then_some(())
        });
        Ok(daemon)
    }

    /// Reads where it listens, once it says so.
    pub(crate) fn wait_for_address(&mut self, home: &Home) {
        self.url = until("the daemon comes up", PATIENCE, || {
            let ended = self.child.try_wait().unwrap();
            assert!(ended.is_none(), "{ended:?}\n{}", home.log());
            let address = fs::read_to_string(home.data().join("admin.addr")).ok()?;
            Some(format!("http://{address}"))
        });
    }

    /// Waits until `/readyz` names this role; gives its document.
    pub(crate) fn wait_for_role(&self, http: &Http, role: &str, within: Duration) -> Json {
        until(&format!("the daemon is {role}"), within, || {
            let answer = http.try_get(&self.at("/readyz"))?;
            let document = answer.json();
            assert_eq!(answer.status == 200, document["ready"] == true, "{document}");
            (document["role"] == role).then_some(document)
        })
    }

    /// A number of `/metrics`.
    pub(crate) fn metric(&self, http: &Http, name: &str) -> Option<f64> {
        let text = http.get(&self.at("/metrics")).text;
        let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        line.and_then(|number| number.parse().ok())
    }

    pub(crate) fn at(&self, path: &str) -> String {
        format!("{}{path}", self.url)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_raw(i32::try_from(self.child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for the end.
    pub(crate) fn wait(&mut self, within: Duration) -> ExitStatus {
        until("the daemon ends", within, || self.child.try_wait().unwrap())
    }

    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// SIGTERM, and a clean end.
    pub(crate) fn stop(mut self, within: Duration) {
        self.signal(Signal::TERM);
        let status = self.wait(within);
        assert_eq!(status.code(), Some(0));
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
