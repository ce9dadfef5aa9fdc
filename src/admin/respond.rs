//! Responses: whole ones, and those that are made while they are sent.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use hyper::body::{Bytes, Frame, SizeHint};
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Response, StatusCode};
use serde::Serialize;

use super::BoxFuture;
use super::budget::Share;

pub(super) const JSON: &str = "application/json";
pub(super) const PROBLEM: &str = "application/problem+json";
pub(super) const NDJSON: &str = "application/x-ndjson";
pub(super) const CSV: &str = "text/csv; charset=utf-8";

/// A response's body.
pub(super) enum Body {
    /// All of it, until it is taken.
    Whole(Bytes),
    /// Page after page; the next one is made when this one has been taken.
    Pages(Making),
    /// Nothing more.
    Done,
}

/// A page that is being made. An error cuts the response off, so that the client notices.
pub(super) type Making = BoxFuture<'static, io::Result<Page>>;

/// One page and what makes the next.
pub(super) struct Page {
    pub(super) bytes: Bytes,
    pub(super) next: Option<Making>,
}

impl hyper::body::Body for Body {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match std::mem::replace(&mut *self, Self::Done) {
            Self::Done => Poll::Ready(None),
            Self::Whole(bytes) => Poll::Ready(Some(Ok(Frame::data(bytes)))),
            Self::Pages(mut page) => match page.as_mut().poll(context) {
                Poll::Pending => {
                    *self = Self::Pages(page);
                    Poll::Pending
                }
                Poll::Ready(Err(error)) => Poll::Ready(Some(Err(error))),
                Poll::Ready(Ok(Page { bytes, next })) => {
                    if let Some(next) = next {
                        *self = Self::Pages(next);
                    }
                    Poll::Ready(Some(Ok(Frame::data(bytes))))
                }
            },
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Done => true,
            Self::Whole(bytes) => bytes.is_empty(),
            Self::Pages(_) => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Done => SizeHint::with_exact(0),
            Self::Whole(bytes) => SizeHint::with_exact(bytes.len() as u64),
            Self::Pages(_) => SizeHint::default(),
        }
    }
}

fn of(status: StatusCode, kind: &'static str, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}

/// A response with a text of some media type.
pub(super) fn text(
    status: StatusCode,
    kind: &'static str,
    text: impl Into<Bytes>,
) -> Response<Body> {
    of(status, kind, Body::Whole(text.into()))
}

/// 200 with JSON text.
pub(super) fn raw(json: String) -> Response<Body> {
    document(StatusCode::OK, JSON, json)
}

/// An answer as JSON.
pub(super) fn json(status: StatusCode, answer: &impl Serialize) -> Response<Body> {
    // What is written has string keys only and no failing parts.
    self::document(status, JSON, serde_json::to_string(answer).unwrap_or_default())
}

/// A document of some JSON type: a line, so that a prompt does not stand behind it.
pub(super) fn document(status: StatusCode, kind: &'static str, mut json: String) -> Response<Body> {
    json.push('\n');
    text(status, kind, json)
}

/// 200 with an answer.
pub(super) fn ok(answer: &impl Serialize) -> Response<Body> {
    json(StatusCode::OK, answer)
}

/// The same, its bytes counted in `share` until the client has taken them.
pub(super) fn counted(response: Response<Body>, mut share: Share) -> Response<Body> {
    response.map(|body| match body {
        Body::Whole(bytes) => {
            share.set(bytes.len());
            Body::Whole(Bytes::from_owner(Held { bytes, _share: share }))
        }
        other => other,
    })
}

/// Bytes of an answer with what they take of the budget.
struct Held {
    bytes: Bytes,
    _share: Share,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// 200 with pages.
pub(super) fn pages(kind: &'static str, first: Making) -> Response<Body> {
    of(StatusCode::OK, kind, Body::Pages(first))
}
