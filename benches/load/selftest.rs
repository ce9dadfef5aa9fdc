//! The generator's own client and sink against each other: what they measure is worth no more than
//! they are.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::Outcome;
use crate::args::Common;
use crate::client::{self, Client};
use crate::recipients;
use crate::report::{Latencies, Report};
use crate::sink::Sink;
use crate::tasks::{Shape, Tickets};
use crate::wire::{self, Chunks};

const SEND: &str = "/cgi-bin/message/template/send?access_token=T";

/// Parses what peers send, counts what arrives, and notices a double.
pub(crate) async fn selftest(common: &Common, count: usize) -> Outcome<Report> {
    texts()?;
    shapes()?;
    let sink = Sink::start(count, Duration::ZERO)?;
    let mut client = Client::connect(sink.addr).await?;
    let token = client.post("/cgi-bin/stable_token", "{}").await?.1;
    check("a token", wire::quoted(token, r#""access_token":""#).is_some())?;
    check("a foreign path", client.ask("GET", "/nowhere", "").await? == 404)?;
    check("its count", sink.ledger.strange.swap(0, Ordering::Relaxed) == 1)?;
    check("an error for a 404", client.get("/nowhere").await.is_err())?;
    sink.ledger.strange.store(0, Ordering::Relaxed);

    let (tickets, began) = (Tickets::new(count as u64), Instant::now());
    let all = client::each(sink.addr, common.connections as usize, |client| {
        push(client, tickets.clone())
    });
    let latencies = Latencies::merge(all.await?);
    let took = began.elapsed();
    sink.ledger.verify(count as u64)?;
    client.post(SEND, &message(0)).await?;
    check("a double is noticed", sink.ledger.verify(count as u64 + 1).is_err())?;
    check("a double is counted", sink.ledger.doubles.load(Ordering::Relaxed) == 1)?;

    let mut report = Report::new("selftest");
    let rate = report.rate("messages", count as u64, took);
    report.put("latency", latencies.json());
    report.put("connections", json!(common.connections));
    report.say(format!("{rate} messages/s from client to sink ({})", latencies.words()));
    Ok(report)
}

async fn push(mut client: Client, tickets: Tickets) -> Outcome<Latencies> {
    let mut latencies = Latencies::default();
    while let Some((number, _)) = tickets.take(1) {
        let body = message(usize::try_from(number)?);
        let began = Instant::now();
        let (_, answer) = client.post(SEND, &body).await?;
        latencies.since(began);
        check("an ok", answer.starts_with(r#"{"errcode":0,"errmsg":"ok","msgid":3"#))?;
    }
    Ok(latencies)
}

fn message(number: usize) -> String {
    let openid = recipients::openid(number);
    format!(r#"{{"touser":"{openid}","template_id":"T","data":{{"thing1":{{"value":"x"}}}}}}"#)
}

/// The parsers, on whole texts and on every cut of them.
fn texts() -> Outcome<()> {
    let answer = b"HTTP/1.1 201 Created\r\nContent-Length: 2\r\nConnection: close\r\n\r\n{}";
    for cut in 0..answer.len() - 2 {
        check("no head yet", wire::head(&answer[..cut])?.is_none())?;
    }
    let head = wire::head(answer)?.ok_or("a whole head was not found")?;
    check("status", wire::status(answer)? == 201)?;
    check("length", head.framing == wire::Framing::Length(2) && head.closes)?;
    check("HTTP/1.0 is refused", wire::status(b"HTTP/1.0 200 OK").is_err())?;
    check("a bad length", wire::head(b"X\r\ncontent-length: 1x\r\n\r\n").is_err())?;

    let chunked = b"3\r\nabc\r\n2;x=y\r\nde\r\n0\r\n\r\n";
    for cut in 0..=chunked.len() {
        let mut body = Vec::new();
        let mut rest = chunked[..cut].to_vec();
        if let Chunks::More(taken) = wire::dechunk(&rest, &mut body)? {
            rest.drain(..taken);
            rest.extend_from_slice(&chunked[cut..]);
            let end = wire::dechunk(&rest, &mut body)?;
            check("chunks in two parts", end == Chunks::Whole(rest.len()))?;
        }
        check("a chunked body", body == b"abcde")?;
    }
    check("a bad chunk", wire::dechunk(b"zz\r\n", &mut Vec::new()).is_err())?;

    let ids = wire::all_quoted(r#"[{"id":"1"},{"id":"22"}]"#, r#""id":""#);
    check("ids", ids == ["1", "22"])
}

/// What the generator makes is what it says it makes.
fn shapes() -> Outcome<()> {
    let mut task = String::new();
    Shape { kind: "load", payload: 300, due: None }.write(7, &mut task);
    let value: serde_json::Value = serde_json::from_str(&task)?;
    check("a payload of 300 bytes", value["payload"].to_string().len() == 300)?;
    check("an openid of 28 characters", recipients::openid(12_345_678).len() == 28)?;
    check("its number", recipients::number_in(message(77).as_bytes()) == Some(77))?;
    let mut lines = Vec::new();
    recipients::lines(5, 2, &mut lines);
    check("two lines", lines.iter().filter(|byte| **byte == b'\n').count() == 2)
}

fn check(what: &str, holds: bool) -> Outcome<()> {
    if holds { Ok(()) } else { Err(format!("self-test: {what}").into()) }
}
