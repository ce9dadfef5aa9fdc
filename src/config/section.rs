//! A walk over one TOML table that notes every problem instead of stopping at the first.
//!
//! Getters hand out a placeholder when something is wrong. That is safe because the problem is
//! noted, and a configuration with problems is never handed out.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::text;
use crate::time::parse_duration_ms;

/// What a whole reading shares: where relative files are looked for, and what was found wrong.
pub(super) struct Reading {
    /// The directory of the configuration file.
    pub(super) base: PathBuf,
    /// systemd's directory of credentials, when there is one.
    pub(super) credentials: Option<PathBuf>,
    /// Whether a secret stood in the file itself.
    pub(super) inline_secret: Cell<bool>,
    problems: RefCell<Vec<String>>,
    warnings: RefCell<Vec<String>>,
}

impl Reading {
    pub(super) fn new(base: &Path, credentials: Option<&Path>) -> Self {
        Self {
            base: base.to_path_buf(),
            credentials: credentials.map(Path::to_path_buf),
            inline_secret: Cell::new(false),
            problems: RefCell::default(),
            warnings: RefCell::default(),
        }
    }

    pub(super) fn problem(&self, line: String) {
        self.problems.borrow_mut().push(line);
    }

    pub(super) fn warn(&self, line: String) {
        self.warnings.borrow_mut().push(line);
    }

    /// The problems and the warnings, in the order found.
    pub(super) fn into_notes(self) -> (Vec<String>, Vec<String>) {
        (self.problems.into_inner(), self.warnings.into_inner())
    }
}

/// One table of the file, and which of its keys somebody asked for.
pub(super) struct Section<'a> {
    pub(super) reading: &'a Reading,
    path: String,
    table: &'a Table,
    asked: RefCell<Vec<&'static str>>,
}

impl<'a> Section<'a> {
    /// Reads a table with `read`, then reports the keys that `read` never asked for.
    pub(super) fn visit<T>(
        reading: &'a Reading,
        path: String,
        table: &'a Table,
        read: impl FnOnce(&Self) -> T,
    ) -> T {
        let section = Self { reading, path, table, asked: RefCell::default() };
        let found = read(&section);
        section.report_unknown();
        found
    }

