//! The admin token: compared in constant time, and read again when its file has changed.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sha2::{Digest, Sha256};
use subtle::{Choice, ConstantTimeEq};

/// How often the file is looked at, at most: once a call comes.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long the token before is still good after a change.
const OVERLAP: Duration = Duration::from_secs(60);

type Hash = [u8; 32];
/// Reads the token's file; the words say what is wrong with it.
pub type ReadToken = Box<dyn Fn() -> Result<String, String> + Send + Sync>;

/// The token that callers must present.
pub struct AdminToken {
    file: Option<(PathBuf, ReadToken)>,
    known: Mutex<Known>,
}

struct Known {
    current: Hash,
    /// The one before, and until when it is good.
    previous: Option<(Hash, Instant)>,
    stamp: Option<Stamp>,
    looked: Instant,
}

/// What changes with a file: it, its time of change, its size.
type Stamp = (u64, i64, i64, u64);

impl AdminToken {
    /// A token that stays.
    #[must_use]
    pub fn fixed(token: &str) -> Self {
        Self::with(token, None)
    }

    /// A token out of a file, which `read` reads again when it has changed.
    #[must_use]
    pub fn of_file(token: &str, path: PathBuf, read: ReadToken) -> Self {
        Self::with(token, Some((path, read)))
    }

    fn with(token: &str, file: Option<(PathBuf, ReadToken)>) -> Self {
        let stamp = file.as_ref().and_then(|(path, _)| stamp(path));
        let known = Known { current: hash(token), previous: None, stamp, looked: Instant::now() };
        Self { file, known: Mutex::new(known) }
    }

    /// Whether this is the token. All are hashed, so that the comparison's time tells nothing of the
    /// token, not even its length.
    pub(super) fn is(&self, given: &[u8]) -> bool {
        let given: Hash = Sha256::digest(given).into();
        let now = Instant::now();
        let mut known = self.look(now);
        known.previous = known.previous.filter(|(_, until)| now < *until);
        let previous = known.previous.map_or(Choice::from(0), |(hash, _)| hash.ct_eq(&given));
        bool::from(known.current.ct_eq(&given) | previous)
    }

    /// Reads the file again if it has changed since it was last looked at.
    fn look(&self, now: Instant) -> MutexGuard<'_, Known> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let Some((path, read)) = &self.file else { return known };
        if now.duration_since(known.looked) < LOOK_EVERY {
            return known;
        }
        known.looked = now;
        let found = stamp(path);
        if found == known.stamp {
            return known;
        }
        known.stamp = found;
        match read() {
            Ok(token) => {
                let fresh = hash(&token);
                if fresh != known.current {
                    known.previous = Some((known.current, now + OVERLAP));
                    known.current = fresh;
                    tracing::info!(
                        event = "token.changed", path = %path.display(),
                        "the admin token is another one; the one before is good for a minute"
                    );
                }
            }
            Err(why) => tracing::warn!(
                event = "token.unreadable", path = %path.display(), why,
                "the admin token's file changed and is not usable; the token stays as it was"
            ),
        }
        known
    }
}

fn hash(token: &str) -> Hash {
    Sha256::digest(token.as_bytes()).into()
}

fn stamp(path: &PathBuf) -> Option<Stamp> {
    let facts = fs::metadata(path).ok()?;
    Some((facts.ino(), facts.mtime(), facts.mtime_nsec(), facts.size()))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if the file had last been looked at a while ago.
    fn later(token: &AdminToken, by: Duration) {
        let mut known = token.known.lock().unwrap();
        known.looked = known.looked.checked_sub(by).unwrap();
        known.previous = known.previous.map(|(hash, until)| (hash, until.checked_sub(by).unwrap()));
    }

    #[test]
    fn a_changed_file_is_read_again_and_both_are_good_for_a_minute() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("token");
        fs::write(&path, "first").unwrap();
        let from = path.clone();
        let read = move || {
            let text = fs::read_to_string(&from).map_err(|why| why.to_string())?;
            if text.is_empty() { Err("it is empty".to_owned()) } else { Ok(text) }
        };
        let token = AdminToken::of_file("first", path.clone(), Box::new(read));
        assert!(token.is(b"first") && !token.is(b"second") && !token.is(b""));
        fs::write(&path, "the second").unwrap();
        later(&token, LOOK_EVERY);
        assert!(token.is(b"the second") && token.is(b"first") && !token.is(b"third"));
        later(&token, OVERLAP);
        assert!(token.is(b"the second") && !token.is(b"first"));
        // A file that is being written, or gone, locks nobody out.
        for broken in [true, false] {
            if broken {
                fs::write(&path, "").unwrap()
            } else {
                fs::remove_file(&path).unwrap()
            }
            later(&token, LOOK_EVERY);
            assert!(token.is(b"the second") && !token.is(b""));
        }
    }
}
