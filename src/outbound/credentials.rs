//! What a request to another program's address carries besides its question: headers of the operator's,
//! and a signature by the Standard Webhooks specification.

use std::fmt;

use reqwest::RequestBuilder;
use reqwest::header::{HeaderName, HeaderValue};

use super::signature::SigningKeys;
use crate::secret::Secret;
use crate::time::{SECOND_MS, Timestamp};

/// Headers and keys. Nothing of them is printed.
#[derive(Clone, Default)]
pub struct Credentials {
    headers: Vec<(HeaderName, HeaderValue)>,
    keys: Option<SigningKeys>,
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Credentials({} headers, signed: {})", self.headers.len(), self.keys.is_some())
    }
}

impl Credentials {
    /// Headers by name, and the keys to sign with, as their file has them.
    ///
    /// # Errors
    /// What is wrong, without repeating any of it.
    pub fn new(headers: &[(String, Secret)], keys: Option<&Secret>) -> Result<Self, String> {
        let header = |(name, value): &(String, Secret)| {
            let wrong = |_| format!("the header {name:?} cannot be sent");
            let parsed = HeaderName::from_bytes(name.as_bytes()).map_err(|_| wrong(()))?;
            let mut value = HeaderValue::from_str(value.expose()).map_err(|_| wrong(()))?;
            value.set_sensitive(true);
            Ok::<_, String>((parsed, value))
        };
        let keys = keys.map(|keys| SigningKeys::parse(keys.expose())).transpose();
        Ok(Self {
            headers: headers.iter().map(header).collect::<Result<_, _>>()?,
            keys: keys.map_err(|why| why.to_string())?,
        })
    }

    /// Whether there is nothing to carry.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.headers.is_empty() && self.keys.is_none()
    }

    /// `text` without the headers' values, for texts that come from outside and may repeat them.
    pub(crate) fn scrub(&self, text: String) -> String {
        let values = self.headers.iter().filter_map(|(_, value)| value.to_str().ok());
        values.fold(text, |text, value| Secret::new(value).scrub(text))
    }

    /// A request with them. `id` names this request; it holds no full stop.
    pub(crate) fn dress(
        &self,
        mut request: RequestBuilder,
        id: &str,
        body: &str,
        now: Timestamp,
    ) -> RequestBuilder {
        for (name, value) in &self.headers {
            request = request.header(name, value);
        }
        let Some(keys) = &self.keys else { return request };
        let timestamp = (now.0 / SECOND_MS).to_string();
        let signature = keys.sign(id, &timestamp, body);
        request
            .header("webhook-id", id)
            .header("webhook-timestamp", timestamp)
            .header("webhook-signature", signature)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn headers_and_a_signature_are_carried_and_not_printed() {
        let headers = [("x-api-key".to_owned(), Secret::new("canary"))];
        let key = Secret::new("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let credentials = Credentials::new(&headers, Some(&key)).unwrap();
        let request = reqwest::Client::builder().tls_certs_only([]).build();
        let Ok(client) = request else { return };
        let request =
            credentials.dress(client.get("http://127.0.0.1/"), "r1", "", Timestamp(5_000));
        let request = request.build().unwrap();
        assert_eq!(request.headers()["x-api-key"], "canary");
        assert_eq!(request.headers()["webhook-timestamp"], "5");
        assert!(request.headers()["webhook-signature"].to_str().unwrap().starts_with("v1,"));
        assert!(!format!("{credentials:?} {request:?}").contains("canary"));
    }

    #[test]
    fn what_cannot_be_sent_is_refused_without_repeating_it() {
        for bad in [("a b", "x"), ("", "x"), ("x", "ca\nnary")] {
            let headers = [(bad.0.to_owned(), Secret::new(bad.1))];
            let why = Credentials::new(&headers, None).unwrap_err();
            assert!(!why.contains("nary"), "{why}");
        }
        assert!(Credentials::new(&[], Some(&Secret::new("canary"))).is_err());
        assert!(Credentials::new(&[], None).unwrap().is_empty());
    }
}
