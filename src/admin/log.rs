//! The send log: a page of JSON, or all of it as NDJSON or CSV.

use std::collections::HashMap;
use std::fmt::Write;
use std::io;
use std::sync::atomic::Ordering;

use hyper::HeaderMap;
use hyper::header::ACCEPT;
use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::OwnedSemaphorePermit;

use super::port::{Port, view};
use super::problem::Problem;
use super::respond::{self, Making, Page as Piece};
use super::routes::{Answer, Call};
use crate::engine::command::Command;
use crate::engine::query::{LogFilter, Page, Query, View};
use crate::limits;
use crate::mailbox::Mailbox;
use crate::time::{Clock, SystemClock, Timestamp};

/// Rows of one page of a stream: one page is one turn of the writer.
const STREAM_ROWS: usize = 500;

/// How a stream is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    Lines,
    Csv,
}

/// `GET /v1/log`.
pub(super) async fn show(port: &Port, call: Call<'_>) -> Answer {
    let mut params = call.query();
    let mut filter = LogFilter {
        tenant: params.text("tenant"),
        openid: params.text("openid"),
        notice: params.parse("notice", "a notice's id"),
        errcode: params.parse("errcode", "a whole number"),
        from: params.time("from"),
        to: params.time("to"),
    };
    let mut page = params.page();
    params.finish()?;
    let Some(format) = format(&call.head.headers) else {
        return Ok(respond::raw(port.text(Query::Log { filter, page }).await?));
    };
    // The log grows while it is read: without an end the stream might never have one.
    let mailbox = port.mailbox()?.clone();
    let latest = Timestamp(mailbox.pulse().latest_ms.load(Ordering::Relaxed));
    filter.to.get_or_insert_with(|| SystemClock.now().max(latest).plus(1));
    page.limit = STREAM_ROWS;
    let place = port.exports.clone().try_acquire_owned().map_err(|_| {
        let most = limits::EXPORTS;
        Problem::new(503, "busy", format!("{most} exports are under way already: try again later"))
    })?;
    let feed = Feed { mailbox, filter, page, format, _place: place };
    // The first page is made before the response begins, so that a refusal is still one.
    let first = port.text(feed.query()).await?;
    let kind = match format {
        Format::Lines => respond::NDJSON,
        Format::Csv => respond::CSV,
    };
    let mut text = String::new();
    if format == Format::Csv {
        text.push_str(&COLUMNS.join(","));
        text.push_str("\r\n");
    }
    Ok(respond::pages(kind, Box::pin(async move { feed.piece(text, &first) })))
}

fn format(headers: &HeaderMap) -> Option<Format> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?;
    let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or("").trim());
    // The first that is known wins; weights are not read.
    kinds.into_iter().find_map(|kind| match kind {
        "application/x-ndjson" | "application/ndjson" => Some(Some(Format::Lines)),
        "text/csv" => Some(Some(Format::Csv)),
        "application/json" | "application/*" | "*/*" => Some(None),
        _ => None,
    })?
}

/// A page of entries, each as it is written.
#[derive(Deserialize)]
struct Entries<'a> {
    #[serde(borrow)]
    items: Vec<&'a RawValue>,
    cursor: Option<String>,
}

/// A stream under way.
struct Feed {
    mailbox: Mailbox,
    filter: LogFilter,
    page: Page,
    format: Format,
    /// Given back when the export ends, however it does.
    _place: OwnedSemaphorePermit,
}

impl Feed {
    fn query(&self) -> Query {
        Query::Log { filter: self.filter.clone(), page: self.page.clone() }
    }

    /// Writes a page behind `text` and says how to go on.
    fn piece(mut self, mut text: String, page: &str) -> io::Result<Piece> {
        let page: Entries<'_> = serde_json::from_str(page).map_err(io::Error::other)?;
        for item in page.items {
            match self.format {
                // Writing to a string cannot fail.
                Format::Lines => drop(writeln!(text, "{item}")),
                Format::Csv => push_row(&mut text, item.get()).map_err(io::Error::other)?,
            }
        }
        let next = page.cursor.map(|cursor| -> Making {
            self.page.cursor = Some(cursor);
            Box::pin(self.next())
        });
        Ok(Piece { bytes: text.into(), next })
    }

    async fn next(self) -> io::Result<Piece> {
        let reply = self.mailbox.call(Command::Query(self.query())).await;
        let reply = reply.map_err(io::Error::other)?;
        let cut_off = |problem: Problem| io::Error::other(problem.detail);
        match view(reply).map_err(cut_off)? {
            View::Json(page) => self.piece(String::new(), &page),
            View::Stats(_) | View::Attention(_) => {
                Err(io::Error::other("the engine gave something else for a page"))
            }
        }
    }
}

const COLUMNS: [&str; 19] = [
    "id",
    "at",
    "tenant",
    "notice",
    "delivery",
    "openid",
    "attempt",
    "duration_ms",
    "class",
    "errcode",
    "errmsg",
    "msgid",
    "rid",
    "template_id",
    "title",
    "request",
    "response",
    "worker",
    "term",
];

fn push_row(text: &mut String, item: &str) -> serde_json::Result<()> {
    let fields: HashMap<&str, &RawValue> = serde_json::from_str(item)?;
    for (at, column) in COLUMNS.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match fields.get(column).map(|value| value.get()) {
            None | Some("null") => {}
            Some(value) if value.starts_with('"') => {
                push_cell(text, &serde_json::from_str::<String>(value)?);
            }
            // A number, or a document as it is.
            Some(value) => push_cell(text, value),
        }
    }
    text.push_str("\r\n");
    Ok(())
}

/// One cell as of RFC 4180: quoted when it must be, quotes doubled.
fn push_cell(text: &mut String, value: &str) {
    if value.contains(['"', ',', '\r', '\n']) {
        text.push('"');
        text.push_str(&value.replace('"', "\"\""));
        text.push('"');
    } else {
        text.push_str(value);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use serde_json::json;

    #[test]
    fn the_first_media_type_that_is_known_wins() {
        for (accept, wanted) in [
            ("*/*", None),
            ("text/html", None),
            ("application/json, text/csv;q=0.1", None),
            ("text/csv, application/json", Some(Format::Csv)),
            ("text/html, application/x-ndjson;q=0.9, */*", Some(Format::Lines)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(format(&headers), wanted, "{accept}");
        }
    }

    #[test]
    fn cells_are_quoted_when_they_must_be() {
        let mut text = String::new();
        let item = json!({"id": "1", "errmsg": "a \"b\", c\nd", "errcode": 0});
        push_row(&mut text, &item.to_string()).unwrap();
        assert_eq!(text, "1,,,,,,,,,0,\"a \"\"b\"\", c\nd\",,,,,,,,\r\n");
    }
}
