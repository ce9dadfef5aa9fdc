//! The demo's processes and its directory, all gone when it ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::cli::output::Failure;
use crate::daemon::ADDRESS_FILE;
use crate::sandbox::{DEFAULT_TEMPLATE, Options};

/// The token of the sandbox's own calls: nobody else reaches either of them.
const CALLBACK_TOKEN: &str = "demo-callback-token";
/// How long a process may take to come up.
const START: Duration = Duration::from_secs(60);

fn fault(what: &str, why: impl std::fmt::Display) -> Failure {
    Failure::fault(format!("{what}: {why}"))
}

/// A blocking client for the loopback.
pub(super) struct Http {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Http {
    pub(super) fn new() -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(std::iter::empty())
            .timeout(Duration::from_secs(600))
            .build();
        Ok(Self {
            client: client.map_err(|why| fault("http", why))?,
            runtime: runtime.map_err(|why| fault("runtime", why))?,
        })
    }

    pub(super) fn get(&self, base: &str, path: &str) -> Result<Value, Failure> {
        self.send(self.client.get(format!("{base}{path}")))
    }

    pub(super) fn post(&self, base: &str, path: &str, body: &Value) -> Result<Value, Failure> {
        let request = self.client.post(format!("{base}{path}"));
        self.send(request.header("content-type", "application/json").body(body.to_string()))
    }

    pub(super) fn post_lines(
        &self,
        base: &str,
        path: &str,
        lines: String,
    ) -> Result<Value, Failure> {
        let request = self.client.post(format!("{base}{path}"));
        self.send(request.header("content-type", "application/x-ndjson").body(lines))
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Value, Failure> {
        self.runtime.block_on(async {
            let answer = request.send().await.map_err(|why| fault("http", why))?;
            let status = answer.status();
            let body = answer.bytes().await.map_err(|why| fault("http", why))?;
            if !status.is_success() {
                return Err(fault(status.as_str(), String::from_utf8_lossy(&body)));
            }
            serde_json::from_slice(&body).map_err(|why| fault("answer", why))
        })
    }

    fn is_ready(&self, base: &str) -> bool {
        self.get(base, "/readyz").is_ok()
    }
}

/// The demo's directory.
pub(super) struct Place {
    dir: PathBuf,
    keep: bool,
}

impl Place {
    pub(super) fn new(keep: bool) -> Result<Self, Failure> {
        let dir = std::env::temp_dir().join(format!("duebox-demo-{}", std::process::id()));
        fs::create_dir_all(&dir).map_err(|why| fault("temporary directory", why))?;
        Ok(Self { dir, keep })
    }

    pub(super) fn shown(&self) -> String {
        self.dir.display().to_string()
    }

    fn config(&self) -> PathBuf {
        self.dir.join("duebox.toml")
    }

    fn address(&self) -> Option<String> {
        fs::read_to_string(self.dir.join("data").join(ADDRESS_FILE)).ok()
    }

    pub(super) fn configure(&self, sandbox: &Sandbox, http: &Http) -> Result<(), Failure> {
        let account = &Options::default().tenants[0];
        // The same port before and after the kill, or the sandbox would call nobody.
        let callback = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let callback = callback.map_err(|why| fault("a free port", why))?;
        sandbox.tell(http, &account.appid, callback)?;
        let text = format!(
            "data_dir = \"data\"\n\n[admin]\nlisten = \"127.0.0.1:0\"\n\n[storage]\nmin_free_disk = \"16MiB\"\n\n\
             [callback]\nlisten = \"{callback}\"\n\n\
             [tenants.demo]\nappid = \"{}\"\nsecret = \"{}\"\nbase_url = \"{}\"\nconcurrency = 100\nrate = 0\n\
             callback_token = \"{CALLBACK_TOKEN}\"\n\n\
             [tenants.demo.templates.new_task]\nid = \"{DEFAULT_TEMPLATE}\"\noverflow = \"truncate\"\n",
            account.appid, account.secret, sandbox.url
        );
        fs::write(self.config(), text).map_err(|why| fault("configuration", why))?;
        fs::set_permissions(self.config(), std::os::unix::fs::PermissionsExt::from_mode(0o600))
            .map_err(|why| fault("configuration", why))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if !self.keep {
            let _ = fs::remove_dir_all(&self.dir);
        }
    }
}

fn this_program() -> Result<PathBuf, Failure> {
    std::env::current_exe().map_err(|why| fault("this program's path", why))
}

/// The sandbox's process.
pub(super) struct Sandbox {
    child: Child,
    pub(super) url: String,
}

impl Sandbox {
    /// Says where its events go.
    fn tell(&self, http: &Http, appid: &str, to: std::net::SocketAddr) -> Result<(), Failure> {
        let url = format!("http://{to}/callback/demo");
        let call = json!({"appid": appid, "url": url, "token": CALLBACK_TOKEN});
        http.post(&self.url, "/_sandbox/callback", &call).map(|_| ())
    }

