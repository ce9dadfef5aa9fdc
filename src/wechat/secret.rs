//! Texts that must not be seen in logs, errors and answers.

use std::fmt;

/// A secret or an access token. It has no `Display` and its `Debug` shows nothing of it.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the wire and the store only.
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
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_taken_out_of_texts_and_never_shown() {
        let secret = Secret::new("canary");
        assert_eq!(secret.scrub("a canary, canary!".into()), "a ***, ***!");
        assert_eq!(Secret::new("").scrub("abc".into()), "abc");
        assert_eq!(format!("{secret:?}"), "***");
    }
}
