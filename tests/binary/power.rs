//! The power goes, at any moment of a life with creation, images, stops, kills and a rebuild: what
//! was acknowledged is there, and who was sent a message is known to have been.
//!
//! A daemon is recorded while it works: each thing that it does to its files. From the notes, the
//! directory is made as the disk would have it after a cut, without what nobody had synced; then a
//! daemon starts on it.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use duebox::data_dir::identity::{FileId, HeldReason};
use fastrand::Rng;
use serde_json::{Value as Json, json};

use crate::binary::support::audit::{notice, rows, submit};
use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::disk::{Disk, Loss, Step, steps};
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::load::{Known, Load, Now};
use crate::binary::support::preload::library;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, rounds, seed};

/// Recipients of each notice.
const RECIPIENTS: u32 = 300;
/// Pause between two looks at what is known.
const LOOK_EVERY: Duration = Duration::from_millis(60);

#[test]
fn whenever_the_power_goes_what_was_acknowledged_is_there() {
    let mut random = Rng::with_seed(seed("power", 1_882));
    let life = Life::record();
    let steps = life.steps();
    let cuts = rounds("DUEBOX_POWER_CUTS", 24) as usize;
    let mut tally = BTreeMap::new();
    let mut disk = Disk::new(None);
    let mut done = 0;
    for at in life.moments(&steps, cuts, &mut random) {
        steps[done..at].iter().for_each(|(_, step)| disk.step(step));
        done = at;
        let loss = if random.bool() { Loss::All } else { Loss::Some(&mut random) };
        let outcome = life.cut(&disk, steps[..at].last().map_or(0, |(end, _)| *end), loss);
        *tally.entry(outcome).or_insert(0) += 1;
    }
    eprintln!("power: {cuts} cuts of {} steps: {tally:?}", steps.len());
    steps[done..].iter().for_each(|(_, step)| disk.step(step));
    life.compare(&disk);
}

/// Were this not to fail, the other test would prove nothing.
#[test]
fn a_disk_that_lies_about_the_journal_loses_what_was_acknowledged() {
    let life = Life::record();
    let mut disk = Disk::new(Some(".jnl"));
    let last = life.looks.last().unwrap();
    let steps = life.steps();
    let before = steps.iter().take_while(|(end, _)| *end <= last.bytes);
    before.for_each(|(_, step)| disk.step(step));
    let home = life.left(&disk, &mut Loss::All);
    let kept = Daemon::start_or_refusal(&home, &life.http, &[]).map_or(0, |daemon| {
        let all = ["/v1/tasks", "/v1/tasks?state=acked"];
        all.iter().map(|list| rows(&life.http, &daemon, list).len()).sum()
    });
    assert!(kept < last.known.len(), "{kept} tasks of {}", last.known.len());
}

/// What was known when the notes had so many bytes.
struct Look {
    bytes: usize,
    known: Known,
    notices: Vec<String>,
    seen: HashMap<String, u32>,
}

/// A recorded life of a data directory.
struct Life {
    http: Http,
    sandbox: Sandbox,
    home: Home,
    library: PathBuf,
    load: Load,
    notices: Vec<String>,
    looks: Vec<Look>,
}

impl Life {
    fn record() -> Self {
        let http = Http::new();
        let sandbox = Sandbox::start(10 * RECIPIENTS, 7);
        sandbox.faults(&http, &json!({ "latency_ms": 20, "lost_answer_permille": 20 }));
        let storage = "journal_file = \"64KiB\"\ncopy_time = \"1s\"\n";
        let home = Home::new("", &format!("{storage}{}", tenant(&sandbox, 0)));
        let library = library(&home, "recorded_disk");
        let (load, notices, looks) = (Load::default(), Vec::new(), Vec::new());
        let mut life = Self { http, sandbox, home, library, load, notices, looks };
        // Creation, an image, a clean stop.
        life.work(1).stop(PATIENCE);
        life.look();
        // A kill. Images half made need none: each of their steps may be the last.
        let daemon = life.work(0);
        life.kill(daemon);
        life.look();
        // Images and old files that go.
        life.work(3).stop(PATIENCE);
        // A store that is made anew.
        let store = life.home.data().join("store");
        assert!(life.recorded("rm").arg("-r").arg(store).status().unwrap().success());
        life.look();
        let daemon = life.work(0);
        life.kill(daemon);
        life.look();
        life
    }

    /// Kills a daemon when all that it has done is noted.
    fn kill(&self, daemon: Daemon) {
        let notes = fs::File::open(self.home.path("notes")).unwrap();
        notes.lock().unwrap();
        daemon.kill();
    }

    /// A command whose changes of the data directory are noted.
    fn recorded(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        command.env("LD_PRELOAD", &self.library).env("RECORDED_ROOT", self.home.data());
        command.env("RECORDED_LOG", self.home.path("notes"));
        command
    }

    /// Starts a daemon, which works for a while and makes so many images.
    fn work(&mut self, images: usize) -> Daemon {
        let _ = fs::remove_file(self.home.data().join("admin.addr"));
        let mut command = self.recorded(PROGRAM);
        command.args(["serve", "--config"]).arg(self.home.config());
        let mut daemon = Daemon::spawn_command(&self.home, &mut command);
        daemon.wait_for_address(&self.home);
        daemon.wait_for_role(&self.http, "leader", PATIENCE);
        let number = u32::try_from(self.notices.len()).unwrap();
        let who = (number * RECIPIENTS, (number + 1) * RECIPIENTS);
        let notice = notice(0, who.0, who.1, &format!("notice {number}"));
        self.notices.push(submit(&self.http, &daemon, &notice));
        self.load.start(&daemon);
        for image in 0..=images {
            for _ in 0..6 {
                // Any moments are right.
                std::thread::sleep(LOOK_EVERY);
                self.look();
            }
            if image < images {
                self.http.post(&daemon.at("/v1/backup"), &json!({})).good();
            }
        }
        self.load.stop();
        daemon
    }

