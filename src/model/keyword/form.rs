//! Which values are well-formed for a kind, apart from their length.

use super::{Problem, utf16};

/// The forms a value can be asked to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// Anything on one line.
    Text,
    /// Anything, also on several lines.
    Lines,
    /// Digits with at most one decimal point.
    Number,
    /// Latin letters.
    Letters,
    /// Neither letters, digits nor Han.
    Symbols,
    /// One line without Han.
    NoHan,
    /// A time of day, with a date before it or not, or two of them.
    Time,
    /// A date, with a time of day behind it or not, or two of them.
    Date,
    /// Currency sign, digits, 元; sign and 元 may be absent.
    Amount,
    /// Digits and ASCII signs.
    Phone,
    /// A number plate.
    Car,
    /// A person's name: no digits.
    Name,
    /// Han only.
    Han,
    /// One of the texts approved for the template, or empty.
    Approved,
}

impl Form {
    /// What keeps `value` from having this form.
    pub(super) fn problem(self, value: &str) -> Option<Problem> {
        if value.trim().is_empty() && !(self == Self::Approved && value.is_empty()) {
            return Some(Problem::Empty);
        }
        if value.chars().any(|c| breaks_line(c) && !(self == Self::Lines && c == '\n')) {
            return Some(Problem::ControlCharacter);
        }
        self.refusal(value).map(Problem::Form)
    }

    /// What is permitted, when `value` is something else.
    fn refusal(self, value: &str) -> Option<&'static str> {
        let every = |test: fn(char) -> bool| value.chars().all(test);
        let (fine, permitted) = match self {
            Self::Text | Self::Lines | Self::Approved => (true, ""),
            Self::Number => (is_decimal(value), "digits, with a decimal point or without"),
            Self::Letters => (every(|c| c.is_ascii_alphabetic()), "Latin letters only"),
            Self::Symbols => (every(|c| !c.is_alphanumeric()), "symbols only"),
            Self::NoHan => (every(|c| !is_han(c)), "digits, letters and symbols, no Han"),
            Self::Time => (is_time(value), "a time as in 15:01 or 2019-10-01 15:01, or two with ~"),
            Self::Date => {
                (is_date(value), "a date as in 2019年10月1日 or 2019-10-01, or two with ~")
            }
            Self::Amount => (amount_digits(value).is_some(), "an amount as in ¥12.50 or 12.50元"),
            Self::Phone => (
                every(|c| c.is_ascii_graphic() && !c.is_ascii_alphabetic() || c == ' ')
                    && value.bytes().any(|byte| byte.is_ascii_digit()),
                "digits and signs as in +86-0766-66888866",
            ),
            Self::Car => (is_plate(value), "letters and digits, Han only first and last"),
            Self::Name => (every(|c| !c.is_numeric()), "a name without digits"),
            Self::Han => (every(is_han), "Han characters only"),
        };
        (!fine).then_some(permitted)
    }

    /// The limit for this value: half of it for a name with Han or other wide letters, since mixed
    /// names count as Chinese ones.
    pub(super) fn limit(self, value: &str, limit: usize) -> usize {
        if self == Self::Name && value.chars().any(is_wide) { limit / 2 } else { limit }
    }

    /// What is counted against the limit: UTF-16 units; of an amount its digits.
    pub(super) fn length(self, value: &str) -> usize {
        let digits = if self == Self::Amount { amount_digits(value) } else { None };
        digits.unwrap_or_else(|| utf16(value))
    }
}

/// Control characters and the two line breaks outside of them.
fn breaks_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Chinese characters, with the ideographic zero and iteration mark.
fn is_han(c: char) -> bool {
    matches!(c,
        '\u{3005}' | '\u{3007}'
        | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}'
        | '\u{f900}'..='\u{faff}'
        | '\u{20000}'..='\u{3ffff}')
}

