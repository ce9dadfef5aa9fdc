//! kill -9 in a loop, at any moment, also while starting and while an image is made: what was
//! acknowledged is there.
//!
//! A round costs the same however many went before: it looks at what was acknowledged in the round
//! before and at a sample of the rest. Now and then, and at the end, all of it is looked at.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, files};
use crate::binary::support::http::Http;
use crate::binary::support::load::{Load, Now};
use crate::binary::support::{rounds, seed};

/// Tasks of any age that each round looks at.
const SAMPLE: usize = 50;
/// Rounds between two looks at everything.
const ALL_EVERY: u32 = 100;
/// Rounds between two lines of progress.
const TOLD_EVERY: u32 = 50;
/// Every so many rounds the daemon is stopped, not killed.
const STOP_EVERY: u32 = 10;
/// Every so many rounds a daemon is killed while it starts.
const KILL_START_EVERY: u32 = 3;
/// Every so many rounds an image is asked for shortly before the kill.
const IMAGE_EVERY: u32 = 4;

#[test]
fn everything_acknowledged_survives_a_loop_of_kills() {
    let mut run = Run::new(seed("kill_loop", 4_711));
    let rounds = rounds("DUEBOX_KILL_ROUNDS", 12);
    for round in 0..rounds {
        run.round(round);
        if (round + 1) % TOLD_EVERY == 0 || round + 1 == rounds {
            run.tell(round + 1);
        }
    }
    run.finish();
}

struct Run {
    http: Http,
    home: Home,
    random: fastrand::Rng,
    load: Load,
    began: Instant,
    /// How long the last start took.
    start: Duration,
    kills: u32,
    kills_of_starts: u32,
    images_asked: usize,
    /// Images that never became one.
    cut_images: BTreeSet<PathBuf>,
}

impl Run {
    fn new(seed: u64) -> Self {
        Self {
            http: Http::new(),
            home: Home::new("", ""),
            random: fastrand::Rng::with_seed(seed),
            load: Load::default(),
            began: Instant::now(),
            start: Duration::from_millis(100),
            kills: 0,
            kills_of_starts: 0,
            images_asked: 0,
            cut_images: BTreeSet::new(),
        }
    }

    fn round(&mut self, round: u32) {
        if round % KILL_START_EVERY == KILL_START_EVERY - 1 {
            self.kill_while_starting();
        }
        let began = Instant::now();
        let daemon = Daemon::start(&self.home, &self.http);
        self.start = began.elapsed();
        if round % ALL_EVERY == ALL_EVERY - 1 {
            self.load.known().check(&self.http, &daemon, Now::Still);
        }
        self.load.lately(&mut self.random, SAMPLE).check_each(&self.http, &daemon, Now::Still);
        self.load.start(&daemon);
        let image = round % IMAGE_EVERY == IMAGE_EVERY - 1;
        // The random moment is the test.
        std::thread::sleep(Duration::from_millis(self.random.u64(20..400)));
        if round % STOP_EVERY == STOP_EVERY - 1 {
            daemon.stop(Duration::from_secs(20));
        } else if image {
            self.kill_while_imaging(daemon);
        } else {
            daemon.kill();
            self.kills += 1;
        }
        self.load.stop();
        let images = self.home.data().join("images");
        if images.exists() {
            self.cut_images.extend(files(&images, ".part"));
        }
    }

    /// Kills a start at any moment, or just after it.
    fn kill_while_starting(&mut self) {
        let longest = u64::try_from(self.start.as_millis()).unwrap() * 5 / 4;
        let after = Duration::from_millis(self.random.u64(0..=longest));
        let began = Instant::now();
        let daemon = Daemon::spawn(&self.home, &[]);
        // The random moment is the test.
        std::thread::sleep(after.saturating_sub(began.elapsed()));
        daemon.kill();
        self.kills_of_starts += 1;
    }

    fn kill_while_imaging(&mut self, daemon: Daemon) {
        let url = daemon.at("/v1/backup");
        let image = std::thread::spawn(move || Http::new().try_post(&url, &json!({})).is_some());
        self.images_asked += 1;
        // The random moment is the test.
        std::thread::sleep(Duration::from_millis(self.random.u64(0..60)));
        daemon.kill();
        self.kills += 1;
        image.join().unwrap();
    }

    fn tell(&self, rounds: u32) {
        let known = self.load.known();
        eprintln!(
            "kill_loop: round {rounds}, {} tasks added and {} acked for certain, {} kills, {} of \
             starts, {} images cut, {} s",
            known.len(),
            known.acked(),
            self.kills,
            self.kills_of_starts,
            self.cut_images.len(),
            self.began.elapsed().as_secs(),
        );
    }

    fn finish(self) {
        let Self { http, home, load, .. } = &self;
        // A process that dies again and again must not fill the disk with images.
        let images = files(&home.data().join("images"), ".img").len();
        assert!(images <= self.images_asked, "{images} images, {} asked for", self.images_asked);
        let daemon = Daemon::start(home, http);
        load.known().check(http, &daemon, Now::Still);
        daemon.stop(Duration::from_secs(20));
        let (code, told) = home.run(&["inspect", "data"]);
        assert_eq!(code, 0, "{told}");
        assert!(told.contains("usable"), "{told}");
        let log = home.log();
        assert!(!log.contains("quarantin"), "{log}");
        // A kill takes nothing from the store, so that it never has to be made anew.
        assert!(!log.contains("archive.rebuild"), "{log}");
    }
}
