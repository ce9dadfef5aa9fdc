//! Opening the store (and closing it), and telling the service manager meanwhile that this is no
//! hang.
//!
//! sled opens its files without a word, for half a minute and more; so what is told goes by a clock
//! of its own and not by progress alone. A standby that takes over has been ready before: the
//! service manager's watchdog watches it while it opens, too.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tokio::task::{JoinError, JoinHandle};

use super::{Ended, notify};
use crate::config::Config;
use crate::data_dir::refusal::{Reason, RefusedKind};
use crate::data_dir::startup::{self, OpenOptions, Opened, Progress};

/// How much longer the service manager shall wait for an opening that is under way.
const EXTEND: Duration = Duration::from_secs(60);
/// How often it is told, unless its watchdog wants to hear more often.
const TELL_EVERY: Duration = Duration::from_secs(10);
/// An opening that makes no progress for this long is a hang, which the service manager may end.
const SILENCE: Duration = Duration::from_secs(15 * 60);

/// So much more room is worth another try to make the store anew.
const ANOTHER_TRY_BYTES: u64 = 64 * 1024 * 1024;

/// When the opening last made progress.
#[derive(Clone)]
struct News(Arc<Mutex<Instant>>);

impl News {
    fn now() -> Self {
        Self(Arc::new(Mutex::new(Instant::now())))
    }

    fn note(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn age(&self) -> Duration {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).elapsed()
    }
}

/// Why nothing was opened.
pub(super) enum NotOpened {
    /// The store has to be made anew, which takes more disk than there is.
    NoRoom {
        /// Free bytes at which it is worth another try.
        needed: u64,
    },
    /// The daemon ends.
    Ended(Ended),
}

/// Opens the data directory of this configuration.
pub(super) async fn open(config: &Arc<Config>, adopt: bool) -> Result<Opened, NotOpened> {
    let (config, news) = (config.clone(), News::now());
    let noted = news.clone();
    let work = tokio::task::spawn_blocking(move || open_here(&config, adopt, &noted));
    let often = notify::watchdog_interval().map_or(TELL_EVERY, |interval| interval / 3);
    let tell = || {
        notify::extend_timeout(EXTEND);
        notify::watchdog();
    };
    match tell_while(work, &news, often.min(TELL_EVERY), SILENCE, tell).await {
        Ok(opened) => opened,
        Err(error) => Err(NotOpened::Ended(Ended::Fault(format!("opening the store: {error}")))),
    }
}

/// Waits for `work` that ends the daemon, at most `within` of which the service manager shall wait.
pub(super) async fn closing<T>(work: JoinHandle<T>, within: Duration) -> Result<T, JoinError> {
    let tell = || notify::extend_timeout(EXTEND);
    tell_while(work, &News::now(), TELL_EVERY, within, tell).await
}

/// Waits for `work` and tells now and then that it goes on, while it has `news` within `silence`.
async fn tell_while<T>(
    mut work: JoinHandle<T>,
    news: &News,
    every: Duration,
    silence: Duration,
    mut tell: impl FnMut(),
) -> Result<T, JoinError> {
    let mut ticks = tokio::time::interval(every);
    loop {
        tokio::select! {
            done = &mut work => return done,
            _ = ticks.tick() => {
                if news.age() < silence {
                    tell();
                }
            }
        }
    }
}

fn open_here(config: &Config, adopt: bool, news: &News) -> Result<Opened, NotOpened> {
    let mut said = Instant::now();
    let mut progress = |progress: Progress| {
        news.note();
        if matches!(progress, Progress::OpeningStore) || said.elapsed() > Duration::from_secs(1) {
            said = Instant::now();
            let text = match progress {
                Progress::OpeningStore => "opening the store".to_owned(),
                Progress::LoadingImage { rows, of } => {
                    format!("loading image: {rows} of {of} rows")
                }
                Progress::Replaying { seq, last } => format!("replaying commit {seq} of {last}"),
            };
            notify::status(&text);
            tracing::info!(event = "start.progress", "{text}");
        }
    };
    let cache_bytes = config.storage.cache_bytes;
    let options = OpenOptions { cache_bytes, adopt, rebuild: false, progress: &mut progress };
    startup::open(&config.data_dir, options).map_err(|refused| match refused.reason {
        Reason::NoRoom { free } => {
            tracing::error!(event = "start.no_room", "{refused}");
            NotOpened::NoRoom { needed: free + ANOTHER_TRY_BYTES }
        }
        _ => NotOpened::Ended(Ended::Refused {
            reason: format!("{}: {refused}", config.data_dir.display()),
            hint: refused.hint.to_owned(),
            again: matches!(refused.kind, RefusedKind::Busy | RefusedKind::Storage),
        }),
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use tokio::sync::oneshot;

    use super::*;

    const OFTEN: Duration = Duration::from_millis(1);

    #[tokio::test]
    async fn opening_without_progress_is_told_of_by_the_clock() {
        let (end, ended) = oneshot::channel::<()>();
        let work = tokio::spawn(async { ended.await.is_ok() });
        let (mut told, mut end) = (0, Some(end));
        let tell = || {
            told += 1;
            if let Some(end) = end.take_if(|_| told == 3) {
                end.send(()).unwrap();
            }
        };
        assert!(tell_while(work, &News::now(), OFTEN, SILENCE, tell).await.unwrap());
        assert!(told >= 3);
    }

    #[tokio::test]
    async fn opening_that_hangs_is_told_of_no_more() {
        let work = tokio::spawn(tokio::time::sleep(20 * OFTEN));
        let tell = || panic!("told of a hang");
        tell_while(work, &News::now(), OFTEN, Duration::ZERO, tell).await.unwrap();
    }
}
