//! WeChat's own calls, from the sandbox and from the public SDK: in every mode, early, twice, never.

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use duebox::sandbox::follower;
use serde_json::{Value as Json, json};

use crate::binary::support::audit::{count, done, look, notice, rows, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::python::python;
use crate::binary::support::sandbox::{Sandbox, account};
use crate::binary::support::{PATIENCE, until};

const TOKEN: &str = "callback-token-of-this-test";
const KEY: &str = "abcdefghijklmnopqrstuvwxyz0123456789ABCDEFG";

fn with_callback(sandbox: &Sandbox, number: usize) -> String {
    let keys = format!("callback_token = \"{TOKEN}\"\nencoding_aes_key = \"{KEY}\"\n");
    tenant(sandbox, number).replacen("rate = 0\n", &format!("rate = 0\n{keys}"), 1)
}

fn tell_sandbox(http: &Http, sandbox: &Sandbox, daemon: &Daemon, mode: &str, format: &str) {
    let call = json!({
        "appid": account(0).0, "url": daemon.at("/callback/t0"), "token": TOKEN,
        "encoding_aes_key": KEY, "mode": mode, "format": format,
    });
    http.post(&format!("{}/_sandbox/callback", sandbox.url), &call).good();
}

/// Each person's fate by the sandbox's ledger: what the receipt said, or that none came.
fn told(http: &Http, sandbox: &Sandbox) -> BTreeMap<String, &'static str> {
    let url = format!("{}/_sandbox/ledger/messages?limit=5000", sandbox.url);
    let page = http.get(&url).good();
    let state = |message: &Json| match message["receipt"].as_str() {
        Some("success") => "delivered",
        Some(_) => "failed",
        None => "accepted",
    };
    let messages = page["messages"].as_array().unwrap().iter();
    messages.map(|it| (it["openid"].as_str().unwrap().to_owned(), state(it))).collect()
}

#[test]
fn receipts_of_every_mode_say_what_became_of_each_message() {
    let http = Http::new();
    for (mode, format) in
        [("plain", "xml"), ("plain", "json"), ("compatible", "json"), ("secure", "xml")]
    {
        let sandbox = Sandbox::start(1_000, 3);
        let home = Home::new("", &with_callback(&sandbox, 0));
        let daemon = Daemon::start(&home, &http);
        tell_sandbox(&http, &sandbox, &daemon, mode, format);
        let faults = json!({
            "receipt_lost_permille": 50, "receipt_twice_permille": 200,
            "receipt_early_permille": 300, "receipt_failed_permille": 100,
            "lost_answer_permille": 20,
        });
        sandbox.faults(&http, &faults);
        let id = submit(&http, &daemon, &notice(0, 0, 400, "receipts"));
        done(&http, &daemon, &id, PATIENCE);
        let wanted = told(&http, &sandbox);
        assert_eq!(wanted.len(), 400);
        let of = |state: &str| wanted.values().filter(|it| **it == state).count() as u64;
        until("all receipts have come", PATIENCE, || {
            let now = look(&http, &daemon, &id);
            let came = ["delivered", "failed"].map(|state| (count(&now, state), of(state)));
            came.iter().all(|(is, wanted)| is == wanted).then_some(())
        });
        let rows = rows(&http, &daemon, &format!("/v1/notices/{id}/deliveries"));
        for row in rows {
            let openid = row["openid"].as_str().unwrap();
            assert_eq!(row["state"], wanted[openid], "{mode} {format}: {row}");
            if row["state"] == "failed" {
                assert_eq!(row["reason"], "failed:user block");
            }
        }
        let ledger = sandbox.ledger(&http, 0);
        assert_eq!(ledger["events_refused"], 0, "{ledger}");
        assert_eq!(look(&http, &daemon, &id)["without_receipt"], 0, "none is late yet");
    }
}

