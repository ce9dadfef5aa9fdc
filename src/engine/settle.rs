//! What an answer of the provider does to the delivery, its notice and its tenant.
//!
//! | class | delivery | notice | tenant |
//! |---|---|---|---|
//! | ok, review | accepted | | refusals forgotten |
//! | retry | pending again by policy, or dead | | 45011: rests a minute |
//! | recipient | refused | | |
//! | notice | refused | paused | |
//! | no such template | pending again | after several in a row: paused | |
//! | token, tenant | pending again, no failure counted | | rests, longer each time |
//! | day | pending again, no failure counted | | rests until tomorrow in Shanghai |
//! | unreached | pending again, no attempt counted | | rests, see `trouble` |
//! | in doubt | pending again inside the dedupe window, else as the notice says | | after many in a row: rests |
//!
//! Retries that fail alike for everybody pause the notice, see `trouble`.

use super::act::Unsent;
use super::command::Reply;
use super::outbox::withdrawn;
use super::{Decision, Engine, Identity};
use crate::id::DeliveryId;
use crate::kv::{Fault, Kv, Tree};
use crate::limits;
use crate::model::attempt::{Class, Try};
use crate::model::delivery::{Delivery, DeliveryState, Entry, Settled, Standing};
use crate::model::errcode;
use crate::model::notice::{InDoubt, Notice};
use crate::store::codec;
use crate::store::keys::{self, TenantNo};
use crate::text::cut;
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};

/// Template codes in a row that pause a notice: the provider answers them by mistake now and then.
const TEMPLATE_MISSES: u32 = 5;
/// Pauses between attempts that are in doubt: short, since the window is.
const DOUBT_PAUSE_MS: u64 = 2 * SECOND_MS;
/// The least pause for a recipient who had too many messages.
const TOO_OFTEN_MS: u64 = 30 * MINUTE_MS;

impl<K: Kv> Engine<K> {
    pub(super) fn settle_send(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        fence: u64,
        tries: Vec<Try>,
    ) -> Result<Decision, Fault> {
        let Some((mut notice, mut delivery)) = self.claimed_delivery(id, fence)? else {
            self.settle_late(now, id, fence, &tries)?;
            return Ok(Ok(Reply::Done));
        };
        let left = tries.iter().filter(|one| has_left(one)).count();
        if left == 0 {
            // Nobody heard of it: the next one has its number.
            delivery.attempt = delivery.attempt.saturating_sub(1);
        }
        for one in tries.iter().filter(|one| has_left(one)) {
            self.log(now, &notice, id, &delivery, one, None)?;
        }
        if let Some(last) = tries.last() {
            self.count_requests(now, TenantNo(notice.tenant), left)?;
            self.decide(now, &mut notice, id, &mut delivery, last)?;
        } else {
            self.unsend(now, &mut notice, id, &mut delivery, Unsent { due: now, reason: None });
        }
        notice.last_settled = Some(now);
        self.finish_if_done(now, &mut notice);
        self.refile(now, &mut notice)?;
        self.store.write(keys::id(id.notice), &notice);
        Ok(Ok(Reply::Done))
    }

