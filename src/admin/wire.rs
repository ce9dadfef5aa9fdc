//! What the fast path of tasks reads and writes: typed, and without a detour over JSON values.
//!
//! What does not fit here is read once more, slowly, by [`super::form`], only to say what is wrong.

use std::borrow::Cow;
use std::fmt::{self, Write};

use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use super::tree::Items;
use crate::time::Timestamp;

/// One task of `POST /v1/tasks`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TaskIn<'a> {
    #[serde(rename = "type")]
    pub(super) kind: Name,
    #[serde(default)]
    pub(super) priority: Option<u8>,
    #[serde(default)]
    pub(super) due: Option<When>,
    #[serde(default)]
    pub(super) delay_ms: Option<u64>,
    #[serde(borrow)]
    pub(super) payload: &'a RawValue,
    #[serde(default)]
    pub(super) max_attempts: Option<u32>,
    #[serde(default)]
    pub(super) key: Option<String>,
    #[serde(default)]
    pub(super) replace: Option<bool>,
}

/// `POST /v1/tasks/claim`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ClaimIn {
    #[serde(rename = "type")]
    pub(super) kind: Name,
    #[serde(default)]
    pub(super) priority: Option<u8>,
    #[serde(default)]
    pub(super) max: Option<usize>,
    #[serde(default)]
    pub(super) ttl_ms: Option<u64>,
    #[serde(default)]
    pub(super) wait_ms: Option<u64>,
    #[serde(default)]
    pub(super) request_id: Option<String>,
    #[serde(default)]
    pub(super) worker: Option<String>,
}

/// `POST /v1/tasks/{id}/ack`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AckIn {
    pub(super) claim: String,
}

/// `POST /v1/tasks/settle`: its items are read one by one.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SettleIn<'a> {
    #[serde(borrow)]
    pub(super) items: Items<'a>,
}

/// One ack of a batch.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct AckItem<'a> {
    #[serde(borrow)]
    pub(super) id: Cow<'a, str>,
    pub(super) claim: String,
    pub(super) ack: bool,
}

/// A name, given as a string or as a whole number.
pub(super) struct Name(pub(super) String);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = Name;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string or a whole number")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<Name, E> {
                Ok(Name(text.to_owned()))
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<Name, E> {
                Ok(Name(number.to_string()))
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// A time, given as RFC 3339 or as epoch milliseconds.
pub(super) struct When(pub(super) Timestamp);

impl<'de> Deserialize<'de> for When {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl Visitor<'_> for Read {
            type Value = When;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("RFC 3339 or epoch milliseconds")
            }
            fn visit_str<E: Error>(self, text: &str) -> Result<When, E> {
                Timestamp::parse(text).map(When).map_err(E::custom)
            }
            fn visit_u64<E: Error>(self, number: u64) -> Result<When, E> {
                let millis = i64::try_from(number).map_err(E::custom)?;
                Timestamp::from_number(millis).map(When).map_err(E::custom)
            }
        }
        deserializer.deserialize_any(Read)
    }
}

/// Appends `"name":"value",` with a value that needs no escapes: digits, times, state names.
pub(super) fn push_plain(out: &mut String, name: &str, value: impl fmt::Display) {
    // Writing to a string cannot fail.
    let _ = write!(out, "\"{name}\":\"{value}\",");
}

/// Appends `"name":number,`.
pub(super) fn push_number(out: &mut String, name: &str, value: impl fmt::Display) {
    let _ = write!(out, "\"{name}\":{value},");
}

/// Ends an object whose last field left a comma.
pub(super) fn close(out: &mut String) {
    if out.ends_with(',') {
        out.pop();
    }
    out.push('}');
}
