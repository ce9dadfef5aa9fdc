//! What is known of a tenant beside its rules: holds, rate, token. All of it survives a restart.

use serde::{Deserialize, Serialize};

use crate::store::schema::Tree;
use crate::store::{Record, codec};
use crate::time::Timestamp;

/// The row of a tenant.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TenantState {
    /// Nothing is sent before this.
    pub hold_until: Timestamp,
    /// Why, for people.
    pub hold_reason: Option<String>,
    /// Consecutive refusals of the account: the hold doubles with each.
    pub refusals: u32,
    /// The rate's theoretical arrival time, microseconds.
    pub rate_at_us: u64,
    /// What is known of the access token.
    pub token: Option<StoredToken>,
    /// Token fetches since the store was made.
    pub token_fetches: u64,
    /// The day, in Shanghai, that `sent_today` counts: days since 1970.
    pub day: u32,
    /// Requests of that day.
    pub sent_today: u64,
    /// Sends per second that an operator set; as configured when absent.
    pub rate: Option<u32>,
    /// Requests in flight that an operator set; as configured when absent.
    pub concurrency: Option<u32>,
    /// How much of the rate is used, per mille; 0 means all, too.
    pub slowed_to: u32,
    /// When the pace last changed.
    pub pace_at: Timestamp,
    /// Attempts without a clear answer since `burst_at`.
    pub burst: u32,
    /// See `burst`.
    pub burst_at: Timestamp,
    /// What the provider said of the day's quota.
    pub quota: Option<Quota>,
}

/// All of the rate, per mille.
pub const FULL_PACE: u32 = 1_000;

impl TenantState {
    /// How much of the rate is used, per mille.
    #[must_use]
    pub fn pace(&self) -> u32 {
        if self.slowed_to == 0 { FULL_PACE } else { self.slowed_to }
    }

    /// Sets it.
    pub fn set_pace(&mut self, pace: u32) {
        self.slowed_to = if pace == FULL_PACE { 0 } else { pace };
    }
}

/// What the provider said of the day's quota of sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quota {
    /// Sends of a day.
    pub limit: u64,
    /// How many were used then, by whomever.
    pub used: u64,
    /// How many of them had left here.
    pub sent: u64,
    /// When it said so.
    pub at: Timestamp,
}

/// The row as version 1 has it: nothing can be set by hand, the pace is always full.
#[derive(Deserialize)]
struct TenantStateV1 {
    hold_until: Timestamp,
    hold_reason: Option<String>,
    refusals: u32,
    rate_at_us: u64,
    token: Option<StoredToken>,
    token_fetches: u64,
    day: u32,
    sent_today: u64,
}

impl From<TenantStateV1> for TenantState {
    fn from(old: TenantStateV1) -> Self {
        Self {
            hold_until: old.hold_until,
            hold_reason: old.hold_reason,
            refusals: old.refusals,
            rate_at_us: old.rate_at_us,
            token: old.token,
            token_fetches: old.token_fetches,
            day: old.day,
            sent_today: old.sent_today,
            ..Self::default()
        }
    }
}

impl Record for TenantState {
    const TREE: Tree = Tree::Counters;
    const VERSION: u8 = 2;

    fn upgrade(version: u8, payload: &[u8]) -> Option<Self> {
        (version == 1).then(|| codec::payload::<TenantStateV1>(payload).map(Into::into)).flatten()
    }
}

impl std::fmt::Debug for TenantState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TenantState")
            .field("hold_until", &self.hold_until)
            .field("hold_reason", &self.hold_reason)
            .finish_non_exhaustive()
    }
}

/// That there is a token. The token itself is not stored with what is copied and kept for long.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredToken {
    /// Empty; stores of earlier versions held the secret here.
    pub value: String,
    /// When the provider stops taking it.
    pub expires_at: Timestamp,
    /// When it was fetched.
    pub fetched_at: Timestamp,
}

impl std::fmt::Debug for StoredToken {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "StoredToken(secret, expires {})", self.expires_at)
    }
}
