//! Who may call: the bearer token, and defence against other people's web pages.
//!
//! A loopback bind alone is no defence: any page in a browser on the same machine can send requests
//! to it. A page cannot choose `Host`, and cannot help sending `Origin` or `Sec-Fetch-Site` with a
//! request across sites; so foreign ones are refused. Nothing here answers CORS.

use std::net::IpAddr;

use super::Settings;
use super::problem::Problem;
use hyper::header::{AUTHORIZATION, HOST, HeaderMap, HeaderName, ORIGIN, REFERER};
use hyper::http::request::Parts;
use ipnet::IpNet;

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

/// Refuses a change that another page set off by no more than a picture's address: the old paths change
/// things by GET, and old browsers do not say where a request comes from but by `Referer`.
pub(super) fn check_referer(headers: &HeaderMap) -> Result<(), Problem> {
    let host = headers.get(HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let referer = headers.get(REFERER).map(|referer| referer.to_str().unwrap_or(""));
    let is_ours = |referer: &str| {
        let rest = referer.strip_prefix("http://").or_else(|| referer.strip_prefix("https://"));
        let of = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
        of.is_some_and(|of| of.eq_ignore_ascii_case(host))
    };
    if referer.is_none_or(is_ours) {
        return Ok(());
    }
    Err(Problem::new(403, "foreign_origin", "requests from other web pages are refused"))
}

/// Refuses callers from elsewhere than the networks that may use the old paths.
pub(super) fn check_network(allowed: &[IpNet], peer: IpAddr) -> Result<(), Problem> {
    let peer = peer.to_canonical();
    if allowed.iter().any(|network| network.contains(&peer)) {
        return Ok(());
    }
    let detail = format!("{peer} is in none of the networks of legacy.allow");
    Err(Problem::new(403, "foreign_network", detail))
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

/// Refuses a request without the token.
pub(super) fn check_token(settings: &Settings, headers: &HeaderMap) -> Result<(), Problem> {
    let Some(expected) = &settings.token else { return Ok(()) };
    let mut given = headers.get_all(AUTHORIZATION).iter();
    let token = match (given.next(), given.next()) {
        (Some(value), None) => bearer(value.as_bytes()),
        _ => None,
    };
    if token.is_some_and(|token| expected.is(token)) {
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
    fn a_picture_on_another_page_changes_nothing() {
        let with = |referer: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "127.0.0.1:7280".parse().unwrap());
            headers.insert(REFERER, referer.parse().unwrap());
            headers
        };
        assert!(check_referer(&HeaderMap::new()).is_ok(), "no browser");
        assert!(check_referer(&with("http://127.0.0.1:7280/")).is_ok());
        for foreign in
            ["https://evil.example/", "http://127.0.0.1:7280.evil.example/", "", "about:blank"]
        {
            assert!(check_referer(&with(foreign)).is_err(), "{foreign}");
        }
    }

    #[test]
    fn networks_count_also_for_mapped_addresses() {
        let allowed: Vec<IpNet> = vec!["10.1.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()];
        for ours in ["10.1.2.3", "::ffff:10.1.2.3", "::1"] {
            assert!(check_network(&allowed, ours.parse().unwrap()).is_ok(), "{ours}");
        }
        for foreign in ["10.2.0.1", "::2", "127.0.0.1"] {
            assert!(check_network(&allowed, foreign.parse().unwrap()).is_err(), "{foreign}");
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
