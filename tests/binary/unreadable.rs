//! Stores that sled cannot read: by what is in them, or because the disk fails.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::binary::support::audit::{id_of, rows};
use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::{Home, files};
use crate::binary::support::http::Http;
use crate::binary::support::preload::library;
use crate::binary::support::{PATIENCE, until};

/// A directory of format 1 whose index by code was full of runs of `FF`: no start, rebuild or restore
/// of it ended without a panic.
fn unpack(home: &Home) {
    std::fs::create_dir(home.data()).unwrap();
    let archive =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/index-by-number.tar.gz");
    let done = Command::new("tar").arg("xzf").arg(archive).arg("-C").arg(home.data()).status();
    assert!(done.unwrap().success());
}

/// What the log has by code: as the index finds it, and as a look through all of it does.
fn check_log(home: &Home, http: &Http, daemon: &Daemon) {
    let all = rows(http, daemon, "/v1/log");
    let of = |code: i64| all.iter().filter(|row| row["errcode"] == code).count();
    assert_eq!((of(40003), of(43004)), (1, 3000));
    assert!(of(-1) > 8000, "{} of -1", of(-1));
    for code in [-1, 0, 40001, 40003, 43004] {
        let found = rows(http, daemon, &format!("/v1/log?tenant=acme&errcode={code}"));
        assert_eq!(found.len(), of(code), "of {code}\n{}", home.log());
        assert!(found.iter().all(|row| row["errcode"] == code));
    }
}

fn start_held(home: &Home, http: &Http) -> Daemon {
    Daemon::start_as(home, http, &[], "held")
}

#[test]
fn a_directory_that_no_start_could_open_is_brought_up_and_complete() {
    let http = Http::new();
    let home = Home::new("", "");
    unpack(&home);
    let (code, said) = home.run(&["inspect", "data"]);
    assert_eq!(code, 0, "{said}");
    let (code, said) = home.run(&["backup", "data", "backup"]);
    assert_eq!(code, 0, "{said}");
    let daemon = start_held(&home, &http);
    check_log(&home, &http, &daemon);
    daemon.stop(PATIENCE);
    for word in ["panic", "ERROR"] {
        assert!(!home.log().contains(word), "{}", home.log());
    }

    // By a rebuild from the image that was made, and from what the first backup had.
    let (code, said) = home.run(&["rebuild", "data"]);
    assert_eq!(code, 0, "{said}");
    let daemon = start_held(&home, &http);
    check_log(&home, &http, &daemon);
    daemon.kill();
    std::fs::remove_dir_all(home.data()).unwrap();
    let (code, said) = home.run(&["restore", "backup", "data"]);
    assert_eq!(code, 0, "{said}");
    let daemon = start_held(&home, &http);
    check_log(&home, &http, &daemon);
}

fn add(http: &Http, daemon: &Daemon, tasks: usize) -> Vec<String> {
    let batch = json!(vec![json!({ "type": "k", "payload": "x".repeat(300) }); tasks]);
    let added = http.post(&daemon.at("/v1/tasks"), &batch).good();
    added["tasks"].as_array().unwrap().iter().map(id_of).collect()
}

fn ids(http: &Http, daemon: &Daemon) -> Vec<String> {
    rows(http, daemon, "/v1/tasks?type=k").iter().map(id_of).collect()
}

/// sled takes a file whose first reads fail for an empty one.
#[test]
fn a_store_that_reads_as_empty_is_not_served_and_no_image_replaces_the_good_one() {
    let http = Http::new();
    let home = Home::new("", "");
    let shim = library(&home, "failing_reads");
    let daemon = Daemon::start(&home, &http);
    let mut all = add(&http, &daemon, 600);
    http.post(&daemon.at("/v1/backup"), &json!({})).good();
    all.extend(add(&http, &daemon, 20));
    daemon.kill();
    let images = files(&home.data().join("images"), "img");

    let mut refused = 0;
    for range in ["1-9999", "2-5", "2-9999", "3-9999", "5-44", "8-9999"] {
        let _ = std::fs::remove_file(home.data().join("admin.addr"));
        let mut command = Command::new(PROGRAM);
        command.args(["serve", "--config"]).arg(home.config());
        command.env("LD_PRELOAD", &shim).env("FAILING_READS", range);
        let mut daemon = Daemon::spawn_command(&home, &mut command);
        // Either it ends, or it serves all there is.
        let came_up = until("it comes up or ends", PATIENCE, || {
            let up = home.data().join("admin.addr").exists().then_some(true);
            up.or_else(|| daemon.has_ended().then_some(false))
        });
        if came_up {
            daemon.wait_for_address(&home);
            let served = until("it leads or ends", PATIENCE, || {
                if daemon.has_ended() {
                    return Some(false);
                }
                let role = http.try_get(&daemon.at("/readyz"))?.json()["role"].clone();
                (role == "leader").then_some(true)
            });
            if served {
                assert_eq!(ids(&http, &daemon), all, "reads {range}\n{}", home.log());
                daemon.kill();
                continue;
            }
        }
        refused += 1;
        assert!(files(&home.data().join("images"), "img").starts_with(&images), "reads {range}");
    }
    assert!(refused > 0, "no read failed: the shim does nothing\n{}", home.log());

    let daemon = Daemon::start(&home, &http);
    assert_eq!(ids(&http, &daemon), all, "{}", home.log());
}
