//! The on-disk format: which tree holds what, and how keys are laid out.
//!
//! All integers are big-endian, so that bytes sort as numbers. Names (tenants, task types) are
//! interned to a `u32` once and keys carry the number. Format version [`FORMAT`].
//!
//! | tree | key | value |
//! |---|---|---|
//! | `meta` | `applied`, `format`, `last_id`, `term`, `held` | raw integers |
//! | `names` | `t` tenant name, `q` type name, `s` schedule name | number, raw u32 |
//! | `notices` | notice id | `Notice` |
//! | `notice_bodies` | notice id, chunk u16 | raw bytes of a JSON `NoticeBody` |
//! | `outbox` | tenant u32, notice id, number u32 | `Delivery` |
//! | `recipients` | tenant u32, notice id, openid | the delivery's number, raw u32 |
//! | `overrides` | tenant u32, notice id, number u32 | raw JSON object of own template values |
//! | `delay` | lane, due, id; see [`Lane`] | empty |
//! | `tasks` | task id | `Task` |
//! | `task_bodies` | task id, chunk u16 | raw bytes of the payload |
//! | `task_history` | task id | `Task`, ended, without payload |
//! | `send_log` | entry id | `Entry` |
//! | `log_index` | `o` tenant openid 0 entry · `n` notice entry · `e` tenant errcode entry | empty |
//! | `keys` | scope (`n` tenant or `t` type), key | `KeyRow` |
//! | `dead` | died at u64, kind u8 (1 task, 2 delivery), its key | empty |
//! | `schedules` | name | `ScheduleRow` |
//! | `runs` | run id | `Run` |
//! | `counters` | `q` type u32 priority u8 · `Q` type u32 · `t` tenant u32 | `QueueCounts` · `QueueState` · `TenantState` |
//! | `quarantine` | tree u8, key | the damaged value as found |
//!
//! Raw values are indexes or are checked when read; all others carry version and checksum. How the
//! base packs rows into blocks is its own affair, see [`crate::kv`].

use crate::id::{DeliveryId, Id};
use crate::kv::Key;
use crate::time::Timestamp;

/// The format that this program writes.
pub const FORMAT: u32 = 1;

/// `meta`: the last commit that the base holds.
pub const APPLIED: &[u8] = b"applied";
/// `meta`: [`FORMAT`].
pub const FORMAT_KEY: &[u8] = b"format";
/// `meta`: the last id given out.
pub const LAST_ID: &[u8] = b"last_id";
/// `meta`: the term of the present or last leader.
pub const TERM: &[u8] = b"term";
/// `meta`: what the present or last leader calls itself.
pub const WORKER: &[u8] = b"worker";

/// Builds keys.
#[derive(Default)]
struct Bytes(Vec<u8>);

impl Bytes {
    fn u8(mut self, value: u8) -> Self {
        self.0.push(value);
        self
    }
    fn u16(mut self, value: u16) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    fn u32(mut self, value: u32) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    fn u64(mut self, value: u64) -> Self {
        self.0.extend_from_slice(&value.to_be_bytes());
        self
    }
    fn raw(mut self, value: &[u8]) -> Self {
        self.0.extend_from_slice(value);
        self
    }
}

/// A tenant's interned number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantNo(pub u32);
/// A task type's interned number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeNo(pub u32);

/// A queue of the delay tree. One item is in at most one lane at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// The daemon's own timers: claims that run out, schedule ticks, notices that start, steps.
    Timers,
    /// A tenant's notices with something to send, by the due time of their first delivery.
    Tenant(TenantNo),
    /// A notice's pending deliveries, by due time.
    Notice(TenantNo, Id),
    /// Pending tasks of a type and priority, by due time.
    Queue(TypeNo, u8),
}

impl Lane {
    /// The bytes that all keys of the lane begin with.
    #[must_use]
    pub fn prefix(self) -> Key {
        let bytes = Bytes::default();
        match self {
            Self::Timers => bytes.u8(1),
            Self::Tenant(tenant) => bytes.u8(2).u32(tenant.0),
            Self::Notice(tenant, notice) => bytes.u8(3).u32(tenant.0).u64(notice.0),
            Self::Queue(kind, priority) => bytes.u8(4).u32(kind.0).u8(priority),
        }
        .0
    }

