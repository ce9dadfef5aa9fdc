//! Scenarios of the delay queue.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use duebox::time::{Clock as _, SystemClock};
use serde_json::json;
use tokio::sync::mpsc;

use crate::Outcome;
use crate::args::Common;
use crate::client::{self, Client};
use crate::daemon::{Daemon, Home};
use crate::report::{Latencies, Report};
use crate::tasks::{self, Due, Held, Shape, Tickets};

/// The task type of the load.
pub(crate) const KIND: &str = "load";
/// Tasks of one large claim.
const CLAIM: u64 = 100;
/// Tasks of one claim in the mixed load.
const MIXED_CLAIM: u64 = 10;

/// Tasks that are due at once.
pub(crate) fn shape(common: &Common) -> Shape {
    Shape { kind: KIND, payload: common.payload as usize, due: None }
}

/// Single adds.
pub(crate) async fn add(home: &Home, common: &Common, count: u64) -> Outcome<Report> {
    let daemon = start(home).await?;
    let mut report = Report::new("add");
    single_adds(&daemon, common, shape(common), count, &mut report).await?;
    daemon.account(&mut report);
    Ok(report)
}

/// Adds one by one and reports the rate.
pub(crate) async fn single_adds(
    daemon: &Daemon,
    common: &Common,
    shape: Shape,
    count: u64,
    report: &mut Report,
) -> Outcome<()> {
    let (tickets, began) = (Tickets::new(count), Instant::now());
    let all = client::each(daemon.addr, common.connections as usize, |client| {
        tasks::add_singly(client, tickets.clone(), shape)
    });
    let latencies = Latencies::merge(all.await?);
    let rate = report.rate("adds", count, began.elapsed());
    report.put("add_latency", latencies.json());
    report.say(format!("{rate} single adds/s ({})", latencies.words()));
    Ok(())
}

/// Adds in arrays.
pub(crate) async fn add_batch(home: &Home, common: &Common, count: u64) -> Outcome<Report> {
    let daemon = start(home).await?;
    let mut report = Report::new("add-batch");
    let began = Instant::now();
    let latencies = prefill(&daemon, common, shape(common), count).await?;
    let rate = report.rate("adds", count, began.elapsed());
    report.put("array_latency", latencies.json());
    report.say(format!("{rate} adds/s in arrays of {} ({})", tasks::BATCH, latencies.words()));
    daemon.account(&mut report);
    Ok(report)
}

async fn prefill(daemon: &Daemon, common: &Common, shape: Shape, count: u64) -> Outcome<Latencies> {
    let (tickets, done) = (Tickets::new(count), Arc::new(AtomicU64::new(0)));
    let all = client::each(daemon.addr, common.connections as usize, |client| {
        tasks::add_arrays(client, tickets.clone(), shape, done.clone())
    });
    Ok(Latencies::merge(all.await?.into_iter().map(|added| added.latencies)))
}

/// What one consuming connection came to.
struct Consumed {
    ids: Vec<String>,
    claims: Latencies,
    acks: Latencies,
}

/// Claims of one, acked one by one.
pub(crate) async fn claim_ack(home: &Home, common: &Common, count: u64) -> Outcome<Report> {
    let daemon = start(home).await?;
    let mut report = Report::new("claim-ack");
    prefill(&daemon, common, shape(common), count).await?;
    consume(&daemon, common, KIND, count, 1, &mut report).await?;
    daemon.account(&mut report);
    Ok(report)
}

/// Claims of many, settled at once.
pub(crate) async fn claim_ack_batch(home: &Home, common: &Common, count: u64) -> Outcome<Report> {
    let daemon = start(home).await?;
    let mut report = Report::new("claim-ack-batch");
    prefill(&daemon, common, shape(common), count).await?;
    consume(&daemon, common, KIND, count, CLAIM, &mut report).await?;
    daemon.account(&mut report);
    Ok(report)
}

/// Claims and acks `count` tasks that are all there, and reports the rate.
pub(crate) async fn consume(
    daemon: &Daemon,
    common: &Common,
    kind: &'static str,
    count: u64,
    max: u64,
    report: &mut Report,
) -> Outcome<()> {
    let (tickets, began) = (Tickets::new(count), Instant::now());
    let all = client::each(daemon.addr, common.connections as usize, |client| {
        drain(client, tickets.clone(), kind, max)
    });
    let all = all.await?;
    let rate = report.rate("acked", count, began.elapsed());
    let (mut ids, mut claims, mut acks) = (Vec::new(), Vec::new(), Vec::new());
    for one in all {
        ids.extend(one.ids);
        claims.push(one.claims);
        acks.push(one.acks);
    }
    let mut client = Client::connect(daemon.addr).await?;
    tasks::verify_all_once(&mut client, kind, ids, count).await?;
    let (claims, acks) = (Latencies::merge(claims), Latencies::merge(acks));
    report.put("claim_latency", claims.json());
    report.put("ack_latency", acks.json());
    report.put("claim_max", json!(max));
    report.say(format!(
        "{rate} tasks/s claimed {max} at a time and acked (claim {}; ack {})",
        claims.words(),
        acks.words()
    ));
    Ok(())
}

