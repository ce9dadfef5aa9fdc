//! What only the sandbox has: its ledger and its levers.

#![allow(clippy::unwrap_used)]

use serde_json::{Value, json};

use super::{APPIDS, message, start};
use crate::sandbox::{DEFAULT_TEMPLATE, Options, Template, follower};

#[tokio::test]
async fn invalidated_tokens_and_a_reset_end_everything() {
    let wechat = start(Options::default()).await;
    let token = wechat.stable(0, false).await;
    let other = wechat.stable(1, false).await;
    wechat.post("/_sandbox/tokens/invalidate", json!({ "appid": APPIDS[0] })).await;
    let body = message(&follower(1, 0), "a", "x");
    assert_eq!(wechat.code(&token, &body).await, 40001);
    assert_eq!(wechat.code(&other, &body).await, 0);
    wechat.post("/_sandbox/reset", json!({})).await;
    assert_eq!(wechat.code(&other, &body).await, 40001);
    assert_ne!(wechat.stable(1, false).await, other);
    assert_eq!(wechat.stop().await.accepted, 0);
}

#[tokio::test]
async fn ledger_is_read_in_pages() {
    let wechat = start(Options::default()).await;
    let tokens = [wechat.stable(0, false).await, wechat.stable(1, false).await];
    for i in 0..6 {
        let account = i as usize % 2;
        let body = message(&follower(account, i), &format!("id{i}"), "x");
        assert_eq!(wechat.code(&tokens[account], &body).await, 0);
    }
    let path = format!("/_sandbox/ledger/messages?appid={}&limit=2", APPIDS[1]);
    let page = wechat.get(&path).await;
    let ids = |page: &Value| {
        let messages = page["messages"].as_array().unwrap();
        messages.iter().map(|m| m["client_msg_id"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(ids(&page), ["id1", "id3"]);
    assert_eq!(page["messages"][0]["openid"], follower(1, 1));
    let page = wechat.get(&format!("{path}&after={}", page["next"])).await;
    assert_eq!((ids(&page), &page["next"]), (vec!["id5".to_owned()], &Value::Null));
}

#[tokio::test]
async fn without_messages_kept_the_counts_are_the_same() {
    let options = Options {
        keep_ledger: false,
        templates: vec![Template::new(DEFAULT_TEMPLATE, &[])],
        ..Options::default()
    };
    let wechat = start(options).await;
    let token = wechat.stable(0, false).await;
    for id in ["a", "a", "b"] {
        assert_eq!(wechat.code(&token, &message(&follower(0, 0), id, "x")).await, 0);
    }
    assert_eq!(wechat.get("/_sandbox/ledger/messages").await["messages"], json!([]));
    let summary = wechat.stop().await;
    assert_eq!((summary.calls, summary.accepted, summary.duplicates), (3, 2, 1));
}

#[tokio::test]
async fn wrong_calls_of_the_control_side_are_refused() {
    let wechat = start(Options::default()).await;
    for (path, body, status) in [
        ("faults", json!({ "lost_answer": 5 }), 400),
        ("faults", json!({ "lost_answer_permille": 1_001 }), 400),
        ("followers", json!({ "appid": "wx" }), 404),
        ("followers", json!({ "appid": APPIDS[0], "unfollow": ["nobody"] }), 404),
        ("followers", json!({ "appid": APPIDS[0], "follow": [""] }), 400),
        ("nowhere", json!({}), 404),
    ] {
        let call = wechat.client.post(format!("{}/_sandbox/{path}", wechat.base)).json(&body);
        let answer = call.send().await.unwrap();
        assert_eq!(answer.status().as_u16(), status, "{path} {body}");
        assert!(answer.json::<Value>().await.unwrap()["error"].is_string());
    }
}
