//! Looking at directories, right and hostile ones, and what copies must not hold.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value as Json, json};

use crate::binary::support::audit::{access_token, id_of, notice};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

/// Files below a directory that hold these bytes.
fn holding(dir: &Path, bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(holding(&path, bytes));
        } else if fs::read(&path).unwrap().windows(bytes.len()).any(|window| window == bytes) {
            found.push(path.file_name().unwrap().to_string_lossy().into_owned());
        }
    }
    found
}

#[test]
fn access_tokens_are_in_nothing_that_is_kept_and_outlive_a_restart() {
    let http = Http::new();
    let sandbox = Sandbox::start(20, 8);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let send = |daemon: &Daemon, key: &str| {
        let id = id_of(&http.post(&daemon.at("/v1/notices"), &notice(0, 0, 5, key)).good());
        until("the notice is done", PATIENCE, || {
            let seen = http.get(&daemon.at(&format!("/v1/notices/{id}"))).good();
            (seen["state"] == "done").then_some(())
        });
    };
    send(&daemon, "one");
    http.post(&daemon.at("/v1/backup"), &json!({})).good();
    let (code, said) = home.run(&["backup", "data", "copy"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("as of 20") && said.contains("ago"), "{said}");
    let token = access_token(&home);
    assert_eq!(holding(&home.path("copy"), token.as_bytes()), Vec::<String>::new());
    assert_eq!(holding(&home.data(), token.as_bytes()), ["tokens"]);
    let fetched = sandbox.token_fetches(&http, 0);
    daemon.kill();
    let daemon = Daemon::start(&home, &http);
    send(&daemon, "two");
    assert_eq!(sandbox.token_fetches(&http, 0), fetched, "the token was known");
}

/// A directory that was closed cleanly, with a task in it.
fn closed(http: &Http) -> Home {
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, http);
    http.post(&daemon.at("/v1/tasks"), &json!({"type": "a", "payload": 1})).good();
    daemon.stop(PATIENCE);
    home
}

#[test]
fn a_look_tells_what_is_there_and_ends_as_a_start_would() {
    let http = Http::new();
    let home = closed(&http);
    let (code, said) = home.run(&["inspect", "data"]);
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("instance") && said.contains("last commit   20"), "{said}");
    let (code, said) = home.run(&["inspect", "--json", "data"]);
    let seen: Json = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &seen["refuses"]), (0, &json!(false)));
    assert_eq!(seen["identity"]["instance"].as_str().unwrap().len(), 32, "{seen}");
    assert!(seen["last_commit_at"].as_str().unwrap() > "2026", "{seen}");

    for nowhere in ["none", "duebox.toml"] {
        let (code, said) = home.run(&["inspect", nowhere]);
        assert!(code == 1 && said.contains("directory"), "{code} {said}");
        let (code, said) = home.run(&["backup", nowhere, "x"]);
        assert!(code == 1 && said.contains("directory"), "{code} {said}");
    }
    for within in ["data/bk", "data/deep/er", "./data/../data/x"] {
        let (code, said) = home.run(&["backup", "data", within]);
        assert!(code == 1 && said.contains("within"), "{within}: {code} {said}");
        assert!(!home.path(within).exists());
    }
    symlink(home.path("nothing/there"), home.path("link")).unwrap();
    let (code, said) = home.run(&["backup", "data", "link"]);
    assert!(code == 1 && said.contains("leads nowhere"), "{code} {said}");

    // Without its journal no daemon would work on it.
    fs::remove_dir_all(home.data().join("journal")).unwrap();
    fs::remove_dir_all(home.data().join("store")).unwrap();
    let (code, said) = home.run(&["inspect", "data"]);
    assert!(code == 4 && said.contains("refuse: "), "{code} {said}");
    let mut daemon = Daemon::spawn(&home, &[]);
    assert_eq!(daemon.wait(PATIENCE).code(), Some(4), "as was foretold");
}

/// One that is newer than all others.
const IMAGE: &str = "images/00000000000000000019.img";

/// Runs to the end, however bad, within a time and little memory.
fn ends(home: &Home, args: &[&str], what: &str) {
    let began = Instant::now();
    let limited = Command::new("sh")
        .args(["-c", "ulimit -v 3000000; exec \"$0\" \"$@\""])
        .arg(crate::binary::support::daemon::PROGRAM)
        .args(args)
        .current_dir(home.path(""))
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn();
    let mut child = limited.unwrap();
    let status = until(what, PATIENCE, || child.try_wait().unwrap());
    assert!(status.code().is_some_and(|code| code != 101), "{what}: {status:?}");
    assert!(began.elapsed() < Duration::from_secs(20), "{what}");
}

#[test]
fn what_somebody_else_made_is_not_waited_for_nor_read_for_ever() {
    let http = Http::new();
    let sound = closed(&http);
    let journal = |home: &Home| {
        fs::read_dir(home.data().join("journal")).unwrap().next().unwrap().unwrap().path()
    };
    type Put = fn(&Path);
    let put: [(&str, Put); 3] = [
        ("a pipe", |path| {
            assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
        }),
        ("a device", |path| symlink("/dev/zero", path).unwrap()),
        ("a hole", |path| File::create(path).unwrap().set_len(4 << 30).unwrap()),
    ];
    for (what, put) in put {
        for name in ["identity", "mark", "lease.json", "journal", "store/db", IMAGE] {
            let home = sound.copied();
            let _ = fs::create_dir(home.data().join("images"));
            let path = if name == "journal" { journal(&home) } else { home.data().join(name) };
            let _ = fs::remove_file(&path);
            put(&path);
            ends(&home, &["inspect", "data"], &format!("inspect with {what} as {name}"));
            ends(&home, &["restore", "data", "made"], &format!("restore with {what} as {name}"));
            ends(&home, &["backup", "data", "bk"], &format!("backup with {what} as {name}"));
        }
    }
}
