//! The webhook edge: posts a due task to its consumer and reads from the answer what became of it.
//!
//! Requests are signed by the Standard Webhooks specification 1.0.0: the headers `webhook-id`,
//! `webhook-timestamp` and `webhook-signature`. The id is the task's and stays the same over all
//! its attempts, so a consumer can tell a repetition; timestamp and signature are the attempt's.
//!
//! | answer | means |
//! |---|---|
//! | 2xx but 202 | done ([`HookOutcome::Ack`]) |
//! | 202 | taken; the consumer will ack with the claim token before `until` |
//! | 410 | never wanted |
//! | 429, 503 with `Retry-After` | again after that pause, 1 s to 24 h |
//! | anything else, or none | failed; the retry policy decides |

use std::fmt;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderMap, RETRY_AFTER};
use reqwest::{Client, StatusCode, Url};
use serde::Serialize;
use serde_json::value::RawValue;

pub use crate::outbound::NoClient;
pub use crate::outbound::signature::{NotAKey, SigningKeys};

use crate::limits::{HOOK_ANSWER_BYTES, RETRY_AFTER_MAX_MS, RETRY_AFTER_MIN_MS};
use crate::outbound::{self, excerpt, words};
use crate::time::{SECOND_MS, Timestamp};

/// Where the tasks of one type go.
#[derive(Clone)]
pub struct Hook {
    url: Url,
    secret: Option<SigningKeys>,
}

/// An address that cannot be posted to.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a webhook is an http:// or https:// address")]
pub struct NotAnAddress;

impl Hook {
    /// A consumer's address; with keys the requests are signed.
    pub fn new(url: &str, secret: Option<SigningKeys>) -> Result<Self, NotAnAddress> {
        let url = outbound::parse_url(url).ok_or(NotAnAddress)?;
        Ok(Self { url, secret })
    }
}

/// Shows the address without user and query, and nothing of the keys.
impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut shown = f.debug_struct("Hook");
        shown.field("url", &outbound::shown(&self.url)).field("secret", &self.secret).finish()
    }
}

/// One attempt at a task.
#[derive(Clone, Debug)]
pub struct HookTask<'a> {
    /// The task's id: the same for all its attempts, without a full stop.
    pub id: &'a str,
    /// Its type.
    pub kind: &'a str,
    /// Its priority.
    pub priority: u8,
    /// The attempt's number, from 1.
    pub attempt: u32,
    /// When it was due.
    pub due: Timestamp,
    /// The claim token, with which a consumer that answers 202 settles it.
    pub claim: &'a str,
    /// When the claim ends.
    pub until: Timestamp,
    /// Its payload, JSON.
    pub payload_json: &'a str,
}

/// What came of one attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HookOutcome {
    /// Done.
    Ack,
    /// Taken; the consumer settles it by the claim's end, or it failed.
    Later,
    /// Failed for good.
    Reject {
        /// What the consumer said.
        reason: String,
    },
    /// Failed; the consumer asks for this pause.
    RetryAfter {
        /// The pause, 1 s to 24 h.
        delay_ms: u64,
        /// What the consumer said.
        reason: String,
    },
    /// Failed, perhaps without an answer: the consumer may have seen the task.
    Failed {
        /// What happened, short and without the address.
        reason: String,
    },
}

/// The body of a request.
#[derive(Serialize)]
struct Body<'a> {
    id: &'a str,
    #[serde(rename = "type")]
    kind: &'a str,
    priority: u8,
    attempt: u32,
    due: String,
    claim: &'a str,
    until: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<&'a RawValue>,
    /// In place of the payload: what an earlier version took in though not everybody can read it.
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_text: Option<&'a str>,
}

/// Posts tasks; all hooks share its connections.
#[derive(Clone, Debug)]
pub struct Hooks {
    client: Client,
    /// Keeps no connection: each request has a new one.
    fresh: Client,
}

impl Hooks {
    /// Sets up the client.
    pub fn new() -> Result<Self, NoClient> {
        Ok(Self { client: outbound::client()?, fresh: outbound::client_without_pool()? })
    }

