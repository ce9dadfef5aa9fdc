//! The daemon's own timers: one lane of the delay tree, in order of due time.

use crate::id::{DeliveryId, Id};
use crate::store::keys::{self, TenantNo};

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
}

impl Timer {
    pub(super) fn encode(&self) -> Vec<u8> {
        let tagged = |tag: u8, item: &[u8]| [&[tag], item].concat();
        match self {
            Self::TaskClaim(task) => tagged(1, &keys::id(*task)),
            Self::DeliveryClaim(tenant, id) => tagged(2, &keys::delivery(*tenant, *id)),
            Self::NoticeStart(notice) => tagged(3, &keys::id(*notice)),
            Self::NoticeExpiry(notice) => tagged(4, &keys::id(*notice)),
            Self::Sweep(notice) => tagged(5, &keys::id(*notice)),
            Self::Schedule(name) => tagged(6, name.as_bytes()),
            Self::Prune => vec![7],
            Self::Mend => vec![8],
        }
    }

    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let (tag, item) = bytes.split_first()?;
        match tag {
            1 => keys::read_id(item).map(Self::TaskClaim),
            2 => keys::read_delivery(item).map(|(tenant, id)| Self::DeliveryClaim(tenant, id)),
            3 => keys::read_id(item).map(Self::NoticeStart),
            4 => keys::read_id(item).map(Self::NoticeExpiry),
            5 => keys::read_id(item).map(Self::Sweep),
            6 => String::from_utf8(item.to_vec()).ok().map(Self::Schedule),
            7 => Some(Self::Prune),
            8 => Some(Self::Mend),
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
        ] {
            assert_eq!(Timer::decode(&timer.encode()), Some(timer));
        }
        assert_eq!(Timer::decode(&[]), None);
        assert_eq!(Timer::decode(&[99, 1]), None);
    }
}
