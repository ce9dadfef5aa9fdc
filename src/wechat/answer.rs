//! Reading the answer to a send.
//!
//! Refusals come with status 200 and an `errcode`. The content type is not looked at: real
//! answers have been seen with several. What cannot be understood is in doubt, since the message
//! may have been accepted behind it.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::limits;
use crate::model::attempt::Class;
use crate::model::errcode;
use crate::text::cut;

/// What an answer says.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Answer {
    pub(super) class: Class,
    pub(super) errcode: Option<i64>,
    pub(super) errmsg: String,
    pub(super) msgid: Option<String>,
    pub(super) rid: Option<String>,
    pub(super) field: Option<String>,
}

/// The provider's JSON. Numbers are kept as written: a `msgid` exceeds 2^53.
#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow)]
    errcode: Option<&'a RawValue>,
    errmsg: Option<String>,
    #[serde(borrow)]
    msgid: Option<&'a RawValue>,
}

/// Reads the answer to a send.
///
/// An answer with a `msgid` and without `errcode` counts as accepted: other calls of the provider
/// leave out the code on success.
pub(super) fn read(status: u16, body: &str) -> Answer {
    let Ok(wire) = serde_json::from_str::<Wire<'_>>(body) else {
        return in_doubt(format!("HTTP {status} with an answer that is not understood"));
    };
    let msgid = wire.msgid.and_then(digits).filter(|digits| digits != "0");
    let (code, spoken) = match (wire.errcode.and_then(integer), &msgid) {
        (Some(code), _) => (code, Some(code)),
        (None, Some(_)) => (0, None),
        (None, None) => return in_doubt(format!("HTTP {status} with an answer without errcode")),
    };
    let class = errcode::classify(code);
    let accepted_oddly = class == Class::Ok && !(200..300).contains(&status);
    let class = if status >= 500 || accepted_oddly { Class::InDoubt } else { class };
    let (text, rid) = split_rid(wire.errmsg.as_deref().unwrap_or_default());
    let field = if errcode::is_field_refused(code) { refused_field(text) } else { None };
    let errmsg = cut(text, limits::TEXT_BYTES).to_owned();
    Answer { class, errcode: spoken, errmsg, msgid, rid, field: field.map(str::to_owned) }
}

fn in_doubt(errmsg: String) -> Answer {
    Answer { class: Class::InDoubt, errcode: None, errmsg, msgid: None, rid: None, field: None }
}

/// The digits of a number or of a string of digits, at most 20 of them.
fn digits(raw: &RawValue) -> Option<String> {
    let text = raw.get().trim_matches('"');
    let proper = (1..=20).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
    proper.then(|| text.to_owned())
}

/// A number, or a string with one.
fn integer(raw: &RawValue) -> Option<i64> {
    raw.get().trim_matches('"').parse().ok()
}

/// Splits `invalid openid rid: 66a1…-….-…` into the text and the rid.
pub(super) fn split_rid(errmsg: &str) -> (&str, Option<String>) {
    let whole = errmsg.trim();
    if let Some((text, rid)) = whole.rsplit_once("rid:") {
        let rid = rid.trim();
        let proper = (1..=64).contains(&rid.len())
            && rid.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
        if proper && (text.is_empty() || text.ends_with(' ')) {
            return (text.trim_end(), Some(rid.to_owned()));
        }
    }
    (whole, None)
}

