//! Addresses: from a template, and of the pages after the first.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use reqwest::Url;

use super::PullError;
use crate::limits::URL_BYTES;
use crate::outbound::parse_url;
use crate::time::Timestamp;

/// Everything but the unreserved characters of RFC 3986 is encoded, so that a value can neither
/// leave its place in the address nor be changed by it.
const VALUE: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Whether a text is an address with no other placeholders than `{tenant}` and `{last_run}`: for
/// the configuration, so that a misspelled one does not wait for the first run.
pub fn check(url_template: &str) -> Result<(), PullError> {
    fill(url_template, "tenant", None).map(|_| ())
}

/// The address of the first page.
pub(super) fn fill(
    url_template: &str,
    tenant: &str,
    last_run: Option<Timestamp>,
) -> Result<Url, PullError> {
    let last_run = last_run.unwrap_or_default().to_string();
    let mut filled = String::new();
    let mut rest = url_template;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, after) = after
            .split_once('}')
            .ok_or_else(|| PullError::lasting("the address has a { without a }"))?;
        let value = match name {
            "tenant" => tenant,
            "last_run" => &last_run,
            _ => {
                return Err(PullError::lasting(format!(
                    "the address has an unknown {{{name}}}: there are {{tenant}} and {{last_run}}"
                )));
            }
        };
        filled.push_str(before);
        filled.extend(utf8_percent_encode(value, VALUE));
        rest = after;
    }
    filled.push_str(rest);
    parse_url(&filled).ok_or_else(|| {
        PullError::lasting(format!(
            "a pull needs an http:// or https:// address of at most {URL_BYTES} bytes"
        ))
    })
}

/// The address of a further page: `next` itself if it is an address on the host of `base`, else
/// `base` with `next` as its `cursor`.
pub(super) fn next_url(base: &Url, next: &str) -> Result<Url, PullError> {
    let too_long = || PullError::lasting(format!("next is longer than {URL_BYTES} bytes"));
    if next.len() > URL_BYTES {
        return Err(too_long());
    }
    let url = if next.contains("://") {
        let mut url = parse_url(next)
            .filter(|url| url.origin() == base.origin())
            .ok_or_else(|| PullError::lasting("next must be an address on the host pulled from"))?;
        // The name and password of the configuration, never of an answer. Cannot fail with a host.
        let _ = url.set_username(base.username());
        let _ = url.set_password(base.password());
        url
    } else {
        with_cursor(base, next)
    };
    if url.as_str().len() > URL_BYTES { Err(too_long()) } else { Ok(url) }
}

/// `base` with this cursor and no other. The rest of its query stays byte by byte.
fn with_cursor(base: &Url, cursor: &str) -> Url {
    let mut query: Vec<String> = base
        .query()
        .unwrap_or("")
        .split('&')
        .filter(|pair| !pair.is_empty() && pair.split('=').next() != Some("cursor"))
        .map(str::to_owned)
        .collect();
    query.push(format!("cursor={}", utf8_percent_encode(cursor, VALUE)));
    let mut url = base.clone();
    url.set_query(Some(&query.join("&")));
    url
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const TEMPLATE: &str = "http://h:8080/notices?tenant={tenant}&since={last_run}";

    #[test]
    fn placeholders_are_filled_and_encoded() {
        let at = Some(Timestamp(1_795_395_600_000));
        for (template, tenant, last_run, wanted) in [
            (TEMPLATE, "acme", at, "tenant=acme&since=2026-11-23T01%3A00%3A00.000Z"),
            (TEMPLATE, "acme", None, "tenant=acme&since=1970-01-01T00%3A00%3A00.000Z"),
            (TEMPLATE, "a&b={last_run}#/", None, "tenant=a%26b%3D%7Blast_run%7D%23%2F&since="),
            ("http://h:8080/notices?x", "acme", None, "x"),
        ] {
            let url = fill(template, tenant, last_run).unwrap();
            let wanted = format!("http://h:8080/notices?{wanted}");
            assert!(url.as_str().starts_with(&wanted), "{url}");
        }
        let url = fill("http://h/{tenant}/notices", "../admin", None).unwrap();
        assert_eq!(url.as_str(), "http://h/..%2Fadmin/notices");
    }

    #[test]
    fn unusable_templates_are_refused() {
        assert_eq!(check(TEMPLATE), Ok(()));
        for (bad, word) in [
            ("http://h/{tennant}", "{tennant}"),
            ("http://h/{tenant", "without a }"),
            ("/notices?t={tenant}", "http://"),
            ("ftp://h/", "http://"),
            ("", "http://"),
        ] {
            let error = check(bad).unwrap_err();
            assert!(error.reason.contains(word) && !error.retryable, "{bad}: {error}");
        }
    }

    #[test]
    fn next_is_a_cursor_or_an_address_of_the_same_host() {
        let base = fill("http://me:pw@h:8080/n?a=%2f1&cursor=old", "acme", None).unwrap();
        for (next, wanted) in [
            ("p 2&x=/", "http://me:pw@h:8080/n?a=%2f1&cursor=p%202%26x%3D%2F"),
            ("http://h:8080/n?page=2", "http://me:pw@h:8080/n?page=2"),
            ("http://you:no@h:8080/m", "http://me:pw@h:8080/m"),
        ] {
            assert_eq!(next_url(&base, next).unwrap().as_str(), wanted);
        }
        let long = "x".repeat(URL_BYTES);
        for bad in [
            "http://h:8081/n",
            "https://h:8080/n",
            "http://h.evil:8080/n",
            "http://h:8080@evil/n",
            "file://h:8080/n",
            "://",
            &long,
        ] {
            assert!(!next_url(&base, bad).unwrap_err().retryable, "{bad}");
        }
    }
}
