//! Which part of a list.

use crate::engine::refusal::{Code, Refusal};
use crate::kv::Key;
use crate::limits;

/// Rows that one query may look at before it answers with what it has and a cursor.
pub(in crate::engine) const SCAN_ROWS: usize = 5_000;

/// Which part of a list.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Rows, 1 to [`limits::PAGE_ITEMS`].
    pub limit: usize,
    /// Where an earlier page ended.
    pub cursor: Option<String>,
}

/// What is shown, or a no.
pub(super) type Shown<T> = Result<T, Refusal>;

/// Reads a cursor back; `start` when there is none.
pub(super) fn cursor(page: &Page, start: Key) -> Result<Key, Refusal> {
    let Some(text) = &page.cursor else { return Ok(start) };
    let nibbles = text.len() % 2 == 0 && text.len() <= 512 && text.is_ascii();
    let bytes: Option<Key> = (0..text.len() / 2)
        .map(|at| u8::from_str_radix(text.get(2 * at..2 * at + 2)?, 16).ok())
        .collect();
    bytes.filter(|_| nibbles).ok_or_else(|| {
        Refusal::field(Code::Invalid, "/cursor", "not a cursor: take the one of the page before")
    })
}

/// The rows asked for, within bounds.
#[must_use]
pub fn limit(page: &Page) -> usize {
    if page.limit == 0 { limits::PAGE_DEFAULT } else { page.limit.min(limits::PAGE_ITEMS) }
}

/// A key as a cursor.
pub(super) fn hex(key: &[u8]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}