/// The field in `argument invalid! data.thing1.value invalid`. A name that was cut off is none.
fn refused_field(errmsg: &str) -> Option<&str> {
    let (_, rest) = errmsg.split_once("data.")?;
    let (field, _) = rest.split_once('.')?;
    let letters = field.trim_end_matches(|c: char| c.is_ascii_digit());
    let proper = !letters.is_empty()
        && field.len() <= limits::NAME_BYTES
        && letters.bytes().all(|byte| byte.is_ascii_alphabetic() || byte == b'_');
    proper.then_some(field)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_accepted_message_keeps_every_digit_of_its_id() {
        for body in [
            r#"{"errcode":0,"errmsg":"ok","msgid":3662956322040938501}"#,
            r#"{"errcode":"0","errmsg":"ok","msgid":"3662956322040938501","new":{"x":1}}"#,
            r#"{"msgid":3662956322040938501}"#,
        ] {
            let answer = read(200, body);
            assert_eq!(answer.class, Class::Ok, "{body}");
            assert_eq!(answer.msgid.as_deref(), Some("3662956322040938501"), "{body}");
        }
        let answer = read(200, r#"{"errcode":0,"errmsg":"ok"}"#);
        assert_eq!((answer.class, answer.msgid), (Class::Ok, None));
    }

    #[test]
    fn a_refusal_is_taken_apart() {
        let answer = read(
            200,
            r#"{"errcode":47003,"errmsg":"argument invalid! data.character_string21.value invalid rid: 66a1b2c3-0a1b2c3d-1234abcd"}"#,
        );
        assert_eq!(answer.class, Class::Notice);
        assert_eq!(answer.errcode, Some(47003));
        assert_eq!(answer.errmsg, "argument invalid! data.character_string21.value invalid");
        assert_eq!(answer.rid.as_deref(), Some("66a1b2c3-0a1b2c3d-1234abcd"));
        assert_eq!(answer.field.as_deref(), Some("character_string21"));
    }

    #[test]
    fn fields_are_found_also_in_shortened_texts() {
        for (text, field) in [
            ("argument invalid! data.thing3.value is emtpy", Some("thing3")),
            ("data.character_string1.value i", Some("character_string1")),
            ("argument invalid! data.character_str", None),
            ("argument invalid! data..value", None),
            ("argument invalid! data.a b.value", None),
            ("argument invalid!", None),
        ] {
            assert_eq!(refused_field(text), field, "{text}");
        }
    }

    #[test]
    fn only_a_proper_rid_is_split_off() {
        for (text, rest, rid) in [
            ("ok", "ok", None),
            ("invalid openid rid: 1-2-3", "invalid openid", Some("1-2-3")),
            ("rid: 1-2", "", Some("1-2")),
            ("invalid grid: 5", "invalid grid: 5", None),
            ("bad rid: a b", "bad rid: a b", None),
            ("bad rid: ", "bad rid:", None),
        ] {
            let got = split_rid(text);
            assert_eq!((got.0, got.1.as_deref()), (rest, rid), "{text}");
        }
    }

    #[test]
    fn what_is_not_understood_is_in_doubt() {
        for (status, body) in [
            (200, ""),
            (200, "<html>"),
            (200, "{}"),
            (200, "[]"),
            (200, r#"{"errcode":null}"#),
            (200, r#"{"errcode":1.5,"errmsg":"?"}"#),
            (200, r#"{"errcode":0,"#),
            (302, ""),
            (404, "not found"),
            (413, "<html>"),
            (502, "bad gateway"),
            (500, r#"{"errcode":0,"errmsg":"ok","msgid":1}"#),
            (503, r#"{"errcode":43004,"errmsg":"?"}"#),
            (404, r#"{"errcode":0,"errmsg":"ok"}"#),
            (200, r#"{"errcode":-1,"errmsg":"system error"}"#),
        ] {
            assert_eq!(read(status, body).class, Class::InDoubt, "{status} {body}");
        }
    }

    #[test]
    fn a_refusal_with_another_status_counts() {
        let answer = read(412, r#"{"errcode":48001,"errmsg":"api unauthorized"}"#);
        assert_eq!(answer.class, Class::Tenant);
    }

    #[test]
    fn a_review_without_msgid_is_a_review() {
        let answer = read(200, r#"{"errcode":40252,"errmsg":"审核","msgid":0}"#);
        assert_eq!((answer.class, answer.msgid), (Class::Review, None));
    }

    #[test]
    fn a_hostile_answer_is_accepted_only_if_it_says_so() {
        use crate::mutants::Mutants;
        let samples: [&[u8]; 3] = [
            br#"{"errcode":0,"errmsg":"ok","msgid":4098711234567890123}"#,
            br#"{"errcode":47003,"errmsg":"argument invalid! data.thing1.value is empty rid: 1-2-3"}"#,
            br#"{"errcode":-1,"errmsg":"system error"}"#,
        ];
        for bytes in Mutants::of(&samples, 20_000) {
            let text = String::from_utf8_lossy(&bytes);
            for status in [200, 404, 502] {
                let answer = read(status, &text);
                assert!(answer.errmsg.len() <= limits::TEXT_BYTES, "{text}");
                if answer.class == Class::Ok {
                    assert!(status == 200, "{status} {text}");
                    assert!(answer.msgid.is_some() || answer.errcode == Some(0), "{text}");
                }
            }
        }
    }
}
