//! Panics: sled answers damage with them, and what to do next depends on where one came from.

use std::sync::atomic::{AtomicBool, Ordering};

static IN_THE_BASE: AtomicBool = AtomicBool::new(false);

/// Notes where panics come from, and logs them.
pub(super) fn watch() {
    std::panic::set_hook(Box::new(|panic| {
        let place = panic.location().map_or_else(|| "?".to_owned(), ToString::to_string);
        if place.contains("/sled-") {
            IN_THE_BASE.store(true, Ordering::SeqCst);
        }
        let words = panic.payload_as_str().unwrap_or("no words");
        tracing::error!(event = "panic", place, "{words}");
    }));
}

/// Whether one came from sled: its files may be damaged, and the next start shall rebuild them.
pub(super) fn in_the_base() -> bool {
    IN_THE_BASE.load(Ordering::SeqCst)
}
