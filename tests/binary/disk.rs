//! A disk that is nearly full, and one that is full.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::binary::support::audit::{id_of, notice, rows};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{BASE, Home, TABLES, files, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::peer::{Answered, serve};
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

/// The tables with a demand that no disk meets.
fn never_enough() -> String {
    format!("{BASE}{TABLES}").replace("min_free_disk = \"0MiB\"", "min_free_disk = \"1024GiB\"")
}

#[test]
fn low_disk_refuses_new_work_and_finishes_the_old() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let task = json!({ "type": "1001", "payload": null });
    let old = id_of(&http.post(&daemon.at("/v1/tasks"), &task).good());
    daemon.kill();

    home.write("duebox.toml", &never_enough());
    let daemon = Daemon::start(&home, &http);
    until("the metrics show it", PATIENCE, || {
        (daemon.metric(&http, "duebox_storage_low") == Some(1.0)).then_some(())
    });
    let refused = http.post(&daemon.at("/v1/tasks"), &task);
    assert_eq!((refused.status, refused.code().as_str()), (507, "storage_low"));
    let claim = json!({ "type": "1001" });
    let claimed = http.post(&daemon.at("/v1/tasks/claim"), &claim).good();
    let claimed = &claimed["tasks"][0];
    assert_eq!(id_of(claimed), old);
    let ack = json!({ "claim": claimed["claim"] });
    assert_eq!(http.post(&daemon.at(&format!("/v1/tasks/{old}/ack")), &ack).status, 200);
}

/// A business system that is asked for notices and always has the same one.
struct Source {
    url: String,
    /// What it was asked for.
    asked: Arc<Mutex<Vec<String>>>,
}

impl Source {
    fn start() -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let noted = asked.clone();
        let answer = json!([notice(0, 0, 1, "pulled")]).to_string();
        let url = serve(move |asked| {
            noted.lock().unwrap().push(asked.head.lines().next().unwrap().to_owned());
            Answered { status: 200, kind: "application/json", body: answer.clone() }
        }) + "/notices?since={last_run}";
        Self { url, asked }
    }
}

#[test]
fn notices_that_a_low_disk_did_not_take_are_asked_for_again() {
    let http = Http::new();
    let sandbox = Sandbox::start(2, 6);
    let source = Source::start();
    let schedule = format!(
        "[[schedules]]\nname = \"new\"\ncron = \"* * * * * ?\"\npull = \"{}\"\n",
        source.url
    );
    let more = format!("{}{schedule}", tenant(&sandbox, 0));
    let home = Home::with(&format!("{}{more}", never_enough()));
    let daemon = Daemon::start(&home, &http);
    let failed = until("runs fail", PATIENCE, || {
        let runs = rows(&http, &daemon, "/v1/runs");
        let failed: Vec<Json> = runs.into_iter().filter(|run| run["outcome"] == "failed").collect();
        (failed.len() > 1).then_some(failed)
    });
    assert!(failed[0].to_string().contains("nearly full"), "{failed:?}");
    daemon.stop(PATIENCE);
    // What is due at a start is no exception.
    for _ in 0..2 {
        let before = source.asked.lock().unwrap().len();
        let daemon = Daemon::start(&home, &http);
        until("it is asked for", PATIENCE, || {
            (source.asked.lock().unwrap().len() > before + 1).then_some(())
        });
        assert_eq!(rows(&http, &daemon, "/v1/notices"), Vec::<Json>::new());
        daemon.stop(PATIENCE);
    }
    let asked = source.asked.lock().unwrap().clone();
    assert!(asked.len() > 1 && asked.iter().all(|since| *since == asked[0]), "{asked:?}");

    home.write("duebox.toml", &format!("{BASE}{TABLES}{more}"));
    let daemon = Daemon::start(&home, &http);
    until("the notice is taken", PATIENCE, || {
        let notices = rows(&http, &daemon, "/v1/notices");
        notices.iter().any(|notice| notice["title"] == "pulled").then_some(())
    });
}

