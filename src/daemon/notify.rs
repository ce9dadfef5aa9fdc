//! What the service manager is told (sd_notify(3)) and what it asked for (sd_watchdog_enabled(3)).
//!
//! Without `NOTIFY_SOCKET` in the environment every function here does nothing. A message that
//! cannot be sent is logged and forgotten: the service manager acts on silence by itself. Sending
//! may block for a moment when the service manager does not read; the lease never sends from here.

use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::Duration;

use sd_notify::NotifyState;

/// Longest status line that is sent; the rest is cut.
const STATUS_BYTES: usize = 400;

/// The start is over. A standby is ready too: it does what a standby does.
pub fn ready(status: &str) {
    send(&[NotifyState::Ready, NotifyState::Status(&one_line(status))]);
}

/// One line for people, shown by `systemctl status`.
pub fn status(text: &str) {
    send(&[NotifyState::Status(&one_line(text))]);
}

/// The stop has begun, whoever asked for it.
pub fn stopping(status: &str) {
    send(&[NotifyState::Stopping, NotifyState::Status(&one_line(status))]);
}

/// Feeds the watchdog. To be called only after the writer and the runtime were seen to move.
pub fn watchdog() {
    send(&[NotifyState::Watchdog]);
}

/// Asks that a start or stop under way may take `more`, from now on. To be called again before
/// that is over, and only while there is progress.
pub fn extend_timeout(more: Duration) {
    let micros = u32::try_from(more.as_micros()).unwrap_or(u32::MAX);
    send(&[NotifyState::ExtendTimeoutUsec(micros)]);
}

/// The time after which a silent watchdog kills this process; `None` when nobody watches. Feed it
/// three times as often.
#[must_use]
pub fn watchdog_interval() -> Option<Duration> {
    let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
    // As sd_watchdog_enabled(3) has it: without a process number the request is for whoever reads.
    let for_another =
        number("WATCHDOG_PID").is_some_and(|pid| pid != u64::from(std::process::id()));
    let micros = number("WATCHDOG_USEC").filter(|micros| *micros > 0 && !for_another)?;
    Some(Duration::from_micros(micros))
}

/// A line break in a status would begin another message.
fn one_line(text: &str) -> String {
    let cut = text.floor_char_boundary(STATUS_BYTES);
    text[..cut].chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn send(messages: &[NotifyState<'_>]) {
    let sent = match std::env::var_os("NOTIFY_SOCKET") {
        // sd_notify(3): a name in the abstract namespace, which the crate does not know.
        Some(name) if name.as_bytes().first() == Some(&b'@') => {
            send_abstract(&name.as_bytes()[1..], messages)
        }
        _ => sd_notify::notify(false, messages),
    };
    if let Err(error) = sent {
        tracing::warn!(%error, "the service manager could not be told");
    }
}

fn send_abstract(name: &[u8], messages: &[NotifyState<'_>]) -> io::Result<()> {
    let address = SocketAddr::from_abstract_name(name)?;
    let text: String = messages.iter().map(|message| format!("{message}\n")).collect();
    UnixDatagram::unbound()?.send_to_addr(text.as_bytes(), &address).map(|_| ())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::process::Command;

    use super::*;

    /// Not a test of its own: says everything once, to whom the environment names.
    #[test]
    #[ignore = "started by the test below, with a socket in its environment"]
    fn speaker() {
        status("opening\nREADY=1");
        extend_timeout(Duration::from_secs(60));
        ready("leader");
        watchdog();
        stopping("draining");
    }

    fn speak(variables: &[(&str, &str)]) {
        let done = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "daemon::notify::tests::speaker"])
            .envs(variables.iter().copied())
            .output()
            .unwrap();
        assert!(done.status.success(), "{done:?}");
        assert!(String::from_utf8_lossy(&done.stdout).contains("1 passed"), "{done:?}");
    }

    #[test]
    fn service_manager_hears_every_word_and_nothing_more() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        hears_every_word(&socket, path.to_str().unwrap());
    }

    #[test]
    fn an_abstract_socket_hears_every_word_as_well() {
        let name = format!("duebox-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        hears_every_word(&socket, &format!("@{name}"));
    }

    fn hears_every_word(socket: &UnixDatagram, name: &str) {
        socket.set_nonblocking(true).unwrap();
        speak(&[("NOTIFY_SOCKET", name)]);
        let mut heard = Vec::new();
        let mut message = [0; 1024];
        while let Ok(length) = socket.recv(&mut message) {
            heard.push(String::from_utf8(message[..length].to_vec()).unwrap());
        }
        assert_eq!(
            heard,
            [
                "STATUS=opening READY=1\n",
                "EXTEND_TIMEOUT_USEC=60000000\n",
                "READY=1\nSTATUS=leader\n",
                "WATCHDOG=1\n",
                "STOPPING=1\nSTATUS=draining\n",
            ]
        );
    }

    #[test]
    fn missing_service_manager_is_no_error() {
        speak(&[("NOTIFY_SOCKET", "/nonexistent/socket")]);
    }

    #[test]
    fn long_status_is_cut_between_characters() {
        assert_eq!(one_line(&"通".repeat(300)).len(), 399);
    }
}
