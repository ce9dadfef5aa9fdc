//! A faithful local WeChat, for development, the demo and tests.
//!
//! It issues tokens, counts quotas, checks sends in WeChat's order, forgets a `client_msg_id` after
//! ten minutes, and loses answers when told to; and it keeps the ledger of what users saw, which
//! judges whether the daemon lost a message or showed one twice. Everything is decided by a seed,
//! by the recipient and by how often that recipient was called for, never by the order of calls.
//!
//! It shares no rule with the daemon, on purpose. WeChat's side is under `/cgi-bin/`, the rest under
//! `/_sandbox/`:
//!
//! | call | does |
//! |---|---|
//! | `GET ledger?appid=` | counts of what was called for and shown; of all accounts without `appid` |
//! | `GET ledger/messages?appid=&after=&limit=` | messages shown, in order; `next` is the next `after` |
//! | `GET seen?appid=&openid=` | what one person saw |
//! | `GET faults`, `POST faults` | [`Faults`] as JSON; what is left out of a POST becomes zero |
//! | `POST tokens/invalidate` `{appid}` | ends all tokens of an account |
//! | `POST followers` `{appid, follow, unfollow, block}` | changes who follows |
//! | `POST callback` `{appid, url, token, encoding_aes_key?, mode?, format?}` | where its events go: receipts, who follows, who left; `mode` is `plain`, `compatible` or `secure`, `format` `xml` or `json` |
//! | `POST clock` `{advance_ms}` | moves the sandbox's clock forward |
//! | `POST reset` | begins again; all tokens end |
//!
//! Left out: moderation (40252), the content guard (40241 for equal contents within a
//! minute, which would hide duplicates from the ledger), frequency per user, and per-minute limits
//! other than as a fault.

mod answer;
mod api;
mod control;
mod credentials;
mod events;
mod fate;
mod hash;
mod keyword;
mod ledger;
mod letter;
mod manage;
mod options;
mod people;
mod posts;
mod query;
mod quota;
mod repeats;
mod send;
mod server;
#[cfg(test)]
mod tests;
mod tokens;
mod users;
mod world;

pub use options::{Account, DEFAULT_TEMPLATE, Faults, Options, RepeatAnswer, Template, follower};
pub use server::serve;

/// What happened while a sandbox was served, over all accounts, since the last reset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ServeSummary {
    /// Sends called for.
    pub calls: u64,
    /// Messages shown to users.
    pub accepted: u64,
    /// People who saw at least one.
    pub recipients: u64,
    /// Messages shown to somebody who had seen the same template and data before.
    pub duplicates: u64,
    /// Sends with one account's token to another account's follower.
    pub wrong_tenant: u64,
    /// Sends that were worked on and whose answer was withheld.
    pub lost_answers: u64,
}

impl ServeSummary {
    fn of(counts: &world::Counts) -> Self {
        Self {
            calls: counts.calls,
            accepted: counts.accepted,
            recipients: counts.recipients,
            duplicates: counts.duplicates,
            wrong_tenant: counts.wrong_tenant,
            lost_answers: counts.lost_answers,
        }
    }
}
