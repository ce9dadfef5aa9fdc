//! Expected noes: values, not faults. What they are over HTTP is the port's business.

use crate::id::Id;

/// An expected no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What kind of no.
    pub code: Code,
    /// In words: what is wrong and what to do.
    pub detail: String,
    /// The fields that are wrong: JSON pointer and words.
    pub fields: Vec<(String, String)>,
}

impl Refusal {
    /// A refusal in words.
    pub fn new(code: Code, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), fields: Vec::new() }
    }

    /// A refusal of one field.
    pub fn field(code: Code, pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self { code, detail: detail.clone(), fields: vec![(pointer.into(), detail)] }
    }
}

/// The kinds of no. The name is the stable `code` of the problem document.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Code {
    Invalid,
    UnknownTenant,
    UnknownTemplate,
    UnknownSchedule,
    EmptyAudience,
    BadOpenid,
    FieldTooLong,
    FieldInvalid,
    TooManyRecipients,
    TooManyTypes,
    TooManyWaiters,
    PayloadTooLarge,
    NotFound,
    KeyReused,
    NotOpen,
    WrongState,
    ClaimUnknown,
    ClaimExpired,
    ClaimTaken,
    TaskGone,
    TaskCancelled,
    Running,
    Held,
    Draining,
    Storage,
    Unreadable,
    Provider,
}

impl Code {
    /// The stable name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Invalid => "invalid",
            Self::UnknownTenant => "unknown_tenant",
            Self::UnknownTemplate => "unknown_template",
            Self::UnknownSchedule => "unknown_schedule",
            Self::EmptyAudience => "empty_audience",
            Self::BadOpenid => "bad_openid",
            Self::FieldTooLong => "field_too_long",
            Self::FieldInvalid => "field_invalid",
            Self::TooManyRecipients => "too_many_recipients",
            Self::TooManyTypes => "too_many_types",
            Self::TooManyWaiters => "too_many_waiting",
            Self::PayloadTooLarge => "payload_too_large",
            Self::NotFound => "not_found",
            Self::KeyReused => "key_reused",
            Self::NotOpen => "not_open",
            Self::WrongState => "wrong_state",
            Self::ClaimUnknown => "claim_unknown",
            Self::ClaimExpired => "claim_expired",
            Self::ClaimTaken => "claim_taken",
            Self::TaskGone => "task_gone",
            Self::TaskCancelled => "task_cancelled",
            Self::Running => "already_running",
            Self::Held => "held",
            Self::Draining => "draining",
            Self::Storage => "storage_low",
            Self::Unreadable => "unreadable",
            Self::Provider => "provider_refused",
        }
    }

    /// Whether it is about the daemon's own state, not about what it was asked.
    #[must_use]
    pub fn is_passing(self) -> bool {
        matches!(self, Self::Held | Self::Draining | Self::Storage | Self::TooManyWaiters)
    }
}

/// A refusal of a thing that is not there.
pub(super) fn not_found(what: &str, id: impl std::fmt::Display) -> Refusal {
    Refusal::new(Code::NotFound, format!("there is no {what} {id}"))
}

/// A refusal of a key that stands for something else.
pub(super) fn key_reused(key: &str, id: Id) -> Refusal {
    Refusal::field(
        Code::KeyReused,
        "/key",
        format!("key {key:?} was used for {id} with another body: use a new key"),
    )
}