    /// The key of an item in the lane.
    #[must_use]
    pub fn key(self, due: Timestamp, item: &[u8]) -> Key {
        Bytes(self.prefix()).u64(due.0).raw(item).0
    }
}

/// The due time and the item in a delay key of a lane whose prefix has `prefix` bytes.
#[must_use]
pub fn split_delay(key: &[u8], prefix: usize) -> Option<(Timestamp, &[u8])> {
    let (due, item) = key.get(prefix..)?.split_first_chunk::<8>()?;
    Some((Timestamp(u64::from_be_bytes(*due)), item))
}

/// All keys of one type's lanes, from `priority` on.
#[must_use]
pub fn queue_from(kind: TypeNo, priority: u8) -> Key {
    Lane::Queue(kind, priority).prefix()
}

/// The priority in a key of a queue lane.
#[must_use]
pub fn queue_priority(key: &[u8]) -> Option<u8> {
    key.get(5).copied()
}

/// The first key after all that begin with `prefix`.
#[must_use]
pub fn after_prefix(prefix: &[u8]) -> Key {
    let mut end = prefix.to_vec();
    while let Some(last) = end.pop() {
        if last < 0xff {
            end.push(last + 1);
            return end;
        }
    }
    vec![0xff; 64]
}

/// A key that is just an id.
#[must_use]
pub fn id(id: Id) -> Key {
    id.0.to_be_bytes().to_vec()
}

/// The id at the beginning of `bytes`.
#[must_use]
pub fn read_id(bytes: &[u8]) -> Option<Id> {
    bytes.first_chunk::<8>().map(|bytes| Id(u64::from_be_bytes(*bytes)))
}

/// The number at the beginning of `bytes`.
#[must_use]
pub fn read_u32(bytes: &[u8]) -> Option<u32> {
    bytes.first_chunk::<4>().map(|bytes| u32::from_be_bytes(*bytes))
}

/// A chunk of a body.
#[must_use]
pub fn chunk(id: Id, number: u16) -> Key {
    Bytes::default().u64(id.0).u16(number).0
}

/// A delivery in `outbox` and `overrides`.
#[must_use]
pub fn delivery(tenant: TenantNo, delivery: DeliveryId) -> Key {
    Bytes::default().u32(tenant.0).u64(delivery.notice.0).u32(delivery.number).0
}

/// Reads what [`delivery`] wrote.
#[must_use]
pub fn read_delivery(key: &[u8]) -> Option<(TenantNo, DeliveryId)> {
    let tenant = TenantNo(read_u32(key)?);
    let notice = read_id(key.get(4..)?)?;
    let number = read_u32(key.get(12..)?)?;
    Some((tenant, DeliveryId { notice, number }))
}

/// All of a notice's rows in `outbox`, `recipients` and `overrides`.
#[must_use]
pub fn notice_rows(tenant: TenantNo, notice: Id) -> Key {
    Bytes::default().u32(tenant.0).u64(notice.0).0
}

/// A recipient of a notice.
#[must_use]
pub fn recipient(tenant: TenantNo, notice: Id, openid: &str) -> Key {
    Bytes(notice_rows(tenant, notice)).raw(openid.as_bytes()).0
}

/// The send log by recipient, up to the entry's id.
#[must_use]
pub fn log_by_openid(tenant: TenantNo, openid: &str) -> Key {
    Bytes::default().u8(b'o').u32(tenant.0).raw(openid.as_bytes()).u8(0).0
}

/// The send log by notice, up to the entry's id.
#[must_use]
pub fn log_by_notice(notice: Id) -> Key {
    Bytes::default().u8(b'n').u64(notice.0).0
}

/// The send log by code, up to the entry's id.
#[must_use]
pub fn log_by_errcode(tenant: TenantNo, errcode: i64) -> Key {
    Bytes::default().u8(b'e').u32(tenant.0).u64(errcode.cast_unsigned() ^ (1 << 63)).0
}

