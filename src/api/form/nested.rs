//! Fields that hold others: objects, lists, and texts by name.

use std::collections::BTreeMap;
use std::str::FromStr;

use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::{Form, Source, named};
use crate::api::raw::{self, Fields, Items, kind_of};
use crate::api::unread::FieldError;
use crate::model::message::json_bytes;

impl<'a> Form<'a> {
    /// An object with fields of its own, named `title` in the description.
    pub(in crate::api) fn object<T>(
        &mut self,
        name: &'static str,
        title: &str,
        fields: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        if let Source::Asked(_) = self.source {
            let mut inner = Self::describing();
            let _ = fields(&mut inner);
            let (schema, within) = inner.schema();
            self.any(name, || named(title));
            if let Source::Asked(asked) = &mut self.source {
                asked.named.extend(within);
                asked.named.insert(title.to_owned(), schema);
            }
            return None;
        }
        let value = self.value(name, Json::default)?;
        let pointer = self.pointer(name);
        self.inner(value, &pointer, fields)
    }

    /// The same where `true` is as good as an object without fields.
    pub(in crate::api) fn object_or_true<T>(
        &mut self,
        name: &'static str,
        title: &str,
        fields: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        if let Source::Given(given) = &mut self.source
            && let Some((_, value)) = given.iter_mut().find(|(other, _)| *other == name)
            && value.get() == "true"
        {
            *value = serde_json::from_str("{}").ok()?;
        }
        self.object(name, title, fields)
    }

    /// Reads an object within this one.
    fn inner<T>(
        &mut self,
        value: &'a RawValue,
        pointer: &str,
        fields: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        match serde_json::from_str(value.get()) {
            Ok(Fields(given)) => {
                let mut inner = Self::new(pointer, Source::Given(given));
                let found = fields(&mut inner);
                inner.finish().into_iter().for_each(|error| self.tell(error));
                Some(found)
            }
            Err(_) => {
                let detail = format!("give an object, this is {}", kind_of(value));
                self.tell(FieldError::new(pointer, detail));
                None
            }
        }
    }

