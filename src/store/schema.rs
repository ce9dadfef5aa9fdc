//! The on-disk format: which tree holds what, and how keys are laid out.
//!
//! All integers are big-endian, so that bytes sort as numbers. Names (tenants, task types) are
//! interned to a `u32` once and keys carry the number. Format version [`FORMAT`].
//!
//! | tree | key | value |
//! |---|---|---|
//! | `meta` | `applied`, `format`, `last_id`, `next_type`, `term` | raw integers |
//! | `meta` | `worker` · `wall` · `copy` · `mending` | its name · `Wall` · `CopyRow` · `Mending` |
//! | `names` | `t` tenant name, `q` type name | number, raw u32 |
//! | `notices` | notice id | `Notice` |
//! | `notice_bodies` | notice id, chunk u16 | raw bytes of a JSON `NoticeBody` |
//! | `outbox` | tenant u32, notice id, number u32 | `Delivery` |
//! | `recipients` | tenant u32, notice id, openid | the delivery's number, raw u32 |
//! | `overrides` | tenant u32, notice id, number u32 | raw JSON object of own template values |
//! | `delay` | lane, due, id; see [`super::keys::Lane`] | empty |
//! | `tasks` | task id | `Task` |
//! | `task_bodies` | task id, chunk u16 | raw bytes of the payload |
//! | `task_history` | task id | `Task`, ended, without payload |
//! | `send_log` | entry id | `Entry` |
//! | `log_index` | `o` tenant openid 0 entry · `n` notice entry · `c` tenant errcode in decimal 0 entry | empty |
//! | `keys` | `n` tenant u32 key · `t` type u32 key | `KeyRow` |
//! | `keys` | `r` type u32 request id | `RequestRow` |
//! | `dead` | died at u64, kind u8 (1 task, 2 delivery, 3 refused notice), its key | empty, of a notice `Letter` |
//! | `schedules` | name | `ScheduleRow` |
//! | `runs` | run id | `Run` |
//! | `counters` | `q` type u32 priority u8 · `Q` type u32 · `t` tenant u32 | `QueueCounts` · `QueueState` · `TenantState` |
//! | `counters` | `a` notice id · `A` tenant u32 | failures in a row, `Streak` |
//! | `people` | tenant u32, openid | `Person` |
//! | `receipts` | tenant u32, openid, 0, the message's id | `EarlyReceipt` |
//! | `templates` | tenant u32, the provider's template id | `Learned` |
//! | `marks` | `x` kind u8, `r` ref or `l` label=value, 0, id · `t` task id | empty · a task's `Marks`, raw JSON |
//! | `sources` | notice id | `Resolution`, of an audience that is still to be read |
//! | `quarantine` | tree u8, key | the damaged value as found |
//! | `articles` | nothing: earlier versions made the tree, and the number stays given | |
//!
//! An item of the lane of timers is a tag and what the timer is for:
//!
//! | tag | timer | item |
//! |---|---|---|
//! | 1 | a task's claim runs out | task id |
//! | 2 | a delivery's claim runs out | tenant u32, notice id, number u32 |
//! | 3 · 4 · 5 | a notice may start · expires · is swept | notice id |
//! | 6 | a schedule ticks | its name |
//! | 7 · 8 | the next step of pruning · of mending | |
//! | 9 | a receipt has waited for its send's answer | its key |
//! | 10 | the next step of an audience's reading | notice id |
//! | 11 | a notice's first few are looked at | notice id |
//!
//! Raw values are indexes or are checked when read; all others carry version and checksum.
//!
//! # What is decided for later
//!
//! - **Packing.** Which rows the base packs is no part of the format: an image and the journal have
//!   rows, not blocks. A plain region below may become a packed one; opening packs what is there.
//! - **A time per commit.** Each commit that changes something has the row `wall` in it, what the
//!   wall clock showed: a state can be made anew as of a time from the journal alone.
//! - **Shards.** The low six bits of an id are its shard, 0 for now, see [`crate::id`].
//! - **A new tree** is a line of the table in this file and nothing elsewhere: journal and image name
//!   trees by number, and a program that does not know one refuses it by name. A number is given once.

