//! A body, described once: the function that reads its fields also tells what they are.
//!
//! Run over a text, it finds all mistakes at once, each with its pointer, and refuses unknown fields by
//! name. Run over nothing, the same calls write the schema that stands in the OpenAPI document.

mod nested;
mod scalars;

use std::borrow::Cow;

use serde_json::value::RawValue;
use serde_json::{Map, Value as Json, json};

use super::raw::{self, Fields, Items, kind_of};
use super::unread::{FieldError, Unread};
use crate::json as strict;
use crate::limits;
use crate::near;

/// A body of the API.
pub trait Body: Sized {
    /// Its name in the description.
    const NAME: &'static str;

    /// Reads its fields, and so describes them.
    fn fields(form: &mut Form<'_>) -> Self;

    /// One such body, as a caller would send it.
    fn example() -> Json;
}

/// Fields that most bodies have at most.
const FIELDS: usize = 16;

/// Reads a body. An empty text is an object without fields: what is missing is then named.
pub fn read<B: Body>(text: &str) -> Result<B, Unread> {
    let (body, wrong) = Form::over(text, B::fields);
    match (body, wrong) {
        (_, Some(wrong)) => Err(wrong),
        (Some(body), None) => Ok(body),
        (None, None) => Err(Unread::Fields(Vec::new())),
    }
}

/// The items of an array of at most `most`, each as text, to be read by itself.
pub fn array(text: &str, most: usize) -> Result<Vec<&str>, Unread> {
    let Items { kept, count } = match raw::items(text, most) {
        Ok(items) => items,
        Err(error) => {
            return Err(strict::check(text).map_or_else(Unread::NotJson, |()| Unread::of(&error)));
        }
    };
    if count > most {
        return Err(Unread::TooMany { count, most });
    }
    Ok(kept.into_iter().map(RawValue::get).collect())
}

/// The schema of a body, and those of the objects in it.
#[must_use]
pub fn describe<B: Body>() -> (Json, Map<String, Json>) {
    let mut form = Form::describing();
    let _ = B::fields(&mut form);
    let (mut schema, named) = form.schema();
    schema["examples"] = json!([B::example()]);
    (schema, named)
}

/// An object being read, or described. A field that is `null` counts as absent.
pub struct Form<'a> {
    at: String,
    source: Source<'a>,
    known: Vec<&'static str>,
    errors: Vec<FieldError>,
    /// A list that is too long: its items, and what is allowed.
    too_many: Option<(usize, usize)>,
}

enum Source<'a> {
    /// What is left of the fields that were given.
    Given(Vec<(Cow<'a, str>, &'a RawValue)>),
    /// Nothing: what is asked for is written down.
    Asked(Asked),
}

#[derive(Default)]
struct Asked {
    properties: Map<String, Json>,
    required: Vec<&'static str>,
    /// Schemas of objects within, by their names.
    named: Map<String, Json>,
}

impl<'a> Form<'a> {
    /// Reads the object that a text is. Without a value the text is no object; without what is wrong
    /// all is well.
    pub fn over<T>(
        text: &'a str,
        fields: impl FnOnce(&mut Self) -> T,
    ) -> (Option<T>, Option<Unread>) {
        let text = if text.trim().is_empty() { "{}" } else { text };
        let Fields(given) = match serde_json::from_str(text) {
            Ok(fields) => fields,
            Err(error) => return (None, Some(no_object(text, &error))),
        };
        let mut form = Self::new("", Source::Given(given));
        let value = fields(&mut form);
        if let Some((count, most)) = form.too_many {
            return (None, Some(Unread::TooMany { count, most }));
        }
        let errors = form.finish();
        if errors.is_empty() {
            return (Some(value), None);
        }
        // What no reader can take is said first: the fields may only look wrong because of it.
        let wrong = match strict::check(text) {
            Err(why) => Unread::NotJson(why),
            Ok(()) => Unread::Fields(errors),
        };
        (Some(value), Some(wrong))
    }

    fn describing() -> Self {
        Self::new("", Source::Asked(Asked::default()))
    }

    fn new(at: &str, source: Source<'a>) -> Self {
        Self {
            at: at.to_owned(),
            source,
            known: Vec::with_capacity(FIELDS),
            errors: Vec::new(),
            too_many: None,
        }
    }

    /// The schema of what was asked for.
    fn schema(self) -> (Json, Map<String, Json>) {
        let Source::Asked(asked) = self.source else { return (json!({}), Map::new()) };
        let mut schema = json!({
            "type": "object",
            "properties": asked.properties,
            "additionalProperties": false,
        });
        if !asked.required.is_empty() {
            schema["required"] = json!(asked.required);
        }
        (schema, asked.named)
    }

