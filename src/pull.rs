//! The pull edge: asks a business system for the notices that are new since the last run.
//!
//! The address is a template with `{tenant}` and `{last_run}`; the latter is RFC 3339 UTC, and
//! 1970 when there was no run yet. The answer is a JSON array of notices, or one page of them:
//! `{"notices": […], "next": …}`, where `next` is the address of the next page on the same host, or
//! a cursor that is sent back as `cursor=…`; absent, null or empty on the last page.

mod answer;
mod template;

use std::time::Duration;

use reqwest::header::ACCEPT;
use reqwest::{Client, StatusCode, Url};

pub use crate::outbound::NoClient;
pub use crate::outbound::credentials::Credentials;
pub use answer::Page;
pub use template::check;

use crate::limits::{PULL_BYTES, TEXT_BYTES};
use crate::model::retry::{Backoff, RetryPolicy};
use crate::outbound::{self, Body, excerpt, words};
use crate::text::cut;
use crate::time::{Clock, SECOND_MS, SystemClock, Timestamp};

/// Why a page could not be had. The text holds neither address nor query.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct PullError {
    /// What happened and, for a wrong answer, what was expected.
    pub reason: String,
    /// Whether the same request may succeed later without anybody changing anything.
    pub retryable: bool,
}

impl PullError {
    /// A failure that passes.
    fn passing(reason: String) -> Self {
        Self { reason: cut(&reason, TEXT_BYTES).to_owned(), retryable: true }
    }

    /// A failure that somebody has to mend.
    fn lasting(reason: impl AsRef<str>) -> Self {
        Self { reason: cut(reason.as_ref(), TEXT_BYTES).to_owned(), retryable: false }
    }
}

/// Fetches pages of notices; all pulls share its connections.
#[derive(Clone, Debug)]
pub struct Puller {
    client: Client,
    timeout: Duration,
    retry: RetryPolicy,
}

impl Puller {
    /// A puller whose single requests may take `timeout_ms`.
    ///
    /// A page is tried three times, about 1 s and 2 s apart; a page that fails takes at most three
    /// times `timeout_ms` and four seconds.
    pub fn new(timeout_ms: u64) -> Result<Self, NoClient> {
        let backoff = Backoff::Exponential { first_ms: SECOND_MS, max_ms: 10 * SECOND_MS };
        Ok(Self {
            client: outbound::client()?,
            timeout: Duration::from_millis(timeout_ms.max(1)),
            retry: RetryPolicy { backoff, max_attempts: 3 },
        })
    }

    /// Fetches one page for a tenant: the first without `page_cursor`, a further one with the
    /// `next` of the page before it. How many pages to follow is the caller's to bound.
    pub async fn pull(
        &self,
        url_template: &str,
        tenant: &str,
        last_run: Option<Timestamp>,
        page_cursor: Option<&str>,
        credentials: &Credentials,
    ) -> Result<Page, PullError> {
        let first = template::fill(url_template, tenant, last_run)?;
        let url = match page_cursor {
            None => first,
            Some(cursor) => template::next_url(&first, cursor)?,
        };
        let page = answer::read(&self.fetch(&url, tenant, credentials).await?)?;
        if let Some(next) = &page.next {
            // Checked here and not with the next request: this answer is the one that is wrong.
            if template::next_url(&url, next)? == url {
                return Err(PullError::lasting("next leads to the page it came with"));
            }
        }
        Ok(page)
    }

    /// One page's bytes, with a few tries for failures that pass.
    async fn fetch(
        &self,
        url: &Url,
        tenant: &str,
        credentials: &Credentials,
    ) -> Result<Vec<u8>, PullError> {
        // Spreads the tenants that failed together.
        let salt = u64::from(crc32fast::hash(tenant.as_bytes()));
        let mut failed = 0;
        loop {
            let error = match self.try_once(url, credentials).await {
                Ok(body) => return Ok(body),
                Err(error) => error,
            };
            failed += 1;
            if !error.retryable || failed >= self.retry.max_attempts {
                return Err(error);
            }
            tokio::time::sleep(Duration::from_millis(self.retry.pause_ms(failed, salt))).await;
        }
    }

    /// One request.
    async fn try_once(&self, url: &Url, credentials: &Credentials) -> Result<Vec<u8>, PullError> {
        let request =
            self.client.get(url.clone()).timeout(self.timeout).header(ACCEPT, "application/json");
        let now = SystemClock.now();
        let request = credentials.dress(request, &format!("pull_{}", now.0), "", now);
        let mut response =
            request.send().await.map_err(|error| PullError::passing(words(error)))?;
        let status = response.status();
        let body = outbound::read(&mut response, PULL_BYTES).await;
        if !status.is_success() {
            return Err(refused(status, body.bytes()));
        }
        match body {
            Body::Whole(bytes) => Ok(bytes),
            Body::Longer(_) => Err(PullError::lasting(format!(
                "the answer is longer than {PULL_BYTES} bytes: answer in pages with next"
            ))),
            Body::Broken(_, why) => Err(PullError::passing(why)),
        }
    }
}

/// An answer that is no page.
fn refused(status: StatusCode, body: &[u8]) -> PullError {
    if status.is_redirection() {
        let code = status.as_u16();
        return PullError::lasting(format!("HTTP {code}: redirects are not followed"));
    }
    let reason = match excerpt(body) {
        text if text.is_empty() => format!("HTTP {}", status.as_u16()),
        text => format!("HTTP {}: {text}", status.as_u16()),
    };
    let passes = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    if passes { PullError::passing(reason) } else { PullError::lasting(reason) }
}

#[cfg(test)]
mod tests;
