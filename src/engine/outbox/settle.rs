//! What an answer of the provider does to the delivery, its notice and its tenant.
//!
//! | class | delivery | notice | tenant |
//! |---|---|---|---|
//! | ok, review | accepted | | refusals forgotten |
//! | retry | pending again by policy, or dead | | 45011: rests a minute, then half as fast |
//! | recipient | refused | | |
//! | notice | refused | paused | |
//! | no such template | pending again | after several in a row: paused | |
//! | token, tenant | pending again, no failure counted | | rests, longer each time |
//! | day | pending again, no failure counted | | rests until tomorrow in Shanghai |
//! | unreached | pending again, no attempt counted | | rests, see `trouble` |
//! | in doubt | pending again inside the dedupe window, else as the notice says | | after many in a row: rests |
//!
//! Retries that fail alike for everybody pause the notice, see `trouble`.

use crate::engine::command::Reply;
use crate::engine::outbox::canary::{canary_doubted, canary_unsent};
use crate::engine::outbox::transition::{Unsent, withdrawn};
use crate::engine::outbox::{Outbox, doubt, lane, log, read_delivery, trouble};
use crate::engine::pace::RETURN_PAUSE_MS;
use crate::engine::people;
use crate::engine::streaks;
use crate::engine::tenants;
use crate::engine::tx::{Decision, Tx};
use crate::id::DeliveryId;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::attempt::{Class, Try};
use crate::model::delivery::{Delivery, DeliveryState, Settled, Standing};
use crate::model::errcode;
use crate::model::notice::{InDoubt, Notice};
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::text::cut;
use crate::time::{MINUTE_MS, SECOND_MS};

/// Template codes in a row that pause a notice: the provider answers them by mistake now and then.
const TEMPLATE_MISSES: u32 = 5;
/// Pauses between attempts that are in doubt: short, since the window is.
const DOUBT_PAUSE_MS: u64 = 2 * SECOND_MS;
/// The least pause for a recipient who had too many messages.
const TOO_OFTEN_MS: u64 = 30 * MINUTE_MS;

