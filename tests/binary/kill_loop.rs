//! kill -9 in a loop, at any moment, also while starting: what was acknowledged is there.

use std::time::{Duration, Instant};

use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::Home;
use crate::binary::support::http::Http;
use crate::binary::support::load::{Load, Now};
use crate::binary::support::rounds;

const SEED: u64 = 4_711;
#[test]
fn everything_acknowledged_survives_a_loop_of_kills() {
    let http = Http::new();
    let home = Home::new("", "");
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut load = Load::default();
    let began = Instant::now();
    for round in 0..rounds("DUEBOX_KILL_ROUNDS", 12) {
        if round % 3 == 2 {
            kill_while_starting(&home, random.u64(0..60));
        }
        let daemon = Daemon::start(&home, &http);
        load.start(&daemon);
        // The random moment is the test.
        std::thread::sleep(Duration::from_millis(random.u64(20..400)));
        daemon.kill();
        load.stop();
        // A check reads everything: in a long loop it would soon be most of the work.
        if (round < 40 && round % 4 == 3) || round % 50 == 49 {
            check(&home, &http, &load);
            eprintln!("{} kills, {} s", round + 1, began.elapsed().as_secs());
        }
    }
    check(&home, &http, &load);
    let (code, told) = home.run(&["inspect", "data"]);
    assert_eq!(code, 0, "{told}");
    assert!(told.contains("usable"), "{told}");
    assert!(!home.log().contains("quarantin"), "{}", home.log());
}

fn kill_while_starting(home: &Home, after_ms: u64) {
    let began = Instant::now();
    let daemon = Daemon::spawn(home, &[]);
    let after = Duration::from_millis(after_ms);
    // The random moment is the test.
    std::thread::sleep(after.saturating_sub(began.elapsed()));
    daemon.kill();
}

fn check(home: &Home, http: &Http, load: &Load) {
    let daemon = Daemon::start(home, http);
    load.known().check(http, &daemon, Now::Still);
    daemon.stop(Duration::from_secs(20));
}
