//! Recipients as lines: NDJSON, or CSV with a header. One reading for what is posted here and for what is
//! fetched elsewhere.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::submitted;
use crate::engine::command::Recipient;
use crate::json as strict;
use crate::limits;
use crate::model::message::{is_openid, json_bytes};

/// Reads lines as their bytes come.
pub struct Lines {
    /// Of CSV: its columns.
    table: Option<Table>,
    /// A line that has begun.
    begun: Vec<u8>,
    lines: u64,
}

/// A line that is no recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wrong {
    /// Its number, from 1.
    pub line: u64,
    /// `bad_line` or `bad_openid`.
    pub code: &'static str,
    /// What is wrong.
    pub detail: String,
}

/// A recipient, and the number of its line.
pub type Numbered = (u64, Recipient);

impl Lines {
    /// A reader of NDJSON, or of CSV.
    #[must_use]
    pub fn new(csv: bool) -> Self {
        Self { table: csv.then(Table::default), begun: Vec::new(), lines: 0 }
    }

    /// Lines read so far.
    #[must_use]
    pub fn lines(&self) -> u64 {
        self.lines
    }

    /// Reads a further piece. What was read before a wrong line is in `found` all the same.
    pub fn piece(&mut self, piece: &[u8], found: &mut Vec<Numbered>) -> Result<(), Wrong> {
        let mut rest = piece;
        while let Some(end) = rest.iter().position(|byte| *byte == b'\n') {
            let (line, behind) = rest.split_at(end);
            if self.goes_on(line) {
                self.begun.extend_from_slice(line);
                self.begun.push(b'\n');
            } else if self.begun.is_empty() {
                found.extend(self.line(line)?);
            } else {
                let mut whole = std::mem::take(&mut self.begun);
                whole.extend_from_slice(line);
                found.extend(self.line(&whole)?);
            }
            rest = behind.get(1..).unwrap_or_default();
        }
        if self.begun.len() + rest.len() > limits::LINE_BYTES {
            return Err(self.wrong("bad_line", "it is longer than a line may be".to_owned()));
        }
        self.begun.extend_from_slice(rest);
        Ok(())
    }

    /// Reads the last line, if nothing ended it.
    pub fn end(&mut self) -> Result<Option<Numbered>, Wrong> {
        let last = std::mem::take(&mut self.begun);
        if last.is_empty() { Ok(None) } else { self.line(&last) }
    }

    /// Whether a line of CSV ends within quotes.
    fn goes_on(&self, line: &[u8]) -> bool {
        let begun = &self.begun;
        let quotes = begun.iter().chain(line).filter(|byte| **byte == b'"').count();
        self.table.is_some() && quotes % 2 == 1 && begun.len() + line.len() < limits::LINE_BYTES
    }

    fn wrong(&self, code: &'static str, detail: String) -> Wrong {
        let detail = crate::text::cut(&detail, limits::TEXT_BYTES).to_owned();
        Wrong { line: self.lines + 1, code, detail }
    }

    fn line(&mut self, line: &[u8]) -> Result<Option<Numbered>, Wrong> {
        let breaks = line.iter().filter(|byte| **byte == b'\n').count() as u64;
        let line = if self.lines == 0 { submitted::without_mark(line) } else { line }.trim_ascii();
        if line.is_empty() {
            self.lines += 1;
            return Ok(None);
        }
        let read = match &mut self.table {
            Some(table) => table.read(line),
            None => read(line).map(Some).map_err(|error| without_line(&error)),
        };
        let found = read.map_err(|why| self.wrong("bad_line", why))?;
        let Some(recipient) = found else {
            self.lines += 1 + breaks;
            return Ok(None);
        };
        if let Err((code, detail)) = check(&recipient) {
            return Err(self.wrong(code, detail));
        }
        self.lines += 1 + breaks;
        Ok(Some((self.lines, recipient)))
    }
}

/// Reads one recipient of JSON: an object, or a bare openid.
///
/// # Errors
/// What is wrong with it.
pub fn one(json: &str) -> Result<Recipient, String> {
    let recipient = read(json.as_bytes()).map_err(|error| without_line(&error))?;
    check(&recipient).map(|()| recipient).map_err(|(_, detail)| detail)
}

fn check(recipient: &Recipient) -> Result<(), (&'static str, String)> {
    if !is_openid(&recipient.openid) {
        let shown = crate::text::cut(&recipient.openid, 80);
        return Err(("bad_openid", format!("{shown:?} is no openid")));
    }
    if json_bytes(&recipient.data) > limits::OVERRIDE_BYTES {
        let detail = format!("its data has more than {} bytes", limits::OVERRIDE_BYTES);
        return Err(("bad_line", detail));
    }
    Ok(())
}

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
