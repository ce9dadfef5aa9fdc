//! Texts from elsewhere: cut to a length, harmless on a terminal.

/// Cuts a text to at most `bytes` bytes without splitting a character.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Whether a terminal does something else with a character than show it in its place: control
/// characters, those that turn the direction of writing (Unicode Standard Annex 9), line ends of
/// Unicode, and invisible tags.
pub(crate) fn is_obeyed(c: char) -> bool {
    let turns = matches!(c, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2066}'..='\u{2069}');
    let breaks_or_turns = matches!(c, '\u{2028}'..='\u{202e}');
    c.is_control() || turns || breaks_or_turns || matches!(c, '\u{e0000}'..='\u{e007f}')
}

/// The text with spaces for what a terminal would obey: one line, in its order.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if is_obeyed(c) { ' ' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_is_not_split() {
        assert_eq!(
            (cut("通知", 5), cut("通知", 6), cut("a", 0), cut("", 3)),
            ("通", "通知", "", "")
        );
    }

    #[test]
    fn what_a_terminal_obeys_is_blanked() {
        assert_eq!(clean("a\u{1b}[2Jb\nc通"), "a [2Jb c通");
        assert_eq!(clean("a\u{202e}b\u{9b}c\u{2066}d\u{2028}e\u{e0041}f"), "a b c d e f");
    }
}
