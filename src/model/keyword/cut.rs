//! Cutting a text to a limit so that it still reads as text.

/// What stands for the part that was cut off. One UTF-16 unit.
const ELLIPSIS: char = '…';

/// The beginning of `value` and one `…`, together at most `limit` UTF-16 units.
///
/// The cut never splits a character, and not what is seen as one (a letter with its accents, a
/// joined emoji, a flag) unless that alone is over the limit. `limit` is at least 1.
pub(super) fn with_ellipsis(value: &str, limit: usize) -> String {
    let kept = value[..boundary(value, limit.saturating_sub(1))].trim_end();
    let kept = kept.trim_end_matches(ELLIPSIS).trim_end();
    let mut cut = String::with_capacity(kept.len() + ELLIPSIS.len_utf8());
    cut.push_str(kept);
    cut.push(ELLIPSIS);
    cut
}

/// The last byte position of `text`, at most `room` UTF-16 units in, where it may be cut.
fn boundary(text: &str, room: usize) -> usize {
    let mut units = 0;
    let mut seen_whole = 0;
    let mut character_whole = 0;
    let mut before = None;
    let mut flag_halves = 0;
    for (at, c) in text.char_indices() {
        if units > room {
            break;
        }
        character_whole = at;
        let second_half = is_flag_half(c) && flag_halves % 2 == 1;
        if !second_half && !extends(c) && before != Some(JOINER) {
            seen_whole = at;
        }
        flag_halves = if is_flag_half(c) { flag_halves + 1 } else { 0 };
        before = Some(c);
        units += c.len_utf16();
    }
    if seen_whole == 0 { character_whole } else { seen_whole }
}

/// Joins what stands left and right of it into one emoji.
const JOINER: char = '\u{200d}';

/// Two of these make a flag.
fn is_flag_half(c: char) -> bool {
    ('\u{1f1e6}'..='\u{1f1ff}').contains(&c)
}

/// Whether `c` belongs to the character before it. The common cases, not all of Unicode: accents,
/// voicing marks, Thai and Devanagari vowels, joiners, variation selectors, skin tones, tags.
fn extends(c: char) -> bool {
    matches!(c,
        '\u{300}'..='\u{36f}'
        | '\u{591}'..='\u{5bd}'
        | '\u{64b}'..='\u{65f}'
        | '\u{900}'..='\u{903}'
        | '\u{93a}'..='\u{93c}'
        | '\u{93e}'..='\u{94f}'
        | '\u{e31}'
        | '\u{e34}'..='\u{e3a}'
        | '\u{e47}'..='\u{e4e}'
        | '\u{1ab0}'..='\u{1aff}'
        | '\u{1dc0}'..='\u{1dff}'
        | '\u{200c}'..='\u{200d}'
        | '\u{20d0}'..='\u{20ff}'
        | '\u{3099}'..='\u{309a}'
        | '\u{fe00}'..='\u{fe0f}'
        | '\u{fe20}'..='\u{fe2f}'
        | '\u{1f3fb}'..='\u{1f3ff}'
        | '\u{e0020}'..='\u{e007f}'
        | '\u{e0100}'..='\u{e01ef}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_seen_as_one_character_is_not_split() {
        for (value, limit, cut) in [
            ("abcdef", 4, "abc…"),
            ("ab😀cd", 4, "ab…"),
            ("ab😀cdef", 5, "ab😀…"),
            ("abe\u{301}fgh", 4, "ab…"),
            ("abe\u{301}fgh", 5, "abe\u{301}…"),
            ("ab👩\u{200d}👧xyz", 6, "ab…"),
            ("ab👍\u{1f3fd}xyz", 5, "ab…"),
            ("a🇨🇳🇫🇷xyz", 6, "a🇨🇳…"),
            ("a🇨🇳🇫🇷xyz", 8, "a🇨🇳…"),
            ("a❤\u{fe0f}bcd", 3, "a…"),
            ("ab  cdefgh", 5, "ab…"),
            ("ab…cdefgh", 4, "ab…"),
            ("abcdef", 1, "…"),
        ] {
            assert_eq!(with_ellipsis(value, limit), cut, "{value} {limit}");
        }
    }

    #[test]
    fn one_endless_character_is_cut_between_its_parts() {
        let value = format!("e{}", "\u{301}".repeat(50));
        assert_eq!(with_ellipsis(&value, 4), "e\u{301}\u{301}…");
    }

    #[test]
    fn no_cut_is_over_its_limit() {
        let value = "检a😀e\u{301}🇨🇳👩\u{200d}👧…  ".repeat(5);
        for limit in 1..60 {
            let cut = with_ellipsis(&value, limit);
            assert!(cut.encode_utf16().count() <= limit, "{limit} {cut}");
            assert!(cut.ends_with('…') && !cut.ends_with("……"), "{limit} {cut}");
        }
    }
}
