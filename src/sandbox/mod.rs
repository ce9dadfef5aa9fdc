//! A local WeChat to develop and test against: tokens, quotas, checks in the provider's order,
//! de-duplication, faults under a seed, and a ledger of what users saw.
//!
//! It is an oracle for the daemon, so it shares no rule with it: its checks of keyword values are
//! its own. Facts and their sources: the provider's documentation of template messages, stable
//! access tokens and global return codes; where that is silent, the choice is a setting.
//!
//! The ledger is the point: it tells from the users' side who saw what, how often, whatever
//! answers got lost on the way.

mod content;
mod faults;
mod ledger;
mod serve;
mod world;

use serde::{Deserialize, Serialize};

pub use serve::serve;

/// What the sandbox is like.
#[derive(Clone, Debug)]
pub struct Options {
    /// The seed of everything random.
    pub seed: u64,
    /// Its official accounts.
    pub accounts: Vec<Account>,
    /// How many people follow each account; their openids are [`follower`].
    pub followers: u32,
    /// Template ids that exist, for every account.
    pub templates: Vec<String>,
    /// What goes wrong.
    pub faults: Faults,
    /// Sends per account and day.
    pub daily_quota: u64,
}

/// An official account.
#[derive(Clone, Debug)]
pub struct Account {
    /// Its id.
    pub appid: String,
    /// Its secret; of no worth outside the sandbox.
    pub secret: String,
}

/// What goes wrong, how often. Per mille of sends; decided by seed, recipient and try, so that the
/// order of requests does not matter.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Accepted, but the connection closes without an answer.
    pub lost_answer: u32,
    /// The connection closes before anything is accepted.
    pub lost_request: u32,
    /// Answered -1; half of them were accepted.
    pub system_error: u32,
    /// Answered 45011.
    pub minute_limit: u32,
    /// Answered only after `slow_ms`.
    pub slow: u32,
    /// How slow.
    pub slow_ms: u64,
    /// How long every answer takes.
    pub latency_ms: u64,
}

/// The template that exists by default. Real ids have 43 characters, too.
pub const TEMPLATE: &str = "TEMPLATE_NEW_TASK_0000000000000000000000000";

impl Default for Options {
    fn default() -> Self {
        let account = |number: u32| Account {
            appid: format!("wx{number:016}"),
            secret: format!("sandbox-secret-{number}"),
        };
        Self {
            seed: 1,
            accounts: vec![account(1), account(2)],
            followers: 10_000,
            templates: vec![TEMPLATE.to_owned()],
            faults: Faults::default(),
            daily_quota: 10_000_000,
        }
    }
}

/// The openid of an account's follower number `number`, from 0. Openids of different accounts
/// differ, as real ones do.
#[must_use]
pub fn follower(account: usize, number: u32) -> String {
    format!("oSBX{account:02}F{number:021}")
}
