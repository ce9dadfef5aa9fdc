//! A notice: one thing to tell an audience.
//!
//! ```text
//!             ┌───────────── pause ─────────────┐
//!  submit ─► scheduled ─ send_at / send ─► sending ─ nothing left ─► done
//!     └────► expanding ─ audience closed ──┘  ▲ resend │
//!            any of them ─ cancel ─► cancelled └───────┘
//! ```
//!
//! The state is not stored; it follows from facts that are.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::audience::Sourcing;
use super::delivery::DeliveryState;
use super::marks::Marks;
use crate::id::Id;
use crate::named::Named;
use crate::store::schema::Tree;
use crate::store::{Record, codec};
use crate::time::{MINUTE_MS, Timestamp};

/// The row of a notice: what changes while it is worked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Notice {
    /// Its id.
    pub id: Id,
    /// The tenant's interned number.
    pub tenant: u32,
    /// Not before.
    pub send_at: Timestamp,
    /// Not after; what is still pending then is skipped.
    pub expires_at: Option<Timestamp>,
    /// What happens to attempts whose outcome stays unknown past the provider's dedupe window.
    pub in_doubt: InDoubt,
    /// Whether recipients may still be added.
    pub open: bool,
    /// Whether `send_at` has come or an operator said "now".
    pub started: bool,
    /// Why it is paused, if it is.
    pub paused: Option<String>,
    /// Whether it was withdrawn.
    pub cancelled: bool,
    /// Whether `expires_at` has come.
    pub expired: bool,
    /// Deliveries by state.
    pub counts: Counts,
    /// Where the notice stands in its tenant's lane, if it does.
    pub lane_due: Option<Timestamp>,
    /// Consecutive answers "no such template": the provider sends them by mistake, too.
    pub template_misses: u32,
    /// The sweep under way over its deliveries.
    pub sweep: Option<Sweep>,
    /// When the first delivery was claimed.
    pub first_send: Option<Timestamp>,
    /// When the last delivery was settled.
    pub last_settled: Option<Timestamp>,
    /// When nothing was left to do; unset again by a resend.
    pub finished: Option<Timestamp>,
    /// Acceptances whose receipt is not late yet.
    pub awaited: Awaited,
    /// How far its first few are, while the rest waits for what comes of them.
    pub canary: Option<Canary>,
    /// Whether it is sent before others, in quiet hours, and from the reserve of the day.
    pub urgent: bool,
    /// Whether its audience, or a part of it, is still to be read from where it is.
    pub awaits: bool,
    /// How often what it says was changed.
    pub revision: u16,
}

/// Why a notice is paused that nobody but an operator holds.
pub const PAUSED_BY_OPERATOR: &str = "paused by an operator";

impl Record for Notice {
    const TREE: Tree = Tree::Notices;
    const VERSION: u8 = 2;

    fn upgrade(version: u8, payload: &[u8]) -> Option<Self> {
        (version == 1).then(|| codec::payload::<NoticeV1>(payload).map(Into::into)).flatten()
    }
}

/// The row as version 1 has it: no receipts, no changes of what it says.
#[derive(Deserialize)]
struct NoticeV1 {
    id: Id,
    tenant: u32,
    send_at: Timestamp,
    expires_at: Option<Timestamp>,
    in_doubt: InDoubt,
    open: bool,
    started: bool,
    paused: Option<String>,
    cancelled: bool,
    expired: bool,
    counts: [u32; 9],
    lane_due: Option<Timestamp>,
    template_misses: u32,
    sweep: Option<Sweep>,
    first_send: Option<Timestamp>,
    last_settled: Option<Timestamp>,
    finished: Option<Timestamp>,
}

impl From<NoticeV1> for Notice {
    fn from(old: NoticeV1) -> Self {
        let mut counts = Counts::default();
        counts.0[..old.counts.len()].copy_from_slice(&old.counts);
        Self {
            id: old.id,
            tenant: old.tenant,
            send_at: old.send_at,
            expires_at: old.expires_at,
            in_doubt: old.in_doubt,
            open: old.open,
            started: old.started,
            paused: old.paused,
            cancelled: old.cancelled,
            expired: old.expired,
            counts,
            lane_due: old.lane_due,
            template_misses: old.template_misses,
            sweep: old.sweep,
            first_send: old.first_send,
            last_settled: old.last_settled,
            finished: old.finished,
            awaited: Awaited::default(),
            canary: None,
            urgent: false,
            awaits: false,
            revision: 0,
        }
    }
}

/// The first few of a notice, on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Canary {
    /// Sends that may still begin.
    pub left: u32,
    /// Sends that have begun.
    pub claimed: u32,
    /// How many of them had no clear answer.
    pub doubts: u32,
    /// How long after the last answer is looked at what came of them.
    pub wait_ms: u64,
    /// When that is.
    pub decides: Option<Timestamp>,
}

