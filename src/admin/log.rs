//! The send log: a page of JSON, or all of it as NDJSON or CSV.

use std::io;
use std::sync::atomic::Ordering;

use hyper::HeaderMap;
use hyper::header::{ACCEPT, CONTENT_DISPOSITION, HeaderValue};
use jiff::tz::TimeZone;
use tokio::sync::OwnedSemaphorePermit;

use super::call::{Answer, Call};
use super::csv;
use super::port::{Port, view};
use super::problem::Problem;
use super::query::Params;
use super::respond::{self, Making, Page as Piece};
use crate::engine::command::Command;
use crate::engine::query::{LogFilter, Page, Query};
use crate::engine::view::{Listed, LogEntry, View};
use crate::limits;
use crate::mailbox::Mailbox;
use crate::store::Order;
use crate::time::{self, Clock, SystemClock, Timestamp};

/// Rows of one page of a stream: one page is one turn of the writer.
const STREAM_ROWS: usize = 500;

/// How a stream is written.
#[derive(Clone, Debug)]
enum Format {
    Lines,
    Csv(csv::Style),
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
        marks: params.marks(),
    };
    let order = params.order(Order::Ascending);
    let mut page = params.page();
    let format = wanted(&call.head.headers, &mut params);
    params.finish()?;
    let Some(format) = format else {
        return Ok(respond::raw(port.text(Query::Log { filter, order, page }).await?));
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
    let feed = Feed { mailbox, filter, order, page, format, _place: place };
    // The first page is made before the response begins, so that a refusal is still one.
    let first = entries(port.look(feed.query()).await?)?;
    let (kind, text) = match &feed.format {
        Format::Lines => (respond::NDJSON, Vec::new()),
        Format::Csv(style) => (respond::CSV, style.heading()),
    };
    let mut response = respond::pages(kind, Box::pin(async move { feed.piece(text, first) }));
    if kind == respond::CSV {
        let name = HeaderValue::from_static("attachment; filename=\"duebox-log.csv\"");
        response.headers_mut().insert(CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

/// How the log is wanted; nothing is a page of JSON. `for=excel` is a link that people click, so it
/// needs no header.
fn wanted(headers: &HeaderMap, params: &mut Params) -> Option<Format> {
    let excel = params.named("for", "excel", |name| (name == "excel").then_some(())).is_some();
    let zone = params.named("tz", "the names of zones, such as Asia/Shanghai or UTC", time::zone);
    let media = if excel { Some(Media::Csv) } else { media(headers) };
    if zone.is_some() && media != Some(Media::Csv) {
        params.wrong("tz", "is for CSV: send Accept: text/csv, or add for=excel");
    }
    Some(match media? {
        Media::Lines => Format::Lines,
        Media::Csv => Format::Csv(csv::Style { excel, zone: zone.unwrap_or(TimeZone::UTC) }),
    })
}

/// A media type other than JSON.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Media {
    Lines,
    Csv,
}

fn media(headers: &HeaderMap) -> Option<Media> {
    let accept = headers.get(ACCEPT)?.to_str().ok()?.to_ascii_lowercase();
    let kinds = accept.split(',').map(|kind| kind.split(';').next().unwrap_or("").trim());
    // The first that is known wins; weights are not read.
    kinds.into_iter().find_map(|kind| match kind {
        "application/x-ndjson" | "application/ndjson" => Some(Some(Media::Lines)),
        "text/csv" => Some(Some(Media::Csv)),
        "application/json" | "application/*" | "*/*" => Some(None),
        _ => None,
    })?
}

/// A page of entries.
fn entries(view: View) -> Result<Listed<LogEntry>, Problem> {
    match view {
        View::Log(page) => Ok(page),
        _ => Err(Problem::unexpected()),
    }
}

/// A stream under way.
struct Feed {
    mailbox: Mailbox,
    filter: LogFilter,
    order: Order,
    page: Page,
    format: Format,
    /// Given back when the export ends, however it does.
    _place: OwnedSemaphorePermit,
}

impl Feed {
    fn query(&self) -> Query {
        Query::Log { filter: self.filter.clone(), order: self.order, page: self.page.clone() }
    }

    /// Writes a page behind `text` and says how to go on.
    fn piece(mut self, mut text: Vec<u8>, page: Listed<LogEntry>) -> io::Result<Piece> {
        for entry in page.items {
            match &self.format {
                Format::Lines => {
                    serde_json::to_writer(&mut text, &entry)?;
                    text.push(b'\n');
                }
                Format::Csv(style) => {
                    style.row(&mut text, &serde_json::to_string(&entry)?)?;
                }
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
        let page = view(reply).and_then(entries);
        self.piece(Vec::new(), page.map_err(|problem| io::Error::other(problem.detail))?)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn the_first_media_type_that_is_known_wins() {
        for (accept, wanted) in [
            ("*/*", None),
            ("text/html", None),
            ("application/json, text/csv;q=0.1", None),
            ("text/csv, application/json", Some(Media::Csv)),
            ("TEXT/CSV", Some(Media::Csv)),
            ("text/html, application/x-ndjson;q=0.9, */*", Some(Media::Lines)),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT, accept.parse().unwrap());
            assert_eq!(media(&headers), wanted, "{accept}");
        }
    }
}
