//! Storage that failed or lied.

use std::fmt;
use std::io::{Error as IoError, ErrorKind};
use std::path::Path;

/// Storage that failed or lied. It ends the process; nobody retries it.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// The operating system or the base refused an operation.
    #[error("storage failed while {doing}: {cause}")]
    Io {
        /// What was attempted.
        doing: &'static str,
        /// What came back.
        cause: Cause,
    },
    /// Bytes that cannot be what was written: checksum, version, length.
    #[error("damaged record in {tree}: {why}")]
    Damaged {
        /// The tree it was read from.
        tree: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// What kept an operation from being done: in words, and as the kind that decides what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cause {
    kind: Kind,
    words: String,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// No space left, or no quota.
    Full,
    /// The base found its own files to be other than it wrote them.
    Damage,
    Other,
}

impl Fault {
    /// An operation that was refused, with its name.
    pub fn io(doing: &'static str, cause: impl Into<Cause>) -> Self {
        Self::Io { doing, cause: cause.into() }
    }

    /// Whether the store itself is damaged, so that it must be made anew, and not merely its disk
    /// full or away.
    #[must_use]
    pub fn is_damage(&self) -> bool {
        match self {
            Self::Damaged { .. } => true,
            Self::Io { cause, .. } => cause.kind == Kind::Damage,
        }
    }

    /// Whether there was no space or no quota left.
    #[must_use]
    pub fn is_disk_full(&self) -> bool {
        matches!(self, Self::Io { cause, .. } if cause.kind == Kind::Full)
    }
}

impl Cause {
    /// The same, with the path it is about.
    pub fn at(path: &Path, cause: impl Into<Self>) -> Self {
        let Self { kind, words } = cause.into();
        Self { kind, words: format!("{}: {words}", path.display()) }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words)
    }
}

impl From<&IoError> for Cause {
    fn from(error: &IoError) -> Self {
        let full = matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::QuotaExceeded);
        Self { kind: if full { Kind::Full } else { Kind::Other }, words: error.to_string() }
    }
}

impl From<IoError> for Cause {
    fn from(error: IoError) -> Self {
        Self::from(&error)
    }
}

impl From<::sled::Error> for Cause {
    fn from(error: ::sled::Error) -> Self {
        let words = error.to_string();
        let kind = match error {
            ::sled::Error::Io(error) => match error.kind() {
                // What sled itself makes of a snapshot or a page that it cannot read.
                ErrorKind::InvalidData | ErrorKind::UnexpectedEof => Kind::Damage,
                _ => Self::from(&error).kind,
            },
            ::sled::Error::Corruption { .. } | ::sled::Error::ReportableBug(_) => Kind::Damage,
            _ => Kind::Other,
        };
        Self { kind, words }
    }
}

impl From<String> for Cause {
    fn from(words: String) -> Self {
        Self { kind: Kind::Other, words }
    }
}

impl From<&str> for Cause {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(cause: impl Into<Cause>) -> (bool, bool) {
        let fault = Fault::io("trying", Cause::at(Path::new("/x"), cause));
        (fault.is_disk_full(), fault.is_damage())
    }

    #[test]
    fn what_to_do_is_told_from_kinds_and_not_from_words() {
        for errno in [rustix::io::Errno::NOSPC, rustix::io::Errno::DQUOT] {
            let io = || IoError::from_raw_os_error(errno.raw_os_error());
            assert_eq!(of(io()), (true, false));
            assert_eq!(of(::sled::Error::Io(io())), (true, false));
            assert_eq!(of(::sled::Error::Io(io()).clone()), (true, false), "sled hands out clones");
        }
        let corrupt = ::sled::Error::Corruption { at: None, bt: () };
        assert_eq!(of(corrupt), (false, true));
        assert_eq!(of(::sled::Error::ReportableBug("x".to_owned())), (false, true));
        let torn = IoError::new(ErrorKind::InvalidData, "corruption encountered");
        assert_eq!(of(::sled::Error::Io(torn)), (false, true));
        let away = IoError::from_raw_os_error(rustix::io::Errno::IO.raw_os_error());
        assert_eq!(of(away), (false, false));
        // A file that is called so, and a text of somebody else.
        assert_eq!(of("/srv/corrupt/db: os error 28)"), (false, false));
        let shown = Fault::io("trying", Cause::at(Path::new("/x"), "why")).to_string();
        assert_eq!(shown, "storage failed while trying: /x: why");
    }
}
