//! Damaged directories and wrong configurations: rebuilt or refused, in words.

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::support::daemon::Daemon;
use crate::support::home::{BASE, Home, TABLES, files};
use crate::support::http::Http;
use crate::support::load::{Known, Load, Now};
use crate::support::{PATIENCE, until};

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
        assert!(loud && said.contains("Rebuilt"), "{name}, {left:?}: {said}");
        daemon.stop(PATIENCE);
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
