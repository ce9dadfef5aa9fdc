//! What all connections share.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;

use super::budget::Budget;
use super::problem::Problem;
use super::strangers::Strangers;
use super::{Ports, Serves, Settings};
use crate::engine::command::{Command, Reply};
use crate::engine::query::{Query, Stats};
use crate::engine::view::View;
use crate::limits;
use crate::mailbox::Mailbox;

/// The writer's loop turns at least once a second; a longer silence is a stuck disk.
const SILENCE: Duration = Duration::from_secs(20);

/// How old the numbers of a scrape may be.
const STATS_EVERY: Duration = Duration::from_secs(1);

/// The port's state.
pub(super) struct Port {
    pub(super) ports: Ports,
    pub(super) settings: Settings,
    /// The OpenAPI document.
    pub(super) description: &'static str,
    /// Responses by the first digit of their status, from 1.
    pub(super) served: [AtomicU64; 5],
    /// Bytes of bodies and answers under way.
    pub(super) budget: Arc<Budget>,
    /// Places for those who make trees of bodies.
    pub(super) parsers: Arc<Semaphore>,
    /// Places for exports, and for streams of recipients.
    pub(super) exports: Arc<Semaphore>,
    pub(super) streams: Arc<Semaphore>,
    /// Connections for which only a kept place was left, or none.
    pub(super) full: AtomicU64,
    pub(super) strangers: Strangers,
    /// The engine's numbers and when they were asked for.
    stats: tokio::sync::Mutex<Option<(Instant, Arc<Stats>)>>,
    /// The writer's turns when they last grew, and when that was.
    pulse: Mutex<(u64, Instant)>,
}

impl Port {
    pub(super) fn new(ports: Ports, settings: Settings, description: &'static str) -> Self {
        // Those with a part of the table are small ones.
        let share = if matches!(settings.serves, Serves::Everything) { 1 } else { 4 };
        Self {
            ports,
            settings,
            description,
            served: Default::default(),
            budget: Budget::new(limits::IN_FLIGHT_BYTES / share),
            parsers: Arc::new(Semaphore::new(limits::PARSERS)),
            exports: Arc::new(Semaphore::new(limits::EXPORTS)),
            streams: Arc::new(Semaphore::new(limits::STREAMS)),
            full: AtomicU64::new(0),
            strangers: Strangers::default(),
            stats: tokio::sync::Mutex::default(),
            pulse: Mutex::new((0, Instant::now())),
        }
    }

    /// Counts a response.
    pub(super) fn count(&self, status: hyper::StatusCode) {
        let class = usize::from(status.as_u16() / 100);
        if let Some(count) = self.served.get(class.wrapping_sub(1)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// The mailbox, or the standby's answer.
    pub(super) fn mailbox(&self) -> Result<&Mailbox, Problem> {
        self.ports.mailbox.as_ref().ok_or_else(|| {
            let found = self.ports.status.ready();
            let place = found.lease["leader"]["admin"].as_str();
            let place = place.map_or_else(String::new, |address| format!(", at {address}"));
            let detail = format!("this daemon is a standby: ask the one that leads{place}");
            Problem::new(503, "not_leader", detail)
        })
    }

    /// Has a command decided.
    pub(super) async fn call(&self, command: Command) -> Result<Reply, Problem> {
        Ok(self.mailbox()?.call(command).await?)
    }

    /// Looks at something.
    pub(super) async fn look(&self, query: Query) -> Result<View, Problem> {
        view(self.call(Command::Query(query)).await?)
    }

    /// Looks at something, as JSON text.
    pub(super) async fn text(&self, query: Query) -> Result<String, Problem> {
        self.look(query).await?.document().ok_or_else(Problem::unexpected)
    }

    /// The engine's numbers, as they were a moment ago: scrapes, which need no token, cost the writer
    /// one look a second however many there are.
    pub(super) async fn stats_lately(&self) -> Result<Arc<Stats>, Problem> {
        let mut lately = self.stats.lock().await;
        if let Some((at, stats)) = &*lately
            && at.elapsed() < STATS_EVERY
        {
            return Ok(stats.clone());
        }
        let stats = Arc::new(self.stats().await?);
        *lately = Some((Instant::now(), stats.clone()));
        Ok(stats)
    }

    async fn stats(&self) -> Result<Stats, Problem> {
        match self.look(Query::Stats).await? {
            View::Stats(stats) => Ok(*stats),
            _ => Err(Problem::unexpected()),
        }
    }

    /// Whether the writer's loop still turns. A standby has none and lives all the same.
    pub(super) fn lives(&self) -> bool {
        let Some(mailbox) = &self.ports.mailbox else { return true };
        let turns = mailbox.pulse().turns.load(Ordering::Relaxed);
        let mut last = self.pulse.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if turns != last.0 {
            *last = (turns, Instant::now());
        }
        last.1.elapsed() < SILENCE
    }
}

/// A query's view.
pub(super) fn view(reply: Reply) -> Result<View, Problem> {
    match reply {
        Reply::View(view) => Ok(*view),
        _ => Err(Problem::unexpected()),
    }
}
