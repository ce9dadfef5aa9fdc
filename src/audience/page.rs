//! A page of recipients in JSON, and what kind of answer one is.

use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Deserialize;
use serde_json::value::RawValue;

use super::SourceError;
use crate::api::recipients;
use crate::engine::command::Recipient;
use crate::limits::URL_BYTES;
use crate::outbound;

/// What an answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shape {
    Json,
    Lines,
    Csv,
    Html,
    Unknown,
}

/// By its media type.
pub(super) fn shape(kind: Option<&HeaderValue>) -> Shape {
    let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
    let kind = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match kind.as_str() {
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Shape::Lines,
        "text/csv" => Shape::Csv,
        "text/html" | "application/xhtml+xml" => Shape::Html,
        "application/json" => Shape::Json,
        other if other.ends_with("+json") => Shape::Json,
        _ => Shape::Unknown,
    }
}

/// By how its body begins.
pub(super) fn guess(begun: &[u8]) -> Shape {
    let text = String::from_utf8_lossy(&begun[..begun.len().min(4096)]);
    let text = text.trim_start_matches('\u{feff}').trim_start();
    match text.chars().next() {
        Some('<') => Shape::Html,
        Some('[') => Shape::Json,
        // An object of a page spans it; a line's has an openid and ends with the line.
        Some('{') if text.contains("\"items\"") => Shape::Json,
        Some('{' | '"') => Shape::Lines,
        Some(_) => Shape::Csv,
        None => Shape::Lines,
    }
}

/// A page.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) items: Vec<Recipient>,
    pub(super) next: Option<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Fields<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    #[serde(default)]
    next: Option<String>,
}

const EXPECTED: &str = "expected {\"items\": [\"o…\", {\"openid\": \"o…\"}], \"next\": …}";

/// Reads a page: an object, or the bare items.
pub(super) fn read(body: &[u8]) -> Result<Page, SourceError> {
    let wrong = |why: String| SourceError::lasting(format!("{EXPECTED}, but {why}"));
    let text = std::str::from_utf8(crate::api::submitted::without_mark(body));
    let text = text.map_err(|_| wrong("it is not UTF-8".to_owned()))?.trim();
    if text.is_empty() {
        return Ok(Page::default());
    }
    if text.starts_with('<') {
        return Err(super::html());
    }
    let (items, next) = if text.starts_with('[') {
        (serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?, None)
    } else {
        let Fields { items, next } =
            serde_json::from_str(text).map_err(|error| wrong(error.to_string()))?;
        (items, next.filter(|next| !next.is_empty()))
    };
    let read = |(at, item): (usize, &&RawValue)| {
        recipients::one(item.get()).map_err(|why| wrong(format!("item {}: {why}", at + 1)))
    };
    Ok(Page { items: items.iter().enumerate().map(read).collect::<Result<_, _>>()?, next })
}

/// The address of a further page: `next` itself if it is an address on the host of `first`, else `first`
/// with `next` as its `cursor`.
pub(super) fn next_url(first: &Url, next: &str) -> Result<Url, SourceError> {
    if next.len() > URL_BYTES {
        return Err(SourceError::lasting(format!("next is longer than {URL_BYTES} bytes")));
    }
    if next.contains("://") {
        let other = || SourceError::lasting("next must be an address on the source's own host");
        return outbound::parse_url(next)
            .filter(|url| url.origin() == first.origin())
            .ok_or_else(other);
    }
    let mut url = first.clone();
    let kept: Vec<(String, String)> =
        first.query_pairs().filter(|(name, _)| name != "cursor").map(owned).collect();
    url.query_pairs_mut().clear().extend_pairs(kept).append_pair("cursor", next);
    Ok(url)
}

fn owned(
    (name, value): (std::borrow::Cow<'_, str>, std::borrow::Cow<'_, str>),
) -> (String, String) {
    (name.into_owned(), value.into_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_answer_is_known_by_its_media_type_or_its_beginning() {
        let of = |kind: &'static str| shape(Some(&HeaderValue::from_static(kind)));
        assert_eq!(of("application/json; charset=utf-8"), Shape::Json);
        assert_eq!(of("Text/CSV"), Shape::Csv);
        assert_eq!(of("application/x-ndjson"), Shape::Lines);
        assert_eq!(of("text/html"), Shape::Html);
        assert_eq!(of("text/plain"), Shape::Unknown);
        for (begun, wanted) in [
            ("<!DOCTYPE html>", Shape::Html),
            (" [\"oA\"]", Shape::Json),
            ("{\"items\": [", Shape::Json),
            ("{\"openid\": \"oA\"}\n", Shape::Lines),
            ("\"oA\"\n", Shape::Lines),
            ("\u{feff}openid,thing1\n", Shape::Csv),
            ("", Shape::Lines),
        ] {
            assert_eq!(guess(begun.as_bytes()), wanted, "{begun}");
        }
    }

    #[test]
    fn pages_are_read_and_what_is_wrong_is_named() {
        let page =
            read(br#"{"items": ["oA", {"openid": "oB", "data": {"thing1": "x"}}], "next": "2"}"#);
        let page = page.unwrap();
        assert_eq!((page.items.len(), page.next.as_deref()), (2, Some("2")));
        assert_eq!(page.items[1].data["thing1"], "x");
        assert_eq!(read(b"[\"oA\"]").unwrap().items.len(), 1);
        assert_eq!(read(b" ").unwrap(), Page::default());
        for (body, word) in [
            ("{\"item\": []}", "unknown field"),
            ("{\"next\": \"2\"}", "missing field `items`"),
            ("{\"items\": [\"o A\"]}", "item 1"),
            ("{\"items\": [7]}", "item 1"),
            ("<html>", "answers HTML"),
            ("7", "but"),
        ] {
            let why = read(body.as_bytes()).unwrap_err();
            assert!(why.reason.contains(word) && !why.passes, "{body}: {why}");
        }
    }

    #[test]
    fn a_next_page_is_on_the_same_host() {
        let first = Url::parse("http://h:1/a?tag=1&cursor=old").unwrap();
        assert_eq!(next_url(&first, "2 3").unwrap().as_str(), "http://h:1/a?tag=1&cursor=2+3");
        assert_eq!(next_url(&first, "http://h:1/b").unwrap().as_str(), "http://h:1/b");
        assert!(next_url(&first, "http://other/b").is_err());
    }
}