impl Outbox {
    /// Hands a claimed delivery back that was certainly not put on the wire. One whose recipient is gone
    /// is skipped, and its place among the first few is free for another.
    pub(in crate::engine) fn return_send<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: DeliveryId,
        fence: u64,
        gone: bool,
    ) -> Result<Decision, Fault> {
        let Some((mut notice, mut delivery)) = self.claimed_delivery(tx, id, fence)? else {
            return Ok(Ok(Reply::Done));
        };
        delivery.attempt -= 1;
        people::not_sent(tx, TenantNo(notice.tenant), &delivery.openid, delivery.started)?;
        if gone {
            let doubted = delivery.doubt_since.is_some();
            self.withdraw_delivery(
                tx,
                &mut notice,
                id,
                &mut delivery,
                Settled::Skipped,
                people::GONE,
            );
            if !doubted {
                canary_unsent(tx, &mut notice);
            }
            notice.last_settled = Some(tx.now);
            lane::close(tx, &mut notice)?;
            return Ok(Ok(Reply::Done));
        }
        let due = tx.now.plus(RETURN_PAUSE_MS);
        self.unsend(tx, &mut notice, id, &mut delivery, Unsent { due, reason: None });
        lane::close(tx, &mut notice)?;
        Ok(Ok(Reply::Done))
    }

    /// The notice and row of a delivery that is being sent under this fence.
    pub(in crate::engine) fn claimed_delivery<K: Kv>(
        &self,
        tx: &Tx<K>,
        id: DeliveryId,
        fence: u64,
    ) -> Result<Option<(Notice, Delivery)>, Fault> {
        let held = |it: &Delivery| it.state() == DeliveryState::Sending && it.fence == fence;
        Ok(read_delivery(tx, id)?.filter(|(_, delivery)| held(delivery)))
    }

    pub(in crate::engine) fn settle_send<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: DeliveryId,
        fence: u64,
        tries: Vec<Try>,
    ) -> Result<Decision, Fault> {
        let Some((mut notice, mut delivery)) = self.claimed_delivery(tx, id, fence)? else {
            self.settle_late(tx, id, fence, &tries)?;
            return Ok(Ok(Reply::Done));
        };
        let left = tries.iter().filter(|one| has_left(one)).count();
        if left == 0 {
            // Nobody heard of it: the next one has its number.
            delivery.attempt = delivery.attempt.saturating_sub(1);
        }
        for one in tries.iter().filter(|one| has_left(one)) {
            log::record(tx, &notice, id, &delivery, one, None)?;
        }
        if let Some(last) = tries.last() {
            tenants::count_requests(tx, TenantNo(notice.tenant), left)?;
            self.decide(tx, &mut notice, id, &mut delivery, last)?;
        } else {
            let tenant = TenantNo(notice.tenant);
            people::not_sent(tx, tenant, &delivery.openid, delivery.started)?;
            self.unsend(tx, &mut notice, id, &mut delivery, Unsent { due: tx.now, reason: None });
        }
        notice.last_settled = Some(tx.now);
        lane::close(tx, &mut notice)?;
        Ok(Ok(Reply::Done))
    }

    /// An answer to a claim that ran out and was settled as in doubt. It belongs in the log, and an
    /// acceptance ends the doubt unless the delivery is being sent again.
    fn settle_late<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: DeliveryId,
        fence: u64,
        tries: &[Try],
    ) -> Result<(), Fault> {
        let Some((mut notice, mut delivery)) = read_delivery(tx, id)? else { return Ok(()) };
        let tenant = TenantNo(notice.tenant);
        let mut then = delivery.clone();
        let since = u32::try_from(delivery.fence.saturating_sub(fence)).unwrap_or(u32::MAX);
        then.attempt = delivery.attempt.saturating_sub(since).max(1);
        for one in tries.iter().filter(|one| has_left(one)) {
            log::record(tx, &notice, id, &then, one, None)?;
        }
        let Some(last) = tries.last() else { return Ok(()) };
        tenants::count_requests(tx, tenant, tries.iter().filter(|one| has_left(one)).count())?;
        let accepted = match last.class {
            Class::Ok | Class::Review => true,
            Class::Retry
            | Class::Token
            | Class::Day
            | Class::Recipient
            | Class::Notice
            | Class::Tenant
            | Class::InDoubt
            | Class::Unreached => false,
        };
        let doubted = match delivery.state() {
            DeliveryState::Pending | DeliveryState::InDoubt => delivery.doubt_since.is_some(),
            DeliveryState::Sending
            | DeliveryState::Accepted
            | DeliveryState::Delivered
            | DeliveryState::Refused
            | DeliveryState::Skipped
            | DeliveryState::Dead
            | DeliveryState::Cancelled
            | DeliveryState::Failed => false,
        };
        if !(accepted && doubted) {
            return Ok(());
        }
        delivery.doubt_since = None;
        delivery.errcode = last.errcode;
        delivery.msgid.clone_from(&last.msgid);
        let reason = Some("its answer came late".to_owned());
        self.settle_delivery(tx, &mut notice, id, &mut delivery, Settled::Accepted, reason);
        self.take_early_receipt(tx, &mut notice, id, &mut delivery)?;
        notice.last_settled = Some(tx.now);
        lane::close(tx, &mut notice)
    }

    fn decide<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        answer: &Try,
    ) -> Result<(), Fault> {
        let tenant = TenantNo(notice.tenant);
        let reason = cut(&answer.errmsg, limits::TEXT_BYTES).to_owned();
        if !matches!(answer.class, Class::Ok | Class::Review | Class::InDoubt) {
            people::not_sent(tx, tenant, &delivery.openid, delivery.started)?;
        }
        if has_left(answer) {
            delivery.errcode = answer.errcode;
        }
        match answer.class {
            Class::Ok | Class::Review => {
                delivery.msgid.clone_from(&answer.msgid);
                delivery.doubt_since = None;
                notice.template_misses = 0;
                streaks::forget(tx, &keys::notice_streak(notice.id))?;
                trouble::answered(tx, tenant)?;
                tenants::went_well(tx, tenant)?;
                let reason = (answer.class == Class::Review).then(|| "in platform review".into());
                self.settle_delivery(tx, notice, id, delivery, Settled::Accepted, reason);
                let template_id = self.body(tx, id.notice)?.template_id.clone();
                let (openid, left) = (&delivery.openid, delivery.started);
                people::seen_taking(tx, tenant, openid, &template_id, left)?;
                self.take_early_receipt(tx, notice, id, delivery)?;
            }
            Class::Retry => self.retry(tx, notice, id, delivery, answer)?,
            Class::Recipient => {
                trouble::answered(tx, tenant)?;
                if let Some(limit) = trouble::alike_limit(answer) {
                    trouble::failed_alike(tx, notice, answer, limit)?;
                }
                self.note_person(tx, tenant, id, delivery, answer)?;
                self.settle_delivery(tx, notice, id, delivery, Settled::Refused, Some(reason));
            }
            Class::Notice => {
                trouble::answered(tx, tenant)?;
                self.notice_refused(tx, notice, id, delivery, answer)?;
            }
            Class::Token | Class::Tenant => {
                tenants::refuse_tenant(tx, tenant, &told(answer))?;
                self.unsend(tx, notice, id, delivery, Unsent { due: tx.now, reason: Some(reason) });
            }
            Class::Day => {
                tenants::day_is_over(tx, tenant)?;
                self.unsend(tx, notice, id, delivery, Unsent { due: tx.now, reason: Some(reason) });
            }
            Class::Unreached => {
                trouble::unreached(tx, tenant, answer)?;
                self.unsend(tx, notice, id, delivery, Unsent { due: tx.now, reason: Some(reason) });
            }
            Class::InDoubt => {
                tenants::unclear(tx, tenant)?;
                let failed = delivery.failed;
                let rests = trouble::unsure(tx, notice, answer)?;
                self.doubt(tx, notice, id, delivery, &reason);
                if rests && delivery.state() == DeliveryState::Pending {
                    delivery.failed = failed;
                    tx.store.write(keys::delivery(tenant, id), delivery);
                }
            }
        }
        Ok(())
    }

    /// Remembers what an answer says of its recipient.
    fn note_person<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        tenant: TenantNo,
        id: DeliveryId,
        delivery: &Delivery,
        answer: &Try,
    ) -> Result<(), Fault> {
        match answer.errcode {
            Some(errcode::NOT_A_FOLLOWER) => people::seen_gone(tx, tenant, &delivery.openid),
            Some(errcode::TEMPLATE_SWITCHED_OFF) => {
                let template_id = self.body(tx, id.notice)?.template_id.clone();
                people::seen_refusing(tx, tenant, &delivery.openid, &template_id)
            }
            Some(_) | None => Ok(()),
        }
    }

    /// The provider did not take it, for now.
    fn retry<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        answer: &Try,
    ) -> Result<(), Fault> {
        let tenant = TenantNo(notice.tenant);
        let reason = cut(&answer.errmsg, limits::TEXT_BYTES).to_owned();
        if answer.errcode.is_some_and(errcode::is_minute_limit) {
            let rest = tx.now.plus(MINUTE_MS);
            tenants::slow_down(tx, tenant)?;
            tenants::hold(tx, tenant, rest, "the provider's limit per minute is reached")?;
            let unsent = Unsent { due: rest, reason: Some(reason) };
            self.unsend(tx, notice, id, delivery, unsent);
            return Ok(());
        }
        trouble::answered(tx, tenant)?;
        if errcode_is_duplicate(answer) && delivery.doubt_since.is_some() {
            // The content guard tells that an earlier attempt got through.
            delivery.doubt_since = None;
            let reason = Some("accepted by an earlier attempt".to_owned());
            self.settle_delivery(tx, notice, id, delivery, Settled::Accepted, reason);
            return Ok(());
        }
        let own = answer.errcode.is_none_or(errcode::is_too_often) || errcode_is_duplicate(answer);
        let limit = trouble::alike_limit(answer).filter(|_| !own);
        if let Some(limit) = limit
            && (trouble::failed_alike(tx, notice, answer, limit)?
                || self.is_last_attempt(tx, notice, delivery)
                    && trouble::gave_up_alike(tx, notice, answer)?)
        {
            // Nothing is counted while the notice waits for somebody to look.
            self.unsend(tx, notice, id, delivery, Unsent { due: tx.now, reason: Some(reason) });
            return Ok(());
        }
        self.failed(tx, notice, id, delivery, reason);
        if answer.errcode.is_some_and(errcode::is_too_often)
            && let Standing::Pending { due } = delivery.standing()
        {
            self.postpone(tx, id, notice, delivery, due.max(tx.now.plus(TOO_OFTEN_MS)));
        }
        Ok(())
    }

    /// The outcome of an attempt is unknown: it may have been accepted.
    pub(in crate::engine) fn doubt<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        reason: &str,
    ) {
        if delivery.doubt_since.is_none() {
            canary_doubted(notice);
        }
        delivery.doubt_since.get_or_insert(tx.unwound(delivery.started));
        delivery.failed += 1;
        let pause = DOUBT_PAUSE_MS << (delivery.failed - 1).min(5);
        let due = tx.now.plus(pause);
        if doubt::inside_window(tx, due, notice, delivery) {
            let reason = Some(format!("in doubt: {reason}"));
            self.unsend(tx, notice, id, delivery, Unsent { due, reason });
            return;
        }
        match notice.in_doubt {
            InDoubt::Hold => {
                let reason = Some(cut(reason, limits::TEXT_BYTES).to_owned());
                self.settle_delivery(tx, notice, id, delivery, Settled::InDoubt, reason);
            }
            InDoubt::Resend => self.failed_counted(tx, notice, id, delivery, reason.to_owned()),
        }
    }

    /// A failure for certain: counted, and by policy tried again or given up.
    fn failed<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        reason: String,
    ) {
        delivery.failed += 1;
        self.failed_counted(tx, notice, id, delivery, reason);
    }

    fn failed_counted<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        reason: String,
    ) {
        let policy = tx.retry_policy(notice);
        let salt = id.notice.0 ^ (u64::from(id.number) << 32);
        match policy.next_due(tx.now, delivery.failed, salt) {
            Some(due) => {
                self.unsend(tx, notice, id, delivery, Unsent { due, reason: Some(reason) })
            }
            None => {
                let to = withdrawn(delivery, Settled::Dead);
                self.settle_delivery(tx, notice, id, delivery, to, Some(reason));
            }
        }
    }

    /// Whether one more failure gives the delivery up.
    fn is_last_attempt<K: Kv>(&self, tx: &Tx<K>, notice: &Notice, delivery: &Delivery) -> bool {
        delivery.failed + 1 >= tx.retry_policy(notice).max_attempts
    }

    fn notice_refused<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        answer: &Try,
    ) -> Result<(), Fault> {
        let reason = cut(&answer.errmsg, limits::TEXT_BYTES).to_owned();
        let code = answer.errcode.unwrap_or_default();
        if self.is_own_value(tx, notice, id, delivery, answer)? {
            // The value is this recipient's own: the others are not affected, unless all are alike.
            if let Some(limit) = trouble::alike_limit(answer) {
                trouble::failed_alike(tx, notice, answer, limit)?;
            }
        } else if errcode::is_template_missing(code) {
            notice.template_misses += 1;
            if notice.template_misses < TEMPLATE_MISSES {
                self.failed(tx, notice, id, delivery, reason);
                return Ok(());
            }
            // All that are on the wire may hear the same mistake: nobody is refused for it, and
            // nothing is counted while the notice waits for somebody to look.
            pause_for(notice, code, &reason);
            let unsent = Unsent { due: tx.now, reason: Some(reason) };
            self.unsend(tx, notice, id, delivery, unsent);
            return Ok(());
        } else {
            pause_for(notice, code, &reason);
        }
        // An earlier attempt whose outcome is unknown may have been accepted before the refusal.
        let to = withdrawn(delivery, Settled::Refused);
        self.settle_delivery(tx, notice, id, delivery, to, Some(reason));
        Ok(())
    }

    fn is_own_value<K: Kv>(
        &self,
        tx: &Tx<K>,
        notice: &Notice,
        id: DeliveryId,
        delivery: &Delivery,
        answer: &Try,
    ) -> Result<bool, Fault> {
        let Some(field) = answer.field.as_deref().filter(|_| delivery.has_data) else {
            return Ok(false);
        };
        let key = keys::delivery(TenantNo(notice.tenant), id);
        let Some(bytes) = tx.store.get(Tree::Overrides, &key)? else { return Ok(false) };
        let own: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&bytes).unwrap_or_default();
        // The whole name: `thing1` is not `thing10`. A name that the provider cut short is not read.
        Ok(own.contains_key(field))
    }
}

/// Whether a try was put on the wire.
fn has_left(one: &Try) -> bool {
    one.class != Class::Unreached
}

/// An answer with its code and what that means.
fn told(answer: &Try) -> String {
    match answer.errcode {
        Some(code) => {
            format!("{code} {} ({})", answer.errmsg, errcode::meaning(code))
        }
        None => answer.errmsg.clone(),
    }
}

fn errcode_is_duplicate(answer: &Try) -> bool {
    answer.errcode.is_some_and(errcode::is_duplicate)
}

fn pause_for(notice: &mut Notice, code: i64, reason: &str) {
    notice.paused.get_or_insert_with(|| {
        format!(
            "the provider refuses it for everyone: {code} {reason} ({}). Mend it and resume, or cancel",
            errcode::meaning(code)
        )
    });
}
