//! Identifiers: 64-bit numbers that grow with time, written as decimal strings.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Bits below the milliseconds: a counter and the shard.
const SEQUENCE_BITS: u32 = 20;
/// Bits of the shard: 16,384 ids in one millisecond before the clock is overtaken.
const SHARD_BITS: u32 = 6;

/// The id of a notice, task, run or log entry. Milliseconds in the upper 44 bits, below a counter of
/// 14 bits and the shard in the lowest six: 0, there is one. Ids of earlier versions have a counter of
/// 20 bits. Always above the id before it, also when the clock went back. It fits a signed 64-bit
/// number.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct Id(pub u64);

impl Id {
    /// The next id after `self` at `now`.
    #[must_use]
    pub fn next(self, now: Timestamp) -> Self {
        let shards = (1 << SHARD_BITS) - 1;
        Self((now.0 << SEQUENCE_BITS).max((self.0 | shards) + 1))
    }

    /// The smallest id that can have been made at `at` or later, while clocks behave.
    #[must_use]
    pub fn at(at: Timestamp) -> Self {
        // Later than the year 2527 there are no ids.
        Self(at.0.min(u64::MAX >> SEQUENCE_BITS) << SEQUENCE_BITS)
    }

    /// When it was made, by the clock of that moment.
    #[must_use]
    pub fn made_at(self) -> Timestamp {
        Timestamp(self.0 >> SEQUENCE_BITS)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// A text that is no id.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an id: ids are the digits that an earlier answer gave")]
pub struct NotAnId;

impl FromStr for Id {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        if text.is_empty() || text.len() > 20 || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotAnId);
        }
        text.parse().map(Self).map_err(|_| NotAnId)
    }
}

/// The id of a delivery: its notice and its number within it, written `notice-number`.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub struct DeliveryId {
    /// The notice.
    pub notice: Id,
    /// The recipient's number in the notice, from 1.
    pub number: u32,
}

impl fmt::Display for DeliveryId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.notice, self.number)
    }
}

impl FromStr for DeliveryId {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let (notice, number) = text.split_once('-').ok_or(NotAnId)?;
        let number: Id = number.parse()?;
        let number = u32::try_from(number.0).map_err(|_| NotAnId)?;
        Ok(Self { notice: notice.parse()?, number })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_grow_when_the_clock_does_not() {
        let first = Id(0).next(Timestamp(1_000));
        let second = first.next(Timestamp(1_000));
        let third = second.next(Timestamp(10));
        assert!(first < second && second < third);
        assert_eq!(third.made_at(), Timestamp(1_000));
    }

    #[test]
    fn the_lowest_six_bits_are_left_to_a_shard() {
        let mut id = Id(Id::at(Timestamp(1_000)).0 + 77);
        for _ in 0..100 {
            let next = id.next(Timestamp(1_000));
            assert!(next > id && next.0.is_multiple_of(64), "{next:?}");
            id = next;
        }
        assert_eq!(id.made_at(), Timestamp(1_000));
    }

    #[test]
    fn delivery_ids_round_trip_and_nonsense_is_refused() {
        let id = DeliveryId { notice: Id(77), number: 3 };
        assert_eq!(id.to_string().parse(), Ok(id));
        for bad in ["", "77", "77-", "-3", "77-3-1", "+7-1", "77-4294967296", "7x-1"] {
            assert_eq!(bad.parse::<DeliveryId>(), Err(NotAnId), "{bad}");
        }
    }
}
