//! Streams in and out.

use super::*;

const LINES: &str = "Content-Type: application/x-ndjson\r\n";

async fn open(port: &Running) -> String {
    let made = port.post("/v1/notices", &notice(json!({"stream": true}))).await;
    assert_eq!((made.status, &made.json()["state"]), (202, &json!("expanding")));
    format!("/v1/notices/{}", made.json()["id"].as_str().unwrap())
}

fn openids(count: usize) -> String {
    (0..count).map(|at| format!("{{\"openid\":\"o{at}\"}}\n")).collect()
}

#[tokio::test]
async fn recipients_are_streamed_in_and_the_notice_closed() {
    let port = start().await;
    let path = open(&port).await;
    let body = openids(1_750) + "\n\"o1\"\r\n{\"openid\":\"oX\",\"data\":{\"thing1\":\"y\"}}";
    let got = port.send("POST", &format!("{path}/recipients"), LINES, &body).await.json();
    assert_eq!(
        got,
        json!({"added": 1_751, "known": 1, "total": 1_751, "lines": 1_753, "closed": false})
    );
    let closed = port.send("POST", &format!("{path}/recipients?done=true"), "", "").await.json();
    assert_eq!(closed["total"], 1_751);
    assert_eq!(port.get(&path).await.json()["state"], "scheduled");
    let late = port.send("POST", &format!("{path}/recipients"), LINES, "\"oZ\"\n").await;
    assert_eq!((late.status, late.code()), (409, "not_open".into()));
    port.stop().await;
}

#[tokio::test]
async fn a_connection_goes_on_after_a_stream_in_chunks() {
    let port = start().await;
    let path = open(&port).await;
    let lines = openids(3);
    let requests = format!(
        "POST {path}/recipients HTTP/1.1\r\nHost: {host}\r\n{LINES}Transfer-Encoding: chunked\r\n\r\n\
         {:x}\r\n{lines}\r\n0\r\n\r\n\
         GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n",
        lines.len(),
        host = port.address,
    );
    let got = port.raw(requests.as_bytes()).await;
    assert_eq!(got.status, 200, "{got:?}");
    assert!(!got.head.contains("connection: close"), "{got:?}");
    assert!(got.body.contains("\"added\":3") && got.body.contains("\"total\":3"), "{got:?}");
    port.stop().await;
}

#[tokio::test]
async fn recipients_come_as_csv_too() {
    const CSV: &str = "Content-Type: text/csv; charset=utf-8\r\n";
    let port = start().await;
    let path = open(&port).await;
    let body = "\u{feff}openid,thing1\r\no1,\"Boiler, \"\"B\"\" room\"\r\n\r\no2,\r\no1,x\r\n";
    let got = port.send("POST", &format!("{path}/recipients?done=true"), CSV, body).await.json();
    let wanted = json!({"added": 2, "known": 1, "total": 2, "lines": 5, "closed": true});
    assert_eq!(got, wanted);
    let shown = port.get(&format!("{path}/deliveries")).await.json();
    let id = shown["items"][0]["id"].as_str().unwrap();
    let one = port.get(&format!("/v1/deliveries/{id}")).await.json();
    let thing = one["request"]["data"]["thing1"]["value"].as_str().unwrap();
    assert!(thing.starts_with("Boiler, \"B\""), "{one}");
    for (bad, words) in [
        ("id,thing1\no1,x\n", "no column openid"),
        ("openid,openid\no1,o2\n", "twice"),
        ("openid,thing1\no1\n", "1 fields, the first line has 2"),
        ("openid,thing1\no1,\"x\n", "quote"),
    ] {
        let path = open(&port).await;
        let got = port.send("POST", &format!("{path}/recipients?done=true"), CSV, bad).await;
        let detail = got.json()["detail"].as_str().unwrap_or_default().to_owned();
        assert!(got.status == 422 && detail.contains(words), "{bad:?}: {got:?}");
        assert_eq!(port.get(&path).await.json()["state"], "expanding", "{bad:?}");
    }
    port.stop().await;
}

#[tokio::test]
async fn a_value_may_come_as_wechat_takes_it() {
    let port = start().await;
    let data = json!({"thing1": {"value": "Boiler check", "color": "#173177"}});
    let mut wrapped = notice(json!({"openids": [{"openid": "o1", "data": data}]}));
    wrapped["data"] = data;
    wrapped["key"] = json!("k");
    let made = port.post("/v1/notices", &wrapped).await;
    assert_eq!(made.status, 202, "{made:?}");
    let plain = notice(json!({"openids": [{"openid": "o1", "data": {"thing1": "Boiler check"}}]}));
    let plain = {
        let mut plain = plain;
        plain["key"] = json!("k");
        plain
    };
    let again = port.post("/v1/notices", &plain).await;
    assert_eq!((again.status, &again.json()["created"]), (200, &json!(false)), "the same notice");
    let path = open(&port).await;
    let line = "{\"openid\":\"o2\",\"data\":{\"thing1\":{\"value\":\"y\"}}}\n";
    let got = port.send("POST", &format!("{path}/recipients"), LINES, line).await.json();
    assert_eq!(got["added"], 1, "{got}");
    for bad in [json!({"value": 7}), json!({"value": "x", "size": 9}), json!({"text": "x"})] {
        let mut wrong = notice(json!({"openids": ["o1"]}));
        wrong["data"] = json!({ "thing1": bad });
        let got = port.post("/v1/notices", &wrong).await;
        assert_eq!(
            (got.status, got.json()["errors"][0]["pointer"].clone()),
            (422, json!("/data/thing1"))
        );
    }
    port.stop().await;
}

