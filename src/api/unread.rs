//! What is wrong with a body, without a word of HTTP.

use crate::json::NotReadable;
use crate::limits;
use crate::text::cut;

/// One thing that is wrong with a field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// JSON pointer (RFC 6901).
    pub pointer: String,
    /// What is wrong and what would be right.
    pub detail: String,
    /// Whether the field has no business there at all.
    pub unknown: bool,
}

impl FieldError {
    /// A field that is wrong.
    pub fn new(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self { pointer: pointer.into(), detail: detail.into(), unknown: false }
    }

    /// The field and what is wrong with it; of the body as a whole only that.
    fn words(&self) -> String {
        match self.pointer.as_str() {
            "" => self.detail.clone(),
            pointer => format!("{pointer}: {}", self.detail),
        }
    }
}

/// Why a body was not read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unread {
    /// It is no UTF-8.
    NotText(String),
    /// It is no JSON, or none that every reader takes.
    NotJson(NotReadable),
    /// It asks for more memory than a call may have.
    TooHeavy,
    /// A list in it is longer than a call may have.
    TooMany {
        /// Its items.
        count: usize,
        /// What is allowed.
        most: usize,
    },
    /// Fields are wrong: all that were found.
    Fields(Vec<FieldError>),
}

impl Unread {
    /// One field that is wrong.
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::Fields(vec![FieldError::new(pointer, detail)])
    }

    /// An error of a reader that knows no pointers.
    #[must_use]
    pub fn of(error: &serde_json::Error) -> Self {
        let detail = error.to_string();
        let detail = detail.rsplit_once(" at line ").map_or(detail.as_str(), |(text, _)| text);
        Self::NotJson(NotReadable {
            pointer: String::new(),
            detail: cut(detail, limits::TEXT_BYTES).to_owned(),
            line: error.line(),
            column: error.column(),
        })
    }

    /// All of it in one sentence.
    #[must_use]
    pub fn words(&self) -> String {
        match self {
            Self::NotText(why) => format!("the body is not UTF-8: {why}"),
            Self::NotJson(why) => {
                let place = format!("line {} column {}", why.line, why.column);
                match why.pointer.as_str() {
                    "" => format!("the body is not valid JSON: {} at {place}", why.detail),
                    at => format!("the body is not valid JSON: {at}: {} at {place}", why.detail),
                }
            }
            Self::TooHeavy => {
                "the body holds more values than a call may have: split it".to_owned()
            }
            Self::TooMany { count, most } => {
                format!("{count} items, {most} are allowed in one call")
            }
            Self::Fields(errors) => match &errors[..] {
                [] => "the request is not of the expected shape".to_owned(),
                [one] => one.words(),
                [one, rest @ ..] => format!("{} (and {} more)", one.words(), rest.len()),
            },
        }
    }
}
