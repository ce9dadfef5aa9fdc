//! Streaming recipients into a notice, line by line and with bounded memory: NDJSON, or CSV with a header.
//!
//! Lines are stored in chunks. Chunks without values of their own can only be refused for reasons
//! that hold for all later ones as well, so a few of them are under way at once; a chunk with
//! values is waited for, so that nothing behind a refused line is ever stored.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::future::poll_fn;
use std::task::Poll;

use serde::Deserialize;

use super::body::{self, Media, Upload};
use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::respond;
use super::{BoxFuture, Settings};
use crate::api::answers::AddedRecipients;
use crate::api::submitted;
use crate::engine::command::{Command, Recipient, Reply};
use crate::id::Id;
use crate::json as strict;
use crate::limits;
use crate::mailbox::{CallError, Mailbox};
use crate::model::message::{is_openid, json_bytes};

/// Chunks under way at once.
const WINDOW: usize = 4;
/// How much of a body is read and thrown away after a refusal, so that the client, still sending,
/// gets to read the answer.
const DISCARD_BYTES: usize = 16 * 1024 * 1024;

/// One line: an object, or the bare openid as a JSON string.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Line<'a> {
    #[serde(borrow)]
    openid: Cow<'a, str>,
    #[serde(default)]
    data: BTreeMap<String, Value>,
}

/// A template value: a text, or one as WeChat itself takes it.
#[derive(Deserialize)]
#[serde(untagged, expecting = "a value is a string, or {\"value\": a string}")]
enum Value {
    Text(String),
    Wrapped(Wrapped),
}

/// WeChat's own shape; it no longer shows the colour.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Wrapped {
    value: String,
    #[serde(default, rename = "color")]
    _color: Option<String>,
}

impl From<Value> for String {
    fn from(value: Value) -> Self {
        match value {
            Value::Text(text) | Value::Wrapped(Wrapped { value: text, .. }) => text,
        }
    }
}

/// Why the stream was not taken to its end.
enum Stop {
    /// What came before is good and shall be kept.
    Here(Problem),
    /// A chunk was refused: nothing behind it is kept.
    Refused(Problem),
}

/// `POST /v1/notices/{id}/recipients`.
pub(super) async fn stream(port: &Port, call: Call<'_>) -> Answer {
    let notice: Id = call.named(0, "notice")?;
    let mut params = call.query();
    let done = params.flag("done");
    params.finish()?;
    // An empty body may close the notice without naming a media type.
    let media = body::media(&call.head.headers)?;
    let wrong = media == Media::Json || (media == Media::Absent && !call.body.is_over());
    if wrong {
        let detail = "send one recipient per line as application/x-ndjson or text/csv";
        return Err(body::unsupported(detail));
    }
    let _place = port.streams.clone().try_acquire_owned().map_err(|_| {
        let most = limits::STREAMS;
        Problem::new(503, "busy", format!("{most} streams are under way already: try again soon"))
    })?;
    let mut filling = Filling::new(notice, port.mailbox()?.clone());
    filling.table = (media == Media::Csv).then(Table::default);
    let mut body = call.body;
    let taken = match filling.fill(&port.settings, &mut body, done).await {
        Ok(()) => Ok(()),
        Err(Stop::Refused(problem)) => Err(problem),
        Err(Stop::Here(problem)) => match filling.send(false).await {
            Ok(()) => Err(problem),
            Err(Stop::Here(earlier) | Stop::Refused(earlier)) => Err(earlier),
        },
    };
    let earlier = filling.drain().await;
    let Err(problem) = taken.and(earlier.map_err(Stop::into_problem)) else {
        let Filling { added, known, total, lines, .. } = filling;
        return Ok(respond::ok(&AddedRecipients { added, known, total, lines, closed: done }));
    };
    discard(&port.settings, &mut body).await;
    Err(problem.with("added", filling.added).with("known", filling.known))
}

impl Stop {
    fn into_problem(self) -> Problem {
        match self {
            Self::Here(problem) | Self::Refused(problem) => problem,
        }
    }
}

async fn discard(settings: &Settings, body: &mut Upload<'_>) {
    let mut bytes = 0;
    while let Ok(Some(data)) = body.piece(settings).await {
        bytes += data.len();
        if bytes > DISCARD_BYTES {
            return;
        }
    }
}

/// A chunk on its way: the lines it was made of, and its answer to come.
struct Sent {
    lines: Vec<u64>,
    reply: BoxFuture<'static, Result<Reply, CallError>>,
}

/// A stream being taken in.
struct Filling {
    notice: Id,
    mailbox: Mailbox,
    /// Of CSV: its columns.
    table: Option<Table>,
    chunk: Vec<Recipient>,
    /// The line of each recipient in the chunk.
    chunk_lines: Vec<u64>,
    /// Whether a recipient of the chunk has values of its own.
    with_data: bool,
    under_way: VecDeque<Sent>,
    lines: u64,
    added: u64,
    known: u64,
    total: u64,
}

