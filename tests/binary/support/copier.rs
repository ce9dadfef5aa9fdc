//! A slow copy of a directory that is being written, as a network disk or a busy machine makes it.

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use fastrand::Rng;

/// Pauses of one copy: many short ones.
const PAUSES: u64 = 60;
/// Least bytes between two pauses.
const LEAST_CHUNK: u64 = 4 * 1024;
/// A file that grows faster than it is copied is left at this many times its first length.
const GROWTH: u64 = 4;

/// When the names are read.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Listing {
    /// All of them before the first byte is copied, as rsync does; then in any order.
    Before,
    /// Those of a directory when its turn comes, as cp does; directories and files in any order.
    ByDirectory,
}

/// What happened to a copy.
#[derive(Debug, Default)]
pub(crate) struct Copied {
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    /// Files that were there when the names were read, but not when their turn came.
    pub(crate) vanished: Vec<PathBuf>,
    /// Files that were longer at their end than when they were opened.
    pub(crate) grown: usize,
    pub(crate) took: Duration,
}

/// One copy being made.
pub(crate) struct Copier {
    pub(crate) random: Rng,
    pub(crate) listing: Listing,
    /// About how long it takes.
    pub(crate) length: Duration,
}

impl Copier {
    /// Copies `from` to `to`, which must not exist.
    pub(crate) fn copy(&mut self, from: &Path, to: &Path) -> Copied {
        let began = Instant::now();
        let mut copied = Copied::default();
        let mut waiting = vec![PathBuf::new()];
        if matches!(self.listing, Listing::Before) {
            waiting = all_below(from, Path::new(""));
        }
        let bytes: u64 =
            all_below(from, Path::new("")).iter().map(|name| length(&from.join(name))).sum();
        let mut pace = Pace::new(bytes, self.length);
        while !waiting.is_empty() {
            let name = waiting.swap_remove(self.random.usize(..waiting.len()));
            let source = from.join(&name);
            if source.is_dir() {
                fs::create_dir_all(to.join(&name)).unwrap();
                if matches!(self.listing, Listing::ByDirectory) {
                    // A directory's files follow its listing, as with cp.
                    let mut names = names_in(from, &name);
                    self.random.shuffle(&mut names);
                    for name in names {
                        if from.join(&name).is_dir() {
                            waiting.push(name);
                        } else {
                            self.copy_file(from, to, name, &mut pace, &mut copied);
                        }
                    }
                }
                continue;
            }
            self.copy_file(from, to, name, &mut pace, &mut copied);
        }
        copied.took = began.elapsed();
        copied
    }

    fn copy_file(
        &mut self,
        from: &Path,
        to: &Path,
        name: PathBuf,
        pace: &mut Pace,
        copied: &mut Copied,
    ) {
        let mut source = match File::open(from.join(&name)) {
            Ok(source) => source,
            Err(error) if error.kind() == ErrorKind::NotFound => {
                copied.vanished.push(name);
                return;
            }
            Err(error) => panic!("{}: {error}", name.display()),
        };
        let target = to.join(&name);
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        let mut target = File::create(target).unwrap();
        let first = source.metadata().unwrap().len();
        // Some tools stop at the length that they saw first, others where the file ends by then.
        let most = if self.random.bool() { first } else { first.saturating_mul(GROWTH) };
        let mut buffer = vec![0; usize::try_from(pace.chunk).unwrap()];
        let mut done = 0;
        while done < most {
            let want = buffer.len().min(usize::try_from(most - done).unwrap());
            let count = source.read(&mut buffer[..want]).unwrap();
            if count == 0 {
                break;
            }
            target.write_all(&buffer[..count]).unwrap();
            done += count as u64;
            pace.pause(count as u64, &mut self.random);
        }
        // Also a small file takes its time.
        pace.pause(pace.chunk / 4, &mut self.random);
        copied.files += 1;
        copied.bytes += done;
        copied.grown += usize::from(source.metadata().unwrap().len() > first);
    }
}

/// Spreads pauses over the bytes of a copy.
struct Pace {
    chunk: u64,
    since: u64,
    average_us: u64,
    /// From then on there are no pauses: what grew meanwhile shall not make it take for ever.
    until: Instant,
}

impl Pace {
    fn new(bytes: u64, length: Duration) -> Self {
        let chunk = (bytes / PAUSES).max(LEAST_CHUNK);
        let pauses = (bytes / chunk).max(1);
        let average_us = u64::try_from(length.as_micros()).unwrap() / pauses;
        Self { chunk, since: 0, average_us, until: Instant::now() + length }
    }

    fn pause(&mut self, bytes: u64, random: &mut Rng) {
        self.since += bytes;
        if self.since >= self.chunk && Instant::now() < self.until {
            self.since = 0;
            // Being slow is what this is for.
            std::thread::sleep(Duration::from_micros(random.u64(0..=2 * self.average_us)));
        }
    }
}

/// The names below a directory, relative to `root`, directories included.
fn all_below(root: &Path, name: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for name in names_in(root, name) {
        if root.join(&name).is_dir() {
            found.extend(all_below(root, &name));
        }
        found.push(name);
    }
    found
}

/// The names in a directory, relative to `root`; none when it vanished.
fn names_in(root: &Path, name: &Path) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(root.join(name)) else { return Vec::new() };
    entries.map(|entry| name.join(entry.unwrap().file_name())).collect()
}

fn length(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |meta| if meta.is_file() { meta.len() } else { 0 })
}