use crate::kv::{Layout, Region, TreeLayout, TreeNo};

/// The format that this program writes.
pub const FORMAT: u32 = 3;

/// `meta`: the last commit that the base holds.
pub const APPLIED: &[u8] = b"applied";
/// `meta`: [`FORMAT`].
pub const FORMAT_KEY: &[u8] = b"format";
/// `meta`: the last id given out.
pub const LAST_ID: &[u8] = b"last_id";
/// `meta`: the next number for a task type, once the highest one was forgotten.
pub const NEXT_TYPE: &[u8] = b"next_type";
/// `meta`: what is known of the wall clock; in every commit, and so its time.
pub const WALL: &[u8] = b"wall";
/// `meta`: how far the look at pauses has come after the clock went back.
pub const MENDING: &[u8] = b"mending";
/// `meta`: what is known of this directory as a copy.
pub const COPY: &[u8] = b"copy";
/// `meta`: the term of the present or last leader.
pub const TERM: &[u8] = b"term";
/// `meta`: what the present or last leader calls itself.
pub const WORKER: &[u8] = b"worker";
/// Tags of timers, the first byte of an item in [`super::keys::Lane::Timers`].
pub mod timer {
    /// A task's claim runs out.
    pub const TASK_CLAIM: u8 = 1;
    /// A delivery's claim runs out.
    pub const DELIVERY_CLAIM: u8 = 2;
    /// A notice may start.
    pub const NOTICE_START: u8 = 3;
    /// A notice expires.
    pub const NOTICE_EXPIRY: u8 = 4;
    /// The next step of a notice's sweep.
    pub const SWEEP: u8 = 5;
    /// A schedule ticks.
    pub const SCHEDULE: u8 = 6;
    /// The next step of pruning.
    pub const PRUNE: u8 = 7;
    /// The next step of mending.
    pub const MEND: u8 = 8;
    /// A receipt has waited for the answer to its send.
    pub const EARLY_RECEIPT: u8 = 9;
    /// The next step of an audience's reading.
    pub const RESOLVE: u8 = 10;
    /// A notice's first few are looked at.
    pub const CANARY: u8 = 11;
}

/// First bytes of the keys in `delay`: the lanes.
pub mod lane {
    /// The daemon's own timers.
    pub const TIMERS: u8 = 1;
    /// A tenant's notices.
    pub const TENANT: u8 = 2;
    /// A notice's deliveries.
    pub const NOTICE: u8 = 3;
    /// A type's tasks.
    pub const QUEUE: u8 = 4;
    /// A tenant's urgent notices.
    pub const URGENT: u8 = 5;
}

/// First bytes of the keys in `log_index`.
pub mod log_index {
    /// By code.
    pub const CODE: u8 = b'c';
    /// By notice.
    pub const NOTICE: u8 = b'n';
    /// By recipient.
    pub const OPENID: u8 = b'o';
}

const fn region(from: u8, layout: Layout) -> Region {
    Region { from, layout }
}

/// Rows that come in any order: recipients, tasks, and all that are few.
const PLAIN: &[Region] = &[region(0, Layout::Plain)];
/// Rows that come in order, one after another.
const PACKED: &[Region] = &[region(0, Layout::Packed)];
/// Lanes of deliveries come in order; timers, tenants and queues do not.
const DELAY: &[Region] = &[
    region(0, Layout::Plain),
    region(lane::NOTICE, Layout::Packed),
    region(lane::QUEUE, Layout::Plain),
];
/// Entries by code (`e` in format 1) and by notice come in order; by recipient they do not.
const LOG_INDEX: &[Region] = &[region(0, Layout::Packed), region(log_index::OPENID, Layout::Plain)];

