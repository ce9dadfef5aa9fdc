//! The document by which the daemon describes itself: what it says is what is answered.
//!
//! [`super::support::contract`] holds every answer of all these tests against it; here are the answers
//! that no other test asks for.

use serde_json::json;

use super::support::daemon::Daemon;
use super::support::home::{Home, tenant};
use super::support::http::Http;
use super::support::sandbox::Sandbox;

#[test]
fn everything_that_can_be_looked_at_is_as_described() {
    let http = Http::new();
    let sandbox = Sandbox::start(60, 3);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let document = http.get(&daemon.at("/openapi.json")).good();
    assert_eq!(document, duebox::admin::document(false));

    let task =
        http.post(&daemon.at("/v1/tasks"), &json!({"type": "t", "payload": {"a": 1}})).good();
    let task = task["id"].as_str().unwrap().to_owned();
    http.post(&daemon.at("/v1/tasks/claim"), &json!({"type": "t", "max": 1})).good();
    let mut asked = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        if operations.get("get").is_none() || path == "/openapi.json" {
            continue;
        }
        let path = path.replace("/v1/tasks/{id}", &format!("/v1/tasks/{task}"));
        let answer = http.get(&daemon.at(&path.replace(['{', '}'], "")));
        // Of what is not there, the refusal is as described.
        assert!(answer.status < 500, "{path}: {} {}", answer.status, answer.text);
        asked += 1;
    }
    assert!(asked > 20, "{asked}");
}

#[test]
fn the_example_of_each_body_is_read() {
    let http = Http::new();
    let sandbox = Sandbox::start(60, 3);
    let home = Home::new("", &tenant(&sandbox, 0));
    let daemon = Daemon::start(&home, &http);
    let document = http.get(&daemon.at("/openapi.json")).good();
    let mut sent = 0;
    for (path, operations) in document["paths"].as_object().unwrap() {
        let schema = &operations["post"]["requestBody"]["content"]["application/json"]["schema"];
        let Some(name) = schema["$ref"].as_str() else { continue };
        let name = name.rsplit('/').next().unwrap();
        let mut example = document["components"]["schemas"][name]["examples"][0].clone();
        for name in ["tenant", "confirm"] {
            if example.get(name).is_some() {
                example[name] = json!("t0");
            }
        }
        let path = path.replace("{tenant}", "t0").replace(['{', '}'], "");
        let path = path
            .replace("/id/", "/1882626522232127488/")
            .replace("deliveries/1882626522232127488", "deliveries/1882626522232127488-1");
        let answer = http.post(&daemon.at(&path), &example);
        // What it names is not there; but it was understood.
        assert!(![400, 422, 500].contains(&answer.status), "{path}: {}", answer.text);
        sent += 1;
    }
    assert!(sent > 12, "{sent}");
}
