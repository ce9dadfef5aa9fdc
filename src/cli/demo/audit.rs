//! The demo's audit: what the daemon says it did, held against what users saw.

use std::time::Duration;

use serde_json::Value;

use super::processes::{Http, Sandbox};
use crate::cli::output::Failure;

/// Both sides' numbers.
pub(super) struct Audit {
    recipients: u64,
    strangers: u64,
    accepted: u64,
    delivered: u64,
    refused: u64,
    dead: u64,
    in_doubt: u64,
    unfinished: u64,
    seen: u64,
    twice: u64,
    wrong_tenant: u64,
    lost_answers: u64,
    repeated: u64,
    token_fetches: u64,
}

impl Audit {
    pub(super) fn take(
        http: &Http,
        sandbox: &Sandbox,
        notice: &Value,
        recipients: u32,
        strangers: u32,
    ) -> Result<Self, Failure> {
        let ledger = http.get(&sandbox.url, "/_sandbox/ledger")?;
        let all = |field: &str| ledger.get(field).and_then(Value::as_u64).unwrap_or(0);
        let fetches = ledger.get("token_fetches").and_then(Value::as_object);
        Ok(Self {
            recipients: u64::from(recipients),
            strangers: u64::from(strangers),
            accepted: count(notice, "accepted") + count(notice, "delivered"),
            delivered: count(notice, "delivered"),
            refused: count(notice, "refused"),
            dead: count(notice, "dead"),
            in_doubt: count(notice, "in_doubt"),
            unfinished: count(notice, "pending") + count(notice, "sending"),
            seen: all("recipients"),
            twice: all("duplicates"),
            wrong_tenant: all("wrong_tenant"),
            lost_answers: all("lost_answers"),
            repeated: all("repeats"),
            token_fetches: fetches
                .into_iter()
                .flat_map(|all| all.values())
                .filter_map(Value::as_u64)
                .sum(),
        })
    }

    /// Followers who saw nothing.
    fn missing(&self) -> u64 {
        (self.recipients - self.strangers).saturating_sub(self.seen)
    }

    pub(super) fn report(&self, took: Duration) -> String {
        let rate = self.recipients as f64 / took.as_secs_f64().max(0.001);
        format!(
            "recipients       {:>8}\n\
             accepted         {:>8}   seen by users {}\n\
             delivered        {:>8}   of them, as their receipts say\n\
             refused          {:>8}   no such follower (40003), {} expected\n\
             dead             {:>8}\n\
             in doubt         {:>8}\n\
             seen twice       {:>8}\n\
             missing          {:>8}\n\
             lost answers     {:>8}   {} repetitions recognised by their client_msg_id\n\
             token fetches    {:>8}\n\
             rate             {:>8.0}   recipients per second, the restart included\n",
            self.recipients,
            self.accepted,
            self.seen,
            self.delivered,
            self.refused,
            self.strangers,
            self.dead,
            self.in_doubt,
            self.twice,
            self.missing(),
            self.lost_answers,
            self.repeated,
            self.token_fetches,
            rate,
        )
    }

    /// Whether every recipient is accounted for, once.
    pub(super) fn verdict(&self) -> Result<(), Failure> {
        let mut wrong = Vec::new();
        let mut hold = |right: bool, what: &str| {
            if !right {
                wrong.push(format!("audit: {what}"));
            }
        };
        hold(self.twice == 0, "somebody saw the message twice");
        hold(self.missing() == 0, "a follower saw nothing");
        hold(self.wrong_tenant == 0, "a message went out with another account's token");
        hold(self.unfinished == 0, "some deliveries are unfinished");
        hold(self.seen == self.accepted, "the books and the ledger differ");
        hold(self.refused == self.strangers, "others than the strangers were refused");
        hold(
            self.accepted + self.refused + self.dead + self.in_doubt == self.recipients,
            "the states do not add up to the recipients",
        );
        if wrong.is_empty() {
            return Ok(());
        }
        let exit = crate::cli::Exit::Fault;
        Err(Failure::Told { exit, errors: wrong, hints: Vec::new() })
    }
}

/// Deliveries of a notice in one state.
pub(super) fn count(notice: &Value, state: &str) -> u64 {
    notice.pointer(&format!("/counts/{state}")).and_then(Value::as_u64).unwrap_or(0)
}
