//! Leading: from the open store to the clean stop.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use super::callbacks::Gates;
use super::duties::{self, CLOSE_WITHIN, Images, Liveness};
use super::opening::NotOpened;
use super::phase::{Phase, Phases};
use super::signals::StopAsked;
use super::state::State;
use super::tokens::{Kept, Tokens};
use super::work::{Tools, Workers};
use super::{ADDRESS_FILE, Ended, actions, attention, notify, opening, panics};
use crate::admin::{self, Serves};
use crate::config::Config;
use crate::data_dir::identity::InstanceId;
use crate::data_dir::journal::JournalWriter;
use crate::data_dir::mark;
use crate::data_dir::startup::{self, How, Opened};
use crate::engine::command::Command;
use crate::engine::query::Query;
use crate::engine::view::Waiting;
use crate::engine::{Engine, Identity, Mode};
use crate::kv::sled::SledKv;
use crate::kv::{Fault, Kv, Write};
use crate::lease::{self, Holder, Lease};
use crate::mailbox::{Journal, Pulse, Writer};
use crate::store::schema::{self, Tree};
use crate::store::{Store, keys};
use crate::time::{Clock, SystemClock};

/// Tenants whose quota is used up and of whom the day's watch has not heard yet.
const USED_UP: usize = 64;
/// How long a stop waits, beyond the drain, for cut-off work to be recorded.
const SETTLE_WITHIN: Duration = Duration::from_secs(5);
/// The writer and the runtime count as alive when they moved within this.
const ALIVE_WITHIN: Duration = Duration::from_secs(5);
/// How much longer the service manager shall wait for a stop that makes progress.
const EXTEND: Duration = Duration::from_secs(60);

impl Journal for JournalWriter {
    fn append(&mut self, number: u64, writes: &[Write]) -> Result<(), Fault> {
        JournalWriter::append(self, number, writes)
    }
}

/// Opens the store and works until asked to stop.
pub(super) async fn lead(
    config: Arc<Config>,
    adopt: bool,
    stop: StopAsked,
    state: Arc<State>,
    holder: Holder,
) -> Ended {
    let opened = loop {
        let opening = tokio::select! {
            opening = opening::open(&config, adopt) => opening,
            () = stop.asked() => {
                notify::stopping("giving up the opening of the store");
                // It goes on until the process ends, in a moment; the lock must last as long. The
                // next start does what this one leaves undone, as after a crash.
                std::mem::forget(holder);
                return Ended::Stopped;
            }
        };
        match opening {
            Ok(opened) => break opened,
            Err(NotOpened::NoRoom { needed }) => {
                if !duties::wait_for_space(&config.data_dir, needed, &stop).await {
                    return Ended::Stopped;
                }
            }
            Err(NotOpened::Ended(ended)) => return ended,
        }
    };
    panics::forget_the_base();
    if stop.is_asked() {
        return Ended::Stopped;
    }
    match Leading::start(config, stop, state, holder, opened).await {
        Ok(leading) => leading.run().await,
        Err(ended) => ended,
    }
}

/// A leading daemon.
struct Leading {
    config: Arc<Config>,
    stop: StopAsked,
    state: Arc<State>,
    lease: Lease,
    writer: Writer,
    kv: Arc<SledKv>,
    ends: Ends,
}

/// What a stop takes hold of.
struct Ends {
    marks: tokio::task::JoinHandle<()>,
    /// The admin port, that of the old paths, that of WeChat's calls.
    ports: tokio::task::JoinSet<()>,
    stop_admin: watch::Sender<()>,
}

/// What waits in a held directory, for people.
fn in_words(waiting: &Waiting) -> String {
    let at = waiting.last_commit_at.map_or("an unknown time".to_owned(), |at| at.0.to_string());
    let Waiting { deliveries, notices, tasks, .. } = waiting;
    format!(
        "{deliveries} deliveries of {notices} notices and {tasks} tasks wait in it, its last \
         commit is of {at}"
    )
}

/// What a start has before the outside is asked for anything.
struct Begun {
    engine: Engine<SledKv>,
    journal: JournalWriter,
    kv: Arc<SledKv>,
    instance: InstanceId,
    term: u64,
    tokens: Arc<Tokens>,
    image_wanted: bool,
    /// Why nothing may be sent or handed out, if so.
    held: Option<String>,
}