/// Han, kana and Hangul.
fn is_wide(c: char) -> bool {
    is_han(c)
        || matches!(c, '\u{3041}'..='\u{30ff}' | '\u{1100}'..='\u{11ff}' | '\u{ac00}'..='\u{d7af}')
}

/// Digits, or digits, a point and digits.
fn is_decimal(text: &str) -> bool {
    let (whole, fraction) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    digits(whole) && digits(fraction)
}

/// How many digits an amount has, those after the point included; `None` when it is no amount.
///
/// Whether the provider counts the decimals is not documented; counting them is the safe side.
fn amount_digits(text: &str) -> Option<usize> {
    let text = text.strip_suffix('元').unwrap_or(text);
    let text = text.strip_prefix(is_currency_sign).unwrap_or(text).trim();
    is_decimal(text).then(|| text.bytes().filter(u8::is_ascii_digit).count())
}

/// The signs in front of amounts; those of the currencies block and the common ones outside it.
fn is_currency_sign(c: char) -> bool {
    matches!(c, '¥' | '￥' | '$' | '＄' | '£' | '￡' | '¢' | '\u{20a0}'..='\u{20cf}')
}

/// Letters and digits; the first and the last may be Han.
fn is_plate(text: &str) -> bool {
    let last = text.chars().count().saturating_sub(1);
    text.chars()
        .enumerate()
        .all(|(at, c)| c.is_ascii_alphanumeric() || (is_han(c) && (at == 0 || at == last)))
}

/// A time of day with or without a date before it; or from `~` to.
fn is_time(text: &str) -> bool {
    let point = |point: &str| is_clock(point) || after_date(point).is_some_and(is_clock);
    match text.split_once('~') {
        None => point(text.trim()),
        Some((from, to)) => point(from.trim()) && point(to.trim()),
    }
}

/// A date with or without a time of day behind it; or from `~` to, where the second may be a time
/// of the same day.
fn is_date(text: &str) -> bool {
    let point =
        |point: &str| after_date(point).is_some_and(|rest| rest.is_empty() || is_clock(rest));
    match text.split_once('~') {
        None => point(text.trim()),
        Some((from, to)) => point(from.trim()) && (point(to.trim()) || is_clock(to.trim())),
    }
}

/// `HH:MM` or `HH:MM:SS`.
fn is_clock(text: &str) -> bool {
    let mut parts = text.split(':');
    let mut within = |most: u32, digits: std::ops::RangeInclusive<usize>| {
        parts.next().map(|part| {
            digits.contains(&part.len())
                && part.bytes().all(|byte| byte.is_ascii_digit())
                && part.parse::<u32>().is_ok_and(|number| number <= most)
        })
    };
    within(23, 1..=2) == Some(true)
        && within(59, 2..=2) == Some(true)
        && within(59, 2..=2) != Some(false)
        && within(0, 0..=0).is_none()
}

/// What follows a date at the beginning of `text`, without the blanks between; `None` when it does
/// not begin with one. Forms: y年m月d日, y年m月, m月d日, or joined with one of `-`, `/`, `.`.
fn after_date(text: &str) -> Option<&str> {
    let (first, digits, rest) = number(text)?;
    let mark = rest.chars().next()?;
    let rest = &rest[mark.len_utf8()..];
    let rest = match mark {
        '年' => {
            let (month, _, rest) = number(rest)?;
            let rest = rest.strip_prefix('月').filter(|_| is_month(month))?;
            match number(rest) {
                Some((day, _, after)) if after.starts_with('日') && is_day(day) => {
                    &after['日'.len_utf8()..]
                }
                _ => rest,
            }
        }
        '月' => {
            let (day, _, rest) = number(rest)?;
            rest.strip_prefix('日').filter(|_| is_month(first) && is_day(day))?
        }
        '-' | '/' | '.' => {
            let (second, _, rest) = number(rest)?;
            if digits < 4 {
                (is_month(first) && is_day(second)).then_some(rest)?
            } else {
                let rest = is_month(second).then_some(rest)?;
                match rest.strip_prefix(mark) {
                    Some(rest) => number(rest).filter(|(day, ..)| is_day(*day))?.2,
                    None => rest,
                }
            }
        }
        _ => return None,
    };
    Some(rest.trim_start())
}

