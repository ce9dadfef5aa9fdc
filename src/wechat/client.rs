//! The HTTP client of one tenant: its settings, the one way to post, and errors without secrets.

use std::error::Error;
use std::time::Duration;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, StatusCode, Url};

use crate::limits;
use crate::outbound::service::Service;
use crate::secret::Secret;

/// A connection that does not stand after this long will not.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Below the keep-alive of the provider's front ends, so that we close an idle connection first:
/// a request on one that is being closed is in doubt.
const POOL_IDLE: Duration = Duration::from_secs(30);
/// Written data that nobody acknowledged for this long means the peer is gone.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(10);
/// Keeps idle connections known to firewalls.
const TCP_KEEPALIVE: Duration = Duration::from_secs(15);
/// Largest answer that is read. Real ones have some hundred bytes.
const ANSWER_MAX: usize = 64 * 1024;

/// Where the access tokens of an account come from.
#[derive(Clone, Debug)]
pub enum TokenFrom {
    /// From the provider, for the account's secret.
    Provider(Secret),
    /// From a service of the operator's own: a GET, answered as the provider does.
    Service(Service),
}

/// One official account and where its API is.
#[derive(Clone, Debug)]
pub struct Account {
    /// The tenant's name, for the log.
    pub tenant: String,
    /// The account's public id.
    pub appid: String,
    /// Where its tokens come from.
    pub token: TokenFrom,
    /// Scheme, host and port, perhaps a path: `https://api.weixin.qq.com`.
    pub base_url: String,
}

/// Why there is no client for an account.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// The base URL cannot be called.
    #[error("base_url must be http:// or https:// with a host, without query or user")]
    BaseUrl,
    /// The HTTP library refuses; without certificates on the host it does.
    #[error("no HTTP client: {0}")]
    Build(String),
}

impl Account {
    /// The URL of a call.
    pub(super) fn url(&self, path: &str) -> Result<Url, ClientError> {
        let base = Url::parse(&self.base_url).map_err(|_| ClientError::BaseUrl)?;
        let usable = matches!(base.scheme(), "http" | "https")
            && base.has_host()
            && base.query().is_none()
            && base.fragment().is_none()
            && base.username().is_empty()
            && base.password().is_none();
        if !usable {
            return Err(ClientError::BaseUrl);
        }
        let text = format!("{}{path}", base.as_str().trim_end_matches('/'));
        Url::parse(&text).map_err(|_| ClientError::BaseUrl)
    }
}

