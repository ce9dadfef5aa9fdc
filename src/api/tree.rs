//! JSON from strangers: trees of bounded weight.
//!
//! A text of 8 MB can ask for a tree of 800: an empty object in a list takes three bytes to write
//! and an object of one field some 650 to hold. So a tree has a weight, and reading ends where it
//! is too heavy.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value as Json};

use super::unread::Unread;
use crate::limits;

/// A value in a list that grew by doubling.
const VALUE_BYTES: usize = 2 * size_of::<Json>();
/// The first node of an object's tree, whatever it holds.
const OBJECT_BYTES: usize = 704;
/// A field in a node that is not full.
const FIELD_BYTES: usize = 96;
/// What an allocation costs beside its bytes.
const ALLOCATION_BYTES: usize = 16;

/// Reads a tree of at most [`limits::TREE_BYTES`]. A field that is given twice is refused.
pub(super) fn parse(bytes: &[u8]) -> Result<Json, Unread> {
    parse_within(bytes, limits::TREE_BYTES)
}

fn parse_within(bytes: &[u8], weight: usize) -> Result<Json, Unread> {
    let (left, spent) = (Cell::new(weight), Cell::new(false));
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let tree = Tree { left: &left, spent: &spent }.deserialize(&mut reader);
    match tree.and_then(|tree| reader.end().map(|()| tree)) {
        Ok(tree) => Ok(tree),
        Err(_) if spent.get() => Err(Unread::TooHeavy),
        Err(error) => Err(Unread::of(&error)),
    }
}

/// Reads one value and takes its weight from what is left.
#[derive(Clone, Copy)]
struct Tree<'a> {
    left: &'a Cell<usize>,
    spent: &'a Cell<bool>,
}

impl Tree<'_> {
    fn weigh<E: Error>(self, bytes: usize) -> Result<(), E> {
        match self.left.get().checked_sub(bytes) {
            Some(left) => {
                self.left.set(left);
                Ok(())
            }
            None => {
                self.spent.set(true);
                Err(E::custom("too many values"))
            }
        }
    }
}

impl<'de> DeserializeSeed<'de> for Tree<'_> {
    type Value = Json;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Json, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Tree<'_> {
    type Value = Json;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Json, E> {
        Ok(Json::Null)
    }

    fn visit_bool<E>(self, flag: bool) -> Result<Json, E> {
        Ok(Json::Bool(flag))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_u64<E>(self, number: u64) -> Result<Json, E> {
        Ok(Json::Number(number.into()))
    }

    fn visit_f64<E>(self, number: f64) -> Result<Json, E> {
        Ok(Number::from_f64(number).map_or(Json::Null, Json::Number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Json, E> {
        self.weigh(text.len() + ALLOCATION_BYTES)?;
        Ok(Json::String(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Json, E> {
        self.weigh(text.len() + ALLOCATION_BYTES)?;
        Ok(Json::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Json, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element_seed(self)? {
            self.weigh(VALUE_BYTES)?;
            list.push(item);
        }
        Ok(Json::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Json, A::Error> {
        let mut map = Map::new();
        while let Some(name) = fields.next_key::<String>()? {
            let node = if map.is_empty() { OBJECT_BYTES } else { FIELD_BYTES };
            self.weigh(node + name.len() + ALLOCATION_BYTES)?;
            if map.contains_key(&name) {
                let name = crate::text::cut(&name, 80);
                return Err(A::Error::custom(format_args!("the field {name:?} is given twice")));
            }
            let value = fields.next_value_seed(self)?;
            map.insert(name, value);
        }
        Ok(Json::Object(map))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[test]
    fn a_tree_is_what_serde_json_reads() {
        for text in [
            "null",
            "[]",
            "{}",
            r#"{"a":[1,-2,3.5,true,null,"x\u00e4\n"],"b":{"c":{}},"":""}"#,
            "18446744073709551615",
            "[1e300]",
        ] {
            let wanted: Json = serde_json::from_str(text).unwrap();
            assert_eq!(parse(text.as_bytes()).unwrap(), wanted, "{text}");
        }
        for text in ["", "{", "[1,]", "{} x", "\u{1}", "[1e999]", r#"{"a":1,"a":2}"#] {
            assert!(matches!(parse(text.as_bytes()), Err(Unread::NotJson(_))), "{text}");
        }
        let deep = format!("{}{}", "[".repeat(200), "]".repeat(200));
        assert!(matches!(parse(deep.as_bytes()), Err(Unread::NotJson(_))));
    }

    #[test]
    fn a_heavy_tree_is_given_up() {
        let many = |item: &str| format!("[{}{item}]", format!("{item},").repeat(999));
        for item in ["0", "{}", r#"{"":0}"#, r#""x""#, "[0]", r#"{"a":{"b":{}}}"#] {
            let text = many(item);
            assert!(parse_within(text.as_bytes(), 3_000_000).is_ok(), "{item}");
            let got = parse_within(text.as_bytes(), 50_000).unwrap_err();
            assert_eq!(got, Unread::TooHeavy, "{item}");
        }
        let fields: Vec<String> = (0..1_000).map(|at| format!("\"k{at}\":0")).collect();
        let text = format!("{{{}}}", fields.join(","));
        assert_eq!(parse_within(text.as_bytes(), 50_000), Err(Unread::TooHeavy));
    }
}
