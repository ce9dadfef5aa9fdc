//! The README, as pasted: what it prints works, and what there is stands in it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::Home;
use crate::binary::support::http::Http;

fn readme() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    fs::read_to_string(path).unwrap()
}

/// The first shell commands under a heading.
fn commands(readme: &str, heading: &str) -> String {
    let (_, section) = readme.split_once(&format!("\n## {heading}\n")).unwrap();
    let (_, block) = section.split_once("```sh\n").unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// An address of which nobody else knows.
fn free() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[test]
fn what_is_to_be_tried_by_hand_works_as_printed() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("skipped: curl is not installed");
        return;
    }
    let home = Home::new("", "");
    fs::create_dir(home.path("bin")).unwrap();
    symlink(PROGRAM, home.path("bin/duebox")).unwrap();
    let (admin, sandbox) = (free(), free());
    let printed = commands(&readme(), "Try it by hand");
    let (built, rest) = printed.split_once('\n').unwrap();
    assert!(built.starts_with("cargo build --release && export PATH="), "{built}");
    // The usual ports may be taken on this machine: the same commands with others.
    let rest = rest
        .replace("duebox sandbox >", &format!("duebox sandbox --listen {sandbox} >"))
        .replace("[tenants.acme]\n", &format!("admin.listen = \"{admin}\"\n[tenants.acme]\n"))
        .replace("duebox notice ", &format!("duebox notice --server http://{admin} "))
        .replace("duebox log ", &format!("duebox log --server http://{admin} "))
        .replace("127.0.0.1:7280", &admin)
        .replace("127.0.0.1:7290", &sandbox);
    let script = format!("set -e\n{rest}wait\n");
    let path = format!("{}:{}", home.path("bin").display(), std::env::var("PATH").unwrap());
    let output = Command::new("timeout")
        .args(["60", "bash", "-m", "-c", &script])
        .current_dir(home.path(""))
        .env("PATH", path)
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    let errors = String::from_utf8_lossy(&output.stderr).into_owned();
    let log = fs::read_to_string(home.path("serve.log")).unwrap_or_default();
    assert!(output.status.success(), "{said}\n{errors}\n{log}");
    for wanted in [
        "\"ready\":true",
        "\"created\":true",
        "\"recipients\":2",
        "Job 4711",
        "o00F0000000000000000000002",
        "\"payload\":{\"article\": 7}",
    ] {
        assert!(said.contains(wanted), "{wanted}: {said}\n{errors}");
    }
    assert!(log.contains("daemon.stopped"), "{log}");
}

#[test]
fn every_call_and_every_key_stands_in_it() {
    let (http, home, readme) = (Http::new(), Home::new("", ""), readme());
    let daemon = Daemon::start(&home, &http);
    let document = http.get(&daemon.at("/openapi.json")).good();
    let paths = document["paths"].as_object().unwrap();
    assert!(paths.len() > 30, "{}", paths.len());
    for path in paths.keys().filter(|path| !path.starts_with("/api/")) {
        let words = path.split('/').filter(|word| !word.is_empty() && !word.starts_with('{'));
        for word in words {
            assert!(readme.contains(word), "{path}: {word}");
        }
    }
    let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("systemd/duebox.toml");
    for line in fs::read_to_string(example).unwrap().lines() {
        let Some((key, _)) = line.trim_start_matches('#').split_once(" = ") else { continue };
        let last = key.rsplit('.').next().unwrap();
        if last.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
            assert!(readme.contains(last), "{line}");
        }
    }
}
