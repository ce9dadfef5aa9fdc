//! What is known of a tenant beside its rules: holds, rate, token. All of it survives a restart.

use serde::{Deserialize, Serialize};

use crate::store::Record;
use crate::store::schema::Tree;
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
}

impl Record for TenantState {
    const TREE: Tree = Tree::Counters;
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
