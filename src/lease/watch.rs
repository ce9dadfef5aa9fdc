//! The standby's eye on the holder.
//!
//! The caller polls, some four times a second, and tries the lock each time. A file lock tells
//! nobody when it becomes free: the only way to be told is a thread that blocks in `flock` and that
//! nothing can call back, while a holder that dies writes nothing a file watch could notice.
//!
//! Age is the time since the record last *changed*, on the standby's own clock. Times in the record
//! are never compared with anything.

use std::fmt;

use super::process::ProcessState;
use super::record::{self, Record, State};
use super::{Holder, LeaseError, Options};

/// Watches a lease that somebody else holds.
#[derive(Debug)]
pub struct Watch {
    options: Options,
    /// Term, counter and state of the newest change, and when it was seen.
    last: Option<(u64, u64, State)>,
    changed_at: u64,
}

/// What one look at the lease showed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// The record; `None` when there is none or it cannot be read.
    pub record: Option<Record>,
    /// True when the record has not changed for a whole time to live, as watched from here.
    pub stale: bool,
    /// How long the record has not changed, as watched from here.
    pub unchanged_ms: u64,
    /// The holder's process; `None` when it cannot be seen from here.
    pub holder_state: Option<ProcessState>,
}

/// Why the holder of the lock does not lead as it should. It keeps the lock all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The process was stopped, by SIGSTOP or a debugger.
    Stopped {
        /// Its number.
        pid: u32,
    },
    /// The process runs and does not renew: it hangs, or its disk does.
    Silent {
        /// Its number.
        pid: u32,
        /// For how long.
        unchanged_ms: u64,
    },
    /// The lock is held and the process of the record is gone: another holds it, or a child
    /// process inherited it.
    Elsewhere {
        /// The number in the record.
        pid: u32,
    },
    /// The lock is held, and nothing readable says by whom.
    Unknown,
}

impl Watch {
    /// Begins to watch. What is found first counts as just changed.
    #[must_use]
    pub fn new(options: Options) -> Self {
        let changed_at = (options.clock)();
        Self { options, last: None, changed_at }
    }

    /// Looks once: reads one small file, and one of `/proc`.
    pub fn poll(&mut self) -> Seen {
        let record = match record::read(&self.options.dir) {
            Ok(record) => record,
            Err(error) => {
                // Said at each look: the trouble that comes of it is for the caller to tell, once.
                tracing::debug!(%error, "the leader's record cannot be read");
                None
            }
        };
        let now = (self.options.clock)();
        let mark = record.as_ref().map(|record| (record.term, record.renewals, record.state));
        if mark != self.last {
            self.last = mark;
            self.changed_at = now;
        }
        let ttl_ms = record.as_ref().map_or(self.options.ttl_ms, |record| record.ttl_ms);
        let unchanged_ms = now.saturating_sub(self.changed_at);
        let holder_state = record.as_ref().and_then(|r| r.holder.look(&self.options.host));
        Seen { record, stale: unchanged_ms >= ttl_ms, unchanged_ms, holder_state }
    }

    /// Tries the lock; see [`super::try_acquire`].
    ///
    /// # Errors
    /// As [`super::try_acquire`].
    pub fn try_acquire(&self) -> Result<Option<Holder>, LeaseError> {
        super::try_acquire(self.options.clone())
    }
}

impl Seen {
    /// What is wrong with the holder, given that the lock is still held; `None` when all is well.
    ///
    /// A holder that opens its store is not expected to renew.
    #[must_use]
    pub fn trouble(&self) -> Option<Trouble> {
        let Some(record) = &self.record else {
            return self.stale.then_some(Trouble::Unknown);
        };
        let pid = record.holder.pid;
        match self.holder_state {
            Some(ProcessState::Stopped) => Some(Trouble::Stopped { pid }),
            Some(ProcessState::Gone) => self.stale.then_some(Trouble::Elsewhere { pid }),
            Some(ProcessState::Running) | None => (self.stale && record.state != State::Opening)
                .then_some(Trouble::Silent { pid, unchanged_ms: self.unchanged_ms }),
        }
    }
}

/// One line for a status, a log or a refusal.
impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(record) = &self.record else { return f.write_str("leader unknown") };
        write!(
            f,
            "leader is pid {} on {}, term {}",
            record.holder.pid, record.holder.host, record.term
        )?;
        if let Some(admin) = &record.admin {
            write!(f, ", admin {admin}")?;
        }
        match record.state {
            State::Opening => f.write_str(", opening its store")?,
            State::Active => {}
            State::Draining => f.write_str(", stopping")?,
            State::Released => f.write_str(", has given back its lease")?,
        }
        match self.trouble() {
            Some(trouble) => write!(f, "; {trouble}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped { pid } => write!(
                f,
                "process {pid} is stopped (SIGSTOP or a debugger) and keeps the lock; continue it \
                 or kill it"
            ),
            Self::Silent { pid, unchanged_ms } => write!(
                f,
                "process {pid} has not renewed its lease for {} s and keeps the lock; it hangs",
                unchanged_ms / 1_000
            ),
            Self::Elsewhere { pid } => {
                write!(f, "process {pid} is gone but the lock is held; see who has lease.lock open")
            }
            Self::Unknown => f.write_str("the lock is held and no readable record says by whom"),
        }
    }
}
