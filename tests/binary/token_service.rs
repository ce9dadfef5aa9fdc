//! Tokens from a service of the operator's own.

use serde_json::json;

use crate::binary::support::audit::{count, done, notice, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::{Sandbox, account};
use crate::binary::support::{PATIENCE, until};

#[test]
fn a_token_of_a_service_that_dies_in_the_middle_is_asked_for_again() {
    const PEOPLE: u32 = 600;
    let http = Http::new();
    let sandbox = Sandbox::start(PEOPLE, 5);
    sandbox.faults(&http, &json!({ "latency_ms": 10 }));
    let (appid, secret) = account(0);
    // The provider's older call is one that answers a GET: it plays the service.
    let service = format!(
        "{}/cgi-bin/token?grant_type=client_credential&appid={appid}&secret={secret}",
        sandbox.url
    );
    let usual = format!("appid = \"{appid}\"\nsecret = \"{secret}\"\n");
    let table = tenant(&sandbox, 0);
    let own = table.replace(&usual, &format!("token = {{ url = \"{service}\" }}\n"));
    assert_ne!(own, table);
    let home = Home::new("", &own);
    let daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &notice(0, 0, PEOPLE, "from a service"));
    until("the first messages", PATIENCE, || (sandbox.shown(&http, 0) > 100).then_some(()));
    let invalidate = format!("{}/_sandbox/tokens/invalidate", sandbox.url);
    http.post(&invalidate, &json!({ "appid": appid })).good();
    let end = done(&http, &daemon, &id, PATIENCE);
    assert_eq!(count(&end, "accepted"), u64::from(PEOPLE), "{end}");
    let seen = sandbox.seen(&http, 0);
    assert_eq!(seen.len(), PEOPLE as usize);
    assert!(seen.values().all(|times| *times == 1));
    assert!((2..=3).contains(&sandbox.token_fetches(&http, 0)));
    // What it gave is its own to keep.
    assert!(!home.path("data/tokens").exists());
    let quota = http.post(&daemon.at("/v1/tenants/t0/quota/clear"), &json!({ "confirm": "t0" }));
    assert!(quota.status == 422 && quota.text.contains("tenants.t0.appid"), "{}", quota.text);
}
