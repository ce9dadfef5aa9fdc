//! The leader's two threads, and the guard that its workers ask.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use super::LeaseError;
use super::deadline::{self, Alarm};
use super::holder::Holder;
use super::record::State;
use super::trust::Trust;

type Alive = Box<dyn Fn() -> bool + Send>;
type Lost = Box<dyn FnOnce(&str) + Send>;

/// Orders that may wait for the renewing thread.
const ORDERS: usize = 8;

enum Order {
    /// Write the record now: something in it changed.
    Publish,
    /// Write it for the last time, unlock, answer and end.
    Release { last_commit: u64, done: SyncSender<Result<(), LeaseError>> },
}

/// The leader's guard: cheap to clone, cheap to ask.
///
/// When the last one is dropped without [`Lease::release`], renewal ends and nothing may be sent,
/// but the lock stays until the process ends: something may still be writing.
#[derive(Clone, Debug)]
pub struct Lease {
    term: u64,
    ttl_ms: u64,
    trust: Arc<Trust>,
    admin: Arc<Mutex<Option<String>>>,
    orders: SyncSender<Order>,
}

impl Lease {
    /// The number that claims, attempts and log entries of this leader carry.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.term
    }

    /// Whether a send that takes at most `needs_ms` may begin now: ask right before handing it to
    /// the network.
    ///
    /// No from two thirds of the time to live without renewal, when less than `needs_ms` of it is
    /// left, while draining, and for ever once the lease was lost or released. Renewal happens
    /// every third, so a healthy leader always has more than half of the time to live.
    #[must_use]
    pub fn may_send(&self, needs_ms: u64) -> bool {
        self.trust.may_send(needs_ms)
    }

    /// Milliseconds until this lease runs out if it is not renewed; 0 when it has.
    #[must_use]
    pub fn left_ms(&self) -> u64 {
        if self.trust.is_over() { 0 } else { self.trust.left_ms() }
    }

    /// Begins the end: no new send may begin from now on. The record says so soon after, and
    /// renewal goes on until [`Lease::release`].
    pub fn set_draining(&self) {
        self.trust.set(State::Draining);
        self.publish();
    }

    /// Nothing is sent any more, and what is left is closing the store: that may take so much longer
    /// than the time to live without a renewal, on the disk that is written meanwhile. Others are
    /// kept out by the lock.
    pub fn close_within(&self, longer: Duration) {
        self.trust.close_within(u64::try_from(longer.as_millis()).unwrap_or(u64::MAX));
        self.publish();
    }

    /// Tells standbys where the admin port is.
    pub fn set_admin(&self, address: impl Into<String>) {
        *self.admin.lock().unwrap_or_else(PoisonError::into_inner) = Some(address.into());
        self.publish();
    }

    /// Gives leadership back: the last act after the store is closed.
    ///
    /// Writes the record as released with the number of the last commit, then unlocks, so that a
    /// standby that gets the lock finds all of it.
    ///
    /// # Errors
    /// The record could not be written (the lock is given back all the same), or the renewing
    /// thread did not answer within the time to live (then the lock goes with the process).
    pub fn release(self, last_commit: u64) -> Result<(), LeaseError> {
        let (done, answer) = sync_channel(1);
        let order = Order::Release { last_commit, done };
        self.orders.try_send(order).map_err(|_| LeaseError::Renewer)?;
        let wait = Duration::from_millis(self.ttl_ms);
        answer.recv_timeout(wait).map_err(|_| LeaseError::Renewer)?
    }

    fn publish(&self) {
        // A full queue is no loss: the write that is queued already reads the newest state.
        let _ = self.orders.try_send(Order::Publish);
    }
}

impl Holder {
    /// Becomes the leader: writes the record as active and starts to renew it.
    ///
    /// `alive` is asked before each renewal, from the renewing thread; it must answer at once, and
    /// say no when the writer or the runtime has not moved lately. `lost` is called at most once,
    /// from a thread of the lease, when the lease has run out or its lock was taken away; it is
    /// expected to end the process from there, as [`super::leave`] does. To pass the news on to
    /// another thread is not enough: that one may hang. No lease of this term allows a send by
    /// then.
    ///
    /// # Errors
    /// The term was not settled, the record could not be written, or the system gave no timer or
    /// thread.
    pub fn start(
        mut self,
        alive: impl Fn() -> bool + Send + 'static,
        lost: impl FnOnce(&str) + Send + 'static,
    ) -> Result<Lease, LeaseError> {
        let began = self.activate()?;
        start(self, began, Box::new(alive), Box::new(lost))
    }
}

