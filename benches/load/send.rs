//! Scenarios of the outbox: one notice to very many.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use duebox::limits;
use duebox::time::{Clock as _, DAY_MS, SystemClock};
use serde_json::{Value, json};

use crate::Outcome;
use crate::client::Client;
use crate::daemon::{Daemon, Home};
use crate::recipients;
use crate::report::Report;
use crate::sink::Sink;

/// Recipients of one chunk of the stream.
const CHUNK: usize = 500;
/// Between two looks at the notice.
const LOOK: Duration = Duration::from_millis(100);
/// Nothing sent for so long: the run is given up.
const STALLED: Duration = Duration::from_secs(60);

/// How the audience reaches the daemon.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Entry {
    /// In the notice itself.
    Inline,
    /// As lines, after it.
    Stream,
}

/// One notice, sent.
pub(crate) async fn send(
    home: &Home,
    recipients: usize,
    latency: Duration,
    concurrency: u32,
    entry: Entry,
) -> Outcome<Report> {
    let entry = if recipients > limits::INLINE_RECIPIENTS { Entry::Stream } else { entry };
    let sink = Sink::start(recipients, latency)?;
    home.configure(&tenant(&sink, concurrency))?;
    let daemon = home.start().await?;
    let mut client = Client::connect(daemon.addr).await?;
    let mut report = Report::new("send");
    let began = Instant::now();
    let id = submit(&mut client, recipients, None, entry).await?;
    let accepting = began.elapsed();
    report.put("stream", json!(entry == Entry::Stream));
    report.put("latency_ms", json!(latency.as_millis()));
    report.put("concurrency", json!(concurrency));
    let rate = report.rate("accepted", recipients as u64, accepting);
    let seconds = accepting.as_secs_f64();
    report.say(format!("{recipients} recipients accepted in {seconds:.3} s ({rate}/s)"));
    report.put("accepted_rss_mb", json!(daemon.resident_mb()));
    report.put("accepted_rss_peak_mb", json!(daemon.peak_mb()));

    let notice = wait_until_done(&mut client, &id).await?;
    let rate = report.rate("sent", recipients as u64, began.elapsed());
    verify_counts(&notice, &["accepted", "delivered"], recipients)?;
    sink.ledger.verify(recipients as u64)?;
    daemon.account(&mut report);
    report.put("tokens", json!(sink.ledger.tokens.load(Ordering::Relaxed)));
    let connections = sink.ledger.connections.load(Ordering::Relaxed);
    report.put("connections", json!(connections));
    let (resident, peak) = (daemon.resident_mb(), daemon.peak_mb());
    report.say(format!("{rate} deliveries/s from submission to the last, each exactly once"));
    report.say(format!("{connections} connections; {resident} MB resident, peak {peak} MB"));
    report.time("clean_stop", daemon.stop().await?);
    Ok(report)
}

/// Start-up with many pending deliveries.
pub(crate) async fn restart(home: &Home, recipients: usize) -> Outcome<Report> {
    let sink = Sink::start(recipients, Duration::ZERO)?;
    home.configure(&tenant(&sink, 100))?;
    let daemon = home.start().await?;
    let mut client = Client::connect(daemon.addr).await?;
    let mut report = Report::new("restart");
    report.time("first_start", daemon.ready_after);
    let send_at = SystemClock.now().plus(10 * DAY_MS).to_string();
    let began = Instant::now();
    let id = submit(&mut client, recipients, Some(&send_at), Entry::Stream).await?;
    let rate = report.rate("accepted", recipients as u64, began.elapsed());
    report.say(format!("{recipients} recipients accepted at {rate}/s"));
    drop(client);
    verify_pending(&daemon, &id, recipients).await?;
    daemon.account(&mut report);

    report.time("clean_stop", daemon.stop().await?);
    let daemon = home.start().await?;
    report.time("ready_after_stop", daemon.ready_after);
    verify_pending(&daemon, &id, recipients).await?;

    daemon.crash()?;
    let daemon = home.start().await?;
    report.time("ready_after_kill", daemon.ready_after);
    verify_pending(&daemon, &id, recipients).await?;

    // Killed straight after work, when the journal is ahead of the base.
    let mut client = Client::connect(daemon.addr).await?;
    let more = submit(&mut client, recipients, Some(&send_at), Entry::Stream).await?;
    drop(client);
    daemon.crash()?;
    let daemon = home.start().await?;
    report.time("ready_after_kill_under_load", daemon.ready_after);
    verify_pending(&daemon, &id, recipients).await?;
    verify_pending(&daemon, &more, recipients).await?;
    report.put("rss_after_kill_mb", json!(daemon.resident_mb()));
    report.time("last_stop", daemon.stop().await?);
    sink.ledger.verify(0)?;
    Ok(report)
}