    /// The pointer of a field.
    pub(super) fn pointer(&self, name: &str) -> String {
        below(&self.at, name)
    }

    /// Records that a field is wrong.
    pub(super) fn wrong(&mut self, name: &str, detail: impl Into<String>) {
        let pointer = self.pointer(name);
        self.tell(FieldError::new(pointer, detail));
    }

    /// Records that the object as a whole is wrong.
    pub(super) fn wrong_here(&mut self, detail: impl Into<String>) {
        let pointer = self.at.clone();
        self.tell(FieldError::new(pointer, detail));
    }

    /// Records an error, unless there are enough, or nothing is read.
    fn tell(&mut self, error: FieldError) {
        if matches!(self.source, Source::Given(_)) && !self.is_full() {
            self.errors.push(error);
        }
    }

    /// Whether so much is wrong that reading on tells nothing more.
    fn is_full(&self) -> bool {
        self.errors.len() >= limits::ERRORS
    }

    /// Whether something was found wrong so far.
    pub(super) fn has_errors(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Takes a field as it is.
    fn any(&mut self, name: &'static str, schema: impl FnOnce() -> Json) -> Option<&'a RawValue> {
        self.known.push(name);
        match &mut self.source {
            Source::Given(given) => {
                let at = given.iter().position(|(other, _)| *other == name)?;
                Some(given.remove(at).1)
            }
            Source::Asked(asked) => {
                asked.properties.insert(name.to_owned(), schema());
                None
            }
        }
    }

    /// Takes a field unless it is `null`.
    fn value(&mut self, name: &'static str, schema: impl FnOnce() -> Json) -> Option<&'a RawValue> {
        self.any(name, schema).filter(|value| value.get() != "null")
    }

    /// Looks at a field that holds no others without taking it.
    fn peek(&self, name: &str) -> Option<Json> {
        let Source::Given(given) = &self.source else { return None };
        let (_, value) = given.iter().find(|(other, _)| *other == name)?;
        Some(raw::scalar(value))
    }

    /// Whether a field is there and not `null`; all are, of what is described.
    pub(super) fn is_given(&self, name: &str) -> bool {
        match &self.source {
            Source::Given(given) => {
                given.iter().any(|(other, value)| *other == name && value.get() != "null")
            }
            Source::Asked(_) => true,
        }
    }

    /// Takes a field that holds no others.
    fn read<T>(
        &mut self,
        name: &'static str,
        wanted: &dyn Fn() -> String,
        schema: impl FnOnce() -> Json,
        read: impl FnOnce(Json) -> Option<T>,
    ) -> Option<T> {
        let value = self.value(name, schema)?;
        let found = read(raw::scalar(value));
        if found.is_none() {
            self.wrong(name, format!("give {}, this is {}", wanted(), kind_of(value)));
        }
        found
    }

    /// Adds to the description of a field that was just taken.
    pub(super) fn also(&mut self, name: &str, more: Json) {
        if let Source::Asked(asked) = &mut self.source
            && let (Some(Json::Object(schema)), Json::Object(more)) =
                (asked.properties.get_mut(name), more)
        {
            schema.extend(more);
        }
    }

    /// Records that a field is missing if it is.
    pub(super) fn must(&mut self, name: &'static str) {
        let missing = match &mut self.source {
            Source::Given(given) => {
                !given.iter().any(|(other, value)| *other == name && value.get() != "null")
            }
            Source::Asked(asked) => {
                asked.required.push(name);
                false
            }
        };
        if missing {
            self.known.push(name);
            self.wrong(name, "this field is required");
        }
    }

    /// The same for a field in which `null` is a value.
    pub(super) fn must_be_there(&mut self, name: &'static str, otherwise: &str) {
        match &mut self.source {
            Source::Given(given) => {
                if !given.iter().any(|(other, _)| *other == name) {
                    self.wrong(name, otherwise);
                }
            }
            Source::Asked(asked) => asked.required.push(name),
        }
    }

    /// All that is wrong, unknown fields included.
    fn finish(self) -> Vec<FieldError> {
        let Self { at, source, known, mut errors, .. } = self;
        let Source::Given(left) = source else { return errors };
        let strangers = left.iter().filter(|(name, _)| !known.contains(&&**name));
        for (name, _) in strangers.take(limits::ERRORS.saturating_sub(errors.len())) {
            let pointer = below(&at, name);
            let detail = unknown("field", name, &known);
            errors.push(FieldError { pointer, detail, unknown: true });
        }
        errors
    }
}

/// The pointer (RFC 6901) of a field of the object at `at`.
fn below(at: &str, name: &str) -> String {
    let name = crate::text::cut(name, 200).replace('~', "~0").replace('/', "~1");
    format!("{at}/{name}")
}

/// A reference to a schema by its name.
#[must_use]
pub fn named(schema: &str) -> Json {
    json!({"$ref": format!("#/components/schemas/{schema}")})
}

/// Why a text is no object.
fn no_object(text: &str, error: &serde_json::Error) -> Unread {
    if let Err(why) = strict::check(text) {
        return Unread::NotJson(why);
    }
    match serde_json::from_str::<&RawValue>(text) {
        Ok(value) if !value.get().starts_with('{') => {
            Unread::field("", format!("give an object, this is {}", kind_of(value)))
        }
        _ => Unread::of(error),
    }
}

/// Says that a name is not known and which one was probably meant.
#[must_use]
pub fn unknown(what: &str, name: &str, known: &[&str]) -> String {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    fn errors<T>(text: &str, fields: impl FnOnce(&mut Form<'_>) -> T) -> Vec<FieldError> {
        match Form::over(text, fields).1 {
            Some(Unread::Fields(errors)) => errors,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn all_mistakes_are_found_at_once_and_with_their_pointers() {
        let errors = errors(
            r#"{"max": "3", "tpye": "a", "at": "now", "s": "", "in": {"n": -1, "m": 2}}"#,
            |form| {
                assert_eq!(form.whole("max", 1..=10), None);
                assert_eq!(form.time("at"), None);
                assert_eq!(form.text("s", 5), None);
                form.must("type");
                assert_eq!(form.name("type"), None);
                form.object("in", "Inner", |inner| inner.whole("n", 0..=1));
            },
        );
        let pointers: Vec<&str> = errors.iter().map(|error| error.pointer.as_str()).collect();
        assert_eq!(pointers, ["/max", "/at", "/s", "/type", "/in/n", "/in/m", "/tpye"]);
        assert!(errors[6].detail.contains("did you mean \"type\""), "{}", errors[6].detail);
        assert!(errors[6].unknown);
    }

    #[test]
    fn reading_ends_when_enough_is_wrong() {
        let fields: Vec<String> = (0..1_000).map(|at| format!("\"f{at}\":{at}")).collect();
        let text = format!("{{{}}}", fields.join(","));
        assert_eq!(errors(&text, |_| ()).len(), limits::ERRORS);
        let text = format!("{{\"ids\":[{}0],\"x\":1}}", "0,".repeat(1_000));
        let errors = errors(&text, |form| assert!(form.ids::<Id>("ids", 5_000).is_empty()));
        assert_eq!(errors.len(), limits::ERRORS);
        let long = unknown("field", &"k".repeat(8_000_000), &["key"]);
        assert!(long.len() < 200, "{}", long.len());
    }

    #[test]
    fn null_is_absent_and_a_far_name_is_not_guessed() {
        let errors = errors(r#"{"due": null, "colour": 1}"#, |form| form.time("due"));
        assert_eq!(errors.len(), 1);
        assert!(errors[0].detail.contains("known: due"), "{}", errors[0].detail);
    }

    #[test]
    fn what_is_no_object_or_no_json_is_said_so() {
        let wrong = |text| Form::over(text, |_| ()).1.unwrap().words();
        assert_eq!(wrong("[1]"), "give an object, this is an array");
        assert!(wrong(r#"{"a":1,"a":2}"#).contains("twice"), "{}", wrong(r#"{"a":1,"a":2}"#));
        assert!(wrong("{").contains("not valid JSON"), "{}", wrong("{"));
        assert!(wrong(r#"{"x":"\ud800"}"#).contains("/x"), "{}", wrong(r#"{"x":"\ud800"}"#));
        assert_eq!(Form::over("", |_| ()).1, None);
    }

    #[test]
    fn the_same_function_describes_what_it_reads() {
        struct Inner;
        impl Body for Inner {
            const NAME: &'static str = "Thing";
            fn fields(form: &mut Form<'_>) -> Self {
                form.must_text("name", 9);
                form.whole("many", 1..=7);
                form.also("many", json!({"default": 3}));
                form.object("deep", "Deep", |deep| deep.flag("yes"));
                form.wrong("name", "what is not read is not wrong");
                Self
            }
            fn example() -> Json {
                json!({"name": "a"})
            }
        }
        let (schema, named) = describe::<Inner>();
        assert_eq!(schema["required"], json!(["name"]));
        assert_eq!(schema["properties"]["name"]["maxLength"], 9);
        assert_eq!(schema["properties"]["many"]["default"], 3);
        assert_eq!(schema["properties"]["deep"]["$ref"], "#/components/schemas/Deep");
        assert_eq!(named["Deep"]["properties"]["yes"]["type"], "boolean");
    }
}
