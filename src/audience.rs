//! The audience edge: reads recipients from an address, portion by portion.
//!
//! | the answer | is |
//! |---|---|
//! | `application/json` | a page `{"items": […], "next": …}` or an array; `next` as of a pull |
//! | `application/x-ndjson` | a recipient a line |
//! | `text/csv` | a recipient a line, the first names the columns |
//!
//! Another media type is told by how the body begins. A page is asked for again by its address; lines are
//! read from the start again: who was read before has a delivery already.

mod page;

use std::collections::VecDeque;
use std::time::Duration;

use reqwest::header::{ACCEPT, CONTENT_TYPE};
use reqwest::{Client, Response, StatusCode, Url};

use crate::api::recipients::{Lines, Numbered, Wrong};
use crate::engine::command::Recipient;
use crate::limits::{BODY_BYTES, STREAM_CHUNK, TEXT_BYTES};
use crate::outbound::credentials::Credentials;
use crate::outbound::{self, Body, NoClient, excerpt, words};
use crate::text::cut;
use crate::time::{Clock, SystemClock};

/// Longest time until an answer begins, and between two pieces of it.
const SILENCE: Duration = Duration::from_secs(30);

/// Why no more recipients could be had.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct SourceError {
    /// What happened and, for a wrong answer, what was expected. Without the address.
    pub reason: String,
    /// Whether the same may succeed later without anybody changing anything.
    pub passes: bool,
}

impl SourceError {
    fn passing(reason: impl AsRef<str>) -> Self {
        Self { reason: cut(reason.as_ref(), TEXT_BYTES).to_owned(), passes: true }
    }

    fn lasting(reason: impl AsRef<str>) -> Self {
        Self { reason: cut(reason.as_ref(), TEXT_BYTES).to_owned(), passes: false }
    }
}

impl From<Wrong> for SourceError {
    fn from(wrong: Wrong) -> Self {
        Self::lasting(format!("line {}: {}", wrong.line, wrong.detail))
    }
}

/// Some recipients, and where to go on behind them if that is another page.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Portion {
    /// At most [`STREAM_CHUNK`].
    pub recipients: Vec<Recipient>,
    /// The address or cursor of the page to go on with; `None` within one, and at the end.
    pub resume: Option<String>,
}

/// A client for all sources; they share its connections.
#[derive(Clone, Debug)]
pub struct Sources {
    client: Client,
}

/// An audience being read.
pub struct Reading {
    client: Client,
    credentials: Credentials,
    first: Url,
    /// The page to ask for next.
    next: Option<Url>,
    resume: Option<String>,
    lines: Option<(Response, Lines)>,
    ready: VecDeque<Recipient>,
}

impl Sources {
    /// # Errors
    /// When the host's HTTP library cannot be set up.
    pub fn new() -> Result<Self, NoClient> {
        Ok(Self { client: outbound::client()? })
    }

    /// Begins to read, or goes on with the page that an earlier reading named.
    ///
    /// # Errors
    /// When that is no address.
    pub fn open(
        &self,
        url: &str,
        resume: Option<&str>,
        credentials: Credentials,
    ) -> Result<Reading, SourceError> {
        let wrong = || SourceError::lasting("audience.url is no http:// or https:// address");
        let first = outbound::parse_url(url).ok_or_else(wrong)?;
        let next = match resume {
            None => first.clone(),
            Some(cursor) => page::next_url(&first, cursor)?,
        };
        Ok(Reading {
            client: self.client.clone(),
            credentials,
            first,
            next: Some(next),
            resume: resume.map(str::to_owned),
            lines: None,
            ready: VecDeque::new(),
        })
    }
}

impl Reading {
    /// The next portion; `None` at the end.
    ///
    /// # Errors
    /// When the source does not answer, or not with recipients.
    pub async fn next(&mut self) -> Result<Option<Portion>, SourceError> {
        loop {
            if self.ready.len() >= STREAM_CHUNK || (!self.ready.is_empty() && self.lines.is_none())
            {
                let some = self.ready.len().min(STREAM_CHUNK);
                let recipients = self.ready.drain(..some).collect();
                // The page itself is asked for again until all of it is stored.
                let resume = self.resume.clone();
                return Ok(Some(Portion { recipients, resume }));
            }
            if let Some((response, lines)) = &mut self.lines {
                let piece = tokio::time::timeout(SILENCE, response.chunk()).await;
                let piece = piece.map_err(|_| SourceError::passing("the answer stopped coming"))?;
                let mut found: Vec<Numbered> = Vec::new();
                match piece.map_err(|error| SourceError::passing(words(error)))? {
                    Some(bytes) => lines.piece(&bytes, &mut found)?,
                    None => {
                        found.extend(lines.end()?);
                        self.lines = None;
                    }
                }
                self.ready.extend(found.into_iter().map(|(_, recipient)| recipient));
                continue;
            }
            let Some(url) = self.next.take() else { return Ok(None) };
            self.ask(url).await?;
        }
    }

