//! Damaged directories and wrong configurations: rebuilt or refused, in words.

use std::collections::BTreeSet;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use serde_json::{Value as Json, json};

use crate::binary::support::audit::id_of;
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{BASE, Home, TABLES, files};
use crate::binary::support::http::Http;
use crate::binary::support::load::{Known, Load, Now};
use crate::binary::support::{PATIENCE, rounds, until};

fn work(daemon: &Daemon, load: &mut Load) -> Known {
    let more = load.known().acked() + 50;
    load.start(daemon);
    until("the clients work", PATIENCE, || (load.known().acked() > more).then_some(()));
    load.stop();
    load.known()
}

/// Flips bits in the middle of a file.
fn damage(path: &Path) {
    let file = OpenOptions::new().read(true).write(true).open(path).unwrap();
    let at = file.metadata().unwrap().len() / 2;
    let mut bytes = [0; 64];
    let length = file.read_at(&mut bytes, at).unwrap();
    bytes.iter_mut().for_each(|byte| *byte ^= 0xff);
    file.write_all_at(&bytes[..length], at).unwrap();
}

fn truncate(path: &Path) {
    let file = OpenOptions::new().write(true).open(path).unwrap();
    file.set_len(file.metadata().unwrap().len() / 2).unwrap();
}

/// How the directory was left, and how the store is harmed.
#[derive(Clone, Copy, Debug)]
enum Left {
    Stopped,
    Killed,
}

#[test]
fn damaged_store_is_rebuilt_and_nothing_is_lost() {
    type Harm = fn(&Path);
    let harms: [(&str, Harm, Left); 5] = [
        ("removed", |store| fs::remove_dir_all(store).unwrap(), Left::Stopped),
        ("truncated", |store| truncate(&store.join("db")), Left::Stopped),
        ("damaged", |store| damage(&store.join("db")), Left::Stopped),
        ("db removed", |store| fs::remove_file(store.join("db")).unwrap(), Left::Killed),
        ("truncated", |store| truncate(&store.join("db")), Left::Killed),
    ];
    let http = Http::new();
    let home = Home::new("", "");
    let mut load = Load::default();
    for (name, harm, left) in harms {
        let daemon = Daemon::start(&home, &http);
        let known = work(&daemon, &mut load);
        match left {
            Left::Stopped => daemon.stop(PATIENCE),
            Left::Killed => daemon.kill(),
        }
        harm(&home.data().join("store"));
        let logged = home.log().len();
        let daemon = Daemon::start(&home, &http);
        known.check(&http, &daemon, Now::Still);
        let said = home.log()[logged..].to_owned();
        let loud = said.lines().any(|line| line.contains("WARN") || line.contains("ERROR"));
        let rebuilt = loud && said.contains("made anew from");
        // What is cut off after a crash may be nothing that was ever in use.
        let unused = matches!(left, Left::Killed) && said.contains("after a crash");
        assert!(rebuilt || unused, "{name}, {left:?}: {said}");
        daemon.stop(PATIENCE);
    }
}

/// Seeds places and kinds of damage.
const SEED: u64 = 31;
/// Tasks in the store: enough for a dozen of its segments.
const TASKS: usize = 6_000;

/// Adds so many tasks and notes their ids.
fn fill(http: &Http, daemon: &Daemon, count: usize, all: &mut BTreeSet<String>) {
    let text = "x".repeat(900);
    for from in (0..count).step_by(1_000) {
        let task = |at| json!({ "type": "big", "payload": [at, text] });
        let tasks: Vec<Json> = (from..count.min(from + 1_000)).map(task).collect();
        let added = http.post(&daemon.at("/v1/tasks"), &json!(tasks)).good();
        all.extend(added["tasks"].as_array().unwrap().iter().map(id_of));
    }
}

/// Reads all tasks; `None` when the daemon ended meanwhile, or did not even start.
fn all_tasks(home: &Home, http: &Http) -> Option<BTreeSet<String>> {
    let address = home.data().join("admin.addr");
    let _ = fs::remove_file(&address);
    let mut daemon = Daemon::spawn(home, &[]);
    until("the daemon is up or has ended", PATIENCE, || {
        if daemon.has_ended() {
            return Some(());
        }
        daemon.url = format!("http://{}", fs::read_to_string(&address).ok()?);
        (http.try_get(&daemon.at("/readyz"))?.status == 200).then_some(())
    });
    let (mut all, mut cursor) = (BTreeSet::new(), String::new());
    loop {
        let page = daemon.at(&format!("/v1/tasks?type=big&limit=1000{cursor}"));
        let Some(page) = http.try_get(&page).filter(|page| page.status == 200) else {
            // Whoever meets damage says so for the next start; one that changes something ends.
            let suspect = home.data().join("suspect");
            until("the store is noted as suspect", PATIENCE, || {
                (daemon.has_ended() || suspect.exists()).then_some(())
            });
            return None;
        };
        let page = page.json();
        all.extend(page["items"].as_array().unwrap().iter().map(id_of));
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return Some(all),
        }
    }
}

