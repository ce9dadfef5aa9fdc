//! Panics that are caught: sled answers damage with them, and a look at the store must not end the
//! process. Whatever a panic says is cut: sled prints whole trees.

use std::any::Any;
use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// Bytes of a panic's words that are kept.
pub const WORDS_BYTES: usize = 500;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// Runs work that may panic. A panic comes back as its words, at most [`WORDS_BYTES`] of them.
///
/// What the work was changing when it panicked may be half changed: the caller looks only, or throws
/// away what it worked on.
pub fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    DEPTH.set(DEPTH.get() + 1);
    let done = catch_unwind(AssertUnwindSafe(work));
    DEPTH.set(DEPTH.get() - 1);
    done.map_err(|panic| words(&*panic).to_owned())
}

/// Whether a panic of this thread would now be caught by [`caught`].
#[must_use]
pub fn is_caught() -> bool {
    DEPTH.get() > 0
}

/// What a panic says, cut.
#[must_use]
pub fn words(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    cut(text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("no words"))
}

/// The first [`WORDS_BYTES`] of a text, up to a whole character.
#[must_use]
pub fn cut(text: &str) -> &str {
    &text[..text.floor_char_boundary(WORDS_BYTES)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_comes_back_as_some_of_its_words() {
        assert_eq!(caught(|| 7), Ok(7));
        assert_eq!(caught(|| -> u8 { panic!("on purpose") }), Err("on purpose".to_owned()));
        let long = caught(|| -> u8 { panic!("{}", "长".repeat(9999)) }).unwrap_err();
        assert_eq!(long, "长".repeat(WORDS_BYTES / 3));
        assert!(!is_caught());
        assert_eq!(caught(is_caught), Ok(true));
    }
}
