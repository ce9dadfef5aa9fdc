//! JSON objects and lists from strangers, one level at a time: what is inside a value is not looked at
//! before it is asked for, so a body of a few megabytes takes no more than that.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::Value as Json;
use serde_json::value::RawValue;

use crate::text::cut;

/// The fields of an object in their order, each name once.
pub(super) struct Fields<'a>(pub(super) Vec<(Cow<'a, str>, &'a RawValue)>);

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// An object has few fields: above this many a set is faster than a look at each.
const FEW: usize = 64;

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;
        impl<'de> Visitor<'de> for Read {
            type Value = Fields<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields: Vec<(Cow<'de, str>, &'de RawValue)> = Vec::with_capacity(8);
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, _>()? {
                    if fields.len() < FEW && fields.iter().any(|(other, _)| *other == name) {
                        return Err(twice(&name));
                    }
                    fields.push((name, value));
                }
                if fields.len() > FEW {
                    let mut names: Vec<&str> = fields.iter().map(|(name, _)| &**name).collect();
                    names.sort_unstable();
                    if let Some(pair) = names.windows(2).find(|pair| pair[0] == pair[1]) {
                        return Err(twice(pair[0]));
                    }
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Read)
    }
}

fn twice<E: Error>(name: &str) -> E {
    E::custom(format_args!("the field {:?} is given twice", cut(name, 80)))
}

/// The items of a list as text, and how many there are. Those above a bound are only counted.
pub(super) struct Items<'a> {
    pub(super) kept: Vec<&'a RawValue>,
    pub(super) count: usize,
}

/// Reads a list.
pub(super) fn items(text: &str, most: usize) -> serde_json::Result<Items<'_>> {
    struct Count(usize);
    impl<'de> Visitor<'de> for Count {
        type Value = Items<'de>;
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }
        fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Items<'de>, A::Error> {
            let mut items = Items { kept: Vec::new(), count: 0 };
            while items.count < self.0 {
                let Some(item) = list.next_element()? else { return Ok(items) };
                items.kept.push(item);
                items.count += 1;
            }
            while list.next_element::<IgnoredAny>()?.is_some() {
                items.count += 1;
            }
            Ok(items)
        }
    }
    let mut reader = serde_json::Deserializer::from_str(text);
    let items = reader.deserialize_seq(Count(most))?;
    reader.end()?;
    Ok(items)
}

/// A value that holds no others; of one that does, only what kind it is.
pub(super) fn scalar(value: &RawValue) -> Json {
    match value.get().as_bytes().first() {
        Some(b'{') => Json::Object(serde_json::Map::new()),
        Some(b'[') => Json::Array(Vec::new()),
        _ => serde_json::from_str(value.get()).unwrap_or_default(),
    }
}

/// What a value is, in words, short.
pub(super) fn kind_of(value: &RawValue) -> String {
    match scalar(value) {
        Json::Null => "null".to_owned(),
        Json::Bool(flag) => format!("the boolean {flag}"),
        Json::Number(number) => format!("the number {number}"),
        Json::String(text) => format!("the string {:?}", cut(&text, 40)),
        Json::Array(_) => "an array".to_owned(),
        Json::Object(_) => "an object".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_are_counted_and_only_so_many_are_kept() {
        let text = format!("[{}7]", "0,".repeat(99_999));
        let found = items(&text, 1_000).unwrap();
        assert_eq!((found.kept.len(), found.count), (1_000, 100_000));
        let found = items("[{\"a\": 1}, 2]", 1_000).unwrap();
        assert_eq!((found.kept[0].get(), found.count), ("{\"a\": 1}", 2));
        assert!(items("{}", 1).is_err());
        assert!(items("[1] 2", 1).is_err());
    }

    #[test]
    fn fields_are_read_one_level_deep_and_once_each() {
        fn read(text: &str) -> serde_json::Result<Fields<'_>> {
            serde_json::from_str(text)
        }
        let fields = read(r#"{"a\u00e4": {"b": [1]}, "c": null}"#).unwrap().0;
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (&**name, value.get())).collect();
        assert_eq!(fields, [("aä", "{\"b\": [1]}"), ("c", "null")]);
        for bad in [r#"{"a":1,"a":2}"#, "[1]", "{", "7"] {
            assert!(read(bad).is_err(), "{bad}");
        }
        let many: Vec<String> = (0..500).map(|at| format!("\"f{at}\":0")).collect();
        let (good, bad) = (many.join(","), format!("{},\"f9\":1", many.join(",")));
        assert_eq!(read(&format!("{{{good}}}")).map(|fields| fields.0.len()).ok(), Some(500));
        assert!(read(&format!("{{{bad}}}")).is_err());
    }

    #[test]
    fn a_heavy_value_is_named_and_not_read() {
        let heavy = format!("[{}0]", "{},".repeat(100_000));
        let value: &RawValue = serde_json::from_str(&heavy).unwrap();
        assert_eq!(kind_of(value), "an array");
        let value: &RawValue = serde_json::from_str("\"x\"").unwrap();
        assert_eq!(kind_of(value), "the string \"x\"");
    }
}
