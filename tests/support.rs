//! Real processes for tests: the daemon, the sandbox, a small blocking HTTP client.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take before a test gives up on it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// Waits for a condition; says what it waited for when it does not come.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "gave up waiting for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A blocking client.
pub(crate) struct Http {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
}

impl Http {
    pub(crate) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(PATIENCE)
            .build()
            .unwrap();
        Self { client, runtime }
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Option<(u16, String)> {
        self.runtime.block_on(async {
            let answer = request.send().await.ok()?;
            Some((answer.status().as_u16(), answer.text().await.ok()?))
        })
    }

    /// Status and body; `None` when there was no answer.
    pub(crate) fn try_get(&self, url: &str) -> Option<(u16, String)> {
        self.send(self.client.get(url))
    }

    /// Status and body; `None` when there was no answer.
    pub(crate) fn try_post(&self, url: &str, body: &Value) -> Option<(u16, String)> {
        let request = self.client.post(url).header("content-type", "application/json");
        self.send(request.body(body.to_string()))
    }

    pub(crate) fn get(&self, url: &str) -> Value {
        let (status, body) = self.try_get(url).unwrap_or_else(|| panic!("no answer from {url}"));
        assert!((200..300).contains(&status), "GET {url}: {status} {body}");
        serde_json::from_str(&body).unwrap()
    }

    pub(crate) fn post(&self, url: &str, body: &Value) -> Value {
        let (status, body) = self.try_post(url, body).unwrap_or_else(|| panic!("no answer: {url}"));
        assert!((200..300).contains(&status), "POST {url}: {status} {body}");
        serde_json::from_str(&body).unwrap_or(Value::Null)
    }
}

/// The program under test.
pub(crate) fn duebox() -> Command {
    Command::new(env!("CARGO_BIN_EXE_duebox"))
}

/// The local WeChat.
pub(crate) struct Sandbox {
    child: Child,
    pub(crate) url: String,
}

impl Sandbox {
    pub(crate) fn start(followers: u32) -> Self {
        let mut child = duebox()
            .args(["sandbox", "--listen", "127.0.0.1:0", "--followers", &followers.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").unwrap().to_owned();
        Self { child, url }
    }

    /// What users of an account saw.
    pub(crate) fn ledger(&self, http: &Http, account: usize) -> Value {
        http.get(&format!("{}/_sandbox/ledger?appid=wx{:016}", self.url, account + 1))
    }

    pub(crate) fn faults(&self, http: &Http, faults: &Value) {
        http.post(&format!("{}/_sandbox/faults", self.url), faults);
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A data directory with its configuration.
pub(crate) struct Place {
    dir: tempfile::TempDir,
}

impl Place {
    /// Two tenants, `acme` and `bolt`, at this address; `more` is appended.
    pub(crate) fn new(base_url: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut text = String::from(
            "data_dir = \"data\"\ndrain = \"2s\"\n[admin]\nlisten = \"127.0.0.1:0\"\n\
             [storage]\nmin_free_disk = \"1MiB\"\n",
        );
        for (number, tenant) in ["acme", "bolt"].iter().enumerate() {
            text.push_str(&format!(
                "[tenants.{tenant}]\nappid = \"wx{:016}\"\nsecret = \"sandbox-secret-{}\"\n\
                 base_url = \"{base_url}\"\nconcurrency = 50\nrate = 0\n\
                 [tenants.{tenant}.templates.new_task]\nid = \"{}\"\n",
                number + 1,
                number + 1,
                duebox::sandbox::DEFAULT_TEMPLATE
            ));
        }
        text.push_str(more);
        fs::write(dir.path().join("duebox.toml"), text).unwrap();
        Self { dir }
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.dir.path().join("duebox.toml")
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    /// The same configuration on another data directory.
    pub(crate) fn with_data(&self, data: &str) -> PathBuf {
        let text = fs::read_to_string(self.config()).unwrap();
        let path = self.dir.path().join(format!("{data}.toml"));
        let text = text.replace("data_dir = \"data\"", &format!("data_dir = \"{data}\""));
        fs::write(&path, text).unwrap();
        path
    }
}

/// A running daemon.
pub(crate) struct Daemon {
    pub(crate) child: Child,
    pub(crate) url: String,
    log: PathBuf,
}

impl Daemon {
    /// Starts and waits until it answers, ready or not.
    pub(crate) fn start(place: &Place) -> Self {
        Self::start_with(&place.config(), &place.data(), |_| {})
    }

    pub(crate) fn start_with(config: &Path, data: &Path, more: impl FnOnce(&mut Command)) -> Self {
        let _ = fs::remove_file(data.join("admin.addr"));
        let log = config.with_extension("log");
        let file = fs::OpenOptions::new().create(true).append(true).open(&log).unwrap();
        let mut command = duebox();
        command.args(["serve", "--config"]).arg(config).stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(file);
        more(&mut command);
        let mut daemon = Self { child: command.spawn().unwrap(), url: String::new(), log };
        let address = wait_for("the admin address", || {
            if let Ok(Some(status)) = daemon.child.try_wait() {
                panic!("the daemon ended with {status}: {}", daemon.log());
            }
            fs::read_to_string(data.join("admin.addr")).ok()
        });
        daemon.url = format!("http://{address}");
        daemon
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let pid = i32::try_from(self.child.id()).unwrap();
        let pid = rustix::process::Pid::from_raw(pid).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }

    /// SIGKILL.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM; how it ended.
    pub(crate) fn stop(mut self) -> ExitStatus {
        self.signal(rustix::process::Signal::TERM);
        wait_for("the daemon's end", || self.child.try_wait().unwrap())
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Submits a notice to followers `from..to` of a tenant's account; its id.
pub(crate) fn submit(http: &Http, url: &str, tenant: (usize, &str), from: u32, to: u32) -> String {
    let openids: Vec<String> =
        (from..to).map(|number| duebox::sandbox::follower(tenant.0, number)).collect();
    let body = json!({
        "tenant": tenant.1, "template": "new_task", "key": format!("{}-{from}", tenant.1),
        "data": { "thing1": format!("For those from {from}"), "time2": "2026-11-23 09:00" }, "audience": { "openids": openids },
    });
    let answer = http.post(&format!("{url}/v1/notices"), &body);
    answer["id"].as_str().unwrap().to_owned()
}

/// Waits until a notice is done and gives it.
pub(crate) fn done(http: &Http, url: &str, id: &str) -> Value {
    wait_for("the notice to be done", || {
        let notice = http.get(&format!("{url}/v1/notices/{id}"));
        (notice["state"] == "done").then_some(notice)
    })
}
