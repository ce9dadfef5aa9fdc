//! The caller's own marks on what it submits: an id of its own, and labels.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// Most characters of a caller's id, of a label's name, and of its value.
pub const MARK_CHARS: usize = 64;
/// Most labels of one thing.
pub const LABELS: usize = 8;

/// A caller's marks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks {
    /// The caller's own id for it; many things may have the same.
    #[serde(rename = "ref", default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
    /// Values by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
}

impl Marks {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.reference.is_none() && self.labels.is_empty()
    }

    /// Each of them by itself.
    #[must_use]
    pub fn each(&self) -> Vec<Mark> {
        let labels = self.labels.iter();
        let labels = labels.map(|(name, value)| Mark::Label(name.clone(), value.clone()));
        self.reference.iter().cloned().map(Mark::Ref).chain(labels).collect()
    }
}

/// One mark, as things are looked for by it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Mark {
    /// The caller's own id.
    Ref(String),
    /// A label's name and value.
    Label(String, String),
}

/// What is marked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Marked {
    /// Notices.
    Notice,
    /// Tasks.
    Task,
}

/// Why a text is no mark: `None` when it is one.
#[must_use]
pub fn wrong_text(text: &str) -> Option<String> {
    if text.is_empty() || text.chars().count() > MARK_CHARS {
        return Some(format!("give 1 to {MARK_CHARS} characters"));
    }
    text.chars().any(char::is_control).then(|| "give no control characters".to_owned())
}

/// Why a text is no label's name: `None` when it is one.
#[must_use]
pub fn wrong_name(name: &str) -> Option<String> {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    let right = !name.is_empty() && name.len() <= MARK_CHARS && name.bytes().all(plain);
    (!right).then(|| format!("a label's name is 1 to {MARK_CHARS} letters, digits, _ . or -"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_short_and_plain() {
        assert_eq!(wrong_text("订单 4711"), None);
        assert_eq!(wrong_text(&"订".repeat(64)), None);
        for bad in ["", "a\nb", &"x".repeat(65)] {
            assert!(wrong_text(bad).is_some(), "{bad}");
        }
        assert_eq!(wrong_name("env.prod-1_a"), None);
        for bad in ["", "a b", "a=b", "标签", &"x".repeat(65)] {
            assert!(wrong_name(bad).is_some(), "{bad}");
        }
    }
}
