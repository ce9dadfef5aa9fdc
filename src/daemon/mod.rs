//! The daemon: assembly, start and stop.
//!
//! Start: lease, store (opened, replayed or rebuilt), engine, writer, workers, admin port, ready.
//! Stop, in phases (see [`phase`]): no new claims; what is not on the wire goes back; what is on the
//! wire gets until the deadline, then it is recorded as in doubt; the writer ends and the base holds
//! everything; a clean mark; the lease is released.

mod accounts;
mod actions;
mod attention;
mod audiences;
mod board;
mod callbacks;
mod checks;
mod duties;
mod files;
mod lead;
pub mod notify;
mod opening;
mod panics;
pub mod phase;
mod pulls;
mod pushers;
mod senders;
pub mod signals;
mod standby;
pub mod state;
mod tokens;
mod work;

use std::sync::Arc;

use self::signals::StopAsked;
use self::state::State;
use crate::admin;
use crate::config::Config;

/// How the daemon ended.
#[derive(Debug)]
pub enum Ended {
    /// It was asked to stop and did so cleanly.
    Stopped,
    /// The data directory was refused; what to do about it.
    Refused {
        /// Why.
        reason: String,
        /// What to do.
        hint: String,
        /// Whether starting again could help.
        again: bool,
    },
    /// The configuration cannot work.
    Usage(String),
    /// Broken storage or a broken invariant.
    Fault(String),
}

/// The admin address of a running daemon is in this file of the data directory.
pub const ADDRESS_FILE: &str = "admin.addr";

/// Whether [`run`] could build its workers from this configuration. Opens nothing.
///
/// # Errors
/// What is wrong with it, headed by the key's full name.
pub fn check(config: &Config) -> Result<(), String> {
    work::check(config)
}

/// Runs the daemon until it is asked to stop or fails. Blocks.
///
/// `adopt` says that a copied data directory shall work.
#[must_use]
pub fn run(config: Config, adopt: bool) -> Ended {
    panics::watch();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(workers())
        .thread_name("worker")
        .enable_all()
        .build();
    match runtime {
        Ok(runtime) => {
            let ended = runtime.block_on(async {
                match signals::install() {
                    Ok(stop) => serve(Arc::new(config), adopt, stop).await,
                    Err(error) => Ended::Fault(format!("no signal handler: {error}")),
                }
            });
            runtime.shutdown_background();
            ended
        }
        Err(error) => Ended::Fault(format!("no runtime: {error}")),
    }
}

fn workers() -> usize {
    std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 8)
}

async fn serve(config: Arc<Config>, adopt: bool, stop: StopAsked) -> Ended {
    files::raise_limit(&config);
    let state = Arc::new(State::new());
    if !duties::wait_for_space(&config.data_dir, duties::START_FREE_BYTES, &stop).await {
        return Ended::Stopped;
    }
    match standby::wait_for_lease(&config, &state, &stop).await {
        Ok(Some(holder)) => lead::lead(config, adopt, stop, state, holder).await,
        Ok(None) => Ended::Stopped,
        Err(ended) => ended,
    }
}

/// How the admin port behaves with this configuration.
fn admin_settings(config: &Config) -> admin::Settings {
    let token = config.admin.token.as_ref().map(|token| {
        let token = token.expose();
        let token = match config.admin.token_path.clone() {
            Some(path) => {
                let from = path.clone();
                let read = Box::new(move || crate::config::read_token(&from));
                admin::AdminToken::of_file(token, path, read)
            }
            None => admin::AdminToken::fixed(token),
        };
        Arc::new(token)
    });
    admin::Settings {
        token,
        allowed_hosts: config.admin.hosts.clone(),
        max_connections: config.admin.max_connections,
        ..admin::Settings::default()
    }
}
