//! kill -9 while messages go out.

use std::time::Duration;

use serde_json::json;

use crate::binary::support::audit::{count, done, each_once, look, notice, submit};
use crate::binary::support::daemon::Daemon;
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

/// Seeds the moments of the kills.
const SEED: u64 = 20_261_123;

#[test]
fn four_kills_and_lost_answers_leave_each_follower_with_one_message() {
    const RECIPIENTS: u32 = 2_000;
    let http = Http::new();
    let sandbox = Sandbox::start(RECIPIENTS, SEED);
    sandbox.faults(
        &http,
        &json!({ "lost_answer_permille": 20, "lost_before_accept_permille": 10, "system_error_permille": 20, "latency_ms": 30 }),
    );
    let home = Home::new("", &tenant(&sandbox, 0));
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut daemon = Daemon::start(&home, &http);
    let id = submit(&http, &daemon, &notice(0, 0, RECIPIENTS, "killed"));
    for kill in 0..4 {
        // Somewhere in the next quarter of what is to be sent.
        let after = u64::from(RECIPIENTS) * kill / 5 + random.u64(10..RECIPIENTS as u64 / 5);
        until("messages go out", PATIENCE, || (sandbox.shown(&http, 0) >= after).then_some(()));
        daemon.kill();
        daemon = Daemon::start(&home, &http);
        let again = http.post(&daemon.at("/v1/notices"), &notice(0, 0, RECIPIENTS, "killed"));
        assert_eq!((again.status, again.good()["id"].as_str()), (200, Some(id.as_str())));
    }
    let last = done(&http, &daemon, &id, PATIENCE);
    assert_eq!(count(&last, "accepted"), u64::from(RECIPIENTS), "{last}");
    each_once(&http, &sandbox, &daemon, 0, &[(&id, 0..RECIPIENTS)]);
    let ledger = sandbox.ledger(&http, 0);
    assert!(ledger["repeats"].as_u64().unwrap() > 0, "nothing was ever in doubt: {ledger}");
    assert!(sandbox.token_fetches(&http, 0) <= 2, "{ledger}");
    daemon.stop(Duration::from_secs(10));
}

#[test]
fn tenants_side_by_side_never_use_the_others_token() {
    const EACH: u32 = 600;
    let http = Http::new();
    let sandbox = Sandbox::start(2 * EACH, SEED);
    sandbox.faults(&http, &json!({ "lost_answer_permille": 10, "latency_ms": 10 }));
    let home = Home::new("", &(tenant(&sandbox, 0) + &tenant(&sandbox, 1)));
    let daemon = Daemon::start(&home, &http);
    let mut notices = Vec::new();
    for (round, (from, to)) in [(0, EACH), (EACH, 2 * EACH)].into_iter().enumerate() {
        for number in 0..2 {
            let key = format!("round {round}");
            let id = submit(&http, &daemon, &notice(number, from, to, &key));
            notices.push((number, id, from..to));
        }
    }
    // A token that dies in the middle is replaced for its own account only.
    until("the first messages", PATIENCE, || (sandbox.shown(&http, 0) > 100).then_some(()));
    let appid = crate::binary::support::sandbox::account(0).0;
    let invalidate = format!("{}/_sandbox/tokens/invalidate", sandbox.url);
    http.post(&invalidate, &json!({ "appid": appid })).good();
    for (_, id, _) in &notices {
        done(&http, &daemon, id, PATIENCE);
        assert_eq!(look(&http, &daemon, id)["counts"]["accepted"], EACH);
    }
    for number in 0..2 {
        let own = notices.iter().filter(|(of, _, _)| *of == number);
        let own: Vec<_> = own.map(|(_, id, who)| (id.as_str(), who.clone())).collect();
        each_once(&http, &sandbox, &daemon, number, &own);
    }
    assert!(sandbox.token_fetches(&http, 0) <= 3);
    assert_eq!(sandbox.token_fetches(&http, 1), 1);
}
