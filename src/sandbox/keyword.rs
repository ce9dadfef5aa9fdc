//! What each kind of keyword may hold.
//!
//! Written from WeChat's tables and from nothing in the daemon: it checks the daemon's own rules.
//! Characters are counted in UTF-16 units. The template-message page and the subscribe-message page
//! differ on `amount` (12 and 10 digits); the former is followed. Kinds in neither may hold anything.

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Flaw {
    /// It is missing or blank.
    Empty,
    /// Its kind does not permit it.
    Invalid,
}

/// Checks the value of a keyword such as `thing1`, whose kind is its name without the number.
pub(super) fn check(key: &str, value: &str) -> Result<(), Flaw> {
    if value.trim().is_empty() {
        return Err(Flaw::Empty);
    }
    let kind = key.trim_end_matches(|c: char| c.is_ascii_digit());
    if permitted(kind, value) { Ok(()) } else { Err(Flaw::Invalid) }
}

fn permitted(kind: &str, value: &str) -> bool {
    let all = |most: usize, allowed: fn(char) -> bool| {
        units(value) <= most && value.chars().all(|c| !c.is_control() && allowed(c))
    };
    match kind {
        "thing" | "const" => all(20, |_| true),
        "character_string" => all(32, |c| !is_han(c)),
        "phrase" => all(5, is_han),
        "number" => all(32, |c| c.is_ascii_digit() || c == '.') && is_decimal(value),
        "letter" => all(32, |c| c.is_ascii_alphabetic()),
        "symbol" => all(5, is_symbol),
        "phone_number" => all(17, |c| c.is_ascii_digit() || is_symbol(c)),
        "car_number" => all(8, |c| is_han(c) || c.is_ascii_alphanumeric()) && is_plate(value),
        "name" => all(name_limit(value), |c| !c.is_numeric()),
        "amount" => is_amount(value),
        "time" => is_span(value, is_time),
        "date" => is_span(value, is_date),
        _ => true,
    }
}

fn units(value: &str) -> usize {
    value.chars().map(char::len_utf16).sum()
}

fn is_han(c: char) -> bool {
    matches!(
        u32::from(c),
        0x3007 | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x2_0000..=0x3_ffff
    )
}

fn is_symbol(c: char) -> bool {
    !is_han(c) && !c.is_alphanumeric()
}

/// Ten characters as soon as one is Han, else twenty.
fn name_limit(value: &str) -> usize {
    if value.chars().any(is_han) { 10 } else { 20 }
}

/// Han may stand first and last only.
fn is_plate(value: &str) -> bool {
    let last = value.chars().count() - 1;
    value.chars().enumerate().all(|(at, c)| at == 0 || at == last || !is_han(c))
}

/// Digits, perhaps a point and more digits.
fn is_decimal(value: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    match value.split_once('.') {
        Some((whole, part)) => digits(whole) && digits(part),
        None => digits(value),
    }
}

/// Perhaps one currency sign, at most 12 digits with decimals, perhaps 元.
fn is_amount(value: &str) -> bool {
    let sign = ['\u{a5}', '\u{ffe5}', '$', '€', '£', '₩', '₽', '₹', '฿'];
    let value = value.strip_prefix(sign).unwrap_or(value);
    let value = value.strip_suffix('元').unwrap_or(value);
    is_decimal(value) && value.bytes().filter(u8::is_ascii_digit).count() <= 12
}

/// One point, or two joined by `~`.
fn is_span(value: &str, point: fn(&str) -> bool) -> bool {
    match value.split_once('~') {
        Some((from, to)) => point(from.trim()) && point(to.trim()),
        None => point(value),
    }
}

/// A time of day, perhaps after a date.
fn is_time(value: &str) -> bool {
    match value.rsplit_once(' ') {
        Some((date, time)) => is_day(date.trim_end()) && is_time_of_day(time),
        None => is_time_of_day(value),
    }
}

/// A date, perhaps before a time of day.
fn is_date(value: &str) -> bool {
    is_day(value) || (value.contains(' ') && is_time(value))
}

/// `HH:MM` or `HH:MM:SS` of a 24 hour day.
fn is_time_of_day(value: &str) -> bool {
    let parts: Vec<Option<u32>> = value.split(':').map(|part| number(part, 2)).collect();
    match parts.as_slice() {
        [Some(hour), Some(minute)] => *hour < 24 && *minute < 60,
        [Some(hour), Some(minute), Some(second)] => *hour < 24 && *minute < 60 && *second < 60,
        _ => false,
    }
}

