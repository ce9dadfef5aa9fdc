//! Fields that hold no others: texts, numbers, times, ids, words.

use std::ops::RangeInclusive;
use std::str::FromStr;

use serde_json::{Value as Json, json};

use super::Form;
use crate::api::raw::{self, kind_of};
use crate::json as strict;
use crate::limits;
use crate::named::Named;
use crate::time::Timestamp;

impl<'a> Form<'a> {
    /// A text of at most `bytes` bytes, not empty.
    pub(in crate::api) fn text(&mut self, name: &'static str, bytes: usize) -> Option<String> {
        let schema = || json!({"type": "string", "minLength": 1, "maxLength": bytes});
        let text = self.read(name, &|| "a string".to_owned(), schema, string)?;
        if text.is_empty() || text.len() > bytes {
            let length = text.len();
            self.wrong(name, format!("1 to {bytes} bytes, this has {length}"));
            return None;
        }
        Some(text)
    }

    /// A text that must be there; empty when it is wrong.
    pub(in crate::api) fn must_text(&mut self, name: &'static str, bytes: usize) -> String {
        self.must(name);
        self.text(name, bytes).unwrap_or_default()
    }

    /// A whole number in a range.
    pub(in crate::api) fn whole(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
    ) -> Option<u64> {
        let (low, high) = (*range.start(), *range.end());
        let wanted = || format!("a whole number from {low} to {high}");
        let schema =
            || json!({"type": "integer", "format": "int64", "minimum": low, "maximum": high});
        self.read(name, &wanted, schema, |value| {
            value.as_u64().filter(|number| range.contains(number))
        })
    }

    /// The same, with words of its own for a number beyond the range.
    pub(in crate::api) fn whole_or(
        &mut self,
        name: &'static str,
        range: RangeInclusive<u64>,
        beyond: impl FnOnce() -> String,
    ) -> Option<u64> {
        let most = *range.end();
        if self.peek(name).and_then(|value| value.as_u64()).is_some_and(|number| number > most) {
            self.wrong(name, beyond());
            self.whole(name, 0..=u64::MAX);
            return None;
        }
        self.whole(name, range)
    }

    /// A priority: 0 to 255.
    pub(in crate::api) fn priority(&mut self, name: &'static str) -> Option<u8> {
        self.whole(name, 0..=255).and_then(|number| u8::try_from(number).ok())
    }

    /// A whole number that may be negative.
    pub(in crate::api) fn signed(&mut self, name: &'static str) -> Option<i64> {
        let schema = || json!({"type": "integer", "format": "int64"});
        self.read(name, &|| "a whole number".to_owned(), schema, |value| value.as_i64())
    }

    /// True or false.
    pub(in crate::api) fn flag(&mut self, name: &'static str) -> Option<bool> {
        let schema = || json!({"type": "boolean"});
        self.read(name, &|| "true or false".to_owned(), schema, |value| value.as_bool())
    }

    /// One of the words for the cases of a type.
    pub(in crate::api) fn word<T: Named>(&mut self, name: &'static str, wanted: &str) -> Option<T> {
        let words = || T::ALL.iter().map(|case| case.word()).collect::<Vec<_>>();
        let schema = || json!({"type": "string", "enum": words()});
        let text = self.read(name, &|| format!("a string: {wanted}"), schema, string)?;
        let case = T::of_word(&text);
        if case.is_none() {
            self.wrong(name, wanted);
        }
        case
    }

    /// A time.
    pub(in crate::api) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        // Epoch milliseconds are taken as well; generated clients have one type.
        let schema = || {
            json!({
                "type": "string", "format": "date-time",
                "description": "RFC 3339 with a zone; epoch milliseconds as a number are taken as well",
                "examples": ["2026-11-23T09:00:00+08:00"],
            })
        };
        let value = self.value(name, schema)?;
        match Timestamp::from_json(&raw::scalar(value)) {
            Ok(at) => Some(at),
            Err(error) => {
                self.wrong(name, error.to_string());
                None
            }
        }
    }

    /// A time at which something shall become due.
    pub(in crate::api) fn due(&mut self, name: &'static str) -> Option<Timestamp> {
        match self.time(name)?.as_due() {
            Ok(at) => Some(at),
            Err(error) => {
                self.wrong(name, error.to_string());
                None
            }
        }
    }

    /// An id, as a string.
    pub(in crate::api) fn id<I: FromStr>(&mut self, name: &'static str) -> Option<I> {
        self.read(name, &|| "an id as a string".to_owned(), id_schema, |value| {
            value.as_str()?.parse().ok()
        })
    }

    /// A name that may also be given as a number.
    pub(in crate::api) fn name(&mut self, name: &'static str) -> Option<String> {
        let schema = || json!({"type": "string", "minLength": 1, "maxLength": limits::NAME_BYTES});
        let wanted = || "a string or a whole number".to_owned();
        self.read(name, &wanted, schema, |value| match value {
            Json::String(text) => Some(text),
            Json::Number(number) => Some(number.as_u64()?.to_string()),
            _ => None,
        })
    }

    /// Any JSON, as text; `null` too. That it can be read everywhere is checked.
    pub(in crate::api) fn json(
        &mut self,
        name: &'static str,
        description: &str,
    ) -> Option<&'a str> {
        let text = self.any(name, || json!({ "description": description }))?.get();
        if strict::check(text).is_err() {
            // In what words, the check of the whole body says.
            self.wrong(name, "not everybody can read this");
        }
        Some(text)
    }

    /// A value with a spelling of its own, described by its schema.
    pub(in crate::api) fn special<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        schema: impl FnOnce() -> Json,
        read: impl FnOnce(&Json) -> Option<T>,
    ) -> Option<T> {
        self.read(name, &|| wanted.to_owned(), schema, |value| read(&value))
    }

    /// Any object, as text.
    pub(in crate::api) fn open_object(
        &mut self,
        name: &'static str,
        wanted: &str,
    ) -> Option<&'a str> {
        let value = self.value(name, || json!({"type": "object", "description": wanted}))?;
        if !value.get().starts_with('{') {
            self.wrong(name, format!("give {wanted}, this is {}", kind_of(value)));
            return None;
        }
        Some(value.get())
    }
}

fn id_schema() -> Json {
    json!({"type": "string", "pattern": "^[0-9]{1,20}$", "examples": ["1882626522232127488"]})
}

fn string(value: Json) -> Option<String> {
    match value {
        Json::String(text) => Some(text),
        _ => None,
    }
}
