//! `[queues.TYPE]`: how tasks of one type are retried, claimed and delivered.

use std::collections::BTreeMap;

use super::secrets::{self, SECRET};
use super::section::Section;
use super::text::{Route, check_url};
use crate::limits::{CLAIM_TTL_MAX_MS, CLAIM_TTL_MIN_MS};
use crate::model::retry::{Backoff, RetryPolicy};
use crate::model::rules::{Deliver, Push, QueueRule};
use crate::secret::Secret;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// The name of the built-in article worker in `deliver = { worker = … }`.
pub const ARTICLE_REVIEW: &str = "article-review";

/// Where tasks of one type are pushed.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The address.
    pub url: String,
    /// What requests are signed with; without it they are not signed.
    pub secret: Option<Secret>,
}

/// All task types: what the edges need and what the engine needs.
#[derive(Default)]
pub(super) struct Queues {
    pub(super) rules: BTreeMap<String, QueueRule>,
    pub(super) webhooks: BTreeMap<String, Webhook>,
    pub(super) article_types: Vec<String>,
}

/// Who works a type, with what the edge needs for it.
enum Worker {
    Consumers,
    Webhook(Webhook),
    ArticleReview,
}

/// Reads `[queues]`.
pub(super) fn read(top: &Section<'_>) -> Queues {
    let mut queues = Queues::default();
    for (name, (rule, worker)) in top.named("queues", |_, one| read_queue(one)) {
        match worker {
            Worker::Consumers => {}
            Worker::Webhook(webhook) => {
                queues.webhooks.insert(name.clone(), webhook);
            }
            Worker::ArticleReview => queues.article_types.push(name.clone()),
        }
        queues.rules.insert(name, rule);
    }
    queues
}

fn read_queue(section: &Section<'_>) -> (QueueRule, Worker) {
    let unset = QueueRule::default();
    let bounds = CLAIM_TTL_MIN_MS..=CLAIM_TTL_MAX_MS;
    let retry = read_retry(section, RetryPolicy::tasks());
    let claim_ttl_ms = section.duration_ms("claim_ttl", bounds, unset.claim_ttl_ms);
    let (deliver, worker) =
        section.section("deliver", read_deliver).unwrap_or((Deliver::Claim, Worker::Consumers));
    if let Deliver::Push(push) = &deliver
        && claim_ttl_ms <= push.timeout_ms
    {
        section.problem("claim_ttl", "must be longer than deliver.timeout; raise it");
    }
    (QueueRule { retry, claim_ttl_ms, deliver }, worker)
}

fn read_deliver(section: &Section<'_>) -> (Deliver, Worker) {
    let webhook = section.text("webhook");
    let worker = section.text("worker");
    let secret = secrets::secret(section, &SECRET);
    let push = read_push(section);
    let worker = match (webhook, worker) {
        (Some(url), None) => {
            match check_url(url) {
                Ok(Route::Open) if secret.is_none() => {
                    section.warn("webhook", "leaves the machine unencrypted and unsigned");
                }
                Ok(Route::Open | Route::Private) => {}
                Err(why) => section.problem("webhook", why),
            }
            Worker::Webhook(Webhook { url: url.to_owned(), secret })
        }
        (None, Some(ARTICLE_REVIEW)) => Worker::ArticleReview,
        (None, Some(other)) => {
            let what = format!("must be \"{ARTICLE_REVIEW}\", found {other:?}");
            section.problem("worker", what);
            Worker::Consumers
        }
        (Some(_), Some(_)) => {
            section.problem_here("has both webhook and worker; keep one of them");
            Worker::Consumers
        }
        (None, None) => {
            section.problem_here(
                "needs webhook = \"http://…\" or worker = \"article-review\"; without deliver, \
                 consumers claim over HTTP",
            );
            Worker::Consumers
        }
    };
    (Deliver::Push(push), worker)
}

fn read_push(section: &Section<'_>) -> Push {
    let unset = Push::default();
    Push {
        concurrency: section.number("concurrency", 1..=1_000, unset.concurrency),
        rate: section.number("rate", 0..=10_000, unset.rate),
        timeout_ms: section.duration_ms("timeout", 100..=10 * MINUTE_MS, unset.timeout_ms),
        circuit_after: section.number("circuit_after", 1..=1_000, unset.circuit_after),
        circuit_rest_ms: section.duration_ms("circuit_rest", 100..=DAY_MS, unset.circuit_rest_ms),
    }
}

/// The two policies by name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Fixed,
    Exponential,
}

/// Reads `retry`, of a queue or a tenant. Keys that are left out are as in `unset` when the policy
/// is the same one.
pub(super) fn read_retry(section: &Section<'_>, unset: RetryPolicy) -> RetryPolicy {
    let default = match unset.backoff {
        Backoff::Fixed { .. } => [("fixed", Policy::Fixed), ("exponential", Policy::Exponential)],
        Backoff::Exponential { .. } => {
            [("exponential", Policy::Exponential), ("fixed", Policy::Fixed)]
        }
    };
    let attempts = unset.max_attempts;
    let read = section.section("retry", |retry| RetryPolicy {
        backoff: match retry.choice("policy", &default) {
            Policy::Fixed => read_fixed(retry),
            Policy::Exponential => read_exponential(retry),
        },
        max_attempts: retry.number("max_attempts", 1..=1_000, attempts),
    });
    read.unwrap_or(unset)
}

/// Pauses from a blink (for tests) to a month.
const PAUSES: std::ops::RangeInclusive<u64> = 10..=30 * DAY_MS;

fn read_fixed(retry: &Section<'_>) -> Backoff {
    refuse_foreign(retry, &["first", "max"], "exponential");
    Backoff::Fixed { delay_ms: retry.duration_ms("delay", PAUSES, 5 * MINUTE_MS) }
}

fn read_exponential(retry: &Section<'_>) -> Backoff {
    refuse_foreign(retry, &["delay"], "fixed");
    let first_ms = retry.duration_ms("first", PAUSES, 2 * SECOND_MS);
    let max_ms = retry.duration_ms("max", PAUSES, HOUR_MS.max(first_ms));
    if max_ms < first_ms {
        retry.problem("max", "is shorter than first; raise it");
    }
    Backoff::Exponential { first_ms, max_ms }
}

fn refuse_foreign(retry: &Section<'_>, keys: &[&'static str], policy: &str) {
    for key in keys.iter().filter(|key| retry.has(key)) {
        retry.problem(key, format!("goes with policy = \"{policy}\" only; remove it"));
    }
}