/// A small disk of its own; dropping it unmounts it.
struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Needs the right to mount.
    fn mount(path: PathBuf) -> Option<Self> {
        fs::create_dir_all(&path).unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=128m", "tmpfs"]).arg(&path);
        mount.output().is_ok_and(|done| done.status.success()).then_some(Self(path))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

/// Adds about 3 MiB that cannot be packed; notes what was accepted.
fn add(http: &Http, daemon: &Daemon, random: &mut fastrand::Rng, all: &mut BTreeSet<String>) {
    let mut text = || -> String { (0..60_000).map(|_| random.alphanumeric()).collect() };
    let tasks: Vec<Json> = (0..50).map(|_| json!({ "type": "k", "payload": text() })).collect();
    let added = http.post(&daemon.at("/v1/tasks"), &json!(tasks)).good();
    all.extend(added["tasks"].as_array().unwrap().iter().map(id_of));
}

#[test]
fn a_full_disk_loses_nothing_and_the_daemon_comes_back_by_itself() {
    let http = Http::new();
    let demand = "min_free_disk = \"8MiB\"";
    let tables = TABLES.replace("min_free_disk = \"0MiB\"", demand);
    let home = Home::with(&format!("{BASE}{tables}"));
    let Some(_disk) = SmallDisk::mount(home.data()) else {
        eprintln!("disk: skipped, nothing can be mounted here");
        return;
    };
    let mut random = fastrand::Rng::with_seed(48);
    let mut all = BTreeSet::new();
    let mut daemon = Daemon::start(&home, &http);
    let other = json!({ "type": "other", "payload": 1 });
    let other = id_of(&http.post(&daemon.at("/v1/tasks"), &other).good());
    assert_eq!(http.delete(&daemon.at(&format!("/v1/tasks/{other}"))).status, 200);
    (0..5).for_each(|_| add(&http, &daemon, &mut random, &mut all));
    http.post(&daemon.at("/v1/backup"), &json!({})).good();

    // An image that does not fit leaves nothing behind, and the daemon goes on.
    let filler = home.path("data/filler");
    // The base may still be taking space: then it is tried again.
    let leave = |free: u64| {
        until("the disk is as full as wanted", PATIENCE, || {
            // One that did not fit left a part of it, which is not to be counted.
            let _ = fs::remove_file(&filler);
            let now = duebox::kv::free_bytes(&home.data()).unwrap();
            let bytes = usize::try_from(now.saturating_sub(free)).unwrap();
            fs::write(&filler, vec![1; bytes]).ok()
        });
    };
    leave(10 << 20);
    let refused = http.post(&daemon.at("/v1/backup"), &json!({}));
    assert_eq!(refused.status, 507, "{}", refused.text);
    assert_eq!(files(&home.data().join("images"), "").len(), 1);
    fs::remove_file(&filler).unwrap();
    add(&http, &daemon, &mut random, &mut all);
    assert_eq!(all.len(), 300);

    // Full, by others: nothing is handed out, and what cannot be written is not answered.
    leave(0);
    let claim = json!({ "type": "k", "max": 1 });
    let claimed = || http.try_post(&daemon.at("/v1/tasks/claim"), &claim);
    until("nothing is handed out", PATIENCE, || {
        claimed().is_none_or(|answer| answer.status != 200).then_some(())
    });
    until("what cannot be written ends it", PATIENCE, || {
        let paused = http.try_post(&daemon.at("/v1/queues/other/pause"), &json!({}));
        paused.is_none().then_some(())
    });
    assert_eq!(daemon.wait(PATIENCE).code(), Some(1));
    let logged = home.log().len();
    let _ = fs::remove_file(home.data().join("admin.addr"));
    let mut daemon = Daemon::spawn(&home, &[]);
    until("it waits for space", PATIENCE, || {
        home.log()[logged..].contains("disk.full").then_some(())
    });
    assert!(!daemon.has_ended());
    fs::remove_file(&filler).unwrap();
    daemon.wait_for_address(&home);
    daemon.wait_for_role(&http, "leader", PATIENCE);
    let tasks = |daemon: &Daemon| -> BTreeSet<String> {
        rows(&http, daemon, "/v1/tasks").iter().map(id_of).collect()
    };
    assert_eq!(tasks(&daemon), all);
    daemon.stop(PATIENCE);

    // A store that must be made anew, and no room for it.
    fs::remove_dir_all(home.data().join("store")).unwrap();
    leave(20 << 20);
    let logged = home.log().len();
    let mut daemon = Daemon::spawn(&home, &[]);
    until("it waits for room", PATIENCE, || {
        home.log()[logged..].contains("start.no_room").then_some(())
    });
    assert!(!daemon.has_ended() && !home.data().join("store.building").exists());
    fs::remove_file(&filler).unwrap();
    until("it is made", PATIENCE, || home.log()[logged..].contains("daemon.ready").then_some(()));
    daemon.wait_for_address(&home);
    assert_eq!(tasks(&daemon), all);
}

#[test]
fn neither_a_fast_loader_nor_what_comes_back_eats_what_is_kept_free() {
    let http = Http::new();
    let kept = 48 << 20;
    let tables = TABLES.replace("min_free_disk = \"0MiB\"", "min_free_disk = \"48MiB\"");
    let home = Home::with(&format!("{BASE}{tables}"));
    let Some(_disk) = SmallDisk::mount(home.data()) else {
        eprintln!("disk: skipped, nothing can be mounted here");
        return;
    };
    let mut daemon = Daemon::start(&home, &http);
    let mut random = fastrand::Rng::with_seed(49);
    let mut text = || -> String { (0..60_000).map(|_| random.alphanumeric()).collect() };
    let mut body = || {
        json!(
            (0..50)
                .map(|_| json!({"type": "k", "payload": text(), "max_attempts": 1000}))
                .collect::<Vec<_>>()
        )
    };
    // Far more than there is room for, as fast as it goes.
    until("new work is refused", PATIENCE * 3, || {
        let bodies: Vec<Json> = (0..4).map(|_| body()).collect();
        let answers = http.post_at_once(&daemon.at("/v1/tasks"), &bodies);
        assert!(answers.iter().all(|answer| matches!(answer.status, 200 | 507)));
        answers.iter().any(|answer| answer.status == 507).then_some(())
    });
    let free = || duebox::kv::free_bytes(&home.data()).unwrap();
    assert!(free() > kept / 4, "{} bytes are free", free());

    // What is handed out and comes back at once takes space each time: it ends before the disk does.
    let claim = json!({"type": "k", "max": 300});
    let mut rounds = 0;
    let scarce = until("nothing is handed out any more", PATIENCE * 8, || {
        rounds += 1;
        let claimed = http.post(&daemon.at("/v1/tasks/claim"), &claim);
        if claimed.status == 507 {
            return Some(claimed.code());
        }
        let tasks = claimed.good()["tasks"].as_array().unwrap().clone();
        let back = |task: &Json| json!({"id": task["id"], "claim": task["claim"], "nack": {"delay_ms": 0}});
        let items: Vec<Json> = tasks.iter().map(back).collect();
        http.post(&daemon.at("/v1/tasks/settle"), &json!({"items": items})).good();
        None
    });
    assert_eq!(scarce, "storage_low", "after {rounds} rounds");
    assert!(free() > 4 << 20, "{} bytes are free", free());
    assert!(!daemon.has_ended());
    assert_eq!(http.get(&daemon.at("/healthz")).status, 200);
}
