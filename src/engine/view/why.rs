//! What became of one message, as people ask for it.

use schemars::JsonSchema;
use serde::Serialize;

use super::scalars::{At, DeliveryText, IdText, Word};
use crate::model::delivery::DeliveryState;

/// Why somebody got a message, or did not.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Why")]
pub struct WhyView {
    /// In one sentence: what happened, why, and what can be done.
    pub sentence: String,
    /// Whose notice it is.
    pub tenant: String,
    /// The notice.
    pub notice: IdText,
    /// The recipient.
    pub openid: String,
    /// The delivery; null for somebody who was never in the audience.
    pub delivery: Option<DeliveryText>,
    /// Where it stands.
    pub state: Option<Word<DeliveryState>>,
    /// What happened, the oldest first.
    pub timeline: Vec<Happening>,
}

/// One thing that happened.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Happening {
    /// When.
    pub at: At,
    /// What, in words.
    pub what: String,
}
