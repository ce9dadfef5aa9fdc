//! Keyword kinds: what the provider accepts in each field of a template, checked before sending.
//!
//! A field is named by its kind and a number (`thing1`). An illegal value is answered with 47003,
//! always, so it is found here, where the submitter still can do something about it. The limits
//! are those of the template-message and subscribe-message pages; where they differ (amount) the
//! template-message page counts. Kinds that no page lists are taken as free text, since new ones
//! have appeared before.
//!
//! Length is counted in UTF-16 units: which unit the provider counts is not documented, and this
//! is the one that never lets too much pass.

use std::borrow::Cow;
use std::fmt;

use crate::limits;

mod cut;
mod form;

use form::Form;

/// What happens to a value over its limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Overflow {
    /// Cut to the limit, ending in one `…`. Kinds that lose their meaning when cut (numbers,
    /// times, telephone numbers, approved constants and the like) are refused all the same.
    Truncate,
    /// Refuse the notice or the recipient.
    #[default]
    Reject,
}

/// Whether a value of a kind may be shortened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cutting {
    /// The beginning still says something.
    Sensible,
    /// A part of it is wrong or means something else.
    Never,
}

/// One kind of keyword.
#[derive(Clone, Copy, Debug)]
struct Kind {
    /// The alphabetic part of the field's name.
    name: &'static str,
    /// Most characters (digits for `amount`).
    limit: usize,
    /// Which values are well-formed.
    form: Form,
    /// Whether [`Overflow::Truncate`] applies.
    cutting: Cutting,
}

const fn kind(name: &'static str, limit: usize, form: Form, cutting: Cutting) -> Kind {
    Kind { name, limit, form, cutting }
}

/// The kinds that the provider's pages list, and the old ones that live templates still have.
///
/// `short_thing` is on no page; 5 is what programs that use it keep to. `time` and `date` have no
/// published limit, their longest written form is shorter than 64. `enum` has a list of values per
/// template that is not known here. `name` is halved for Han, see [`Form::limit`].
const KINDS: [Kind; 15] = [
    kind("thing", 20, Form::Text, Cutting::Sensible),
    kind("number", 32, Form::Number, Cutting::Never),
    kind("letter", 32, Form::Letters, Cutting::Never),
    kind("symbol", 5, Form::Symbols, Cutting::Never),
    kind("character_string", 32, Form::NoHan, Cutting::Sensible),
    kind("time", 64, Form::Time, Cutting::Never),
    kind("date", 64, Form::Date, Cutting::Never),
    kind("amount", 12, Form::Amount, Cutting::Never),
    kind("phone_number", 17, Form::Phone, Cutting::Never),
    kind("car_number", 8, Form::Car, Cutting::Never),
    kind("name", 20, Form::Name, Cutting::Sensible),
    kind("phrase", 5, Form::Han, Cutting::Never),
    kind("const", 20, Form::Approved, Cutting::Never),
    kind("enum", 64, Form::Text, Cutting::Never),
    kind("short_thing", 5, Form::Text, Cutting::Sensible),
];

/// Every other kind: `first`, `keyword1`, `remark` of old templates and whatever comes. No limit
/// is published for them; 200 characters are more than a message shows.
const OTHER: Kind = kind("", 200, Form::Lines, Cutting::Sensible);

/// What is wrong with a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Problem {
    /// The field's name is not letters or `_` followed by an optional number.
    FieldName,
    /// There is nothing to show.
    Empty,
    /// It is over the limit and could be cut.
    TooLong,
    /// It is over the limit and its kind is never cut.
    TooLongForGood,
    /// It has a control character or a line break.
    ControlCharacter,
    /// It is not what the kind permits; the text says what that is.
    Form(&'static str),
}

/// Why a value is not sent. Its text never repeats the value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeywordError {
    /// The field, `thing1`; cut when it is no proper name.
    pub field: String,
    /// Its kind, `thing`; empty when the field's name has none.
    pub kind: String,
    /// Most characters of this kind and value; digits for `amount`.
    pub limit: usize,
    /// How many the value has, in UTF-16 units; digits for `amount`.
    pub length: usize,
    /// What is wrong.
    pub problem: Problem,
}