impl Canary {
    /// Before the first of them.
    #[must_use]
    pub fn begin(rule: CanaryRule) -> Self {
        Self { left: rule.first, wait_ms: rule.wait_ms, ..Self::default() }
    }
}

/// When the rest of a notice goes on by itself after its first few.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct CanaryRule {
    /// How many are sent first.
    pub first: u32,
    /// At most so many percent of them refused, or failed by their receipt.
    pub refused: Option<u32>,
    /// At most so many percent of them without a clear answer.
    pub in_doubt: Option<u32>,
    /// How long is waited for receipts.
    pub wait_ms: u64,
}

/// A receipt is late after this.
pub const RECEIPT_MS: u64 = 10 * MINUTE_MS;

/// Acceptances of the last ten minutes that have no receipt yet, by the minute: how many are late is
/// known without looking at each.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Awaited(Vec<(u64, u32)>);

impl Awaited {
    /// One was accepted at `now`.
    pub fn add(&mut self, now: Timestamp) {
        let minute = now.0 / MINUTE_MS;
        self.0.retain(|(of, _)| !is_late(*of, now));
        match self.0.iter_mut().find(|(of, _)| *of == minute) {
            Some((_, count)) => *count += 1,
            None => self.0.push((minute, 1)),
        }
    }

    /// One that was accepted at `accepted` is no longer awaited.
    pub fn take(&mut self, accepted: Timestamp) {
        let minute = accepted.0 / MINUTE_MS;
        if let Some((_, count)) = self.0.iter_mut().find(|(of, _)| *of == minute) {
            *count = count.saturating_sub(1);
        }
        self.0.retain(|(_, count)| *count > 0);
    }

    /// How many are not late at `now`.
    #[must_use]
    pub fn in_time(&self, now: Timestamp) -> u32 {
        self.0.iter().filter(|(of, _)| !is_late(*of, now)).map(|(_, count)| count).sum()
    }
}

/// Whether all receipts of acceptances of a minute are late.
fn is_late(minute: u64, now: Timestamp) -> bool {
    (minute + 1).saturating_mul(MINUTE_MS).saturating_add(RECEIPT_MS) <= now.0
}

/// A bounded walk over all deliveries of a notice, one step at a time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sweep {
    /// What it does.
    pub kind: SweepKind,
    /// The number of the next delivery to look at.
    pub next: u32,
}

/// What a sweep does to the deliveries it finds.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum SweepKind {
    /// Pending ones are cancelled.
    Cancel,
    /// Pending ones are skipped: the notice has expired.
    Expire,
    /// Those in these states, with this code if one is given, are pending again.
    Resend {
        /// States to take.
        states: Vec<DeliveryState>,
        /// Only with this code.
        errcode: Option<i64>,
    },
    /// All of them go, and the notice with them: it is as old as notices are kept. Done by pruning,
    /// which begins again after a restart.
    Forget,
    /// Those refused for what the notice said before it was changed are pending again.
    Mended,
}

/// What happens to an attempt that stays in doubt.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum InDoubt {
    /// It waits for an operator: rather not at all than twice.
    #[default]
    Hold,
    /// It is sent again: rather twice than not at all.
    Resend,
}

/// Deliveries of a notice by state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts([u32; DeliveryState::ALL.len()]);

impl Counts {
    /// How many are in this state.
    #[must_use]
    pub fn of(&self, state: DeliveryState) -> u32 {
        self.0[state as usize]
    }

    /// Counts a new delivery.
    pub fn add(&mut self, state: DeliveryState) {
        self.0[state as usize] += 1;
    }

    /// A delivery went from one state to another.
    pub fn moved(&mut self, from: DeliveryState, to: DeliveryState) {
        assert!(self.0[from as usize] > 0, "no delivery left in state {}", from.name());
        self.0[from as usize] -= 1;
        self.0[to as usize] += 1;
    }

    /// All deliveries.
    #[must_use]
    pub fn total(&self) -> u32 {
        self.0.iter().sum()
    }

    /// Those that still have to be worked on without anyone's help.
    #[must_use]
    pub fn outstanding(&self) -> u32 {
        self.of(DeliveryState::Pending) + self.of(DeliveryState::Sending)
    }
}

/// The state that people see.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum NoticeState {
    Scheduled,
    Expanding,
    Sending,
    Paused,
    Done,
    Cancelled,
}

impl NoticeState {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Scheduled => "scheduled",
            Self::Expanding => "expanding",
            Self::Sending => "sending",
            Self::Paused => "paused",
            Self::Done => "done",
            Self::Cancelled => "cancelled",
        }
    }
}

impl Named for NoticeState {
    const ALL: &'static [Self] = &[
        Self::Scheduled,
        Self::Expanding,
        Self::Sending,
        Self::Paused,
        Self::Done,
        Self::Cancelled,
    ];

    fn word(self) -> &'static str {
        self.name()
    }
}

impl Named for InDoubt {
    const ALL: &'static [Self] = &[Self::Hold, Self::Resend];

    fn word(self) -> &'static str {
        match self {
            Self::Hold => "hold",
            Self::Resend => "resend",
        }
    }
}