fn is_month(number: u32) -> bool {
    (1..=12).contains(&number)
}

fn is_day(number: u32) -> bool {
    (1..=31).contains(&number)
}

/// The number of one to four digits at the beginning, how many digits, and what follows.
fn number(text: &str) -> Option<(u32, usize, &str)> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let number = text[..digits].parse().ok().filter(|_| digits <= 4)?;
    Some((number, digits, &text[digits..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn forms_take_what_is_documented_and_refuse_the_rest() {
        let cases: &[(Form, &[&str], &[&str])] = &[
            (Form::Number, &["0", "12.5", "007"], &["1.2.3", ".", "1.", "-1", "1e3", "１", "1 2"]),
            (Form::Letters, &["abcXYZ"], &["a1", "a b", "é", "中"]),
            (Form::Symbols, &["!@#", "……", "→"], &["a!", "1", "中"]),
            (Form::NoHan, &["A-1 b", "№，7", "ключ"], &["单A1", "a〇"]),
            (
                Form::Time,
                &[
                    "15:01",
                    "15:01:59",
                    "2019年10月1日 15:01",
                    "2019年10月1日15:01",
                    "2026-11-23 09:00",
                    "10:00~12:00",
                    "2026-11-23 09:00 ~ 2026-11-24 09:00:00",
                    "01/02 9:05",
                ],
                &[
                    "24:00",
                    "15:60",
                    "15",
                    "15:1",
                    "2019-10-01",
                    "tomorrow",
                    "15:01:60",
                    "15:01:02:03",
                    "1:00~2:00~3:00",
                    "2019-13-01 10:00",
                    "下午3点",
                    "~15:01",
                ],
            ),
            (
                Form::Date,
                &[
                    "2019年10月1日",
                    "2019年10月",
                    "10月1日",
                    "2018-01-01",
                    "2018/1/1",
                    "2018.01.01",
                    "2018-01",
                    "01-01",
                    "2019年10月1日 15:01",
                    "2019-10-01~2019-10-07",
                    "2019-10-01 10:00~12:00",
                ],
                &[
                    "2019",
                    "2019年",
                    "20191001",
                    "2019-10/01",
                    "2019-00-01",
                    "2019-01-32",
                    "15:01",
                    "2019-10-01 noon",
                    "2019-10-01~",
                    "13-01",
                    "Oct 1",
                ],
            ),
            (
                Form::Amount,
                &["100", "¥12.50", "12.50元", "￥3元", "$ 7", "€0.01"],
                &["1,000", "¥¥1", "元", "一百", "12.", "100块", "-5"],
            ),
            (
                Form::Phone,
                &["+86-0766-66888866", "10086", "(010) 1234"],
                &["call me", "电话1", "---"],
            ),
            (Form::Car, &["粤A8Z888挂", "A12345", "京"], &["粤A警888", "A-1", "A 1"]),
            (
                Form::Name,
                &["李雷", "Ann-Lee O'Neil", "阿依古丽·买买提"],
                &["用户410774", "李4", "Ⅳ"],
            ),
            (Form::Han, &["配送中"], &["13笔", "中 文", "好!"]),
        ];
        for (form, good, bad) in cases {
            for value in *good {
                assert_eq!(form.problem(value), None, "{form:?} {value}");
            }
            for value in *bad {
                assert!(form.problem(value).is_some(), "{form:?} {value}");
            }
        }
    }

    #[test]
    fn amounts_count_digits_only() {
        assert_eq!(Form::Amount.length("¥1234567890.12元"), 12);
    }

    #[test]
    fn a_mixed_name_counts_as_a_chinese_one() {
        assert_eq!(Form::Name.limit("Ann Lee", 20), 20);
        assert_eq!(Form::Name.limit("Ann 李", 20), 10);
    }
}
