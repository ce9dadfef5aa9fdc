//! The lease as a whole, with real threads, clocks, files and, where it matters, processes.

#![allow(clippy::unwrap_used)]

use std::cell::Cell;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::*;

/// Tests wait at most this long for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);
/// Names the data directory to the process that a test starts.
const CHILD_DIR: &str = "DUEBOX_TEST_LEASE_DIR";
const CHILD_TTL_MS: u64 = 600;

fn options(dir: &Path, ttl_ms: u64) -> Options {
    Options { ttl_ms, ..Options::new(dir) }
}

fn held(dir: &TempDir, ttl_ms: u64) -> Holder {
    try_acquire(options(dir.path(), ttl_ms)).unwrap().expect("the lock is free")
}

/// A leader whose life can be switched off, and where its end is reported.
fn leader(dir: &TempDir, ttl_ms: u64) -> (Lease, Arc<AtomicBool>, Receiver<String>) {
    let mut holder = held(dir, ttl_ms);
    holder.settle_term(0).unwrap();
    let alive = Arc::new(AtomicBool::new(true));
    let (lost, why) = channel();
    let asked = Arc::clone(&alive);
    let lease = holder
        .start(
            move || asked.load(Ordering::SeqCst),
            move |reason| lost.send(reason.to_owned()).unwrap(),
        )
        .unwrap();
    (lease, alive, why)
}

fn wait_until(what: &str, mut seen: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !seen() {
        assert!(Instant::now() < end, "never happened: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn read(dir: &TempDir) -> Record {
    record::read(dir.path()).unwrap().unwrap()
}

#[test]
fn second_holder_is_refused_until_the_first_lets_go() {
    let dir = tempfile::tempdir().unwrap();
    let first = held(&dir, 15_000);
    assert!(try_acquire(options(dir.path(), 15_000)).unwrap().is_none());
    assert_eq!(read(&dir).state, State::Opening);
    drop(first);
    assert!(try_acquire(options(dir.path(), 15_000)).unwrap().is_some());
}

#[test]
fn closing_may_take_longer_than_the_time_to_live_and_sends_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let (lease, alive, why) = leader(&dir, 300);
    alive.store(false, Ordering::SeqCst);
    lease.close_within(Duration::from_secs(600));
    assert!(!lease.may_send(0));
    assert!(why.recv_timeout(Duration::from_millis(900)).is_err(), "three times its time to live");
    lease.release(7).unwrap();
    assert_eq!((read(&dir).state, read(&dir).last_commit), (State::Released, Some(7)));
}

#[test]
fn a_panic_in_the_renewing_thread_ends_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = held(&dir, 300);
    holder.settle_term(0).unwrap();
    let (lost, why) = channel();
    let alive = || panic!("on purpose");
    let lease = holder.start(alive, move |reason| lost.send(reason.to_owned()).unwrap()).unwrap();
    assert!(why.recv_timeout(PATIENCE).unwrap().contains("panicked"));
    drop(lease);
}

#[test]
fn missing_directory_is_an_error_and_not_a_lease() {
    let dir = tempfile::tempdir().unwrap();
    let error = try_acquire(options(&dir.path().join("absent"), 15_000)).unwrap_err();
    assert!(error.to_string().contains("lease.lock"), "{error}");
}

#[test]
fn term_exceeds_the_record_and_the_store() {
    let dir = tempfile::tempdir().unwrap();
    for (stored, expected) in [(0, 1), (0, 2), (10, 11), (3, 12)] {
        let mut holder = held(&dir, 15_000);
        assert_eq!(holder.settle_term(stored).unwrap(), expected, "stored {stored}");
        assert_eq!(holder.settle_term(stored).unwrap(), expected, "asked twice");
        assert_eq!(read(&dir).term, expected);
    }
    let mut holder = held(&dir, 15_000);
    assert!(matches!(holder.settle_term(u64::MAX), Err(LeaseError::TermExhausted(_))));
}

#[test]
fn damaged_record_leaves_the_term_to_the_store() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("lease.json"), "{\"term\":").unwrap();
    let mut holder = held(&dir, 15_000);
    assert_eq!(holder.settle_term(41).unwrap(), 42);
}

