//! The HTTP client for other programs' addresses: what webhooks and pulls have in common.
//!
//! It never follows redirects (a POST would become a GET, and an address could be led elsewhere),
//! never repeats a request by itself (that is for the caller to decide) and ignores proxies from the
//! environment.

pub(crate) mod credentials;
pub(crate) mod service;
pub(crate) mod signature;

use std::error::Error;
use std::time::Duration;

use reqwest::{Client, ClientBuilder, Response, Url};

use crate::limits::{TEXT_BYTES, URL_BYTES};
use crate::text::cut;

/// A connection that does not stand after this long will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Below the keep-alive of common servers, so that idle connections are closed from our side.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Idle connections kept per address: the pushes of one task type under way at once, and some.
const POOL_IDLE_PER_HOST: usize = 64;
/// Written data that nobody acknowledged for this long means the peer is gone.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Keeps idle connections known to firewalls.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
#[error("no HTTP client: {0}")]
pub struct NoClient(String);

/// A pooled client. The time limit is given with each request.
///
/// Build one and share it: each has a pool of its own. On a host without CA certificates it can
/// call http addresses only; https ones fail there with a certificate error.
pub(crate) fn client() -> Result<Client, NoClient> {
    build(settings)
}

/// One that makes a new connection for each request.
pub(crate) fn client_without_pool() -> Result<Client, NoClient> {
    build(|| settings().pool_max_idle_per_host(0))
}

fn build(settings: impl Fn() -> ClientBuilder) -> Result<Client, NoClient> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    settings().build().or_else(|error| {
        let error = words(error);
        tracing::warn!(event = "outbound.no_certificates", error, "https addresses will fail");
        settings().tls_certs_only([]).build().map_err(|error| NoClient(words(error)))
    })
}

/// Whether the connection stood, and broke before an answer began.
pub(crate) fn has_broken(error: &reqwest::Error) -> bool {
    error.is_request() && !error.is_connect() && !error.is_timeout()
}

fn settings() -> ClientBuilder {
    Client::builder()
        .user_agent(concat!("duebox/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(POOL_IDLE_PER_HOST)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_keepalive(TCP_KEEPALIVE)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy()
}

/// Reads an address that can be called: absolute, http or https, of bounded length.
pub(crate) fn parse_url(text: &str) -> Option<Url> {
    let url = (text.len() <= URL_BYTES).then(|| Url::parse(text).ok()).flatten()?;
    (matches!(url.scheme(), "http" | "https") && url.has_host()).then_some(url)
}

/// An address for people: without user, password, query and fragment, which may hold secrets.
pub(crate) fn shown(url: &Url) -> String {
    format!("{}{}", url.origin().ascii_serialization(), url.path())
}

/// The body of an answer, as far as it was read.
#[derive(Debug)]
pub(crate) enum Body {
    /// All of it.
    Whole(Vec<u8>),
    /// It is longer than allowed; this is its beginning.
    Longer(Vec<u8>),
    /// It broke off; this came before, and why.
    Broken(Vec<u8>, String),
}

impl Body {
    /// What was read.
    pub(crate) fn bytes(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) | Self::Longer(bytes) | Self::Broken(bytes, _) => bytes,
        }
    }
}

/// Reads at most `max` bytes of a body. The connection is given up when there is more.
pub(crate) async fn read(response: &mut Response, max: usize) -> Body {
    let mut bytes = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) => {
                let room = max - bytes.len();
                bytes.extend_from_slice(&chunk[..chunk.len().min(room)]);
                if chunk.len() > room {
                    return Body::Longer(bytes);
                }
            }
            Ok(None) => return Body::Whole(bytes),
            Err(error) => return Body::Broken(bytes, words(error)),
        }
    }
}

/// An error in one line: the last cause, which says most. The address is left out, since its
/// query may hold secrets.
pub(crate) fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let timed_out = error.is_timeout();
    let head = match (error.is_connect(), timed_out) {
        (true, _) => "cannot connect",
        (false, true) => "no complete answer in time",
        (false, false) => "the exchange failed",
    };
    let mut cause = error.source();
    while let Some(deeper) = cause.and_then(Error::source) {
        cause = Some(deeper);
    }
    match cause {
        Some(cause) if !timed_out => cut(&format!("{head}: {cause}"), TEXT_BYTES).to_owned(),
        Some(_) | None => head.to_owned(),
    }
}

/// The beginning of a body as one line of text for people, empty when there is none.
pub(crate) fn excerpt(body: &[u8]) -> String {
    const EXCERPT_BYTES: usize = 160;
    let head = &body[..body.len().min(2 * EXCERPT_BYTES)];
    let text = String::from_utf8_lossy(head);
    let line: Vec<&str> = text
        .split(|c: char| c.is_whitespace() || c.is_control())
        .filter(|s| !s.is_empty())
        .collect();
    cut(&line.join(" "), EXCERPT_BYTES).to_owned()
}

#[cfg(test)]
pub(crate) mod loopback;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn only_absolute_http_addresses_can_be_called() {
        assert!(parse_url("http://127.0.0.1:9000/hook?a=b").is_some());
        assert!(parse_url("https://example.com").is_some());
        let long = format!("http://example.com/{}", "x".repeat(URL_BYTES));
        for bad in ["", "/hook", "example.com/hook", "ftp://example.com", "unix:/run/x", &long] {
            assert!(parse_url(bad).is_none(), "{bad}");
        }
    }

    #[test]
    fn shown_addresses_hold_no_secrets() {
        let url = parse_url("http://user:canary@127.0.0.1:9000/hook?token=canary#canary").unwrap();
        assert_eq!(shown(&url), "http://127.0.0.1:9000/hook");
    }

    #[test]
    fn excerpts_are_one_short_line() {
        assert_eq!(excerpt(b""), "");
        assert_eq!(
            excerpt(b"<h1>\r\n\tno\x1b[31m luck\xff</h1>"),
            "<h1> no [31m luck\u{fffd}</h1>"
        );
        assert!(excerpt("日本".repeat(500).as_bytes()).len() <= 160);
    }
}
