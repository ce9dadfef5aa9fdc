//! Submissions that are only tried, for several tenants, by other names; and what WeChat's list of
//! templates teaches.

use duebox::sandbox::follower;
use serde_json::{Value as Json, json};

use crate::binary::support::audit::{count, done, notice};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

const NAMES: &str = "alias = { title = \"thing1\", at = \"time2\" }\n\
                     default = { time2 = \"2026-11-23 09:00\" }\n";

fn start(http: &Http, sandbox: &Sandbox) -> (Home, Daemon) {
    let tenants = format!("{}{NAMES}{}{NAMES}", tenant(sandbox, 0), tenant(sandbox, 1));
    let home = Home::new("", &tenants);
    let daemon = Daemon::start(&home, http);
    for tenant in ["t0", "t1"] {
        let url = daemon.at(&format!("/v1/tenants/{tenant}/templates/refresh"));
        assert_eq!(http.post(&url, &json!({})).good()["templates"], 1);
    }
    (home, daemon)
}

fn tried(http: &Http, daemon: &Daemon, draft: &Json) -> Json {
    http.post(&daemon.at("/v1/notices?dry_run=true"), draft).good()
}

#[test]
fn a_dry_run_tells_what_would_come_of_it_and_stores_nothing() {
    let http = Http::new();
    let sandbox = Sandbox::start(100, 3);
    let (_home, daemon) = start(&http, &sandbox);
    let mut draft = notice(0, 0, 10, "tried");
    draft["data"] = json!({"title": "Boiler check 🎉"});
    draft["audience"]["openids"].as_array_mut().unwrap().push(json!(follower(0, 3)));
    let said = tried(&http, &daemon, &draft);
    assert_eq!(
        (&said["ok"], &said["recipients"], &said["duplicates"]),
        (&json!(true), &json!(10), &json!(1))
    );
    assert_eq!(said["rendered"].as_array().unwrap().len(), 5);
    let first = &said["rendered"][0];
    assert_eq!(first["touser"], follower(0, 0));
    assert_eq!(first["data"]["time2"]["value"], "2026-11-23 09:00", "{first}");
    assert_eq!((&said["requests"], &said["by_day"][0]["requests"]), (&json!(10), &json!(10)));
    assert_eq!(said["findings"][0]["level"], "warning", "{said}");
    for (change, pointer) in [
        (json!({"data": {"title": "x".repeat(40)}}), ""),
        (json!({"data": {"titel": "x"}}), "/data/titel"),
        (json!({"data": {"time2": "soon"}}), "/data/time2"),
        (json!({"data": {}}), "/data/thing1"),
        (json!({"data": {"title": "a", "thing1": "b"}}), "/data/title"),
        (json!({"template": "other"}), "/template"),
        (json!({"tenant": "nobody"}), "/tenant"),
        (json!({"audience": {"openids": []}}), "/audience/openids"),
    ] {
        let mut wrong = draft.clone();
        for (name, value) in change.as_object().unwrap() {
            wrong[name] = value.clone();
        }
        let said = tried(&http, &daemon, &wrong);
        assert_eq!(said["ok"], pointer.is_empty(), "{change}: {said}");
        if !pointer.is_empty() {
            let findings = said["findings"].as_array().unwrap();
            assert!(
                findings.iter().any(|it| it["level"] == "error" && it["pointer"] == pointer),
                "{change}: {said}"
            );
            let refused = http.post(&daemon.at("/v1/notices"), &wrong);
            assert_eq!(refused.status, 422, "{change}: {}", refused.text);
        }
    }
    assert_eq!(http.get(&daemon.at("/v1/notices")).good()["items"], json!([]));
    assert_eq!(sandbox.shown(&http, 0), 0);
}

#[test]
fn one_submission_makes_a_notice_for_each_tenant_and_a_key_holds_for_each() {
    let http = Http::new();
    let sandbox = Sandbox::start(100, 3);
    let (_home, daemon) = start(&http, &sandbox);
    let mut draft = json!({
        "tenants": ["t0", "t1"], "template": "new_task", "data": {"title": "Boiler check"},
        "audience": {"followers": true}, "key": "both",
    });
    let said = http.post(&daemon.at("/v1/notices"), &draft);
    assert_eq!(said.status, 202, "{}", said.text);
    let said = said.good();
    for (n, one) in said["notices"].as_array().unwrap().iter().enumerate() {
        assert_eq!(one["tenant"], format!("t{n}"));
        let end = done(&http, &daemon, one["id"].as_str().unwrap(), PATIENCE);
        assert_eq!(count(&end, "accepted"), 100, "{end}");
    }
    let again = http.post(&daemon.at("/v1/notices"), &draft);
    assert_eq!(again.status, 200);
    assert_eq!(again.good()["notices"][1]["id"], said["notices"][1]["id"]);
    assert_eq!((sandbox.shown(&http, 0), sandbox.shown(&http, 1)), (100, 100));
    draft["tenants"] = json!(["t0", "nobody"]);
    draft["key"] = json!("half");
    let half = http.post(&daemon.at("/v1/notices"), &draft).good();
    assert!(half["notices"][0]["id"].is_string());
    assert_eq!(half["notices"][1]["error"]["code"], "unknown_tenant", "{half}");
    for (name, value) in [("tenants", json!([])), ("tenant", json!("t0"))] {
        let mut wrong = draft.clone();
        wrong[name] = value;
        assert_eq!(http.post(&daemon.at("/v1/notices"), &wrong).status, 422);
    }
    draft["tenants"] = json!(["nobody"]);
    let none = http.post(&daemon.at("/v1/notices"), &draft);
    assert_eq!((none.status, none.code().as_str()), (422, "unknown_tenant"));
}

#[test]
fn what_an_operator_does_with_an_account_is_done_and_said() {
    let http = Http::new();
    let sandbox = Sandbox::start(10, 3);
    let (_home, daemon) = start(&http, &sandbox);
    let at = |path: &str| daemon.at(&format!("/v1/tenants/t0/{path}"));
    let before = sandbox.token_fetches(&http, 0);
    let said = http.post(&at("token/refresh"), &json!({})).good();
    assert!(said["token_expires_at"].is_string(), "{said}");
    assert_eq!(sandbox.token_fetches(&http, 0), before + 1);
    let wrong = http.post(&at("quota/clear"), &json!({"confirm": "t1"}));
    assert_eq!((wrong.status, &wrong.json()["errors"][0]["pointer"]), (422, &json!("/confirm")));
    http.post(&at("quota/clear"), &json!({"confirm": "t0"})).good();
    let nobody = http.post(&daemon.at("/v1/tenants/nobody/token/refresh"), &json!({}));
    assert_eq!(nobody.status, 404);
    let limits = http.post(&at("limits"), &json!({"rate": 7, "concurrency": 3})).good();
    assert_eq!((&limits["rate"], &limits["concurrency"]), (&json!(7), &json!(3)));
    for wrong in [
        json!({}),
        json!({"rate": -1}),
        json!({"concurrency": 0}),
        json!({"reset": true, "rate": 1}),
    ] {
        assert_eq!(http.post(&at("limits"), &wrong).status, 422, "{wrong}");
    }
    // The day's quota is known without anybody asking.
    until("the quota is known", PATIENCE, || {
        let tenants = http.get(&daemon.at("/v1/tenants")).good();
        tenants["items"][0]["quota"]["limit"].is_u64().then_some(())
    });
}
