//! Bodies that nobody should send: a clear no, never a fault, and the port goes on.

use super::*;
use crate::mutants::Mutants;

/// Calls that take a body, with a good one each.
const CALLS: [(&str, &str, &str); 9] = [
    (
        "POST",
        "/v1/tasks",
        r#"{"type": "a", "payload": {"n": [1, 2]}, "delay_ms": 60000, "key": "k"}"#,
    ),
    (
        "POST",
        "/v1/tasks",
        r#"[{"type": "a", "payload": 1}, {"type": "b", "payload": {}, "priority": 1, "due": "2099-01-01T00:00:00Z"}]"#,
    ),
    ("POST", "/v1/tasks/claim", r#"{"type": "a", "max": 3, "ttl_ms": 60000, "worker": "w"}"#),
    ("POST", "/v1/tasks/settle", r#"[{"id": "1", "claim": "1-a", "as": "ack"}]"#),
    ("POST", "/v1/tasks/7/nack", r#"{"claim": "1-a", "delay_ms": 5, "error": "no"}"#),
    ("PATCH", "/v1/tasks/7", r#"{"delay_ms": 5, "priority": 2}"#),
    (
        "POST",
        "/v1/notices",
        r#"{"tenant": "acme", "template": "new_task", "data": {"thing1": "a"}, "audience": {"openids": ["oA", {"openid": "oB", "data": {"thing1": "b"}}]}, "send_at": "2099-01-01T00:00:00Z"}"#,
    ),
    ("POST", "/v1/dead/redrive", r#"{"type": "a", "dry_run": true}"#),
    (
        "POST",
        "/api/v1/task/add",
        r#"{"taskType": 1001, "priority": 1, "executeTime": 4070908800000, "parameters": "x"}"#,
    ),
];

#[tokio::test]
async fn hostile_bodies_get_a_clear_no_and_the_port_goes_on() {
    let port = start().await;
    for (method, target, good) in CALLS {
        for bytes in Mutants::of(&[good.as_bytes()], 150) {
            let mut request = format!(
                "{method} {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
                 Content-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                port.address,
                bytes.len()
            )
            .into_bytes();
            request.extend_from_slice(&bytes);
            let got = port.raw(&request).await;
            let told = String::from_utf8_lossy(&bytes);
            assert!(got.status < 500, "{target} {told}: {got:?}");
            let answer = got.json();
            // An array is answered item by item.
            if got.status >= 400 && target.starts_with("/v1") && answer["tasks"].is_null() {
                let code = answer["code"].as_str().unwrap_or_default();
                assert!(!code.is_empty() && answer["detail"].is_string(), "{told}: {got:?}");
            }
        }
    }
    assert_eq!(port.get("/healthz").await.status, 200);
    port.stop().await;
}

#[tokio::test]
async fn hostile_lines_stop_where_they_are_wrong() {
    let port = start().await;
    let made = port.post("/v1/notices", &notice(json!({"stream": true}))).await.json();
    let target = format!("/v1/notices/{}/recipients", made["id"].as_str().unwrap());
    let good = b"\"oA\"\n{\"openid\": \"oB\", \"data\": {\"thing1\": \"b\"}}\r\n\n\"oC\"";
    let mut refused = 0;
    for bytes in Mutants::of(&[good], 600) {
        let mut request = format!(
            "POST {target} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\
             Content-Type: application/x-ndjson\r\nContent-Length: {}\r\n\r\n",
            port.address,
            bytes.len()
        )
        .into_bytes();
        request.extend_from_slice(&bytes);
        let got = port.raw(&request).await;
        let told = String::from_utf8_lossy(&bytes);
        assert!(got.status < 500, "{told}: {got:?}");
        let answer = got.json();
        let lines = bytes.split(|byte| *byte == b'\n').count() as u64;
        if got.status == 200 {
            assert!(answer["lines"].as_u64().unwrap() <= lines, "{told}: {got:?}");
        } else {
            refused += 1;
            let line = answer["line"].as_u64().unwrap_or_else(|| panic!("{told}: {got:?}"));
            assert!((1..=lines).contains(&line), "{told}: {got:?}");
        }
    }
    assert!(refused > 100, "{refused}");
    port.stop().await;
}
