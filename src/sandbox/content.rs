//! The sandbox's own check of keyword values, after the provider's published table.

/// Whether the provider would take this value for this field.
pub(super) fn is_valid(field: &str, value: &str) -> bool {
    let kind = field.trim_end_matches(|c: char| c.is_ascii_digit());
    let units = value.encode_utf16().count();
    let line = !value.chars().any(char::is_control);
    if value.is_empty() {
        return kind == "const";
    }
    match kind {
        "thing" | "const" => units <= 20 && line,
        "short_thing" => units <= 5 && line,
        "character_string" => units <= 32 && line && !value.chars().any(is_han),
        "number" => units <= 32 && is_decimal(value),
        "letter" => units <= 32 && value.chars().all(|c| c.is_ascii_alphabetic()),
        "symbol" => units <= 5 && !value.chars().any(|c| is_han(c) || c.is_alphanumeric()),
        "phone_number" => units <= 17 && value.chars().all(|c| c.is_ascii_digit() || is_mark(c)),
        "car_number" => units <= 8 && line,
        "name" => is_person(value),
        "phrase" => units <= 5 && value.chars().all(is_han),
        "amount" => is_amount(value),
        "time" => value.contains(':') && line,
        "date" => value.chars().any(|c| c.is_ascii_digit()) && line,
        _ => units <= 200,
    }
}

fn is_han(c: char) -> bool {
    matches!(c, '\u{3400}'..='\u{4dbf}' | '\u{4e00}'..='\u{9fff}' | '\u{20000}'..='\u{323af}')
}

fn is_mark(c: char) -> bool {
    matches!(c, '+' | '-' | ' ' | '(' | ')')
}

fn is_decimal(value: &str) -> bool {
    let digits = value.strip_prefix('-').unwrap_or(value);
    let mut parts = digits.splitn(2, '.');
    let whole = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    parts.next().is_some_and(whole) && parts.next().is_none_or(whole)
}

fn is_amount(value: &str) -> bool {
    let value = value.strip_suffix('元').unwrap_or(value);
    let rest = value.trim_start_matches(['¥', '￥', '$', '€', '£']);
    let signs = value.chars().count() - rest.chars().count();
    let digits = rest.bytes().filter(u8::is_ascii_digit).count();
    signs <= 1 && (1..=12).contains(&digits) && is_decimal(rest)
}

fn is_person(value: &str) -> bool {
    let limit = if value.chars().any(is_han) { 10 } else { 20 };
    value.chars().count() <= limit && !value.chars().any(|c| c.is_ascii_digit() || c.is_control())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_judged_by_kind() {
        let long = "汉".repeat(21);
        for (field, value, valid) in [
            ("thing1", "Boiler check", true),
            ("thing1", long.as_str(), false),
            ("thing1", "two\nlines", false),
            ("phrase2", "已完成", true),
            ("phrase2", "13笔", false),
            ("character_string3", "AB-12", true),
            ("character_string3", "汉", false),
            ("amount4", "¥123.50元", true),
            ("amount4", "1234567890123", false),
            ("name5", "用户4", false),
            ("number6", "1.5", true),
            ("number6", "1.5.1", false),
            ("thing1", "", false),
        ] {
            assert_eq!(is_valid(field, value), valid, "{field} {value}");
        }
    }
}
