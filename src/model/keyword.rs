//! Keyword kinds.

/// What happens to a value over its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Cut to the limit, ending in one `…`.
    Truncate,
    /// Refuse the notice or the recipient.
    #[default]
    Reject,
}
