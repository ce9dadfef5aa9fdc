//! What tests of the real program share: the daemon and the sandbox as processes, a small HTTP
//! client, and waiting with a deadline.

#![allow(clippy::unwrap_used)]

pub(crate) mod audit;
pub(crate) mod contract;
pub(crate) mod copier;
pub(crate) mod daemon;
pub(crate) mod disk;
pub(crate) mod home;
pub(crate) mod http;
pub(crate) mod load;
pub(crate) mod peer;
pub(crate) mod preload;
pub(crate) mod python;
pub(crate) mod sandbox;

use std::time::{Duration, Instant};

/// Longest wait for anything: many times what it takes on a busy machine of two cores.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Pause between two looks of [`until`].
const LOOK_EVERY: Duration = Duration::from_millis(5);

/// Looks until there is something to see; fails with `what` when it takes longer than `within`.
pub(crate) fn until<T>(what: &str, within: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + within;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "not within {within:?}: {what}");
        std::thread::sleep(LOOK_EVERY);
    }
}

/// A number from the environment, to run the same test for longer.
pub(crate) fn rounds(name: &str, default: u32) -> u32 {
    std::env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}

/// The seed of a test's random moments, to run the same test with others: what `DUEBOX_SEED` says,
/// else `default`. It is printed.
pub(crate) fn seed(test: &str, default: u64) -> u64 {
    let seed = std::env::var("DUEBOX_SEED").ok().and_then(|text| text.parse().ok());
    let seed = seed.unwrap_or(default);
    eprintln!("{test}: DUEBOX_SEED={seed}");
    seed
}
