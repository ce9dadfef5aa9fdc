//! Words that stand for the cases of a type: in JSON, in filters, in the description of the API.

/// A type whose cases have names.
pub trait Named: Copy + Sized + 'static {
    /// All cases, in the order in which they are shown.
    const ALL: &'static [Self];

    /// The name in JSON.
    fn word(self) -> &'static str;

    /// The case of this name.
    #[must_use]
    fn of_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|case| case.word() == word)
    }

    /// All names, as in "a, b or c".
    #[must_use]
    fn words() -> String {
        let mut words: Vec<&str> = Self::ALL.iter().map(|case| case.word()).collect();
        let last = words.pop().unwrap_or_default();
        if words.is_empty() { last.to_owned() } else { format!("{} or {last}", words.join(", ")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    enum Size {
        Small,
        Large,
    }

    impl Named for Size {
        const ALL: &'static [Self] = &[Self::Small, Self::Large];

        fn word(self) -> &'static str {
            match self {
                Self::Small => "small",
                Self::Large => "large",
            }
        }
    }

    #[test]
    fn a_case_is_found_by_its_word() {
        assert_eq!(Size::of_word("large"), Some(Size::Large));
        assert_eq!(Size::of_word("Large"), None);
        assert_eq!(Size::words(), "small or large");
    }
}
