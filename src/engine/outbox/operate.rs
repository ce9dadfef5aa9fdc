//! What operators do to notices, and the sweeps that carry it through, one bounded step at a time.

use crate::engine::command::{Act, Reply};
use crate::engine::outbox::canary::canary_verdict;
use crate::engine::outbox::{Outbox, lane, read_delivery};
use crate::engine::refusal::{Code, Refusal, not_found};
use crate::engine::streaks;
use crate::engine::timer::Timer;
use crate::engine::tx::{Decision, Tx};
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::attempt::Class;
use crate::model::delivery::{Delivery, DeliveryState, Resolution, SENT_AGAIN, Settled};
use crate::model::errcode;
use crate::model::notice::{Notice, NoticeState, PAUSED_BY_OPERATOR, Sweep, SweepKind};
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};
use crate::time::MINUTE_MS;

impl Outbox {
    pub(in crate::engine) fn act<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
        act: Act,
    ) -> Result<Decision, Fault> {
        let Some(mut notice) = tx.store.read::<Notice>(&keys::id(id))? else {
            return Ok(Err(not_found("notice", id)));
        };
        if notice.is_forgotten() {
            return Ok(Err(being_forgotten(&notice)));
        }
        if notice.cancelled && act != Act::Cancel {
            return Ok(Err(wrong_state(&notice, "a cancelled notice stays cancelled")));
        }
        match act {
            Act::Send => {
                if !notice.started {
                    tx.clear_timer(notice.send_at, &Timer::NoticeStart(id));
                    notice.started = true;
                }
                self.audience_is_due(tx, &mut notice);
                notice.canary = None;
                notice.paused = None;
                notice.template_misses = 0;
                streaks::forget(tx, &keys::notice_streak(id))?;
            }
            Act::Pause => {
                if notice.finished.is_some() {
                    return Ok(Err(wrong_state(&notice, "there is nothing left to pause")));
                }
                notice.paused.get_or_insert_with(|| PAUSED_BY_OPERATOR.into());
            }
            Act::Resume => {
                if notice.paused.is_some() {
                    // Whoever resumes it has seen what came of the first few, if they are out.
                    notice.canary = notice.canary.take().filter(|canary| canary.left > 0);
                }
                notice.paused = None;
                self.audience_goes_on(tx, &notice);
                notice.template_misses = 0;
                streaks::forget(tx, &keys::notice_streak(id))?;
            }
            Act::Cancel => {
                let is_over = notice.state() == NoticeState::Done;
                if is_over && notice.finished.is_some() && !notice.cancelled {
                    return Ok(Err(wrong_state(&notice, "there is nothing left to withdraw")));
                }
                self.begin_cancel(tx, &mut notice);
            }
            Act::Resend { states, errcode } => {
                streaks::forget(tx, &keys::notice_streak(id))?;
                if let Err(refusal) = self.begin_resend(tx, &mut notice, states, errcode) {
                    return Ok(Err(refusal));
                }
            }
        }
        lane::refile(tx, &mut notice)?;
        let state = notice.state().name();
        tx.store.write(keys::id(id), &notice);
        Ok(Ok(Reply::Notice { id, state, created: false }))
    }

    fn begin_cancel<K: Kv>(&mut self, tx: &mut Tx<K>, notice: &mut Notice) {
        if notice.cancelled {
            return;
        }
        if !notice.started {
            tx.clear_timer(notice.send_at, &Timer::NoticeStart(notice.id));
        }
        notice.cancelled = true;
        notice.open = false;
        self.drop_audience(tx, notice);
        self.begin_sweep(tx, notice, SweepKind::Cancel);
    }

    fn begin_resend<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        states: Vec<DeliveryState>,
        errcode: Option<i64>,
    ) -> Result<(), Refusal> {
        if notice.sweep.is_some() {
            return Err(wrong_state(notice, "another sweep over it is under way: try again soon"));
        }
        if states.len() > DeliveryState::ALL.len() {
            return Err(Refusal::field(Code::Invalid, "/states", "name each state once"));
        }
        notice.reopen(tx.now);
        notice.template_misses = 0;
        self.begin_sweep(tx, notice, SweepKind::Resend { states, errcode });
        Ok(())
    }

    pub(super) fn begin_sweep<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        kind: SweepKind,
    ) {
        if notice.sweep.is_none() {
            tx.set_timer(tx.now, &Timer::Sweep(notice.id));
        }
        notice.sweep = Some(Sweep { kind, next: 1 });
    }

    /// One step of a sweep: [`limits::STEP_ROWS`] deliveries, then others get their turn.
    pub(in crate::engine) fn sweep_step<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
    ) -> Result<(), Fault> {
        let Some(mut notice) = tx.store.read::<Notice>(&keys::id(id))? else { return Ok(()) };
        if notice.is_forgotten() {
            return Ok(());
        }
        let Some(mut sweep) = notice.sweep.take() else { return Ok(()) };
        let tenant = TenantNo(notice.tenant);
        let from = keys::delivery(tenant, DeliveryId { notice: id, number: sweep.next });
        let to = keys::after_prefix(&keys::notice_rows(tenant, id));
        let rows = tx.store.scan(Tree::Outbox, &from, &to, Order::Ascending, limits::STEP_ROWS)?;
        for (key, bytes) in &rows {
            let mut delivery: Delivery = codec::decode(bytes)?;
            let Some((_, row)) = keys::read_delivery(key) else { continue };
            self.sweep_row(tx, &mut notice, row, &mut delivery, &sweep.kind);
            sweep.next = row.number + 1;
        }
        if rows.len() == limits::STEP_ROWS {
            notice.sweep = Some(sweep);
            // Not in this tick again: others come first.
            tx.set_timer(tx.now.plus(1), &Timer::Sweep(id));
        }
        lane::close(tx, &mut notice)?;
        Ok(())
    }

    fn sweep_row<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        kind: &SweepKind,
    ) {
        let pending = delivery.state() == DeliveryState::Pending;
        match kind {
            SweepKind::Cancel if pending => {
                let (end, reason) = (Settled::Cancelled, "the notice was cancelled");
                self.withdraw_delivery(tx, notice, id, delivery, end, reason);
            }
            SweepKind::Expire if pending => {
                let (end, reason) = (Settled::Skipped, "the notice expired");
                self.withdraw_delivery(tx, notice, id, delivery, end, reason);
            }
            SweepKind::Resend { states, errcode }
                if states.contains(&delivery.state())
                    && errcode.is_none_or(|code| delivery.errcode == Some(code)) =>
            {
                self.send_again(tx, notice, id, delivery, SENT_AGAIN);
            }
            SweepKind::Mended
                if delivery.state() == DeliveryState::Refused
                    && delivery.errcode.map(errcode::classify) == Some(Class::Notice) =>
            {
                self.send_again(tx, notice, id, delivery, SENT_AGAIN);
            }
            SweepKind::Cancel
            | SweepKind::Expire
            | SweepKind::Resend { .. }
            | SweepKind::Mended
            | SweepKind::Forget => {}
        }
    }

    /// The first few of a notice are out: the rest goes on, or waits for a person.
    pub(in crate::engine) fn decide_canary<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
    ) -> Result<(), Fault> {
        let Some(mut notice) = tx.store.read::<Notice>(&keys::id(id))? else { return Ok(()) };
        if !notice.is_active() {
            return Ok(());
        }
        let rule = self.body(tx, id)?.canary;
        // The timer's own turn counts, not the clock: one that was put back may have called it early.
        let decides = notice.canary.clone().filter(|it| it.decides.is_some());
        let (Some(canary), Some(rule)) = (decides, rule) else { return Ok(()) };
        let nothing_left = notice.finished.is_some();
        match canary_verdict(&notice, &canary, &rule).filter(|_| !nothing_left) {
            None => notice.canary = None,
            Some(why) => {
                notice.paused.get_or_insert(why);
            }
        }
        lane::close(tx, &mut notice)
    }

    pub(in crate::engine) fn start_notice<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
    ) -> Result<(), Fault> {
        let Some(mut notice) = tx.store.read::<Notice>(&keys::id(id))? else { return Ok(()) };
        if notice.send_at > tx.now {
            tx.set_timer(notice.send_at, &Timer::NoticeStart(id));
            return Ok(());
        }
        notice.started = true;
        self.audience_is_due(tx, &mut notice);
        lane::close(tx, &mut notice)?;
        Ok(())
    }

    pub(in crate::engine) fn expire_notice<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
    ) -> Result<(), Fault> {
        let Some(mut notice) = tx.store.read::<Notice>(&keys::id(id))? else { return Ok(()) };
        let reopened = notice.expires_at.is_none_or(|expiry| tx.now < expiry);
        if notice.cancelled || notice.finished.is_some() || reopened {
            return Ok(());
        }
        if notice.expires_at.is_some_and(|expiry| !tx.is_over(expiry)) {
            // A clock that has just jumped ends nothing for good.
            tx.set_timer(tx.now.plus(MINUTE_MS), &Timer::NoticeExpiry(id));
            return Ok(());
        }
        notice.expired = true;
        notice.open = false;
        self.drop_audience(tx, &mut notice);
        self.begin_sweep(tx, &mut notice, SweepKind::Expire);
        lane::refile(tx, &mut notice)?;
        tx.store.write(keys::id(id), &notice);
        Ok(())
    }

    pub(in crate::engine) fn resolve<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: DeliveryId,
        resolution: Resolution,
    ) -> Result<Decision, Fault> {
        let Some((mut notice, mut delivery)) = read_delivery(tx, id)? else {
            return Ok(Err(not_found("delivery", id)));
        };
        if delivery.state() != DeliveryState::InDoubt {
            return Ok(Err(Refusal::new(
                Code::WrongState,
                format!("delivery {id} is {}, not in_doubt", delivery.state().name()),
            )));
        }
        if notice.is_forgotten() {
            return Ok(Err(being_forgotten(&notice)));
        }
        if notice.cancelled && resolution == Resolution::Resend {
            return Ok(Err(wrong_state(&notice, "its deliveries are not sent again")));
        }
        if notice.is_expiring() && resolution == Resolution::Resend {
            return Ok(Err(wrong_state(&notice, "it has just expired: try again soon")));
        }
        let mut settle = |end, reason: &str| {
            let reason = Some(reason.to_owned());
            self.settle_delivery(tx, &mut notice, id, &mut delivery, end, reason);
        };
        match resolution {
            Resolution::Accepted => settle(Settled::Accepted, "an operator saw it arrive"),
            Resolution::Refused => settle(Settled::Refused, "given up by an operator"),
            Resolution::Resend => {
                notice.reopen(tx.now);
                let reason = SENT_AGAIN;
                self.send_again(tx, &mut notice, id, &mut delivery, reason);
            }
        }
        lane::close(tx, &mut notice)?;
        Ok(Ok(Reply::Done))
    }
}

pub(super) fn being_forgotten(notice: &Notice) -> Refusal {
    wrong_state(notice, "it is as old as such are kept (retention.notices) and is being removed")
}

pub(super) fn wrong_state(notice: &Notice, why: &str) -> Refusal {
    let state = notice.state().name();
    Refusal::new(Code::WrongState, format!("notice {} is {state}: {why}", notice.id))
}
