//! A notice with a wrong field, mended in the middle: nobody twice, nobody missing.

use std::collections::BTreeMap;

use serde_json::json;

use crate::binary::support::audit::{count, deliveries, done, look, notice, rows, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, rounds, until};

#[test]
fn a_missing_field_is_mended_and_the_books_are_those_of_the_ledger() {
    let people = rounds("DUEBOX_MEND", 2_000);
    let http = Http::new();
    let sandbox = Sandbox::start(people, 3);
    // Nothing is known of the template: what is wrong with the notice is found by sending it.
    sandbox.faults(&http, &json!({"template_list_refused": true}));
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let mut draft = notice(0, 0, people, "mend");
    draft["data"] = json!({"thing1": "Boiler check"});
    let id = submit(&http, &daemon, &draft);
    let paused = until("it is paused", PATIENCE, || {
        let now = look(&http, &daemon, &id);
        (now["state"] == "paused" && count(&now, "sending") == 0).then_some(now)
    });
    assert!(paused["reason"].as_str().unwrap().contains("47003"), "{paused}");
    assert_eq!(sandbox.shown(&http, 0), 0);
    sandbox.faults(&http, &json!({"lost_answer_permille": 20, "template_list_refused": true}));
    let mended = json!({"data": {"time2": "2026-11-23 09:00"}});
    let said = http.patch(&daemon.at(&format!("/v1/notices/{id}")), &mended).good();
    assert_eq!(said["data"]["time2"], "2026-11-23 09:00");
    let nothing = http.patch(&daemon.at(&format!("/v1/notices/{id}")), &json!({}));
    assert_eq!(nothing.status, 422, "{}", nothing.text);
    drop(daemon);
    let daemon = Daemon::start(&home, &http);
    http.post(&daemon.at(&format!("/v1/notices/{id}/resume")), &json!({})).good();
    let end = done(&http, &daemon, &id, PATIENCE);
    assert_eq!(count(&end, "accepted"), u64::from(people), "{end}");
    let seen = sandbox.seen(&http, 0);
    assert_eq!(seen.len(), people as usize);
    assert!(seen.values().all(|times| *times == 1));
    let books = deliveries(&http, &daemon, &id);
    assert!(books.iter().all(|(openid, state)| state == "accepted" && seen.contains_key(openid)));
    // Each attempt is in the log: the refused ones too.
    let mut attempts: BTreeMap<String, u32> = BTreeMap::new();
    for entry in rows(&http, &daemon, &format!("/v1/log?notice={id}")) {
        *attempts.entry(entry["class"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert_eq!(attempts["ok"], people, "{attempts:?}");
    assert!(attempts["notice"] > 0, "{attempts:?}");
}
