//! What came of one try: the classes of answers and the record of a try.

use serde::{Deserialize, Serialize};

use crate::named::Named;
use crate::time::Timestamp;

/// What an answer means for the delivery, the notice and the tenant.
///
/// The class of each WeChat code is in [`super::errcode`]; what each class does is in
/// `engine::settle`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Accepted by the provider.
    Ok,
    /// Certainly not accepted; try this delivery again later.
    Retry,
    /// The access token was refused.
    Token,
    /// The day's quota is used up: the tenant rests until the next day in Shanghai.
    Day,
    /// Final for this recipient.
    Recipient,
    /// Final for the whole notice or its template.
    Notice,
    /// The tenant's account or credentials are refused: the tenant rests and an operator is needed.
    Tenant,
    /// Taken into the platform's review, which delivers by itself.
    Review,
    /// The request may have been accepted: no answer, or one that does not say.
    InDoubt,
    /// Nothing was sent: no connection, or no access token. It is no attempt of the delivery, has no
    /// entry in the send log, and the tenant rests.
    Unreached,
}

impl Named for Class {
    const ALL: &'static [Self] = &Class::ALL;

    fn word(self) -> &'static str {
        self.name()
    }
}

impl Class {
    /// All of them.
    pub const ALL: [Self; 10] = [
        Self::Ok,
        Self::Retry,
        Self::Token,
        Self::Day,
        Self::Recipient,
        Self::Notice,
        Self::Tenant,
        Self::Review,
        Self::InDoubt,
        Self::Unreached,
    ];

    /// The name in JSON, CSV, logs and metrics.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Retry => "retry",
            Self::Token => "token",
            Self::Day => "day",
            Self::Recipient => "recipient",
            Self::Notice => "notice",
            Self::Tenant => "tenant",
            Self::Review => "review",
            Self::InDoubt => "in_doubt",
            Self::Unreached => "unreached",
        }
    }

    /// What the daemon does about such an answer, in a sentence for people.
    #[must_use]
    pub fn consequence(self) -> &'static str {
        match self {
            Self::Ok => "The message counts as accepted.",
            Self::Retry => {
                "This recipient is tried again later; when all fail alike the notice is paused."
            }
            Self::Token => "A new access token is fetched and the message is sent again at once.",
            Self::Day => "The tenant rests until the next day in Shanghai.",
            Self::Recipient => "It is final for this recipient and for nobody else.",
            Self::Notice => "The notice is paused: mend it, then resume or cancel it.",
            Self::Tenant => {
                "The tenant rests and tries one message now and then: mend its account, then resume it."
            }
            Self::Review => "The platform reviews the message and delivers it by itself.",
            Self::InDoubt => {
                "It may have been shown: it is tried again while the provider recognises it, then \
                 waits for a person."
            }
            Self::Unreached => "Nothing was sent: the tenant rests and tries again by itself.",
        }
    }
}

/// One request to the provider and what came back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Try {
    /// When it began.
    pub at: Timestamp,
    /// How long it took.
    pub duration_ms: u64,
    /// What the answer means.
    pub class: Class,
    /// The provider's code, when there was an answer with one.
    pub errcode: Option<i64>,
    /// The provider's text without its rid, or our own words for a transport error. No secrets.
    pub errmsg: String,
    /// The provider's message id, digits.
    pub msgid: Option<String>,
    /// The provider's request id.
    pub rid: Option<String>,
    /// The keyword field that the answer complains about.
    pub field: Option<String>,
    /// The body of the answer, cut to [`crate::limits::ANSWER_BYTES`]; empty without an answer.
    pub response: String,
}
