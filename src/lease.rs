//! Leadership: one process at a time may write to and send from a data directory.
//!
//! Exclusion is a kernel lock (`flock`) on `lease.lock`, taken before the store is opened and held
//! until the process ends. The kernel frees it when the holder dies, however it dies, and does not
//! free it when the holder is merely stopped. Nothing else grants leadership: no age, no clock, no
//! content of a file. Take-over therefore means that the holder's process is gone.
//!
//! Beside it lies `lease.json`, a [`Record`] that people and standbys read: the term, who holds,
//! and a counter that the holder keeps renewing. The record only informs. It lets a standby say who
//! leads and notice a holder that hangs, and it carries the term from one holder to the next.
//!
//! What a lease with a time to live adds is the opposite direction: a holder stops trusting
//! *itself*. A [`Lease`] says no from two thirds of its time to live without renewal, and the
//! process ends when the time has run out ([`EXIT_LOST`]), even if its disk hangs. Ages are
//! measured with `CLOCK_BOOTTIME`, which goes on while the machine sleeps and cannot be set; a
//! process that was stopped or a machine that was suspended finds out at its next question.
//!
//! What remains: a request that was already handed to the kernel when the process was stopped
//! cannot be recalled, and no receiver knows terms. Such sends are attempts that began and are on
//! disk as such; the next holder treats them as in doubt.
//!
//! Files, all in the data directory: `lease.lock` is created once and never renamed or removed
//! (whoever locks another inode under the same name excludes nobody); `lease.json` is replaced
//! whole.
//!
//! ```text
//! try_acquire ── None: Watch::poll … try_acquire
//!      │ Holder   open the store, Holder::settle_term, put the term into the store
//!      ▼
//!    start ── Lease::may_send before each send ── set_draining ── close the store ── release
//! ```

mod deadline;
mod holder;
mod process;
mod record;
mod renew;
mod trust;
mod watch;

#[cfg(test)]
mod tests;