    /// The items of an array of at most `most`, each to be read by itself.
    pub(in crate::api) fn parts(
        &mut self,
        name: &'static str,
        most: usize,
        schema: impl FnOnce() -> Json,
    ) -> Vec<&'a str> {
        self.must(name);
        let Some((items, count)) = self.items(name, most, schema) else { return Vec::new() };
        if count > most {
            self.too_many = Some((count, most));
        }
        items.into_iter().map(RawValue::get).collect()
    }

    /// The items of an array, of which at most `most` are kept, and how many there are.
    fn items(
        &mut self,
        name: &'static str,
        most: usize,
        schema: impl FnOnce() -> Json,
    ) -> Option<(Vec<&'a RawValue>, usize)> {
        let list = || json!({"type": "array", "items": schema(), "maxItems": most});
        let value = self.value(name, list)?;
        match raw::items(value.get(), most) {
            Ok(Items { kept, count }) => Some((kept, count)),
            Err(_) => {
                self.wrong(name, format!("give an array, this is {}", kind_of(value)));
                None
            }
        }
    }

    /// An array of things that hold no others.
    pub(in crate::api) fn list<T>(
        &mut self,
        name: &'static str,
        most: usize,
        wanted: &str,
        schema: impl FnOnce() -> Json,
        read: impl Fn(&Json) -> Option<T>,
    ) -> Option<Vec<T>> {
        let (items, count) = self.items(name, most, schema)?;
        if count > most {
            self.too_many = Some((count, most));
            return None;
        }
        let mut found = Vec::with_capacity(items.len());
        for (at, item) in items.into_iter().enumerate() {
            match read(&raw::scalar(item)) {
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
    pub(in crate::api) fn ids<I: FromStr>(&mut self, name: &'static str, most: usize) -> Vec<I> {
        let read = |value: &Json| value.as_str()?.parse().ok();
        let schema = || json!({"type": "string"});
        self.list(name, most, "an id as a string", schema, read).unwrap_or_default()
    }

    /// An array in which an item is a bare text or an object with fields.
    pub(in crate::api) fn texts_or_objects<T>(
        &mut self,
        name: &'static str,
        most: usize,
        title: (&'static str, &'static str),
        bare: impl Fn(String) -> T,
        fields: impl Fn(&mut Self) -> T,
    ) -> Option<Vec<T>> {
        let (bare_title, object_title) = title;
        if let Source::Asked(_) = self.source {
            let mut inner = Self::describing();
            let _ = fields(&mut inner);
            let (schema, within) = inner.schema();
            if let Source::Asked(asked) = &mut self.source {
                asked.named.extend(within);
                asked.named.insert(object_title.to_owned(), schema);
            }
        }
        let either = || json!({"oneOf": [named(bare_title), named(object_title)]});
        let (items, count) = self.items(name, most, either)?;
        if count > most {
            self.wrong(name, format!("{count} recipients, {most} are allowed: stream more"));
            return Some(Vec::new());
        }
        let at = self.pointer(name);
        let mut found = Vec::with_capacity(items.len());
        for (number, item) in items.into_iter().enumerate() {
            // A list of the wrong kind would be refused item by item for pages.
            if self.is_full() {
                break;
            }
            let pointer = format!("{at}/{number}");
            match raw::scalar(item) {
                Json::String(text) => found.push(bare(text)),
                Json::Object(_) => found.extend(self.inner(item, &pointer, &fields)),
                _ => {
                    let detail = format!("give an openid, this is {}", kind_of(item));
                    self.tell(FieldError::new(pointer, detail));
                }
            }
        }
        Some(found)
    }

    /// An object of strings of at most `bytes` bytes as JSON. A value may come as WeChat itself takes
    /// it, `{"value": "…"}`, perhaps with a `color`, which it no longer shows.
    pub(in crate::api) fn strings(
        &mut self,
        name: &'static str,
        bytes: usize,
    ) -> BTreeMap<String, String> {
        let schema = || {
            json!({
                "type": "object", "additionalProperties": {"type": "string"},
                "description": "a value may also be WeChat's {\"value\": \"…\"}",
            })
        };
        let Some(value) = self.value(name, schema) else { return BTreeMap::new() };
        let Ok(Fields(given)) = serde_json::from_str(value.get()) else {
            let detail = format!("give an object of strings, this is {}", kind_of(value));
            self.wrong(name, detail);
            return BTreeMap::new();
        };
        let mut texts = BTreeMap::new();
        for (field, value) in given {
            match template_value(value) {
                Some(text) => {
                    texts.insert(field.into_owned(), text);
                }
                None => {
                    let field = crate::text::cut(&field, 80);
                    let pointer = format!("{}/{field}", self.pointer(name));
                    self.tell(FieldError::new(pointer, string_hint(field, value)));
                }
            }
            if self.is_full() {
                break;
            }
        }
        let size = json_bytes(&texts);
        if size > bytes {
            self.wrong(name, format!("{size} bytes as JSON, {bytes} are allowed"));
        }
        texts
    }
}

/// A template value: a text, or one in WeChat's own shape.
fn template_value(value: &RawValue) -> Option<String> {
    match raw::scalar(value) {
        Json::String(text) => Some(text),
        Json::Object(_) => {
            let Fields(inner) = serde_json::from_str(value.get()).ok()?;
            if !inner.iter().all(|(name, _)| name == "value" || name == "color") {
                return None;
            }
            let (_, text) = inner.into_iter().find(|(name, _)| name == "value")?;
            serde_json::from_str(text.get()).ok()
        }
        _ => None,
    }
}

fn string_hint(name: &str, value: &RawValue) -> String {
    match raw::scalar(value) {
        Json::Object(_) => {
            format!("values are strings: write {{{name:?}: \"…\"}}, or {{\"value\": \"…\"}}")
        }
        shown @ (Json::Number(_) | Json::Bool(_)) => {
            format!("values are strings: write {{{name:?}: \"{shown}\"}}")
        }
        _ => format!("values are strings, this is {}", kind_of(value)),
    }
}
