//! What is said of notices: submitted, changed, to whom, and what people do to them.

use std::collections::BTreeMap;

use crate::id::Id;
use crate::model::audience::Sourcing;
use crate::model::delivery::DeliveryState;
use crate::model::marks::Marks;
use crate::model::notice::{CanaryRule, InDoubt, Miniprogram};
use crate::time::Timestamp;

/// A notice as submitted, its shape checked, its meaning not yet.
#[derive(Clone, Debug, Default)]
pub struct NoticeDraft {
    /// The tenant's name.
    pub tenant: String,
    /// Or several: one notice is submitted for each.
    pub tenants: Vec<String>,
    /// The template's name.
    pub template: String,
    /// For people.
    pub title: Option<String>,
    /// Template values.
    pub data: BTreeMap<String, String>,
    /// Where a tap leads.
    pub url: Option<String>,
    /// Or into which mini program.
    pub miniprogram: Option<Miniprogram>,
    /// To whom.
    pub audience: Audience,
    /// Not before; now when absent.
    pub send_at: Option<Timestamp>,
    /// Not after.
    pub expires_at: Option<Timestamp>,
    /// What happens to attempts that stay in doubt.
    pub in_doubt: InDoubt,
    /// Idempotency key.
    pub key: Option<String>,
    /// Why it comes up paused, if it does.
    pub paused: Option<String>,
    /// The key was made of the content, by a pull: what was last seen before this is another notice of
    /// the same content, unless it was seen on the same day in Shanghai.
    pub seen_since: Option<Timestamp>,
    /// Take the place of a notice with the same key that is over.
    pub replace: bool,
    /// Its first few go first, and the rest when they did well.
    pub canary: Option<CanaryRule>,
    /// What its caller calls it.
    pub marks: Marks,
    /// It is sent before others, in quiet hours, and from the reserve of the day.
    pub urgent: bool,
    /// Fingerprint of the submitted body.
    pub fingerprint: u128,
    /// Fingerprint of what it means, however it is written; 0 when only the other one was made.
    pub meaning: u128,
}

/// What changes of a notice; absent is as it was.
#[derive(Clone, Debug, Default)]
pub struct NoticePatch {
    /// Another template.
    pub template: Option<String>,
    /// For people.
    pub title: Option<String>,
    /// Values in place of those of the same names; of another template all of them.
    pub data: Option<BTreeMap<String, String>>,
    /// Where a tap leads.
    pub url: Option<String>,
    /// Or into which mini program.
    pub miniprogram: Option<Miniprogram>,
    /// Not before.
    pub send_at: Option<Timestamp>,
    /// Not after.
    pub expires_at: Option<Timestamp>,
}

impl NoticePatch {
    /// Whether it says something else then, and not only at another time.
    #[must_use]
    pub fn says_something(&self) -> bool {
        self.template.is_some()
            || self.title.is_some()
            || self.data.is_some()
            || self.url.is_some()
            || self.miniprogram.is_some()
    }
}

/// Where the recipients come from.
#[derive(Clone, Debug)]
pub enum Audience {
    /// They are here.
    Inline(Vec<Recipient>),
    /// They will be streamed.
    Stream,
    /// They are read from where they are.
    Source(Sourcing),
}

impl Default for Audience {
    fn default() -> Self {
        Self::Inline(Vec::new())
    }
}

/// One recipient, perhaps with template values of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recipient {
    /// The openid.
    pub openid: String,
    /// Values that replace the notice's.
    pub data: BTreeMap<String, String>,
}

/// What a worker brings of an audience.
#[derive(Debug)]
pub struct Portion {
    /// The notice.
    pub notice: Id,
    /// The job's fence.
    pub fence: u64,
    /// At most [`crate::limits::STREAM_CHUNK`] of them.
    pub recipients: Vec<Recipient>,
    /// Where to go on behind them, if the source can.
    pub resume: Option<String>,
    /// How many the source says there are.
    pub expected: Option<u64>,
    /// Whether these were the last.
    pub done: bool,
}

/// What an operator may do to a notice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Act {
    /// Send now, whatever `send_at` says.
    Send,
    /// Hold.
    Pause,
    /// Go on.
    Resume,
    /// Withdraw what waits.
    Cancel,
    /// Send again to those that failed.
    Resend {
        /// Which states to take.
        states: Vec<DeliveryState>,
        /// Only with this code.
        errcode: Option<i64>,
    },
}

impl NoticeDraft {
    /// The fingerprint to keep with the key.
    #[must_use]
    pub fn kept(&self) -> u128 {
        if self.meaning == 0 { self.fingerprint } else { self.meaning }
    }

    /// Whether a fingerprint kept with a key, by this version or an earlier one, is of this draft.
    #[must_use]
    pub fn is_same(&self, kept: u128) -> bool {
        kept == self.kept() || kept == self.fingerprint
    }
}
