//! Small texts with a form: names, sizes, URLs, and the nearest right key.

use crate::limits::{NAME_BYTES, URL_BYTES};
use crate::near;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// Bytes in one KiB.
pub(super) const KIB: u64 = 1024;
/// Bytes in one MiB.
pub(super) const MIB: u64 = 1024 * KIB;
/// Bytes in one GiB.
pub(super) const GIB: u64 = 1024 * MIB;

/// Whether a name of a tenant, template, schedule or task type can stand in a key and a path.
pub(super) fn check_name(name: &str) -> Result<(), String> {
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    if !name.is_empty() && name.len() <= NAME_BYTES && name.bytes().all(right) {
        return Ok(());
    }
    Err(format!("a name is 1 to {NAME_BYTES} letters, digits, _ . or -"))
}

/// Reads a size: a whole number and one of `B`, `KiB`, `MiB`, `GiB`.
pub(super) fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let factor = match unit.trim() {
        "B" => 1,
        "KiB" => KIB,
        "MiB" => MIB,
        "GiB" => GIB,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Writes a size with the largest unit that leaves a whole number.
pub(super) fn bytes(size: u64) -> String {
    with_unit(size, &[(GIB, "GiB"), (MIB, "MiB"), (KIB, "KiB"), (1, "B")])
}

/// Writes a duration with the largest unit that leaves a whole number.
pub(super) fn duration(ms: u64) -> String {
    let units = [(DAY_MS, "d"), (HOUR_MS, "h"), (MINUTE_MS, "m"), (SECOND_MS, "s"), (1, "ms")];
    with_unit(ms, &units)
}

fn with_unit(amount: u64, units: &[(u64, &str)]) -> String {
    let fits = |(factor, _): &&(u64, &str)| *factor <= amount && amount.is_multiple_of(*factor);
    match units.iter().find(fits) {
        Some((factor, unit)) => format!("{}{unit}", amount / factor),
        None => units.last().map_or_else(String::new, |(_, unit)| format!("{amount}{unit}")),
    }
}

/// Where an address points, as far as plain HTTP is a worry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Route {
    /// Encrypted, or not leaving the machine.
    Private,
    /// Plain HTTP to another machine.
    Open,
}

/// Checks an address. The messages never show it: it may carry a password or a token.
pub(super) fn check_url(text: &str) -> Result<Route, String> {
    const EXAMPLE: &str = "must be an http:// or https:// address";
    if URL_BYTES < text.len() {
        return Err(format!("is longer than {URL_BYTES} bytes"));
    }
    let url = reqwest::Url::parse(text).map_err(|why| format!("{EXAMPLE} ({why})"))?;
    let host = url.host_str().unwrap_or_default();
    match url.scheme() {
        "https" => Ok(Route::Private),
        "http" if is_local(host) => Ok(Route::Private),
        "http" => Ok(Route::Open),
        _ => Err(EXAMPLE.to_owned()),
    }
}

fn is_local(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let address = bare.parse::<std::net::IpAddr>();
    host == "localhost" || address.is_ok_and(|address| address.is_loopback())
}

/// Checks an address with placeholders such as `{tenant}`; others than `known` are refused.
pub(super) fn check_template(text: &str, known: &[&str]) -> Result<Route, String> {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('{') {
        let (name, next) = after.split_once('}').ok_or("has a { without a }")?;
        if !known.contains(&name) {
            let advice = advise(name, known);
            return Err(format!("has the unknown placeholder {{{name}}}; {advice}"));
        }
        plain.push_str(before);
        plain.push('x');
        rest = next;
    }
    plain.push_str(rest);
    check_url(&plain)
}

/// What to write instead of an unknown word: the nearest known one, else all of them.
pub(super) fn advise(word: &str, known: &[&str]) -> String {
    near::advise(word, "known here", known.iter().copied())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_need_a_binary_unit() {
        assert_eq!(parse_bytes("64MiB"), Some(64 * MIB));
        assert_eq!(parse_bytes("512 B"), Some(512));
        for bad in ["64", "64MB", "", "-1B", "99999999999999GiB", "1.5GiB"] {
            assert_eq!(parse_bytes(bad), None, "{bad}");
        }
    }

    #[test]
    fn amounts_are_written_with_the_largest_whole_unit() {
        assert_eq!(
            (bytes(64 * MIB), bytes(0), bytes(1025)),
            ("64MiB".into(), "0B".into(), "1025B".into())
        );
        assert_eq!((duration(90_000), duration(HOUR_MS)), ("90s".into(), "1h".into()));
    }

    #[test]
    fn names_are_short_and_plain() {
        for good in ["acme", "1001", "new-tasks", "a.b_c"] {
            assert_eq!(check_name(good), Ok(()), "{good}");
        }
        for bad in ["", "a b", "a/b", "通知", &"x".repeat(65)] {
            assert!(check_name(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn plain_http_is_private_on_the_same_machine_only() {
        for local in
            ["http://127.0.0.1:9/x", "http://[::1]/", "http://localhost:8080", "https://a.b"]
        {
            assert_eq!(check_url(local), Ok(Route::Private), "{local}");
        }
        assert_eq!(check_url("http://10.0.0.7/hook"), Ok(Route::Open));
        for bad in ["", "api.weixin.qq.com", "ftp://a.b/", "unix:/run/x", "http://"] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn templates_know_their_placeholders() {
        let known = ["tenant", "last_run"];
        assert!(check_template("http://127.0.0.1/n?t={tenant}&s={last_run}", &known).is_ok());
        let why = check_template("http://127.0.0.1/n?t={tenat}", &known).unwrap_err();
        assert!(why.contains("did you mean tenant?"), "{why}");
        assert!(check_template("http://127.0.0.1/n?t={tenant", &known).is_err());
    }

    #[test]
    fn the_nearest_word_is_named_and_a_far_one_is_not() {
        let known = ["data_dir", "admin", "tenants"];
        assert_eq!(advise("data-dir", &known), "did you mean data_dir?");
        assert_eq!(advise("tenant", &known), "did you mean tenants?");
        assert_eq!(advise("zebra", &known), "known here: admin, data_dir, tenants");
    }
}
