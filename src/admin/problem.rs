//! Problem documents (RFC 9457): every no of the port in one shape.

use hyper::header::{ALLOW, HeaderValue, RETRY_AFTER, WWW_AUTHENTICATE};
use hyper::{Response, StatusCode};
use serde_json::{Map, Value as Json, json};

use super::budget::Busy;
use super::respond::{self, Body};
use crate::api::unread::{FieldError, Unread};
use crate::engine::refusal::{Code, Refusal};
use crate::limits;
use crate::mailbox::CallError;
use crate::text::cut;

/// A no with everything that a caller needs to act on it.
#[derive(Debug)]
pub(super) struct Problem {
    pub(super) status: u16,
    /// The stable name.
    pub(super) code: &'static str,
    pub(super) detail: String,
    pub(super) errors: Vec<FieldError>,
    /// Members beside the usual ones.
    pub(super) extra: Map<String, Json>,
    /// The methods of a 405.
    pub(super) allow: Option<String>,
}

impl Problem {
    pub(super) fn new(status: u16, code: &'static str, detail: impl Into<String>) -> Self {
        let (errors, extra) = (Vec::new(), Map::new());
        Self { status, code, detail: detail.into(), errors, extra, allow: None }
    }

    /// A body or query whose shape is wrong.
    pub(super) fn fields(errors: Vec<FieldError>) -> Self {
        Unread::Fields(errors).into()
    }

    pub(super) fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::fields(vec![FieldError::new(pointer, detail)])
    }

    pub(super) fn not_found(detail: impl Into<String>) -> Self {
        Self::new(404, "not_found", detail)
    }

    /// A reply of another kind than the command asks for: a mistake in this program.
    pub(super) fn unexpected() -> Self {
        Self::new(500, "internal", "the engine gave an answer of the wrong kind")
    }

    pub(super) fn with(mut self, name: &str, value: impl Into<Json>) -> Self {
        self.extra.insert(name.to_owned(), value.into());
        self
    }

    /// The same with all pointers below `prefix`, as for one item of a batch.
    pub(super) fn below(mut self, prefix: &str) -> Self {
        for error in &mut self.errors {
            error.pointer.insert_str(0, prefix);
        }
        self
    }

    /// The same for a line of many: what was line 1 for its parser is this one for the caller.
    pub(super) fn in_line(mut self, number: u64) -> Self {
        if self.extra.contains_key("line") {
            self.extra.insert("line".into(), json!(number));
            self.detail =
                self.detail.replace("at line 1 column", &format!("at line {number} column"));
        }
        self
    }

    /// As the `error` of one item of a batch.
    pub(super) fn item(&self) -> Json {
        let mut error = self.extra.clone();
        error.insert("code".into(), json!(self.code));
        error.insert("status".into(), json!(self.status));
        error.insert("detail".into(), json!(self.shown()));
        if !self.errors.is_empty() {
            error.insert("errors".into(), self.errors_json());
        }
        Json::Object(error)
    }

    /// The detail, which may quote what was sent.
    fn shown(&self) -> &str {
        cut(&self.detail, limits::ERROR_BYTES)
    }

    fn errors_json(&self) -> Json {
        let one = |error: &FieldError| {
            let pointer = cut(&error.pointer, limits::ERROR_BYTES);
            json!({"pointer": pointer, "detail": cut(&error.detail, limits::ERROR_BYTES)})
        };
        self.errors.iter().take(limits::ERRORS).map(one).collect()
    }

    pub(super) fn into_response(self) -> Response<Body> {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut document = self.extra.clone();
        document.insert("type".into(), json!(format!("urn:duebox:problem:{}", self.code)));
        document.insert("title".into(), json!(status.canonical_reason().unwrap_or("Problem")));
        document.insert("status".into(), json!(self.status));
        document.insert("code".into(), json!(self.code));
        document.insert("detail".into(), json!(self.shown()));
        if !self.errors.is_empty() {
            document.insert("errors".into(), self.errors_json());
        }
        let text = Json::Object(document).to_string();
        let mut response = respond::document(status, respond::PROBLEM, text);
        let headers = response.headers_mut();
        if let Some(allow) = self.allow.and_then(|allow| HeaderValue::try_from(allow).ok()) {
            headers.insert(ALLOW, allow);
        }
        match self.status {
            401 => {
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            }
            429 | 503 => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
            }
            507 => {
                headers.insert(RETRY_AFTER, HeaderValue::from_static("60"));
            }
            _ => {}
        }
        response
    }
}

impl From<Busy> for Problem {
    fn from(_: Busy) -> Self {
        let detail = "too many bytes of bodies and answers are under way: try again";
        Self::new(503, "busy", detail)
    }
}

impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        let errors = refusal
            .fields
            .into_iter()
            .map(|(pointer, detail)| FieldError::new(pointer, detail))
            .collect();
        Self { errors, ..Self::new(status_of(refusal.code), refusal.code.name(), refusal.detail) }
    }
}

impl From<CallError> for Problem {
    fn from(error: CallError) -> Self {
        match error {
            CallError::Refused(refusal) => refusal.into(),
            CallError::Closed => Self::new(503, "stopping", "the daemon is stopping: try again"),
        }
    }
}

impl From<Unread> for Problem {
    fn from(wrong: Unread) -> Self {
        let detail = wrong.words();
        match wrong {
            Unread::NotText(_) => Self::new(400, "bad_json", detail),
            Unread::NotJson(why) => {
                let errors = vec![FieldError::new(why.pointer, why.detail)];
                Self { errors, ..Self::new(400, "bad_json", detail) }
                    .with("line", why.line)
                    .with("column", why.column)
            }
            Unread::TooHeavy => Self::new(413, "too_many_values", detail),
            Unread::TooMany { .. } => Self::new(413, "too_many_items", detail),
            Unread::Fields(errors) => {
                let unknown = errors.iter().all(|error| error.unknown);
                let code = if unknown { "unknown_field" } else { "invalid" };
                Self { errors, ..Self::new(422, code, detail) }
            }
        }
    }
}

/// The HTTP status that says the same as a refusal.
fn status_of(code: Code) -> u16 {
    match code {
        Code::Invalid
        | Code::UnknownTenant
        | Code::UnknownTemplate
        | Code::EmptyAudience
        | Code::BadOpenid
        | Code::FieldTooLong
        | Code::FieldInvalid
        | Code::TooManyTypes
        | Code::KeyReused => 422,
        Code::TooManyRecipients | Code::PayloadTooLarge => 413,
        Code::NotFound | Code::UnknownSchedule => 404,
        Code::NotOpen
        | Code::WrongState
        | Code::ClaimUnknown
        | Code::ClaimExpired
        | Code::ClaimTaken
        | Code::TaskGone
        | Code::TaskCancelled
        | Code::Running => 409,
        Code::TooManyWaiters => 429,
        Code::Held | Code::Draining => 503,
        Code::Storage => 507,
        Code::Unreadable => 500,
        Code::Provider => 502,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_is_the_daemons_fault_and_not_the_callers() {
        let refusal = Refusal::new(Code::Unreadable, "damaged");
        assert_eq!(Problem::from(refusal).status, 500);
        assert_eq!(Problem::from(Busy).status, 503);
        assert_eq!(status_of(Code::KeyReused), 422);
        assert_eq!(status_of(Code::ClaimExpired), 409);
    }
}
