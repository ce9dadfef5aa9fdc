//! Rows of lists, and pages of them.

use schemars::JsonSchema;
use serde::Serialize;

/// A page of a list.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "{T}Page")]
pub struct Listed<T> {
    /// The rows, perhaps fewer than were asked for.
    pub items: Vec<T>,
    /// For the next page; absent when there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cursor: Option<String>,
}

/// A row of a list.
pub trait Row {
    /// About how many bytes it has as JSON, so that no page outgrows its bounds.
    fn bytes(&self) -> usize;
}

/// Bytes of the names and short values of a row.
pub(super) const ROW_BYTES: usize = 600;

/// Bytes of a text that may be there.
pub(super) fn len(text: Option<&String>) -> usize {
    text.map_or(0, String::len)
}
