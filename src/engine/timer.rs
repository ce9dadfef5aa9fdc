//! The daemon's own timers: one lane of the delay tree, in order of due time.

use crate::id::{DeliveryId, Id};
use crate::kv::Key;
use crate::store::keys::{self, TenantNo};
use crate::store::schema::timer;

/// What a timer stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Timer {
    /// The claim of a task runs out.
    TaskClaim(Id),
    /// The claim of a delivery runs out.
    DeliveryClaim(TenantNo, DeliveryId),
    /// A notice may start.
    NoticeStart(Id),
    /// A notice expires.
    NoticeExpiry(Id),
    /// The next step of a notice's sweep.
    Sweep(Id),
    /// A schedule ticks.
    Schedule(String),
    /// The next step of pruning.
    Prune,
    /// The next step of the look at pauses after the clock went back.
    Mend,
    /// A receipt has waited for the answer to its send.
    EarlyReceipt(Key),
    /// The next step of an audience's reading.
    Resolve(Id),
    /// A notice's first few are looked at.
    Canary(Id),
}

impl Timer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let tagged = |tag: u8, item: &[u8]| [&[tag], item].concat();
        match self {
            Self::TaskClaim(task) => tagged(timer::TASK_CLAIM, &keys::id(*task)),
            Self::DeliveryClaim(tenant, id) => {
                tagged(timer::DELIVERY_CLAIM, &keys::delivery(*tenant, *id))
            }
            Self::NoticeStart(notice) => tagged(timer::NOTICE_START, &keys::id(*notice)),
            Self::NoticeExpiry(notice) => tagged(timer::NOTICE_EXPIRY, &keys::id(*notice)),
            Self::Sweep(notice) => tagged(timer::SWEEP, &keys::id(*notice)),
            Self::Schedule(name) => tagged(timer::SCHEDULE, name.as_bytes()),
            Self::Prune => vec![timer::PRUNE],
            Self::Mend => vec![timer::MEND],
            Self::Canary(notice) => tagged(timer::CANARY, &keys::id(*notice)),
            Self::Resolve(notice) => tagged(timer::RESOLVE, &keys::id(*notice)),
            Self::EarlyReceipt(key) => tagged(timer::EARLY_RECEIPT, key),
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, item) = bytes.split_first()?;
        match *tag {
            timer::TASK_CLAIM => keys::read_id(item).map(Self::TaskClaim),
            timer::DELIVERY_CLAIM => {
                keys::read_delivery(item).map(|(tenant, id)| Self::DeliveryClaim(tenant, id))
            }
            timer::NOTICE_START => keys::read_id(item).map(Self::NoticeStart),
            timer::NOTICE_EXPIRY => keys::read_id(item).map(Self::NoticeExpiry),
            timer::SWEEP => keys::read_id(item).map(Self::Sweep),
            timer::SCHEDULE => String::from_utf8(item.to_vec()).ok().map(Self::Schedule),
            timer::PRUNE => Some(Self::Prune),
            timer::MEND => Some(Self::Mend),
            timer::CANARY => keys::read_id(item).map(Self::Canary),
            timer::RESOLVE => keys::read_id(item).map(Self::Resolve),
            timer::EARLY_RECEIPT => Some(Self::EarlyReceipt(item.to_vec())),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn timers_round_trip() {
        let id = DeliveryId { notice: Id(5), number: 6 };
        for timer in [
            Timer::TaskClaim(Id(1)),
            Timer::DeliveryClaim(TenantNo(2), id),
            Timer::NoticeStart(Id(3)),
            Timer::NoticeExpiry(Id(3)),
            Timer::Sweep(Id(4)),
            Timer::Schedule("new-tasks".into()),
            Timer::Prune,
            Timer::Mend,
            Timer::EarlyReceipt(vec![1, 2, 3]),
            Timer::Resolve(Id(6)),
            Timer::Canary(Id(7)),
        ] {
            assert_eq!(Timer::decode(&timer.encode()), Some(timer));
        }
        assert_eq!(Timer::decode(&[]), None);
        assert_eq!(Timer::decode(&[99, 1]), None);
    }
}
