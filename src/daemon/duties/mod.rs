//! What runs beside the work, a file per duty.

mod base;
mod disk;
mod images;
mod mark;
mod newest;
mod watchdog;

pub(super) use base::watch_base;
pub(super) use disk::{START_FREE_BYTES, look_at_disk, wait_for_space, watch_disk};
pub(super) use images::{ImageRequest, Images};
pub(super) use mark::keep_mark;
pub(super) use watchdog::{CLOSE_WITHIN, Liveness, feed_watchdog};

use crate::model::attention::{Act, Kind, Row};
use crate::time::{Clock, SystemClock};

/// What needs a person from now on.
fn trouble(kind: Kind, subject: &str, sentence: String, acts: Vec<Act>) -> Row {
    let (subject, since) = (subject.to_owned(), SystemClock.now());
    Row { kind, subject, tenant: None, since, sentence, acts }
}
