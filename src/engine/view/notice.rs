//! Notices as people see them.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::Serialize;

use super::row::{ROW_BYTES, Row, len};
use super::scalars::{At, IdText, Word};
use crate::model::delivery::DeliveryState;
use crate::model::notice::{Counts, InDoubt, NoticeState};

/// A notice.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct NoticeView {
    /// Its id.
    pub id: IdText,
    /// Whose it is.
    pub tenant: String,
    /// The template's name.
    pub template: String,
    /// What it is called, for people.
    pub title: Option<String>,
    /// The caller's own id for it.
    #[serde(rename = "ref")]
    pub reference: Option<String>,
    /// The caller's labels on it.
    pub labels: BTreeMap<String, String>,
    /// Where it stands.
    pub state: Word<NoticeState>,
    /// Why it is paused.
    pub reason: Option<String>,
    /// Its deliveries.
    pub total: u32,
    /// The same by state.
    pub counts: CountsView,
    /// Of those taken, how many have no receipt after ten minutes; absent for a tenant without
    /// callback, to which none come.
    pub without_receipt: Option<u32>,
    /// How far its audience is, while it is read from elsewhere.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub audience: Option<AudienceView>,
    /// How far its first few are, while the rest waits for what comes of them.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub canary: Option<CanaryView>,
    /// Whether it is sent before others, in quiet hours, and from the reserve of the day.
    pub urgent: bool,
    /// When its tenant goes on, while that sends nothing though it is due.
    pub goes_on_at: Option<At>,
    /// What its tenant waits for then.
    pub waits_for: Option<String>,
    /// Deliveries settled a second since the first send.
    pub rate: Option<f64>,
    /// When it will be done at that rate.
    pub eta: Option<At>,
    /// When it was submitted.
    pub created: At,
    /// Not sent before.
    pub send_at: At,
    /// Not sent after.
    pub expires_at: Option<At>,
    /// What becomes of attempts that stay in doubt.
    pub in_doubt: Word<InDoubt>,
    /// When the first of its messages was sent.
    pub first_send: Option<At>,
    /// When the last delivery was settled so far.
    pub last_settled: Option<At>,
    /// When the last one was, if none is left.
    pub finished: Option<At>,
    /// Template values; only of one notice, as the fields below.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub data: Option<BTreeMap<String, String>>,
    /// The template's id at WeChat.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// Where a tap leads.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub url: Option<Option<String>>,
    /// Or into which mini program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub miniprogram: Option<Option<MiniprogramView>>,
}

impl Row for NoticeView {
    fn bytes(&self) -> usize {
        ROW_BYTES
            + len(self.title.as_ref())
            + len(self.reason.as_ref())
            + len(self.waits_for.as_ref())
    }
}

/// An audience that is read from elsewhere.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "AudienceProgress")]
pub struct AudienceView {
    /// Where from: `url`, `followers`, `tag` or `notice`.
    pub source: &'static str,
    /// `waits` for its time, `reading`, or `stopped` until the notice is resumed.
    pub state: &'static str,
    /// Recipients read so far, this time.
    pub found: u64,
    /// How many there are, where the source says that.
    pub expected: Option<u64>,
    /// Failures in a row.
    pub failed: u32,
    /// What the last one was.
    pub error: Option<String>,
    /// When it is tried again.
    pub retry_at: Option<At>,
}

/// The first few of a notice.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Canary")]
pub struct CanaryView {
    /// How many have been sent.
    pub sent: u32,
    /// How many may still be.
    pub left: u32,
    /// How many had no clear answer.
    pub in_doubt: u32,
    /// When is looked at what came of them.
    pub decides_at: Option<At>,
}

/// A mini program.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct MiniprogramView {
    /// Its appid.
    pub appid: String,
    /// The page in it.
    pub pagepath: String,
}

/// Deliveries by state.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Counts")]
pub struct CountsView {
    /// Wait for their time.
    pub pending: u32,
    /// On the wire.
    pub sending: u32,
    /// Taken by WeChat.
    pub accepted: u32,
    /// With a receipt.
    pub delivered: u32,
    /// Refused for good.
    pub refused: u32,
    /// Not sent on purpose.
    pub skipped: u32,
    /// Given up after too many failures.
    pub dead: u32,
    /// May have been accepted.
    pub in_doubt: u32,
    /// Withdrawn before they were sent.
    pub cancelled: u32,
    /// Taken by WeChat, and not delivered as their receipt says.
    pub failed: u32,
}

impl From<&Counts> for CountsView {
    fn from(counts: &Counts) -> Self {
        let of = |state| counts.of(state);
        Self {
            pending: of(DeliveryState::Pending),
            sending: of(DeliveryState::Sending),
            accepted: of(DeliveryState::Accepted),
            delivered: of(DeliveryState::Delivered),
            refused: of(DeliveryState::Refused),
            skipped: of(DeliveryState::Skipped),
            dead: of(DeliveryState::Dead),
            in_doubt: of(DeliveryState::InDoubt),
            cancelled: of(DeliveryState::Cancelled),
            failed: of(DeliveryState::Failed),
        }
    }
}
