//! What a submission is known by: its fingerprint, stored with its key.

use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::tree;
use super::unread::Unread;
use crate::json;
use crate::time::Timestamp;

/// What some editors write before a text; it is not a part of it.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

/// A body without a byte order mark.
#[must_use]
pub fn without_mark(bytes: &[u8]) -> &[u8] {
    bytes.strip_prefix(BYTE_ORDER_MARK).unwrap_or(bytes)
}

/// A body as text.
pub fn text(bytes: &[u8]) -> Result<&str, Unread> {
    std::str::from_utf8(without_mark(bytes)).map_err(|error| Unread::NotText(error.to_string()))
}

/// Parses JSON that everybody can read, within its weight.
pub fn tree(text: &str) -> Result<Json, Unread> {
    json::check(text).map_err(Unread::NotJson)?;
    tree::parse(text.as_bytes())
}

/// What a submission is known by: the fingerprints of its fields and of what it means.
#[must_use]
pub fn known_by(body: &Json) -> (u128, u128) {
    (fingerprint(body), meaning(body))
}

/// The fingerprint of a submission: the first half of the SHA-256 of its fields in the order of
/// their names, without those that say how to submit rather than what. Stored with the key: its
/// making must not change.
fn fingerprint(body: &Json) -> u128 {
    let mut hash = Sha256::new();
    // `serde_json`'s map keeps its keys sorted; writing to a hash cannot fail.
    match body {
        Json::Object(fields) => {
            for field in fields.iter().filter(|(name, _)| *name != "key" && *name != "replace") {
                let _ = serde_json::to_writer(&mut hash, &field);
            }
        }
        other => drop(serde_json::to_writer(&mut hash, other)),
    }
    hash.finalize().iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}

/// The fingerprint of what a submission means, however it is written: a `null` field is absent, a
/// type may be a number or a string, a time has many forms, 1.0 is 1. Stored with the key, as
/// [`fingerprint`] once was: its making must not change either.
fn meaning(body: &Json) -> u128 {
    let Json::Object(fields) = body else { return fingerprint(body) };
    let same = fields.iter().filter_map(|(name, value)| {
        let value = match (name.as_str(), value) {
            ("payload", value) => plain(value),
            (_, Json::Null) => return None,
            ("data", value) => bare_values(value),
            ("audience", value) => bare_audience(value),
            ("type", Json::Number(number)) => Json::String(number.to_string()),
            ("priority", Json::Number(number)) if number.as_u64() == Some(0) => return None,
            ("due" | "send_at" | "expires_at", value) => match Timestamp::from_json(value) {
                Ok(at) => Json::from(at.0),
                Err(_) => value.clone(),
            },
            (_, value) => plain(value),
        };
        Some((name.clone(), value))
    });
    fingerprint(&Json::Object(same.collect()))
}

/// Template values without WeChat's shape around them.
fn bare_values(data: &Json) -> Json {
    let Json::Object(fields) = data else { return plain(data) };
    let bare = |value: &Json| value.get("value").filter(|it| it.is_string()).cloned();
    fields.iter().map(|(name, value)| (name.clone(), bare(value).unwrap_or(plain(value)))).collect()
}

/// An audience with bare values.
fn bare_audience(audience: &Json) -> Json {
    let mut audience = plain(audience);
    let openids = audience.get_mut("openids").and_then(Json::as_array_mut);
    for data in openids.into_iter().flatten().filter_map(|one| one.get_mut("data")) {
        *data = bare_values(data);
    }
    audience
}

/// A value with its whole numbers written as such.
fn plain(value: &Json) -> Json {
    /// Whole doubles up to here are exact.
    const EXACT: f64 = 9_007_199_254_740_992.0;
    match value {
        Json::Array(items) => items.iter().map(plain).collect(),
        Json::Object(fields) => {
            fields.iter().map(|(name, value)| (name.clone(), plain(value))).collect()
        }
        Json::Number(number) if number.is_f64() => match number.as_f64() {
            #[allow(clippy::cast_possible_truncation)]
            Some(whole) if whole.fract() == 0.0 && whole.abs() < EXACT => Json::from(whole as i64),
            _ => value.clone(),
        },
        other => other.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_fingerprint_is_of_what_is_submitted_not_of_its_order_or_key() {
        let body = tree(r#"{"b":1,"a":{"y":1,"x":2},"key":"k"}"#).unwrap();
        assert_eq!(fingerprint(&body), fingerprint(&json!({"a": {"x": 2, "y": 1}, "b": 1})));
        assert_ne!(fingerprint(&body), fingerprint(&json!({"a": {"x": 2, "y": 1}, "b": 2})));
    }

    #[test]
    fn the_meaning_is_the_same_in_another_writing() {
        let of = |text: &str| meaning(&tree(text).unwrap());
        let one =
            of(r#"{"type":1001,"payload":{"n":1,"m":[100]},"due":"2026-11-23T09:00:00+08:00"}"#);
        for other in [
            r#"{"type":"1001","payload":{"n":1,"m":[100]},"due":"2026-11-23T01:00:00Z"}"#,
            r#"{"payload":{"m":[1E2],"n":1.0},"type":1001,"due":1795395600000,"key":"k"}"#,
            r#"{"type":1001,"url":null,"payload":{"n":1,"m":[100]},"due":"2026-11-23T01:00:00.000Z"}"#,
        ] {
            assert_eq!(of(other), one, "{other}");
        }
        for other in [
            r#"{"type":1001,"payload":{"n":1.5,"m":[100]},"due":"2026-11-23T01:00:00Z"}"#,
            r#"{"type":1001,"payload":{"n":"1","m":[100]},"due":"2026-11-23T01:00:00Z"}"#,
            r#"{"type":1001,"payload":{"n":1,"m":[100]},"due":"2026-11-23T01:00:01Z"}"#,
            r#"{"type":1001,"payload":{"n":1,"m":[100],"x":null},"due":"2026-11-23T01:00:00Z"}"#,
        ] {
            assert_ne!(of(other), one, "{other}");
        }
    }

    #[test]
    fn what_is_not_valid_everywhere_is_refused_with_its_place() {
        for bad in [r#"{"a":{"x":1,"x":2}}"#, r#"{"a":{"x":1e999}}"#, r#"{"a":{"x":"\ud83d"}}"#] {
            let Unread::NotJson(why) = tree(bad).unwrap_err() else { panic!("{bad}") };
            assert_eq!(why.pointer, "/a/x", "{bad}");
        }
        assert_eq!(text(b"\xef\xbb\xbf{}").unwrap(), "{}");
    }
}