#[tokio::test]
async fn a_bad_line_keeps_what_came_before_it_and_nothing_after() {
    let port = start().await;
    for (bad, code) in [
        ("{\"openid\":7}", "bad_line"),
        ("{\"openid\":\"o\",\"date\":{}}", "bad_line"),
        ("not json", "bad_line"),
        ("\"a b\"", "bad_openid"),
        ("{\"openid\":\"oL\",\"data\":{\"thing1\":\"123456789012345678901\"}}", "field_too_long"),
        ("{\"openid\":\"oL\",\"data\":{\"phrase9\":\"13笔\"}}", "field_invalid"),
    ] {
        let path = open(&port).await;
        let after: String = (0..2_000).map(|at| format!("\"p{at}\"\n")).collect();
        let body = format!("{}{bad}\n{after}", openids(1_200));
        let got = port.send("POST", &format!("{path}/recipients?done=true"), LINES, &body).await;
        let told = got.json();
        assert_eq!((got.status, got.code().as_str()), (422, code), "{bad}: {told}");
        assert_eq!(
            (&told["line"], &told["added"]),
            (&json!(1_201), &json!(1_200)),
            "{bad}: {told}"
        );
        let shown = port.get(&path).await.json();
        assert_eq!((&shown["total"], &shown["state"]), (&json!(1_200), &json!("expanding")));
    }
    port.stop().await;
}

#[tokio::test]
async fn a_line_without_an_end_is_not_gathered_for_ever() {
    let port = start().await;
    let path = open(&port).await;
    let body = format!("\"oA\"\n{}", "x".repeat(300_000));
    let got = port.send("POST", &format!("{path}/recipients"), LINES, &body).await;
    let told = got.json();
    assert_eq!((got.status, got.code()), (422, "bad_line".into()));
    assert_eq!((&told["line"], &told["added"]), (&json!(2), &json!(1)));
    port.stop().await;
}

#[tokio::test]
async fn the_log_comes_as_lines_or_as_csv() {
    use crate::engine::command::{Command, Effect};
    use crate::model::attempt::{Class, Try};
    use crate::time::Timestamp;
    let mut writer = writer();
    let mailbox = writer.mailbox.clone();
    let mut effects = writer.take_effects();
    let port = start_with(Settings::default(), Role::Leader, Some(writer)).await;
    let mut body =
        notice(json!({"openids": (0..600).map(|at| format!("o{at}")).collect::<Vec<_>>()}));
    body.as_object_mut().unwrap().remove("send_at");
    assert_eq!(port.post("/v1/notices", &body).await.status, 202);
    for _ in 0..600 {
        let Some(Effect::Send(job)) = effects.recv().await else { panic!() };
        let tries = vec![Try {
            at: Timestamp(1_700_000_000_000),
            duration_ms: 5,
            class: Class::Ok,
            errcode: Some(0),
            errmsg: "ok, \"fine\"".into(),
            msgid: Some("1".into()),
            rid: None,
            field: None,
            response: "{}".into(),
        }];
        let settled = Command::SettleSend { delivery: job.delivery, fence: job.fence, tries };
        mailbox.call(settled).await.unwrap();
    }
    drop(mailbox);
    let lines = port.send("GET", "/v1/log", "Accept: application/x-ndjson\r\n", "").await;
    assert!(lines.head.contains("application/x-ndjson"), "{lines:?}");
    let rows: Vec<Json> =
        lines.body.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(rows.len(), 600);
    assert_eq!(rows[0]["tenant"], "acme");
    let csv = port.send("GET", "/v1/log?tenant=acme", "Accept: text/csv\r\n", "").await;
    assert_eq!(csv.body.matches("\r\n").count(), 601);
    assert!(csv.body.starts_with("id,at,tenant,"), "{}", &csv.body[..80]);
    let head = csv.head.to_ascii_lowercase();
    assert!(head.contains("content-disposition: attachment; filename="), "{head}");
    // A link that people click sends no such header.
    let excel = port.get("/v1/log?tenant=acme&for=excel&tz=Asia/Shanghai").await;
    assert!(excel.body.starts_with("\u{feff}id,at (Asia/Shanghai),"), "{}", &excel.body[..80]);
    assert_eq!(excel.body.matches("\r\n").count(), 601);
    for bad in ["for=word", "for=excel&tz=Moon/Base", "tz=UTC"] {
        assert_eq!(port.get(&format!("/v1/log?{bad}")).await.status, 422, "{bad}");
    }
    let page = port.get("/v1/log?tenant=acme&openid=o7").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 1);
    port.stop().await;
}
