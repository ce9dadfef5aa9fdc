//! What a service manager hears.

use std::os::unix::net::UnixDatagram;
use std::process::Command;
use std::time::Duration;

use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::Home;
use crate::binary::support::http::Http;
use crate::binary::support::{PATIENCE, until};

/// Listens like a service manager.
struct Manager(UnixDatagram);

impl Manager {
    /// Waits for a message with this line and gives all lines until then.
    fn hears(&self, wanted: &str) -> Vec<String> {
        let mut heard = Vec::new();
        until(&format!("the service manager hears {wanted}"), PATIENCE, || {
            let mut message = [0; 4096];
            let length = self.0.recv(&mut message).ok()?;
            let text = String::from_utf8(message[..length].to_vec()).unwrap();
            heard.extend(text.lines().map(str::to_owned));
            heard.iter().any(|line| line.starts_with(wanted)).then_some(())
        });
        heard
    }
}

#[test]
fn service_manager_hears_of_start_life_and_stop() {
    let http = Http::new();
    let home = Home::new("", "");
    let path = home.path("notify");
    let manager = Manager(UnixDatagram::bind(&path).unwrap());
    manager.0.set_read_timeout(Some(Duration::from_millis(200))).unwrap();
    // The watchdog is meant for one process, whose number is known only once it runs.
    let mut command = Command::new("sh");
    command.args(["-c", "WATCHDOG_PID=$$ exec \"$@\"", "sh", PROGRAM, "serve", "--config"]);
    command.arg(home.config()).env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "2000000");
    let mut daemon = Daemon::spawn_command(&home, &mut command);
    let first = manager.hears("READY=1");
    assert!(!first.iter().any(|line| line.starts_with("STOPPING")), "{first:?}");
    daemon.wait_for_address(&home);
    assert_eq!(http.get(&daemon.at("/readyz")).status, 200, "ready means ready");
    let status = first.iter().filter(|line| line.starts_with("STATUS="));
    assert!(status.clone().any(|line| line.contains("leader, term 1")), "{first:?}");
    for _ in 0..3 {
        manager.hears("WATCHDOG=1");
    }
    daemon.signal(rustix::process::Signal::TERM);
    manager.hears("STOPPING=1");
    assert_eq!(daemon.wait(PATIENCE).code(), Some(0));
}
