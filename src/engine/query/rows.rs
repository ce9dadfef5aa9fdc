//! Pages as text: what was stored as JSON goes out as it came, and no page outgrows its bytes.

use serde_json::Value as Json;
use serde_json::value::RawValue;

use super::page::{Page, Text, hex, limit};
use crate::kv::Key;
use crate::limits;

/// Rows of a page so far.
#[derive(Debug)]
pub(super) struct Rows {
    text: String,
    count: usize,
    most: usize,
}

impl Rows {
    pub(super) fn new(page: &Page) -> Self {
        Self { text: String::new(), count: 0, most: limit(page) }
    }

    /// A list that is never longer than this.
    pub(super) fn whole() -> Self {
        Self { text: String::new(), count: 0, most: usize::MAX }
    }

    pub(super) fn push(&mut self, row: impl Into<Text>) {
        if self.count > 0 {
            self.text.push(',');
        }
        self.text.push_str(&row.into().0);
        self.count += 1;
    }

    /// Whether the page ends here: it has the rows that were asked for, or its bytes.
    pub(super) fn is_full(&self) -> bool {
        self.count >= self.most || self.text.len() >= limits::PAGE_BYTES
    }

    /// The page, with the cursor of the next one if there may be more.
    pub(super) fn page(self, next: Option<Key>) -> Text {
        let mut text = format!("{{\"items\":[{}]", self.text);
        if let Some(next) = next {
            let cursor = hex(&next);
            text.push_str(&format!(",\"cursor\":\"{cursor}\""));
        }
        text.push('}');
        Text(text)
    }
}

/// A document with fields that are JSON texts already: these stay as they are, byte for byte. One that
/// no parser takes is shown as a string under its name and `_text`; one with line breaks, which would
/// end a line of NDJSON, is put on one line.
pub(super) fn with_raw(document: &Json, fields: &[(&str, &str)]) -> Text {
    let mut text = document.to_string();
    text.pop();
    for (name, raw) in fields {
        let fits = serde_json::from_str::<&RawValue>(raw).is_ok();
        let one_line = fits && !raw.contains(['\n', '\r']);
        let separator = if text.len() > 1 { "," } else { "" };
        text.push_str(&match (fits, one_line) {
            (_, true) => format!("{separator}\"{name}\":{raw}"),
            (true, false) => {
                let bare: String = raw.replace(['\n', '\r'], " ");
                format!("{separator}\"{name}\":{bare}")
            }
            (false, false) => {
                format!("{separator}\"{name}_text\":{}", Json::String((*raw).to_owned()))
            }
        });
    }
    text.push('}');
    Text(text)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_was_stored_is_shown_as_it_came() {
        let raw = "{\"big\":12345678901234567890123, \"price\":1.10,\"e\":1E2,\"z\":-0}";
        let shown = with_raw(&json!({"id": "1"}), &[("payload", raw)]);
        assert_eq!(shown.0, format!("{{\"id\":\"1\",\"payload\":{raw}}}"));
        assert_eq!(with_raw(&json!({}), &[("a", "1"), ("b", "2")]).0, "{\"a\":1,\"b\":2}");
        assert_eq!(with_raw(&json!({}), &[("a", "[1,\n2]")]).0, "{\"a\":[1, 2]}");
        assert_eq!(with_raw(&json!({}), &[("a", "[1,")]).0, "{\"a_text\":\"[1,\"}");
    }

    #[test]
    fn a_page_ends_at_its_rows_and_at_its_bytes() {
        let page = Page { limit: 3, cursor: None };
        let mut rows = Rows::new(&page);
        for number in 0..3 {
            assert!(!rows.is_full());
            rows.push(json!({"n": number}));
        }
        assert!(rows.is_full());
        let wanted = "{\"items\":[{\"n\":0},{\"n\":1},{\"n\":2}],\"cursor\":\"01ff\"}";
        assert_eq!(rows.page(Some(vec![1, 255])).0, wanted);
        let mut rows = Rows::new(&Page { limit: 1_000, cursor: None });
        rows.push(json!({"long": "x".repeat(limits::PAGE_BYTES)}));
        assert!(rows.is_full());
        assert_eq!(Rows::whole().page(None).0, "{\"items\":[]}");
    }
}