/// The trees: number, name here, name in sled, packing.
macro_rules! trees {
    ($($number:literal $tree:ident $name:literal $regions:ident,)*) => {
        /// The trees. The number is part of the journal's and the image's format: it is given once.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(u8)]
        #[allow(missing_docs, reason = "the table above says what each holds")]
        pub enum Tree {
            $($tree = $number,)*
        }

        impl Tree {
            /// All trees, in the order of their numbers.
            pub const ALL: [Self; LAYOUTS.len()] = [$(Self::$tree,)*];

            /// Its name, under which sled keeps it.
            #[must_use]
            pub fn name(self) -> &'static str {
                match self {
                    $(Self::$tree => $name,)*
                }
            }
        }

        /// The trees as the base is told of them.
        pub static LAYOUTS: [TreeLayout; [$($number,)*].len()] =
            [$(TreeLayout { name: $name, regions: $regions },)*];
    };
}

trees! {
    0 Meta "meta" PLAIN,
    1 Notices "notices" PLAIN,
    2 NoticeBodies "notice_bodies" PLAIN,
    3 Outbox "outbox" PACKED,
    4 Recipients "recipients" PLAIN,
    5 Overrides "overrides" PACKED,
    6 Delay "delay" DELAY,
    7 Tasks "tasks" PLAIN,
    8 TaskBodies "task_bodies" PLAIN,
    9 TaskHistory "task_history" PLAIN,
    10 SendLog "send_log" PACKED,
    11 LogIndex "log_index" LOG_INDEX,
    12 Keys "keys" PLAIN,
    13 Dead "dead" PLAIN,
    14 Schedules "schedules" PLAIN,
    15 Runs "runs" PLAIN,
    16 Names "names" PLAIN,
    17 Counters "counters" PLAIN,
    18 Quarantine "quarantine" PLAIN,
    19 Spare "articles" PLAIN,
    20 People "people" PLAIN,
    21 Receipts "receipts" PLAIN,
    22 Sources "sources" PLAIN,
    23 Marks "marks" PLAIN,
    24 Templates "templates" PLAIN,
}

impl Tree {
    /// The tree of this number, if there is one.
    #[must_use]
    pub fn from_number(number: u8) -> Option<Self> {
        Self::ALL.get(usize::from(number)).copied()
    }

    /// Its number.
    #[must_use]
    pub const fn number(self) -> TreeNo {
        TreeNo(self as u8)
    }
}

impl PartialEq<Tree> for TreeNo {
    fn eq(&self, other: &Tree) -> bool {
        *self == other.number()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;
    use crate::store::keys::{self, Lane, TenantNo, TypeNo};
    use crate::time::Timestamp;

    fn layout(tree: Tree, key: &[u8]) -> Layout {
        LAYOUTS[tree as usize].of(key)
    }

    #[test]
    fn what_comes_in_order_is_packed() {
        let delay = |lane: Lane| layout(Tree::Delay, &lane.key(Timestamp(7), &[1]));
        assert_eq!(delay(Lane::Timers), Layout::Plain);
        assert_eq!(delay(Lane::Tenant(TenantNo(1))), Layout::Plain);
        assert_eq!(delay(Lane::Notice(TenantNo(1), Id(1))), Layout::Packed);
        assert_eq!(delay(Lane::Queue(TypeNo(1), 1)), Layout::Plain);
        let index = |key: Vec<u8>| layout(Tree::LogIndex, &key);
        assert_eq!(index(keys::log_by_notice(Id(1))), Layout::Packed);
        assert_eq!(index(keys::log_by_errcode(TenantNo(1), -1)), Layout::Packed);
        assert_eq!(index(keys::log_by_openid(TenantNo(1), "o1")), Layout::Plain);
    }

    #[test]
    fn numbers_are_places_and_regions_go_up() {
        for (number, tree) in (0..).zip(Tree::ALL) {
            assert_eq!(tree.number(), TreeNo(number));
            assert_eq!(Tree::from_number(number), Some(tree));
            let regions = LAYOUTS[tree as usize].regions;
            assert_eq!(regions[0].from, 0);
            assert!(regions.windows(2).all(|pair| pair[0].from < pair[1].from), "{tree:?}");
        }
        assert_eq!(Tree::from_number(200), None);
    }
}