    /// An answer to a claim that ran out and was settled as in doubt. It belongs in the log, and an
    /// acceptance ends the doubt unless the delivery is being sent again.
    fn settle_late(
        &mut self,
        now: Timestamp,
        id: DeliveryId,
        fence: u64,
        tries: &[Try],
    ) -> Result<(), Fault> {
        let Some(mut notice) = self.store.read::<Notice>(&keys::id(id.notice))? else {
            return Ok(());
        };
        let tenant = TenantNo(notice.tenant);
        let Some(mut delivery) = self.store.read::<Delivery>(&keys::delivery(tenant, id))? else {
            return Ok(());
        };
        let mut then = delivery.clone();
        let since = u32::try_from(delivery.fence.saturating_sub(fence)).unwrap_or(u32::MAX);
        then.attempt = delivery.attempt.saturating_sub(since).max(1);
        for one in tries.iter().filter(|one| has_left(one)) {
            self.log(now, &notice, id, &then, one, None)?;
        }
        let Some(last) = tries.last() else { return Ok(()) };
        self.count_requests(now, tenant, tries.iter().filter(|one| has_left(one)).count())?;
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
            | DeliveryState::Cancelled => false,
        };
        if !(accepted && doubted) {
            return Ok(());
        }
        delivery.doubt_since = None;
        delivery.errcode = last.errcode;
        delivery.msgid.clone_from(&last.msgid);
        let reason = Some("its answer came late".to_owned());
        self.settle_delivery(now, &mut notice, id, &mut delivery, Settled::Accepted, reason);
        notice.last_settled = Some(now);
        self.finish_if_done(now, &mut notice);
        self.refile(now, &mut notice)?;
        self.store.write(keys::id(id.notice), &notice);
        Ok(())
    }

    fn decide(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        answer: &Try,
    ) -> Result<(), Fault> {
        let tenant = TenantNo(notice.tenant);
        let reason = cut(&answer.errmsg, limits::TEXT_BYTES).to_owned();
        if has_left(answer) {
            delivery.errcode = answer.errcode;
        }
        match answer.class {
            Class::Ok | Class::Review => {
                delivery.msgid.clone_from(&answer.msgid);
                delivery.doubt_since = None;
                notice.template_misses = 0;
                self.forget_streak(&keys::notice_streak(notice.id))?;
                self.answered(now, tenant)?;
                let reason = (answer.class == Class::Review).then(|| "in platform review".into());
                self.settle_delivery(now, notice, id, delivery, Settled::Accepted, reason);
            }
            Class::Retry => self.retry(now, notice, id, delivery, answer)?,
            Class::Recipient => {
                self.answered(now, tenant)?;
                if let Some(limit) = Self::alike_limit(answer) {
                    self.failed_alike(notice, answer, limit)?;
                }
                self.settle_delivery(now, notice, id, delivery, Settled::Refused, Some(reason));
            }
            Class::Notice => {
                self.answered(now, tenant)?;
                self.notice_refused(now, notice, id, delivery, answer)?;
            }
            Class::Token | Class::Tenant => {
                self.refuse_tenant(now, tenant, &told(answer))?;
                self.unsend(now, notice, id, delivery, Unsent { due: now, reason: Some(reason) });
            }
            Class::Day => {
                self.day_is_over(now, tenant)?;
                self.unsend(now, notice, id, delivery, Unsent { due: now, reason: Some(reason) });
            }
            Class::Unreached => {
                self.unreached(now, tenant, answer)?;
                self.unsend(now, notice, id, delivery, Unsent { due: now, reason: Some(reason) });
            }
            Class::InDoubt => {
                let failed = delivery.failed;
                let rests = self.unsure(now, notice, answer)?;
                self.doubt(now, notice, id, delivery, &reason);
                if rests && delivery.state() == DeliveryState::Pending {
                    delivery.failed = failed;
                    self.store.write(keys::delivery(tenant, id), delivery);
                }
            }
        }
        Ok(())
    }

    /// The provider did not take it, for now.
    fn retry(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        answer: &Try,
    ) -> Result<(), Fault> {
        let tenant = TenantNo(notice.tenant);
        let reason = cut(&answer.errmsg, limits::TEXT_BYTES).to_owned();
        if answer.errcode.is_some_and(errcode::is_minute_limit) {
            let rest = now.plus(MINUTE_MS);
            self.hold(tenant, rest, "the provider's limit per minute is reached")?;
            let unsent = Unsent { due: rest, reason: Some(reason) };
            self.unsend(now, notice, id, delivery, unsent);
            return Ok(());
        }
        self.answered(now, tenant)?;
        if errcode_is_duplicate(answer) && delivery.doubt_since.is_some() {
            // The content guard tells that an earlier attempt got through.
            delivery.doubt_since = None;
            let reason = Some("accepted by an earlier attempt".to_owned());
            self.settle_delivery(now, notice, id, delivery, Settled::Accepted, reason);
            return Ok(());
        }
        let own = answer.errcode.is_none_or(errcode::is_too_often) || errcode_is_duplicate(answer);
        let limit = Self::alike_limit(answer).filter(|_| !own);
        if let Some(limit) = limit
            && (self.failed_alike(notice, answer, limit)?
                || self.is_last_attempt(notice, delivery) && self.gave_up_alike(notice, answer)?)
        {
            // Nothing is counted while the notice waits for somebody to look.
            self.unsend(now, notice, id, delivery, Unsent { due: now, reason: Some(reason) });
            return Ok(());
        }
        self.failed(now, notice, id, delivery, reason);
        if answer.errcode.is_some_and(errcode::is_too_often)
            && let Standing::Pending { due } = delivery.standing()
        {
            self.postpone(id, notice, delivery, due.max(now.plus(TOO_OFTEN_MS)));
        }
        Ok(())
    }

    /// The outcome of an attempt is unknown: it may have been accepted.
    pub(super) fn doubt(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        reason: &str,
    ) {
        delivery.doubt_since.get_or_insert(self.unwound(delivery.started));
        delivery.failed += 1;
        let pause = DOUBT_PAUSE_MS << (delivery.failed - 1).min(5);
        let due = now.plus(pause);
        if self.inside_window(due, notice, delivery) {
            let reason = Some(format!("in doubt: {reason}"));
            self.unsend(now, notice, id, delivery, Unsent { due, reason });
            return;
        }
        match notice.in_doubt {
            InDoubt::Hold => {
                let reason = Some(cut(reason, limits::TEXT_BYTES).to_owned());
                self.settle_delivery(now, notice, id, delivery, Settled::InDoubt, reason);
            }
            InDoubt::Resend => self.failed_counted(now, notice, id, delivery, reason.to_owned()),
        }
    }

    /// Whether an attempt that begins at `due` would still be recognised by the provider as a
    /// repetition of the first one in doubt.
    fn inside_window(&self, due: Timestamp, notice: &Notice, delivery: &Delivery) -> bool {
        let Some(since) = delivery.doubt_since else { return true };
        let timeout_ms = self.send_timeout_ms(notice);
        let margin = limits::DEDUPE_MARGIN_MS.max(2 * timeout_ms);
        let usable = limits::DEDUPE_WINDOW_MS.saturating_sub(margin);
        let due = self.unwound(due);
        since <= due && due.since(since) < usable
    }

    fn send_timeout_ms(&self, notice: &Notice) -> u64 {
        let name = self.names.tenant_name(TenantNo(notice.tenant));
        self.rules.tenants.get(name).map_or(10 * SECOND_MS, |rule| rule.send_timeout_ms)
    }

    /// Whether a pending delivery may no longer be sent because an earlier attempt of it may have
    /// been accepted too long ago.
    pub(super) fn doubt_is_over(
        &self,
        now: Timestamp,
        notice: &Notice,
        delivery: &Delivery,
    ) -> bool {
        if self.inside_window(now, notice, delivery) {
            return false;
        }
        match notice.in_doubt {
            InDoubt::Hold => true,
            InDoubt::Resend => false,
        }
    }

    /// A failure for certain: counted, and by policy tried again or given up.
    fn failed(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        reason: String,
    ) {
        delivery.failed += 1;
        self.failed_counted(now, notice, id, delivery, reason);
    }

    fn failed_counted(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        reason: String,
    ) {
        let policy = self.retry_policy(notice);
        let salt = id.notice.0 ^ (u64::from(id.number) << 32);
        match policy.next_due(now, delivery.failed, salt) {
            Some(due) => {
                self.unsend(now, notice, id, delivery, Unsent { due, reason: Some(reason) })
            }
            None => {
                let to = withdrawn(delivery, Settled::Dead);
                self.settle_delivery(now, notice, id, delivery, to, Some(reason));
            }
        }
    }

    fn retry_policy(&self, notice: &Notice) -> crate::model::retry::RetryPolicy {
        let name = self.names.tenant_name(TenantNo(notice.tenant));
        let policy = self.rules.tenants.get(name).map(|rule| rule.retry.clone());
        policy.unwrap_or_else(crate::model::retry::RetryPolicy::deliveries)
    }

    /// Whether one more failure gives the delivery up.
    fn is_last_attempt(&self, notice: &Notice, delivery: &Delivery) -> bool {
        delivery.failed + 1 >= self.retry_policy(notice).max_attempts
    }

    fn notice_refused(
        &mut self,
        now: Timestamp,
        notice: &mut Notice,
        id: DeliveryId,
        delivery: &mut Delivery,
        answer: &Try,
    ) -> Result<(), Fault> {
        let reason = cut(&answer.errmsg, limits::TEXT_BYTES).to_owned();
        let code = answer.errcode.unwrap_or_default();
        if self.is_own_value(notice, id, delivery, answer)? {
            // The value is this recipient's own: the others are not affected, unless all are alike.
            if let Some(limit) = Self::alike_limit(answer) {
                self.failed_alike(notice, answer, limit)?;
            }
        } else if errcode::is_template_missing(code) {
            notice.template_misses += 1;
            if notice.template_misses < TEMPLATE_MISSES {
                self.failed(now, notice, id, delivery, reason);
                return Ok(());
            }
            // All that are on the wire may hear the same mistake: nobody is refused for it, and
            // nothing is counted while the notice waits for somebody to look.
            pause_for(notice, code, &reason);
            let unsent = Unsent { due: now, reason: Some(reason) };
            self.unsend(now, notice, id, delivery, unsent);
            return Ok(());
        } else {
            pause_for(notice, code, &reason);
        }
        // An earlier attempt whose outcome is unknown may have been accepted before the refusal.
        let to = withdrawn(delivery, Settled::Refused);
        self.settle_delivery(now, notice, id, delivery, to, Some(reason));
        Ok(())
    }

    fn is_own_value(
        &self,
        notice: &Notice,
        id: DeliveryId,
        delivery: &Delivery,
        answer: &Try,
    ) -> Result<bool, Fault> {
        let Some(field) = answer.field.as_deref().filter(|_| delivery.has_data) else {
            return Ok(false);
        };
        let key = keys::delivery(TenantNo(notice.tenant), id);
        let Some(bytes) = self.store.get(Tree::Overrides, &key)? else { return Ok(false) };
        let own: serde_json::Map<String, serde_json::Value> =
            serde_json::from_slice(&bytes).unwrap_or_default();
        // The whole name: `thing1` is not `thing10`. A name that the provider cut short is not read.
        Ok(own.contains_key(field))
    }

    fn log(
        &mut self,
        now: Timestamp,
        notice: &Notice,
        id: DeliveryId,
        delivery: &Delivery,
        one: &Try,
        sender: Option<&Identity>,
    ) -> Result<(), Fault> {
        let sender = sender.unwrap_or(&self.identity);
        let entry = Entry {
            tenant: notice.tenant,
            delivery: id,
            openid: delivery.openid.clone(),
            attempt: delivery.attempt,
            at: one.at,
            duration_ms: one.duration_ms,
            class: one.class,
            errcode: one.errcode,
            errmsg: cut(&one.errmsg, limits::TEXT_BYTES).to_owned(),
            msgid: one.msgid.clone(),
            rid: one.rid.clone(),
            response: cut(&one.response, limits::ANSWER_BYTES).to_owned(),
            worker: sender.worker.clone(),
            term: sender.term,
        };
        let entry_id = self.new_id(now);
        let tenant = TenantNo(notice.tenant);
        let empty: crate::kv::Value = std::sync::Arc::from(&[][..]);
        let mut prefixes =
            vec![keys::log_by_openid(tenant, &entry.openid), keys::log_by_notice(id.notice)];
        if let Some(code) = entry.errcode.filter(|code| *code != 0) {
            prefixes.push(keys::log_by_errcode(tenant, code));
        }
        for prefix in prefixes {
            self.store.create(Tree::LogIndex, keys::with_id(prefix, entry_id), empty.clone());
        }
        self.store.create(Tree::SendLog, keys::id(entry_id), codec::encode(&entry));
        Ok(())
    }

    /// Logs an attempt whose answer nobody will ever have. `sender` is who made it, if not this
    /// process.
    pub(super) fn log_lost(
        &mut self,
        now: Timestamp,
        notice: &Notice,
        id: DeliveryId,
        delivery: &Delivery,
        why: &str,
        sender: Option<&Identity>,
    ) -> Result<(), Fault> {
        let lost = Try {
            at: delivery.started,
            duration_ms: 0,
            class: Class::InDoubt,
            errcode: None,
            errmsg: why.to_owned(),
            msgid: None,
            rid: None,
            field: None,
            response: String::new(),
        };
        self.log(now, notice, id, delivery, &lost, sender)
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
