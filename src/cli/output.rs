//! The human side of the terminal.
//!
//! The rules, once:
//! - What was asked for goes to standard output; everything else goes to standard error.
//! - An error is `error: lower case, no period`. What to do about it follows as `hint: …` lines.
//! - A warning is `warning: …` and changes no exit code.
//! - With `--json`, standard output is the daemon's answer and nothing else.
//! - Progress is drawn on standard error, and only when that is a terminal.
//! - A reader that goes away (`| head`) ends the program quietly.
//! - Texts from elsewhere are shown without control characters, so that no title moves the cursor.

use std::io::{self, Write};

use super::exit::Exit;
use crate::logger;

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
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

/// The text without control characters.
pub(super) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
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
    fn control_characters_are_blanked() {
        assert_eq!(clean("a\u{1b}[2Jb\nc通"), "a [2Jb c通");
    }
}
