//! What needs a person is shown alike by the call, the command line, the log and the metric.

use std::process::Command;

use serde_json::{Value as Json, json};

use crate::binary::support::audit::{id_of, notice, rows};
use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::{Home, tenant};
use crate::binary::support::http::Http;
use crate::binary::support::sandbox::Sandbox;
use crate::binary::support::{PATIENCE, until};

fn command(args: &[&str]) -> (i32, String) {
    let output = Command::new(PROGRAM).args(args).output().unwrap();
    let mut said = String::from_utf8(output.stdout).unwrap();
    said.push_str(&String::from_utf8(output.stderr).unwrap());
    (output.status.code().unwrap(), said)
}

fn kinds(http: &Http, daemon: &Daemon) -> Vec<String> {
    let rows = rows(http, daemon, "/v1/attention");
    rows.iter().map(|row| row["kind"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn trouble_is_told_at_every_door_and_gone_when_it_is_mended() {
    let http = Http::new();
    let sandbox = Sandbox::start(3, 6);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let server = daemon.url.clone();
    assert_eq!(kinds(&http, &daemon), Vec::<String>::new());
    let (code, said) = command(&["status", "--server", &server]);
    assert_eq!((code, said.lines().next()), (0, Some("ready")), "{said}");

    let mut later = notice(0, 0, 1, "later");
    later["send_at"] = json!("2099-01-01T00:00:00Z");
    later["title"] = json!("Job 1");
    let id = id_of(&http.post(&daemon.at("/v1/notices"), &later).good());
    let paused = http.post(&daemon.at(&format!("/v1/notices/{id}/pause")), &json!({})).good();
    assert_eq!((&paused["state"], &paused["in_flight"]), (&json!("paused"), &json!(0)));
    let rows = rows(&http, &daemon, "/v1/attention");
    assert_eq!(rows.len(), 1, "{rows:?}");
    let row = &rows[0];
    let wanted = (json!("notice_paused"), json!(id), json!("t0"));
    assert_eq!((row["kind"].clone(), row["subject"].clone(), row["tenant"].clone()), wanted);
    assert!(row["sentence"].as_str().unwrap().contains("Job 1"), "{row}");

    let (code, said) = command(&["status", "--server", &server]);
    assert_eq!(code, 7, "{said}");
    assert!(said.contains("! notice_paused since ") && said.contains(&id), "{said}");
    let (code, said) = command(&["attention", "--json", "--server", &server]);
    assert_eq!(code, 7, "{said}");
    let (code, said) = command(&["notice", "show", &id, "--server", &server]);
    assert!(code == 0 && said.contains("paused by an operator"), "{said}");
    until("the log and the metric tell of it", PATIENCE, || {
        let metrics = http.get(&daemon.at("/metrics")).text;
        let told = metrics.contains("duebox_attention{kind=\"notice_paused\"} 1");
        (told && home.log().contains("attention.raised")).then_some(())
    });
    home.logged("notice.paused");

    // A call that the row itself offers ends it.
    let acts = row["acts"].as_array().unwrap();
    let cancel = acts.iter().find(|act| act["label"] == "cancel").unwrap();
    let path = daemon.at(cancel["path"].as_str().unwrap());
    assert_eq!(http.post(&path, &cancel["body"]).status, 200);
    assert_eq!(kinds(&http, &daemon), Vec::<String>::new());
    until("the log tells that it is over", PATIENCE, || {
        home.log().contains("attention.over").then_some(())
    });
    assert_eq!(command(&["attention", "--server", &server]).0, 0);
}

#[test]
fn status_is_not_fooled_and_says_who_does_not_answer() {
    let sandbox = Sandbox::start(1, 6);
    let (code, said) = command(&["status", "--server", &sandbox.url]);
    assert!(code == 1 && said.contains("not duebox's"), "{code} {said}");
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let (code, said) = command(&["status", "--server", &format!("http://{free}")]);
    assert!(code == 5 && said.contains("refused"), "{code} {said}");
}

#[test]
fn a_held_copy_says_so_in_every_way_and_takes_no_notice_for_sent() {
    let http = Http::new();
    let sandbox = Sandbox::start(1, 6);
    let home = Home::new("", &tenant(&sandbox, 0));
    drop(Daemon::start(&home, &http));
    let copy = home.copied();
    let daemon = Daemon::start_as(&copy, &http, &[], "held");
    assert_eq!(kinds(&http, &daemon), ["held"]);
    let (code, said) = command(&["status", "--server", &daemon.url]);
    assert_eq!(code, 6, "{said}");
    assert!(said.contains("! held since"), "{said}");
    let taken = http.post(&daemon.at("/v1/notices"), &notice(0, 0, 1, "k")).good();
    assert_eq!(taken["state"], "held", "{taken}");
    let (code, said) = command(&["release", "--pending", "send", "--server", &daemon.url]);
    assert!(code == 0 && said.contains("released"), "{said}");
    assert_eq!(kinds(&http, &daemon), Vec::<String>::new());
}

#[test]
fn a_code_is_explained_beside_it_and_by_hand() {
    let (code, said) = command(&["explain", "40164"]);
    assert!(code == 0 && said.contains("whitelist") && said.contains("tenant rests"), "{said}");
    assert!(command(&["explain", "-1"]).1.contains("may have been accepted"));

    let http = Http::new();
    let sandbox = Sandbox::start(3, 6);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let mut stranger = notice(0, 0, 1, "k");
    stranger["audience"] = json!({"openids": ["o_nobody_follows_with_this_id"]});
    let id = id_of(&http.post(&daemon.at("/v1/notices"), &stranger).good());
    let path = format!("/v1/notices/{id}/deliveries?state=refused");
    let refused: Json =
        until("it is refused", PATIENCE, || rows(&http, &daemon, &path).first().cloned());
    let meaning = refused["meaning"].as_str().unwrap();
    assert!(!meaning.is_empty() && !meaning.contains("not in our table"), "{refused}");
    let entry = &rows(&http, &daemon, "/v1/log")[0];
    assert_eq!(entry["meaning"], refused["meaning"]);
    let dry = json!({"states": ["refused"], "dry_run": true});
    let path = daemon.at(&format!("/v1/notices/{id}/resend"));
    assert_eq!(http.post(&path, &dry).good()["count"], 1);
    let other = json!({"states": ["refused"], "errcode": 43101, "dry_run": true});
    assert_eq!(http.post(&path, &other).good()["count"], 0);
}