/// Starts both threads. The record has been written as active by an attempt that began at `began`.
fn start(mut holder: Holder, began: u64, alive: Alive, lost: Lost) -> Result<Lease, LeaseError> {
    let options = holder.options().clone();
    let trust = Arc::new(Trust::new(options.clock, options.ttl_ms, began));
    let failed = |error| LeaseError::io("set up threads for", &options.dir, error);
    let alarm = Arc::new(Alarm::new().map_err(failed)?);
    alarm.set(trust.left_ms()).map_err(failed)?;
    let lost = Arc::new(Mutex::new(Some(lost)));
    let admin = Arc::new(Mutex::new(None));
    let (sender, orders) = sync_channel(ORDERS);
    let lease = Lease {
        term: holder.record_mut().term,
        ttl_ms: options.ttl_ms,
        trust: Arc::clone(&trust),
        admin: Arc::clone(&admin),
        orders: sender,
    };

    let (watched, bell, goodbye) = (Arc::clone(&trust), Arc::clone(&alarm), Arc::clone(&lost));
    spawn("lease-deadline", &lost, move || {
        if deadline::wait_for_end(&bell, &watched) {
            say_goodbye(&goodbye, "the lease ran out: it could not be renewed in time");
        }
    })
    .map_err(failed)?;
    let goodbye = Arc::clone(&lost);
    let renewer = Renewer { holder, trust, alarm, alive, lost, admin, orders };
    spawn("lease-renew", &goodbye, move || renewer.run()).map_err(failed)?;
    Ok(lease)
}

/// A thread without which there is no lease: a panic in it ends the lease.
fn spawn(
    name: &str,
    lost: &Arc<Mutex<Option<Lost>>>,
    work: impl FnOnce() + Send + 'static,
) -> std::io::Result<()> {
    let lost = Arc::clone(lost);
    let guarded = move || {
        if catch_unwind(AssertUnwindSafe(work)).is_err() {
            say_goodbye(&lost, "a thread of the lease panicked");
        }
    };
    thread::Builder::new().name(name.to_owned()).spawn(guarded).map(drop)
}

fn say_goodbye(lost: &Mutex<Option<Lost>>, reason: &str) {
    let lost = lost.lock().unwrap_or_else(PoisonError::into_inner).take();
    if let Some(lost) = lost {
        lost(reason);
    }
}

/// What a try to renew came to.
enum Renewal {
    Done,
    /// Not renewed; worth another try soon.
    Failed,
    /// Leadership is gone.
    Lost,
}

struct Renewer {
    holder: Holder,
    trust: Arc<Trust>,
    alarm: Arc<Alarm>,
    alive: Alive,
    lost: Arc<Mutex<Option<Lost>>>,
    admin: Arc<Mutex<Option<String>>>,
    orders: Receiver<Order>,
}

impl Renewer {
    fn run(mut self) {
        let usual = Duration::from_millis(self.holder.options().ttl_ms / 3);
        let hurried = Duration::from_millis((self.holder.options().ttl_ms / 15).max(1));
        let mut wait = usual;
        loop {
            match self.orders.recv_timeout(wait) {
                Ok(Order::Release { last_commit, done }) => {
                    let _ = done.send(self.finish(last_commit));
                    return;
                }
                Ok(Order::Publish) | Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return self.abandon(),
            }
            wait = match self.renew() {
                Renewal::Done => usual,
                Renewal::Failed => hurried,
                Renewal::Lost => return self.abandon(),
            };
        }
    }

    fn renew(&mut self) -> Renewal {
        let began = self.trust.now();
        if self.trust.left_ms() == 0 {
            // The alarm says it too; whoever comes first.
            return self.lose("the lease ran out: it could not be renewed in time");
        }
        if !(self.alive)() {
            tracing::warn!(
                left_ms = self.trust.left_ms(),
                "lease not renewed: the work stands still"
            );
            return Renewal::Failed;
        }
        match self.holder.lock().is_in_place() {
            Ok(true) => {}
            Ok(false) => return self.lose("lease.lock was removed or replaced under its holder"),
            Err(error) => {
                tracing::warn!(%error, "lease not renewed: the lock file cannot be looked at");
                return Renewal::Failed;
            }
        }
        let state = self.trust.state();
        let admin = self.admin.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let record = self.holder.record_mut();
        record.state = state;
        record.admin = admin;
        if let Err(error) = self.holder.write() {
            tracing::warn!(%error, left_ms = self.trust.left_ms(), "lease not renewed");
            return Renewal::Failed;
        }
        self.trust.renewed(began);
        if self.alarm.set(self.trust.left_ms()).is_err() {
            return self.lose("the lease's timer failed");
        }
        Renewal::Done
    }

    fn lose(&self, reason: &str) -> Renewal {
        if self.trust.lose() {
            say_goodbye(&self.lost, reason);
        }
        Renewal::Lost
    }

    /// The last write and the unlocking, in this order.
    fn finish(mut self, last_commit: u64) -> Result<(), LeaseError> {
        self.trust.set(State::Released);
        let _ = self.alarm.set(0);
        let record = self.holder.record_mut();
        record.state = State::Released;
        record.last_commit = Some(last_commit);
        let written = self.holder.write();
        drop(self.holder.into_lock());
        written
    }

    /// Ends the threads and keeps the lock for the rest of the process's life.
    fn abandon(self) {
        self.trust.set(State::Released);
        let _ = self.alarm.set(0);
        std::mem::forget(self.holder.into_lock());
    }
}
