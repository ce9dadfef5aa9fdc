//! The business's own question, asked right before sending: who is still bound?

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use serde_json::{Value as Json, json};

use crate::binary::support::audit::{count, done, notice, rows, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::peer::{Answered, serve};
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

/// A register of who is bound: everybody but every fifth. It answers what it is told to until it is well.
struct Register {
    url: String,
    ill: Arc<Mutex<Option<(u16, &'static str)>>>,
    asked: Arc<Mutex<Vec<Json>>>,
}

impl Register {
    fn start(ill: (u16, &'static str)) -> Self {
        let (ill, asked) = (Arc::new(Mutex::new(Some(ill))), Arc::new(Mutex::new(Vec::new())));
        let (now_ill, noted) = (ill.clone(), asked.clone());
        let url = serve(move |asked| {
            let line = asked.head.lines().next().unwrap();
            assert!(line.starts_with("POST /bound?key=canary "), "{line}");
            let question: Json = serde_json::from_slice(&asked.body).unwrap();
            let gone = question["openids"].as_array().unwrap().iter();
            let gone: Vec<_> = gone.filter(|one| is_gone(one.as_str().unwrap())).collect();
            let (status, body) = match *now_ill.lock().unwrap() {
                Some((status, answer)) => (status, answer.to_owned()),
                None => (200, json!({ "gone": gone }).to_string()),
            };
            noted.lock().unwrap().push(question);
            Answered { status, kind: "application/json", body }
        }) + "/bound?key=canary";
        Self { url, ill, asked }
    }
}

fn is_gone(openid: &str) -> bool {
    openid.bytes().last().is_some_and(|last| last % 5 == 0)
}

#[test]
fn who_is_no_longer_bound_is_skipped_and_no_answer_lets_nobody_pass() {
    const PEOPLE: u32 = 300;
    let http = Http::new();
    let sandbox = Sandbox::start(PEOPLE, 9);
    for ill in [(503, "busy"), (200, "<html>"), (200, "{\"items\": []}")] {
        let register = Register::start(ill);
        let check = format!("check = \"{}\"\n[tenants.t0.templates", register.url);
        let table = tenant(&sandbox, 0).replacen("[tenants.t0.templates", &check, 1);
        let home = Home::new("", &table);
        let daemon = Daemon::start(&home, &http);
        let before = sandbox.shown(&http, 0);
        let id = submit(&http, &daemon, &notice(0, 0, PEOPLE, "checked"));
        let tenant = until("the tenant rests", PATIENCE, || {
            let tenants = http.get(&daemon.at("/v1/tenants")).good();
            let tenant = tenants["items"][0].clone();
            (register.asked.lock().unwrap().len() > 1 && !tenant["reason"].is_null())
                .then_some(tenant)
        });
        let why = tenant["reason"].as_str().unwrap();
        assert!(why.contains("the check at http://127.0.0.1:"), "{tenant}");
        assert!(!why.contains("canary"), "{tenant}");
        assert_eq!(sandbox.shown(&http, 0), before, "nobody passes");
        *register.ill.lock().unwrap() = None;
        http.post(&daemon.at("/v1/tenants/t0/resume"), &json!({})).good();
        let end = done(&http, &daemon, &id, PATIENCE);
        let mut reached = BTreeSet::new();
        for row in rows(&http, &daemon, &format!("/v1/notices/{id}/deliveries")) {
            let openid = row["openid"].as_str().unwrap();
            let wanted = if is_gone(openid) { "skipped" } else { "accepted" };
            assert_eq!(row["state"], wanted, "{row}");
            if is_gone(openid) {
                assert_eq!((&row["reason"], &row["attempt"]), (&json!("gone"), &json!(0)), "{row}");
            } else {
                assert_eq!(row["attempt"], 1, "no answer costs no attempt: {row}");
                reached.insert(openid.to_owned());
            }
        }
        assert_eq!(count(&end, "accepted"), reached.len() as u64, "{end}");
        assert!(!reached.is_empty() && reached.len() < PEOPLE as usize);
        assert_eq!(sandbox.shown(&http, 0) - before, reached.len() as u64);
        let asked = register.asked.lock().unwrap();
        assert!(asked.iter().all(|one| one["tenant"] == "t0" && one["notice"] == id.as_str()));
        assert!(asked.len() < PEOPLE as usize / 2, "many are asked for at once: {}", asked.len());
    }
}
