//! Notices and tasks as a client makes them, and the comparison of the daemon's books with the
//! sandbox's ledger.

use std::collections::BTreeMap;
use std::time::Duration;

use duebox::sandbox::follower;
use serde_json::{Value as Json, json};

use super::daemon::Daemon;
use super::home::Home;
use super::http::Http;
use super::sandbox::Sandbox;
use super::until;

/// A notice to followers `from..to` of the tenant with this number.
pub(crate) fn notice(tenant: usize, from: u32, to: u32, key: &str) -> Json {
    let openids: Vec<String> = (from..to).map(|number| follower(tenant, number)).collect();
    json!({
        "tenant": format!("t{tenant}"), "template": "new_task", "title": key, "key": key,
        "data": { "thing1": "Boiler check", "time2": "2026-11-23 09:00" },
        "audience": { "openids": openids },
    })
}

/// Submits a notice; gives its id.
pub(crate) fn submit(http: &Http, daemon: &Daemon, notice: &Json) -> String {
    id_of(&http.post(&daemon.at("/v1/notices"), notice).good())
}

/// The id in an answer.
pub(crate) fn id_of(answer: &Json) -> String {
    answer["id"].as_str().unwrap_or_else(|| panic!("no id: {answer}")).to_owned()
}

pub(crate) fn look(http: &Http, daemon: &Daemon, id: &str) -> Json {
    http.get(&daemon.at(&format!("/v1/notices/{id}"))).good()
}

/// A count of a notice's document.
pub(crate) fn count(notice: &Json, state: &str) -> u64 {
    notice["counts"][state].as_u64().unwrap()
}

/// Waits until a notice is done; gives its document.
pub(crate) fn done(http: &Http, daemon: &Daemon, id: &str, within: Duration) -> Json {
    let mut last = Json::Null;
    until("the notice is done", within, || {
        let now = look(http, daemon, id);
        if now["state"] != "done" && now != last {
            last = now.clone();
        }
        (now["state"] == "done").then_some(now)
    })
}

/// All rows of a list.
pub(crate) fn rows(http: &Http, daemon: &Daemon, path: &str) -> Vec<Json> {
    let (mut rows, mut cursor) = (Vec::new(), String::new());
    let mark = if path.contains('?') { '&' } else { '?' };
    loop {
        let page = http.get(&daemon.at(&format!("{path}{mark}limit=1000{cursor}"))).good();
        rows.extend(page["items"].as_array().unwrap().iter().cloned());
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => return rows,
        }
    }
}

/// Each recipient's state in the daemon's books.
pub(crate) fn deliveries(http: &Http, daemon: &Daemon, id: &str) -> BTreeMap<String, String> {
    let rows = rows(http, daemon, &format!("/v1/notices/{id}/deliveries"));
    let fields = |row: &Json| {
        let text = |name: &str| row[name].as_str().unwrap().to_owned();
        (text("openid"), text("state"))
    };
    rows.iter().map(fields).collect()
}

/// Holds that each of these followers saw exactly one message, and that the books say so.
pub(crate) fn each_once(
    http: &Http,
    sandbox: &Sandbox,
    daemon: &Daemon,
    tenant: usize,
    notices: &[(&str, std::ops::Range<u32>)],
) {
    let seen = sandbox.seen(http, tenant);
    let mut wanted = 0;
    for (id, followers) in notices {
        let books = deliveries(http, daemon, id);
        assert_eq!(books.len(), followers.len(), "rows of {id}");
        for number in followers.clone() {
            let openid = follower(tenant, number);
            let book = books.get(&openid).map(String::as_str);
            assert_eq!((seen.get(&openid), book), (Some(&1), Some("accepted")), "{openid}");
        }
        wanted += followers.len();
    }
    assert_eq!(seen.len(), wanted, "nobody else saw anything");
    let ledger = sandbox.ledger(http, tenant);
    assert_eq!(
        (&ledger["duplicates"], &ledger["wrong_tenant"]),
        (&json!(0), &json!(0)),
        "{ledger}"
    );
}

/// The access token that the daemon of a home holds for the first tenant.
pub(crate) fn access_token(home: &Home) -> String {
    let kept = std::fs::read_to_string(home.data().join("tokens")).unwrap();
    let kept: Json = serde_json::from_str(&kept).unwrap();
    let token = kept["t0"]["value"].as_str().unwrap().to_owned();
    assert!(token.len() > 20, "{token}");
    token
}