impl Filling {
    fn new(notice: Id, mailbox: Mailbox) -> Self {
        Self {
            notice,
            mailbox,
            table: None,
            chunk: Vec::with_capacity(limits::STREAM_CHUNK),
            chunk_lines: Vec::with_capacity(limits::STREAM_CHUNK),
            with_data: false,
            under_way: VecDeque::with_capacity(WINDOW),
            lines: 0,
            added: 0,
            known: 0,
            total: 0,
        }
    }

    /// Takes the whole body. On success everything is stored.
    async fn fill(
        &mut self,
        settings: &Settings,
        body: &mut Upload<'_>,
        done: bool,
    ) -> Result<(), Stop> {
        let mut begun: Vec<u8> = Vec::new();
        while let Some(piece) = body.piece(settings).await.map_err(Stop::Here)? {
            let mut rest = &piece[..];
            while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
                let (line, behind) = rest.split_at(end);
                if self.goes_on(&begun, line) {
                    begun.extend_from_slice(line);
                    begun.push(b'\n');
                } else if begun.is_empty() {
                    self.line(line).await?;
                } else {
                    begun.extend_from_slice(line);
                    self.line(&begun).await?;
                    begun.clear();
                }
                rest = behind.get(1..).unwrap_or_default();
            }
            if begun.len() + rest.len() > limits::LINE_BYTES {
                return Err(self.bad("bad_line", "it is longer than a line may be"));
            }
            begun.extend_from_slice(rest);
        }
        if !begun.is_empty() {
            self.line(&begun).await?;
        }
        self.send(done).await?;
        self.drain().await
    }

    /// Whether a line of CSV ends within quotes.
    fn goes_on(&self, begun: &[u8], line: &[u8]) -> bool {
        let quotes = begun.iter().chain(line).filter(|byte| **byte == b'"').count();
        self.table.is_some() && quotes % 2 == 1 && begun.len() + line.len() < limits::LINE_BYTES
    }

    fn bad(&self, code: &'static str, detail: impl std::fmt::Display) -> Stop {
        let line = self.lines + 1;
        Stop::Here(at_line(Problem::new(422, code, detail.to_string()), line))
    }

    async fn line(&mut self, line: &[u8]) -> Result<(), Stop> {
        let breaks = line.iter().filter(|byte| **byte == b'\n').count() as u64;
        let line = if self.lines == 0 { submitted::without_mark(line) } else { line }.trim_ascii();
        if line.is_empty() {
            self.lines += 1;
            return Ok(());
        }
        let read = match &mut self.table {
            Some(table) => table.read(line),
            None => read(line).map(Some).map_err(|error| without_line(&error)),
        };
        let told = |why: String| crate::text::cut(&why, limits::TEXT_BYTES).to_owned();
        let found = read.map_err(|why| self.bad("bad_line", told(why)))?;
        let Some(recipient) = found else {
            self.lines += 1 + breaks;
            return Ok(());
        };
        if !is_openid(&recipient.openid) {
            let shown = crate::text::cut(&recipient.openid, 80).to_owned();
            return Err(self.bad("bad_openid", format_args!("{shown:?} is no openid")));
        }
        if json_bytes(&recipient.data) > limits::OVERRIDE_BYTES {
            let detail = format!("its data has more than {} bytes", limits::OVERRIDE_BYTES);
            return Err(self.bad("bad_line", detail));
        }
        self.lines += 1 + breaks;
        self.with_data |= !recipient.data.is_empty();
        self.chunk.push(recipient);
        self.chunk_lines.push(self.lines);
        if self.chunk.len() >= limits::STREAM_CHUNK { self.send(false).await } else { Ok(()) }
    }

    /// Puts the chunk into the mailbox. Also an empty one: it may close the notice, and its answer
    /// tells the total.
    async fn send(&mut self, done: bool) -> Result<(), Stop> {
        if self.under_way.len() >= WINDOW {
            self.take_answer().await?;
        }
        let fresh = || Vec::with_capacity(limits::STREAM_CHUNK);
        let recipients = std::mem::replace(&mut self.chunk, fresh());
        let lines = std::mem::replace(&mut self.chunk_lines, Vec::with_capacity(recipients.len()));
        let alone = std::mem::take(&mut self.with_data);
        let (mailbox, notice) = (self.mailbox.clone(), self.notice);
        let mut reply: BoxFuture<'static, Result<Reply, CallError>> = Box::pin(async move {
            mailbox.call(Command::AddRecipients { notice, recipients, done }).await
        });
        // The first poll puts the command into the mailbox, or in line for it: order is kept.
        let early = poll_fn(|context| Poll::Ready(reply.as_mut().poll(context))).await;
        if let Poll::Ready(early) = early {
            reply = Box::pin(std::future::ready(early));
        }
        self.under_way.push_back(Sent { lines, reply });
        if alone { self.drain().await } else { Ok(()) }
    }

    /// Waits for all answers; gives the first refusal.
    async fn drain(&mut self) -> Result<(), Stop> {
        let mut result = Ok(());
        while !self.under_way.is_empty() {
            let one = self.take_answer().await;
            result = result.and(one);
        }
        result
    }

    async fn take_answer(&mut self) -> Result<(), Stop> {
        let Some(sent) = self.under_way.pop_front() else { return Ok(()) };
        let reply = sent.reply.await.map_err(|error| Stop::Refused(error.into()))?;
        let Reply::Added { added, known, refused, total } = reply else {
            return Err(Stop::Refused(Problem::unexpected()));
        };
        self.added += u64::from(added);
        self.known += u64::from(known);
        self.total = u64::from(total);
        match refused {
            None => Ok(()),
            Some((at, refusal)) => {
                let line = sent.lines.get(at).copied().unwrap_or_default();
                Err(Stop::Refused(at_line(refusal.into(), line)))
            }
        }
    }
}