/// Year, month and day, or two neighbours of them; 年 月 日, or joined by `-`, `/` or `.`.
fn is_day(value: &str) -> bool {
    if value.contains(['年', '月']) {
        return is_han_day(value);
    }
    ['-', '/', '.'].into_iter().any(|joint| {
        let parts: Vec<&str> = value.split(joint).collect();
        match parts.as_slice() {
            [year, month, day] => is_year(year) && is_month_day(month, day),
            [first, second] => (is_year(first) && is_month(second)) || is_month_day(first, second),
            _ => false,
        }
    })
}

fn is_han_day(value: &str) -> bool {
    let (year, rest) = match value.split_once('年') {
        Some((year, rest)) => (Some(year), rest),
        None => (None, value),
    };
    let Some((month, day)) = rest.split_once('月') else { return false };
    let day_fits = match day.strip_suffix('日') {
        Some(day) => is_month_day(month, day),
        None => year.is_some() && day.is_empty() && is_month(month),
    };
    day_fits && year.is_none_or(is_year)
}

fn is_year(text: &str) -> bool {
    text.len() == 4 && number(text, 4).is_some()
}

fn is_month(text: &str) -> bool {
    number(text, 2).is_some_and(|month| (1..=12).contains(&month))
}

fn is_month_day(month: &str, day: &str) -> bool {
    is_month(month) && number(day, 2).is_some_and(|day| (1..=31).contains(&day))
}

fn number(text: &str, most_digits: usize) -> Option<u32> {
    let fits = text.len() <= most_digits && text.bytes().all(|byte| byte.is_ascii_digit());
    if fits { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_permits_what_its_page_says() {
        let twenty = "二".repeat(20);
        let emoji = "😀".repeat(10);
        for (key, value) in [
            ("thing1", "会议提醒 Meeting #3!"),
            ("thing12", twenty.as_str()),
            ("thing1", emoji.as_str()),
            ("const1", "待处理"),
            ("character_string21", "ORDER-2024/0001 #7"),
            ("phrase3", "已经通过了"),
            ("number1", "12.50"),
            ("letter1", "abcXYZ"),
            ("symbol1", "+-*/!"),
            ("phone_number1", "+86-0766-66888866"),
            ("car_number1", "粤A8Z888挂"),
            ("name1", "欧阳娜娜"),
            ("name1", "Jean-Luc Picard"),
            ("amount1", "¥123456789012元"),
            ("amount1", "100.05"),
            ("time2", "15:01"),
            ("time2", "2019年10月1日 15:01"),
            ("time2", "2024-01-01 12:00:59"),
            ("time2", "9:00~18:00"),
            ("date1", "2019年10月1日"),
            ("date1", "2019年10月"),
            ("date1", "10月1日"),
            ("date1", "2019.10.01"),
            ("date1", "2019/10"),
            ("date1", "2019-10-01 08:00"),
            ("date1", "2019-10-01~2019-10-07"),
            ("keyword1", "anything\nat all, however long it may be for a keyword"),
        ] {
            assert_eq!(check(key, value), Ok(()), "{key} {value}");
        }
    }

    #[test]
    fn each_kind_refuses_the_rest() {
        let long = "二".repeat(21);
        let emoji = "😀".repeat(11);
        let digits = "1".repeat(33);
        for (key, value) in [
            ("thing1", long.as_str()),
            ("thing1", emoji.as_str()),
            ("thing1", "two\nlines"),
            ("const1", long.as_str()),
            ("character_string1", "订单1"),
            ("character_string1", digits.as_str()),
            ("phrase3", "13笔"),
            ("phrase3", "六个字太长了"),
            ("number1", digits.as_str()),
            ("number1", "1,000"),
            ("number1", "1."),
            ("letter1", "a1"),
            ("symbol1", "!!!!!!"),
            ("symbol1", "a"),
            ("phone_number1", "tel 12345"),
            ("phone_number1", "123456789012345678"),
            ("car_number1", "粤A88888889"),
            ("car_number1", "A粤8"),
            ("name1", "用户410774"),
            ("name1", "一二三四五六七八九十百"),
            ("amount1", "1234567890123"),
            ("amount1", "¥"),
            ("amount1", "十元"),
            ("time2", "25:00"),
            ("time2", "2024-01-01"),
            ("time2", "2024-01-01 12:00~"),
            ("time2", "soon"),
            ("date1", "2019-13-01"),
            ("date1", "15:01"),
            ("date1", "10月"),
            ("date1", "2019年10月1"),
        ] {
            assert_eq!(check(key, value), Err(Flaw::Invalid), "{key} {value}");
        }
    }

    #[test]
    fn blank_is_empty_for_every_kind() {
        for key in ["thing1", "time2", "keyword1"] {
            assert_eq!(check(key, ""), Err(Flaw::Empty));
            assert_eq!(check(key, "  "), Err(Flaw::Empty));
        }
    }
}
