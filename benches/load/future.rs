//! A large store: millions of tasks in the far future, and what the daemon does with them there.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use duebox::time::{Clock as _, DAY_MS, SystemClock};
use serde_json::json;

use crate::Outcome;
use crate::args::Common;
use crate::client::{self, Client};
use crate::daemon::{Daemon, Home};
use crate::queue;
use crate::report::round;
use crate::report::{Latencies, Report};
use crate::tasks::{self, Due, Shape, Tickets};

/// Parts of the filling that are reported one by one.
const PARTS: u64 = 10;
/// Tasks that are looked up after each restart.
const SAMPLES: usize = 200;
/// The type of the work that goes on beside the waiting tasks.
const BESIDE: &str = "beside";

/// Fills, works beside, stops, starts, crashes, starts.
pub(crate) async fn future(home: &Home, common: &Common, count: u64, then: u64) -> Outcome<Report> {
    home.configure("")?;
    let daemon = home.start().await?;
    let mut report = Report::new("future");
    report.time("first_start", daemon.ready_after);
    let samples = fill(&daemon, common, count, &mut report).await?;

    let beside = Shape { kind: BESIDE, ..queue::shape(common) };
    queue::single_adds(&daemon, common, beside, then, &mut report).await?;
    queue::consume(&daemon, common, BESIDE, then, 1, &mut report).await?;
    daemon.account(&mut report);

    report.time("clean_stop", daemon.stop().await?);
    let daemon = home.start().await?;
    report.time("ready_after_stop", daemon.ready_after);
    report.put("rss_after_stop_mb", json!(daemon.resident_mb()));
    verify(&daemon, &samples).await?;

    // Something that only the journal holds, so that the crash is a crash.
    queue::single_adds(&daemon, common, beside, 1_000, &mut Report::new("")).await?;
    daemon.crash()?;
    let daemon = home.start().await?;
    report.time("ready_after_kill", daemon.ready_after);
    report.put("rss_after_kill_mb", json!(daemon.resident_mb()));
    verify(&daemon, &samples).await?;
    queue::consume(&daemon, common, BESIDE, 1_000, 1, &mut Report::new("")).await?;
    report.time("second_stop", daemon.stop().await?);
    Ok(report)
}

/// Adds the tasks and watches the rate. Returns ids to look up later.
async fn fill(
    daemon: &Daemon,
    common: &Common,
    count: u64,
    report: &mut Report,
) -> Outcome<Vec<String>> {
    let due = Due { from: SystemClock.now().plus(DAY_MS), within_ms: 30 * DAY_MS };
    let shape = Shape { due: Some(due), ..queue::shape(common) };
    let (tickets, done) = (Tickets::new(count), Arc::new(AtomicU64::new(0)));
    let began = Instant::now();
    let filling = client::each(daemon.addr, common.connections as usize, |client| {
        tasks::add_arrays(client, tickets.clone(), shape, done.clone())
    });
    let mut parts = Vec::new();
    let all = tokio::select! {
        all = filling => all?,
        never = watch(daemon, &done, count, began, &mut parts) => match never {},
    };
    let rate = report.rate("filled", count, began.elapsed());
    let mut latencies = Vec::new();
    let mut samples = Vec::new();
    for added in all {
        latencies.push(added.latencies);
        samples.extend(added.samples);
    }
    let latencies = Latencies::merge(latencies);
    report.put("array_latency", latencies.json());
    report.put("parts", json!(parts));
    report.put("filled_rss_mb", json!(daemon.resident_mb()));
    report.put("filled_rss_peak_mb", json!(daemon.peak_mb()));
    report.put("filled_disk_mb", json!(daemon.disk_mb()));
    let (resident, disk) = (daemon.resident_mb(), daemon.disk_mb());
    report.say(format!("{count} future tasks at {rate}/s, {resident} MB resident, {disk} MB disk"));
    let step = samples.len().div_ceil(SAMPLES).max(1);
    Ok(samples.into_iter().step_by(step).collect())
}

/// Notes rate, memory and disk at each part of the filling.
async fn watch(
    daemon: &Daemon,
    done: &AtomicU64,
    count: u64,
    began: Instant,
    parts: &mut Vec<serde_json::Value>,
) -> std::convert::Infallible {
    let (mut last_count, mut last_at) = (0, began);
    loop {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = done.load(Ordering::Relaxed);
        if now - last_count < count.div_ceil(PARTS) {
            continue;
        }
        let rate = round((now - last_count) as f64 / last_at.elapsed().as_secs_f64(), 0);
        let (resident, disk) = (daemon.resident_mb(), daemon.disk_mb());
        eprintln!("load: {now} of {count}, {rate}/s, {resident} MB resident, {disk} MB on disk");
        let part = json!({"count": now, "per_s": rate, "rss_mb": resident, "disk_mb": disk});
        parts.push(part);
        (last_count, last_at) = (now, Instant::now());
    }
}

/// Fails unless every sample is still there.
async fn verify(daemon: &Daemon, samples: &[String]) -> Outcome<()> {
    let mut client = Client::connect(daemon.addr).await?;
    for id in samples {
        let task = client.get(&format!("/v1/tasks/{id}")).await?;
        let task: serde_json::Value = serde_json::from_str(task)?;
        if task["id"] != *id.as_str() {
            return Err(format!("task {id} came back as {task}").into());
        }
    }
    Ok(())
}
