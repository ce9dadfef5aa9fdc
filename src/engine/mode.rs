//! Whether work is handed out, and by whom.

/// Whether the engine hands out work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// It does.
    Working,
    /// It does not: this is a copy that nobody has released.
    Held,
    /// It does not: the daemon is stopping.
    Draining,
}

/// Who this process is in the log.
#[derive(Clone, Debug)]
pub struct Identity {
    /// The term of its leadership.
    pub term: u64,
    /// Its name: host and process.
    pub worker: String,
}