/// The engine over an open store, in the next term.
fn begin(config: &Config, holder: &mut Holder, opened: Opened) -> Result<Begun, Ended> {
    let Opened { kv, mut journal, next_seq, instance, held, how, image_wanted } = opened;
    if how == How::Fresh {
        tracing::warn!(
            event = "store.new", data_dir = %config.data_dir.display(),
            "there was no store here: this one begins empty. If there should be one, stop and \
             look whether data_dir is right"
        );
    }
    tracing::info!(event = "store.open", %how, commit = next_seq - 1, %instance);
    journal.rotate_at(config.storage.journal_file_bytes);
    let kv = Arc::new(kv);
    let stored = kv.get(Tree::Meta.number(), schema::TERM).map_err(fault)?;
    let stored = stored.and_then(|bytes| keys::read_id(&bytes)).map_or(0, |id| id.0);
    holder.set_instance(&instance.to_string());
    let term = holder.settle_term(stored).map_err(fault)?;
    let mode = if held.is_some() { Mode::Held } else { Mode::Working };
    let identity = Identity { term, worker: lease::worker_name() };
    let store = Store::new(kv.clone(), next_seq - 1);
    let mut engine = Engine::open(store, config.rules.clone(), identity, mode, SystemClock.now())
        .map_err(fault)?;
    let held = match held {
        Some(why) => {
            let waiting = in_words(&engine.pending().map_err(fault)?);
            Some(format!("held: {why}; {waiting}; release it with POST /v1/release"))
        }
        None => None,
    };
    let tokens = Arc::new(Tokens::load(&config.data_dir));
    // Stores of earlier versions held them; from here on they do not.
    for (tenant, token) in engine.take_tokens().map_err(fault)? {
        let Some(account) = config.tenants.get(&tenant) else { continue };
        let (appid, value) = (account.appid.clone(), token.value);
        tokens.keep(&tenant, Kept { appid, value, expires_at: token.expires_at });
    }
    Ok(Begun { engine, journal, kv, instance, term, tokens, image_wanted, held })
}

/// The sockets of a daemon.
struct Listening {
    admin: TcpListener,
    /// The port of the old paths alone.
    old: Option<TcpListener>,
    /// The port of WeChat's own calls alone.
    callbacks: Option<TcpListener>,
    /// Of the admin port.
    address: SocketAddr,
}

async fn listen(config: &Config) -> Result<Listening, Ended> {
    let admin = bind("admin.listen", config.admin.listen).await?;
    let old = match &config.legacy {
        Some(legacy) => Some(bind("legacy.listen", legacy.listen).await?),
        None => None,
    };
    let callbacks = match &config.callback {
        Some(callback) => Some(bind("callback.listen", callback.listen).await?),
        None => None,
    };
    let address = admin.local_addr().map_err(fault)?;
    write_address(&config.data_dir, &address.to_string()).map_err(fault)?;
    Ok(Listening { admin, old, callbacks, address })
}

/// Serves the ports until the sender is told, or left behind.
fn serve(
    config: &Config,
    listening: Listening,
    ports: &admin::Ports,
) -> Result<(tokio::task::JoinSet<()>, watch::Sender<()>), Ended> {
    let (stop_admin, admin_stopped) = watch::channel(());
    let mut served = tokio::task::JoinSet::new();
    let mut open = |listener: TcpListener, settings| {
        let mut stopped = admin_stopped.clone();
        served.spawn(admin::serve(listener, ports.clone(), settings, async move {
            // Told, or left behind: both are the end.
            let _ = stopped.changed().await;
        }));
    };
    let settings = super::admin_settings(config);
    if let (Some(listener), Some(legacy)) = (listening.old, &config.legacy) {
        let address = listener.local_addr().map_err(fault)?;
        tracing::info!(event = "legacy.ready", %address, "the old paths are served there");
        let serves = Serves::OldPaths(Arc::from(legacy.allow.as_slice()));
        open(listener, admin::Settings { serves, token: None, ..settings.clone() });
    }
    if let Some(listener) = listening.callbacks {
        let address = listener.local_addr().map_err(fault)?;
        tracing::info!(event = "callback.ready", %address, "WeChat's own calls are taken there");
        let serves = Serves::Callbacks;
        open(listener, admin::Settings { serves, token: None, ..settings.clone() });
    }
    open(listening.admin, settings);
    Ok((served, stop_admin))
}

fn fault(error: impl std::fmt::Display) -> Ended {
    Ended::Fault(error.to_string())
}

