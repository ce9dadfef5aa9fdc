//! When an audience is read that is somewhere else, and when it is no longer wanted.

use crate::engine::outbox::Outbox;
use crate::engine::refusal::{Code, Refusal, not_found};
use crate::engine::timer::Timer;
use crate::engine::tx::Tx;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::audience::{Resolution, Source, Sourcing};
use crate::model::notice::Notice;
use crate::store::Order;
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;

impl Outbox {
    /// Begins, or plans, the reading of a new notice's audience.
    pub(super) fn plan_audience<K: Kv>(
        &self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        sourcing: &Sourcing,
    ) {
        notice.awaits = true;
        tx.store.write(keys::id(notice.id), &Resolution::default());
        if !sourcing.at_send || notice.started {
            self.read_audience(tx, notice);
        }
    }

    /// The notice may be sent: what was to be read then is read now.
    pub(super) fn audience_is_due<K: Kv>(&mut self, tx: &mut Tx<K>, notice: &mut Notice) {
        if notice.awaits && !notice.open {
            self.read_audience(tx, notice);
        }
    }

    /// A person resumed the notice: what its source refused is asked for again.
    pub(super) fn audience_goes_on<K: Kv>(&mut self, tx: &mut Tx<K>, notice: &Notice) {
        if notice.awaits && notice.open {
            tx.set_timer(tx.now, &Timer::Resolve(notice.id));
        }
    }

    fn read_audience<K: Kv>(&self, tx: &mut Tx<K>, notice: &mut Notice) {
        notice.open = true;
        tx.set_timer(tx.now, &Timer::Resolve(notice.id));
    }

    /// After a start, nobody is at it: all that were being read go on.
    pub(in crate::engine) fn take_up_audiences<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
    ) -> Result<(), Fault> {
        let mut from = Vec::new();
        loop {
            let page = tx.store.scan(
                Tree::Sources,
                &from,
                &[0xff; 9],
                Order::Ascending,
                limits::PAGE_ITEMS,
            )?;
            let Some((last, _)) = page.last() else { return Ok(()) };
            from = keys::after(last);
            for (key, _) in &page {
                let Some(id) = keys::read_id(key) else { continue };
                let notice = tx.store.read::<Notice>(&keys::id(id))?;
                if notice.is_some_and(|notice| notice.open) {
                    tx.set_timer(tx.now, &Timer::Resolve(id));
                }
            }
        }
    }

    /// Forgets an audience that is no longer wanted: its notice was cancelled, or has expired.
    pub(super) fn drop_audience<K: Kv>(&mut self, tx: &mut Tx<K>, notice: &mut Notice) {
        if std::mem::take(&mut notice.awaits) {
            tx.store.delete(Tree::Sources, &keys::id(notice.id));
            self.resolving.remove(&notice.id);
        }
    }
}

/// Whether an earlier notice can be a source, looked at when the new one is submitted.
pub(super) fn check_source<K: Kv>(
    tx: &Tx<K>,
    tenant: TenantNo,
    source: &Source,
) -> Result<Result<(), Refusal>, Fault> {
    let Source::Notice { notice, .. } = source else { return Ok(Ok(())) };
    let found = tx.store.read::<Notice>(&keys::id(*notice))?;
    let wrong = |detail: String| Refusal::field(Code::Invalid, "/audience/notice", detail);
    Ok(match found {
        None => Err(wrong(not_found("notice", *notice).detail)),
        Some(found) if found.tenant != tenant.0 => {
            Err(wrong(format!("notice {notice} is one of another tenant: openids belong to one")))
        }
        Some(_) => Ok(()),
    })
}
