//! One strictness for JSON that is taken in: what passes here can be read by every common reader.
//!
//! A payload is kept and given out as the text it came as. So whatever is promised at the exit is
//! checked at the door, the same at all of them: nesting, numbers that a double can hold, paired
//! surrogates, and no name twice in one object (readers disagree on which of them counts).

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{self, DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};

/// Deepest nesting of arrays and objects. Readers give up at 100 (PHP: 512, .NET: 64, serde: 128),
/// and an answer puts a payload three levels deeper.
pub const DEPTH: usize = 64;

/// What keeps a text from being read everywhere, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotReadable {
    /// JSON pointer (RFC 6901) of the value; empty for the whole text.
    pub pointer: String,
    /// In words: what is wrong and what would be right.
    pub detail: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1; 0 when the text ended early.
    pub column: usize,
}

/// Checks a text as a whole.
pub fn check(text: &str) -> Result<(), NotReadable> {
    let mut path = Vec::new();
    let mut reader = serde_json::Deserializer::from_str(text);
    let read = Look { path: &mut path }.deserialize(&mut reader).and_then(|()| reader.end());
    read.map_err(|error| NotReadable {
        pointer: pointer(&path),
        detail: words(&error),
        line: error.line(),
        column: error.column(),
    })
}

/// Whether a text can be read everywhere. What an earlier version took may not be.
#[must_use]
pub fn is_readable(text: &str) -> bool {
    check(text).is_ok()
}

/// Appends `"name":text`, or `"name_text":"…"` with the text as a JSON string where the text, taken
/// in by an earlier version, could not be read by everybody.
pub fn push_member(out: &mut String, name: &str, text: &str) {
    out.push('"');
    out.push_str(name);
    if is_readable(text) {
        out.push_str("\":");
        out.push_str(text);
    } else {
        out.push_str("_text\":");
        out.push_str(&quoted(text));
    }
}

/// A text as a JSON string.
#[must_use]
pub fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A step from a value to one inside.
enum Step {
    Name(String),
    At(usize),
}

fn pointer(path: &[Step]) -> String {
    let mut out = String::new();
    for step in path {
        out.push('/');
        match step {
            Step::Name(name) => {
                out.push_str(&crate::text::cut(name, 80).replace('~', "~0").replace('/', "~1"));
            }
            Step::At(at) => out.push_str(&at.to_string()),
        }
    }
    out
}

fn words(error: &serde_json::Error) -> String {
    let text = error.to_string();
    // The place is told beside it.
    let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
    if text.contains("number out of range") {
        return "no number of this size can be read everywhere: a double must hold it; give it \
                as a string"
            .to_owned();
    }
    if text.contains("surrogate") || text.contains("unexpected end of hex escape") {
        return format!("{text}: half of a character; \\ud800 to \\udfff go in pairs");
    }
    if text.contains("recursion limit") {
        return too_deep();
    }
    text.to_owned()
}

fn too_deep() -> String {
    format!("nested deeper than {DEPTH} levels, which not every reader can follow")
}

/// Walks over a value. On a mistake the path stays where it was found.
struct Look<'p> {
    path: &'p mut Vec<Step>,
}

impl Look<'_> {
    fn enter<E: de::Error>(&self) -> Result<(), E> {
        if self.path.len() >= DEPTH { Err(E::custom(too_deep())) } else { Ok(()) }
    }
}

impl<'de> DeserializeSeed<'de> for Look<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Look<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut at = 0;
        loop {
            self.path.push(Step::At(at));
            if items.next_element_seed(Look { path: &mut *self.path })?.is_none() {
                self.path.pop();
                return Ok(());
            }
            self.path.pop();
            at += 1;
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<(), A::Error> {
        self.enter()?;
        let mut names = BTreeSet::new();
        while let Some(name) = fields.next_key::<String>()? {
            self.path.push(Step::Name(name.clone()));
            if !names.insert(name) {
                return Err(A::Error::custom("this name is given twice in one object"));
            }
            fields.next_value_seed(Look { path: &mut *self.path })?;
            self.path.pop();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn nested(levels: usize) -> String {
        format!("{}{}", "[".repeat(levels), "]".repeat(levels))
    }

    #[test]
    fn what_everybody_can_read_passes() {
        for text in [
            "null",
            " {\"a\": [1, -0, 1.10, 1E2, 1970670598291982290, 12345678901234567890123]} ",
            r#""\ud83d\ude00""#,
            r#"{"a":{"a":1}}"#,
            nested(DEPTH).as_str(),
            "1e308",
        ] {
            assert_eq!(check(text), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_not_everybody_can_read_is_named_with_its_place() {
        for (text, place, words) in [
            (r#"{"a":[1,1e999]}"#, "/a/1", "double"),
            (&format!("{{\"n\":{}}}", "9".repeat(2000)), "/n", "double"),
            (r#"{"b":{"c":"\ud83d"}}"#, "/b/c", "pairs"),
            (r#""\ude00""#, "", "pairs"),
            (r#"{"a":1,"b":{"x":1,"x":2}}"#, "/b/x", "twice"),
            ("{\"a/b\":\"\\ud800x\"}", "/a~1b", "pairs"),
            ("[1,]", "/1", "trailing comma"),
            ("[1] 2", "", "trailing"),
            ("", "", "EOF"),
        ] {
            let told = check(text).expect_err(text);
            assert_eq!(told.pointer, place, "{text}: {told:?}");
            assert!(told.detail.contains(words), "{text}: {told:?}");
        }
        for levels in [DEPTH + 1, 127, 200, 30_000] {
            let told = check(&nested(levels)).expect_err("too deep");
            assert!(told.detail.contains("nested deeper than 64"), "{levels}: {told:?}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_shown_as_a_string() {
        let mut out = String::new();
        push_member(&mut out, "payload", r#"{"b":1.10, "a":2}"#);
        assert_eq!(out, r#""payload":{"b":1.10, "a":2}"#);
        out.clear();
        push_member(&mut out, "payload", r#""\ud83d""#);
        assert_eq!(out, r#""payload_text":"\"\\ud83d\"""#);
    }

    #[test]
    fn what_passes_is_read_alike_by_others() {
        use crate::mutants::Mutants;
        let samples: [&[u8]; 3] = [
            br#"{"a": [1, -2.5e3, "x\u00e9\ud83d\ude00", null, true], "b": {"c": {}}, "": 9007199254740993}"#,
            br#"[{"openid": "oA", "data": {"thing1": "a"}}, [[[[]]]], 0.1]"#,
            "\"通知\\n\"".as_bytes(),
        ];
        for bytes in Mutants::of(&samples, 30_000) {
            let Ok(text) = std::str::from_utf8(&bytes) else { continue };
            match check(text) {
                Ok(()) => {
                    let value: serde_json::Value = serde_json::from_str(text)
                        .unwrap_or_else(|error| panic!("{text:?}: {error}"));
                    assert!(check(&value.to_string()).is_ok(), "{text:?}");
                }
                Err(why) => assert!(!why.detail.is_empty(), "{text:?}"),
            }
        }
    }
}