use std::fs::{File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::mpsc::sync_channel;
use std::time::Duration;

pub use holder::Holder;
pub use process::{Identity, ProcessState};
pub use record::{Record, State};
pub use renew::Lease;
pub use watch::{Seen, Trouble, Watch};

use crate::boot::boot_ms;
use crate::limits::LEASE_TTL_MS;

/// Exit code of a process that leaves because its lease ran out: `EX_TEMPFAIL` of `sysexits.h`, so
/// that a supervisor starts it again.
pub const EXIT_LOST: i32 = 75;

/// How long the last line of the log may take.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// The file that is locked.
const LOCK_FILE: &str = "lease.lock";
/// How often a lock file that is replaced while it is being locked is opened again.
const LOCK_TRIES: usize = 3;

/// Where the lease lies and how long it lives.
#[derive(Clone, Debug)]
pub struct Options {
    /// The data directory. It must exist.
    pub dir: PathBuf,
    /// Milliseconds after which a lease that was not renewed has run out.
    pub ttl_ms: u64,
    /// Name of this machine, for people and for telling whether a holder's process can be seen.
    pub host: String,
    /// What this process calls itself, for people; the data directory's instance id once known.
    pub instance: String,
    /// Milliseconds on a clock that only grows and goes on during suspend; tests bring their own.
    pub clock: fn() -> u64,
}

impl Options {
    /// A lease on `dir` with the usual time to live, this machine's name and its boot-time clock.
    #[must_use]
    pub fn new(dir: impl Into<PathBuf>) -> Self {
        Self {
            dir: dir.into(),
            ttl_ms: LEASE_TTL_MS,
            host: host_name(),
            instance: String::new(),
            clock: boot_ms,
        }
    }
}

/// Why leadership could not be taken, kept in writing or given back.
///
/// "Somebody else holds it" is not among them; it is the `None` of [`try_acquire`].
#[derive(Debug, thiserror::Error)]
pub enum LeaseError {
    /// A file of the lease could not be read or written.
    #[error("lease: cannot {what} {}: {source}", path.display())]
    Io {
        /// What was tried, as a verb.
        what: &'static str,
        /// On which file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// Terms are used up: a term must grow and cannot.
    #[error("lease: the stored term {0} leaves no room for a next one")]
    TermExhausted(u64),
    /// [`Holder::start`] was called before [`Holder::settle_term`].
    #[error("lease: started before its term was settled against the store")]
    TermNotSettled,
    /// The renewing thread is gone or does not answer.
    #[error("lease: the renewing thread does not answer")]
    Renewer,
}

impl LeaseError {
    fn io(what: &'static str, path: &Path, source: io::Error) -> Self {
        Self::Io { what, path: path.to_owned(), source }
    }
}

/// Takes the lock if it is free: `None` when somebody else holds it.
///
/// A record that cannot be read counts as absent, because the store has the term too.
///
/// The lock keeps two processes of one machine apart. Whether it reaches further is the file
/// system's affair, and the configuration refuses those that may not; it is not asked here.
///
/// # Errors
/// The lock file or the record could not be made, or the record's term is the last one.
pub fn try_acquire(options: Options) -> Result<Option<Holder>, LeaseError> {
    let Some(lock) = lock_file(&options.dir.join(LOCK_FILE))? else { return Ok(None) };
    Holder::new(options, lock).map(Some)
}

/// Does something while nobody holds the lease, if that is so, without taking it: `None` when
/// somebody does. It writes nothing but the lock file, if that is missing.
///
/// # Errors
/// The lock file could not be made or locked.
pub fn while_nobody_leads<T>(
    dir: &Path,
    work: impl FnOnce() -> T,
) -> Result<Option<T>, LeaseError> {
    let lock = lock_file(&dir.join(LOCK_FILE))?;
    Ok(lock.map(|_held| work()))
}

/// The locked file. It knows whether its name still leads to it.
#[derive(Debug)]
struct Lock {
    file: File,
    path: PathBuf,
}

impl Lock {
    /// False when the name leads nowhere or to another file, which a second process could lock.
    fn is_in_place(&self) -> io::Result<bool> {
        let held = self.file.metadata()?;
        match std::fs::metadata(&self.path) {
            Ok(named) => Ok(named.dev() == held.dev() && named.ino() == held.ino()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
            Err(error) => Err(error),
        }
    }
}

fn lock_file(path: &Path) -> Result<Option<Lock>, LeaseError> {
    for _ in 0..LOCK_TRIES {
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(path)
            .map_err(|error| LeaseError::io("open", path, error))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(LeaseError::io("lock", path, error)),
        }
        let lock = Lock { file, path: path.to_owned() };
        if lock.is_in_place().map_err(|error| LeaseError::io("look at", path, error))? {
            return Ok(Some(lock));
        }
    }
    let replaced = io::Error::other("it is replaced again and again; nothing may remove it");
    Err(LeaseError::io("keep", path, replaced))
}

/// Ends the process because its lease is lost: what [`Holder::start`] wants for `lost`.
///
/// It ends right here and waits for nothing, because what hangs may be the very thing that would
/// be waited for: also whoever reads the log, which a full pipe to him would hold up for ever. The
/// store is left as after a crash, which loses nothing that was accepted.
pub fn leave(reason: &str) -> ! {
    let reason = reason.to_owned();
    let say = move || tracing::error!(event = "lease.lost", "leaving at once: {reason}");
    within(LAST_WORDS, say);
    crate::logger::exit(EXIT_LOST)
}

/// Gives something that may hang a thread of its own and this long.
fn within(patience: Duration, work: impl FnOnce() + Send + 'static) {
    let (done, waits) = sync_channel::<()>(1);
    let worked = std::thread::Builder::new().name("last-words".to_owned()).spawn(move || {
        work();
        drop(done);
    });
    if worked.is_ok() {
        // Both a time-out and a dropped sender mean: go on.
        let _ = waits.recv_timeout(patience);
    }
}

/// What the log calls this process as a worker: machine and process number.
#[must_use]
pub fn worker_name() -> String {
    format!("{}:{}", host_name(), std::process::id())
}

/// The machine's name, as `uname -n` prints it.
fn host_name() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}
