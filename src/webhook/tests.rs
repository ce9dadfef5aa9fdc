//! Posting to a loopback server.
#![allow(clippy::unwrap_used)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use reqwest::Method;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;
use crate::outbound::loopback::{Answer, Loopback};

const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// 2026-11-23T09:00:00.500Z.
const NOW: Timestamp = Timestamp(1_795_424_400_500);
const TIMEOUT_MS: u64 = 5_000;

fn task(attempt: u32) -> HookTask<'static> {
    HookTask {
        id: "1882000000000000000",
        kind: "1001",
        priority: 2,
        attempt,
        due: NOW.minus(500),
        claim: "c-7",
        until: NOW.plus(60_000),
        payload_json: r#"{"b": 1, "a":[2.50]}"#,
    }
}

async fn post(base: &str, task: &HookTask<'_>) -> HookOutcome {
    let keys = SigningKeys::parse(KEY).unwrap();
    let hook = Hook::new(&format!("{base}/hook?token=canary"), Some(keys)).unwrap();
    Hooks::new().unwrap().post(&hook, task, NOW, TIMEOUT_MS).await
}

/// What is posted when the server answers so.
async fn answered(answer: Answer) -> HookOutcome {
    let server = Loopback::start(move |_, _| answer.clone()).await;
    post(&server.base, &task(1)).await
}

#[tokio::test]
async fn a_task_is_posted_signed_and_keeps_its_id() {
    let server = Loopback::start(|_, _| Answer::new(200, "")).await;
    for attempt in [1, 2] {
        assert_eq!(post(&server.base, &task(attempt)).await, HookOutcome::Ack);
    }
    let seen = server.seen();
    for (attempt, request) in (1..).zip(&seen) {
        assert_eq!((&request.method, &*request.target), (&Method::POST, "/hook?token=canary"));
        assert_eq!(request.header("webhook-id"), "1882000000000000000");
        assert_eq!(request.header("webhook-timestamp"), "1795424400");
        assert_eq!(request.header("content-type"), "application/json");
        let signed = SigningKeys::parse(KEY).unwrap().sign(task(1).id, "1795424400", &request.body);
        assert_eq!(request.header("webhook-signature"), signed);
        let wanted = format!(
            r#"{{"id":"1882000000000000000","type":"1001","priority":2,"attempt":{attempt},"due":"2026-11-23T09:00:00.000Z","claim":"c-7","until":"2026-11-23T09:01:00.500Z","payload":{{"b": 1, "a":[2.50]}}}}"#
        );
        assert_eq!(request.body, wanted);
    }
    assert_eq!(seen.len(), 2);
}

#[tokio::test]
async fn without_keys_there_is_no_signature() {
    let server = Loopback::start(|_, _| Answer::new(204, "")).await;
    let hook = Hook::new(&server.base, None).unwrap();
    let outcome = Hooks::new().unwrap().post(&hook, &task(1), NOW, TIMEOUT_MS).await;
    assert_eq!(outcome, HookOutcome::Ack);
    assert!(!server.seen()[0].headers.contains_key("webhook-signature"));
}

#[tokio::test]
async fn the_status_decides() {
    let failed = |reason: &str| HookOutcome::Failed { reason: reason.into() };
    for (status, body, wanted) in [
        (200, "anything", HookOutcome::Ack),
        (201, "", HookOutcome::Ack),
        (202, "", HookOutcome::Later),
        (410, "moved\nout", HookOutcome::Reject { reason: "HTTP 410: moved out".into() }),
        (302, "elsewhere", failed("HTTP 302: redirects are not followed")),
        (404, "", failed("HTTP 404")),
        (429, "slow down", failed("HTTP 429: slow down")),
        (500, "oops", failed("HTTP 500: oops")),
        (503, "", failed("HTTP 503")),
    ] {
        let answer = Answer::new(status, body).with("location", "/elsewhere");
        assert_eq!(answered(answer).await, wanted, "{status}");
    }
}

#[tokio::test]
async fn retry_after_is_kept_to_within_bounds() {
    for (status, text, wanted) in [
        (429, "30", Some(30_000)),
        (503, "0", Some(1_000)),
        (503, "99999999999999999999999", Some(86_400_000)),
        (503, "Mon, 23 Nov 2026 09:02:00 GMT", Some(119_500)),
        (429, "Mon, 23 Nov 2026 08:00:00 GMT", Some(1_000)),
        (429, "Sun, 23 Nov 2036 09:00:00 GMT", Some(86_400_000)),
        (429, "soon", None),
        (429, "-5", None),
        (429, "", None),
        // Only where it says that the consumer is busy.
        (500, "30", None),
    ] {
        let reason = format!("HTTP {status}: busy");
        let wanted = match wanted {
            Some(delay_ms) => HookOutcome::RetryAfter { delay_ms, reason },
            None => HookOutcome::Failed { reason },
        };
        let answer = Answer::new(status, "busy").with("retry-after", text);
        assert_eq!(answered(answer).await, wanted, "{status} {text:?}");
    }
}