    /// Notes what is known; only then how far the notes are.
    fn look(&mut self) {
        let (known, notices) = (self.load.known(), self.notices.clone());
        let seen = self.sandbox.seen(&self.http, 0);
        let bytes = fs::metadata(self.home.path("notes")).unwrap().len();
        self.looks.push(Look { bytes: usize::try_from(bytes).unwrap(), known, notices, seen });
    }

    fn steps(&self) -> Vec<(usize, Step)> {
        steps(&fs::read(self.home.path("notes")).unwrap())
    }

    /// Numbers of steps after which the power goes, in order: the very moments in which something
    /// had just become known, such in which other things than commits were done, and any.
    fn moments(&self, steps: &[(usize, Step)], count: usize, random: &mut Rng) -> Vec<usize> {
        let looks = self.looks.iter().map(|look| steps.partition_point(|s| s.0 <= look.bytes));
        let looks: Vec<usize> = looks.collect();
        let rare = |step: &Step| !matches!(step, Step::Write { .. } | Step::Sync { .. });
        let near = |at: usize| steps[at.saturating_sub(2)..=at].iter().any(|(_, step)| rare(step));
        let rare: Vec<usize> = (0..steps.len()).filter(|at| near(*at)).map(|at| at + 1).collect();
        let mut moments: Vec<usize> = (0..count)
            .map(|number| match number % 3 {
                0 => looks[random.usize(..looks.len())],
                1 => rare[random.usize(..rare.len())],
                _ => random.usize(..=steps.len()),
            })
            .collect();
        moments.sort_unstable();
        moments
    }

    /// A home with what a cut leaves.
    fn left(&self, disk: &Disk, loss: &mut Loss<'_>) -> Home {
        let home = Home::with(&fs::read_to_string(self.home.config()).unwrap());
        let inodes = disk.cut(&home.data(), loss);
        settle(&home.data(), &inodes);
        home
    }

    /// Holds that all is there after a cut; gives how the directory was opened.
    fn cut(&self, disk: &Disk, bytes: usize, mut loss: Loss<'_>) -> String {
        let all = matches!(loss, Loss::All);
        let home = self.left(disk, &mut loss);
        let last = self.looks.iter().rfind(|look| look.bytes <= bytes);
        let daemon = Daemon::start_or_refusal(&home, &self.http, &[]);
        let daemon = daemon.unwrap_or_else(|why| panic!("refused after {bytes}, {all}: {why}"));
        if let Some(look) = last {
            if look.known.acked() > 0 {
                look.known.check(&self.http, &daemon, Now::Later);
            }
            look.check_notices(&self.http, &daemon);
        }
        let log = home.log();
        let how = ["new", "as it was closed", "after a crash", "made anew"];
        let how = how.iter().find(|how| log.contains(&format!("\"how\":\"{how}")));
        how.unwrap_or_else(|| panic!("{log}")).to_string()
    }

    /// Holds that the notes tell all that was done: made from them, the directory is what it is.
    fn compare(&self, disk: &Disk) {
        let copy = self.home.path("copy");
        disk.cut(&copy, &mut Loss::Nothing);
        let same = Command::new("diff").arg("-r").arg(&copy).arg(self.home.data()).output();
        let same = same.unwrap();
        assert!(same.status.success(), "{}", String::from_utf8_lossy(&same.stdout));
    }
}

impl Look {
    /// Holds that each recipient is there, and that it is on disk that those were sent something
    /// who saw it.
    fn check_notices(&self, http: &Http, daemon: &Daemon) {
        let mut attempts = HashMap::new();
        for id in &self.notices {
            let rows = rows(http, daemon, &format!("/v1/notices/{id}/deliveries"));
            assert_eq!(rows.len(), RECIPIENTS as usize, "recipients of {id}");
            for row in rows {
                let openid = row["openid"].as_str().unwrap().to_owned();
                attempts.insert(openid, row["attempt"].as_u64().unwrap());
            }
        }
        for openid in self.seen.keys() {
            assert!(attempts[openid] > 0, "{openid} saw what nobody is known to have sent");
        }
    }
}

/// The files have other inodes here, by which a directory is known for a copy. After a power cut
/// they have those that they had, in another boot. It is held, so that it can be looked at.
fn settle(data: &Path, inodes: &BTreeMap<PathBuf, u64>) {
    let path = data.join("identity");
    let Ok(text) = fs::read_to_string(&path) else { return };
    let mut identity: Json = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let had = |name: &str| inodes.get(Path::new(name)).copied();
    let is = |name: &str| serde_json::to_value(FileId::at(&data.join(name)).unwrap()).unwrap();
    assert_eq!(identity["place"]["own"]["inode"].as_u64(), had("identity"), "{identity}");
    identity["place"]["own"] = is("identity");
    // Else it would be a copy, and a cut would be tried as nothing else.
    identity["place"]["dir"] = is("");
    identity["place"]["boot"] = json!("0".repeat(32));
    if identity["store"]["inode"].as_u64().is_some_and(|inode| had("store/db") == Some(inode)) {
        identity["store"] = is("store/db");
    }
    identity["held"] = json!(HeldReason::Copy);
    let line = identity.to_string();
    // In place: it stays the file that it names.
    fs::write(&path, format!("{line}\n{:08x}\n", crc32fast::hash(line.as_bytes()))).unwrap();
}
