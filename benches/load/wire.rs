//! The little of HTTP/1.1 that both ends of the load need: heads, lengths, chunks.
//!
//! Hand-written so that the generator takes as little of the shared processors as it can. It reads
//! what well-behaved peers send and refuses the rest; it is no server for strangers.

use crate::Outcome;

/// Longest head that is read.
const HEAD_BYTES: usize = 64 * 1024;
/// Longest body that is read: a claim of a thousand tasks has far less.
pub(crate) const BODY_BYTES: usize = 64 * 1024 * 1024;

/// How a message says where it ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Framing {
    /// It has this many bytes.
    Length(usize),
    /// It comes in chunks.
    Chunked,
    /// It says nothing: a request without a body, or an answer like 204.
    Silent,
}

/// What matters of a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Head {
    /// Bytes up to and including the empty line.
    pub(crate) bytes: usize,
    /// Where the body ends.
    pub(crate) framing: Framing,
    /// Whether the peer hangs up after this message.
    pub(crate) closes: bool,
}

/// Reads a head, if all of it is there.
pub(crate) fn head(buffer: &[u8]) -> Outcome<Option<Head>> {
    let Some(end) = find(buffer, b"\r\n\r\n") else {
        if buffer.len() > HEAD_BYTES {
            return Err("a head without end".into());
        }
        return Ok(None);
    };
    let mut head = Head { bytes: end + 4, framing: Framing::Silent, closes: false };
    let mut at = find(&buffer[..end], b"\r\n").map_or(end, |first| first + 2);
    while at < end {
        let line_end = find(&buffer[at..end], b"\r\n").map_or(end, |length| at + length);
        field(&buffer[at..line_end], &mut head)?;
        at = line_end + 2;
    }
    Ok(Some(head))
}

fn field(line: &[u8], head: &mut Head) -> Outcome<()> {
    let colon = line.iter().position(|byte| *byte == b':').ok_or("a header without a colon")?;
    let (name, value) = (&line[..colon], line[colon + 1..].trim_ascii());
    if name.eq_ignore_ascii_case(b"content-length") {
        let length = std::str::from_utf8(value)?.parse()?;
        if length > BODY_BYTES {
            return Err(format!("a body of {length} bytes").into());
        }
        head.framing = Framing::Length(length);
    } else if name.eq_ignore_ascii_case(b"transfer-encoding") {
        if !value.eq_ignore_ascii_case(b"chunked") {
            return Err("a transfer encoding other than chunked".into());
        }
        head.framing = Framing::Chunked;
    } else if name.eq_ignore_ascii_case(b"connection") {
        head.closes = value.eq_ignore_ascii_case(b"close");
    }
    Ok(())
}

/// The status of an answer's first line.
pub(crate) fn status(buffer: &[u8]) -> Outcome<u16> {
    let digits = buffer.get(9..12).filter(|_| buffer.starts_with(b"HTTP/1.1 "));
    Ok(std::str::from_utf8(digits.ok_or("an answer that is not HTTP/1.1")?)?.parse()?)
}

/// How far the reading of a chunked body has come.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Chunks {
    /// This many bytes were taken; more must come.
    More(usize),
    /// The body is whole; this many bytes were taken, the last chunk's included.
    Whole(usize),
}

/// Moves whole chunks from `buffer` to `body`. Trailers are refused.
pub(crate) fn dechunk(buffer: &[u8], body: &mut Vec<u8>) -> Outcome<Chunks> {
    let mut at = 0;
    loop {
        let Some(line) = find(&buffer[at..], b"\r\n") else {
            if buffer.len() - at > 16 {
                return Err("a chunk without a size".into());
            }
            return Ok(Chunks::More(at));
        };
        let size = std::str::from_utf8(&buffer[at..at + line])?;
        let size = size.split_once(';').map_or(size, |(size, _)| size).trim();
        let size = usize::from_str_radix(size, 16)?;
        if size.saturating_add(body.len()) > BODY_BYTES {
            return Err("a chunked body that is too long".into());
        }
        let data = at + line + 2;
        if buffer.len() < data + size + 2 {
            return Ok(Chunks::More(at));
        }
        if &buffer[data + size..data + size + 2] != b"\r\n" {
            return Err("a chunk that does not end where it says".into());
        }
        body.extend_from_slice(&buffer[data..data + size]);
        at = data + size + 2;
        if size == 0 {
            return Ok(Chunks::Whole(at));
        }
    }
}

/// Where `wanted` begins in `text`.
pub(crate) fn find(text: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut at = 0;
    while let Some(step) = text[at..].iter().position(|byte| *byte == first) {
        at += step;
        if text[at..].starts_with(wanted) {
            return Some(at);
        }
        at += 1;
    }
    None
}

/// The text between `before` and the next quote, after `at`, and where it ends.
fn quoted_from<'t>(text: &'t str, before: &str, at: usize) -> Option<(&'t str, usize)> {
    let begin = at + text[at..].find(before)? + before.len();
    let end = begin + text[begin..].find('"')?;
    Some((&text[begin..end], end))
}

/// The first text that follows `before`, as in `"id":"`.
pub(crate) fn quoted<'t>(text: &'t str, before: &str) -> Option<&'t str> {
    quoted_from(text, before, 0).map(|(found, _)| found)
}

/// All texts that follow `before`, in order.
pub(crate) fn all_quoted<'t>(text: &'t str, before: &str) -> Vec<&'t str> {
    let mut found = Vec::new();
    let mut at = 0;
    while let Some((one, end)) = quoted_from(text, before, at) {
        found.push(one);
        at = end;
    }
    found
}
