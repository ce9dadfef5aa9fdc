//! How a line looks.

use std::collections::BTreeMap;
use std::fmt::{self, Write as _};

use serde_json::{Value as Json, json};
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::events;
use crate::text::clean;
use crate::time::{Clock, SystemClock};

/// What kind of reader the lines have.
#[derive(Clone, Copy, Debug)]
pub(super) struct Style {
    /// Text for a person, not JSON.
    pub(super) text: bool,
    /// Each line begins with its syslog priority.
    pub(super) priority: bool,
}

/// Writes an event as one line.
pub(super) struct Format(pub(super) Style);

impl<S, N> FormatEvent<S, N> for Format
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _: &FmtContext<'_, S, N>,
        mut out: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let mut said = Said::default();
        event.record(&mut said);
        let meta = event.metadata();
        out.write_str(&line(self.0, *meta.level(), meta.target(), said))
    }
}

/// The fields of an event.
#[derive(Default)]
struct Said {
    event: Option<String>,
    message: Option<String>,
    rest: BTreeMap<&'static str, Json>,
}

impl Said {
    fn put(&mut self, field: &Field, value: Json) {
        let text = |value: Json| match value {
            Json::String(text) => text,
            other => other.to_string(),
        };
        match field.name() {
            "event" => self.event = Some(text(value)),
            "message" => self.message = Some(text(value)),
            name => {
                self.rest.insert(name, value);
            }
        }
    }

    /// In words. Where only the event's name was given, the catalogue has them.
    fn words(&self) -> String {
        if let Some(message) = &self.message {
            return message.clone();
        }
        let name = self.event.as_deref().unwrap_or_default();
        let words = events::words(name).unwrap_or(name).to_owned();
        match ["error", "why"].iter().find_map(|name| self.rest.get(name)?.as_str()) {
            Some(why) => format!("{words}: {why}"),
            None => words,
        }
    }
}

impl Visit for Said {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, json!(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, json!(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, json!(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, json!(value));
    }
    fn record_u128(&mut self, field: &Field, value: u128) {
        self.put(field, json!(value.to_string()));
    }
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, json!(value));
    }
    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, json!(value));
    }
    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, json!(value.to_string()));
    }
}

fn line(style: Style, level: Level, target: &str, said: Said) -> String {
    let mut out = String::with_capacity(256);
    if style.priority {
        let _ = write!(out, "<{}>", priority(level));
    }
    let at = SystemClock.now();
    if style.text {
        let _ = write!(out, "{at} {level:>5} {}", clean(&said.words()));
        if let Some(event) = &said.event {
            let _ = write!(out, " event={event}");
        }
        for (name, value) in &said.rest {
            let _ = write!(out, " {name}={}", clean(&value.to_string()));
        }
    } else {
        let message = said.words();
        let _ = write!(out, "{{\"timestamp\":\"{at}\",\"level\":\"{level}\"");
        if let Some(event) = &said.event {
            let _ = write!(out, ",\"event\":{}", json!(event));
        }
        let _ = write!(out, ",\"message\":{}", json!(message));
        for (name, value) in &said.rest {
            let _ = write!(out, ",{}:{value}", json!(name));
        }
        let _ = write!(out, ",\"target\":{}}}", json!(target));
    }
    out.push('\n');
    out
}

/// syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JSON: Style = Style { text: false, priority: true };

    fn said(event: &str, message: Option<&str>, rest: &[(&'static str, Json)]) -> Said {
        Said {
            event: Some(event.to_owned()),
            message: message.map(str::to_owned),
            rest: rest.iter().cloned().collect(),
        }
    }

    #[test]
    fn a_json_line_has_a_priority_an_event_and_words() {
        let about = [("free", json!(5))];
        let line = line(JSON, Level::WARN, "t", said("disk.low", Some("no \"new\"\nwork"), &about));
        assert_eq!(line.matches('\n').count(), 1);
        let json: Json = serde_json::from_str(line.strip_prefix("<4>").unwrap()).unwrap();
        assert_eq!(json["event"], "disk.low");
        assert_eq!(json["message"], "no \"new\"\nwork");
        assert_eq!((&json["free"], &json["level"]), (&json!(5), &json!("WARN")));
    }

    #[test]
    fn an_event_without_words_gets_those_of_the_catalogue() {
        let line =
            line(JSON, Level::ERROR, "t", said("mark.failed", None, &[("error", json!("x"))]));
        let json: Json = serde_json::from_str(line.strip_prefix("<3>").unwrap()).unwrap();
        let words = events::words("mark.failed").unwrap();
        assert_eq!(json["message"], format!("{words}: x"));
    }

    #[test]
    fn text_from_elsewhere_begins_no_line_of_its_own() {
        let style = Style { text: true, priority: false };
        let hostile = [("title", json!("a\nFAKE\u{1b}[2J"))];
        let line = line(style, Level::INFO, "t", said("x", Some("b\nFAKE"), &hostile));
        assert_eq!(line.matches('\n').count(), 1, "{line}");
        assert!(!line.contains('\u{1b}'), "{line}");
    }
}
