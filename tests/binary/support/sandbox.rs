//! The sandbox as a process of its own: it survives the daemons, so its ledger is the truth.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use serde_json::{Value as Json, json};

use super::daemon::PROGRAM;
use super::http::Http;

/// A running sandbox; dropping it ends it.
pub(crate) struct Sandbox {
    child: Child,
    pub(crate) url: String,
}

/// One account's id and secret in the sandbox; accounts count from 0.
pub(crate) fn account(number: usize) -> (String, String) {
    let account = duebox::sandbox::Options::default().tenants.swap_remove(number);
    (account.appid, account.secret)
}

impl Sandbox {
    pub(crate) fn start(followers: u32, seed: u64) -> Self {
        let mut child = Command::new(PROGRAM)
            .args(["sandbox", "--listen", "127.0.0.1:0"])
            .args(["--followers", &followers.to_string(), "--seed", &seed.to_string()])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let url = line.trim().strip_prefix("listening on ").expect("the sandbox says where");
        Self { child, url: url.to_owned() }
    }

    /// What goes wrong from now on; see [`duebox::sandbox::Faults`].
    pub(crate) fn faults(&self, http: &Http, faults: &Json) {
        http.post(&format!("{}/_sandbox/faults", self.url), faults).good();
    }

    pub(crate) fn no_faults(&self, http: &Http) {
        self.faults(http, &json!({}));
    }

    /// The summary of one account's ledger.
    pub(crate) fn ledger(&self, http: &Http, number: usize) -> Json {
        let appid = account(number).0;
        http.get(&format!("{}/_sandbox/ledger?appid={appid}", self.url)).good()
    }

    /// How often an account's token was fetched.
    pub(crate) fn token_fetches(&self, http: &Http, number: usize) -> u64 {
        self.ledger(http, number)["token_fetches"][account(number).0].as_u64().unwrap()
    }

    /// How many messages an account's users saw.
    pub(crate) fn shown(&self, http: &Http, number: usize) -> u64 {
        self.ledger(http, number)["accepted"].as_u64().unwrap()
    }

    /// All messages that an account's users saw: how many each saw.
    pub(crate) fn seen(&self, http: &Http, number: usize) -> HashMap<String, u32> {
        let base = format!("{}/_sandbox/ledger/messages", self.url);
        let appid = account(number).0;
        let (mut seen, mut after) = (HashMap::new(), String::new());
        loop {
            let page = http.get(&format!("{base}?appid={appid}&limit=5000{after}")).good();
            for message in page["messages"].as_array().unwrap() {
                *seen.entry(message["openid"].as_str().unwrap().to_owned()).or_default() += 1;
            }
            match &page["next"] {
                Json::Null => return seen,
                next => after = format!("&after={next}"),
            }
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
