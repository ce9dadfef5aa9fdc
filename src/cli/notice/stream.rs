//! Recipients from a file: read and looked at as a whole, then sent a piece at a time.

use std::io::{BufRead, Read};

use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::super::client::Client;
use super::super::output::Failure;
use crate::api::form;
use crate::engine::command::Recipient;
use crate::limits::LINE_BYTES;
use crate::model::message::is_openid;

/// Lines of one request: large enough to be quick, small enough to show progress.
const PIECE_LINES: usize = 2_000;
/// Bytes of one request after which no further line joins it.
const PIECE_BYTES: usize = 1024 * 1024;
/// Most bytes of recipients: some millions of them.
const FILE_BYTES: u64 = 512 * 1024 * 1024;
/// Mistakes that are told.
const MISTAKES: usize = 10;

/// The recipients of a file, each right and as it is sent.
#[derive(Debug)]
pub(super) struct Recipients {
    lines: Vec<String>,
}

impl Recipients {
    /// Reads one openid or `{"openid": …, "data": …}` a line, or CSV with a heading whose first
    /// column is `openid` and whose other columns are values of the template. All of it is looked
    /// at before anything is sent: a bad line 4,000 must not leave 3,999 people written to.
    pub(super) fn read(from: Box<dyn BufRead>) -> Result<Self, Failure> {
        let mut bytes = Vec::new();
        let read = from.take(FILE_BYTES + 1).read_to_end(&mut bytes);
        read.map_err(|why| Failure::usage(format!("recipients: {why}")))?;
        if bytes.len() as u64 > FILE_BYTES {
            return Err(Failure::usage(format!("recipients: more than {FILE_BYTES} bytes"))
                .hint("send them in parts: --start-paused, then duebox notice recipients"));
        }
        let text = String::from_utf8(bytes).map_err(|error| {
            let before = &error.as_bytes()[..error.utf8_error().valid_up_to()];
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            Failure::usage(format!("recipients, line {line}: is not text in UTF-8"))
        })?;
        let text = text.trim_start_matches('\u{feff}');
        let mut read = Reading::default();
        match is_csv(text) {
            true => read.table(text),
            false => read.lines(text),
        }
        read.finish()
    }

    /// Sends all, and closes the notice's audience if it is `done`. A failure leaves the notice
    /// open and its hint says how to go on; the daemon knows an openid it has already taken.
    pub(super) fn send(&self, client: &Client, id: &str, done: bool) -> Result<Value, Failure> {
        let progress = ProgressBar::new(self.lines.len() as u64);
        if let Ok(style) = ProgressStyle::with_template("{pos} of {len} recipients, {elapsed}") {
            progress.set_style(style);
        }
        let sent = self.send_pieces(client, id, done, &progress);
        progress.finish_and_clear();
        sent.map_err(|failure| {
            failure.hint(format!(
                "notice {id} waits for more recipients; go on with: duebox notice recipients {id} \
                 FILE, or withdraw it with: duebox notice cancel {id}"
            ))
        })
    }

    fn send_pieces(
        &self,
        client: &Client,
        id: &str,
        done: bool,
        progress: &ProgressBar,
    ) -> Result<Value, Failure> {
        let path = ["v1", "notices", id, "recipients"];
        let (mut rest, mut added, mut known) = (&self.lines[..], 0, 0);
        loop {
            let (piece, behind) = rest.split_at(piece(rest));
            let last = behind.is_empty();
            let query = [("done", (last && done).then(|| "true".to_owned()))];
            let mut answer = client.post_lines(&path, &query, piece.concat())?;
            progress.inc(piece.len() as u64);
            added += answer["added"].as_u64().unwrap_or_default();
            known += answer["known"].as_u64().unwrap_or_default();
            if last {
                answer["added"] = json!(added);
                answer["known"] = json!(known);
                answer["lines"] = json!(self.lines.len());
                return Ok(answer);
            }
            rest = behind;
        }
    }
}

/// How many of the lines one request carries.
fn piece(lines: &[String]) -> usize {
    let mut bytes = 0;
    let fits = |line: &&String| {
        let fits = bytes <= PIECE_BYTES;
        bytes += line.len();
        fits
    };
    lines.iter().take(PIECE_LINES).take_while(fits).count()
}

/// Whether a text is CSV: its first line is a heading with `openid`.
fn is_csv(text: &str) -> bool {
    let first = text.lines().find(|line| !line.trim().is_empty()).unwrap_or_default();
    let mut names = first.split(',').map(|name| name.trim().trim_matches('"'));
    names.any(|name| name.eq_ignore_ascii_case("openid"))
}

/// What was read so far, and what was wrong with it.
#[derive(Default)]
struct Reading {
    lines: Vec<String>,
    mistakes: Vec<String>,
    wrong: usize,
}

impl Reading {
    fn lines(&mut self, text: &str) {
        for (at, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() {
                continue;
            }
            let told = match line.starts_with(['{', '"']) {
                false => self.recipient(&json!({ "openid": line })),
                true => match serde_json::from_str::<Value>(line) {
                    Ok(Value::String(openid)) => self.recipient(&json!({ "openid": openid })),
                    Ok(recipient) => self.recipient(&recipient),
                    Err(why) => Err(format!("not JSON: {why}")),
                },
            };
            self.tell(at + 1, told);
        }
    }

