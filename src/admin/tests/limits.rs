//! Wrong calls and how they are refused.

use super::*;

const JSON: &str = "Content-Type: application/json\r\n";

#[tokio::test]
async fn wrong_calls_are_refused_with_status_and_code() {
    let port = start().await;
    let cases: &[(&str, &str, &str, &str, u16, &str)] = &[
        ("GET", "/v1/nothing", "", "", 404, "not_found"),
        ("GET", "/callback/acme", "", "", 404, "not_found"),
        ("PUT", "/v1/tasks", "", "", 405, "method_not_allowed"),
        ("OPTIONS", "/v1/tasks", "", "", 405, "method_not_allowed"),
        ("GET", "/v1/tasks/abc", "", "", 404, "not_found"),
        ("GET", "/v1/tasks/7", "", "", 404, "not_found"),
        ("GET", "/v1/deliveries/7", "", "", 404, "not_found"),
        ("GET", "/v1/tasks?limt=1", "", "", 422, "unknown_field"),
        ("GET", "/v1/tasks?limit=0", "", "", 422, "invalid"),
        ("GET", "/v1/tasks?cursor=zz", "", "", 422, "invalid"),
        ("GET", "/v1/notices?state=sent", "", "", 422, "invalid"),
        ("GET", "/v1/log?openid=o", "", "", 422, "invalid"),
        ("GET", "/v1/log?from=yesterday", "", "", 422, "invalid"),
        ("POST", "/v1/tasks", "", "{}", 415, "unsupported_media_type"),
        ("POST", "/v1/tasks", "Content-Type: text/plain\r\n", "{}", 415, "unsupported_media_type"),
        ("POST", "/v1/notices", "", "{}", 415, "unsupported_media_type"),
        ("POST", "/v1/tasks", JSON, "", 400, "bad_json"),
        ("POST", "/v1/tasks", JSON, "{\"type\":", 400, "bad_json"),
        ("POST", "/v1/tasks", JSON, "{\"type\":1,\"type\":2,\"payload\":1}", 400, "bad_json"),
        ("POST", "/v1/tasks", JSON, "[1,2", 400, "bad_json"),
        ("POST", "/v1/tasks", JSON, "7", 422, "invalid"),
        ("POST", "/v1/tasks", JSON, "{}", 422, "invalid"),
        (
            "POST",
            "/v1/tasks",
            JSON,
            "{\"type\":\"a\",\"payload\":1,\"prio\":1}",
            422,
            "unknown_field",
        ),
        (
            "POST",
            "/v1/tasks",
            JSON,
            "{\"type\":\"a\",\"payload\":1,\"priority\":256}",
            422,
            "invalid",
        ),
        (
            "POST",
            "/v1/tasks",
            JSON,
            "{\"type\":\"a\",\"payload\":1,\"due\":\"soon\"}",
            422,
            "invalid",
        ),
        (
            "POST",
            "/v1/tasks",
            JSON,
            "{\"type\":\"a\",\"payload\":1,\"due\":1795395600000,\"delay_ms\":1}",
            422,
            "field_invalid",
        ),
        ("POST", "/v1/tasks/claim", JSON, "{\"type\":\"a\",\"max\":0}", 422, "invalid"),
        ("POST", "/v1/tasks/claim", JSON, "{\"type\":\"a\",\"wait_ms\":60001}", 422, "invalid"),
        ("POST", "/v1/tasks/claim", JSON, "{\"type\":\"a b\"}", 422, "invalid"),
        ("POST", "/v1/tasks/7/ack", JSON, "{\"claim\":\"x\"}", 404, "not_found"),
        ("POST", "/v1/tasks/7/ack", JSON, "{}", 422, "invalid"),
        ("POST", "/v1/tasks/7/nack", JSON, "{\"claim\":\"x\",\"delay\":1}", 422, "unknown_field"),
        ("POST", "/v1/tasks/settle", JSON, "{}", 422, "invalid"),
        ("PATCH", "/v1/tasks/7", JSON, "{}", 422, "invalid"),
        ("DELETE", "/v1/tasks/7", "", "", 404, "not_found"),
        ("POST", "/v1/queues/none/pause", "", "", 404, "not_found"),
        ("POST", "/v1/dead/redrive", JSON, "{}", 422, "invalid"),
        ("POST", "/v1/schedules/none/run", "", "", 404, "unknown_schedule"),
        ("POST", "/v1/notices/7/pause", "", "", 404, "not_found"),
        ("POST", "/v1/notices/7/pause", JSON, "{\"why\":1}", 422, "unknown_field"),
        ("POST", "/v1/deliveries/7-1/resolve", JSON, "{\"as\":\"sent\"}", 422, "invalid"),
        (
            "POST",
            "/v1/tenants/other/test",
            JSON,
            "{\"openid\":\"o\",\"template\":\"new_task\"}",
            422,
            "unknown_tenant",
        ),
        ("POST", "/v1/notices/7/recipients", JSON, "{}", 415, "unsupported_media_type"),
        ("POST", "/v1/notices/7/cancel?dry_run=true", "", "", 422, "unknown_field"),
        ("DELETE", "/v1/tasks/7?force=1", "", "", 422, "unknown_field"),
        ("GET", "/v1/tenants?limit=1", "", "", 422, "unknown_field"),
    ];
    for (method, target, headers, body, status, code) in cases {
        let got = port.send(method, target, headers, body).await;
        let told = (got.status, got.code());
        assert_eq!(told, (*status, (*code).to_owned()), "{method} {target} {body}: {got:?}");
        assert!(got.head.contains("application/problem+json"), "{got:?}");
        assert_eq!(got.json()["type"], json!(format!("urn:duebox:problem:{code}")));
    }
    let got = port.send("PUT", "/v1/tasks", "", "").await;
    assert!(got.head.contains("allow: post, get"), "{got:?}");
    port.stop().await;
}

