//! How far a start has come.

/// What a start is doing, for people who wait and for the service manager's timeout.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// sled opens its files: up to half a minute for millions of rows, without further news.
    OpeningStore,
    /// An image is loaded into a new base.
    LoadingImage {
        /// Rows so far.
        rows: u64,
        /// All rows.
        of: u64,
    },
    /// The journal is applied.
    Replaying {
        /// The commit just applied.
        seq: u64,
        /// The last one.
        last: u64,
    },
}
