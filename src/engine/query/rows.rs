//! Pages: no page outgrows its rows or its bytes.

use super::page::{Page, hex, limit};
use crate::engine::view::{Listed, Row};
use crate::kv::Key;
use crate::limits;

/// Rows of a page so far.
#[derive(Debug)]
pub(super) struct Rows<T> {
    items: Vec<T>,
    bytes: usize,
    most: usize,
}

impl<T: Row> Rows<T> {
    pub(super) fn new(page: &Page) -> Self {
        Self { items: Vec::new(), bytes: 0, most: limit(page) }
    }

    /// A list that is never longer than this.
    pub(super) fn whole() -> Self {
        Self { items: Vec::new(), bytes: 0, most: usize::MAX }
    }

    pub(super) fn push(&mut self, row: T) {
        self.bytes += row.bytes();
        self.items.push(row);
    }

    /// Whether the page ends here: it has the rows that were asked for, or its bytes.
    pub(super) fn is_full(&self) -> bool {
        self.items.len() >= self.most || self.bytes >= limits::PAGE_BYTES
    }

    /// The page, with the cursor of the next one if there may be more.
    pub(super) fn page(self, next: Option<Key>) -> Listed<T> {
        Listed { items: self.items, cursor: next.map(|next| hex(&next)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq)]
    struct Bytes(usize);

    impl Row for Bytes {
        fn bytes(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn a_page_ends_at_its_rows_and_at_its_bytes() {
        let page = Page { limit: 3, cursor: None };
        let mut rows = Rows::new(&page);
        for _ in 0..3 {
            assert!(!rows.is_full());
            rows.push(Bytes(1));
        }
        assert!(rows.is_full());
        let listed = rows.page(Some(vec![1, 255]));
        assert_eq!((listed.items.len(), listed.cursor.as_deref()), (3, Some("01ff")));
        let mut rows = Rows::new(&Page { limit: 1_000, cursor: None });
        rows.push(Bytes(limits::PAGE_BYTES));
        assert!(rows.is_full());
        assert!(Rows::<Bytes>::whole().page(None).items.is_empty());
    }
}
