//! The human side of the terminal.
//!
//! The rules, once:
//! - What was asked for goes to standard output; everything else goes to standard error.
//! - An error is `error: lower case, no period`. What to do about it follows as `hint: …` lines.
//! - A warning is `warning: …` and changes no exit code.
//! - With `--json`, standard output is the daemon's answer and nothing else.
//! - Progress is drawn on standard error, and only when that is a terminal.
//! - A reader that goes away (`| head`) ends the program quietly.
//! - Texts from elsewhere are shown without what a terminal would obey: no title moves the cursor.

use std::io::{self, IsTerminal as _, Write};

use super::exit::Exit;
use crate::logger;
pub(super) use crate::text::clean;
use crate::text::is_obeyed;

/// Why a command did not do what it was asked.
#[derive(Debug)]
pub(super) enum Failure {
    /// Something to tell.
    Told {
        /// The code to end with.
        exit: Exit,
        /// `error:` lines.
        errors: Vec<String>,
        /// `hint:` lines.
        hints: Vec<String>,
    },
    /// The reader of standard output went away. Not worth a word.
    ReaderGone,
}

impl Failure {
    /// A wrong argument.
    pub(super) fn usage(error: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Usage, errors: vec![error.into()], hints: Vec::new() }
    }

    /// Something that went wrong on the way.
    pub(super) fn fault(error: impl Into<String>) -> Self {
        Self::Told { exit: Exit::Fault, errors: vec![error.into()], hints: Vec::new() }
    }

    /// Ends with this code instead.
    pub(super) fn ends_with(mut self, code: Exit) -> Self {
        if let Self::Told { exit, .. } = &mut self {
            *exit = code;
        }
        self
    }

    /// Nothing went wrong on the way, but the answer is not a good one, and was shown.
    pub(super) fn shown(exit: Exit) -> Self {
        Self::Told { exit, errors: Vec::new(), hints: Vec::new() }
    }

    /// Adds what to do about it.
    pub(super) fn hint(mut self, hint: impl Into<String>) -> Self {
        if let Self::Told { hints, .. } = &mut self {
            hints.push(hint.into());
        }
        self
    }
}

impl From<io::Error> for Failure {
    /// An error of standard output.
    fn from(why: io::Error) -> Self {
        if why.kind() == io::ErrorKind::BrokenPipe {
            return Self::ReaderGone;
        }
        Self::fault(format!("standard output: {why}"))
    }
}

/// Tells a failure, if there is one, and gives the code to end with.
pub(super) fn finish(result: Result<(), Failure>) -> Exit {
    match result {
        Ok(()) | Err(Failure::ReaderGone) => Exit::Ok,
        Err(Failure::Told { exit, errors, hints }) => {
            errors.iter().for_each(|line| say("error", line));
            hints.iter().for_each(|line| say("hint", line));
            exit
        }
    }
}

/// Writes one line to standard error. Nobody is left to tell when that fails.
pub(super) fn say(kind: &str, line: &str) {
    for line in line.lines() {
        let line = format!("{kind}: {}", clean(line));
        // A daemon's standard error may be a pipe that nobody reads.
        if !logger::say(&line) {
            let _ = writeln!(io::stderr(), "{line}");
        }
    }
}

/// Writes text to standard output.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    write_out(text, Escape::Blank)
}

/// Writes JSON to standard output.
pub(super) fn print_json(text: &str) -> Result<(), Failure> {
    write_out(text, Escape::Json)
}

fn write_out(text: &str, escape: Escape) -> Result<(), Failure> {
    let mut out = Copied::new(escape);
    out.write(text.as_bytes())?;
    Ok(out.end()?)
}

/// What stands on a terminal for what it would obey. Line ends and tabs stay.
#[derive(Clone, Copy, Debug)]
pub(super) enum Escape {
    /// A space.
    Blank,
    /// What JSON writes for it, so that it stays the same document.
    Json,
}

/// Text on its way to standard output: as it is into a file or a pipe, harmless on a terminal.
pub(super) struct Copied {
    out: io::StdoutLock<'static>,
    escape: Option<Escape>,
    /// The beginning of a character.
    begun: Vec<u8>,
}

impl Copied {
    pub(super) fn new(escape: Escape) -> Self {
        let out = io::stdout().lock();
        let escape = out.is_terminal().then_some(escape);
        Self { out, escape, begun: Vec::new() }
    }

    pub(super) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.escape {
            None => self.out.write_all(bytes),
            Some(escape) => {
                self.begun.extend_from_slice(bytes);
                self.out.write_all(escape.whole(&mut self.begun).as_bytes())
            }
        }
    }

    pub(super) fn end(mut self) -> io::Result<()> {
        let rest = String::from_utf8_lossy(&self.begun).into_owned();
        self.out.write_all(rest.as_bytes())?;
        self.out.flush()
    }
}

impl Escape {
    /// Takes the whole characters from `bytes` and makes them harmless.
    fn whole(self, bytes: &mut Vec<u8>) -> String {
        let end = match std::str::from_utf8(bytes) {
            Ok(_) => bytes.len(),
            // Cut off within a character: the rest of it comes.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => bytes.len(),
        };
        let rest = bytes.split_off(end);
        let text = String::from_utf8_lossy(&std::mem::replace(bytes, rest)).into_owned();
        let mut shown = String::with_capacity(text.len());
        for c in text.chars() {
            match self {
                _ if matches!(c, '\n' | '\r' | '\t') || !is_obeyed(c) => shown.push(c),
                Self::Blank => shown.push(' '),
                Self::Json => {
                    for unit in c.encode_utf16(&mut [0; 2]) {
                        shown.push_str(&format!("\\u{unit:04x}"));
                    }
                }
            }
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_that_went_away_is_no_error() {
        let gone = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(finish(Err(gone)), Exit::Ok);
        let full = Failure::from(io::Error::from(io::ErrorKind::StorageFull));
        assert_eq!(finish(Err(full)), Exit::Fault);
    }

    #[test]
    fn a_terminal_gets_nothing_to_obey_however_it_comes() {
        let text = "\"a\u{1b}]0;x\u{9b}2J\u{202e}通\u{e0041}\"\r\n";
        let mut begun = Vec::new();
        let mut shown = String::new();
        for byte in text.bytes() {
            begun.push(byte);
            shown.push_str(&Escape::Json.whole(&mut begun));
        }
        assert!(begun.is_empty());
        assert_eq!(shown, "\"a\\u001b]0;x\\u009b2J\\u202e通\\udb40\\udc41\"\r\n");
        let read: String = serde_json::from_str(&shown).unwrap_or_default();
        assert_eq!(read, text.trim().trim_matches('"'));
        assert_eq!(Escape::Blank.whole(&mut text.as_bytes().to_vec()), "\"a ]0;x 2J 通 \"\r\n");
        assert_eq!(Escape::Blank.whole(&mut b"a\xff\x1bb".to_vec()), "a\u{fffd} b");
    }
}
