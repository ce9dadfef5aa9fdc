//! What operators do to notices, and the sweeps that carry it through, one bounded step at a time.

use super::command::{Act, Code, Refusal, Reply};
use super::timer::Timer;
use super::{Decision, Engine, not_found};
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv, Tree};
use crate::limits;
use crate::model::delivery::{Delivery, DeliveryState, Resolution, Settled};
use crate::model::notice::{Notice, NoticeState, PAUSED_BY_OPERATOR, Sweep, SweepKind};
use crate::store::keys::{self, Lane, TenantNo};
use crate::store::{Order, codec};
use crate::time::{MINUTE_MS, Timestamp};

impl<K: Kv> Engine<K> {
    pub(super) fn act(&mut self, now: Timestamp, id: Id, act: Act) -> Result<Decision, Fault> {
        let Some(mut notice) = self.store.read::<Notice>(&keys::id(id))? else {
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
                    self.clear_timer(notice.send_at, &Timer::NoticeStart(id));
                    notice.started = true;
                }
                notice.paused = None;
                notice.template_misses = 0;
                self.forget_streak(&keys::notice_streak(id))?;
            }
            Act::Pause => {
                if notice.finished.is_some() {
                    return Ok(Err(wrong_state(&notice, "there is nothing left to pause")));
                }
                notice.paused.get_or_insert_with(|| PAUSED_BY_OPERATOR.into());
            }
            Act::Resume => {
                notice.paused = None;
                notice.template_misses = 0;
                self.forget_streak(&keys::notice_streak(id))?;
            }
            Act::Cancel => {
                let is_over = notice.state() == NoticeState::Done;
                if is_over && notice.finished.is_some() && !notice.cancelled {
                    return Ok(Err(wrong_state(&notice, "there is nothing left to withdraw")));
                }
                self.begin_cancel(now, &mut notice);
            }
            Act::Resend { states, errcode } => {
                self.forget_streak(&keys::notice_streak(id))?;
                if let Err(refusal) = self.begin_resend(now, &mut notice, states, errcode) {
                    return Ok(Err(refusal));
                }
            }
        }
        self.refile(now, &mut notice)?;
        let state = notice.state().name();
        self.store.write(keys::id(id), &notice);
        Ok(Ok(Reply::Notice { id, state, created: false }))
    }

    fn begin_cancel(&mut self, now: Timestamp, notice: &mut Notice) {
        if notice.cancelled {
            return;
        }
        if !notice.started {
            self.clear_timer(notice.send_at, &Timer::NoticeStart(notice.id));
        }
        notice.cancelled = true;
        notice.open = false;
        self.begin_sweep(now, notice, SweepKind::Cancel);
    }

    fn begin_resend(
        &mut self,
        now: Timestamp,
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
        notice.reopen(now);
        notice.template_misses = 0;
        self.begin_sweep(now, notice, SweepKind::Resend { states, errcode });
        Ok(())
    }

    fn begin_sweep(&mut self, now: Timestamp, notice: &mut Notice, kind: SweepKind) {
        if notice.sweep.is_none() {
            self.set_timer(now, &Timer::Sweep(notice.id));
        }
        notice.sweep = Some(Sweep { kind, next: 1 });
    }

    /// One step of a sweep: [`limits::STEP_ROWS`] deliveries, then others get their turn.
    pub(super) fn sweep_step(&mut self, now: Timestamp, id: Id) -> Result<(), Fault> {
        let Some(mut notice) = self.store.read::<Notice>(&keys::id(id))? else { return Ok(()) };
        if notice.is_forgotten() {
            return Ok(());
        }
        let Some(mut sweep) = notice.sweep.take() else { return Ok(()) };
        let tenant = TenantNo(notice.tenant);
        let from = keys::delivery(tenant, DeliveryId { notice: id, number: sweep.next });
        let to = keys::after_prefix(&keys::notice_rows(tenant, id));
        let rows =
            self.store.scan(Tree::Outbox, &from, &to, Order::Ascending, limits::STEP_ROWS)?;
        for (key, bytes) in &rows {
            let mut delivery: Delivery = codec::decode(bytes)?;
            let Some((_, row)) = keys::read_delivery(key) else { continue };
            self.sweep_row(now, &mut notice, row, &mut delivery, &sweep.kind);
            sweep.next = row.number + 1;
        }
        if rows.len() == limits::STEP_ROWS {
            notice.sweep = Some(sweep);
            // Not in this tick again: others come first.
            self.set_timer(now.plus(1), &Timer::Sweep(id));
        }
        self.finish_if_done(now, &mut notice);
        self.refile(now, &mut notice)?;
        self.store.write(keys::id(id), &notice);
        Ok(())
    }

    fn sweep_row(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        kind: &SweepKind,
    ) {
        let pending = delivery.state() == DeliveryState::Pending;
        match kind {
            SweepKind::Cancel if pending => {
                let (end, reason) = (Settled::Cancelled, "the notice was cancelled");
                self.withdraw_delivery(now, notice, id, delivery, end, reason);
            }
            SweepKind::Expire if pending => {
                let (end, reason) = (Settled::Skipped, "the notice expired");
                self.withdraw_delivery(now, notice, id, delivery, end, reason);
            }
            SweepKind::Resend { states, errcode }
                if states.contains(&delivery.state())
                    && errcode.is_none_or(|code| delivery.errcode == Some(code)) =>
            {
                self.send_again(now, notice, id, delivery, "sent again by an operator");
            }
            SweepKind::Cancel
            | SweepKind::Expire
            | SweepKind::Resend { .. }
            | SweepKind::Forget => {}
        }
    }

    pub(super) fn start_notice(&mut self, now: Timestamp, id: Id) -> Result<(), Fault> {
        let Some(mut notice) = self.store.read::<Notice>(&keys::id(id))? else { return Ok(()) };
        if notice.send_at > now {
            self.set_timer(notice.send_at, &Timer::NoticeStart(id));
            return Ok(());
        }
        notice.started = true;
        self.finish_if_done(now, &mut notice);
        self.refile(now, &mut notice)?;
        self.store.write(keys::id(id), &notice);
        Ok(())
    }

    pub(super) fn expire_notice(&mut self, now: Timestamp, id: Id) -> Result<(), Fault> {
        let Some(mut notice) = self.store.read::<Notice>(&keys::id(id))? else { return Ok(()) };
        let reopened = notice.expires_at.is_none_or(|expiry| now < expiry);
        if notice.cancelled || notice.finished.is_some() || reopened {
            return Ok(());
        }
        if notice.expires_at.is_some_and(|expiry| !self.is_over(now, expiry)) {
            // A clock that has just jumped ends nothing for good.
            self.set_timer(now.plus(MINUTE_MS), &Timer::NoticeExpiry(id));
            return Ok(());
        }
        notice.expired = true;
        notice.open = false;
        self.begin_sweep(now, &mut notice, SweepKind::Expire);
        self.refile(now, &mut notice)?;
        self.store.write(keys::id(id), &notice);
        Ok(())
    }

    /// Puts the notice where it belongs in its tenant's lane: at its first pending delivery's due
    /// time, or nowhere. One that may be served already keeps its place.
    pub(super) fn refile(&mut self, now: Timestamp, notice: &mut Notice) -> Result<(), Fault> {
        let wanted = self.lane_place(notice)?;
        let may_be_served = |due: Option<Timestamp>| due.is_some_and(|due| due <= now);
        if !(may_be_served(wanted) && may_be_served(notice.lane_due)) {
            self.file(notice, wanted);
        }
        Ok(())
    }

    /// As [`Engine::refile`] for a notice that has just been served: it goes behind its neighbours.
    pub(super) fn refile_behind(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
    ) -> Result<(), Fault> {
        let wanted = self.lane_place(notice)?.map(|due| due.max(now));
        self.file(notice, wanted);
        Ok(())
    }

    fn lane_place(&mut self, notice: &Notice) -> Result<Option<Timestamp>, Fault> {
        if !notice.is_active() {
            return Ok(None);
        }
        let lane = Lane::Notice(TenantNo(notice.tenant), notice.id);
        Ok(self.delay_first(lane, 1)?.first().map(|(due, _)| *due))
    }

    pub(super) fn file(&mut self, notice: &mut Notice, place: Option<Timestamp>) {
        if place == notice.lane_due {
            return;
        }
        let lane = Lane::Tenant(TenantNo(notice.tenant));
        if let Some(due) = notice.lane_due {
            self.delay_delete(lane, due, &keys::id(notice.id));
        }
        if let Some(due) = place {
            self.delay_put(lane, due, &keys::id(notice.id));
        }
        notice.lane_due = place;
    }

    /// Notes the end when there is nothing left to do.
    pub(super) fn finish_if_done(&mut self, now: Timestamp, notice: &mut Notice) {
        if notice.is_finished() {
            notice.finished.get_or_insert(now);
        }
    }

    pub(super) fn resolve(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        resolution: Resolution,
    ) -> Result<Decision, Fault> {
        let Some(mut notice) = self.store.read::<Notice>(&keys::id(id.notice))? else {
            return Ok(Err(not_found("delivery", id)));
        };
        let key = keys::delivery(TenantNo(notice.tenant), id);
        let Some(mut delivery) = self.store.read::<Delivery>(&key)? else {
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
            self.settle_delivery(now, &mut notice, id, &mut delivery, end, reason);
        };
        match resolution {
            Resolution::Accepted => settle(Settled::Accepted, "an operator saw it arrive"),
            Resolution::Refused => settle(Settled::Refused, "given up by an operator"),
            Resolution::Resend => {
                notice.reopen(now);
                let reason = "sent again by an operator";
                self.send_again(now, &mut notice, id, &mut delivery, reason);
            }
        }
        self.finish_if_done(now, &mut notice);
        self.refile(now, &mut notice)?;
        self.store.write(keys::id(id.notice), &notice);
        Ok(Ok(Reply::Done))
    }
}

/// Why a delivery that was claimed goes back, and until when.
pub(super) struct Unsent {
    /// When it is due again.
    pub(super) due: Timestamp,
    /// Why, for people.
    pub(super) reason: Option<String>,
}

fn being_forgotten(notice: &Notice) -> Refusal {
    wrong_state(notice, "it is as old as such are kept (retention.notices) and is being removed")
}

fn wrong_state(notice: &Notice, why: &str) -> Refusal {
    let state = notice.state().name();
    Refusal::new(Code::WrongState, format!("notice {} is {state}: {why}", notice.id))
}