#[test]
fn who_unfollows_before_the_notice_is_due_is_skipped_also_after_a_kill() {
    let http = Http::new();
    let sandbox = Sandbox::start(100, 3);
    let home = Home::new("", &with_callback(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    tell_sandbox(&http, &sandbox, &daemon, "secure", "xml");
    let mut draft = notice(0, 0, 20, "skipped");
    draft["send_at"] = json!("2099-01-01T00:00:00Z");
    let id = submit(&http, &daemon, &draft);
    let who = |from: u32, to: u32| (from..to).map(|n| follower(0, n)).collect::<Vec<_>>();
    let followers = format!("{}/_sandbox/followers", sandbox.url);
    let appid = account(0).0;
    http.post(&followers, &json!({"appid": appid, "unfollow": who(0, 5)})).good();
    until("five have left", PATIENCE, || {
        (sandbox.ledger(&http, 0)["events_taken"] == 5).then_some(())
    });
    http.post(&followers, &json!({"appid": appid, "follow": who(0, 2)})).good();
    until("two are back", PATIENCE, || {
        (sandbox.ledger(&http, 0)["events_taken"] == 7).then_some(())
    });
    drop(daemon);
    let daemon = Daemon::start(&home, &http);
    tell_sandbox(&http, &sandbox, &daemon, "secure", "xml");
    http.post(&daemon.at(&format!("/v1/notices/{id}/send")), &json!({})).good();
    let end = done(&http, &daemon, &id, PATIENCE);
    assert_eq!(count(&end, "skipped"), 3, "{end}");
    let skipped = rows(&http, &daemon, &format!("/v1/notices/{id}/deliveries?state=skipped"));
    assert!(skipped.iter().all(|row| row["reason"] == "unfollowed"), "{skipped:?}");
    assert_eq!(sandbox.ledger(&http, 0)["calls"], 17, "nothing was sent to who had left");
}

#[test]
fn calls_that_are_not_wechats_change_nothing() {
    let http = Http::undescribed();
    let sandbox = Sandbox::start(10, 3);
    let callback = "[callback]\nlisten = \"127.0.0.1:0\"\n";
    let home = Home::new("", &format!("{callback}{}", with_callback(&sandbox, 0)));
    let daemon = Daemon::start(&home, &http);
    home.logged("callback.ready");
    let log = home.log();
    let line = log.lines().find(|line| line.contains("callback.ready")).unwrap();
    let line: Json = serde_json::from_str(line).unwrap();
    let own = format!("http://{}", line["address"].as_str().unwrap());
    for base in [&daemon.at(""), &own] {
        let at = |path: &str| format!("{base}/callback/{path}");
        for (path, status, code) in [
            ("t0", 403, "unsigned"),
            ("t0?timestamp=1&nonce=2", 403, "unsigned"),
            ("t0?signature=abc&timestamp=1&nonce=2&echostr=3", 403, "wrong_signature"),
            ("nobody?signature=abc&timestamp=1&nonce=2&echostr=3", 404, "not_found"),
        ] {
            let answer = http.get(&at(path));
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
            let answer = http.post(&at(path), &json!({}));
            assert_eq!((answer.status, answer.code().as_str()), (status, code), "{path}");
        }
        let huge = Json::String("x".repeat(100_000));
        let answer = http.post(&at("t0?signature=a&timestamp=1&nonce=2"), &huge);
        assert_eq!(answer.status, 413);
    }
    assert_eq!(http.get(&format!("{own}/v1/tenants")).status, 404, "only WeChat's calls there");
    home.logged("callback.refused");
    assert!(!home.log().contains(TOKEN) && !home.log().contains(KEY));
}

#[test]
fn the_public_sdk_and_this_program_understand_each_other() {
    let packages = ["wechatpy==1.8.18", "cryptography==44.0.3", "requests==2.32.3"];
    let Some(python) = python(&packages) else { return };
    let http = Http::new();
    let sandbox = Sandbox::start(100, 3);
    let home = Home::new("", &with_callback(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let (appid, secret) = account(0);
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/binary/python/wechat_sdk.py");
    let done = Command::new(python)
        .arg(script)
        .args([&daemon.at("/callback/t0"), &sandbox.url, &appid, &secret, TOKEN, KEY])
        .output()
        .unwrap();
    let (out, err) = (String::from_utf8_lossy(&done.stdout), String::from_utf8_lossy(&done.stderr));
    assert!(done.status.success() && out.trim() == "ok", "{out}{err}");
    // What the SDK told is known: neither of them is sent to.
    let mut draft = notice(0, 0, 0, "told");
    draft["audience"] = json!({"openids": ["oPlain", "oSealed"]});
    let id = submit(&http, &daemon, &draft);
    let end = until("the notice is done", PATIENCE, || {
        let now = look(&http, &daemon, &id);
        (now["state"] == "done").then_some(now)
    });
    assert_eq!(count(&end, "skipped"), 2, "{end}");
}
