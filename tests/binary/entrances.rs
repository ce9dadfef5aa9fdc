//! The ways in: a token that changes, and a port of their own for the clients of the old service.

use serde_json::{Value as Json, json};

use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{BASE, Home, TABLES};
use crate::binary::support::http::Http;
use crate::binary::support::{PATIENCE, until};

const FIRST: &str = "the-first-token-of-this-test";
const SECOND: &str = "the-second-token-of-this-test";

#[test]
fn a_new_token_is_good_without_a_restart_and_the_old_paths_need_none() {
    let http = Http::new();
    let tables = TABLES.replace("[admin]\n", "[admin]\ntoken_file = \"token\"\n");
    let legacy = "[legacy]\nlisten = \"127.0.0.1:0\"\n";
    let home = Home::with(&format!("{BASE}{tables}{legacy}"));
    home.write("token", &format!("{FIRST}\n"));
    let mut daemon = Daemon::spawn(&home, &[]);
    daemon.wait_for_address(&home);
    daemon.wait_for_role(&http, "leader", PATIENCE);
    let tenants = daemon.at("/v1/tenants");
    assert_eq!(http.get(&tenants).status, 401);
    assert_eq!(http.get_as(FIRST, &tenants).status, 200);
    assert_eq!(http.get_as(SECOND, &tenants).status, 401);
    home.write("token", &format!("{SECOND}\n"));
    until("the second token is good", PATIENCE, || {
        (http.get_as(SECOND, &tenants).status == 200).then_some(())
    });
    assert_eq!(http.get_as(FIRST, &tenants).status, 200, "for a minute");
    home.logged("token.changed");
    assert!(!home.log().contains(SECOND) && !home.log().contains(FIRST));

    // The old service's clients: no token, whatever name they call it by, always the envelope.
    home.logged("legacy.ready");
    let log = home.log();
    let line = log.lines().find(|line| line.contains("legacy.ready")).unwrap();
    let line: Json = serde_json::from_str(line).unwrap();
    let old = format!("http://{}", line["address"].as_str().unwrap());
    let task = json!({"taskType": 1001, "priority": 1, "executeTime": 0, "parameters": "AQID"});
    let added = http.post(&format!("{old}/api/v1/task/add"), &task).good();
    assert_eq!((&added["code"], added["data"].is_i64()), (&json!(200), true), "{added}");
    let polled = http.get(&format!("{old}/api/v1/task/poll/1001/1")).good();
    assert_eq!(polled["data"]["parameters"], "AQID", "{polled}");
    let http = Http::undescribed();
    for nothing in ["/", "/v1/tenants", "/healthz", "/api/v1/task/nothing/at/all"] {
        let answer = http.get(&format!("{old}{nothing}")).good();
        assert_eq!((&answer["code"], &answer["data"]), (&json!(1002), &Json::Null), "{nothing}");
    }
}