    /// The full name of a key, as it is written in messages.
    pub(super) fn name(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    /// Notes what is wrong with a key and how to mend it.
    pub(super) fn problem(&self, key: &str, what: impl std::fmt::Display) {
        self.reading.problem(format!("{}: {what}", self.name(key)));
    }

    /// Notes something about the section as a whole.
    pub(super) fn problem_here(&self, what: impl std::fmt::Display) {
        self.reading.problem(format!("{}: {what}", self.path));
    }

    /// Notes something that works and probably was not meant.
    pub(super) fn warn(&self, key: &str, what: impl std::fmt::Display) {
        self.reading.warn(format!("{}: {what}", self.name(key)));
    }

    /// The raw value; from now on the key counts as known.
    pub(super) fn value(&self, key: &'static str) -> Option<&'a Value> {
        self.asked.borrow_mut().push(key);
        self.table.get(key)
    }

    /// Whether a key is there.
    pub(super) fn has(&self, key: &'static str) -> bool {
        self.value(key).is_some()
    }

    /// A text that may be absent.
    pub(super) fn text(&self, key: &'static str) -> Option<&'a str> {
        match self.value(key)? {
            Value::String(text) if text.trim().is_empty() => {
                self.problem(key, "is empty");
                None
            }
            Value::String(text) => Some(text),
            other => self.wrong(key, "a text in quotes", &describe(other)),
        }
    }

    /// A text that must be there.
    pub(super) fn required_text(&self, key: &'static str, example: &str) -> &'a str {
        if !self.has(key) {
            self.problem(key, format!("is missing; add {key} = {example}"));
        }
        self.text(key).unwrap_or_default()
    }

    /// A secret's text: like [`Section::text`], but no message ever shows the value.
    pub(super) fn hidden_text(&self, key: &'static str) -> Option<&'a str> {
        match self.value(key)? {
            Value::String(text) => Some(text),
            other => self.wrong(key, "a text in quotes", other.type_str()),
        }
    }

    /// A whole number within bounds.
    pub(super) fn number(
        &self,
        key: &'static str,
        range: RangeInclusive<u32>,
        default: u32,
    ) -> u32 {
        let Some(value) = self.value(key) else { return default };
        let number = value.as_integer().and_then(|number| u32::try_from(number).ok());
        number.filter(|number| range.contains(number)).unwrap_or_else(|| {
            let wanted = format!("a whole number from {} to {}", range.start(), range.end());
            self.wrong(key, &wanted, &describe(value)).unwrap_or(default)
        })
    }

    /// A yes or no.
    pub(super) fn flag(&self, key: &'static str) -> bool {
        match self.value(key) {
            None => false,
            Some(Value::Boolean(flag)) => *flag,
            Some(other) => self.wrong(key, "true or false", &describe(other)).unwrap_or(false),
        }
    }

    /// A duration with its unit, in milliseconds.
    pub(super) fn duration_ms(
        &self,
        key: &'static str,
        range: RangeInclusive<u64>,
        default: u64,
    ) -> u64 {
        let Some(value) = self.value(key) else { return default };
        let ms = value.as_str().and_then(parse_duration_ms);
        ms.filter(|ms| range.contains(ms)).unwrap_or_else(|| {
            let (low, high) = (text::duration(*range.start()), text::duration(*range.end()));
            let wanted = format!("a duration from \"{low}\" to \"{high}\" (units ms, s, m, h, d)");
            self.wrong(key, &wanted, &describe(value)).unwrap_or(default)
        })
    }

    /// A size with its unit, in bytes.
    pub(super) fn bytes(&self, key: &'static str, range: RangeInclusive<u64>, default: u64) -> u64 {
        let Some(value) = self.value(key) else { return default };
        let bytes = value.as_str().and_then(text::parse_bytes);
        bytes.filter(|bytes| range.contains(bytes)).unwrap_or_else(|| {
            let (low, high) = (text::bytes(*range.start()), text::bytes(*range.end()));
            let wanted = format!("a size from \"{low}\" to \"{high}\" (units B, KiB, MiB, GiB)");
            self.wrong(key, &wanted, &describe(value)).unwrap_or(default)
        })
    }

    /// A list of texts; empty when absent.
    pub(super) fn texts(&self, key: &'static str) -> Vec<&'a str> {
        let Some(value) = self.value(key) else { return Vec::new() };
        let texts = value.as_array().and_then(|items| items.iter().map(Value::as_str).collect());
        texts.unwrap_or_else(|| {
            self.wrong(key, "a list of texts: [\"…\", \"…\"]", &describe(value)).unwrap_or_default()
        })
    }

    /// One of a few words; the first is what an absent key means.
    pub(super) fn choice<T: Copy>(&self, key: &'static str, choices: &[(&str, T)]) -> T {
        let default = choices[0].1;
        match self.value(key) {
            None => default,
            Some(value) => choice_of(value, choices).unwrap_or_else(|wanted| {
                self.wrong(key, &wanted, &describe(value)).unwrap_or(default)
            }),
        }
    }

    /// A table within this one.
    pub(super) fn section<T>(
        &self,
        key: &'static str,
        read: impl FnOnce(&Section<'a>) -> T,
    ) -> Option<T> {
        match self.value(key)? {
            Value::Table(table) => Some(Section::visit(self.reading, self.name(key), table, read)),
            other => self.wrong(key, "a table", other.type_str()),
        }
    }

    /// Tables under names that the operator chose, such as `[tenants.acme]`.
    pub(super) fn named<T>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&str, &Section<'a>) -> T,
    ) -> BTreeMap<String, T> {
        let mut found = BTreeMap::new();
        for (name, value) in self.entries(key) {
            let path = format!("{}.{name}", self.name(key));
            if let Err(why) = text::check_name(name) {
                self.reading.problem(format!("{path}: {why}"));
            }
            match value {
                Value::Table(table) => {
                    let one = Section::visit(self.reading, path, table, |one| read(name, one));
                    found.insert(name.to_owned(), one);
                }
                other => {
                    let got = other.type_str();
                    self.reading.problem(format!("{path}: must be a table, found {got}"));
                }
            }
        }
        found
    }

    /// The entries of a table whose keys the operator chose.
    pub(super) fn entries(&self, key: &'static str) -> Vec<(&'a str, &'a Value)> {
        match self.value(key) {
            None => Vec::new(),
            Some(Value::Table(table)) => {
                table.iter().map(|(name, value)| (name.as_str(), value)).collect()
            }
            Some(other) => self.wrong(key, "a table", other.type_str()).unwrap_or_default(),
        }
    }

    /// Repeated tables, such as `[[schedules]]`.
    pub(super) fn list<T>(
        &self,
        key: &'static str,
        mut read: impl FnMut(&Section<'a>) -> T,
    ) -> Vec<T> {
        let tables: Option<Vec<&Table>> = match self.value(key) {
            None => return Vec::new(),
            Some(value) => {
                value.as_array().and_then(|items| items.iter().map(Value::as_table).collect())
            }
        };
        let Some(tables) = tables else {
            self.problem(key, format!("must be repeated tables, each headed [[{key}]]"));
            return Vec::new();
        };
        let visit = |(index, table): (usize, &'a Table)| {
            let name = table.get("name").and_then(Value::as_str);
            let place = name.map_or_else(|| (index + 1).to_string(), str::to_owned);
            Section::visit(self.reading, format!("{}.{place}", self.name(key)), table, &mut read)
        };
        tables.into_iter().enumerate().map(visit).collect()
    }

    fn wrong<T>(&self, key: &str, wanted: &str, got: &str) -> Option<T> {
        self.problem(key, format!("must be {wanted}, found {got}"));
        None
    }

    fn report_unknown(&self) {
        let asked = self.asked.borrow();
        for key in self.table.keys().filter(|key| !asked.contains(&key.as_str())) {
            let advice = text::advise(key, &asked);
            self.problem(key, format!("no such key; {advice}"));
        }
    }
}

/// The meaning of a word, or what was wanted instead.
pub(super) fn choice_of<T: Copy>(value: &Value, choices: &[(&str, T)]) -> Result<T, String> {
    let known = |(name, _): &&(&str, T)| value.as_str() == Some(*name);
    choices.iter().find(known).map(|(_, choice)| *choice).ok_or_else(|| {
        let names: Vec<String> = choices.iter().map(|(name, _)| format!("\"{name}\"")).collect();
        names.join(" or ")
    })
}

/// A value as it is shown in a message: short texts and numbers themselves, else the type.
pub(super) fn describe(value: &Value) -> String {
    match value {
        Value::String(text) if text.chars().count() <= 40 => format!("{text:?}"),
        Value::String(_) => "a long text".to_owned(),
        Value::Integer(number) => number.to_string(),
        Value::Float(number) => number.to_string(),
        Value::Boolean(flag) => flag.to_string(),
        Value::Datetime(_) => "a date or time".to_owned(),
        Value::Array(_) => "a list".to_owned(),
        Value::Table(_) => "a table".to_owned(),
    }
}
