//! Reading the body of a send, without the lock.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::Deserialize;

use super::answer::Refusal;
use super::hash::hash;
use super::keyword::{Flaw, check};
use super::options::{TEMPLATE_ID_CHARS, Template};

/// Longest `client_msg_id`. WeChat states none for templates; this is that of mass messages.
const MESSAGE_ID_BYTES: usize = 64;

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(borrow, default)]
    touser: Cow<'a, str>,
    #[serde(borrow, default)]
    template_id: Cow<'a, str>,
    #[serde(borrow, default)]
    client_msg_id: Cow<'a, str>,
    #[serde(borrow, default)]
    data: BTreeMap<Cow<'a, str>, WireValue<'a>>,
}

#[derive(Deserialize)]
struct WireValue<'a> {
    #[serde(borrow, default)]
    value: Cow<'a, str>,
}

/// A send, read and judged as far as its text alone permits.
#[derive(Debug)]
pub(super) struct Letter<'a> {
    pub(super) touser: Cow<'a, str>,
    pub(super) client_msg_id: Cow<'a, str>,
    /// The template's index, or why there is none.
    pub(super) template: Result<usize, Refusal>,
    /// What the user would see, or which keyword is wrong.
    pub(super) content: Result<Content, Refusal>,
}

/// What the user sees.
#[derive(Debug)]
pub(super) struct Content {
    /// The keywords shown, as a JSON object of strings.
    pub(super) data: String,
    /// Hash of the template and `data`.
    pub(super) hash: u64,
}

/// Reads a body; fails only when it is no JSON object of the right shape.
pub(super) fn read<'a>(templates: &[Template], body: &'a [u8]) -> Result<Letter<'a>, Refusal> {
    if body.is_empty() {
        return Err(Refusal::EMPTY_BODY);
    }
    // An array would do for serde.
    if body.trim_ascii_start().first() != Some(&b'{') {
        return Err(Refusal::NOT_JSON);
    }
    let wire: Wire<'a> = serde_json::from_slice(body).map_err(|_| Refusal::NOT_JSON)?;
    let template = find(templates, &wire.template_id);
    let keys = template.as_ref().map_or(&[][..], |&index| &templates[index].keys);
    let content = shown(keys, &wire.data).and_then(|shown| write(&wire, &shown));
    let Wire { touser, client_msg_id, .. } = wire;
    Ok(Letter { touser, client_msg_id, template, content })
}

fn find(templates: &[Template], id: &str) -> Result<usize, Refusal> {
    let known = templates.iter().position(|template| template.id == id);
    let size = id.chars().count();
    known.ok_or(if size == TEMPLATE_ID_CHARS {
        Refusal::TEMPLATE_ID
    } else {
        Refusal::TEMPLATE_ID_SIZE
    })
}

/// The keywords that reach the user: those of the template, or all but the two that WeChat drops.
fn shown<'a>(
    keys: &'a [String],
    data: &'a BTreeMap<Cow<'_, str>, WireValue<'_>>,
) -> Result<BTreeMap<&'a str, &'a str>, Refusal> {
    let shown: BTreeMap<&str, &str> = if keys.is_empty() {
        let all = data.iter().map(|(key, value)| (key.as_ref(), value.value.as_ref()));
        all.filter(|(key, _)| !matches!(*key, "first" | "remark")).collect()
    } else {
        let value = |key: &str| data.get(key).map_or("", |value| value.value.as_ref());
        keys.iter().map(|key| (key.as_str(), value(key))).collect()
    };
    if shown.is_empty() {
        return Err(Refusal::argument("data is empty"));
    }
    for (key, value) in &shown {
        check(key, value).map_err(|flaw| {
            // The first spelling is WeChat's own.
            let flaw = match flaw {
                Flaw::Empty => "is emtpy",
                Flaw::Invalid => "invalid",
            };
            Refusal::argument(&format!("data.{key}.value {flaw}"))
        })?;
    }
    Ok(shown)
}

fn write(wire: &Wire<'_>, shown: &BTreeMap<&str, &str>) -> Result<Content, Refusal> {
    if wire.client_msg_id.len() > MESSAGE_ID_BYTES {
        return Err(Refusal::MESSAGE_ID_SIZE);
    }
    let data = serde_json::to_string(shown).map_err(|_| Refusal::NOT_JSON)?;
    let hash = hash(0, &[wire.template_id.as_bytes(), data.as_bytes()]);
    Ok(Content { data, hash })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::sandbox::DEFAULT_TEMPLATE;

    fn templates() -> Vec<Template> {
        vec![Template::new(DEFAULT_TEMPLATE, &["thing1", "time2"]), Template::new("any", &[])]
    }

    fn body(template: &str, data: &str) -> String {
        format!(r#"{{"touser":"o","template_id":"{template}","data":{data}}}"#)
    }

    fn content(template: &str, data: &str) -> Result<String, (i32, String)> {
        let body = body(template, data);
        let letter = read(&templates(), body.as_bytes()).unwrap();
        letter.content.map(|c| c.data).map_err(|r| (r.code, r.text.into_owned()))
    }

    #[test]
    fn bodies_of_the_wrong_shape_are_refused() {
        for (body, code) in [
            ("", 44002),
            ("hello", 47001),
            ("[]", 47001),
            (r#"{"touser":1}"#, 47001),
            (r#"{"data":{"thing1":"x"}}"#, 47001),
        ] {
            assert_eq!(read(&[], body.as_bytes()).unwrap_err().code, code, "{body}");
        }
    }

    #[test]
    fn unknown_templates_are_told_from_ids_of_the_wrong_size() {
        let unknown = "x".repeat(43);
        for (id, code) in [("short", Some(40036)), (&unknown, Some(40037)), ("any", None)] {
            let body = body(id, "{}");
            let letter = read(&templates(), body.as_bytes()).unwrap();
            assert_eq!(letter.template.err().map(|refusal| refusal.code), code, "{id}");
        }
    }

    #[test]
    fn only_keywords_of_the_template_are_shown_and_all_of_them_are_needed() {
        let full = r#"{"time2":{"value":"15:01"},"thing1":{"value":"a\"b","color":"red"},"x":{}}"#;
        assert_eq!(
            content(DEFAULT_TEMPLATE, full),
            Ok(r#"{"thing1":"a\"b","time2":"15:01"}"#.into())
        );
        let missing = r#"{"thing1":{"value":"x"}}"#;
        let empty = (47003, "argument invalid! data.time2.value is emtpy".into());
        assert_eq!(content(DEFAULT_TEMPLATE, missing), Err(empty));
    }

    #[test]
    fn a_template_without_keywords_takes_any_but_the_dropped_ones() {
        let data = r#"{"first":{"value":""},"phrase1":{"value":"通过"}}"#;
        assert_eq!(content("any", data), Ok(r#"{"phrase1":"通过"}"#.into()));
        assert_eq!(content("any", "{}").unwrap_err().0, 47003);
        let wrong = (47003, "argument invalid! data.phrase1.value invalid".into());
        assert_eq!(content("any", r#"{"phrase1":{"value":"13笔"}}"#), Err(wrong));
    }
}
