//! Argument values with a form of their own.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read};

use serde_json::Value;
use serde_json::value::RawValue;

use super::output::Failure;
use crate::limits::BODY_BYTES;
use crate::time::{Timestamp, parse_duration_ms};

/// A point in time, as RFC 3339 with a zone or epoch milliseconds.
pub(super) fn time(text: &str) -> Result<Timestamp, String> {
    let number = text.parse::<i64>().ok().map(Timestamp::from_number);
    number.unwrap_or_else(|| Timestamp::parse(text)).map_err(|why| why.to_string())
}

/// A duration with its unit, in milliseconds.
pub(super) fn duration_ms(text: &str) -> Result<u64, String> {
    parse_duration_ms(text).ok_or_else(|| "give a number and ms, s, m, h or d: 30s".to_owned())
}

/// `name=value`.
pub(super) fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("give name=value")?;
    Ok((name.to_owned(), value.to_owned()))
}

/// A file to read line by line; `-` is standard input.
pub(super) fn open(path: &str) -> Result<Box<dyn BufRead>, Failure> {
    if path == "-" {
        return Ok(Box::new(BufReader::new(io::stdin())));
    }
    let file = File::open(path).map_err(|why| Failure::usage(format!("{path}: {why}")))?;
    Ok(Box::new(BufReader::new(file)))
}

/// JSON in a file; `-` is standard input.
pub(super) fn json_file(path: &str) -> Result<Value, Failure> {
    let text = file_text(path)?;
    serde_json::from_str(&text).map_err(|why| Failure::usage(format!("{path}: not JSON: {why}")))
}

fn file_text(path: &str) -> Result<String, Failure> {
    let mut text = String::new();
    let bound = u64::try_from(BODY_BYTES + 1).unwrap_or(u64::MAX);
    let read = open(path)?.take(bound).read_to_string(&mut text);
    read.map_err(|why| Failure::usage(format!("{path}: {why}")))?;
    if BODY_BYTES < text.len() {
        return Err(Failure::usage(format!("{path}: is larger than {BODY_BYTES} bytes")));
    }
    Ok(text)
}

/// JSON given as itself, as `@file`, or as `-` for standard input: its text as it came.
pub(super) fn json_text(text: &str) -> Result<String, Failure> {
    let (text, hint) = match text.strip_prefix('@') {
        Some(path) => (file_text(path)?, "is it the right file?"),
        None if text == "-" => (file_text(text)?, "is it the right input?"),
        None => (
            text.to_owned(),
            "quote it for the shell: '{\"id\": 7}', or name a file: @payload.json",
        ),
    };
    match serde_json::from_str::<&RawValue>(&text) {
        Ok(value) => Ok(value.get().to_owned()),
        Err(why) => Err(Failure::usage(format!("not JSON: {why}")).hint(hint)),
    }
}

/// A JSON object without the fields that have no value.
pub(super) fn object(fields: &[(&str, Option<Value>)]) -> Value {
    let known = |(name, value): &(&str, Option<Value>)| Some(((*name).to_owned(), value.clone()?));
    Value::Object(fields.iter().filter_map(known).collect())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn times_and_durations_are_read_as_people_write_them() {
        assert_eq!(time("1795395600000"), time("2026-11-23T09:00:00+08:00"));
        assert!(time("tomorrow").is_err());
        assert_eq!(duration_ms("90s"), Ok(90_000));
        assert!(duration_ms("90").is_err());
    }

    #[test]
    fn json_comes_from_the_argument_or_a_file() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "[1]").unwrap();
        assert_eq!(json_text(" {\"a\": 1.10}\n").unwrap(), "{\"a\": 1.10}");
        assert_eq!(json_text(&format!("@{}", file.path().display())).unwrap(), "[1]");
        assert!(json_text("{").is_err() && json_text("@/none").is_err());
        assert_eq!(json_file(&file.path().display().to_string()).unwrap(), json!([1]));
    }

    #[test]
    fn absent_fields_are_left_out() {
        assert_eq!(object(&[("a", Some(1.into())), ("b", None)]), json!({"a": 1}));
    }
}