/// The client for an account with `concurrency` requests in flight.
///
/// It never follows redirects (a POST would become a GET), never retries (attempts are counted by
/// the engine) and ignores proxies from the environment. Timeouts are given with each request.
pub(super) fn build(account: &Account, concurrency: usize) -> Result<Client, ClientError> {
    // Fails only when a provider is installed already, which is as good.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut builder = Client::builder()
        .user_agent(concat!("duebox/", env!("CARGO_PKG_VERSION")))
        .http1_only()
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(concurrency)
        .pool_idle_timeout(POOL_IDLE)
        .tcp_keepalive(TCP_KEEPALIVE)
        .tcp_user_timeout(TCP_USER_TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .retry(reqwest::retry::never())
        .no_proxy();
    if account.url("/")?.scheme() == "http" {
        // A sandbox needs no certificates, and the host may have none.
        builder = builder.tls_certs_only([]);
    }
    builder.build().map_err(|error| ClientError::Build(words(error)))
}

/// Why a request has no complete answer.
#[derive(Debug)]
pub(super) enum Failure {
    /// No connection came about: nothing was sent.
    NotConnected(String),
    /// The connection stood; the request may have arrived.
    Lost(String),
}

impl Failure {
    /// What happened, in words.
    pub(super) fn into_words(self) -> String {
        match self {
            Self::NotConnected(words) | Self::Lost(words) => words,
        }
    }
}

/// Posts JSON and reads the answer, at most 64 KiB of it. `within` covers everything.
pub(super) async fn post(
    client: &Client,
    url: Url,
    body: reqwest::Body,
    within: Duration,
) -> Result<(StatusCode, Vec<u8>), Failure> {
    complete(client.post(url).header(CONTENT_TYPE, JSON).body(body), within).await
}

/// Posts JSON, or gets without a body, and reads at most `most` bytes of the answer.
pub(super) async fn ask(
    client: &Client,
    url: Url,
    body: Option<&serde_json::Value>,
    within: Duration,
    most: usize,
) -> Result<(StatusCode, Vec<u8>), Failure> {
    let request = match body {
        Some(body) => client.post(url).header(CONTENT_TYPE, JSON).body(body.to_string()),
        None => client.get(url),
    };
    answer(request.timeout(within), most).await
}

/// Sends a request that is made, and reads the answer, at most 64 KiB of it.
pub(super) async fn complete(
    request: reqwest::RequestBuilder,
    within: Duration,
) -> Result<(StatusCode, Vec<u8>), Failure> {
    answer(request.timeout(within), ANSWER_MAX).await
}

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

async fn answer(
    request: reqwest::RequestBuilder,
    most: usize,
) -> Result<(StatusCode, Vec<u8>), Failure> {
    let mut response = request.send().await.map_err(|error| {
        if error.is_connect() {
            Failure::NotConnected(words(error))
        } else {
            Failure::Lost(words(error))
        }
    })?;
    let mut read = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| Failure::Lost(words(error)))? {
        if read.len() + chunk.len() > most {
            return Err(Failure::Lost(format!("the answer is longer than {most} bytes")));
        }
        read.extend_from_slice(&chunk);
    }
    Ok((response.status(), read))
}

/// The error and its causes in one line. The URL is left out: its query holds the token.
fn words(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        words.push_str(": ");
        words.push_str(&cause.to_string());
        source = cause.source();
    }
    crate::text::cut(&words, limits::TEXT_BYTES).to_owned()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn account(base_url: &str) -> Account {
        Account {
            tenant: "a".into(),
            appid: "wx1".into(),
            token: TokenFrom::Provider(Secret::new("s")),
            base_url: base_url.into(),
        }
    }

    #[test]
    fn base_urls_may_end_in_a_slash_or_a_path() {
        for (base, url) in [
            ("https://api.weixin.qq.com", "https://api.weixin.qq.com/cgi-bin/x"),
            ("https://api.weixin.qq.com/", "https://api.weixin.qq.com/cgi-bin/x"),
            ("http://127.0.0.1:7/wx/", "http://127.0.0.1:7/wx/cgi-bin/x"),
        ] {
            assert_eq!(account(base).url("/cgi-bin/x").unwrap().as_str(), url);
        }
    }

    #[test]
    fn base_urls_that_cannot_be_called_are_refused() {
        for bad in ["", "api.weixin.qq.com", "ftp://x", "http://a:b@x", "http://x/?q=1", "http://"]
        {
            assert!(matches!(account(bad).url("/x"), Err(ClientError::BaseUrl)), "{bad}");
        }
    }

    #[tokio::test]
    async fn a_failed_request_does_not_tell_its_url() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let account = account(&format!("http://{}", free.local_addr().unwrap()));
        let client = build(&account, 1).unwrap();
        let url = account.url("/path?access_token=canary").unwrap();
        let call = || post(&client, url.clone(), "{}".into(), Duration::from_millis(200));
        let unanswered = call().await.unwrap_err();
        assert!(matches!(unanswered, Failure::Lost(_)), "{unanswered:?}");
        drop(free);
        let refused = call().await.unwrap_err();
        assert!(matches!(refused, Failure::NotConnected(_)), "{refused:?}");
        for failure in [unanswered, refused] {
            let words = failure.into_words();
            assert!(!words.contains("canary") && !words.contains("path"), "{words}");
        }
    }
}
