//! A provider that loses requests and answers, lies, limits, and tells repetitions by their id.

use std::collections::BTreeMap;

use duebox::engine::command::SendJob;
use duebox::id::DeliveryId;
use duebox::limits::DEDUPE_WINDOW_MS;
use duebox::model::attempt::{Class, Try};
use duebox::model::errcode;
use duebox::time::Timestamp;
use fastrand::Rng;

/// How likely things go wrong, in percent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Faults {
    /// The request does not arrive; the sender cannot know.
    pub(crate) lost_before: u8,
    /// The request arrives and its answer is lost.
    pub(crate) lost_after: u8,
    /// The answer is -1, and the message may have been taken.
    pub(crate) busy: u8,
    /// The minute's limit is reached.
    pub(crate) limited: u8,
    /// The token is refused.
    pub(crate) token: u8,
}

impl Faults {
    pub(crate) const NONE: Self =
        Self { lost_before: 0, lost_after: 0, busy: 0, limited: 0, token: 0 };

    pub(crate) fn random(rng: &mut Rng) -> Self {
        let mut some = |most| if rng.bool() { rng.u8(0..most) } else { 0 };
        Self {
            lost_before: some(20),
            lost_after: some(30),
            busy: some(20),
            limited: some(4),
            token: some(4),
        }
    }
}

/// What reached whom. It lives by its own clock, which never jumps.
pub(crate) struct Provider {
    pub(crate) clock_ms: u64,
    pub(crate) faults: Faults,
    /// Times at which users saw a delivery.
    pub(crate) shown: BTreeMap<DeliveryId, Vec<u64>>,
    taken: BTreeMap<(String, String), u64>,
}

impl Provider {
    pub(crate) fn new(faults: Faults) -> Self {
        Self { clock_ms: 0, faults, shown: BTreeMap::new(), taken: BTreeMap::new() }
    }

    /// What the sender makes of one request.
    pub(crate) fn send(&mut self, rng: &mut Rng, job: &SendJob, now: Timestamp) -> Try {
        let body: serde_json::Value = serde_json::from_str(&job.body).unwrap();
        let text = |name: &str| body[name].as_str().unwrap().to_owned();
        let (user, message) = (text("touser"), text("client_msg_id"));
        let mut dice = rng.u8(0..100);
        let mut happens = |percent: u8| match dice.checked_sub(percent) {
            Some(rest) => {
                dice = rest;
                false
            }
            None => {
                dice = u8::MAX;
                true
            }
        };
        let faults = self.faults;
        if happens(faults.lost_before) {
            return no_answer(now);
        }
        if happens(faults.limited) {
            return answered(now, 45011);
        }
        if happens(faults.token) {
            return answered(now, 40001);
        }
        if user.ends_with('7') {
            return answered(now, 43004);
        }
        if happens(faults.busy) {
            if rng.bool() {
                self.take(user, message, job.delivery);
            }
            return answered(now, -1);
        }
        self.take(user, message, job.delivery);
        if happens(faults.lost_after) { no_answer(now) } else { answered(now, 0) }
    }

    fn take(&mut self, user: String, message: String, delivery: DeliveryId) {
        let clock = self.clock_ms;
        let last = self.taken.get(&(user.clone(), message.clone()));
        if last.is_none_or(|last| clock - last >= DEDUPE_WINDOW_MS) {
            self.taken.insert((user, message), clock);
            self.shown.entry(delivery).or_default().push(clock);
        }
    }
}

fn no_answer(now: Timestamp) -> Try {
    Try { class: Class::InDoubt, errcode: None, errmsg: "timed out".to_owned(), ..answered(now, 0) }
}

/// An answer with this code.
pub(crate) fn answered(now: Timestamp, errcode: i64) -> Try {
    Try {
        at: now,
        duration_ms: 5,
        class: errcode::classify(errcode),
        errcode: Some(errcode),
        errmsg: format!("code {errcode}"),
        msgid: (errcode == 0).then(|| "1".to_owned()),
        rid: None,
        field: None,
        response: String::new(),
    }
}