#[test]
fn random_damage_after_a_crash_is_never_a_silent_loss() {
    let http = Http::new();
    let home = Home::new("", "");
    let mut all = BTreeSet::new();
    let mut count = TASKS;
    let mut random = fastrand::Rng::with_seed(SEED);
    for round in 0..rounds("DUEBOX_DAMAGE_ROUNDS", 3) {
        // A clean stop puts everything into the store; after the kill nothing says what its files
        // must be.
        let daemon = Daemon::start(&home, &http);
        fill(&http, &daemon, count, &mut all);
        count = 50;
        daemon.stop(PATIENCE);
        Daemon::start(&home, &http).kill();
        let db = home.data().join("store/db");
        let mut bytes = fs::read(&db).unwrap();
        let length = bytes.len();
        let at = random.usize(0..length);
        let name = match round % 3 {
            0 => {
                bytes.truncate(at);
                "truncated"
            }
            1 => {
                bytes[at..length.min(at + 4_096)].fill(0);
                "zeroed"
            }
            _ => {
                bytes[at] ^= 0x10;
                "flipped"
            }
        };
        // Written over, not replaced: another inode would tell.
        let file = OpenOptions::new().write(true).open(&db).unwrap();
        file.write_all_at(&bytes, 0).unwrap();
        file.set_len(bytes.len() as u64).unwrap();
        let logged = home.log().len();
        // A daemon that meets the damage later ends, and the next one rebuilds.
        let found = (0..3).find_map(|_| all_tasks(&home, &http));
        let said = home.log()[logged..].to_owned();
        let found = found.unwrap_or_else(|| panic!("{name} at {at} of {length}: {said}"));
        let missing = all.difference(&found).count();
        assert_eq!(missing, 0, "{name} at {at} of {length}: lost silently: {said}");
    }
}

#[test]
fn broken_journal_without_a_store_is_refused_and_touches_nothing() {
    let http = Http::new();
    let home = Home::new("", "");
    let mut load = Load::default();
    // Every start begins a new journal file.
    for _ in 0..3 {
        let daemon = Daemon::start(&home, &http);
        work(&daemon, &mut load);
        daemon.stop(PATIENCE);
    }
    let journals = files(&home.data().join("journal"), "");
    assert!(journals.len() >= 3, "{journals:?}");
    for image in files(&home.data(), "images").iter().flat_map(|images| files(images, "")) {
        fs::remove_file(image).unwrap();
    }
    let whole = fs::read(&journals[1]).unwrap();
    damage(&journals[1]);
    let (store, aside) = (home.data().join("store"), home.path("aside"));
    fs::rename(&store, &aside).unwrap();
    let (code, told) = home.run(&["serve", "--config", "duebox.toml"]);
    assert_eq!(code, 4, "{told}");
    assert!(told.contains("error: ") && told.contains("hint: "), "{told}");
    assert!(told.contains("restore"), "{told}");
    let (_, told) = home.run(&["inspect", "data"]);
    assert!(told.contains("not usable"), "{told}");

    // The refusal destroyed nothing: with the file as it was, everything is there.
    fs::write(&journals[1], whole).unwrap();
    let daemon = Daemon::start(&home, &http);
    load.known().check(&http, &daemon, Now::Still);
}

#[test]
fn broken_journal_beside_a_clean_store_loses_nothing() {
    let http = Http::new();
    let home = Home::new("", "");
    let mut load = Load::default();
    for _ in 0..3 {
        let daemon = Daemon::start(&home, &http);
        work(&daemon, &mut load);
        daemon.stop(PATIENCE);
    }
    let journals = files(&home.data().join("journal"), "");
    damage(&journals[1]);
    let daemon = Daemon::start(&home, &http);
    load.known().check(&http, &daemon, Now::Still);
}

#[test]
fn wrong_configuration_ends_with_2_and_names_the_key() {
    let serve = ["serve", "--config", "duebox.toml"];
    let secret = "[tenants.acme]\nappid = \"wx1\"\nsecret_file = \"none.secret\"\n";
    for (config, wanted) in [
        (format!("{BASE}drian = \"1s\"\n{TABLES}"), &["drian", "did you mean drain"][..]),
        (format!("{BASE}{TABLES}{secret}"), &["tenants.acme.secret_file", "none.secret"]),
        (format!("{BASE}[admin]\nlisten = \"0.0.0.0:0\"\n"), &["admin.listen", "token_file"]),
    ] {
        let home = Home::with(&config);
        let (code, told) = home.run(&serve);
        assert_eq!(code, 2, "{told}");
        wanted.iter().for_each(|part| assert!(told.contains(part), "{part}: {told}"));
        assert!(!home.data().exists(), "nothing was opened");
    }
}