#[tokio::test]
async fn an_endless_body_does_not_change_the_outcome() {
    let long = "x".repeat(4 * HOOK_ANSWER_BYTES);
    assert_eq!(answered(Answer::new(200, long.clone())).await, HookOutcome::Ack);
    let HookOutcome::Failed { reason } = answered(Answer::new(500, long)).await else {
        panic!("a failure");
    };
    assert!(reason.len() < 200, "{}", reason.len());
}

/// A server that reads a request, writes `answer` and then hangs up or hangs.
async fn raw(answer: &'static str, hang: bool) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = vec![0; 4096];
        let _ = stream.read(&mut request).await;
        let _ = stream.write_all(answer.as_bytes()).await;
        if hang {
            std::future::pending::<()>().await;
        }
    });
    base
}

#[tokio::test]
async fn failures_of_the_network_are_told_without_the_address() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let hung_up = raw("", false).await;
    for (base, head) in
        [(format!("http://{closed}"), "cannot connect: "), (hung_up, "the exchange failed: ")]
    {
        let HookOutcome::Failed { reason } = post(&base, &task(1)).await else {
            panic!("a failure");
        };
        assert!(reason.starts_with(head), "{reason}");
        assert!(!reason.contains("canary") && !reason.contains("hook"), "{reason}");
    }
}

#[tokio::test]
async fn a_consumer_that_resets_used_connections_loses_no_attempt() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base = format!("http://{}", listener.local_addr().unwrap());
    let (answered, reset) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let counts = (answered.clone(), reset.clone());
    tokio::spawn(async move {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut request = vec![0; 4096];
            let mut read = 0;
            while !request[..read].ends_with(b"}}") {
                read += stream.read(&mut request[read..]).await.unwrap();
            }
            counts.0.fetch_add(1, Ordering::SeqCst);
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await.unwrap();
            tokio::spawn({
                let reset = counts.1.clone();
                async move {
                    // What is dropped with bytes unread is reset.
                    if stream.read(&mut [0; 1]).await.is_ok_and(|read| read > 0) {
                        reset.fetch_add(1, Ordering::SeqCst);
                    }
                }
            });
        }
    });
    let hooks = Hooks::new().unwrap();
    let hook = Hook::new(&base, None).unwrap();
    for _ in 0..6 {
        assert_eq!(hooks.post(&hook, &task(1), NOW, TIMEOUT_MS).await, HookOutcome::Ack);
    }
    assert_eq!(answered.load(Ordering::SeqCst), 6, "each is answered once");
    assert!(reset.load(Ordering::SeqCst) >= 1, "and some had come over a used connection");
}

#[tokio::test]
async fn a_silent_consumer_is_given_up_in_time() {
    let base = raw("", true).await;
    let hook = Hook::new(&base, None).unwrap();
    let outcome = Hooks::new().unwrap().post(&hook, &task(1), NOW, 50).await;
    assert_eq!(outcome, HookOutcome::Failed { reason: "no complete answer in time".into() });
}

#[tokio::test]
async fn an_ack_whose_body_never_ends_is_an_ack() {
    let base = raw("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nabc", true).await;
    let hook = Hook::new(&base, None).unwrap();
    let outcome = Hooks::new().unwrap().post(&hook, &task(1), NOW, 300).await;
    assert_eq!(outcome, HookOutcome::Ack);
}

#[test]
fn hooks_show_no_secrets() {
    let keys = SigningKeys::parse(KEY).unwrap();
    let hook = Hook::new("http://me:canary@h/hook?token=canary", Some(keys)).unwrap();
    let shown = format!("{hook:?} {hook:#?}");
    assert!(shown.contains("http://h/hook"), "{shown}");
    for secret in ["canary", "MfKQ9r8G", "whsec_", "49, 242"] {
        assert!(!shown.contains(secret), "{secret} in {shown}");
    }
    assert_eq!(Hook::new("file:///etc/passwd", None).unwrap_err(), NotAnAddress);
}