#[tokio::test]
async fn wrong_notices_name_every_wrong_field() {
    let port = start().await;
    let cases = [
        (json!({"audience": null}), "invalid", "/audience"),
        (json!({"audience": {"openids": []}}), "empty_audience", "/audience/openids"),
        (json!({"audience": {"openids": ["a b"]}}), "bad_openid", "/audience/openids/0/openid"),
        (json!({"audience": {"openids": [7]}}), "invalid", "/audience/openids/0"),
        (json!({"audience": {"followers": true, "tag": 1}}), "invalid", "/audience/tag"),
        (json!({"audience": {"openid": ["o"]}}), "unknown_field", "/audience/openid"),
        (json!({"audience": {"stream": true, "openids": []}}), "invalid", "/audience/stream"),
        (json!({"data": {"thing1": 7}}), "invalid", "/data/thing1"),
        (json!({"data": {"thing1": {"value": 7}}}), "invalid", "/data/thing1"),
        (json!({"data": {"thing1": "x".repeat(21)}}), "field_too_long", "/data/thing1"),
        (json!({"tenant": "other"}), "unknown_tenant", "/tenant"),
        (json!({"template": "other"}), "unknown_template", "/template"),
        (json!({"send_at": "tomorrow"}), "invalid", "/send_at"),
        (json!({"url": "javascript:1"}), "invalid", "/url"),
        (json!({"miniprogram": {"pagepath": "x"}}), "invalid", "/miniprogram/appid"),
        (json!({"in_doubt": "drop"}), "invalid", "/in_doubt"),
        (json!({"titel": "x"}), "unknown_field", "/titel"),
    ];
    for (change, code, pointer) in cases {
        let mut body = notice(json!({"openids": ["oA"]}));
        for (name, value) in change.as_object().unwrap() {
            body[name] = value.clone();
        }
        let got = port.post("/v1/notices", &body).await;
        assert_eq!((got.status, got.code().as_str()), (422, code), "{change}: {got:?}");
        assert_eq!(got.json()["errors"][0]["pointer"], pointer, "{change}: {got:?}");
    }
    let two = port.post("/v1/notices", &json!({"tenant": 7, "titel": "x"})).await.json();
    assert_eq!(two["errors"].as_array().unwrap().len(), 4, "{two}");
    port.stop().await;
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_before_and_while_it_comes() {
    let port = start().await;
    let head = format!(
        "POST /v1/tasks HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n",
        port.address
    );
    let announced = port.raw(format!("{head}Content-Length: 9000000\r\n\r\n").as_bytes()).await;
    assert_eq!((announced.status, announced.code()), (413, "body_too_large".into()));
    let large = json!({"type": "a", "payload": "x".repeat(70_000)});
    let got = port.post("/v1/tasks", &large).await;
    assert_eq!((got.status, got.code()), (413, "payload_too_large".into()));
    port.stop().await;
}

#[tokio::test]
async fn foreign_hosts_and_pages_are_turned_away() {
    let port = start().await;
    let own = port.address.to_string();
    for (host, more, status) in [
        (own.as_str(), String::new(), 200),
        ("localhost", String::new(), 200),
        (&own, format!("Origin: http://{own}\r\nSec-Fetch-Site: same-origin\r\n"), 200),
        ("evil.example", String::new(), 421),
        ("10.0.0.1", String::new(), 421),
        (&own, "Origin: http://evil.example\r\n".to_owned(), 403),
        (&own, "Origin: null\r\n".to_owned(), 403),
        (&own, "Sec-Fetch-Site: cross-site\r\n".to_owned(), 403),
        (&own, format!("Host: {own}\r\n"), 400),
    ] {
        let request =
            format!("GET /healthz HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n{more}\r\n");
        assert_eq!(port.raw(request.as_bytes()).await.status, status, "{host} {more}");
    }
    port.stop().await;
}

#[tokio::test]
async fn only_the_token_opens_the_port() {
    let token = Some(Arc::new(crate::admin::AdminToken::fixed("open sesame")));
    let settings = Settings { token, ..Settings::default() };
    assert!(format!("{settings:?}").contains("token: \"set\""), "{settings:?}");
    let port = start_with(settings, Role::Leader, Some(writer())).await;
    for (path, header, status) in [
        ("/healthz", "", 200),
        ("/readyz", "", 200),
        ("/metrics", "", 200),
        ("/v1/tenants", "", 401),
        ("/nothing", "", 401),
        ("/v1/tenants", "Authorization: Bearer open sesam\r\n", 401),
        ("/v1/tenants", "Authorization: Basic open sesame\r\n", 401),
        ("/v1/tenants", "Authorization: Bearer open sesame\r\n", 200),
        ("/api/v1/task/1/1", "", 401),
    ] {
        let got = port.send("GET", path, header, "").await;
        assert_eq!(got.status, status, "{path} {header}");
    }
    port.stop().await;
}

#[tokio::test]
async fn a_standby_tells_its_health_and_nothing_else() {
    let port = start_with(Settings::default(), Role::Standby, None).await;
    for (path, status) in [
        ("/healthz", 200),
        ("/readyz", 503),
        ("/readyz?standby=ok", 200),
        ("/metrics", 200),
        ("/v1/tasks", 503),
        ("/api/v1/task/1/1", 503),
    ] {
        let got = port.get(path).await;
        assert_eq!(got.status, status, "{path}");
    }
    assert_eq!(port.get("/v1/tasks").await.code(), "not_leader");
    port.stop().await;
}

#[tokio::test]
async fn connections_are_bounded_and_idle_ones_end() {
    let header_timeout = std::time::Duration::from_millis(50);
    let settings = Settings { max_connections: 1, header_timeout, ..Settings::default() };
    let port = start_with(settings, Role::Leader, Some(writer())).await;
    let mut slow = TcpStream::connect(port.address).await.unwrap();
    slow.write_all(b"GET /healthz HTTP/1.1\r\nHost:").await.unwrap();
    let mut second = TcpStream::connect(port.address).await.unwrap();
    let mut told = String::new();
    second.read_to_string(&mut told).await.unwrap();
    assert!(told.starts_with("HTTP/1.1 503"), "{told}");
    let mut rest = Vec::new();
    slow.read_to_end(&mut rest).await.unwrap();
    port.stop().await;
}

#[tokio::test]
async fn a_stop_ends_also_those_who_wait() {
    let drain_timeout = std::time::Duration::from_millis(50);
    let settings = Settings { drain_timeout, ..Settings::default() };
    let port = start_with(settings, Role::Leader, Some(writer())).await;
    let mut waiting = TcpStream::connect(port.address).await.unwrap();
    let body = r#"{"type":"w","wait_ms":60000}"#;
    let request = format!(
        "POST /v1/tasks/claim HTTP/1.1\r\nHost: localhost\r\n{JSON}Content-Length: {}\r\n\r\n{body}",
        body.len()
    );
    waiting.write_all(request.as_bytes()).await.unwrap();
    // Until the claim waits in the engine.
    while !port.get("/metrics").await.body.contains("duebox_waiting_claims 1.0") {
        tokio::task::yield_now().await;
    }
    port.stop().await;
    let mut rest = Vec::new();
    waiting.read_to_end(&mut rest).await.unwrap();
    assert!(rest.is_empty(), "{rest:?}");
}