impl Leading {
    async fn start(
        config: Arc<Config>,
        stop: StopAsked,
        state: Arc<State>,
        mut holder: Holder,
        opened: Opened,
    ) -> Result<Self, Ended> {
        let begun = begin(&config, &mut holder, opened)?;
        let Begun { engine, journal, kv, instance, term, tokens, image_wanted, held } = begun;
        // First all that may fail for the outside's sake: the writer claims what is due as soon as
        // it runs, and what it claimed without anybody to work it would be in doubt.
        let listening = listen(&config).await?;
        let address = listening.address;
        let pulse = Arc::new(Pulse::default());
        // Known before the first thing is taken: a tick that is due at the start comes at once.
        duties::look_at_disk(&config.data_dir, config.storage.min_free_bytes, &pulse);
        let alive = Liveness::start(pulse.clone(), state.phases());
        let lease = holder.start(move || alive.is_alive(ALIVE_WITHIN), |why| lease::leave(why));
        let lease = lease.map_err(fault)?;
        // A process that slept past its lease may find itself with much that is due.
        let (stands, may_send) = (lease.clone(), lease.clone());
        let leads = move || stands.may_send(0);
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let mut writer =
            Writer::start(engine, journal, clock.clone(), pulse, leads).map_err(fault)?;
        // The term is durable before anything is done in its name.
        if writer.mailbox.call(Command::Query(Query::Stats)).await.is_err() {
            // It has ended, and knows why.
            let data_dir = config.data_dir.clone();
            let result = tokio::task::spawn_blocking(move || writer.stop()).await;
            return Err(failed(&data_dir, result));
        }
        let (phase, mailbox) = (state.phases(), writer.mailbox.clone());
        let may_send = Arc::new(move |needs_ms| may_send.may_send(needs_ms));
        let tools = Tools { mailbox: mailbox.clone(), clock, phase: phase.clone(), may_send };
        let (tell_used_up, used_up) = mpsc::channel(USED_UP);
        let workers = Workers::new(&config, &tools, &tokens, tell_used_up).map_err(Ended::Usage)?;
        let accounts = workers.accounts(&config);
        panics::spawn_vital(accounts.clone().watch(phase.clone(), used_up));
        panics::spawn_vital(workers.dispatch(writer.take_effects(), phase.clone()));
        let duties = Duties { instance, image_wanted, phase: &phase, state: &state };
        let (images, marks) = duties.start(&config, &writer, &kv);
        lease.set_admin(address.to_string());
        state.tell(serde_json::json!({
            "address": address.to_string(), "term": term, "instance": instance.to_string(),
        }));
        if let Some(reason) = &held {
            tracing::warn!(event = "daemon.held", "{reason}");
        }
        state.enter(if held.is_some() { Phase::Held } else { Phase::Working }, held);
        let (state_too, data_dir) = (state.clone(), config.data_dir.clone());
        let actions = actions::Actions {
            images,
            mailbox: mailbox.clone(),
            state: state_too,
            data_dir,
            accounts,
        };
        let (status, actions) = (state.clone(), Arc::new(actions));
        let callbacks = Arc::new(Gates::new(&config, Arc::new(SystemClock)));
        let ports = admin::Ports { mailbox: Some(mailbox), status, actions, callbacks };
        let (ports, stop_admin) = serve(&config, listening, &ports)?;
        tracing::info!(event = "daemon.ready", %address, term, "listening on {address}");
        notify::ready(&format!("leader, term {term}, listening on {address}"));
        let ends = Ends { marks, ports, stop_admin };
        Ok(Self { config, stop, state, lease, writer, kv, ends })
    }

    async fn run(mut self) -> Ended {
        tokio::select! {
            () = self.stop.asked() => self.stop_cleanly().await,
            () = self.writer.ended() => {
                let data_dir = self.config.data_dir.clone();
                let result = tokio::task::spawn_blocking(move || self.writer.stop()).await;
                failed(&data_dir, result)
            }
        }
    }

    async fn stop_cleanly(self) -> Ended {
        let drain = Duration::from_millis(self.config.drain_ms);
        tracing::info!(event = "daemon.stopping", drain_ms = self.config.drain_ms);
        notify::stopping("finishing what is under way");
        notify::extend_timeout(drain + SETTLE_WITHIN + EXTEND);
        let state = &self.state;
        state.enter(Phase::Draining, Some("the daemon is stopping".to_owned()));
        self.lease.set_draining();
        // From here on the engine claims nothing.
        let _ = self.writer.mailbox.call(Command::Drain).await;
        let Ends { marks, mut ports, stop_admin } = self.ends;
        if tokio::time::timeout(drain, state.all_gone()).await.is_err() {
            tracing::warn!(event = "daemon.cut", "recording what is still on the wire as in doubt");
            state.go_on_to(Phase::Cut);
            let _ = tokio::time::timeout(SETTLE_WITHIN, state.all_gone()).await;
        }
        drop(stop_admin);
        let all = async { while ports.join_next().await.is_some() {} };
        if tokio::time::timeout(Duration::from_secs(2), all).await.is_err() {
            ports.shutdown().await;
        }
        // The last mark is written by the closing: two writers of one file would disturb each other.
        state.go_on_to(Phase::Cut);
        let _ = tokio::time::timeout(SETTLE_WITHIN, marks).await;
        state.go_on_to(Phase::Closing);
        self.lease.close_within(CLOSE_WITHIN);
        let (writer, kv, config, lease) = (self.writer, self.kv, self.config, self.lease);
        let closing = config.clone();
        let closed = tokio::task::spawn_blocking(move || close(writer, kv, &closing));
        let closed = opening::closing(closed, CLOSE_WITHIN).await;
        let commit = match closed {
            Ok(Ok(commit)) => commit,
            Ok(Err(error)) => return failed(&config.data_dir, Ok(Err(error))),
            Err(error) => return failed(&config.data_dir, Err(error)),
        };
        if let Err(error) = lease.release(commit) {
            tracing::warn!(event = "lease.release_failed", %error);
        }
        tracing::info!(event = "daemon.stopped", commit);
        Ended::Stopped
    }
}