fn at_line(problem: Problem, line: u64) -> Problem {
    let detail = format!("line {line}: {}; the lines before it are kept", problem.detail);
    Problem { detail, ..problem }.with("line", line)
}

/// Recipients as a table: the first line names the columns, `openid` and the values they have of their
/// own. An empty cell is no value.
#[derive(Default)]
struct Table {
    columns: Vec<String>,
}

impl Table {
    /// Reads a line; the first one gives no recipient.
    fn read(&mut self, line: &[u8]) -> Result<Option<Recipient>, String> {
        if line.iter().filter(|byte| **byte == b'"').count() % 2 == 1 {
            return Err("a quote is opened and not closed".to_owned());
        }
        let reader = csv::ReaderBuilder::new().has_headers(false).from_reader(line);
        let record = reader.into_records().next().unwrap_or_else(|| Ok(csv::StringRecord::new()));
        let cells = record.map_err(|error| match error.kind() {
            csv::ErrorKind::Utf8 { .. } => "it is not UTF-8".to_owned(),
            _ => error.to_string(),
        })?;
        if self.columns.is_empty() {
            return self.name_columns(&cells).map(|()| None);
        }
        let (count, most) = (cells.len(), self.columns.len());
        if count != most {
            return Err(format!("it has {count} fields, the first line has {most}"));
        }
        let mut recipient = Recipient::default();
        for (column, cell) in self.columns.iter().zip(&cells) {
            let cell = cell.trim();
            if is_openid_column(column) {
                recipient.openid = cell.to_owned();
            } else if !cell.is_empty() {
                recipient.data.insert(column.clone(), cell.to_owned());
            }
        }
        Ok(Some(recipient))
    }

    fn name_columns(&mut self, cells: &csv::StringRecord) -> Result<(), String> {
        let columns: Vec<String> = cells.iter().map(|cell| cell.trim().to_owned()).collect();
        if let Some(twice) = columns.iter().enumerate().find(|(at, it)| columns[..*at].contains(it))
        {
            return Err(format!("the column {:?} is there twice", twice.1));
        }
        if !columns.iter().any(|column| is_openid_column(column)) {
            let first = columns.join(", ");
            return Err(format!(
                "the first line names the columns, and there is no column openid: {first}"
            ));
        }
        self.columns = columns;
        Ok(())
    }
}

/// The column that must be there.
fn is_openid_column(name: &str) -> bool {
    name.eq_ignore_ascii_case("openid")
}

/// What is wrong within a line; the line's own number is told already.
fn without_line(error: &serde_json::Error) -> String {
    let text = error.to_string();
    match text.rsplit_once(" at line ") {
        Some((text, _)) if error.column() > 0 => format!("{text} at column {}", error.column()),
        Some((text, _)) => text.to_owned(),
        None => text,
    }
}

fn read(line: &[u8]) -> serde_json::Result<Recipient> {
    // A name that is given twice would be taken once, silently.
    if let Ok(text) = std::str::from_utf8(line)
        && let Err(why) = strict::check(text)
    {
        return Err(serde::de::Error::custom(match why.pointer.as_str() {
            "" => why.detail,
            pointer => format!("{pointer}: {}", why.detail),
        }));
    }
    if line.first() == Some(&b'"') {
        let openid = serde_json::from_slice(line)?;
        return Ok(Recipient { openid, data: BTreeMap::new() });
    }
    let line: Line<'_> = serde_json::from_slice(line)?;
    let data = line.data.into_iter().map(|(name, value)| (name, value.into())).collect();
    Ok(Recipient { openid: line.openid.into_owned(), data })
}
