//! Tokens, quotas, followers and templates.

#![allow(clippy::unwrap_used)]

use serde_json::json;

use super::{APPIDS, SEND, message, start};
use crate::sandbox::{DEFAULT_TEMPLATE, Options, follower};

#[tokio::test]
async fn token_families_live_and_die_apart() {
    let wechat = start(Options::default()).await;
    let first = wechat.classic().await;
    let stable = wechat.stable(0, false).await;
    assert_eq!(wechat.stable(0, false).await, stable);
    assert!((130..512).contains(&stable.len()));

    let second = wechat.classic().await;
    let body = message(&follower(0, 0), "a", "x");
    for token in [&first, &second, &stable] {
        assert_eq!(wechat.code(token, &body).await, 0);
    }
    wechat.advance(300_000).await;
    assert_eq!(wechat.code(&first, &body).await, 40001);
    assert_eq!(wechat.code(&second, &body).await, 0);

    let forced = wechat.stable(0, true).await;
    assert_ne!(forced, stable);
    assert_eq!(wechat.code(&stable, &body).await, 40001);
    assert_eq!(wechat.stable(0, true).await, forced, "forced again too soon");
    wechat.advance(7_200_000).await;
    assert_eq!(wechat.code(&forced, &body).await, 42001);
    assert_eq!(wechat.ledger().await["token_fetches"][APPIDS[0]], 6);
}

#[tokio::test]
async fn bad_credentials_are_told_apart() {
    let wechat = start(Options::default()).await;
    let good = format!("grant_type=client_credential&appid={}", APPIDS[0]);
    for (query, code) in [
        ("".to_owned(), 40002),
        ("grant_type=client_credential".to_owned(), 41002),
        (good.clone(), 41004),
        ("grant_type=client_credential&appid=wx&secret=s".to_owned(), 40013),
        (format!("{good}&secret=wrong"), 40125),
    ] {
        let answer = wechat.get(&format!("/cgi-bin/token?{query}")).await;
        assert_eq!(answer["errcode"], code, "{query}");
    }
}

#[tokio::test]
async fn daily_quota_ends_until_cleared_or_the_next_day() {
    let wechat = start(Options { daily_quota: 2, ..Options::default() }).await;
    let token = wechat.stable(0, false).await;
    let body = |i| message(&follower(0, i), "a", "x");
    for (i, code) in [(0, 0), (1, 0), (2, 45009)] {
        assert_eq!(wechat.code(&token, &body(i)).await, code);
    }
    let quota = format!("/cgi-bin/openapi/quota/get?access_token={token}");
    let left = wechat.post(&quota, json!({ "cgi_path": SEND })).await;
    assert_eq!(left["quota"], json!({ "daily_limit": 2, "used": 2, "remain": 0 }));
    assert_eq!(wechat.post(&quota, json!({ "cgi_path": "/x" })).await["errcode"], 76021);

    let clear = format!("/cgi-bin/clear_quota?access_token={token}");
    assert_eq!(wechat.post(&clear, json!({ "appid": APPIDS[1] })).await["errcode"], 40013);
    assert_eq!(wechat.post(&clear, json!({ "appid": APPIDS[0] })).await["errcode"], 0);
    for (i, code) in [(2, 0), (3, 0), (4, 45009)] {
        assert_eq!(wechat.code(&token, &body(i)).await, code);
    }
    wechat.advance(86_400_000).await;
    let token = wechat.stable(0, false).await;
    assert_eq!(wechat.code(&token, &body(4)).await, 0);
}

#[tokio::test]
async fn followers_are_paged_tagged_and_profiled() {
    let wechat = start(Options { followers: 10_015, ..Options::default() }).await;
    let token = wechat.stable(0, false).await;
    let change = json!({
        "appid": APPIDS[0], "follow": ["oNew"], "unfollow": [follower(0, 0)]
    });
    let followers = wechat.post("/_sandbox/followers", change).await;
    assert_eq!(followers["followers"], 10_015);

    let list = format!("/cgi-bin/user/get?access_token={token}");
    let page = wechat.get(&list).await;
    assert_eq!((&page["total"], &page["count"]), (&json!(10_015), &json!(10_000)));
    assert_eq!(page["data"]["openid"][0], follower(0, 1));
    assert_eq!(page["next_openid"], follower(0, 10_000));
    let page = wechat.get(&format!("{list}&next_openid={}", follower(0, 10_000))).await;
    assert_eq!((&page["count"], &page["next_openid"]), (&json!(15), &json!("oNew")));
    let page = wechat.get(&format!("{list}&next_openid=oNew")).await;
    assert_eq!(page, json!({ "total": 10_015, "count": 0, "next_openid": "" }));

    let tagged = format!("/cgi-bin/user/tag/get?access_token={token}");
    let page = wechat.post(&tagged, json!({ "tagid": 100, "next_openid": "" })).await;
    assert_eq!(
        (&page["count"], &page["data"]["openid"][0]),
        (&json!(1_001), &json!(follower(0, 10)))
    );
    assert_eq!(wechat.post(&tagged, json!({ "tagid": 7 })).await["errcode"], 45159);

    let profiles = format!("/cgi-bin/user/info/batchget?access_token={token}");
    let asked = json!({ "user_list": [{ "openid": "oNew" }, { "openid": follower(0, 0) }] });
    let answer = wechat.post(&profiles, asked).await;
    assert_eq!(answer["user_info_list"][0]["subscribe"], 1);
    assert_eq!(answer["user_info_list"][1], json!({ "subscribe": 0, "openid": follower(0, 0) }));
    let empty = wechat.post(&profiles, json!({ "user_list": [] })).await;
    assert_eq!(empty["errcode"], 40032);
    assert_eq!(wechat.code(&token, &message("oNew", "a", "x")).await, 0);
}

#[tokio::test]
async fn templates_are_listed_with_their_keywords() {
    let wechat = start(Options::default()).await;
    let token = wechat.stable(0, false).await;
    let path = format!("/cgi-bin/template/get_all_private_template?access_token={token}");
    let list = wechat.get(&path).await;
    assert_eq!(list["template_list"][0]["template_id"], DEFAULT_TEMPLATE);
    assert_eq!(
        list["template_list"][0]["content"],
        "thing1: {{thing1.DATA}}\ntime2: {{time2.DATA}}\n"
    );
}
