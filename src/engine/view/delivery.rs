//! Deliveries and the send log as people see them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::row::{ROW_BYTES, Row, len};
use super::scalars::{At, DeliveryText, IdText, Raw, Word};
use crate::engine::query::asked::DeadKind;
use crate::model::attempt::Class;
use crate::model::delivery::DeliveryState;

/// A delivery: one notice to one recipient.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Delivery")]
pub struct DeliveryView {
    /// Its id.
    pub id: DeliveryText,
    /// Its notice.
    pub notice: IdText,
    /// The recipient.
    pub openid: String,
    /// Where it stands.
    pub state: Word<DeliveryState>,
    /// The number of the last attempt that began, from 1; 0 before the first.
    pub attempt: u32,
    /// Failures that count towards the limit.
    pub failed: u32,
    /// When it may be sent, while it waits.
    pub due: Option<At>,
    /// When its claim runs out, while it is sent.
    pub until: Option<At>,
    /// When its last attempt began.
    pub started: Option<At>,
    /// Since when it has been in doubt.
    pub doubt_since: Option<At>,
    /// What WeChat answered last.
    pub errcode: Option<i64>,
    /// What that means.
    pub meaning: Option<&'static str>,
    /// The message's id at WeChat.
    pub msgid: Option<String>,
    /// Why it stands where it stands.
    pub reason: Option<String>,
    /// When that was.
    pub changed: At,
    /// `in_doubt` in a list of those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word<DeadKind>>,
    /// Whose it is, where that is not known from the notice.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tenant: Option<String>,
    /// The notice's title, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub title: Option<Option<String>>,
    /// What is sent; only of one delivery, as its attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub request: Option<Raw>,
    /// Its attempts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts: Option<Vec<LogEntry>>,
}

impl Row for DeliveryView {
    fn bytes(&self) -> usize {
        ROW_BYTES + len(self.reason.as_ref())
    }
}

/// An entry of the send log: one attempt.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct LogEntry {
    /// Its id.
    pub id: IdText,
    /// Whose it is.
    pub tenant: String,
    /// The notice.
    pub notice: IdText,
    /// The delivery.
    pub delivery: DeliveryText,
    /// The recipient.
    pub openid: String,
    /// The number of the attempt, from 1.
    pub attempt: u32,
    /// When it began.
    pub at: At,
    /// How long it took.
    pub duration_ms: u64,
    /// What its outcome means to the daemon.
    pub class: Word<Class>,
    /// What WeChat answered.
    pub errcode: Option<i64>,
    /// In its words.
    pub errmsg: String,
    /// In ours.
    pub meaning: Option<&'static str>,
    /// The message's id at WeChat.
    pub msgid: Option<String>,
    /// WeChat's name for the request, for its support.
    pub rid: Option<String>,
    /// The template's id at WeChat, while the notice is kept.
    pub template_id: Option<String>,
    /// The notice's title, likewise.
    pub title: Option<String>,
    /// The caller's own id for the notice, while that is kept.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The caller's labels on it, likewise.
    pub labels: BTreeMap<String, String>,
    /// Which process sent it.
    pub worker: String,
    /// In which term of the daemon.
    pub term: u64,
    /// What was sent, while the notice is kept.
    pub request: Option<Raw>,
    /// What came back, cut; a string when it was no JSON.
    pub response: Option<Raw>,
}

impl Row for LogEntry {
    fn bytes(&self) -> usize {
        let raw = |raw: &Option<Raw>| raw.as_ref().map_or(0, |raw| raw.text().len());
        ROW_BYTES + raw(&self.request) + raw(&self.response) + self.errmsg.len()
    }
}

/// How many deliveries there are of some kind, of those that were looked at.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Counted {
    /// How many.
    pub count: u64,
    /// Where to go on counting.
    pub cursor: Option<String>,
}
