//! Request bodies: whole ones within a bound, and their media types.

use std::sync::Arc;

use http_body_util::BodyExt;
use hyper::HeaderMap;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{CONTENT_ENCODING, CONTENT_TYPE};
use serde_json::Value as Json;

use super::Settings;
use super::budget::Share;
use super::port::Port;
use super::problem::Problem;
use crate::api::form::{self, Body};
use crate::api::submitted;
use crate::limits;

/// The media types that are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Media {
    Json,
    Lines,
    Csv,
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
    if !is_utf8(parameters) {
        return Err(unsupported("send the body in UTF-8"));
    }
    match kind.trim().to_ascii_lowercase().as_str() {
        "application/json" => Ok(Media::Json),
        "application/x-ndjson" | "application/ndjson" | "application/jsonl" => Ok(Media::Lines),
        "text/csv" => Ok(Media::Csv),
        _ => Err(unsupported("send Content-Type: application/json")),
    }
}

/// Whether the parameters of a media type allow what is read here. ASCII is a part of UTF-8.
fn is_utf8(parameters: &str) -> bool {
    parameters.split(';').filter_map(|one| one.split_once('=')).all(|(name, value)| {
        let value = value.trim().trim_matches('"');
        let known = ["utf-8", "utf8", "us-ascii", "ascii"];
        !name.trim().eq_ignore_ascii_case("charset")
            || known.iter().any(|known| known.eq_ignore_ascii_case(value))
    })
}

pub(super) fn unsupported(detail: &str) -> Problem {
    Problem::new(415, "unsupported_media_type", detail)
}

/// A body that is still to come, and what it may take.
pub(super) struct Upload<'a> {
    pub(super) body: &'a mut Incoming,
    pub(super) share: &'a mut Share,
    /// Most bytes of a body that is read as a whole.
    pub(super) most: usize,
}

impl Upload<'_> {
    /// Whether nothing comes (any more).
    pub(super) fn is_over(&self) -> bool {
        self.body.is_end_stream()
    }

    /// The next piece; `None` at the end.
    pub(super) async fn piece(&mut self, settings: &Settings) -> Result<Option<Bytes>, Problem> {
        piece(settings, self.body).await
    }

    /// All of it, in [`Settings::upload_timeout`].
    async fn whole(mut self, settings: &Settings) -> Result<Bytes, Problem> {
        let late = |_| Problem::new(408, "timeout", "the body came too slowly and was given up");
        tokio::time::timeout(settings.upload_timeout, self.gather(settings)).await.map_err(late)?
    }

    async fn gather(&mut self, settings: &Settings) -> Result<Bytes, Problem> {
        if self.body.size_hint().lower() > self.most as u64 {
            return Err(too_large(self.most));
        }
        let Some(first) = self.counted(settings, 0).await? else { return Ok(Bytes::new()) };
        if self.is_over() {
            return Ok(first);
        }
        let mut all = first.to_vec();
        while let Some(data) = self.counted(settings, all.len()).await? {
            all.extend_from_slice(&data);
        }
        Ok(all.into())
    }

    async fn counted(
        &mut self,
        settings: &Settings,
        before: usize,
    ) -> Result<Option<Bytes>, Problem> {
        let Some(data) = self.piece(settings).await? else { return Ok(None) };
        if before + data.len() > self.most {
            return Err(too_large(self.most));
        }
        self.share.grow(data.len()).await?;
        Ok(Some(data))
    }
}

async fn piece(settings: &Settings, body: &mut Incoming) -> Result<Option<Bytes>, Problem> {
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

fn too_large(most: usize) -> Problem {
    Problem::new(413, "body_too_large", format!("a body of this call has at most {most} bytes"))
}

/// All of a body, whatever its kind.
pub(super) async fn whole(port: &Port, body: Upload<'_>) -> Result<Bytes, Problem> {
    body.whole(&port.settings).await
}

/// All of a JSON body, as text.
pub(super) async fn json_bytes(
    port: &Port,
    headers: &HeaderMap,
    body: Upload<'_>,
) -> Result<Bytes, Problem> {
    let media = media(headers)?;
    let bytes = whole(port, body).await?;
    match media {
        Media::Json => Ok(bytes),
        Media::Absent if bytes.is_empty() => Ok(bytes),
        Media::Absent | Media::Lines | Media::Csv => {
            Err(unsupported("send Content-Type: application/json"))
        }
    }
}

/// A body as its description says; an absent one is an object without fields.
pub(super) async fn read<B: Body + Send + 'static>(
    port: &Port,
    headers: &HeaderMap,
    body: Upload<'_>,
) -> Result<B, Problem> {
    let bytes = json_bytes(port, headers, body).await?;
    off(port, bytes, |bytes| Ok(form::read(submitted::text(bytes)?)?)).await
}

/// A body of which only some fields are known; an absent one is an empty object.
pub(super) async fn json(
    port: &Port,
    headers: &HeaderMap,
    body: Upload<'_>,
) -> Result<Json, Problem> {
    let bytes = json_bytes(port, headers, body).await?;
    off(port, bytes, |bytes| match submitted::text(bytes)? {
        "" => Ok(Json::Object(serde_json::Map::new())),
        text => Ok(submitted::tree(text)?),
    })
    .await
}

/// Reads a body; a large one on a thread of its own, so that others are answered meanwhile, and
/// only so many at once, since what is made of a body is larger than the body.
pub(super) async fn off<T: Send + 'static>(
    port: &Port,
    bytes: Bytes,
    read: impl FnOnce(&[u8]) -> Result<T, Problem> + Send + 'static,
) -> Result<T, Problem> {
    if bytes.len() <= limits::ACT_BODY_BYTES {
        return read(&bytes);
    }
    let stopping = || Problem::new(503, "stopping", "the daemon is stopping: try again");
    let permit = Arc::clone(&port.parsers).acquire_owned().await.map_err(|_| stopping())?;
    let reading = tokio::task::spawn_blocking(move || {
        let read = read(&bytes);
        drop(permit);
        read
    });
    match reading.await {
        Ok(read) => read,
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(_) => Err(stopping()),
    }
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
        for charset in ["utf8", "\"utf-8\"", "us-ascii", "UTF8; x=y"] {
            let kind = format!("application/json; charset={charset}");
            let mut headers = HeaderMap::new();
            headers.insert(CONTENT_TYPE, kind.parse().unwrap());
            assert_eq!(media(&headers).ok(), Some(Media::Json), "{charset}");
        }
        assert_eq!(of("application/json; charset=gbk"), Err(415));
        assert_eq!(of("text/plain"), Err(415));
        assert_eq!(media(&HeaderMap::new()).unwrap(), Media::Absent);
    }
}