/// A prefix followed by an id.
#[must_use]
pub fn with_id(prefix: Key, id: Id) -> Key {
    Bytes(prefix).u64(id.0).0
}

/// An idempotency key of notices.
#[must_use]
pub fn notice_key(tenant: TenantNo, key: &str) -> Key {
    Bytes::default().u8(b'n').u32(tenant.0).raw(key.as_bytes()).0
}

/// An idempotency key of tasks.
#[must_use]
pub fn task_key(kind: TypeNo, key: &str) -> Key {
    Bytes::default().u8(b't').u32(kind.0).raw(key.as_bytes()).0
}

/// A dead letter.
#[must_use]
pub fn dead(died: Timestamp, item: DeadItem) -> Key {
    let bytes = Bytes::default().u64(died.0);
    match item {
        DeadItem::Task(task) => bytes.u8(1).u64(task.0),
        DeadItem::Delivery(tenant, id) => bytes.u8(2).raw(&delivery(tenant, id)),
    }
    .0
}

/// What a dead letter is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadItem {
    /// A task.
    Task(Id),
    /// A delivery of a tenant.
    Delivery(TenantNo, DeliveryId),
}

/// Reads what [`dead`] wrote.
#[must_use]
pub fn read_dead(key: &[u8]) -> Option<(Timestamp, DeadItem)> {
    let died = Timestamp(read_id(key)?.0);
    let (kind, item) = key.get(8..)?.split_first()?;
    let item = match kind {
        1 => DeadItem::Task(read_id(item)?),
        2 => {
            let (tenant, id) = read_delivery(item)?;
            DeadItem::Delivery(tenant, id)
        }
        _ => return None,
    };
    Some((died, item))
}

/// Counts of a type and priority.
#[must_use]
pub fn queue_counts(kind: TypeNo, priority: u8) -> Key {
    Bytes::default().u8(b'q').u32(kind.0).u8(priority).0
}

/// State of a type.
#[must_use]
pub fn queue_state(kind: TypeNo) -> Key {
    Bytes::default().u8(b'Q').u32(kind.0).0
}

/// State of a tenant.
#[must_use]
pub fn tenant_state(tenant: TenantNo) -> Key {
    Bytes::default().u8(b't').u32(tenant.0).0
}

/// A name's entry.
#[must_use]
pub fn name(space: u8, name: &str) -> Key {
    Bytes::default().u8(space).raw(name.as_bytes()).0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lanes_sort_by_due_then_item_and_do_not_touch() {
        let lane = Lane::Queue(TypeNo(7), 1);
        let mut keys = [
            lane.key(Timestamp(256), &[0]),
            lane.key(Timestamp(255), &[9]),
            lane.key(Timestamp(255), &[1]),
            Lane::Queue(TypeNo(7), 0).key(Timestamp(u64::MAX), &[0xff]),
            Lane::Queue(TypeNo(8), 0).key(Timestamp(0), &[0]),
        ];
        keys.sort();
        let dues: Vec<_> =
            keys.iter().map(|key| (key[4], key[5], split_delay(key, 6).unwrap().0.0)).collect();
        assert_eq!(dues, [(7, 0, u64::MAX), (7, 1, 255), (7, 1, 255), (7, 1, 256), (8, 0, 0)]);
        assert!(after_prefix(&lane.prefix()) > lane.key(Timestamp(u64::MAX), &[0xff; 20]));
    }

    #[test]
    fn errcodes_sort_as_numbers() {
        let key = |code| log_by_errcode(TenantNo(1), code);
        assert!(key(-1) < key(0) && key(0) < key(40001));
    }

    #[test]
    fn dead_letters_read_back() {
        let delivery = DeliveryId { notice: Id(5), number: 6 };
        for item in [DeadItem::Task(Id(9)), DeadItem::Delivery(TenantNo(3), delivery)] {
            assert_eq!(read_dead(&dead(Timestamp(44), item)), Some((Timestamp(44), item)));
        }
    }
}
