//! Slow copies of a directory that goes on being written: images are made, the journal rotates and
//! is trimmed, and the daemon stops or dies, all while files are copied in any order.
//!
//! A copy holds everything acknowledged before it began, or it is refused; it is never silently
//! less. Refused are only copies that took longer than `storage.copy_time`, and such that span a
//! stop, as long as the operator does not say so.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use fastrand::Rng;
use serde_json::json;

use crate::binary::support::copier::{Copied, Copier, Listing};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, files};
use crate::binary::support::http::Http;
use crate::binary::support::load::{Known, Load, Now};
use crate::binary::support::{PATIENCE, rounds, seed, until};

/// Copies when nobody asks for more.
const FEW: u32 = 5;
/// Longest copy in a few rounds, and in many, in milliseconds.
const LONGEST_MS: [u64; 2] = [1_000, 5_000];
/// Longer ago than a copy may take.
const LONG_AGO: Duration = Duration::from_secs(3_600);

/// Length of what takes a removed file's place.
const NOTE_BYTES: u64 = 56;

/// What happens while a copy is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meanwhile {
    /// Commits, images, rotation, and trimming of what was not needed when the copy began.
    Work,
    /// The same, and a kill and a start.
    Kill,
    /// The same, and a clean stop and a start.
    Stop,
    /// The same, and the copy takes longer than it may: all files are made to look old.
    Outlived,
}

const KINDS: [(Meanwhile, Listing); 8] = [
    (Meanwhile::Work, Listing::Before),
    (Meanwhile::Outlived, Listing::Before),
    (Meanwhile::Kill, Listing::ByDirectory),
    (Meanwhile::Stop, Listing::Before),
    (Meanwhile::Work, Listing::ByDirectory),
    (Meanwhile::Outlived, Listing::ByDirectory),
    (Meanwhile::Kill, Listing::Before),
    (Meanwhile::Stop, Listing::ByDirectory),
];

#[test]
fn slow_copies_hold_everything_acknowledged_before_or_are_refused() {
    let rounds = rounds("DUEBOX_COPY_ROUNDS", FEW);
    let mut random = Rng::with_seed(seed("slow_copies", 815));
    let longest = LONGEST_MS[usize::from(rounds > FEW)];
    let first = random.usize(..KINDS.len());
    let mut tally = Tally::default();
    let mut original = Original::new(random.fork());
    for round in 0..rounds {
        if round > 0 && (round as usize).is_multiple_of(KINDS.len()) {
            // A directory that grows for ever would make each copy cost more than the one before.
            tally.add(original);
            original = Original::new(random.fork());
        }
        let (meanwhile, listing) = KINDS[(first + round as usize) % KINDS.len()];
        let length = Duration::from_millis(random.u64(500..=longest));
        let (known, copy, copied) = original.copy(meanwhile, listing, length);
        let verdict = original.judge(meanwhile, &known, &copy);
        eprintln!(
            "slow_copies: {}/{rounds} {meanwhile:?}, {listing:?}: {} files, {} KiB, {} vanished, \
             {} grown, {} ms; {} acked before: {verdict:?}",
            round + 1,
            copied.files,
            copied.bytes / 1024,
            copied.vanished.len(),
            copied.grown,
            copied.took.as_millis(),
            known.acked(),
        );
        tally.note(meanwhile, &copied, verdict);
    }
    tally.add(original);
    eprintln!("slow_copies: {tally:?}");
    assert!(tally.grown > 0 && tally.trimmed > 0, "copies met nothing: {tally:?}");
}

/// What came of all copies.
#[derive(Debug, Default)]
struct Tally {
    complete: u32,
    /// Copies that took too long.
    refused_outlived: u32,
    /// Copies that span a stop.
    refused_stop: u32,
    vanished: usize,
    grown: usize,
    /// Files of journal and images that were removed while a copy was made.
    trimmed: usize,
}

impl Tally {
    fn note(&mut self, meanwhile: Meanwhile, copied: &Copied, verdict: Verdict) {
        match (verdict, meanwhile) {
            (Verdict::Complete, _) => self.complete += 1,
            (Verdict::Refused, Meanwhile::Outlived) => self.refused_outlived += 1,
            (Verdict::Refused, _) => self.refused_stop += 1,
        }
        self.vanished += copied.vanished.len();
        self.grown += copied.grown;
    }