#[test]
fn unsettled_holder_cannot_lead() {
    let dir = tempfile::tempdir().unwrap();
    let error = held(&dir, 15_000).start(|| true, |_| {}).unwrap_err();
    assert!(matches!(error, LeaseError::TermNotSettled));
}

#[test]
fn lock_file_replaced_while_open_is_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let holder = held(&dir, 15_000);
    assert!(holder.lock().is_in_place().unwrap());
    std::fs::remove_file(dir.path().join(LOCK_FILE)).unwrap();
    assert!(!holder.lock().is_in_place().unwrap());
    std::fs::write(dir.path().join(LOCK_FILE), "").unwrap();
    assert!(!holder.lock().is_in_place().unwrap());
}

#[test]
fn leader_renews_while_alive_and_publishes_what_changes() {
    let dir = tempfile::tempdir().unwrap();
    let (lease, _alive, why) = leader(&dir, 900);
    assert_eq!(lease.term(), 1);
    lease.set_admin("127.0.0.1:7280");
    wait_until("the address is in the record", || read(&dir).admin.is_some());
    let before = read(&dir).renewals;
    wait_until("it renews", || read(&dir).renewals >= before + 3);
    assert!(lease.may_send(100));
    assert!(why.try_recv().is_err());
    lease.set_draining();
    assert!(!lease.may_send(0));
    wait_until("draining is in the record", || read(&dir).state == State::Draining);
}

#[test]
fn leader_that_is_not_alive_stops_sending_and_then_loses_the_lease() {
    let dir = tempfile::tempdir().unwrap();
    let (lease, alive, why) = leader(&dir, 600);
    alive.store(false, Ordering::SeqCst);
    wait_until("it stops sending", || !lease.may_send(0));
    assert!(why.recv_timeout(PATIENCE).unwrap().contains("ran out"));
    alive.store(true, Ordering::SeqCst);
    assert!(!lease.may_send(0));
    assert_eq!(lease.left_ms(), 0);
    // The process is expected to end. Until it does, nobody else gets the lock.
    assert!(try_acquire(options(dir.path(), 600)).unwrap().is_none());
}

#[test]
fn removed_lock_file_ends_leadership() {
    let dir = tempfile::tempdir().unwrap();
    let (lease, _alive, why) = leader(&dir, 900);
    std::fs::remove_file(dir.path().join(LOCK_FILE)).unwrap();
    assert!(why.recv_timeout(PATIENCE).unwrap().contains("removed"));
    assert!(!lease.may_send(0));
}

#[test]
fn released_lease_names_the_last_commit_and_is_taken_over_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let (lease, _alive, why) = leader(&dir, 15_000);
    let other = lease.clone();
    let mut watch = Watch::new(options(dir.path(), 15_000));
    assert!(watch.try_acquire().unwrap().is_none());
    lease.release(77).unwrap();
    assert!(!other.may_send(0));
    let seen = watch.poll();
    assert_eq!(seen.record.unwrap().last_commit, Some(77));
    let mut next = watch.try_acquire().unwrap().expect("the lock is free again");
    assert_eq!(next.settle_term(0).unwrap(), 2);
    assert!(why.recv_timeout(PATIENCE).is_err(), "a released lease is not lost");
}

#[test]
fn dropped_leases_keep_the_lock() {
    let dir = tempfile::tempdir().unwrap();
    let (lease, _alive, why) = leader(&dir, 300);
    drop(lease);
    // The threads drop the callback when they end.
    assert!(why.recv_timeout(PATIENCE).is_err());
    assert!(try_acquire(options(dir.path(), 300)).unwrap().is_none());
}

thread_local! {
    static HAND: Cell<u64> = const { Cell::new(0) };
}

#[test]
fn standby_measures_silence_on_its_own_clock() {
    let dir = tempfile::tempdir().unwrap();
    let mut holder = held(&dir, 15_000);
    HAND.set(5_000_000);
    let clock = || HAND.get();
    let mut watch = Watch::new(Options { clock, ..options(dir.path(), 15_000) });
    let mut later = |ms| {
        HAND.set(HAND.get() + ms);
        watch.poll()
    };
    assert!(!later(0).stale);
    assert!(!later(14_999).stale);
    let opening = later(1);
    assert!(opening.stale);
    assert_eq!(opening.trouble(), None, "a holder that opens its store does not renew");
    assert!(opening.to_string().contains("opening its store"), "{opening}");

    holder.record_mut().state = State::Active;
    holder.write().unwrap();
    assert!(!later(1).stale, "the record has just changed");
    let silent = later(15_000);
    let pid = std::process::id();
    assert_eq!(silent.trouble(), Some(Trouble::Silent { pid, unchanged_ms: 15_000 }));
    assert!(silent.to_string().contains("has not renewed its lease for 15 s"), "{silent}");

    let mut elsewhere = silent;
    elsewhere.holder_state = Some(ProcessState::Gone);
    assert_eq!(elsewhere.trouble(), Some(Trouble::Elsewhere { pid }));
}

