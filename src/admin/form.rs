//! Reading JSON objects field by field: all mistakes at once, each with its pointer, and unknown
//! fields refused by name.

use std::ops::RangeInclusive;

use serde_json::{Map, Value as Json};

use super::problem::FieldError;
use crate::id::Id;
use crate::limits;
use crate::near;
use crate::time::Timestamp;

/// An object being read. A field that is `null` counts as absent.
pub(super) struct Form {
    at: String,
    fields: Map<String, Json>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
}

impl Form {
    /// Reads `value`, which stands at the pointer `at`.
    pub(super) fn new(value: Json, at: &str) -> Self {
        let mut form =
            Self { at: at.to_owned(), fields: Map::new(), known: Vec::new(), errors: Vec::new() };
        match value {
            Json::Object(fields) => form.fields = fields,
            other => form
                .errors
                .push(FieldError::new(at, format!("give an object, this is {}", kind_of(&other)))),
        }
        form
    }

    /// The pointer of a field.
    pub(super) fn pointer(&self, name: &str) -> String {
        format!("{}/{}", self.at, escape(name))
    }

    /// Records that a field is wrong.
    pub(super) fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        let pointer = self.pointer(name);
        self.tell(FieldError::new(pointer, detail));
    }

    /// Records an error, unless there are enough.
    fn tell(&mut self, error: FieldError) {
        if !self.is_full() {
            self.errors.push(error);
        }
    }

    /// Whether so much is wrong that reading on tells nothing more.
    pub(super) fn is_full(&self) -> bool {
        self.errors.len() >= limits::ERRORS
    }

    /// Takes over what was found wrong deeper down.
    pub(super) fn absorb(&mut self, errors: Vec<FieldError>) {
        errors.into_iter().for_each(|error| self.tell(error));
    }

    /// Takes a field as it is.
    pub(super) fn any(&mut self, name: &'static str) -> Option<Json> {
        self.known.push(name);
        self.fields.remove(name)
    }

    /// Takes a field unless it is `null`.
    pub(super) fn value(&mut self, name: &'static str) -> Option<Json> {
        self.any(name).filter(|value| !value.is_null())
    }

    pub(super) fn read<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl FnOnce(&Json) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name)?;
        let found = read(&value);
        if found.is_none() {
            self.wrong(name, format!("give {wanted}, this is {}", kind_of(&value)));
        }
        found
    }

    /// A text of at most `bytes` bytes, not empty.
    pub(super) fn text(&mut self, name: &'static str, bytes: usize) -> Option<String> {
        let text = self.read(name, "a string", |value| value.as_str().map(str::to_owned))?;
        if text.is_empty() || text.len() > bytes {
            let length = text.len();
            self.wrong(name, format!("1 to {bytes} bytes, this has {length}"));
            return None;
        }
        Some(text)
    }

    /// A text that must be there; empty when it is wrong.
    pub(super) fn must_text(&mut self, name: &'static str, bytes: usize) -> String {
        self.must(name);
        self.text(name, bytes).unwrap_or_default()
    }

    /// Records that a field is missing if it is.
    pub(super) fn must(&mut self, name: &'static str) {
        if self.fields.get(name).is_none_or(Json::is_null) {
            self.known.push(name);
            self.wrong(name, "this field is required");
        }
    }

    /// A whole number in a range.
    pub(super) fn whole(&mut self, name: &'static str, range: RangeInclusive<u64>) -> Option<u64> {
        let (low, high) = (*range.start(), *range.end());
        let wanted = format!("a whole number from {low} to {high}");
        self.read(name, &wanted, |value| value.as_u64().filter(|number| range.contains(number)))
    }

    /// A whole number that may be negative.
    pub(super) fn signed(&mut self, name: &'static str) -> Option<i64> {
        self.read(name, "a whole number", Json::as_i64)
    }

    pub(super) fn flag(&mut self, name: &'static str) -> Option<bool> {
        self.read(name, "true or false", Json::as_bool)
    }

    pub(super) fn time(&mut self, name: &'static str) -> Option<Timestamp> {
        let value = self.value(name)?;
        match Timestamp::from_json(&value) {
            Ok(at) => Some(at),
            Err(error) => {
                self.wrong(name, error.to_string());
                None
            }
        }
    }

    /// A time at which something shall become due.
    pub(super) fn due(&mut self, name: &'static str) -> Option<Timestamp> {
        match self.time(name)?.as_due() {
            Ok(at) => Some(at),
            Err(error) => {
                self.wrong(name, error.to_string());
                None
            }
        }
    }

    /// An id, as a string.
    pub(super) fn id<I: std::str::FromStr>(&mut self, name: &'static str) -> Option<I> {
        self.read(name, "an id as a string", |value| value.as_str()?.parse().ok())
    }

    /// A name that may also be given as a number.
    pub(super) fn name(&mut self, name: &'static str) -> Option<String> {
        self.read(name, "a string or a whole number", |value| match value {
            Json::String(text) => Some(text.clone()),
            Json::Number(number) => Some(number.as_u64()?.to_string()),
            _ => None,
        })
    }

    /// An array, read item by item.
    pub(super) fn list<T>(
        &mut self,
        name: &'static str,
        wanted: &str,
        read: impl Fn(&Json) -> Option<T>,
    ) -> Option<Vec<T>> {
        let items = match self.value(name)? {
            Json::Array(items) => items,
            other => {
                self.wrong(name, format!("give an array, this is {}", kind_of(&other)));
                return None;
            }
        };
        let mut found = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            match read(item) {
                Some(item) => found.push(item),
                None => {
                    let pointer = format!("{}/{at}", self.pointer(name));
                    let detail = format!("give {wanted}, this is {}", kind_of(item));
                    self.tell(FieldError::new(pointer, detail));
                }
            }
            if self.is_full() {
                break;
            }
        }
        Some(found)
    }

    /// An array of ids.
    pub(super) fn ids<I: std::str::FromStr>(&mut self, name: &'static str) -> Vec<I> {
        let read = |value: &Json| value.as_str()?.parse().ok();
        self.list(name, "an id as a string", read).unwrap_or_default()
    }

    /// All that is wrong, unknown fields included.
    pub(super) fn finish(mut self) -> Vec<FieldError> {
        let strangers = self.fields.keys().filter(|name| !self.known.contains(&name.as_str()));
        for name in strangers.take(limits::ERRORS.saturating_sub(self.errors.len())) {
            let pointer = self.pointer(name);
            let detail = unknown("field", name, &self.known);
            self.errors.push(FieldError { pointer, detail, unknown: true });
        }
        self.errors
    }
}

