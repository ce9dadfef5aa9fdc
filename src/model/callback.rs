//! What WeChat tells by itself: who follows, and what became of a message.

use crate::limits;
use crate::time::Timestamp;

/// One thing that WeChat told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Whom it is about.
    pub openid: String,
    /// When it happened by WeChat's clock, in whole seconds.
    pub at: Timestamp,
    /// What happened.
    pub what: What,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The person follows the account.
    Followed,
    /// No longer.
    Unfollowed,
    /// A message came to its end: `TEMPLATESENDJOBFINISH`.
    Receipt {
        /// The message's id, as the answer to its send gave it.
        msgid: String,
        /// `None` when it was delivered, else why not: `failed:user block`.
        failed: Option<String>,
    },
}

/// What a receipt's status says: `None` is delivered. Blanks do not count, WeChat writes them one way
/// and the other; what is unknown is a failure.
#[must_use]
pub fn failure(status: &str) -> Option<String> {
    let words: Vec<&str> = status.split(':').map(str::trim).collect();
    let status = words.join(":");
    if status.eq_ignore_ascii_case("success") {
        return None;
    }
    Some(crate::text::cut(&status, limits::TEXT_BYTES).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blanks_in_a_status_do_not_count() {
        assert_eq!(failure("success"), None);
        assert_eq!(failure(" Success "), None);
        assert_eq!(failure("failed:user block").as_deref(), Some("failed:user block"));
        assert_eq!(failure("failed: system failed").as_deref(), Some("failed:system failed"));
        assert_eq!(failure("").as_deref(), Some(""));
        assert_eq!(failure("something new").as_deref(), Some("something new"));
    }
}