/// Not a test of its own: the body of the processes that the tests below start.
///
/// Prints the boot time of every moment at which it could have sent.
#[test]
#[ignore = "started by other tests, with a directory in its environment"]
fn leader_in_a_process_of_its_own() {
    let Ok(dir) = std::env::var(CHILD_DIR) else { return };
    let mut holder = try_acquire(options(Path::new(&dir), CHILD_TTL_MS)).unwrap().unwrap();
    holder.settle_term(0).unwrap();
    let lease = holder.start(|| true, |reason| leave(reason)).unwrap();
    let orphaned = Instant::now() + PATIENCE * 3;
    while Instant::now() < orphaned {
        // Read first: a stop between the two lines then counts as before the stop.
        let at = boot_ms();
        if lease.may_send(0) {
            println!("sends at {at}");
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

/// A leader in another process. It is killed when this is dropped.
struct Other {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Other {
    fn start(dir: &TempDir) -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "--nocapture"])
            .arg("lease::tests::leader_in_a_process_of_its_own")
            .env(CHILD_DIR, dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap());
        let mut line = String::new();
        while !line.starts_with("sends at") {
            line.clear();
            assert_ne!(lines.read_line(&mut line).unwrap(), 0, "the other process leads");
        }
        Self { child, lines }
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }
}

impl Drop for Other {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn killed_holder_is_replaced_at_once_with_a_larger_term() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Other::start(&dir);
    let mut watch = Watch::new(options(dir.path(), CHILD_TTL_MS));
    assert_eq!(watch.poll().holder_state, Some(ProcessState::Running));
    assert!(watch.try_acquire().unwrap().is_none());

    other.child.kill().unwrap();
    other.child.wait().unwrap();
    assert_eq!(watch.poll().holder_state, Some(ProcessState::Gone));
    let mut holder = watch.try_acquire().unwrap().expect("the kernel freed the lock");
    assert_eq!(holder.settle_term(0).unwrap(), 2);
}

#[test]
fn stopped_holder_is_reported_and_never_sends_once_continued() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Other::start(&dir);
    let pid = other.child.id();
    let mut watch = Watch::new(options(dir.path(), CHILD_TTL_MS));
    other.signal(Signal::STOP);
    wait_until("the standby sees that it is stopped", || {
        watch.poll().trouble() == Some(Trouble::Stopped { pid })
    });
    wait_until("its lease runs out", || watch.poll().stale);
    let seen = watch.poll().to_string();
    assert!(seen.contains(&format!("process {pid} is stopped")), "{seen}");
    assert!(watch.try_acquire().unwrap().is_none(), "a stopped process keeps its lock");

    let continued_at = boot_ms();
    other.signal(Signal::CONT);
    assert_eq!(other.child.wait().unwrap().code(), Some(EXIT_LOST));
    let mut line = String::new();
    while other.lines.read_line(&mut line).unwrap() > 0 {
        if let Some(at) = line.trim().strip_prefix("sends at ") {
            assert!(at.parse::<u64>().unwrap() < continued_at, "{line}");
        }
        line.clear();
    }
    assert!(watch.try_acquire().unwrap().is_some());
}

#[test]
fn last_words_that_hang_are_not_waited_for() {
    let (_never, hangs) = std::sync::mpsc::sync_channel::<()>(0);
    let (told, says) = std::sync::mpsc::sync_channel(1);
    super::within(std::time::Duration::from_millis(1), move || {
        told.send(()).unwrap();
        let _ = hangs.recv();
    });
    says.recv().unwrap();
    let (told, says) = std::sync::mpsc::sync_channel(1);
    super::within(std::time::Duration::from_secs(60), move || told.send(()).unwrap());
    says.try_recv().unwrap();
}
