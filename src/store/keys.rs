//! Keys: how each is made and read back. Which tree has which is on the page of [`super::schema`].

use super::schema::{lane, log_index};
use crate::id::{DeliveryId, Id};
use crate::kv::Key;
use crate::time::Timestamp;

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
    /// The same of its urgent ones.
    Urgent(TenantNo),
    /// A notice's pending deliveries, by due time.
    Notice(TenantNo, Id),
    /// Pending tasks of a type and priority, by due time.
    Queue(TypeNo, u8),
}

impl Lane {
    /// The lane in which a tenant's notice stands.
    #[must_use]
    pub fn of_notice(tenant: TenantNo, urgent: bool) -> Self {
        if urgent { Self::Urgent(tenant) } else { Self::Tenant(tenant) }
    }

    /// The bytes that all keys of the lane begin with.
    #[must_use]
    pub fn prefix(self) -> Key {
        let bytes = Bytes::default();
        match self {
            Self::Timers => bytes.u8(lane::TIMERS),
            Self::Tenant(tenant) => bytes.u8(lane::TENANT).u32(tenant.0),
            Self::Urgent(tenant) => bytes.u8(lane::URGENT).u32(tenant.0),
            Self::Notice(tenant, notice) => bytes.u8(lane::NOTICE).u32(tenant.0).u64(notice.0),
            Self::Queue(kind, priority) => bytes.u8(lane::QUEUE).u32(kind.0).u8(priority),
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

/// The first key that an item waiting in a notice's or a type's lane can have.
#[must_use]
pub fn first_pause() -> Key {
    vec![lane::NOTICE]
}

/// The first key after all of these.
#[must_use]
pub fn after_pauses() -> Key {
    vec![lane::QUEUE + 1]
}

/// The lane, the due time and the item in a delay key of a notice or a type.
#[must_use]
pub fn read_pause(key: &[u8]) -> Option<(Lane, Timestamp, &[u8])> {
    let (lane, prefix) = match *key.first()? {
        lane::NOTICE => {
            let tenant = TenantNo(read_u32(key.get(1..5)?)?);
            (Lane::Notice(tenant, read_id(key.get(5..13)?)?), 13)
        }
        lane::QUEUE => (Lane::Queue(TypeNo(read_u32(key.get(1..5)?)?), queue_priority(key)?), 6),
        _ => return None,
    };
    let (due, item) = split_delay(key, prefix)?;
    Some((lane, due, item))
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

/// The type and priority whose counts this key names.
#[must_use]
pub fn queue_lane(key: &[u8]) -> Option<(TypeNo, u8)> {
    let rest = key.strip_prefix(b"q")?;
    Some((TypeNo(read_u32(rest.get(..4)?)?), queue_priority(key)?))
}

/// The key right after this one.
#[must_use]
pub fn after(key: &[u8]) -> Key {
    [key, &[0]].concat()
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
    Bytes::default().u8(log_index::OPENID).u32(tenant.0).raw(openid.as_bytes()).u8(0).0
}

/// The send log by notice, all of it.
#[must_use]
pub fn log_of_notices() -> Key {
    vec![log_index::NOTICE]
}

/// The send log by notice, up to the entry's id.
#[must_use]
pub fn log_by_notice(notice: Id) -> Key {
    Bytes::default().u8(log_index::NOTICE).u64(notice.0).0
}

/// The send log by code, up to the entry's id.
#[must_use]
pub fn log_by_errcode(tenant: TenantNo, errcode: i64) -> Key {
    log_by_code_text(tenant.0, errcode)
}

fn log_by_code_text(tenant: u32, errcode: i64) -> Key {
    Bytes::default().u8(log_index::CODE).u32(tenant).raw(errcode.to_string().as_bytes()).u8(0).0
}

/// The first byte of the index by code as format 1 had it: `e`, tenant, the code as a number with its
/// sign turned, entry. A code of -1 made seven bytes `FF` of it, see [`crate::kv`].
pub(super) const LOG_BY_NUMBER: u8 = b'e';

/// The key of today for a row of the index by code of format 1; `None` for every other key.
pub(super) fn log_by_errcode_from_1(key: &[u8]) -> Option<Key> {
    let (&LOG_BY_NUMBER, rest) = key.split_first()? else { return None };
    let (tenant, rest) = rest.split_first_chunk::<4>()?;
    let (code, entry) = rest.split_first_chunk::<8>()?;
    let entry = Id(u64::from_be_bytes(entry.try_into().ok()?));
    let errcode = (u64::from_be_bytes(*code) ^ (1 << 63)).cast_signed();
    Some(with_id(log_by_code_text(u32::from_be_bytes(*tenant), errcode), entry))
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

/// The tasks of a claim that named its request.
#[must_use]
pub fn request(kind: TypeNo, name: &str) -> Key {
    Bytes::default().u8(b'r').u32(kind.0).raw(name.as_bytes()).0
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
        DeadItem::Notice(letter) => bytes.u8(3).u64(letter.0),
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
    /// A notice that a pull found and that was refused; the letter's id.
    Notice(Id),
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
        3 => DeadItem::Notice(read_id(item)?),
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

/// Failures in a row of a notice.
#[must_use]
pub fn notice_streak(notice: Id) -> Key {
    Bytes::default().u8(b'a').u64(notice.0).0
}

/// Sends in a row of a tenant without a clear answer.
#[must_use]
pub fn tenant_streak(tenant: TenantNo) -> Key {
    Bytes::default().u8(b'A').u32(tenant.0).0
}

/// What is known of a person.
#[must_use]
pub fn person(tenant: TenantNo, openid: &str) -> Key {
    Bytes::default().u32(tenant.0).raw(openid.as_bytes()).0
}

/// Receipts of a person whose messages are not known yet, up to the message's id.
#[must_use]
pub fn receipts(tenant: TenantNo, openid: &str) -> Key {
    Bytes(person(tenant, openid)).u8(0).0
}

/// A receipt whose message is not known yet.
#[must_use]
pub fn receipt(tenant: TenantNo, openid: &str, msgid: &str) -> Key {
    Bytes(receipts(tenant, openid)).raw(msgid.as_bytes()).0
}

/// Reads what [`receipt`] wrote.
#[must_use]
pub fn read_receipt(key: &[u8]) -> Option<(TenantNo, String, String)> {
    let tenant = TenantNo(read_u32(key)?);
    let (openid, msgid) = std::str::from_utf8(key.get(4..)?).ok()?.split_once('\0')?;
    Some((tenant, openid.to_owned(), msgid.to_owned()))
}

/// What has a mark of its kind, up to its id: `r` and a text, or `l`, a name, `=` and a value.
#[must_use]
pub fn mark(kind: u8, tag: u8, text: &str) -> Key {
    Bytes::default().u8(b'x').u8(kind).u8(tag).raw(text.as_bytes()).u8(0).0
}

/// A tenant's templates as the provider lists them, up to the id of one.
#[must_use]
pub fn templates(tenant: TenantNo) -> Key {
    Bytes::default().u32(tenant.0).0
}

/// A template as the provider lists it.
#[must_use]
pub fn template(tenant: TenantNo, id: &str) -> Key {
    Bytes(templates(tenant)).raw(id.as_bytes()).0
}

/// A task's marks.
#[must_use]
pub fn task_marks(task: Id) -> Key {
    Bytes::default().u8(b't').u64(task.0).0
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
    fn rows_of_a_code_lie_together_and_apart_from_those_of_others() {
        let codes = [i64::MIN, -12, -1, 0, 1, 4000, 40003, 400_031, i64::MAX];
        for code in codes {
            let prefix = log_by_errcode(TenantNo(1), code);
            for other in codes.into_iter().filter(|other| *other != code) {
                assert!(!log_by_errcode(TenantNo(1), other).starts_with(&prefix), "{code} {other}");
            }
        }
    }

    #[test]
    fn the_index_by_code_of_format_1_becomes_that_of_today() {
        for code in [i64::MIN, -1, 0, 40003, i64::MAX] {
            let old =
                Bytes::default().u8(b'e').u32(7).u64(code.cast_unsigned() ^ (1 << 63)).u64(99).0;
            let new = with_id(log_by_errcode(TenantNo(7), code), Id(99));
            assert_eq!(log_by_errcode_from_1(&old), Some(new.clone()));
            assert_eq!(log_by_errcode_from_1(&new), None);
        }
        assert_eq!(log_by_errcode_from_1(&[]), None);
        assert_eq!(log_by_errcode_from_1(&[b'e'; 20]), None);
        assert_eq!(log_by_errcode_from_1(&with_id(log_by_notice(Id(1)), Id(2))), None);
    }

    /// sled's step backwards guesses past four bytes `FF`, see `kv::backward`. Nothing relies on
    /// this, and yet no key shall invite it.
    #[test]
    fn no_key_has_four_bytes_ff_inside() {
        // The largest of each: the number of a name and of a recipient, an id and a time of the year
        // 2500, a text's last character.
        let at = Timestamp(16_725_225_599_999);
        let id = Id(at.0 << 20 | 0xf_ffff);
        let (tenant, kind) = (TenantNo(0x1_ffff), TypeNo(0x1_ffff));
        let one = DeliveryId { notice: id, number: 0xf_ffff };
        let text = "\u{10ffff}".repeat(8);
        let mut all = vec![
            super::id(id),
            chunk(id, 0xfff),
            delivery(tenant, one),
            notice_rows(tenant, id),
            recipient(tenant, id, &text),
            with_id(log_by_openid(tenant, &text), id),
            with_id(log_by_notice(id), id),
            notice_key(tenant, &text),
            task_key(kind, &text),
            dead(at, DeadItem::Task(id)),
            dead(at, DeadItem::Delivery(tenant, one)),
            queue_counts(kind, 255),
            queue_state(kind),
            tenant_state(tenant),
            receipt(tenant, &text, &text),
            with_id(mark(2, b'l', &text), id),
            name(b't', &text),
        ];
        all.extend(
            [i64::MIN, -1, 0, i64::MAX].map(|code| with_id(log_by_errcode(tenant, code), id)),
        );
        for lane in
            [Lane::Timers, Lane::Tenant(tenant), Lane::Notice(tenant, id), Lane::Queue(kind, 255)]
        {
            all.push(lane.key(at, &delivery(tenant, one)));
        }
        for key in all {
            let inside = &key[..key.len() - 1];
            assert!(!inside.windows(4).any(|run| run == [0xff; 4]), "{key:02x?}");
        }
    }

    #[test]
    fn receipts_read_back() {
        let key = receipt(TenantNo(7), "oA", "3557");
        assert_eq!(read_receipt(&key), Some((TenantNo(7), "oA".into(), "3557".into())));
        assert_eq!(read_receipt(&person(TenantNo(7), "oA")), None);
    }

    #[test]
    fn dead_letters_read_back() {
        let delivery = DeliveryId { notice: Id(5), number: 6 };
        for item in [
            DeadItem::Task(Id(9)),
            DeadItem::Delivery(TenantNo(3), delivery),
            DeadItem::Notice(Id(8)),
        ] {
            assert_eq!(read_dead(&dead(Timestamp(44), item)), Some((Timestamp(44), item)));
        }
    }
}
