//! A service of the operator's own at one address, with what its requests carry.

use std::fmt;

use reqwest::header::{CONTENT_TYPE, HeaderValue};
use reqwest::{Client, RequestBuilder, Url};

use super::credentials::Credentials;
use super::{parse_url, shown};
use crate::secret::Secret;
use crate::time::Timestamp;

const JSON: HeaderValue = HeaderValue::from_static("application/json; charset=utf-8");

/// An address that may hold a key, and credentials. Neither is printed.
#[derive(Clone)]
pub struct Service {
    client: Client,
    url: Url,
    credentials: Credentials,
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Service({self}, {:?})", self.credentials)
    }
}

/// The address without its query.
impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shown(&self.url))
    }
}

impl Service {
    /// A service that is asked through a client.
    ///
    /// # Errors
    /// When the address cannot be called.
    pub fn new(client: &Client, url: &Secret, credentials: Credentials) -> Result<Self, String> {
        let url = parse_url(url.expose()).ok_or("not an address that can be called")?;
        Ok(Self { client: client.clone(), url, credentials })
    }

    /// A GET. `id` names this request; it holds no full stop.
    pub(crate) fn get(&self, id: &str, now: Timestamp) -> RequestBuilder {
        self.credentials.dress(self.client.get(self.url.clone()), id, "", now)
    }

    /// A POST of JSON.
    pub(crate) fn post(&self, id: &str, body: String, now: Timestamp) -> RequestBuilder {
        let request = self.client.post(self.url.clone()).header(CONTENT_TYPE, JSON);
        self.credentials.dress(request, id, &body, now).body(body)
    }

    /// `text`, which may come from it, without the headers' values.
    pub(crate) fn scrub(&self, text: String) -> String {
        self.credentials.scrub(text)
    }
}