    fn table(&mut self, text: &str) {
        let mut rows = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(text.as_bytes());
        let names: Vec<String> = match rows.headers() {
            Ok(names) => names.iter().map(str::to_owned).collect(),
            Err(why) => return self.tell(1, Err(why.to_string())),
        };
        for row in rows.records() {
            match row {
                Ok(row) => {
                    let line = row.position().map_or(0, csv::Position::line);
                    let mut recipient = json!({ "data": {} });
                    for (name, value) in names.iter().zip(&row) {
                        match name.eq_ignore_ascii_case("openid") {
                            true => recipient["openid"] = json!(value),
                            false if value.is_empty() => {}
                            false => recipient["data"][name] = json!(value),
                        }
                    }
                    let told = self.recipient(&recipient);
                    self.tell(usize::try_from(line).unwrap_or_default(), told);
                }
                Err(why) => {
                    let line = why.position().map_or(0, csv::Position::line);
                    self.tell(usize::try_from(line).unwrap_or_default(), Err(why.to_string()));
                }
            }
        }
    }

    fn recipient(&mut self, given: &Value) -> Result<(), String> {
        let line = format!("{given}\n");
        if line.len() > LINE_BYTES {
            return Err("is too long".to_owned());
        }
        // As the port reads it.
        let read: Recipient = form::read(&line).map_err(|wrong| wrong.words())?;
        if !is_openid(&read.openid) {
            return Err(format!("{:?} is no openid", crate::text::cut(&read.openid, 80)));
        }
        self.lines.push(line);
        Ok(())
    }

    fn tell(&mut self, line: usize, told: Result<(), String>) {
        let Err(what) = told else { return };
        self.wrong += 1;
        if self.mistakes.len() < MISTAKES {
            self.mistakes.push(format!("recipients, line {line}: {what}"));
        }
    }

    fn finish(mut self) -> Result<Recipients, Failure> {
        if self.mistakes.is_empty() {
            return Ok(Recipients { lines: self.lines });
        }
        if self.wrong > self.mistakes.len() {
            self.mistakes.push(format!("recipients: {} lines are wrong in all", self.wrong));
        }
        Err(Failure::Told {
            exit: super::super::exit::Exit::Usage,
            errors: self.mistakes,
            hints: vec![
                "nothing was sent; one openid or {\"openid\": …, \"data\": {…}} a line, \
                         or CSV with a heading that has openid"
                    .to_owned(),
            ],
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn read(text: &str) -> Result<Vec<String>, Vec<String>> {
        match Recipients::read(Box::new(std::io::Cursor::new(text.to_owned()))) {
            Ok(recipients) => Ok(recipients.lines),
            Err(Failure::Told { errors, .. }) => Err(errors),
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_forms_of_a_line_become_json_and_empty_ones_are_passed_over() {
        let lines = read("\u{feff}oA\r\n\n{\"openid\":\"oB\"}\n\"oC\"").unwrap();
        let wanted = ["{\"openid\":\"oA\"}\n", "{\"openid\":\"oB\"}\n", "{\"openid\":\"oC\"}\n"];
        assert_eq!(lines, wanted);
        assert_eq!(read("").unwrap(), Vec::<String>::new());
    }

    #[test]
    fn a_table_gives_each_recipient_its_values() {
        let text = "\u{feff}openid,thing1,time2\r\noA,\"a, \"\"b\"\"\",\r\noB,x,2026-11-26\r\n";
        let wanted = [
            "{\"data\":{\"thing1\":\"a, \\\"b\\\"\"},\"openid\":\"oA\"}\n",
            "{\"data\":{\"thing1\":\"x\",\"time2\":\"2026-11-26\"},\"openid\":\"oB\"}\n",
        ];
        assert_eq!(read(text).unwrap(), wanted);
        let told = read("openid,thing1\noA,1\noB\n=1,2\n").unwrap_err();
        assert!(told[0].starts_with("recipients, line 3: "), "{told:?}");
        assert_eq!(told[1], "recipients, line 4: \"=1\" is no openid");
    }

    #[test]
    fn bad_lines_are_named_before_anything_is_sent() {
        let long = "x".repeat(LINE_BYTES + 1);
        for bad in
            ["{bad}", "# comment", &long, "{\"openid\":\"oB\",\"date\":{}}", "{}", "[1]", "7 8"]
        {
            let told = read(&format!("oA\n{bad}\noC\n")).unwrap_err();
            assert!(told[0].starts_with("recipients, line 2: "), "{told:?}");
            assert_eq!(told.len(), 1, "{told:?}");
        }
        let told = read(&"# x\n".repeat(25)).unwrap_err();
        assert_eq!((told.len(), told[10].as_str()), (11, "recipients: 25 lines are wrong in all"));
    }

    #[test]
    fn a_long_file_goes_in_pieces_and_nothing_is_left_out() {
        let lines: Vec<String> = (0..PIECE_LINES + 5).map(|n| format!("o{n}\n")).collect();
        assert_eq!(piece(&lines), PIECE_LINES);
        assert_eq!(piece(&lines[PIECE_LINES..]), 5);
        let long = vec!["x".repeat(PIECE_BYTES); 3];
        assert_eq!(piece(&long), 2);
        assert_eq!(piece(&[]), 0);
    }
}
