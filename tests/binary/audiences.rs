//! Audiences from followers, tags, addresses and earlier notices, in the real program.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use duebox::sandbox::follower;
use serde_json::{Value as Json, json};

use crate::binary::support::audit::{count, done, look, notice, rows, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::peer::{Answered, serve};
use crate::binary::support::sandbox::{Sandbox, account};
use crate::binary::support::{PATIENCE, until};

fn to(audience: &Json, key: &str) -> Json {
    let mut draft = notice(0, 0, 0, key);
    draft["audience"] = audience.clone();
    draft
}

fn reached(http: &Http, daemon: &Daemon, id: &str) -> BTreeSet<String> {
    let rows = rows(http, daemon, &format!("/v1/notices/{id}/deliveries"));
    rows.iter().map(|row| row["openid"].as_str().unwrap().to_owned()).collect()
}

/// Answers whatever a test puts up, and notes the heads of the requests.
struct Source {
    url: String,
    answer: Arc<Mutex<(&'static str, String)>>,
    heads: Arc<Mutex<Vec<String>>>,
}

impl Source {
    fn start(kind: &'static str, body: &str) -> Self {
        let answer = Arc::new(Mutex::new((kind, body.to_owned())));
        let heads = Arc::new(Mutex::new(Vec::new()));
        let (own, noted) = (answer.clone(), heads.clone());
        let url = serve(move |asked| {
            noted.lock().unwrap().push(asked.head);
            let (kind, body) = own.lock().unwrap().clone();
            Answered { status: 200, kind, body }
        }) + "/people";
        Self { url, answer, heads }
    }
}

#[test]
fn followers_and_tags_are_read_page_by_page_also_through_a_kill() {
    let http = Http::new();
    let sandbox = Sandbox::start(30_500, 3);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let mut draft = to(&json!({"followers": true}), "all");
    draft["send_at"] = json!("2099-01-01T00:00:00Z");
    let id = submit(&http, &daemon, &draft);
    until("some are read", PATIENCE, || {
        (look(&http, &daemon, &id)["total"].as_u64().unwrap() > 1_000).then_some(())
    });
    drop(daemon);
    let daemon = Daemon::start(&home, &http);
    let end = until("all are read", PATIENCE, || {
        let now = look(&http, &daemon, &id);
        (now["state"] == "scheduled").then_some(now)
    });
    assert_eq!((&end["total"], &end["audience"]), (&json!(30_500), &Json::Null), "{end}");

    let id = submit(&http, &daemon, &to(&json!({"tag": 107}), "tag"));
    let end = done(&http, &daemon, &id, PATIENCE);
    assert_eq!((count(&end, "accepted"), &end["total"]), (3_050, &json!(3_050)));
    // Those of an earlier notice; and a tag that is not there.
    let id = submit(&http, &daemon, &to(&json!({"notice": id, "states": ["accepted"]}), "again"));
    let end = done(&http, &daemon, &id, PATIENCE);
    assert_eq!(count(&end, "accepted"), 3_050);
    let id = submit(&http, &daemon, &to(&json!({"tag": 7}), "no such tag"));
    let end = until("it is paused", PATIENCE, || {
        let now = look(&http, &daemon, &id);
        (now["state"] == "paused").then_some(now)
    });
    assert!(end["reason"].as_str().unwrap().contains("45159"), "{end}");
}

#[test]
fn newcomers_are_added_when_it_is_sent_and_who_left_meanwhile_is_not_read_again() {
    let http = Http::new();
    let sandbox = Sandbox::start(50, 3);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let mut draft = to(&json!({"followers": true, "newcomers": true}), "newcomers");
    draft["send_at"] = json!("2099-01-01T00:00:00Z");
    let id = submit(&http, &daemon, &draft);
    until("all are read", PATIENCE, || {
        (look(&http, &daemon, &id)["audience"]["state"] == "waits").then_some(())
    });
    let change = json!({
        "appid": account(0).0, "follow": ["oNew1", "oNew2"], "unfollow": [follower(0, 3)],
    });
    http.post(&format!("{}/_sandbox/followers", sandbox.url), &change).good();
    http.post(&daemon.at(&format!("/v1/notices/{id}/send")), &json!({})).good();
    let end = done(&http, &daemon, &id, PATIENCE);
    assert_eq!((&end["total"], count(&end, "accepted")), (&json!(52), 51), "{end}");
    assert_eq!(count(&end, "refused"), 1, "who left was found out by the send");
    let reached = reached(&http, &daemon, &id);
    assert!(reached.contains("oNew1") && reached.contains("oNew2"));
}

#[test]
fn an_address_is_read_with_the_operators_headers_and_what_is_wrong_there_is_told() {
    let http = Http::new();
    let sandbox = Sandbox::start(50, 3);
    let source = Source::start("text/html", "<h1>log in</h1>");
    let headers =
        format!("[tenants.t0.audience]\nbase = \"{}\"\nheaders_file = \"headers\"\n", source.url);
    let home = Home::new("", &format!("{}{headers}", tenant(&sandbox, 0)));
    home.write("headers", "# of the CRM\nX-Api-Key: canary-of-this-test\n");
    let daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &to(&json!({"url": source.url}), "url"));
    let paused = until("it is paused", PATIENCE, || {
        let now = look(&http, &daemon, &id);
        (now["state"] == "paused").then_some(now)
    });
    assert!(paused["reason"].as_str().unwrap().contains("HTML"), "{paused}");
    assert_eq!(paused["total"], 0);
    let attention = http.get(&daemon.at("/v1/attention")).good();
    assert_eq!(attention["items"][0]["kind"], "notice_paused", "{attention}");
    let csv = format!("openid,thing1\n{},For you\n{},\n", follower(0, 1), follower(0, 2));
    *source.answer.lock().unwrap() = ("text/csv", csv);
    http.post(&daemon.at(&format!("/v1/notices/{id}/resume")), &json!({})).good();
    let end = done(&http, &daemon, &id, PATIENCE);
    assert_eq!(count(&end, "accepted"), 2, "{end}");
    assert!(source.heads.lock().unwrap().iter().all(|head| head.contains("canary-of-this-test")));
    assert!(!home.log().contains("canary-of-this-test"));
}

#[test]
fn audiences_that_cannot_be_meant_are_refused_by_name() {
    let http = Http::new();
    let sandbox = Sandbox::start(10, 3);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    for (audience, pointer) in [
        (json!({"followers": true, "tag": 12}), "/audience/tag"),
        (json!({"openids": ["oA"], "url": "http://x/"}), "/audience/url"),
        (json!({"url": "crm.local/people"}), "/audience/url"),
        (json!({"tag": "gold"}), "/audience/tag"),
        (json!({"tag": -1}), "/audience/tag"),
        (json!({"notice": "7"}), "/audience/notice"),
        (json!({"states": ["refused"]}), "/audience/states"),
        (json!({"followers": false}), "/audience"),
        (json!({"openids": ["oA"], "newcomers": true}), "/audience"),
        (json!({"followers": true, "resolve": "later"}), "/audience/resolve"),
        (json!({"folowers": true}), "/audience/folowers"),
    ] {
        let answer = http.post(&daemon.at("/v1/notices"), &to(&audience, "wrong"));
        assert_eq!(answer.status, 422, "{audience}: {}", answer.text);
        let errors = answer.json()["errors"].clone();
        assert_eq!(errors[0]["pointer"], pointer, "{audience}: {errors}");
    }
    assert_eq!(http.get(&daemon.at("/v1/notices")).good()["items"], json!([]));
}