impl std::error::Error for KeywordError {}

impl fmt::Display for KeywordError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { field, kind, limit, length, problem } = self;
        if *problem == Problem::FieldName {
            return write!(
                f,
                "{field:?} is no field name: letters and _ with a number behind, as in thing1"
            );
        }
        let unit = if kind == "amount" { "digits" } else { "characters" };
        write!(f, "{field} has {length} {unit}, its kind ({kind}) allows {limit}: ")?;
        match problem {
            Problem::FieldName => Ok(()),
            Problem::Empty => {
                f.write_str("an empty value is refused, put a filler such as - or 无")
            }
            Problem::TooLong => f.write_str("shorten it or set overflow = \"truncate\""),
            Problem::TooLongForGood => f.write_str("shorten it, this kind is never truncated"),
            Problem::ControlCharacter => f.write_str("take out line breaks and control characters"),
            Problem::Form(permitted) => write!(f, "it must be {permitted}"),
        }
    }
}

/// Checks one value and gives what to send: the value itself, or its beginning with one `…`.
///
/// # Errors
/// When the field's name is no keyword, or the value is empty, not of the kind's form, or over the
/// limit and not to be cut.
pub fn check<'v>(
    field: &str,
    value: &'v str,
    overflow: Overflow,
) -> Result<Cow<'v, str>, KeywordError> {
    let Some(name) = kind_name(field) else {
        return Err(KeywordError {
            field: crate::text::cut(field, limits::NAME_BYTES).to_owned(),
            kind: String::new(),
            limit: 0,
            length: utf16(value),
            problem: Problem::FieldName,
        });
    };
    let kind = KINDS.iter().find(|kind| kind.name == name).unwrap_or(&OTHER);
    let limit = kind.form.limit(value, kind.limit);
    let length = kind.form.length(value);
    let problem = match kind.form.problem(value) {
        Some(problem) => problem,
        None if length <= limit => return Ok(Cow::Borrowed(value)),
        None => match (kind.cutting, overflow) {
            (Cutting::Sensible, Overflow::Truncate) => {
                return Ok(Cow::Owned(cut::with_ellipsis(value, limit)));
            }
            (Cutting::Sensible, Overflow::Reject) => Problem::TooLong,
            (Cutting::Never, Overflow::Truncate | Overflow::Reject) => Problem::TooLongForGood,
        },
    };
    Err(KeywordError { field: field.to_owned(), kind: name.to_owned(), limit, length, problem })
}

/// The alphabetic part of a field's name, or `None` when it is no `[A-Za-z_]+[0-9]*` of at most
/// [`limits::NAME_BYTES`] bytes.
fn kind_name(field: &str) -> Option<&str> {
    let name = field.trim_end_matches(|c: char| c.is_ascii_digit());
    let proper = !name.is_empty()
        && field.len() <= limits::NAME_BYTES
        && name.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    proper.then_some(name)
}

