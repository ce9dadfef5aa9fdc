//! What the fields of views are made of: each says how it is written and how it is described.

use std::borrow::Cow;
use std::fmt::Display;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::id::{DeliveryId, Id};
use crate::named::Named;
use crate::time::Timestamp;

/// An id: digits in a string, since not every reader keeps 64 bits of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdText(pub Id);

/// A delivery's id: the notice's, a dash and its number there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeliveryText(pub DeliveryId);

/// A time: RFC 3339 in UTC with milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct At(pub Timestamp);

/// One of a few words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word<T>(pub T);

/// JSON that was taken in as text and goes out as it came, on one line.
#[derive(Clone, Debug, Serialize)]
pub struct Raw(Box<RawValue>);

impl Raw {
    /// Takes a text; gives it back when it is no JSON.
    pub fn new(text: String) -> Result<Self, String> {
        // A line break outside of strings is mere space, and within strings there is none.
        let line = if text.contains(['\n', '\r']) { text.replace(['\n', '\r'], " ") } else { text };
        match serde_json::from_str::<&RawValue>(&line) {
            Ok(_) => RawValue::from_string(line).map(Self).map_err(|error| error.to_string()),
            Err(_) => Err(line),
        }
    }

    /// The text as JSON, or as a string of JSON where it is none.
    #[must_use]
    pub fn or_string(text: String) -> Self {
        Self::new(text).unwrap_or_else(|text| Self::string(&text))
    }

    /// A string.
    fn string(text: &str) -> Self {
        let quoted = crate::json::quoted(text);
        Self(RawValue::from_string(quoted).unwrap_or_default())
    }

    /// The text.
    #[must_use]
    pub fn text(&self) -> &str {
        self.0.get()
    }
}

/// Two fields of a view, of which one is there: a text that is JSON, or one that is none.
#[must_use]
pub(in crate::engine) fn raw_or_text(text: String) -> (Option<Raw>, Option<String>) {
    match Raw::new(text) {
        Ok(raw) => (Some(raw), None),
        Err(text) => (None, Some(text)),
    }
}

fn shown<S: Serializer>(value: impl Display, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&value)
}

impl Serialize for IdText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        shown(self.0, serializer)
    }
}

impl Serialize for DeliveryText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        shown(self.0, serializer)
    }
}

impl Serialize for At {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        shown(self.0, serializer)
    }
}

impl<T: Named> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.0.word())
    }
}

/// A type that stands in the description where it is used.
macro_rules! described {
    ([$($of:tt)*] $name:ty, $title:literal, $schema:expr) => {
        impl $($of)* JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                $title.into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

described!([] IdText, "Id", json_schema!({
    "type": "string", "pattern": "^[0-9]{1,20}$", "examples": ["1882626522232127488"],
}));
described!([] DeliveryText, "DeliveryId", json_schema!({
    "type": "string", "pattern": "^[0-9]{1,20}-[0-9]{1,10}$",
    "examples": ["1882626522232127488-17"],
}));
described!([] At, "At", json_schema!({
    "type": "string", "format": "date-time", "examples": ["2026-11-23T01:00:00.000Z"],
}));
described!([] Raw, "Raw", json_schema!({ "examples": [{"order": 4711}] }));
described!([<T: Named>] Word<T>, "Word", {
    let words: Vec<&str> = T::ALL.iter().map(|case| case.word()).collect();
    json_schema!({ "type": "string", "enum": words })
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_stored_is_shown_as_it_came() {
        let kept = "{\"big\":12345678901234567890123, \"price\":1.10,\"e\":1E2,\"z\":-0}";
        assert_eq!(Raw::new(kept.to_owned()).unwrap().text(), kept);
        assert_eq!(Raw::new("[1,\n2]".to_owned()).unwrap().text(), "[1, 2]");
        assert_eq!(Raw::new("[1,".to_owned()).unwrap_err(), "[1,");
        assert_eq!(Raw::or_string("[1,".to_owned()).text(), "\"[1,\"");
        let (raw, text) = raw_or_text("\"\\ud83d".to_owned());
        assert!(raw.is_none());
        assert_eq!(text.as_deref(), Some("\"\\ud83d"));
    }

    #[test]
    fn ids_and_times_are_written_as_strings() {
        let id = DeliveryId { notice: Id(7), number: 3 };
        let text = serde_json::to_string(&(IdText(Id(7)), DeliveryText(id), At(Timestamp(1))));
        assert_eq!(text.unwrap(), "[\"7\",\"7-3\",\"1970-01-01T00:00:00.001Z\"]");
    }
}
