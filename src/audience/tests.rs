//! Reading audiences from a loopback server.
#![allow(clippy::unwrap_used)]

use super::*;
use crate::outbound::loopback::{Answer, Loopback};
use crate::secret::Secret;

async fn read(
    server: &Loopback,
    path: &str,
    resume: Option<&str>,
) -> Result<Vec<Portion>, SourceError> {
    let url = format!("{}{path}", server.base);
    let mut reading = Sources::new().unwrap().open(&url, resume, Credentials::default())?;
    let mut all = Vec::new();
    while let Some(portion) = reading.next().await? {
        all.push(portion);
    }
    Ok(all)
}

fn openids(portions: &[Portion]) -> Vec<String> {
    portions.iter().flat_map(|it| &it.recipients).map(|it| it.openid.clone()).collect()
}

fn typed(kind: &'static str, body: impl Into<String>) -> Answer {
    Answer::new(200, body).with("content-type", kind)
}

#[tokio::test]
async fn pages_are_read_to_the_last_and_each_says_how_to_ask_for_it_again() {
    let server = Loopback::start(|number, _| {
        let page =
            |from: usize, to: usize| (from..to).map(|n| format!("\"o{n}\"")).collect::<Vec<_>>();
        let (items, next) = match number {
            0 => (page(0, 1200), "\"p2\""),
            1 => (page(1200, 1201), "\"p3\""),
            _ => (page(1201, 1203), "null"),
        };
        let body = format!("{{\"items\": [{}], \"next\": {next}}}", items.join(","));
        typed("application/json", body)
    })
    .await;
    let portions = read(&server, "/people?tag=7", None).await.unwrap();
    assert_eq!(openids(&portions).len(), 1203);
    assert!(portions.iter().all(|portion| portion.recipients.len() <= STREAM_CHUNK));
    let seen = server.seen();
    let targets: Vec<&str> = seen.iter().map(|it| it.target.as_str()).collect();
    assert_eq!(targets, ["/people?tag=7", "/people?tag=7&cursor=p2", "/people?tag=7&cursor=p3"]);
    // What was read of a page is asked for again from its beginning, and from no earlier one.
    read(&server, "/people?tag=7", Some("p3")).await.unwrap();
    assert_eq!(server.seen().last().unwrap().target, "/people?tag=7&cursor=p3");
}

#[tokio::test]
async fn lines_and_tables_are_read_as_they_come() {
    let lines: String = (0..1300).map(|n| format!("{{\"openid\": \"o{n}\"}}\n")).collect();
    for kind in ["application/x-ndjson", "text/plain"] {
        let body = lines.clone();
        let server = Loopback::start(move |_, _| typed(kind, body.clone())).await;
        let portions = read(&server, "/", None).await.unwrap();
        assert_eq!(openids(&portions).len(), 1300, "{kind}");
    }
    let csv = "\u{feff}openid,thing1\noA,\"a, b\"\noB,\n";
    for kind in ["text/csv", "application/octet-stream"] {
        let server = Loopback::start(move |_, _| typed(kind, csv)).await;
        let portions = read(&server, "/", None).await.unwrap();
        assert_eq!(openids(&portions), ["oA", "oB"], "{kind}");
        assert_eq!(portions[0].recipients[0].data["thing1"], "a, b");
    }
}

#[tokio::test]
async fn what_is_no_audience_is_told_each_in_its_own_words() {
    for (answer, word, passes) in [
        (typed("text/html", "<h1>log in</h1>"), "answers HTML", false),
        (typed("text/plain", "<!DOCTYPE html>"), "answers HTML", false),
        (typed("application/json", "<html>"), "answers HTML", false),
        (typed("text/csv", "name,thing1\nx,y\n"), "no column openid", false),
        (typed("application/x-ndjson", "{\"openid\": \"o A\"}\n"), "line 1", false),
        (typed("application/json", "{\"data\": []}"), "expected", false),
        (
            typed("application/json", "{\"items\": [], \"next\": \"http://other/\"}"),
            "own host",
            false,
        ),
        (Answer::new(302, ""), "redirects", false),
        (Answer::new(404, "no such list"), "HTTP 404: no such list", false),
        (Answer::new(503, ""), "HTTP 503", true),
    ] {
        let server = Loopback::start(move |_, _| answer.clone()).await;
        let why = read(&server, "/", None).await.unwrap_err();
        assert!(why.reason.contains(word) && why.passes == passes, "{word}: {why:?}");
    }
    let none = Sources::new().unwrap().open("ftp://x/", None, Credentials::default());
    assert!(none.is_err_and(|why| !why.passes));
}

#[tokio::test]
async fn the_headers_of_the_operator_are_sent() {
    let server = Loopback::start(|_, _| typed("application/json", "[]")).await;
    let headers = [("x-api-key".to_owned(), Secret::new("canary"))];
    let credentials = Credentials::new(&headers, None).unwrap();
    let mut reading = Sources::new().unwrap().open(&server.base, None, credentials).unwrap();
    assert_eq!(reading.next().await, Ok(None));
    assert_eq!(server.seen()[0].header("x-api-key"), "canary");
}
