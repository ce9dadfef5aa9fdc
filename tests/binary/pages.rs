//! What was stored is shown as it came, and no list grows with what somebody stored.

use std::process::Command;

use serde_json::{Value as Json, json};

use crate::binary::support::audit::{id_of, rows};
use crate::binary::support::daemon::{Daemon, PROGRAM};
use crate::binary::support::home::Home;
use crate::binary::support::http::Http;

/// Numbers and spaces that a parser and a printer would change.
const AS_IT_CAME: &str =
    r#"{"big":12345678901234567890123, "price":1.10,"e":1E2,"z":-0,"t":"\u4efb"}"#;

fn said(args: &[&str]) -> String {
    let output = Command::new(PROGRAM).args(args).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn a_payload_is_the_same_text_at_every_door() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let server = daemon.url.clone();
    said(&["task", "add", "exact", AS_IT_CAME, "--max-attempts", "1", "--server", &server]);
    let id = id_of(&rows(&http, &daemon, "/v1/tasks")[0]);
    let wanted = format!("\"payload\":{AS_IT_CAME}");
    let shown = http.get(&daemon.at(&format!("/v1/tasks/{id}"))).text;
    assert!(shown.contains(&wanted) && shown.ends_with("}\n"), "{shown}");
    assert!(said(&["task", "show", &id, "--server", &server]).contains(AS_IT_CAME));
    assert!(said(&["task", "show", &id, "--json", "--server", &server]).contains(&wanted));

    // Lists leave it out unless they are asked for it.
    let bare = http.get(&daemon.at("/v1/tasks")).text;
    assert!(!bare.contains("payload"), "{bare}");
    assert!(http.get(&daemon.at("/v1/tasks?payload=true")).text.contains(&wanted));

    let claimed = said(&["task", "claim", "exact", "--json", "--server", &server]);
    assert!(claimed.contains(&wanted), "{claimed}");
    let claim: Json = serde_json::from_str(&claimed).unwrap();
    let claim = claim["tasks"][0]["claim"].as_str().unwrap().to_owned();
    let output =
        Command::new(PROGRAM).args(["task", "claim", "exact", "--server", &server]).output();
    let output = output.unwrap();
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    assert!(String::from_utf8_lossy(&output.stderr).contains("no task"), "{output:?}");
    said(&["task", "reject", &id, &claim, "--server", &server]);
    assert!(!http.get(&daemon.at("/v1/dead")).text.contains("payload"));
    assert!(http.get(&daemon.at("/v1/dead?payload=true")).text.contains(&wanted));
}

#[test]
fn no_list_outgrows_its_page() {
    let http = Http::new();
    let home = Home::new("", "");
    let daemon = Daemon::start(&home, &http);
    let bomb: Json = json!(vec![json!({"": 0}); 7_000]);
    for _ in 0..4 {
        let tasks: Vec<Json> = (0..25).map(|_| json!({"type": "bomb", "payload": bomb})).collect();
        http.post(&daemon.at("/v1/tasks"), &json!(tasks)).good();
    }
    let (mut seen, mut cursor) = (0, String::new());
    loop {
        let page = http.get(&daemon.at(&format!("/v1/tasks?limit=1000&payload=true{cursor}")));
        assert!(page.text.len() < (1 << 20) + 70_000, "{} bytes", page.text.len());
        let page = page.good();
        seen += page["items"].as_array().unwrap().len();
        match page["cursor"].as_str() {
            Some(next) => cursor = format!("&cursor={next}"),
            None => break,
        }
    }
    assert_eq!(seen, 100);
    assert_eq!(rows(&http, &daemon, "/v1/tasks?payload=false").len(), 100);
}
