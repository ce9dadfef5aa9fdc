//! Pulling from a loopback server.
#![allow(clippy::unwrap_used)]

use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::outbound::loopback::{Answer, Loopback};

const LAST: Option<Timestamp> = Some(Timestamp(1_795_395_600_000));

/// A puller that does not rest between its three tries.
fn puller() -> Puller {
    let retry = RetryPolicy { backoff: Backoff::Fixed { delay_ms: 1 }, max_attempts: 3 };
    Puller { retry, ..Puller::new(5_000).unwrap() }
}

fn template(server: &Loopback) -> String {
    format!("{}/notices?tenant={{tenant}}&since={{last_run}}&token=canary", server.base)
}

#[tokio::test]
async fn a_page_is_asked_for_by_tenant_and_last_run() {
    let server = Loopback::start(|_, _| Answer::new(200, r#"[{"title":"a"}]"#)).await;
    let page = puller()
        .pull(&template(&server), "a b", LAST, None, &Credentials::default())
        .await
        .unwrap();
    assert_eq!(page, Page { notices: vec![json!({"title": "a"})], next: None });
    let seen = server.seen();
    assert_eq!(seen.len(), 1);
    assert_eq!(
        seen[0].target,
        "/notices?tenant=a%20b&since=2026-11-23T01%3A00%3A00.000Z&token=canary"
    );
    assert_eq!((seen[0].method.as_str(), seen[0].header("accept")), ("GET", "application/json"));
}

#[tokio::test]
async fn pages_are_followed_by_cursor_and_by_address() {
    let server = Loopback::start(|number, seen| {
        let host = seen.header("host");
        Answer::new(
            200,
            match number {
                0 => r#"{"notices":[{"n":1}],"next":"p2"}"#.to_owned(),
                1 => format!(r#"{{"notices":[{{"n":2}}],"next":"http://{host}/more?p=3"}}"#),
                _ => r#"{"notices":[{"n":3}]}"#.to_owned(),
            },
        )
    })
    .await;
    let (puller, template) = (puller(), template(&server));
    let (mut cursor, mut titles) = (None, Vec::new());
    loop {
        let page = puller
            .pull(&template, "acme", None, cursor.as_deref(), &Credentials::default())
            .await
            .unwrap();
        titles.extend(page.notices);
        cursor = page.next;
        if cursor.is_none() {
            break;
        }
    }
    assert_eq!(titles, [json!({"n": 1}), json!({"n": 2}), json!({"n": 3})]);
    let targets: Vec<_> = server.seen().into_iter().map(|seen| seen.target).collect();
    let first = "/notices?tenant=acme&since=1970-01-01T00%3A00%3A00.000Z&token=canary";
    assert_eq!(targets, [first, &format!("{first}&cursor=p2"), "/more?p=3"]);
}

#[tokio::test]
async fn failures_that_pass_are_tried_three_times() {
    let flaky = Loopback::start(|number, _| match number {
        0 => Answer::new(503, ""),
        1 => Answer::new(429, ""),
        _ => Answer::new(204, ""),
    })
    .await;
    let page = puller().pull(&template(&flaky), "acme", LAST, None, &Credentials::default()).await;
    assert_eq!(page, Ok(Page::default()));
    assert_eq!(flaky.seen().len(), 3);

    let down = Loopback::start(|_, _| Answer::new(500, "oops")).await;
    let error = puller()
        .pull(&template(&down), "acme", LAST, None, &Credentials::default())
        .await
        .unwrap_err();
    assert_eq!(error, PullError { reason: "HTTP 500: oops".into(), retryable: true });
    assert_eq!(down.seen().len(), 3);
}

#[tokio::test]
async fn failures_that_last_are_tried_once() {
    let long = format!("[{}]", " ".repeat(PULL_BYTES));
    for (status, body, reason) in [
        (404, "", "HTTP 404"),
        (401, "who are you", "HTTP 401: who are you"),
        (307, "", "HTTP 307: redirects are not followed"),
        (200, r#"{"data":[]}"#, "expected an array of notices or"),
        (200, r#"{"notices":[],"next":"http://evil/"}"#, "next must be an address on the host"),
        (200, &long, "the answer is longer than 8388608 bytes"),
    ] {
        let answer = Answer::new(status, body).with("location", "/elsewhere");
        let server = Loopback::start(move |_, _| answer.clone()).await;
        let error = puller()
            .pull(&template(&server), "acme", LAST, None, &Credentials::default())
            .await
            .unwrap_err();
        assert!(error.reason.starts_with(reason) && !error.retryable, "{error}");
        assert_eq!(server.seen().len(), 1, "{reason}");
    }
}

#[tokio::test]
async fn a_page_that_leads_to_itself_is_refused() {
    let server = Loopback::start(|_, _| Answer::new(200, r#"{"notices":[],"next":"p2"}"#)).await;
    let (puller, template) = (puller(), template(&server));
    let first = puller.pull(&template, "acme", LAST, None, &Credentials::default()).await.unwrap();
    let again =
        puller.pull(&template, "acme", LAST, first.next.as_deref(), &Credentials::default()).await;
    assert_eq!(again.unwrap_err().reason, "next leads to the page it came with");
}

#[tokio::test]
async fn errors_hold_neither_address_nor_query() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let template = format!("http://me:canary@{closed}/notices?token=canary");
    let error =
        puller().pull(&template, "acme", LAST, None, &Credentials::default()).await.unwrap_err();
    assert!(error.retryable && error.reason.starts_with("cannot connect"), "{error}");
    assert!(!format!("{error} {error:?}").contains("canary"), "{error:?}");
}