/// How long whoever else has the base may take to let go of it.
const OTHERS_LET_GO: Duration = Duration::from_secs(30);

/// Ends the writer and closes the base, so that the next start finds everything in place. Returns
/// the last commit.
fn close(writer: Writer, kv: Arc<SledKv>, config: &Config) -> Result<u64, Fault> {
    let pulse = writer.mailbox.pulse().clone();
    writer.stop()?;
    let commit = pulse.commit.load(std::sync::atomic::Ordering::Acquire);
    let written = pulse.applied_bytes.load(std::sync::atomic::Ordering::Acquire);
    // Others let go of the base when they saw the stop; an image under way takes a moment longer.
    let closed = kv.when_closed();
    drop(kv);
    if !closed.wait(OTHERS_LET_GO) {
        // Not a clean close then: the next start recovers, which loses nothing.
        return Ok(commit);
    }
    startup::settle_store(&config.data_dir, config.storage.cache_bytes, written)?;
    startup::close_clean(&config.data_dir, commit)?;
    Ok(commit)
}

/// How a failed writer ends the process. Damage is remembered, so that the next start rebuilds.
fn failed(data_dir: &Path, result: Result<Result<(), Fault>, tokio::task::JoinError>) -> Ended {
    let words = match &result {
        Ok(Ok(())) => "the writer ended by itself".to_owned(),
        Ok(Err(fault)) => fault.to_string(),
        Err(panic) => format!("a broken invariant: {panic}"),
    };
    let damaged = matches!(&result, Ok(Err(fault)) if fault.is_damage()) || panics::in_the_base();
    if damaged && let Err(error) = mark::mark_suspect(data_dir, &words) {
        tracing::error!(event = "store.not_marked", %error);
    }
    Ended::Fault(words)
}

/// What runs beside the work.
struct Duties<'a> {
    instance: InstanceId,
    image_wanted: bool,
    phase: &'a Phases,
    state: &'a Arc<State>,
}

impl Duties<'_> {
    /// Starts all of it; gives where images are asked for, and the keeper of the mark.
    fn start(
        self,
        config: &Config,
        writer: &Writer,
        kv: &Arc<SledKv>,
    ) -> (mpsc::Sender<duties::ImageRequest>, tokio::task::JoinHandle<()>) {
        let Self { instance, image_wanted, phase, state } = self;
        let pulse = writer.mailbox.pulse();
        let (images, requests) = mpsc::channel(4);
        let maker = Images {
            data_dir: config.data_dir.clone(),
            kv: kv.clone(),
            instance,
            every: Duration::from_millis(config.storage.image_every_ms),
            copy_ms: config.storage.copy_ms,
            min_free: config.storage.min_free_bytes,
            wanted: image_wanted,
            requests,
            mailbox: writer.mailbox.clone(),
            phase: phase.clone(),
            state: state.clone(),
        };
        panics::spawn_vital(maker.run());
        panics::spawn_vital(duties::watch_base(config.data_dir.clone()));
        panics::spawn_vital(duties::feed_watchdog(Liveness::start(pulse.clone(), phase.clone())));
        let marks = panics::spawn_vital(duties::keep_mark(
            config.data_dir.clone(),
            instance,
            pulse.clone(),
            phase.clone(),
        ));
        panics::spawn_vital(duties::watch_disk(
            config.data_dir.clone(),
            config.storage.min_free_bytes,
            pulse.clone(),
            state.clone(),
            phase.clone(),
        ));
        panics::spawn_vital(attention::watch(
            config.data_dir.clone(),
            writer.mailbox.clone(),
            state.clone(),
            phase.clone(),
        ));
        (images, marks)
    }
}

/// A port that is taken, or an address that the machine does not have yet, may be there at the next
/// start: the service manager shall try again.
async fn bind(key: &str, listen: SocketAddr) -> Result<TcpListener, Ended> {
    TcpListener::bind(listen)
        .await
        .map_err(|error| Ended::Fault(format!("{key}: {listen} cannot be listened on: {error}")))
}

fn write_address(data_dir: &Path, address: &str) -> std::io::Result<()> {
    let path = data_dir.join(ADDRESS_FILE);
    let part = data_dir.join(format!("{ADDRESS_FILE}.part"));
    std::fs::write(&part, address)?;
    std::fs::rename(part, path)
}