/// A ticket stands for a task that is certainly there: an empty claim is an error.
async fn drain(
    mut client: Client,
    tickets: Tickets,
    kind: &'static str,
    max: u64,
) -> Outcome<Consumed> {
    let (mut claims, mut acks) = (Latencies::default(), Latencies::default());
    let mut ids = Vec::new();
    while let Some((_, mut left)) = tickets.take(max) {
        while left > 0 {
            let began = Instant::now();
            let held = tasks::claim(&mut client, kind, left, 0).await?;
            claims.since(began);
            if held.is_empty() {
                return Err("a claim came back empty though tasks were due".into());
            }
            let began = Instant::now();
            match &held[..] {
                [one] => tasks::ack(&mut client, one).await?,
                many => tasks::settle(&mut client, many).await?,
            }
            acks.since(began);
            left -= held.len() as u64;
            ids.extend(held.into_iter().map(|held| held.id));
        }
    }
    Ok(Consumed { ids, claims, acks })
}

/// Adds and claims at once.
pub(crate) async fn mixed(home: &Home, common: &Common, count: u64) -> Outcome<Report> {
    let daemon = start(home).await?;
    let mut report = Report::new("mixed");
    let (addr, half) = (daemon.addr, (common.connections as usize).div_ceil(2));
    let (adds, acked, began) = (Tickets::new(count), Arc::new(AtomicU64::new(0)), Instant::now());
    let adders = async {
        let all = client::each(addr, half, |client| {
            tasks::add_singly(client, adds.clone(), shape(common))
        });
        let all = all.await?;
        Ok((Latencies::merge(all), began.elapsed()))
    };
    let consumers = client::each(addr, half, |client| follow(client, acked.clone(), count));
    let ((adds, adding), consumed) = tokio::try_join!(adders, consumers)?;
    let last = consumed.iter().map(|one| one.last).max().flatten();
    let consuming = last.map_or(Duration::ZERO, |last| last.duration_since(began));
    let add_rate = report.rate("adds", count, adding);
    let ack_rate = report.rate("acked", count, consuming);
    let mut ids = Vec::new();
    let mut settles = Vec::new();
    for one in consumed {
        ids.extend(one.ids);
        settles.push(one.settles);
    }
    let mut client = Client::connect(addr).await?;
    tasks::verify_all_once(&mut client, KIND, ids, count).await?;
    let settles = Latencies::merge(settles);
    report.put("add_latency", adds.json());
    report.put("settle_latency", settles.json());
    report.say(format!("{add_rate} single adds/s ({})", adds.words()));
    report.say(format!("{ack_rate} acked/s at the same time (settle {})", settles.words()));
    daemon.account(&mut report);
    Ok(report)
}

/// What one connection came to that takes work as it comes.
struct Followed {
    ids: Vec<String>,
    settles: Latencies,
    last: Option<Instant>,
}

async fn follow(mut client: Client, acked: Arc<AtomicU64>, count: u64) -> Outcome<Followed> {
    let mut followed = Followed { ids: Vec::new(), settles: Latencies::default(), last: None };
    while acked.load(Ordering::Relaxed) < count {
        let held = tasks::claim(&mut client, KIND, MIXED_CLAIM, 500).await?;
        if held.is_empty() {
            continue;
        }
        let began = Instant::now();
        tasks::settle(&mut client, &held).await?;
        followed.settles.since(began);
        followed.last = Some(Instant::now());
        acked.fetch_add(held.len() as u64, Ordering::Relaxed);
        followed.ids.extend(held.into_iter().map(|held| held.id));
    }
    Ok(followed)
}

/// How late a waiting consumer hears of due tasks.
pub(crate) async fn lateness(
    home: &Home,
    common: &Common,
    count: u64,
    within: u64,
) -> Outcome<Report> {
    let daemon = start(home).await?;
    // The tasks must be there before the first is due: at least 2,000 are added in a second.
    let lead_ms = 3_000 + count / 2;
    let due = Due { from: SystemClock.now().plus(lead_ms), within_ms: within * 1_000 };
    prefill(&daemon, common, Shape { due: Some(due), ..shape(common) }, count).await?;
    if SystemClock.now() >= due.from {
        return Err("the first task was due before the last was added".into());
    }
    let mut consumer = Client::connect(daemon.addr).await?;
    let mut settler = Client::connect(daemon.addr).await?;
    // Settling has its own connection, so that the consumer waits again at once.
    let (to_settle, mut settling) = mpsc::channel::<Vec<Held>>(64);
    let listen = async {
        let (mut late, mut heard) = (Latencies::default(), 0);
        while heard < count {
            let held = tasks::claim(&mut consumer, KIND, CLAIM, 20_000).await?;
            let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
            for held in &held {
                let due = Duration::from_millis(held.due_ms);
                let by = now.checked_sub(due);
                late.add(by.ok_or_else(|| format!("task {} came early", held.id))?);
            }
            heard += held.len() as u64;
            to_settle.send(held).await?;
        }
        drop(to_settle);
        Ok(late)
    };
    let settle = async {
        let mut ids = Vec::new();
        while let Some(held) = settling.recv().await {
            if !held.is_empty() {
                tasks::settle(&mut settler, &held).await?;
            }
            ids.extend(held.into_iter().map(|held| held.id));
        }
        Outcome::Ok(ids)
    };
    let (late, ids) = tokio::try_join!(listen, settle)?;
    tasks::verify_all_once(&mut settler, KIND, ids, count).await?;
    let late = Latencies::merge([late]);
    let mut report = Report::new("lateness");
    report.put("tasks", json!(count));
    report.put("within_s", json!(within));
    report.put("lateness", late.json());
    report.say(format!("{count} tasks due within {within} s, heard of late by {}", late.words()));
    daemon.account(&mut report);
    Ok(report)
}

async fn start(home: &Home) -> Outcome<Daemon> {
    home.configure("")?;
    home.start().await
}
