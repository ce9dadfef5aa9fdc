//! The answer to a pull: its two shapes.

use serde_json::Value;

use super::PullError;
use crate::limits::PULL_NOTICES;

/// One page of notices.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Page {
    /// The notices, each a JSON object as for `POST /v1/notices`; not checked further.
    pub notices: Vec<Value>,
    /// The cursor of the next page; `None` on the last.
    pub next: Option<String>,
}

/// What an answer should be.
const EXPECTED: &str = "expected an array of notices or {\"notices\": […], \"next\": …}";

/// Reads an answer. An empty body, as of 204, is a page without notices.
pub(super) fn read(body: &[u8]) -> Result<Page, PullError> {
    if body.iter().all(u8::is_ascii_whitespace) {
        return Ok(Page::default());
    }
    if let Ok(text) = std::str::from_utf8(body)
        && let Err(why) = crate::json::check(text)
        && !why.pointer.is_empty()
    {
        let place = format!("{}: {}", why.pointer, why.detail);
        return Err(PullError::lasting(format!("{EXPECTED}, but not every reader takes {place}")));
    }
    let value: Value = serde_json::from_slice(body)
        .map_err(|error| PullError::lasting(format!("{EXPECTED}, but it is not JSON: {error}")))?;
    match value {
        Value::Array(notices) => page(notices, None),
        Value::Object(mut fields) => {
            let notices = match fields.remove("notices") {
                Some(Value::Array(notices)) => notices,
                Some(other) => return Err(wrong(format!("notices is {}", kind(&other)))),
                None => return Err(wrong("there is no notices".to_owned())),
            };
            let next = match fields.remove("next") {
                None | Some(Value::Null) => None,
                Some(Value::String(next)) => Some(next).filter(|next| !next.is_empty()),
                Some(other) => return Err(wrong(format!("next is {}", kind(&other)))),
            };
            // A misspelled next would silently lose all pages but the first.
            match fields.keys().next() {
                Some(unknown) => Err(wrong(format!("there is an unknown {unknown:?}"))),
                None => page(notices, next),
            }
        }
        other => Err(wrong(format!("it is {}", kind(&other)))),
    }
}

fn page(notices: Vec<Value>, next: Option<String>) -> Result<Page, PullError> {
    if notices.len() > PULL_NOTICES {
        let count = notices.len();
        return Err(PullError::lasting(format!(
            "{count} notices in one page, {PULL_NOTICES} are allowed: answer in pages with next"
        )));
    }
    match notices.iter().enumerate().find(|(_, notice)| !notice.is_object()) {
        Some((index, other)) => {
            Err(wrong(format!("notice number {} is {}", index + 1, kind(other))))
        }
        None => Ok(Page { notices, next }),
    }
}

fn wrong(what: String) -> PullError {
    PullError::lasting(format!("{EXPECTED}, but {what}"))
}

/// A value's kind, for people.
fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "an array",
        Value::Object(_) => "an object",
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use serde_json::json;

    use super::*;

    #[test]
    fn both_shapes_are_pages() {
        let one = || vec![json!({"a": 1})];
        for (body, notices, next) in [
            ("[]", vec![], None),
            (r#"[{"a":1}]"#, one(), None),
            (r#"{"notices":[{"a":1}]}"#, one(), None),
            (r#"{"notices":[{"a":1}],"next":null}"#, one(), None),
            (r#"{"notices":[],"next":""}"#, vec![], None),
            (r#"{"next":"p2","notices":[{"a":1}]}"#, one(), Some("p2")),
            (" \r\n", vec![], None),
            ("", vec![], None),
        ] {
            let next = next.map(str::to_owned);
            assert_eq!(read(body.as_bytes()), Ok(Page { notices, next }), "{body}");
        }
    }

    #[test]
    fn other_shapes_are_refused_with_what_was_expected() {
        for (body, but) in [
            ("null", "but it is null"),
            ("7", "but it is a number"),
            ("<html>", "but it is not JSON"),
            ("[] []", "but it is not JSON"),
            (r#"[{}, "x"]"#, "but notice number 2 is a text"),
            ("{}", "but there is no notices"),
            (r#"{"code":200,"data":[]}"#, "but there is no notices"),
            (r#"{"notices":{}}"#, "but notices is an object"),
            (r#"{"notices":[],"next":2}"#, "but next is a number"),
            (r#"{"notices":[],"nextPage":"2"}"#, "but there is an unknown \"nextPage\""),
        ] {
            let error = read(body.as_bytes()).unwrap_err();
            assert!(error.reason.starts_with(EXPECTED), "{body}: {error}");
            assert!(error.reason.contains(but) && !error.retryable, "{body}: {error}");
        }
    }

    #[test]
    fn a_hostile_answer_is_a_page_or_refused_in_words() {
        use crate::mutants::Mutants;
        let samples: [&[u8]; 3] = [
            br#"{"notices": [{"tenant": "a", "key": "k", "data": {"thing1": "x"}}], "next": "c2"}"#,
            br#"[{"tenant": "a"}, {"tenant": "b"}]"#,
            b"",
        ];
        for bytes in Mutants::of(&samples, 20_000) {
            match read(&bytes) {
                Ok(page) => assert!(page.notices.len() <= PULL_NOTICES),
                Err(why) => assert!(!why.reason.is_empty() && !why.retryable, "{bytes:?}"),
            }
        }
    }
}
