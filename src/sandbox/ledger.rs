//! The ledger: what users saw.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};

use serde_json::{Value as Json, json};

use crate::time::Timestamp;

/// A message that was shown to a user.
pub(super) struct Shown {
    pub(super) openid: Box<str>,
    pub(super) client_msg_id: Box<str>,
    pub(super) msgid: u64,
    pub(super) at: Timestamp,
}

/// One account's ledger.
pub(super) struct Ledger {
    hasher: RandomState,
    shown: Vec<Shown>,
    /// How often each user saw each content, by hash of both.
    seen: HashMap<u64, u16>,
    recipients: HashMap<u64, u32>,
    duplicates: u64,
    pub(super) calls: u64,
    pub(super) token_fetches: u64,
    pub(super) wrong_tenant: u64,
    pub(super) lost: u64,
    pub(super) repeated: u64,
    pub(super) codes: HashMap<i64, u64>,
}

impl Ledger {
    pub(super) fn new() -> Self {
        Self {
            hasher: RandomState::new(),
            shown: Vec::new(),
            seen: HashMap::new(),
            recipients: HashMap::new(),
            duplicates: 0,
            calls: 0,
            token_fetches: 0,
            wrong_tenant: 0,
            lost: 0,
            repeated: 0,
            codes: HashMap::new(),
        }
    }

    /// A user sees a message. `content` is what the message says, apart from who sent it when.
    pub(super) fn show(&mut self, shown: Shown, content: &str) {
        let times = self.seen.entry(self.hasher.hash_one((&shown.openid, content))).or_default();
        *times = times.saturating_add(1);
        self.duplicates += u64::from(*times > 1);
        *self.recipients.entry(self.hasher.hash_one(&shown.openid)).or_default() += 1;
        self.shown.push(shown);
    }

    /// How many messages one user saw.
    pub(super) fn seen_by(&self, openid: &str) -> u32 {
        self.recipients.get(&self.hasher.hash_one(openid)).copied().unwrap_or(0)
    }

    pub(super) fn summary(&self) -> Json {
        let codes: serde_json::Map<String, Json> =
            self.codes.iter().map(|(code, count)| (code.to_string(), json!(count))).collect();
        json!({
            "shown": self.shown.len(),
            "recipients": self.recipients.len(),
            "duplicates": self.duplicates,
            "calls": self.calls,
            "token_fetches": self.token_fetches,
            "wrong_tenant": self.wrong_tenant,
            "lost_answers": self.lost,
            "repeated": self.repeated,
            "codes": codes,
        })
    }

    /// Up to `limit` messages from number `from` on.
    pub(super) fn messages(&self, from: usize, limit: usize) -> Json {
        let messages = self.shown.iter().skip(from).take(limit).map(|shown| {
            json!({
                "openid": shown.openid,
                "client_msg_id": shown.client_msg_id,
                "msgid": shown.msgid.to_string(),
                "at": shown.at.to_string(),
            })
        });
        Json::Array(messages.collect())
    }
}