/// Says that a name is not known and which one was probably meant.
pub(super) fn unknown(what: &str, name: &str, known: &[&str]) -> String {
    let name = crate::text::cut(name, 80);
    match near::nearest(name, known.iter().copied()) {
        Some(near) => format!("unknown {what} {name:?}: did you mean {near:?}?"),
        None if known.is_empty() => format!("unknown {what} {name:?}: none is taken here"),
        None => {
            let mut names: Vec<&str> = known.to_vec();
            let mut seen = std::collections::HashSet::new();
            names.retain(|name| seen.insert(*name));
            format!("unknown {what} {name:?}; known: {}", names.join(", "))
        }
    }
}

fn escape(name: &str) -> String {
    crate::text::cut(name, 200).replace('~', "~0").replace('/', "~1")
}

/// What a JSON value is, in words, short.
pub(super) fn kind_of(value: &Json) -> String {
    match value {
        Json::Null => "null".to_owned(),
        Json::Bool(flag) => format!("the boolean {flag}"),
        Json::Number(number) => format!("the number {number}"),
        Json::String(text) => format!("the string {:?}", crate::text::cut(text, 40)),
        Json::Array(_) => "an array".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

/// Reads an id out of a path; another text names nothing that exists.
pub(super) fn path_id<I: std::str::FromStr>(
    what: &str,
    text: &str,
) -> Result<I, super::problem::Problem> {
    text.parse().map_err(|_| {
        let text = crate::text::cut(text, 80);
        super::problem::Problem::not_found(format!("there is no {what} {text:?}"))
    })
}

/// The same for the ids of notices, tasks and runs.
pub(super) fn id(what: &str, text: &str) -> Result<Id, super::problem::Problem> {
    path_id(what, text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn all_mistakes_are_found_at_once_and_with_their_pointers() {
        let mut form =
            Form::new(json!({"max": "3", "tpye": "a", "at": "now", "s": ""}), "/items/2");
        assert_eq!(form.whole("max", 1..=10), None);
        assert_eq!(form.time("at"), None);
        assert_eq!(form.text("s", 5), None);
        form.must("type");
        assert_eq!(form.name("type"), None);
        let errors = form.finish();
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(
            pointers,
            ["/items/2/max", "/items/2/at", "/items/2/s", "/items/2/type", "/items/2/tpye"]
        );
        assert!(errors[4].detail.contains("did you mean \"type\""), "{}", errors[4].detail);
        assert!(errors[4].unknown);
    }

    #[test]
    fn reading_ends_when_enough_is_wrong() {
        let fields: serde_json::Map<String, Json> =
            (0..1_000).map(|at| (format!("f{at}"), json!(at))).collect();
        let form = Form::new(Json::Object(fields), "");
        assert_eq!(form.finish().len(), limits::ERRORS);
        let mut form = Form::new(json!({"ids": vec![0; 1_000], "x": 1}), "");
        assert!(form.ids::<Id>("ids").is_empty());
        assert_eq!(form.finish().len(), limits::ERRORS);
        let long = unknown("field", &"k".repeat(8_000_000), &["key"]);
        assert!(long.len() < 200, "{}", long.len());
    }

    #[test]
    fn null_is_absent_and_a_far_name_is_not_guessed() {
        let mut form = Form::new(json!({"due": null, "colour": 1}), "");
        assert_eq!(form.time("due"), None);
        let errors = form.finish();
        assert_eq!(errors.len(), 1);
        assert!(errors[0].detail.contains("known: due"), "{}", errors[0].detail);
    }
}
