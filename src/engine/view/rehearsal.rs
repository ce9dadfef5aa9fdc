//! A submission that was only tried.

use schemars::JsonSchema;
use serde::Serialize;

use super::scalars::{At, Raw};

/// What a submission would come to.
#[derive(Clone, Debug, Default, Serialize, JsonSchema)]
#[schemars(rename = "DryRun")]
pub struct DryRunView {
    /// Whether it would be taken.
    pub ok: bool,
    /// Whose it would be.
    pub tenant: String,
    /// Different recipients that are named; absent where they are read from elsewhere.
    pub recipients: Option<usize>,
    /// How often one is named again.
    pub duplicates: Option<usize>,
    /// What is wrong, or worth knowing.
    pub findings: Vec<FindingView>,
    /// The first five messages as WeChat would get them.
    pub rendered: Vec<Raw>,
    /// Requests to WeChat: one for each recipient.
    pub requests: Option<u64>,
    /// How many of them on which day, by the day's quota.
    pub by_day: Vec<DayView>,
    /// When the first would be sent.
    pub begins_at: Option<At>,
    /// When the last one would be, at the present rate; absent without a rate.
    pub ends_at: Option<At>,
}

/// Something found in a submission.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Finding")]
pub struct FindingView {
    /// `error`: it would be refused; `warning`: it would be sent all the same.
    pub level: &'static str,
    /// Where.
    pub pointer: String,
    /// What.
    pub detail: String,
}

/// Requests of one day.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "DayRequests")]
pub struct DayView {
    /// The day in Shanghai.
    pub day: String,
    /// How many.
    pub requests: u64,
}
