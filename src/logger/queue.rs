//! The bounded queue of lines, and the thread that writes them.

use std::collections::VecDeque;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, poll};
use rustix::io::Errno;

/// Bytes of lines that wait to be written; what comes when it is full is lost.
const QUEUE_BYTES: usize = 1024 * 1024;
/// Longest line; the rest is cut.
const LINE_BYTES: usize = 16 * 1024;

/// Where lines go.
pub(super) trait Sink: Send + 'static {
    /// Writes some of it and says how much. May block.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize>;
}

/// The file that the process was started with as its standard error.
///
/// Written without the lock of [`io::Stderr`]: this thread may hang in a write for ever.
pub(super) struct StandardError;

impl Sink for StandardError {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            match rustix::io::write(io::stderr(), bytes) {
                Err(Errno::INTR) => {}
                // Somebody made it non-blocking: wait for room as a blocking write would.
                Err(Errno::AGAIN) => {
                    let file = io::stderr();
                    let _ = poll(&mut [PollFd::new(&file, PollFlags::OUT)], None);
                }
                done => return Ok(done?),
            }
        }
    }
}

/// Lines on their way.
#[derive(Default)]
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    changed: Condvar,
    lost: AtomicU64,
}

#[derive(Default)]
struct Waiting {
    lines: VecDeque<Vec<u8>>,
    bytes: usize,
    /// The thread is in a write.
    writing: bool,
}

impl Queue {
    /// A queue with its thread.
    pub(super) fn start(sink: impl Sink) -> io::Result<Arc<Self>> {
        let queue = Arc::new(Self::default());
        let own = queue.clone();
        std::thread::Builder::new().name("logger".into()).spawn(move || own.write_to(sink))?;
        Ok(queue)
    }

    /// Takes a line, with its line end. Never blocks on anything but memory.
    pub(super) fn push(&self, line: &[u8]) {
        let line = cut(line);
        let mut waiting = self.lock();
        if waiting.bytes + line.len() > QUEUE_BYTES {
            self.lost.fetch_add(1, Ordering::Relaxed);
            return;
        }
        waiting.bytes += line.len();
        waiting.lines.push_back(line);
        self.changed.notify_all();
    }

    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// Waits until nothing waits, at most this long.
    pub(super) fn settle(&self, patience: Duration) {
        let end = Instant::now() + patience;
        let mut waiting = self.lock();
        while waiting.writing || !waiting.lines.is_empty() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return;
            }
            let woken = self.changed.wait_timeout(waiting, left);
            waiting = woken.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next(&self) -> Vec<u8> {
        let mut waiting = self.lock();
        loop {
            if let Some(line) = waiting.lines.pop_front() {
                waiting.bytes -= line.len();
                waiting.writing = true;
                return line;
            }
            waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner);
        }
    }

    fn write_to(&self, mut sink: impl Sink) {
        // A line that broke off must not run into the next one.
        let (mut torn, mut told) = (false, 0);
        loop {
            let mut line = self.next();
            if torn {
                line.insert(0, b'\n');
            }
            let (written, failed) = write_all(&mut sink, &line);
            torn = if written == 0 { torn } else { written < line.len() };
            if failed {
                self.lost.fetch_add(1, Ordering::Relaxed);
            }
            self.lock().writing = false;
            self.changed.notify_all();
            let lost = self.lost();
            if !failed && lost > told {
                let lines = lost - told;
                told = lost;
                tracing::warn!(
                    event = "log.lost",
                    lines,
                    "{lines} log lines were lost before this"
                );
            }
        }
    }
}

/// How much was written, and whether that is less than all.
fn write_all(sink: &mut impl Sink, line: &[u8]) -> (usize, bool) {
    let mut written = 0;
    while written < line.len() {
        match sink.write(&line[written..]) {
            Ok(0) | Err(_) => return (written, true),
            Ok(count) => written += count,
        }
    }
    (written, false)
}

fn cut(line: &[u8]) -> Vec<u8> {
    if line.len() <= LINE_BYTES {
        return line.to_vec();
    }
    // Between two characters.
    let mut end = LINE_BYTES - 1;
    while end > 0 && line[end] & 0xC0 == 0x80 {
        end -= 1;
    }
    [&line[..end], b"\n"].concat()
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const SOON: Duration = Duration::from_secs(10);

    /// Gives each write to a test, which says what comes of it.
    struct Told(mpsc::SyncSender<Vec<u8>>, mpsc::Receiver<io::Result<usize>>);

    impl Sink for Told {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.send(bytes.to_vec()).unwrap();
            self.1.recv().unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()))
        }
    }

    fn told() -> (Told, mpsc::Receiver<Vec<u8>>, mpsc::SyncSender<io::Result<usize>>) {
        let (out, seen) = mpsc::sync_channel(16);
        let (answer, answers) = mpsc::sync_channel(16);
        (Told(out, answers), seen, answer)
    }

    #[test]
    fn lines_that_could_not_be_written_are_counted_and_the_next_begins_anew() {
        let (sink, seen, answer) = told();
        let queue = Queue::start(sink).unwrap();
        queue.push(b"one\n");
        queue.push(b"two\n");
        assert_eq!(seen.recv_timeout(SOON).unwrap(), b"one\n");
        answer.send(Ok(2)).unwrap();
        assert_eq!(seen.recv_timeout(SOON).unwrap(), b"e\n");
        answer.send(Err(io::ErrorKind::StorageFull.into())).unwrap();
        assert_eq!(seen.recv_timeout(SOON).unwrap(), b"\ntwo\n");
        assert_eq!(queue.lost(), 1);
        answer.send(Ok(5)).unwrap();
        queue.settle(SOON);
        assert_eq!(queue.lost(), 1);
    }

    #[test]
    fn a_reader_that_does_not_read_costs_bounded_memory_and_bounded_time() {
        let (sink, seen, _answer) = told();
        let queue = Queue::start(sink).unwrap();
        queue.push(b"first\n");
        seen.recv_timeout(SOON).unwrap();
        // The thread hangs in its write now.
        let line = vec![b'x'; 1024];
        for _ in 0..2 * QUEUE_BYTES / line.len() {
            queue.push(&line);
        }
        assert_eq!(queue.lost(), (QUEUE_BYTES / line.len()) as u64);
        let began = Instant::now();
        queue.settle(Duration::from_millis(20));
        assert!(began.elapsed() >= Duration::from_millis(20) && began.elapsed() < SOON);
    }

    #[test]
    fn long_lines_are_cut_between_characters() {
        let short = cut("通".repeat(LINE_BYTES).as_bytes());
        assert!(short.len() <= LINE_BYTES && short.ends_with(b"\n"));
        assert!(String::from_utf8(short).is_ok());
        assert_eq!(cut(b"a\n"), b"a\n");
    }
}