    /// Posts one attempt and waits for its answer, at most `timeout_ms` in all.
    ///
    /// The status decides as soon as it is there: a body that is too long or breaks off afterwards
    /// changes nothing. A connection that breaks before an answer is as good as one that the consumer
    /// had closed already, which many do after each answer: the request is made once more, with the
    /// same id, over a new one.
    pub async fn post(
        &self,
        hook: &Hook,
        task: &HookTask<'_>,
        now: Timestamp,
        timeout_ms: u64,
    ) -> HookOutcome {
        let Some(body) = body(task) else {
            return HookOutcome::Failed { reason: "the payload is not JSON".to_owned() };
        };
        let seconds = (now.0 / SECOND_MS).to_string();
        let signature = hook.secret.as_ref().map(|keys| keys.sign(task.id, &seconds, &body));
        let body = hyper::body::Bytes::from(body);
        let end = tokio::time::Instant::now() + Duration::from_millis(timeout_ms.max(1));
        let send = |client: &Client| {
            let left = end.saturating_duration_since(tokio::time::Instant::now());
            let mut request = client
                .post(hook.url.clone())
                .timeout(left)
                .header(CONTENT_TYPE, "application/json")
                .header("webhook-id", task.id)
                .header("webhook-timestamp", &seconds);
            if let Some(signature) = &signature {
                request = request.header("webhook-signature", signature);
            }
            request.body(body.clone()).send()
        };
        let mut answer = send(&self.client).await;
        if answer.as_ref().is_err_and(outbound::has_broken)
            && let Ok(second) = send(&self.fresh).await
        {
            answer = Ok(second);
        }
        match answer {
            Ok(mut response) => {
                let answer = outbound::read(&mut response, HOOK_ANSWER_BYTES).await;
                outcome(response.status(), response.headers(), answer.bytes(), now)
            }
            Err(error) => HookOutcome::Failed { reason: words(error) },
        }
    }
}

/// The JSON of a request; `None` when the payload is none.
fn body(task: &HookTask<'_>) -> Option<String> {
    let readable = crate::json::is_readable(task.payload_json);
    let body = Body {
        id: task.id,
        kind: task.kind,
        priority: task.priority,
        attempt: task.attempt,
        due: task.due.to_string(),
        claim: task.claim,
        until: task.until.to_string(),
        payload: if readable { serde_json::from_str(task.payload_json).ok()? } else { None },
        payload_text: (!readable).then_some(task.payload_json),
    };
    serde_json::to_string(&body).ok()
}

/// What an answer means.
fn outcome(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> HookOutcome {
    let reason = || match (excerpt(body), status.is_redirection()) {
        (_, true) => format!("HTTP {}: redirects are not followed", status.as_u16()),
        (text, false) if text.is_empty() => format!("HTTP {}", status.as_u16()),
        (text, false) => format!("HTTP {}: {text}", status.as_u16()),
    };
    match status {
        StatusCode::ACCEPTED => HookOutcome::Later,
        status if status.is_success() => HookOutcome::Ack,
        StatusCode::GONE => HookOutcome::Reject { reason: reason() },
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            match retry_after_ms(headers, now) {
                Some(delay_ms) => HookOutcome::RetryAfter { delay_ms, reason: reason() },
                None => HookOutcome::Failed { reason: reason() },
            }
        }
        _ => HookOutcome::Failed { reason: reason() },
    }
}

/// The pause that `Retry-After` asks for (RFC 9110, 10.2.3): seconds, or a date in the preferred
/// form. The two obsolete forms of dates count as absent, as nonsense does.
fn retry_after_ms(headers: &HeaderMap, now: Timestamp) -> Option<u64> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let asked_ms = if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        // Digits that overflow ask for more than the bound in any case.
        text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(SECOND_MS)
    } else {
        let at = jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?;
        u64::try_from(at.as_millisecond()).unwrap_or(0).saturating_sub(now.0)
    };
    Some(asked_ms.clamp(RETRY_AFTER_MIN_MS, RETRY_AFTER_MAX_MS))
}

#[cfg(test)]
mod tests;