    async fn ask(&mut self, url: Url) -> Result<(), SourceError> {
        let now = SystemClock.now();
        let request = self.client.get(url.clone()).header(ACCEPT, ACCEPTED);
        let request = self.credentials.dress(request, &format!("audience_{}", now.0), "", now);
        let answer = tokio::time::timeout(SILENCE, request.send()).await;
        let answer = answer.map_err(|_| SourceError::passing("no answer in time"))?;
        let mut response = answer.map_err(|error| SourceError::passing(words(error)))?;
        let status = response.status();
        if !status.is_success() {
            let body = outbound::read(&mut response, TEXT_BYTES).await;
            return Err(refused(status, body.bytes()));
        }
        match page::shape(response.headers().get(CONTENT_TYPE)) {
            page::Shape::Json => self.page(url, &mut response, Vec::new()).await,
            page::Shape::Lines => self.begin(response, Lines::new(false), &[]),
            page::Shape::Csv => self.begin(response, Lines::new(true), &[]),
            page::Shape::Html => Err(html()),
            page::Shape::Unknown => {
                let begun = response.chunk().await;
                let begun = begun.map_err(|error| SourceError::passing(words(error)))?;
                let begun = begun.unwrap_or_default();
                match page::guess(&begun) {
                    page::Shape::Json => self.page(url, &mut response, begun.to_vec()).await,
                    page::Shape::Csv => self.begin(response, Lines::new(true), &begun),
                    page::Shape::Html => Err(html()),
                    page::Shape::Lines | page::Shape::Unknown => {
                        self.begin(response, Lines::new(false), &begun)
                    }
                }
            }
        }
    }

    fn begin(
        &mut self,
        response: Response,
        mut lines: Lines,
        begun: &[u8],
    ) -> Result<(), SourceError> {
        let mut found = Vec::new();
        lines.piece(begun, &mut found)?;
        self.ready.extend(found.into_iter().map(|(_, recipient)| recipient));
        self.lines = Some((response, lines));
        Ok(())
    }

    async fn page(
        &mut self,
        url: Url,
        response: &mut Response,
        begun: Vec<u8>,
    ) -> Result<(), SourceError> {
        let room = BODY_BYTES - begun.len();
        let rest = tokio::time::timeout(SILENCE, outbound::read(response, room)).await;
        let rest = rest.map_err(|_| SourceError::passing("the answer stopped coming"))?;
        let body = match rest {
            Body::Whole(rest) => [begun, rest].concat(),
            Body::Longer(_) => {
                return Err(SourceError::lasting(format!(
                    "a page is longer than {BODY_BYTES} bytes: answer in pages with next, or as \
                     application/x-ndjson"
                )));
            }
            Body::Broken(_, why) => return Err(SourceError::passing(why)),
        };
        let page = page::read(&body)?;
        self.ready.extend(page.items);
        if let Some(next) = page.next {
            let following = page::next_url(&self.first, &next)?;
            if following == url {
                return Err(SourceError::lasting("next leads to the page it came with"));
            }
            self.next = Some(following);
            self.resume = Some(next);
        }
        Ok(())
    }
}

const ACCEPTED: &str = "application/json, application/x-ndjson, text/csv";

fn html() -> SourceError {
    SourceError::lasting(
        "the source answers HTML, perhaps a page to log in: give headers in \
         tenants.T.audience.headers_file, and answer JSON, NDJSON or CSV",
    )
}

/// An answer that is no success.
fn refused(status: StatusCode, body: &[u8]) -> SourceError {
    let code = status.as_u16();
    if status.is_redirection() {
        return SourceError::lasting(format!("HTTP {code}: redirects are not followed"));
    }
    let reason = match excerpt(body) {
        text if text.is_empty() => format!("HTTP {code}"),
        text => format!("HTTP {code}: {text}"),
    };
    let passes = status.is_server_error()
        || status == StatusCode::TOO_MANY_REQUESTS
        || status == StatusCode::REQUEST_TIMEOUT;
    if passes { SourceError::passing(reason) } else { SourceError::lasting(reason) }
}

#[cfg(test)]
mod tests;
