//! How long a repetition of what is in doubt is recognised by the provider.

use crate::engine::tx::Tx;
use crate::kv::Kv;
use crate::limits;
use crate::model::delivery::Delivery;
use crate::model::notice::{InDoubt, Notice};
use crate::time::Timestamp;

/// Whether an attempt that begins at `due` would still be recognised by the provider as a
/// repetition of the first one in doubt.
pub(super) fn inside_window<K: Kv>(
    tx: &Tx<K>,
    due: Timestamp,
    notice: &Notice,
    delivery: &Delivery,
) -> bool {
    let Some(since) = delivery.doubt_since else { return true };
    let timeout_ms = tx.send_timeout_ms(notice);
    let margin = limits::DEDUPE_MARGIN_MS.max(2 * timeout_ms);
    let usable = limits::DEDUPE_WINDOW_MS.saturating_sub(margin);
    let due = tx.unwound(due);
    since <= due && due.since(since) < usable
}

/// Whether a pending delivery may no longer be sent because an earlier attempt of it may have
/// been accepted too long ago.
pub(in crate::engine) fn doubt_is_over<K: Kv>(
    tx: &Tx<K>,
    notice: &Notice,
    delivery: &Delivery,
) -> bool {
    if inside_window(tx, tx.now, notice, delivery) {
        return false;
    }
    match notice.in_doubt {
        InDoubt::Hold => true,
        InDoubt::Resend => false,
    }
}
