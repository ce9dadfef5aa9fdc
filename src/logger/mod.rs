//! The daemon's own log lines: best effort, and never in the way.
//!
//! A line is formatted where something happens and put into a bounded queue; one thread writes it
//! to standard error. Whatever becomes of that - a reader that went away, a full disk, a pipe that
//! nobody reads - only lines are lost, and they are counted: [`lost_lines`], and one line about it
//! when lines are written again.
//!
//! Text on a terminal, JSON otherwise. Under systemd each line begins with its syslog priority, so
//! that `journalctl -p warning` finds what needs a person. `DUEBOX_LOG` filters, as `info` or
//! `duebox=debug`. The names of all events are in [`events`].

pub mod events;
mod format;
mod queue;

use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tracing_subscriber::EnvFilter;

use self::format::{Format, Style};
use self::queue::Queue;

/// How long the end of the process waits for the last lines.
pub const LAST_LINES: Duration = Duration::from_secs(1);

/// The same for a process that must not live any longer.
const LAST_MOMENT: Duration = Duration::from_millis(100);

static QUEUE: OnceLock<(Arc<Queue>, Style)> = OnceLock::new();

/// Starts logging to standard error. Once in a process; a second call changes nothing.
pub fn start() {
    let wanted = std::env::var("DUEBOX_LOG").ok();
    let filter = wanted.as_deref().map(EnvFilter::try_new);
    let (filter, wrong) = match filter {
        Some(Ok(filter)) => (filter, None),
        Some(Err(error)) => (EnvFilter::new("info"), Some(error.to_string())),
        None => (EnvFilter::new("info"), None),
    };
    let Ok(queue) = Queue::start(queue::StandardError) else { return };
    let style = Style { text: io::stderr().is_terminal(), priority: is_the_journal() };
    if QUEUE.set((queue.clone(), style)).is_err() {
        return;
    }
    let logs = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .event_format(Format(style))
        .with_writer(move || Line(queue.clone()));
    let _ = logs.try_init();
    if let Some(error) = wrong {
        tracing::warn!(event = "log.filter_wrong", error, "DUEBOX_LOG is not understood");
    }
}

/// Log lines that were lost since the process began.
#[must_use]
pub fn lost_lines() -> u64 {
    QUEUE.get().map_or(0, |(queue, _)| queue.lost())
}

/// Writes a line as it is, behind the log lines before it. False when no log was started: then it
/// is the caller's to write.
pub fn say(line: &str) -> bool {
    let Some((queue, style)) = QUEUE.get() else { return false };
    let priority = if style.priority { "<3>" } else { "" };
    queue.push(format!("{priority}{line}\n").as_bytes());
    true
}

/// Waits until all lines are written, at most this long. For the end of the process.
pub fn settle(patience: Duration) {
    if let Some((queue, _)) = QUEUE.get() {
        queue.settle(patience);
    }
}

/// Ends the process at once, but for the lines that wait to be written: for these a moment.
pub fn exit(code: i32) -> ! {
    settle(LAST_MOMENT);
    std::process::exit(code)
}

/// Whether standard error is the journal's: it says which file it gave us (systemd.exec(5)).
fn is_the_journal() -> bool {
    let Ok(told) = std::env::var("JOURNAL_STREAM") else { return false };
    let Some((device, inode)) = told.split_once(':') else { return false };
    let Ok(ours) = rustix::fs::fstat(io::stderr()) else { return false };
    device.parse() == Ok(ours.st_dev) && inode.parse() == Ok(ours.st_ino)
}

/// Takes one formatted line.
struct Line(Arc<Queue>);

impl Write for Line {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.0.push(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
