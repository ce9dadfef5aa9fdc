//! Templates as the provider lists them: which fields each has.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::store::Record;
use crate::store::schema::Tree;
use crate::time::Timestamp;

/// Most templates of an account that are kept: the provider allows 25.
pub const TEMPLATES: usize = 200;
/// Most fields of one.
const FIELDS: usize = 40;

/// A template that the provider listed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Learned {
    /// Its title there.
    pub title: String,
    /// Its fields in their order: `thing1`, `time2`.
    pub fields: Vec<String>,
    /// When it was last listed.
    pub seen: Timestamp,
    /// Since when it is listed no longer.
    pub gone: Option<Timestamp>,
}

impl Record for Learned {
    const TREE: Tree = Tree::Templates;
}

/// A template as it was just listed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// The provider's id.
    pub id: String,
    /// Its title.
    pub title: String,
    /// Its fields.
    pub fields: Vec<String>,
}

/// The fields in a template's content: what stands in `{{thing1.DATA}}`. The documents print the braces
/// apart.
#[must_use]
pub fn fields_of(content: &str) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for part in content.split('{').skip(1) {
        let Some((name, _)) = part.trim_start().split_once(".DATA") else { continue };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        let right = !name.is_empty() && name.len() <= 64 && name.bytes().all(plain);
        if right && found.len() < FIELDS && !found.iter().any(|field| field == name) {
            found.push(name.to_owned());
        }
    }
    found
}

/// What is worth saying of values that are sent as they are.
#[must_use]
pub fn remarks(data: &BTreeMap<String, String>) -> Vec<String> {
    let mut found = Vec::new();
    for (field, value) in data {
        if field == "first" || field == "remark" {
            found.push(format!("WeChat no longer shows {field}"));
        }
        if field.starts_with("keyword") && value.chars().count() > 20 {
            found.push(format!("WeChat cuts {field} at 20 characters"));
        }
        let emoji = value.chars().filter(|c| is_emoji(*c)).count();
        if emoji > 0 && emoji == value.chars().filter(|c| !c.is_whitespace()).count() {
            found.push(format!("WeChat removes emoji, and then nothing is left of {field}"));
        } else if emoji > 0 {
            found.push(format!("WeChat removes the emoji from {field}"));
        }
    }
    found
}

/// Pictographs, and what joins and colours them.
fn is_emoji(c: char) -> bool {
    matches!(u32::from(c), 0x1f000..=0x1faff | 0x2600..=0x27bf | 0xfe0f | 0x200d | 0x20e3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_from_the_content_in_both_spellings() {
        let content =
            "任务：{{thing1.DATA}}\n时间：{ {time2.DATA} }\n{{thing1.DATA}}{{x}}{{.DATA}}";
        assert_eq!(fields_of(content), ["thing1", "time2"]);
        assert_eq!(fields_of("{{first.DATA}}\n{{keyword1.DATA}}").len(), 2);
        assert!(fields_of("").is_empty());
    }

    #[test]
    fn what_wechat_drops_or_cuts_is_said() {
        let data =
            |field: &str, value: &str| BTreeMap::from([(field.to_owned(), value.to_owned())]);
        assert!(remarks(&data("thing1", "Boiler check 锅炉")).is_empty());
        assert!(remarks(&data("first", "hello"))[0].contains("first"));
        assert!(remarks(&data("keyword1", &"x".repeat(21)))[0].contains("20"));
        assert!(remarks(&data("thing1", "go 🎉"))[0].contains("emoji from thing1"));
        assert!(remarks(&data("thing1", "🎉🎉"))[0].contains("nothing is left"));
    }
}
