//! A notice's place in its tenant's lane, and its end.

use crate::engine::outbox::canary::canary_settled;
use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::model::notice::Notice;
use crate::store::keys::{self, Lane, TenantNo};
use crate::time::Timestamp;

/// Puts the notice where it belongs in its tenant's lane: at its first pending delivery's due
/// time, or nowhere. One that may be served already keeps its place.
pub(in crate::engine) fn refile<K: Kv>(tx: &mut Tx<K>, notice: &mut Notice) -> Result<(), Fault> {
    let wanted = lane_place(tx, notice)?;
    let may_be_served = |due: Option<Timestamp>| due.is_some_and(|due| due <= tx.now);
    if !(may_be_served(wanted) && may_be_served(notice.lane_due)) {
        file(tx, notice, wanted);
    }
    Ok(())
}

/// As [`refile`] for a notice that has just been served: it goes behind its neighbours.
pub(in crate::engine) fn refile_behind<K: Kv>(
    tx: &mut Tx<K>,
    notice: &mut Notice,
) -> Result<(), Fault> {
    let wanted = lane_place(tx, notice)?.map(|due| due.max(tx.now));
    file(tx, notice, wanted);
    Ok(())
}

fn lane_place<K: Kv>(tx: &mut Tx<K>, notice: &Notice) -> Result<Option<Timestamp>, Fault> {
    if !notice.is_active() || notice.is_canary_out() {
        return Ok(None);
    }
    let lane = Lane::Notice(TenantNo(notice.tenant), notice.id);
    Ok(tx.store.delay_first(lane, 1)?.first().map(|(due, _)| *due))
}

pub(in crate::engine) fn file<K: Kv>(
    tx: &mut Tx<K>,
    notice: &mut Notice,
    place: Option<Timestamp>,
) {
    if place == notice.lane_due {
        return;
    }
    let lane = Lane::of_notice(TenantNo(notice.tenant), notice.urgent);
    if let Some(due) = notice.lane_due {
        tx.store.delay_delete(lane, due, &keys::id(notice.id));
    }
    if let Some(due) = place {
        tx.store.delay_put(lane, due, &keys::id(notice.id));
    }
    notice.lane_due = place;
}

/// Notes the end when there is nothing left to do.
pub(in crate::engine) fn finish_if_done<K: Kv>(tx: &mut Tx<K>, notice: &mut Notice) {
    if notice.is_finished() {
        notice.finished.get_or_insert(tx.now);
    }
}

/// Ends a change of a notice: notes its end if it has come, puts it where it belongs, writes it.
pub(in crate::engine) fn close<K: Kv>(tx: &mut Tx<K>, notice: &mut Notice) -> Result<(), Fault> {
    finish_if_done(tx, notice);
    canary_settled(tx, notice);
    refile(tx, notice)?;
    tx.store.write(keys::id(notice.id), notice);
    Ok(())
}
