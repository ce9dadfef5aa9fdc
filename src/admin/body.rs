//! Request bodies: whole ones within a bound, and their media types.

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::Settings;
use super::problem::Problem;
use crate::limits;

/// The media types that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Lines,
    /// None was named.
    Absent,
}

/// Reads the media type.
pub(super) fn media(headers: &HeaderMap) -> Result<Media, Problem> {
    if headers.get(CONTENT_ENCODING).is_some_and(|coding| coding != "identity") {
        return Err(unsupported("send the body without a Content-Encoding"));
    }
    let Some(value) = headers.get(CONTENT_TYPE) else { return Ok(Media::Absent) };
    let text = value.to_str().unwrap_or("");
    let (kind, parameters) = text.split_once(';').unwrap_or((text, ""));
    let charset = parameters.trim().to_ascii_lowercase();
    if charset.starts_with("charset=") && !charset.contains("utf-8") {
        return Err(unsupported("send the body in UTF-8"));
    }
    match kind.trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Media::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Media::Lines),
        _ => Err(unsupported("send Content-Type: application/json")),
    }
}

pub(super) fn unsupported(detail: &str) -> Problem {
    Problem::new(415, "unsupported_media_type", detail)
}

/// The next piece of a body; `None` at its end.
pub(super) async fn piece(
    settings: &Settings,
    body: &mut Incoming,
) -> Result<Option<Bytes>, Problem> {
    loop {
        let frame = tokio::time::timeout(settings.body_timeout, body.frame());
        match frame.await {
            Err(_) => {
                let detail = "the body stopped coming: nothing for a while";
                return Err(Problem::new(408, "timeout", detail));
            }
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) => {
                return Err(Problem::new(400, "bad_body", format!("the body broke off: {error}")));
            }
            Ok(Some(Ok(frame))) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// All of a body of at most [`limits::BODY_BYTES`].
pub(super) async fn whole(settings: &Settings, mut body: Incoming) -> Result<Bytes, Problem> {
    if body.size_hint().lower() > limits::BODY_BYTES as u64 {
        return Err(too_large());
    }
    let Some(first) = piece(settings, &mut body).await? else { return Ok(Bytes::new()) };
    if body.is_end_stream() {
        return if first.len() > limits::BODY_BYTES { Err(too_large()) } else { Ok(first) };
    }
    let mut all = first.to_vec();
    while let Some(data) = piece(settings, &mut body).await? {
        if all.len() + data.len() > limits::BODY_BYTES {
            return Err(too_large());
        }
        all.extend_from_slice(&data);
    }
    Ok(all.into())
}

fn too_large() -> Problem {
    let detail = format!("a body has at most {} bytes", limits::BODY_BYTES);
    Problem::new(413, "body_too_large", detail)
}

/// All of a JSON body, as text.
pub(super) async fn json_bytes(
    settings: &Settings,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Bytes, Problem> {
    let media = media(headers)?;
    let bytes = whole(settings, body).await?;
    match media {
        Media::Json => Ok(bytes),
        Media::Absent if bytes.is_empty() => Ok(bytes),
        Media::Absent | Media::Lines => Err(unsupported("send Content-Type: application/json")),
    }
}

/// A JSON body; an absent one is an empty object.
pub(super) async fn json(
    settings: &Settings,
    headers: &HeaderMap,
    body: Incoming,
) -> Result<Json, Problem> {
    let bytes = json_bytes(settings, headers, body).await?;
    if bytes.is_empty() { Ok(Json::Object(serde_json::Map::new())) } else { parse(&bytes) }
}

/// Parses JSON; the detail of a refusal names line and column.
pub(super) fn parse(bytes: &[u8]) -> Result<Json, Problem> {
    serde_json::from_slice(bytes).map_err(|error| bad_json(&error))
}

pub(super) fn bad_json(error: &serde_json::Error) -> Problem {
    Problem::new(400, "bad_json", format!("the body is not valid JSON: {error}"))
        .with("line", error.line())
        .with("column", error.column())
}

/// The fingerprint of a submission: the first half of the SHA-256 of its fields in the order of
/// their names, without those that say how to submit rather than what. Stored with the key: its
/// making must not change.
pub(super) fn fingerprint(body: &Json) -> u128 {
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

/// The idempotency key: the header's or the field's.
pub(super) fn key(headers: &HeaderMap, field: Option<String>) -> Result<Option<String>, Problem> {
    let Some(header) = headers.get("idempotency-key") else { return Ok(field) };
    let text = header.to_str().unwrap_or("").trim();
    let text = text.strip_prefix('"').and_then(|text| text.strip_suffix('"')).unwrap_or(text);
    if text.is_empty() || text.len() > limits::KEY_BYTES {
        let detail = format!("Idempotency-Key: 1 to {} visible characters", limits::KEY_BYTES);
        return Err(Problem::field("/key", detail));
    }
    match field {
        Some(field) if field != text => {
            Err(Problem::field("/key", "the Idempotency-Key header says something else"))
        }
        _ => Ok(Some(text.to_owned())),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn the_fingerprint_is_of_what_is_submitted_not_of_its_order_or_key() {
        let body = parse(br#"{"b":1,"a":{"y":1,"x":2},"key":"k"}"#).unwrap();
        assert_eq!(fingerprint(&body), fingerprint(&json!({"a": {"x": 2, "y": 1}, "b": 1})));
        assert_ne!(fingerprint(&body), fingerprint(&json!({"a": {"x": 2, "y": 1}, "b": 2})));
    }

    #[test]
    fn media_types_are_read() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, text.parse().unwrap());
            media(&headers).map_err(|problem| problem.status)
        };
        assert_eq!(of("application/json"), Ok(Media::Json));
        assert_eq!(of("Application/JSON; charset=UTF-8"), Ok(Media::Json));
        assert_eq!(of("application/x-ndjson"), Ok(Media::Lines));
        assert_eq!(of("application/json; charset=gbk"), Err(415));
        assert_eq!(of("text/plain"), Err(415));
        assert_eq!(media(&HeaderMap::new()).unwrap(), Media::Absent);
    }
}
