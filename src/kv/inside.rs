//! Where a panic comes from: sled answers damage with panics, in the thread that calls it and in
//! threads of its own.

use std::cell::Cell;
use std::thread;

thread_local! {
    static DEPTH: Cell<u32> = const { Cell::new(0) };
}

/// While it lives, this thread is at work in the base.
#[derive(Debug)]
pub(super) struct Inside(());

impl Inside {
    pub(super) fn enter() -> Self {
        DEPTH.set(DEPTH.get() + 1);
        Self(())
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        DEPTH.set(DEPTH.get() - 1);
    }
}

/// How sled 0.34.7 names its own threads (threadpool.rs, db.rs).
const ITS_THREADS: [&str; 2] = ["sled-io-", "log flusher"];

/// Whether this thread is at work in the base, or is one of its own. For a panic hook: it runs before
/// anything is unwound.
#[must_use]
pub fn is_in_the_base() -> bool {
    let current = thread::current();
    let name = current.name().unwrap_or_default();
    DEPTH.get() > 0 || ITS_THREADS.iter().any(|its| name.starts_with(its))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_thread_is_in_the_base_while_it_is_at_work_there() {
        assert!(!is_in_the_base());
        let outer = Inside::enter();
        drop(Inside::enter());
        assert!(is_in_the_base());
        drop(outer);
        assert!(!is_in_the_base());
        // Also when it leaves by a panic.
        let left = crate::caught::caught(|| {
            let _inside = Inside::enter();
            assert!(is_in_the_base());
            panic!("on purpose");
        });
        assert!(left.is_err() && !is_in_the_base());
    }

    #[test]
    fn threads_of_sled_are_known_by_their_names() {
        let dir = tempfile::tempdir().unwrap();
        let db = crate::kv::sled::SledKv::open(dir.path(), 1 << 20, &[]).unwrap();
        // The names that this process really has now.
        let mut names = Vec::new();
        for task in std::fs::read_dir("/proc/self/task").unwrap() {
            let name = std::fs::read_to_string(task.unwrap().path().join("comm"));
            names.push(name.unwrap_or_default());
        }
        for its in ITS_THREADS {
            assert!(names.iter().any(|name| name.starts_with(its)), "{its}: {names:?}");
        }
        drop(db);
        let seen = thread::Builder::new().name("sled-io-7".to_owned()).spawn(is_in_the_base);
        assert!(seen.unwrap().join().unwrap());
    }
}
