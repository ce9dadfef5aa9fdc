//! Who may call: the bearer token, and defence against other people's web pages.
//!
//! A loopback bind alone is no defence: any page in a browser on the same machine can send requests
//! to it. A page cannot choose `Host`, and cannot help sending `Origin` or `Sec-Fetch-Site` with a
//! request across sites; so foreign ones are refused. Nothing here answers CORS.

use std::net::IpAddr;

use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN};
use hyper::http::request::Parts;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::Settings;
use super::problem::Problem;

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Refuses a request that was not meant for this port.
pub(super) fn check_site(settings: &Settings, local: IpAddr, head: &Parts) -> Result<(), Problem> {
    let mut hosts = head.headers.get_all(HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return Err(Problem::new(400, "bad_host", "send exactly one Host header"));
    };
    let host = host.to_str().unwrap_or("");
    let of_target = head.uri.authority().map_or(host, |authority| authority.as_str());
    if !is_ours(settings, local, host) || !is_ours(settings, local, of_target) {
        return Err(Problem::new(
            421,
            "foreign_host",
            "this port is not called by that name: use its address, or add the name to \
             admin.hosts",
        ));
    }
    check_origin(&head.headers, host)
}

fn check_origin(headers: &HeaderMap, host: &str) -> Result<(), Problem> {
    let foreign = || {
        let detail = "requests from other web pages are refused";
        Err(Problem::new(403, "foreign_origin", detail))
    };
    for origin in headers.get_all(ORIGIN) {
        let origin = origin.to_str().unwrap_or("");
        let of = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        if !of.is_some_and(|of| of.eq_ignore_ascii_case(host)) {
            return foreign();
        }
    }
    for site in headers.get_all(SEC_FETCH_SITE) {
        if !matches!(site.as_bytes(), b"same-origin" | b"none") {
            return foreign();
        }
    }
    Ok(())
}

/// Whether a host, perhaps with a port, is one of ours. An address in digits is ours when it is a
/// loopback address or the one that the connection came in on.
fn is_ours(settings: &Settings, local: IpAddr, host: &str) -> bool {
    let Some(name) = without_port(host) else { return false };
    if name.eq_ignore_ascii_case("localhost") {
        return true;
    }
    let digits = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(name);
    if let Ok(address) = digits.parse::<IpAddr>()
        && (address.is_loopback() || address.to_canonical() == local.to_canonical())
    {
        return true;
    }
    settings.allowed_hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name))
}

fn without_port(host: &str) -> Option<&str> {
    let (name, port) = match host.rfind(':') {
        Some(at) if !host.ends_with(']') => (host.get(..at)?, host.get(at + 1..)?),
        _ => (host, "0"),
    };
    (!name.is_empty() && port.parse::<u16>().is_ok()).then_some(name)
}

/// Refuses a request without the token. Both sides are hashed, so that the comparison's time tells
/// nothing of the token, not even its length.
pub(super) fn check_token(settings: &Settings, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(expected) = &settings.token_sha256 else { return Ok(()) };
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let token = match (given.next(), given.next()) {
        (Some(value), None) => bearer(value.as_bytes()),
        _ => None,
    };
    let hash: [u8; 32] = Sha256::digest(token.unwrap_or_default()).into();
    if token.is_some() && bool::from(hash.ct_eq(expected)) {
        return Ok(());
    }
    let detail = match token {
        Some(_) => "this token is not accepted",
        None => "send the admin token: Authorization: Bearer TOKEN",
    };
    Err(Problem::new(401, "unauthorized", detail))
}

fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then(|| token.trim_ascii())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn only_our_own_hosts_are_ours() {
        let settings = Settings { allowed_hosts: vec!["box.lan".into()], ..Settings::default() };
        let local: IpAddr = "192.0.2.7".parse().unwrap();
        for ours in [
            "localhost",
            "LOCALHOST:7280",
            "127.0.0.1:1",
            "[::1]",
            "[::1]:80",
            "192.0.2.7",
            "Box.lan:7",
        ] {
            assert!(is_ours(&settings, local, ours), "{ours}");
        }
        for foreign in [
            "",
            ":80",
            "evil.example",
            "192.0.2.8",
            "localhost.evil.example",
            "localhost:http",
            "[::2]",
        ] {
            assert!(!is_ours(&settings, local, foreign), "{foreign}");
        }
    }

    #[test]
    fn a_bearer_token_is_read_and_other_schemes_are_not() {
        assert_eq!(bearer(b"Bearer abc"), Some(&b"abc"[..]));
        assert_eq!(bearer(b"bearer  abc "), Some(&b"abc"[..]));
        assert_eq!(bearer(b"Basic abc"), None);
        assert_eq!(bearer(b"Bear"), None);
    }
}
