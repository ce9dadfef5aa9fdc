//! Waiting for the lease: a standby watches the leader, says what it sees, and takes over when the
//! leader's process is gone.

use std::sync::Arc;
use std::time::Duration;

use super::phase::Phase;
use super::signals::StopAsked;
use super::state::State;
use super::{Ended, admin_settings, notify};
use crate::admin;
use crate::config::Config;
use crate::lease::{Holder, Options, Trouble, Watch};
use crate::limits::LEASE_TTL_MS;
use crate::model::rules::Deliver;
use crate::time::SECOND_MS;

/// How often the lock is tried. A file lock cannot be waited for together with a signal and a
/// record; four small reads a second cost nothing and keep a take-over under a second.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// How long a take-over waits for those who ask the standby something at that moment.
const LET_GO: Duration = Duration::from_millis(200);

/// The lease of this configuration. It outlives the longest request twice, since a request begins
/// only while the lease lasts for all of it.
fn options(config: &Config) -> Options {
    let sends = config.rules.tenants.values().map(|rule| rule.send_timeout_ms);
    let pushes = config.rules.queues.values().filter_map(|rule| match &rule.deliver {
        Deliver::Push(push) => Some(push.timeout_ms),
        Deliver::Claim => None,
    });
    let longest = sends.chain(pushes).max().unwrap_or(0);
    let ttl_ms = LEASE_TTL_MS.max(2 * longest + 5 * SECOND_MS);
    Options { ttl_ms, ..Options::new(&config.data_dir) }
}

/// Takes the lease, at once or when its holder is gone. `None` when asked to stop first.
pub(super) async fn wait_for_lease(
    config: &Arc<Config>,
    state: &Arc<State>,
    stop: &StopAsked,
) -> Result<Option<Holder>, Ended> {
    std::fs::create_dir_all(&config.data_dir).map_err(|error| {
        // A volume that is not mounted yet, a full disk: another start may find it well.
        let shown = config.data_dir.display();
        let is_link = std::fs::symlink_metadata(&config.data_dir).is_ok();
        Ended::Fault(if is_link && !config.data_dir.exists() {
            format!("data_dir: {shown} leads nowhere: is its volume mounted?")
        } else {
            format!("data_dir: {shown} cannot be made: {error}")
        })
    })?;
    let mut watch = Watch::new(options(config));
    let refused = |error: crate::lease::LeaseError| Ended::Fault(error.to_string());
    if let Some(holder) = watch.try_acquire().map_err(refused)? {
        return Ok(Some(holder));
    }
    let serving = serve_as_standby(config, state).await;
    let taken = stand_by(&mut watch, state, stop).await;
    if let Some((task, end)) = serving {
        // The port must be free for the leader that this process becomes.
        let _ = end.send(());
        let _ = task.await;
    }
    taken.map_err(refused)
}

async fn stand_by(
    watch: &mut Watch,
    state: &State,
    stop: &StopAsked,
) -> Result<Option<Holder>, crate::lease::LeaseError> {
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let mut said = String::new();
    let mut ready = false;
    loop {
        tokio::select! {
            _ = ticks.tick() => {}
            () = stop.asked() => return Ok(None),
        }
        if let Some(holder) = watch.try_acquire()? {
            tracing::info!(event = "lease.taken", "the leader is gone: taking over");
            state.enter(Phase::Starting, Some("taking over".to_owned()));
            return Ok(Some(holder));
        }
        let seen = watch.poll();
        let hint = match seen.trouble() {
            None | Some(Trouble::Silent { .. } | Trouble::Elsewhere { .. } | Trouble::Unknown) => {
                ""
            }
            Some(Trouble::Stopped { .. }) => "; continue it or kill it",
        };
        let status = format!("standby: {seen}{hint}");
        state.enter(Phase::Standby, Some(status.clone()));
        state.tell(serde_json::json!({ "leader": seen.record }));
        // The silence's length changes at each look; the line is said once per kind of trouble.
        let kind: String = status.chars().filter(|c| !c.is_ascii_digit()).collect();
        if kind != said {
            said = kind;
            tracing::info!(event = "standby.sees", "{status}");
            notify::status(&status);
        }
        if !ready {
            ready = true;
            notify::ready(&status);
        }
        notify::watchdog();
    }
}

type Serving = (tokio::task::JoinHandle<()>, tokio::sync::oneshot::Sender<()>);

/// Answers `/healthz` and `/readyz` where the port is free, which it is on another machine or with
/// another port.
async fn serve_as_standby(config: &Arc<Config>, state: &Arc<State>) -> Option<Serving> {
    let listen = config.admin.listen;
    let listener = tokio::net::TcpListener::bind(listen).await;
    let listener = listener.inspect_err(|error| {
        tracing::info!(
            event = "standby.no_port", %listen, %error,
            "this standby has no admin port while another process has it"
        );
    });
    let listener = listener.ok()?;
    let ports = admin::Ports {
        mailbox: None,
        status: state.clone(),
        actions: Arc::new(admin::NoActions),
        callbacks: Arc::new(admin::NoCallbacks),
    };
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let settings = admin::Settings { drain_timeout: LET_GO, ..admin_settings(config) };
    let task = tokio::spawn(admin::serve(listener, ports, settings, async {
        let _ = ended.await;
    }));
    Some((task, end))
}
