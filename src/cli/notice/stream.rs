//! Streaming a file of recipients into a notice, a piece at a time.

use std::io::BufRead;

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::output::Failure;
use crate::limits::LINE_BYTES;

/// Lines of one request: large enough to be quick, small enough to show progress.
const PIECE_LINES: usize = 2_000;
/// Bytes of one request after which no further line joins it.
const PIECE_BYTES: usize = 1024 * 1024;

/// Sends all lines, then closes the notice's audience. A failure leaves the notice open and its
/// hint says how to go on; the daemon knows an openid it has already taken.
pub(super) fn send(client: &Client, id: &str, lines: Box<dyn BufRead>) -> Result<(), Failure> {
    let progress = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{pos} recipients, {per_sec}, {elapsed}") {
        progress.set_style(style);
    }
    let sent = send_pieces(client, id, lines, &progress);
    progress.finish_and_clear();
    sent.map_err(|failure| {
        failure.hint(format!(
            "notice {id} waits for more recipients; stream the rest with \
             POST /v1/notices/{id}/recipients?done=true, or: duebox notice cancel {id}"
        ))
    })
}

fn send_pieces(
    client: &Client,
    id: &str,
    lines: Box<dyn BufRead>,
    progress: &ProgressBar,
) -> Result<(), Failure> {
    let path = ["v1", "notices", id, "recipients"];
    let mut pieces = Pieces { lines, number: 0 };
    loop {
        let piece = pieces.next_piece()?;
        let done = piece.last.then(|| "true".to_owned());
        client.post_lines(&path, &[("done", done)], piece.body)?;
        progress.inc(piece.count);
        if piece.last {
            return Ok(());
        }
    }
}

/// The rest of a file, cut into pieces.
struct Pieces {
    lines: Box<dyn BufRead>,
    number: u64,
}

/// What one request carries.
struct Piece {
    body: String,
    count: u64,
    last: bool,
}

impl Pieces {
    fn next_piece(&mut self) -> Result<Piece, Failure> {
        let mut piece = Piece { body: String::new(), count: 0, last: false };
        for _ in 0..PIECE_LINES {
            if PIECE_BYTES < piece.body.len() {
                break;
            }
            let Some(line) = self.next_line()? else {
                piece.last = true;
                break;
            };
            if let Some(recipient) = self.recipient(&line)? {
                piece.body.push_str(&recipient.to_string());
                piece.body.push('\n');
                piece.count += 1;
            }
        }
        Ok(piece)
    }

    fn next_line(&mut self) -> Result<Option<String>, Failure> {
        let mut line = Vec::new();
        self.number += 1;
        let bound = u64::try_from(LINE_BYTES + 1).unwrap_or(u64::MAX);
        let mut bounded = std::io::Read::take(&mut self.lines, bound);
        let read = bounded.read_until(b'\n', &mut line);
        let read = read.map_err(|why| self.told(&why.to_string()))?;
        if LINE_BYTES < read {
            return Err(self.told("is too long"));
        }
        let line = String::from_utf8(line).map_err(|_| self.told("is not text in UTF-8"))?;
        Ok((0 < read).then_some(line))
    }

    /// The recipient of a line, or nothing for an empty one.
    fn recipient(&self, line: &str) -> Result<Option<Value>, Failure> {
        let line = line.trim().trim_start_matches('\u{feff}');
        if line.is_empty() {
            return Ok(None);
        }
        if !line.starts_with('{') {
            return Ok(Some(json!({ "openid": line })));
        }
        serde_json::from_str(line).map(Some).map_err(|why| self.told(&format!("not JSON: {why}")))
    }

    fn told(&self, what: &str) -> Failure {
        Failure::usage(format!("recipients, line {}: {what}", self.number))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn pieces(text: &str) -> Pieces {
        Pieces { lines: Box::new(std::io::Cursor::new(text.to_owned())), number: 0 }
    }

    #[test]
    fn both_forms_of_a_line_become_json_and_empty_ones_are_passed_over() {
        let piece = pieces("oA\r\n\n{\"openid\":\"oB\"}").next_piece().unwrap();
        assert_eq!(piece.body, "{\"openid\":\"oA\"}\n{\"openid\":\"oB\"}\n");
        assert!(piece.last && piece.count == 2);
    }

    #[test]
    fn a_long_file_comes_in_pieces_and_nothing_is_left_out() {
        let text: String = (0..PIECE_LINES + 5).map(|n| format!("o{n}\n")).collect();
        let mut rest = pieces(&text);
        let first = rest.next_piece().unwrap();
        let second = rest.next_piece().unwrap();
        assert_eq!((first.count, first.last), (2_000, false));
        assert_eq!((second.count, second.last), (5, true));
    }

    #[test]
    fn a_bad_line_is_named() {
        for text in ["oA\n{bad}\n", &format!("oA\n{}\n", "x".repeat(LINE_BYTES + 1))] {
            let Err(Failure::Told { errors, .. }) = pieces(text).next_piece() else { panic!() };
            assert!(errors[0].starts_with("recipients, line 2: "), "{errors:?}");
        }
    }
}
