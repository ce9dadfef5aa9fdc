//! Streaming recipients into a notice, line by line and with bounded memory: NDJSON, or CSV with a header.
//!
//! Lines are stored in chunks. Chunks without values of their own can only be refused for reasons
//! that hold for all later ones as well, so a few of them are under way at once; a chunk with
//! values is waited for, so that nothing behind a refused line is ever stored.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::task::Poll;

use super::body::{self, Media, Upload};
use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::respond;
use super::{BoxFuture, Settings};
use crate::api::answers::AddedRecipients;
use crate::api::recipients::{Lines, Numbered, Wrong};
use crate::engine::command::{Command, Recipient, Reply};
use crate::id::Id;
use crate::limits;
use crate::mailbox::{CallError, Mailbox};

/// Chunks under way at once.
const WINDOW: usize = 4;
/// How much of a body is read and thrown away after a refusal, so that the client, still sending,
/// gets to read the answer.
const DISCARD_BYTES: usize = 16 * 1024 * 1024;

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
    let mailbox = port.mailbox()?.clone();
    let mut filling = Filling::new(notice, mailbox, media == Media::Csv);
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
        let lines = lines.lines();
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
    lines: Lines,
    chunk: Vec<Recipient>,
    /// The line of each recipient in the chunk.
    chunk_lines: Vec<u64>,
    /// Whether a recipient of the chunk has values of its own.
    with_data: bool,
    under_way: VecDeque<Sent>,
    added: u64,
    known: u64,
    total: u64,
}

impl Filling {
    fn new(notice: Id, mailbox: Mailbox, csv: bool) -> Self {
        Self {
            notice,
            mailbox,
            lines: Lines::new(csv),
            chunk: Vec::with_capacity(limits::STREAM_CHUNK),
            chunk_lines: Vec::with_capacity(limits::STREAM_CHUNK),
            with_data: false,
            under_way: VecDeque::with_capacity(WINDOW),
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
        let mut found = Vec::new();
        while let Some(piece) = body.piece(settings).await.map_err(Stop::Here)? {
            let read = self.lines.piece(&piece, &mut found);
            self.take(&mut found).await?;
            read.map_err(wrong)?;
        }
        found.extend(self.lines.end().map_err(wrong)?);
        self.take(&mut found).await?;
        self.send(done).await?;
        self.drain().await
    }

    async fn take(&mut self, found: &mut Vec<Numbered>) -> Result<(), Stop> {
        for (line, recipient) in found.drain(..) {
            self.with_data |= !recipient.data.is_empty();
            self.chunk.push(recipient);
            self.chunk_lines.push(line);
            if self.chunk.len() >= limits::STREAM_CHUNK {
                self.send(false).await?;
            }
        }
        Ok(())
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

/// A line that is no recipient: what came before it is kept.
fn wrong(wrong: Wrong) -> Stop {
    Stop::Here(at_line(Problem::new(422, wrong.code, wrong.detail), wrong.line))
}

fn at_line(problem: Problem, line: u64) -> Problem {
    let detail = format!("line {line}: {}; the lines before it are kept", problem.detail);
    Problem { detail, ..problem }.with("line", line)
}
