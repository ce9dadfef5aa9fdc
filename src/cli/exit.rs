//! How the program ends. The systemd unit names these codes: it must not restart on 2 and 4.

use std::process::ExitCode;

/// The meaning of each exit code.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: done, or stopped as asked.
    Ok,
    /// 1: a fault of the daemon, or a request that was refused.
    Fault,
    /// 2: wrong arguments or a wrong configuration; nothing was opened. Starting again does not
    /// help. (`clap` uses the same code for arguments.)
    Usage,
    /// 3: another process leads and this command does not wait for it.
    LeaseHeld,
    /// 4: the data directory is damaged and was refused. Starting again does not help.
    Damaged,
    /// 5: the daemon does not answer.
    Unreachable,
    /// 6: it answers and is not ready: held, a standby, stopping.
    NotReady,
    /// 7: it works, and something needs a person.
    Attention,
    /// 8: the admin token is missing or wrong.
    NotAllowed,
    /// 75 (`EX_TEMPFAIL`): the lease was lost; starting again makes a standby.
    LostLease,
}

impl Exit {
    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        match self {
            Self::Ok => 0,
            Self::Fault => 1,
            Self::Usage => 2,
            Self::LeaseHeld => 3,
            Self::Damaged => 4,
            Self::Unreachable => 5,
            Self::NotReady => 6,
            Self::Attention => 7,
            Self::NotAllowed => 8,
            Self::LostLease => 75,
        }
    }
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> Self {
        Self::from(exit.code())
    }
}
