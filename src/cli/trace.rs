//! Where log lines go: text on a terminal, JSON otherwise. `DUEBOX_LOG` filters, as `info` or
//! `duebox=debug`.

use std::io::{self, IsTerminal};

use tracing_subscriber::EnvFilter;

/// Starts logging to standard error.
pub(super) fn start() {
    let filter = EnvFilter::try_from_env("DUEBOX_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    let logs = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    if io::stderr().is_terminal() {
        logs.with_target(false).init();
    } else {
        logs.json().flatten_event(true).init();
    }
}