    pub(super) fn start(followers: u32, seed: u64) -> Result<Self, Failure> {
        let mut child = Command::new(this_program()?)
            .args(["sandbox", "--listen", "127.0.0.1:0", "--followers", &followers.to_string()])
            .args(["--seed", &seed.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .map_err(|why| fault("starting the sandbox", why))?;
        let mut line = String::new();
        if let Some(out) = child.stdout.take() {
            BufReader::new(out).read_line(&mut line).map_err(|why| fault("the sandbox", why))?;
        }
        let url = line.trim().strip_prefix("listening on ").unwrap_or_default().to_owned();
        let sandbox = Self { child, url };
        if sandbox.url.is_empty() {
            return Err(fault("the sandbox", "did not say where it listens"));
        }
        Ok(sandbox)
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The daemon's process.
pub(super) struct Daemon {
    child: Child,
    pub(super) url: String,
}

impl Daemon {
    pub(super) fn start(place: &Place, http: &Http) -> Result<Self, Failure> {
        let _ = fs::remove_file(place.dir.join("data").join(ADDRESS_FILE));
        let log = place.dir.join("daemon.log");
        let log = fs::OpenOptions::new().create(true).append(true).open(&log);
        let log = log.map_err(|why| fault("the daemon's log", why))?;
        let child = Command::new(this_program()?)
            .args(["serve", "--config"])
            .arg(place.config())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .map_err(|why| fault("starting the daemon", why))?;
        let mut daemon = Self { child, url: String::new() };
        let deadline = Instant::now() + START;
        while Instant::now() < deadline {
            if let Some(address) = place.address() {
                daemon.url = format!("http://{address}");
                if http.is_ready(&daemon.url) {
                    return Ok(daemon);
                }
            }
            if let Ok(Some(status)) = daemon.child.try_wait() {
                return Err(fault("the daemon", format!("{status}{}", tail(place))));
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Err(fault("the daemon", format!("did not come up{}", tail(place))))
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// SIGKILL.
    pub(super) fn kill(&mut self) -> Result<(), Failure> {
        self.child.kill().map_err(|why| fault("kill", why))?;
        self.child.wait().map_err(|why| fault("wait", why))?;
        Ok(())
    }

    /// SIGTERM, and waits for the clean stop.
    pub(super) fn stop(mut self) -> Result<(), Failure> {
        let pid = i32::try_from(self.child.id()).ok().and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid {
            rustix::process::kill_process(pid, rustix::process::Signal::TERM)
                .map_err(|why| fault("SIGTERM", why))?;
        }
        let status = self.child.wait().map_err(|why| fault("wait", why))?;
        if status.success() { Ok(()) } else { Err(fault("the daemon's stop", status)) }
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The end of the daemon's log, for an error.
fn tail(place: &Place) -> String {
    let text = fs::read_to_string(Path::new(&place.dir).join("daemon.log")).unwrap_or_default();
    let lines: Vec<&str> = text.lines().rev().take(3).collect();
    lines.iter().rev().fold(String::new(), |tail, line| format!("{tail}\n{line}"))
}
