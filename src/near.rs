//! The name that was probably meant.

/// Longest name that is compared: comparing takes time and room by the product of both lengths.
const COMPARED: usize = 80;
/// Names that are listed when none is near.
const LISTED: usize = 20;

/// The nearest of the known names, if one is near enough to be meant.
#[must_use]
pub(crate) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = plain(crate::text::cut(word, COMPARED));
    let distance = |other: &str| strsim::damerau_levenshtein(&word, &plain(other));
    let near = known.into_iter().map(|other| (distance(other), other)).min();
    near.filter(|(distance, other)| *distance <= other.len().max(word.len()) / 3)
        .map(|(_, other)| other)
}

/// What to write instead of an unknown name: the nearest one, else all of them, behind `head`.
#[must_use]
pub(crate) fn advise<'a>(
    word: &str,
    head: &str,
    known: impl IntoIterator<Item = &'a str> + Clone,
) -> String {
    if let Some(near) = nearest(word, known.clone()) {
        return format!("did you mean {near}?");
    }
    let mut names: Vec<&str> = known.into_iter().collect();
    names.sort_unstable();
    names.dedup();
    if names.is_empty() {
        return format!("{head}: none");
    }
    let more = if names.len() > LISTED { ", …" } else { "" };
    names.truncate(LISTED);
    format!("{head}: {}{more}", names.join(", "))
}

/// `Data-Dir` and `data_dir` are the same slip.
fn plain(word: &str) -> String {
    word.to_lowercase().replace('-', "_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_recognised_and_a_stranger_gets_the_list() {
        let known = ["acme", "beta"];
        assert_eq!(nearest("acne", known), Some("acme"));
        assert_eq!(nearest("zzzz", known), None);
        assert_eq!(advise("Acme", "there are", known), "did you mean acme?");
        assert_eq!(advise("x", "there are", known), "there are: acme, beta");
        assert_eq!(advise("x", "there are", []), "there are: none");
        assert_eq!(nearest(&"x".repeat(1 << 20), known), None);
    }
}
