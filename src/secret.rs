//! A text that must never be printed.

use std::fmt;

use subtle::ConstantTimeEq;

/// A secret: an app secret, an admin token, a signing key.
///
/// Its `Debug` form shows nothing of it, and it has no `Display`, so a secret can only get into
/// an output through [`Secret::expose`], which is easy to search for.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Takes a text as a secret.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself: for a request's body or header, for nothing else.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// `text` without this secret, for texts that come from outside and may repeat it.
    #[must_use]
    pub fn scrub(&self, text: String) -> String {
        if self.0.is_empty() || !text.contains(&self.0) {
            return text;
        }
        text.replace(&self.0, "***")
    }

    /// Whether somebody presented this secret. The time taken depends on the lengths only.
    #[must_use]
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.0.as_bytes().ct_eq(presented).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_of_texts() {
        let secret = Secret::new("canary");
        assert_eq!(secret.scrub("a canary, canary!".into()), "a ***, ***!");
        assert_eq!(Secret::new("").scrub("abc".into()), "abc");
    }

    #[test]
    fn debug_shows_nothing_of_the_text() {
        let secret = Secret::new("canary");
        assert_eq!(format!("{secret:?} {:?}", Some(&secret)), "Secret(…) Some(Secret(…))");
    }

    #[test]
    fn only_the_same_text_matches() {
        let secret = Secret::new("canary");
        assert!(secret.matches(b"canary"));
        for other in ["", "canar", "canary ", "Canary"] {
            assert!(!secret.matches(other.as_bytes()), "{other}");
        }
    }
}