impl Notice {
    /// The state that follows from the facts.
    #[must_use]
    pub fn state(&self) -> NoticeState {
        if self.cancelled {
            NoticeState::Cancelled
        } else if self.finished.is_some() && !self.is_refused_for_all() {
            // Also of one that an operator paused: there is nothing left to hold.
            NoticeState::Done
        } else if self.paused.is_some() {
            NoticeState::Paused
        } else if self.open {
            NoticeState::Expanding
        } else if !self.started {
            NoticeState::Scheduled
        } else {
            NoticeState::Sending
        }
    }

    /// Whether it came to its end because the provider refuses it for everyone: nobody got it, and
    /// a person has to hear of that.
    fn is_refused_for_all(&self) -> bool {
        let got = |state| self.counts.of(state) > 0;
        self.paused.as_deref().is_some_and(|why| why != PAUSED_BY_OPERATOR)
            && got(DeliveryState::Refused)
            && !got(DeliveryState::Accepted)
            && !got(DeliveryState::Delivered)
    }

    /// Deliveries that were accepted more than ten minutes ago and have no receipt.
    #[must_use]
    pub fn without_receipt(&self, now: Timestamp) -> u32 {
        self.counts.of(DeliveryState::Accepted).saturating_sub(self.awaited.in_time(now))
    }

    /// Whether its pending deliveries may be claimed.
    #[must_use]
    pub fn is_active(&self) -> bool {
        self.started && self.paused.is_none() && !self.cancelled && !self.expired
    }

    /// Whether its first few are all out, and the rest waits for what comes of them.
    #[must_use]
    pub fn is_canary_out(&self) -> bool {
        self.canary.as_ref().is_some_and(|canary| canary.left == 0)
    }

    /// Whether it has expired and its deliveries are being told. Until they all are, reopening it
    /// would let slip out what nobody asked for.
    #[must_use]
    pub fn is_expiring(&self) -> bool {
        self.sweep.as_ref().is_some_and(|sweep| sweep.kind == SweepKind::Expire)
    }

    /// Whether it is being removed: some of its deliveries are gone already.
    #[must_use]
    pub fn is_forgotten(&self) -> bool {
        self.sweep.as_ref().is_some_and(|sweep| sweep.kind == SweepKind::Forget)
    }

    /// An operator wants something sent again: an expiry that has passed no longer counts.
    pub fn reopen(&mut self, now: Timestamp) {
        self.finished = None;
        self.expired = false;
        self.expires_at = self.expires_at.filter(|expiry| now < *expiry);
    }

    /// Whether nothing is left that the daemon would do by itself.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        !self.open && !self.awaits && self.sweep.is_none() && self.counts.outstanding() == 0
    }
}

/// What a notice says, and has said.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct NoticeBody {
    /// The template's name in the configuration.
    pub template: String,
    /// The provider's template id at the time of submission.
    pub template_id: String,
    /// For people.
    pub title: Option<String>,
    /// Checked template values.
    pub data: BTreeMap<String, String>,
    /// Where a tap leads.
    pub url: Option<String>,
    /// Or into which mini program.
    pub miniprogram: Option<Miniprogram>,
    /// Where its recipients are, if they were not submitted with it.
    #[serde(default)]
    pub sourcing: Option<Sourcing>,
    /// Its first few go first.
    #[serde(default)]
    pub canary: Option<CanaryRule>,
    /// What its caller calls it.
    #[serde(flatten)]
    pub marks: Marks,
    /// Since when it says this; from the beginning when absent.
    #[serde(default)]
    pub since: Option<Timestamp>,
    /// What it said before.
    #[serde(default)]
    pub before: Option<Box<NoticeBody>>,
}

impl NoticeBody {
    /// What it said at a time.
    #[must_use]
    pub fn as_of(&self, at: Timestamp) -> &Self {
        let mut body = self;
        while let (Some(since), Some(before)) = (body.since, &body.before)
            && at < since
        {
            body = before;
        }
        body
    }
}

/// A mini program page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Miniprogram {
    /// Its appid.
    pub appid: String,
    /// The page, with query.
    #[serde(default)]
    pub pagepath: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_receipt_is_late_ten_minutes_after_the_minute_of_its_acceptance() {
        let mut awaited = Awaited::default();
        let at = |minutes: u64| Timestamp(minutes * MINUTE_MS + 5_000);
        awaited.add(at(0));
        awaited.add(at(0));
        awaited.add(at(1));
        assert_eq!(awaited.in_time(at(10)), 3);
        assert_eq!(awaited.in_time(at(11)), 1);
        assert_eq!(awaited.in_time(at(12)), 0);
        awaited.take(at(1));
        assert_eq!(awaited.in_time(at(10)), 2);
        awaited.take(at(1));
        (2..30).for_each(|minute| awaited.add(at(minute)));
        assert!(awaited.0.len() <= 12, "{awaited:?}");
    }
}
