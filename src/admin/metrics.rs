//! Numbers for Prometheus, in the OpenMetrics text format.
//!
//! Made anew for each scrape from what the engine and the writer know. Labels are tenants and task
//! types, which are few by configuration or cut by the engine; never openids or ids.

use std::fmt::{Debug, Write as _};
use std::hash::Hash;
use std::sync::atomic::{AtomicU64, Ordering};

use hyper::StatusCode;
use hyper::header::{ACCEPT, HeaderMap};
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::Role;
use super::call::Answer;
use super::port::Port;
use super::problem::Problem;
use super::respond;
use crate::engine::Mode;
use crate::engine::query::{QueueStats, Stats, TenantStats};
use crate::limits;
use crate::mailbox::Pulse;
use crate::model::attention::Kind;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";

type OneLabel = [(&'static str, String); 1];
type TwoLabels = [(&'static str, String); 2];

/// `GET /metrics`.
///
/// Names of tenants and types are for callers who are known; the others get the numbers without.
pub(super) async fn respond(port: &Port, headers: &HeaderMap, is_known: bool) -> Answer {
    let mut numbers = Numbers(Registry::with_prefix("duebox"));
    numbers.process(port);
    numbers.attention(port);
    if let Some(mailbox) = &port.ports.mailbox {
        numbers.writer(mailbox.pulse());
        // While the daemon stops, the rest is still worth having.
        if let Ok(stats) = port.stats_lately().await {
            numbers.engine(&stats);
            if is_known {
                numbers.tenants(&stats.tenants);
                numbers.queues(&stats.queues);
            }
        }
    }
    let mut out = String::new();
    text::encode(&mut out, &numbers.0)
        .map_err(|_| Problem::new(500, "internal", "the metrics could not be written"))?;
    let accept = headers.get(ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    if accept.contains("application/openmetrics-text") {
        return Ok(respond::text(StatusCode::OK, OPEN_METRICS, out));
    }
    Ok(respond::text(StatusCode::OK, PLAIN, plain(&out)))
}

/// OpenMetrics as Prometheus' older text format, 0.0.4: there HELP and TYPE name a counter as its
/// samples do, and no line ends the whole.
fn plain(open: &str) -> String {
    let counter = |name: &str| open.contains(&format!("\n# TYPE {name} counter\n"));
    let mut out = String::with_capacity(open.len() + 256);
    for line in open.lines().filter(|line| *line != "# EOF" && !line.starts_with("# UNIT ")) {
        match line.splitn(4, ' ').collect::<Vec<_>>()[..] {
            ["#", about, name, rest] if counter(name) => {
                let _ = writeln!(out, "# {about} {name}_total {rest}");
            }
            _ => {
                let _ = writeln!(out, "{line}");
            }
        }
    }
    out
}

struct Numbers(Registry);

impl Numbers {
    /// A gauge without labels.
    fn one(&mut self, name: &str, help: &str, value: f64) {
        let gauge = Gauge::<f64, AtomicU64>::default();
        gauge.set(value);
        self.0.register(name, help, gauge);
    }

    fn gauge<L>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, f64)>)
    where
        L: EncodeLabelSet + Clone + Hash + Eq + Debug + Send + Sync + 'static,
    {
        let family = Family::<L, Gauge<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).set(value);
        }
        self.0.register(name, help, family);
    }

    /// Its name gets `_total` at the end.
    fn counter<L>(&mut self, name: &str, help: &str, values: impl IntoIterator<Item = (L, f64)>)
    where
        L: EncodeLabelSet + Clone + Hash + Eq + Debug + Send + Sync + 'static,
    {
        let family = Family::<L, Counter<f64, AtomicU64>>::default();
        for (labels, value) in values {
            family.get_or_create(&labels).inc_by(value);
        }
        self.0.register(name, help, family);
    }

    fn process(&mut self, port: &Port) {
        let found = port.ports.status.ready();
        let ready = if found.ready { 1.0 } else { 0.0 };
        self.one("ready", "Whether work is taken and done", ready);
        let roles = [Role::Starting, Role::Standby, Role::Leader, Role::Held, Role::Draining];
        let roles = roles.map(|role| {
            ([("role", role.name().to_owned())], if role == found.role { 1.0 } else { 0.0 })
        });
        self.gauge::<OneLabel>("role", "What this process is at the moment", roles);
        let served = port.served.iter().enumerate().map(|(at, count)| {
            ([("status", format!("{}xx", at + 1))], of(count.load(Ordering::Relaxed)))
        });
        let bytes = of(port.budget.used() as u64);
        self.one("http_in_flight_bytes", "Bodies and answers under way", bytes);
        let counters = [("http_refused", "Connections beyond the ordinary places", &port.full)];
        for (name, help, value) in counters {
            let counter = Counter::<f64, AtomicU64>::default();
            counter.inc_by(of(value.load(Ordering::Relaxed)));
            self.0.register(name, help, counter);
        }
        let strangers = Counter::<f64, AtomicU64>::default();
        strangers.inc_by(of(port.strangers.total()));
        self.0.register("http_unauthorized", "Calls without the right token", strangers);
        let lost = Counter::<f64, AtomicU64>::default();
        lost.inc_by(of(crate::logger::lost_lines()));
        self.0.register("log_lines_lost", "Log lines that could not be written", lost);
        self.counter::<OneLabel>("http_requests", "Admin port responses by status class", served);
    }

    /// What needed a person at the last look, a few seconds ago.
    fn attention(&mut self, port: &Port) {
        let noticed = port.ports.status.noticed();
        let kinds = Kind::ALL.map(|kind| {
            let count = noticed.get(&kind).copied().unwrap_or(0);
            ([("kind", kind.name().to_owned())], of(count as u64))
        });
        self.gauge::<OneLabel>("attention", "Troubles that need a person", kinds);
    }

    fn writer(&mut self, pulse: &Pulse) {
        let read = |number: &AtomicU64| of(number.load(Ordering::Relaxed));
        let low = if pulse.space.is_low() { 1.0 } else { 0.0 };
        let counters = [
            ("commits", "Group commits made durable", read(&pulse.groups)),
            ("commands", "Commands decided", read(&pulse.commands)),
            ("sync_seconds", "Time spent making commits durable", read(&pulse.sync_us) / 1e6),
            ("writer_turns", "Turns of the writer's loop", read(&pulse.turns)),
        ];
        for (name, help, value) in counters {
            let counter = Counter::<f64, AtomicU64>::default();
            counter.inc_by(value);
            self.0.register(name, help, counter);
        }
        let unapplied = read(&pulse.active_bytes);
        self.one("unapplied_bytes", "Changes not yet in the base", unapplied);
        self.one("storage_low", "Whether new work is refused", low);
    }

    fn engine(&mut self, stats: &Stats) {
        let modes =
            [("working", Mode::Working), ("held", Mode::Held), ("draining", Mode::Draining)];
        let modes = modes.map(|(name, mode)| {
            ([("mode", name.to_owned())], if mode == stats.mode { 1.0 } else { 0.0 })
        });
        self.gauge::<OneLabel>("mode", "Whether the engine hands out work", modes);
        let gauges = [
            ("term", "The term of leadership", of(stats.term)),
            ("commit_number", "The number of the last commit", of(stats.commit)),
            ("task_types", "Task types that are known", of(stats.types as u64)),
            ("task_types_limit", "Task types that there may be", of(limits::TASK_TYPES as u64)),
            ("waiting_claims", "Claims that wait for work", of(stats.waiters as u64)),
            ("store_bytes", "Size of the base on disk", of(stats.store_bytes)),
        ];
        for (name, help, value) in gauges {
            self.one(name, help, value);
        }
    }

    fn tenants(&mut self, tenants: &[TenantStats]) {
        let by = |value: fn(&TenantStats) -> f64| {
            tenants.iter().map(move |one| ([("tenant", one.tenant.clone())], value(one)))
        };
        self.gauge::<OneLabel>(
            "sends_in_flight",
            "Deliveries claimed and not settled",
            by(|one| f64::from(one.in_flight)),
        );
        self.gauge::<OneLabel>(
            "tenant_held",
            "Whether sending rests",
            by(|one| if one.held { 1.0 } else { 0.0 }),
        );
        self.gauge::<OneLabel>(
            "requests_today",
            "Requests of the provider's day",
            by(|one| of(one.requests_today)),
        );
        self.counter::<OneLabel>(
            "token_fetches",
            "Access tokens fetched",
            by(|one| of(one.token_fetches)),
        );
        self.gauge::<OneLabel>(
            "send_lateness_seconds",
            "How long the first due delivery has been due",
            by(|one| of(one.late_ms) / 1e3),
        );
    }

    fn queues(&mut self, queues: &[QueueStats]) {
        let states = queues.iter().flat_map(|one| {
            let state = |name: &str, count: u64| -> (TwoLabels, f64) {
                ([("type", one.kind.clone()), ("state", name.to_owned())], of(count))
            };
            [
                state("pending", one.counts.pending),
                state("claimed", one.counts.claimed),
                state("dead", one.counts.dead),
            ]
        });
        self.gauge::<TwoLabels>("tasks", "Tasks by state", states);
        let ended = queues.iter().flat_map(|one| {
            let outcome = |name: &str, count: u64| -> (TwoLabels, f64) {
                ([("type", one.kind.clone()), ("outcome", name.to_owned())], of(count))
            };
            [outcome("acked", one.counts.acked), outcome("cancelled", one.counts.cancelled)]
        });
        self.counter::<TwoLabels>("tasks_ended", "Tasks that have ended", ended);
        let late = queues.iter().map(|one| ([("type", one.kind.clone())], of(one.late_ms) / 1e3));
        self.gauge::<OneLabel>(
            "task_lateness_seconds",
            "How long the first due task has been due",
            late,
        );
    }
}

/// Counts fit a float exactly up to 2^53.
fn of(number: u64) -> f64 {
    number as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_older_format_names_counters_as_their_samples_are_named() {
        let mut numbers = Numbers(Registry::with_prefix("duebox"));
        numbers.one("ready", "Whether \"it\" works", 1.0);
        numbers.counter::<OneLabel>("calls", "Calls", [([("kind", "a b".to_owned())], 2.0)]);
        let mut open = String::new();
        text::encode(&mut open, &numbers.0).unwrap();
        assert_eq!(
            plain(&open),
            "# HELP duebox_ready Whether \"it\" works.\n# TYPE duebox_ready gauge\n\
             duebox_ready 1.0\n# HELP duebox_calls_total Calls.\n\
             # TYPE duebox_calls_total counter\nduebox_calls_total{kind=\"a b\"} 2.0\n"
        );
    }
}
