//! Sends: their checks, what is shown, and repeats.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::{APPIDS, SEND, message, start};
use crate::sandbox::{DEFAULT_TEMPLATE, Faults, Options, RepeatAnswer, follower};

#[tokio::test]
async fn sends_are_checked_in_order() {
    let wechat = start(Options::default()).await;
    let token = wechat.stable(0, false).await;
    assert_eq!(wechat.post(SEND, json!({})).await["errcode"], 41001);
    assert_eq!(wechat.code("0000_garbage", &json!({})).await, 40001);
    assert_eq!(wechat.get(SEND).await["errcode"], 43002);
    assert_eq!(wechat.get("/cgi-bin/nowhere").await["errcode"], 40066);
    wechat
        .post("/_sandbox/followers", json!({ "appid": APPIDS[0], "unfollow": [follower(0, 1)] }))
        .await;
    wechat
        .post("/_sandbox/followers", json!({ "appid": APPIDS[0], "block": [follower(0, 2)] }))
        .await;

    // Each body has every later fault, too.
    let mut body = json!({ "touser": 5, "template_id": "x", "data": {} });
    assert_eq!(wechat.code(&token, &body).await, 47001);
    body["touser"] = "nobody".into();
    assert_eq!(wechat.code(&token, &body).await, 40003);
    body["touser"] = follower(0, 1).into();
    assert_eq!(wechat.code(&token, &body).await, 40036);
    body["template_id"] = "y".repeat(43).into();
    assert_eq!(wechat.code(&token, &body).await, 40037);
    body["template_id"] = DEFAULT_TEMPLATE.into();
    assert_eq!(wechat.code(&token, &body).await, 43004);
    body["touser"] = follower(0, 2).into();
    assert_eq!(wechat.code(&token, &body).await, 43019);
    body["touser"] = follower(0, 3).into();
    assert_eq!(wechat.code(&token, &body).await, 47003);
    assert_eq!(wechat.ledger().await["accepted"], 0);
}

#[tokio::test]
async fn wrong_keyword_is_named() {
    let wechat = start(Options::default()).await;
    let token = wechat.stable(0, false).await;
    let long = message(&follower(0, 0), "a", &"长".repeat(21));
    let answer = wechat.send(&token, &long).await;
    assert_eq!(answer["errcode"], 47003);
    let text = answer["errmsg"].as_str().unwrap();
    assert!(text.starts_with("argument invalid! data.thing1.value invalid rid: "), "{text}");
}

#[tokio::test]
async fn client_msg_id_protects_for_ten_minutes() {
    let wechat = start(Options::default()).await;
    let token = wechat.stable(0, false).await;
    let body = message(&follower(0, 0), "a", "x");
    let first = wechat.send(&token, &body).await;
    assert!(first["msgid"].as_u64().unwrap() > 1 << 53);
    wechat.advance(590_000).await;
    assert_eq!(wechat.send(&token, &body).await, first);
    assert_eq!(wechat.ledger().await["duplicates"], 0);
    assert_eq!(wechat.code(&token, &message(&follower(0, 1), "a", "x")).await, 0);

    wechat.advance(10_001).await;
    let late = wechat.send(&token, &body).await;
    assert_ne!(late["msgid"], first["msgid"]);
    let ledger = wechat.ledger().await;
    assert_eq!(ledger["accepted"], 3);
    assert_eq!(ledger["recipients"], 2);
    assert_eq!(ledger["duplicates"], 1);
    assert_eq!(ledger["repeats"], 1);

    let seen =
        wechat.get(&format!("/_sandbox/seen?appid={}&openid={}", APPIDS[0], follower(0, 0))).await;
    assert_eq!(seen["shown"], 2);
    assert_eq!(seen["messages"][1]["msgid"], late["msgid"].to_string());
    assert_eq!(seen["messages"][1]["data"]["thing1"], "x");
}

#[tokio::test]
async fn another_client_msg_id_with_the_same_content_is_a_duplicate() {
    let wechat = start(Options::default()).await;
    let token = wechat.stable(0, false).await;
    for id in ["a", "b"] {
        assert_eq!(wechat.code(&token, &message(&follower(0, 0), id, "x")).await, 0);
    }
    assert_eq!(wechat.code(&token, &message(&follower(0, 0), "c", "y")).await, 0);
    assert_eq!(wechat.stop().await.duplicates, 1);
}

#[tokio::test]
async fn repeats_are_answered_as_asked() {
    let wechat = start(Options::default()).await;
    let token = wechat.stable(0, false).await;
    let body = message(&follower(0, 0), "a", "x");
    let first = wechat.send(&token, &body).await;
    for answer in [RepeatAnswer::NewMsgid, RepeatAnswer::NoMsgid, RepeatAnswer::Refused] {
        let faults = Faults { repeat_answer: answer, ..Faults::default() };
        wechat.post("/_sandbox/faults", json!(faults)).await;
        let repeat = wechat.send(&token, &body).await;
        match answer {
            RepeatAnswer::SameMsgid => unreachable!(),
            RepeatAnswer::NewMsgid => assert!(repeat["msgid"].as_u64() > first["msgid"].as_u64()),
            RepeatAnswer::NoMsgid => assert_eq!(repeat, json!({"errcode": 0, "errmsg": "ok"})),
            RepeatAnswer::Refused => assert_eq!(repeat["errcode"], 40241),
        }
    }
    assert_eq!(wechat.stop().await.accepted, 1);
}

#[tokio::test]
async fn another_tenants_token_is_noticed() {
    let wechat = start(Options::default()).await;
    let token = wechat.stable(1, false).await;
    assert_eq!(wechat.code(&token, &message(&follower(0, 0), "a", "x")).await, 40003);
    assert_eq!(wechat.code(&token, &message("nobody", "a", "x")).await, 40003);
    let ledger = wechat.get(&format!("/_sandbox/ledger?appid={}", APPIDS[1])).await;
    assert_eq!((&ledger["wrong_tenant"], &ledger["calls"]), (&json!(1), &json!(2)));
    let ledger = wechat.get(&format!("/_sandbox/ledger?appid={}", APPIDS[0])).await;
    assert_eq!((&ledger["wrong_tenant"], &ledger["calls"]), (&json!(0), &json!(0)));
}