    fn add(&mut self, original: Original) {
        original.load.known().check(&original.http, original.daemon(), Now::Still);
        self.trimmed += original.trimmed;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    Complete,
    Refused,
}

/// The directory that is copied, with its daemon and clients at work.
struct Original {
    http: Http,
    home: Home,
    random: Rng,
    daemon: Option<Daemon>,
    load: Load,
    /// Files that went while they may have been copied.
    trimmed: usize,
}

impl Original {
    /// With a history of which nobody needs the beginning any more.
    fn new(random: Rng) -> Self {
        let http = Http::new();
        let home = Home::new("", "journal_file = \"64KiB\"\n");
        let daemon = Daemon::start(&home, &http);
        let mut load = Load::default();
        load.start(&daemon);
        let mut new = Self { http, home, random, daemon: Some(daemon), load, trimmed: 0 };
        for _ in 0..3 {
            new.work();
            new.make_image();
        }
        new.load.stop();
        new
    }

    fn daemon(&self) -> &Daemon {
        self.daemon.as_ref().unwrap()
    }

    /// Waits until the clients have done something.
    fn work(&self) {
        let more = self.load.known().acked() + 100;
        until("the clients work", PATIENCE, || (self.load.known().acked() > more).then_some(()));
    }

    fn make_image(&self) {
        self.http.post(&self.daemon().at("/v1/backup"), &json!({})).good();
    }

    /// Makes a copy while things happen; gives also what was acknowledged before it began.
    fn copy(
        &mut self,
        meanwhile: Meanwhile,
        listing: Listing,
        length: Duration,
    ) -> (Known, Home, Copied) {
        let data = self.home.data();
        age(&data);
        let before = archived(&data);
        self.load.start(self.daemon.as_ref().unwrap());
        self.work();
        let copy = Home::with(&fs::read_to_string(self.home.config()).unwrap());
        let mut copier = Copier { random: self.random.fork(), listing, length };
        let known = self.load.known();
        let began = Instant::now();
        let (from, to) = (data.clone(), copy.data());
        let copying = std::thread::spawn(move || copier.copy(&from, &to));
        let mut ends_at = Some(length.mul_f64(self.random.f64()));
        while !copying.is_finished() {
            // Not too often: an image of each moment would hide what is between them.
            std::thread::sleep(Duration::from_millis(self.random.u64(20..120)));
            match meanwhile {
                Meanwhile::Kill | Meanwhile::Stop
                    if ends_at.is_some_and(|at| at <= began.elapsed()) =>
                {
                    ends_at = None;
                    self.end_and_start(meanwhile);
                }
                Meanwhile::Outlived => age(&data),
                Meanwhile::Kill | Meanwhile::Stop | Meanwhile::Work => {}
            }
            self.make_image();
        }
        self.load.stop();
        let after = archived(&data);
        self.trimmed += before.iter().filter(|path| !after.contains(path)).count();
        (known, copy, copying.join().unwrap())
    }

    fn end_and_start(&mut self, meanwhile: Meanwhile) {
        let daemon = self.daemon.take().unwrap();
        if meanwhile == Meanwhile::Stop {
            daemon.stop(PATIENCE);
        } else {
            daemon.kill();
        }
        self.load.stop();
        // A copy meets the stopped directory, too.
        std::thread::sleep(Duration::from_millis(self.random.u64(0..300)));
        let daemon = Daemon::start(&self.home, &self.http);
        self.load.start(&daemon);
        self.daemon = Some(daemon);
    }

    /// Starts a copy and compares it with what was known before it began.
    fn judge(&self, meanwhile: Meanwhile, known: &Known, copy: &Home) -> Verdict {
        let why = match Daemon::start_or_refusal(copy, &self.http, &["--adopt"]) {
            Ok(daemon) => {
                known.check(&self.http, &daemon, Now::Later);
                return Verdict::Complete;
            }
            Err(why) => why,
        };
        match meanwhile {
            Meanwhile::Outlived => {}
            Meanwhile::Work | Meanwhile::Kill => panic!("{why}"),
            Meanwhile::Stop => {
                assert!(why.contains("remove the file `identity`"), "{why}");
                fs::remove_file(copy.data().join("identity")).unwrap();
                let daemon = Daemon::start_as(copy, &self.http, &["--adopt"], "leader");
                known.check(&self.http, &daemon, Now::Later);
            }
        }
        Verdict::Refused
    }
}

/// Journal files and images; not the short notes of those that were removed.
fn archived(data: &Path) -> Vec<PathBuf> {
    let mut found =
        [files(&data.join("journal"), ".jnl"), files(&data.join("images"), ".img")].concat();
    found.retain(|path| fs::metadata(path).is_ok_and(|meta| meta.len() > NOTE_BYTES));
    found
}

/// Makes files look as if they had been written long ago.
fn age(data: &Path) {
    let long_ago = SystemTime::now() - LONG_AGO;
    for path in archived(data) {
        // It may go in this moment.
        if let Ok(file) = File::options().append(true).open(&path) {
            file.set_modified(long_ago).unwrap();
        }
    }
}
