//! Secrets appear nowhere.

use std::process::Command;

use serde_json::json;

use crate::binary::support::PATIENCE;
use crate::binary::support::audit::{access_token, notice};
use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::{Sandbox, account};

/// The admin token.
const TOKEN: &str = "canary-admin-token-5b1f";

/// `access` is the access token, as far as there is one.
fn is_clean(what: &str, text: &str, access: &str) {
    let secret = account(0).1;
    for canary in [TOKEN, access, secret.as_str(), "access_token=", "Bearer canary"] {
        assert!(!text.contains(canary), "{canary} in {what}:\n{text}");
    }
}

#[test]
fn secrets_are_in_no_log_no_metric_no_answer_and_no_problem() {
    let http = Http::new();
    let sandbox = Sandbox::start(200, 8);
    sandbox.faults(&http, &json!({ "lost_answer_permille": 30, "lost_before_accept_permille": 30, "system_error_permille": 30 }));
    let home = Home::new("", &tenant(&sandbox, 0));
    let config = std::fs::read_to_string(home.config()).unwrap();
    home.write("admin.token", &format!("{TOKEN}\n"));
    let listen = "listen = \"127.0.0.1:0\"";
    let with_token = format!("{listen}\ntoken_file = \"admin.token\"");
    home.write("duebox.toml", &config.replace(listen, &with_token));
    let (code, told) = home.run(&["check", "--config", "duebox.toml"]);
    assert_eq!(code, 0, "{told}");
    is_clean("check", &told, TOKEN);

    let _ = std::fs::remove_file(home.data().join("admin.addr"));
    // As much as it can say.
    let mut command = Command::new(PROGRAM);
    command.args(["serve", "--config"]).arg(home.config()).env("DUEBOX_LOG", "trace");
    let mut daemon = Daemon::spawn_command(&home, &mut command);
    daemon.wait_for_address(&home);
    daemon.wait_for_role(&http, "leader", PATIENCE);
    let body = notice(0, 0, 200, "canary");
    let refused = http.post(&daemon.at("/v1/notices"), &body);
    assert_eq!(refused.status, 401);
    let wrong = http.post_as(&format!("{TOKEN}x"), &daemon.at("/v1/notices"), &body);
    assert_eq!(wrong.status, 401);
    let id = http.post_as(TOKEN, &daemon.at("/v1/notices"), &body).good()["id"].clone();
    let path = format!("/v1/notices/{}", id.as_str().unwrap());
    crate::binary::support::until("the notice is done", PATIENCE, || {
        let seen = http.get_as(TOKEN, &daemon.at(&path)).good();
        (seen["state"] == "done").then_some(())
    });
    // A provider that is gone, for errors with addresses in them.
    drop(sandbox);
    let lost = http.post_as(TOKEN, &daemon.at("/v1/notices"), &notice(0, 0, 5, "gone")).good();
    let lost = format!("/v1/notices/{}", lost["id"].as_str().unwrap());
    // Over a connection that was kept it is an attempt; where none was, nobody was reached, which is
    // no attempt and has the tenant rest.
    crate::binary::support::until("an attempt fails, or nobody is reached", PATIENCE, || {
        let deliveries = http.get_as(TOKEN, &daemon.at(&format!("{lost}/deliveries"))).text;
        let tenants = http.get_as(TOKEN, &daemon.at("/v1/tenants")).good();
        let rests = tenants["items"][0]["circuit"] == "open";
        (rests || deliveries.contains("\"attempt\":1")).then_some(())
    });
    let access = access_token(&home);
    is_clean("a refusal", &refused.text, &access);
    is_clean("a refusal", &wrong.text, &access);
    for path in [
        "/v1/tenants",
        "/v1/log?tenant=t0&limit=1000",
        "/metrics",
        "/v1/notices",
        &path,
        &lost,
        &format!("{lost}/deliveries"),
        "/v1/notices?nonsense=1",
        "/v1/tenants/t0",
        "/readyz",
        "/openapi.json",
        "/",
    ] {
        is_clean(path, &http.get_as(TOKEN, &daemon.at(path)).text, &access);
    }
    is_clean("/metrics without a token", &http.get(&daemon.at("/metrics")).text, &access);
    drop(daemon);
    let log = home.log();
    assert!(log.contains("daemon.ready"));
    is_clean("the log", &log, &access);
}