fn tenant(sink: &Sink, concurrency: u32) -> String {
    format!(
        "[tenants.acme]\n\
         appid = \"wx0000000000000001\"\n\
         secret = \"0123456789abcdef0123456789abcdef\"\n\
         base_url = \"http://{}\"\n\
         concurrency = {concurrency}\n\
         rate = 0\n\n\
         [tenants.acme.templates.new_task]\n\
         id = \"TEMPLATE_OF_THE_LOAD\"\n",
        sink.addr
    )
}

/// Submits one notice with its audience and returns its id once all of it is accepted.
async fn submit(
    client: &mut Client,
    recipients: usize,
    send_at: Option<&str>,
    entry: Entry,
) -> Outcome<String> {
    let audience = match entry {
        Entry::Stream => json!({ "stream": true }),
        Entry::Inline => {
            let openids: Vec<String> = (0..recipients).map(recipients::openid).collect();
            json!({ "openids": openids })
        }
    };
    let mut notice = json!({
        "tenant": "acme",
        "template": "new_task",
        "title": "load",
        "data": {"thing1": "Boiler check", "time2": "2026-11-23 09:00"},
        "audience": audience,
    });
    if let Some(send_at) = send_at {
        notice["send_at"] = json!(send_at);
    }
    let (status, answer) = client.post("/v1/notices", &notice.to_string()).await?;
    let answer: Value = serde_json::from_str(answer)?;
    let id = answer["id"].as_str().filter(|_| status == 202);
    let id = id.ok_or_else(|| format!("a notice was answered {status}: {answer}"))?.to_owned();
    if entry == Entry::Stream {
        let mut next = 0;
        let target = format!("/v1/notices/{id}/recipients?done=true");
        let streaming = client.stream(&target, |piece| {
            let count = CHUNK.min(recipients - next);
            recipients::lines(next, count, piece);
            next += count;
        });
        streaming.await?;
    }
    Ok(id)
}

async fn look(client: &mut Client, id: &str) -> Outcome<Value> {
    Ok(serde_json::from_str(client.get(&format!("/v1/notices/{id}")).await?)?)
}

/// Looks at the notice until it is done; fails when it stands still.
async fn wait_until_done(client: &mut Client, id: &str) -> Outcome<Value> {
    let (mut last, mut moved) = (Value::Null, Instant::now());
    loop {
        let notice = look(client, id).await?;
        if notice["state"] == "done" {
            return Ok(notice);
        }
        if notice["counts"] != last {
            last = notice["counts"].clone();
            moved = Instant::now();
        }
        if moved.elapsed() > STALLED {
            return Err(format!("the notice stands still: {notice}").into());
        }
        tokio::time::sleep(LOOK).await;
    }
}

async fn verify_pending(daemon: &Daemon, id: &str, recipients: usize) -> Outcome<()> {
    let mut client = Client::connect(daemon.addr).await?;
    verify_counts(&look(&mut client, id).await?, &["pending"], recipients)
}

/// Fails unless the notice has that many recipients, all in one of these states.
fn verify_counts(notice: &Value, states: &[&str], recipients: usize) -> Outcome<()> {
    let wanted = recipients as u64;
    let found: u64 = states.iter().filter_map(|state| notice["counts"][state].as_u64()).sum();
    if notice["total"].as_u64() == Some(wanted) && found == wanted {
        return Ok(());
    }
    Err(format!("{wanted} recipients should be {}, but: {notice}", states.join(" or ")).into())
}
