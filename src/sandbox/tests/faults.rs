//! Faults, and that only the seed and the recipient decide them.

#![allow(clippy::unwrap_used)]

use std::time::{Duration, Instant};

use serde_json::json;

use super::{message, start};
use crate::sandbox::{Faults, Options, follower};

#[tokio::test]
async fn lost_answer_is_recorded_and_then_repeated() {
    let faults = Faults { lost_answer_permille: 1_000, ..Faults::default() };
    let wechat = start(Options { faults, ..Options::default() }).await;
    let token = wechat.stable(0, false).await;
    let body = message(&follower(0, 0), "a", "x");
    assert!(wechat.try_send(&token, &body).await.is_err());
    wechat.post("/_sandbox/faults", json!({})).await;
    assert_eq!(wechat.ledger().await["accepted"], 1);
    assert_eq!(wechat.code(&token, &body).await, 0);
    let summary = wechat.stop().await;
    assert_eq!((summary.accepted, summary.lost_answers, summary.duplicates), (1, 1, 0));
}

#[tokio::test]
async fn connection_lost_before_acceptance_shows_nothing() {
    let faults = Faults { lost_before_accept_permille: 1_000, ..Faults::default() };
    let wechat = start(Options { faults, ..Options::default() }).await;
    let token = wechat.stable(0, false).await;
    assert!(wechat.try_send(&token, &message(&follower(0, 0), "a", "x")).await.is_err());
    let ledger = wechat.ledger().await;
    assert_eq!((&ledger["accepted"], &ledger["lost_before_accept"]), (&json!(0), &json!(1)));
}

#[tokio::test]
async fn system_errors_are_carried_out_every_other_time() {
    let faults = Faults { system_error_permille: 1_000, ..Faults::default() };
    let wechat = start(Options { faults, ..Options::default() }).await;
    let token = wechat.stable(0, false).await;
    for i in 0..100 {
        assert_eq!(wechat.code(&token, &message(&follower(0, i), "a", "x")).await, -1);
    }
    let ledger = wechat.ledger().await;
    assert_eq!(ledger["per_errcode"]["-1"], 100);
    assert!((30..70).contains(&ledger["accepted"].as_u64().unwrap()), "{ledger}");
}

#[tokio::test]
async fn minute_limit_and_slow_answers_come_when_asked() {
    let faults = Faults {
        minute_limit_permille: 1_000,
        slow_permille: 1_000,
        slow_ms: 60,
        latency_ms: 20,
        ..Faults::default()
    };
    let wechat = start(Options { faults, ..Options::default() }).await;
    let token = wechat.stable(0, false).await;
    let began = Instant::now();
    assert_eq!(wechat.code(&token, &message(&follower(0, 0), "a", "x")).await, 45011);
    assert!(began.elapsed() >= Duration::from_millis(80));
}

#[tokio::test]
async fn faults_do_not_depend_on_the_order_of_sends() {
    let faults = Faults { system_error_permille: 500, ..Faults::default() };
    let mut outcomes = Vec::new();
    for backwards in [false, true] {
        let wechat = start(Options { faults: faults.clone(), ..Options::default() }).await;
        let token = wechat.stable(0, false).await;
        let mut codes = vec![0; 40];
        for step in 0..40 {
            let i = if backwards { 39 - step } else { step };
            codes[i as usize] = wechat.code(&token, &message(&follower(0, i), "a", "x")).await;
        }
        outcomes.push((codes, wechat.stop().await.accepted));
    }
    assert_eq!(outcomes[0], outcomes[1]);
    assert!(outcomes[0].0.contains(&0) && outcomes[0].0.contains(&-1));
}