/// Length in UTF-16 units.
fn utf16(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn problem(field: &str, value: &str, overflow: Overflow) -> Option<Problem> {
        check(field, value, overflow).err().map(|error| error.problem)
    }

    #[test]
    fn every_kind_takes_its_limit_and_refuses_one_more() {
        for (field, unit, limit) in [
            ("thing1", "检", 20),
            ("number2", "7", 32),
            ("letter", "x", 32),
            ("symbol1", "!", 5),
            ("character_string21", "a", 32),
            ("amount4", "9", 12),
            ("phone_number1", "1", 17),
            ("car_number1", "A", 8),
            ("name1", "李", 10),
            ("name1", "x", 20),
            ("phrase2", "中", 5),
            ("const1", "c", 20),
            ("short_thing3", "短", 5),
            ("enum1", "e", 64),
            ("first", "f", 200),
            ("keyword1", "k", 200),
            ("remark", "r", 200),
            ("thing1", "😀", 10),
        ] {
            let fits = unit.repeat(limit);
            for overflow in [Overflow::Reject, Overflow::Truncate] {
                let checked = check(field, &fits, overflow).unwrap();
                assert_eq!(checked, fits.as_str(), "{field}");
                assert!(matches!(checked, Cow::Borrowed(_)), "{field}");
            }
            let over = unit.repeat(limit + 1);
            let error = check(field, &over, Overflow::Reject).unwrap_err();
            assert!(
                matches!(error.problem, Problem::TooLong | Problem::TooLongForGood),
                "{field} {error}"
            );
            assert!(error.length > error.limit, "{field} {error}");
        }
    }

    #[test]
    fn only_kinds_that_survive_it_are_cut() {
        for (field, value, cut) in [
            ("thing1", "检".repeat(30), format!("{}…", "检".repeat(19))),
            ("character_string1", "a".repeat(40), format!("{}…", "a".repeat(31))),
            ("name1", "李".repeat(12), format!("{}…", "李".repeat(9))),
            ("short_thing1", "一二三四五六".into(), "一二三四…".into()),
            ("remark", "r".repeat(300), format!("{}…", "r".repeat(199))),
        ] {
            assert_eq!(check(field, &value, Overflow::Truncate).unwrap(), cut, "{field}");
        }
        for (field, value) in [
            ("const1", "c".repeat(21)),
            ("number1", "1".repeat(33)),
            ("amount1", "1".repeat(13)),
            ("phone_number1", "1".repeat(18)),
            ("car_number1", "A".repeat(9)),
            ("phrase1", "中".repeat(6)),
            ("letter1", "x".repeat(33)),
            ("symbol1", "!".repeat(6)),
            ("enum1", "e".repeat(65)),
        ] {
            let got = problem(field, &value, Overflow::Truncate);
            assert_eq!(got, Some(Problem::TooLongForGood), "{field}");
        }
    }

    #[test]
    fn empty_values_are_refused_except_an_empty_constant() {
        for field in ["thing1", "name1", "time1", "remark", "number1", "phrase1"] {
            assert_eq!(problem(field, "", Overflow::Truncate), Some(Problem::Empty), "{field}");
            assert_eq!(problem(field, "  ", Overflow::Truncate), Some(Problem::Empty), "{field}");
        }
        assert_eq!(check("const1", "", Overflow::Reject).unwrap(), "");
    }

    #[test]
    fn line_breaks_pass_only_in_old_free_text() {
        for field in ["thing1", "character_string1", "name1", "symbol1", "enum1", "const1"] {
            for bad in ["a\nb", "a\tb", "a\u{7f}", "a\u{2028}b", "a\u{0}"] {
                let got = problem(field, bad, Overflow::Truncate);
                assert_eq!(got, Some(Problem::ControlCharacter), "{field} {bad:?}");
            }
        }
        assert_eq!(check("remark", "a\nb", Overflow::Reject).unwrap(), "a\nb");
        assert_eq!(
            problem("remark", "a\u{1b}[0m", Overflow::Reject),
            Some(Problem::ControlCharacter)
        );
    }

    #[test]
    fn field_names_are_letters_and_a_number() {
        for bad in ["", "1", "thing-1", "thing1a", "thing1.value", "事1", "thing 1"] {
            assert_eq!(problem(bad, "x", Overflow::Reject), Some(Problem::FieldName), "{bad}");
        }
        let long = "a".repeat(limits::NAME_BYTES + 1);
        let error = check(&long, "x", Overflow::Reject).unwrap_err();
        assert_eq!(error.field.len(), limits::NAME_BYTES);
    }

    #[test]
    fn errors_name_field_limit_and_length() {
        let text =
            |field, value: &str| check(field, value, Overflow::Reject).unwrap_err().to_string();
        assert_eq!(
            text("thing1", &"x".repeat(25)),
            "thing1 has 25 characters, its kind (thing) allows 20: \
             shorten it or set overflow = \"truncate\""
        );
        assert_eq!(
            text("amount3", "1234567890123"),
            "amount3 has 13 digits, its kind (amount) allows 12: \
             shorten it, this kind is never truncated"
        );
        assert_eq!(
            text("thing1", ""),
            "thing1 has 0 characters, its kind (thing) allows 20: \
             an empty value is refused, put a filler such as - or 无"
        );
        assert!(text("phrase1", "13笔").contains("Han"));
        assert!(!text("name1", "用户410774").contains("410774"));
    }
}
