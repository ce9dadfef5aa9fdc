//! The daemon under load: its directory, its process, what it uses.

use std::fs;
use std::net::SocketAddr;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use crate::Outcome;
use crate::args::Common;
use crate::client::Client;
use crate::report::{Report, round};

/// Longest start: millions of rows may have to be replayed.
const START: Duration = Duration::from_secs(600);
/// Longest clean stop.
const STOP: Duration = Duration::from_secs(300);
/// Between two looks at a process that starts or stops; the error of those times.
const LOOK: Duration = Duration::from_millis(5);
/// Ticks of a processor second in `/proc`: 100 on every Linux that Rust knows.
const TICKS: f64 = 100.0;

/// A directory of its own for one scenario: configuration, data, log.
pub(crate) struct Home {
    dir: tempfile::TempDir,
}

impl Home {
    /// Makes the directory.
    pub(crate) fn new(common: &Common) -> Outcome<Self> {
        let mut builder = tempfile::Builder::new();
        let builder = builder.prefix("load-").disable_cleanup(common.keep);
        Ok(Self { dir: builder.tempdir_in(&common.dir)? })
    }

    /// Writes the configuration; `more` comes after the daemon's own part.
    pub(crate) fn configure(&self, more: &str) -> Outcome<()> {
        let data = self.data();
        let data = data.to_str().ok_or("the directory's name is no text")?;
        let own = format!("data_dir = {data:?}\n\n[admin]\nlisten = \"127.0.0.1:0\"\n");
        Ok(fs::write(self.config(), format!("{own}\n{more}"))?)
    }

    /// Starts the daemon and waits until it is ready.
    pub(crate) async fn start(&self) -> Outcome<Daemon> {
        // What an earlier process left would name its port.
        match fs::remove_file(self.data().join("admin.addr")) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let log = fs::OpenOptions::new().create(true).append(true).open(self.log())?;
        let began = Instant::now();
        let child = Command::new(binary())
            .args(["serve".as_ref(), "--config".as_ref(), self.config().as_os_str()])
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .map_err(|error| format!("{}: {error}", binary().display()))?;
        let addr = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut daemon = Daemon { child, addr, data: self.data(), ready_after: Duration::ZERO };
        daemon.wait_until_ready(began).await?;
        Ok(daemon)
    }

    /// The end of the daemon's log, for a person who has to find out why.
    pub(crate) fn tail(&self) -> String {
        let log = fs::read(self.log()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log[log.len().saturating_sub(16 * 1024)..]);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }

    /// Where everything is.
    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn config(&self) -> PathBuf {
        self.dir.path().join("duebox.toml")
    }

    fn log(&self) -> PathBuf {
        self.dir.path().join("daemon.log")
    }
}

fn binary() -> PathBuf {
    std::env::var_os("DUEBOX_BIN").map_or(env!("CARGO_BIN_EXE_duebox").into(), PathBuf::from)
}

/// The running daemon. Killed when dropped.
pub(crate) struct Daemon {
    child: Child,
    /// Where it listens.
    pub(crate) addr: SocketAddr,
    /// From its start until it said that it was ready.
    pub(crate) ready_after: Duration,
    data: PathBuf,
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Daemon {
    async fn wait_until_ready(&mut self, began: Instant) -> Outcome<()> {
        let mut last = "it never wrote where it listens".to_owned();
        while began.elapsed() < START {
            if let Some(status) = self.child.try_wait()? {
                return Err(format!("the daemon ended while starting: {status}").into());
            }
            match self.is_ready().await {
                Ok(Some(addr)) => {
                    self.ready_after = began.elapsed();
                    self.addr = addr;
                    return Ok(());
                }
                Ok(None) => {}
                Err(error) => last = error.to_string(),
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(format!("the daemon was not ready in {} s: {last}", START.as_secs()).into())
    }

    async fn is_ready(&self) -> Outcome<Option<SocketAddr>> {
        let Ok(text) = fs::read_to_string(self.data.join("admin.addr")) else { return Ok(None) };
        let addr: SocketAddr = text.trim().parse()?;
        let mut client = Client::connect(addr).await?;
        match client.ask("GET", "/readyz", "").await? {
            200 => Ok(Some(addr)),
            status => Err(format!("/readyz says {status}").into()),
        }
    }

    /// Asks it to stop and returns how long that took. Any end but a clean one is an error.
    pub(crate) async fn stop(mut self) -> Outcome<Duration> {
        let began = Instant::now();
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM)?;
        while began.elapsed() < STOP {
            match self.child.try_wait()? {
                Some(status) if status.success() => return Ok(began.elapsed()),
                Some(status) => return Err(format!("the daemon ended with {status}").into()),
                None => tokio::time::sleep(LOOK).await,
            }
        }
        Err(format!("the daemon did not stop in {} s", STOP.as_secs()).into())
    }

    /// Kills it as a crash would.
    pub(crate) fn crash(mut self) -> Outcome<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Resident memory now, MB of 10^6 bytes.
    pub(crate) fn resident_mb(&self) -> f64 {
        self.status_mb("VmRSS:")
    }

    /// The most it ever had resident, MB.
    pub(crate) fn peak_mb(&self) -> f64 {
        self.status_mb("VmHWM:")
    }

    fn status_mb(&self, field: &str) -> f64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id()));
        let status = status.unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix(field));
        let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
        round(kib.unwrap_or(0.0) * 1024.0 / 1e6, 1)
    }

    /// Blocks of its data directory, MB.
    pub(crate) fn disk_mb(&self) -> f64 {
        round(blocks(&self.data) as f64 * 512.0 / 1e6, 1)
    }

    /// Adds what the daemon and the generator used so far.
    pub(crate) fn account(&self, report: &mut Report) {
        report.put("rss_mb", json!(self.resident_mb()));
        report.put("rss_peak_mb", json!(self.peak_mb()));
        report.put("disk_mb", json!(self.disk_mb()));
        report.put("daemon_cpu_s", json!(processor_seconds(&self.child.id().to_string())));
        report.put("client_cpu_s", json!(processor_seconds("self")));
    }
}

fn blocks(dir: &Path) -> u64 {
    let Ok(entries) = fs::read_dir(dir) else { return 0 };
    let size = |entry: fs::DirEntry| match entry.metadata() {
        Ok(meta) if meta.is_dir() => blocks(&entry.path()),
        Ok(meta) => meta.blocks(),
        Err(_) => 0,
    };
    entries.flatten().map(size).sum()
}

/// User and system time of a process and its threads.
fn processor_seconds(process: &str) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
    // The name may hold spaces; what follows its closing parenthesis is regular.
    let after_name = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let ticks = after_name.split_whitespace().skip(11).take(2);
    round(ticks.filter_map(|field| field.parse::<f64>().ok()).sum::<f64>() / TICKS, 2)
}
