//! Submitting notices, and fan-out: turning recipients into deliveries.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::engine::command::{Audience, NoticeDraft, Recipient, Reply};
use crate::engine::marks::note_marks;
use crate::engine::mode::Mode;
use crate::engine::outbox::fit::Fit;
use crate::engine::outbox::{Outbox, lane, plan};
use crate::engine::refusal::{Code, Refusal, key_reused, not_found};
use crate::engine::timer::Timer;
use crate::engine::tx::{Decision, Tx};
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::day::shanghai_day;
use crate::model::delivery::{Delivery, DeliveryState, KeyRow};
use crate::model::marks::Marked;
use crate::model::notice::{Awaited, Canary, Counts, Notice, NoticeBody};
use crate::store::chunks::{read_chunks, write_chunks};
use crate::store::codec;
use crate::store::keys::{self, Lane, TenantNo};
use crate::store::schema::Tree;
use crate::time::{DAY_MS, Timestamp};

/// Notice bodies kept at hand.
const BODIES: usize = 256;
/// A `send_at` further back than this is a mistake, not a late caller.
const SEND_AT_PAST_MS: u64 = DAY_MS;

/// Recipients that are new, that were there, and the first that was refused.
pub(super) type Counted = (u32, u32, Option<(usize, Refusal)>);

impl Outbox {
    pub(in crate::engine) fn submit_notice<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        draft: NoticeDraft,
    ) -> Result<Decision, Fault> {
        let Some(tenant) = tx.configured_tenant(&draft.tenant) else {
            return Ok(Err(Refusal::field(
                Code::UnknownTenant,
                "/tenant",
                tx.no_tenant(&draft.tenant),
            )));
        };
        if let Some(decision) = self.known_notice(tx, tenant, &draft)? {
            return Ok(decision);
        }
        if let Audience::Source(sourcing) = &draft.audience
            && let Err(refusal) = plan::check_source(tx, tenant, &sourcing.source)?
        {
            return Ok(Err(refusal));
        }
        let fit = match Fit::look_up(tx, tenant, &draft.template)? {
            Ok(fit) => fit,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let checked = self.check_draft(tx, &draft, &fit);
        let (body, recipients) = match checked {
            Ok(checked) => checked,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let id = tx.new_id();
        let send_at = draft.send_at.unwrap_or(tx.now);
        let mut notice = Notice {
            id,
            tenant: tenant.0,
            send_at,
            expires_at: draft.expires_at,
            in_doubt: draft.in_doubt,
            open: matches!(draft.audience, Audience::Stream),
            started: send_at <= tx.now,
            paused: draft.paused.clone(),
            cancelled: false,
            expired: false,
            counts: Counts::default(),
            lane_due: None,
            template_misses: 0,
            sweep: None,
            first_send: None,
            last_settled: None,
            finished: None,
            awaited: Awaited::default(),
            canary: draft.canary.map(Canary::begin),
            urgent: draft.urgent,
            awaits: false,
            revision: 0,
        };
        self.write_body(tx, id, &body);
        if !notice.started {
            tx.set_timer(send_at, &Timer::NoticeStart(id));
        }
        if let Some(expiry) = draft.expires_at {
            tx.set_timer(expiry, &Timer::NoticeExpiry(id));
        }
        if let Some(key) = &draft.key {
            let row = KeyRow { id, fingerprint: draft.kept(), at: tx.now };
            tx.store.write(keys::notice_key(tenant, key), &row);
        }
        note_marks(tx, Marked::Notice, id, &draft.marks);
        for recipient in &recipients {
            self.add_delivery(tx, &mut notice, recipient)?;
        }
        if let Some(sourcing) = &body.sourcing {
            self.plan_audience(tx, &mut notice, sourcing);
        }
        lane::refile(tx, &mut notice)?;
        // Nothing of it is sent before the release, whatever the notice itself allows.
        let held = tx.mode == Mode::Held;
        let state = if held { "held" } else { notice.state().name() };
        tx.store.create(Tree::Notices, keys::id(id), codec::encode(&notice));
        Ok(Ok(Reply::Notice { id, state, created: true }))
    }

    /// The answer for a key that has been used.
    fn known_notice<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        tenant: TenantNo,
        draft: &NoticeDraft,
    ) -> Result<Option<Decision>, Fault> {
        let Some(key) = &draft.key else { return Ok(None) };
        let Some(row) = tx.store.read::<KeyRow>(&keys::notice_key(tenant, key))? else {
            return Ok(None);
        };
        if let Some(since) = draft.seen_since {
            if row.at < since && shanghai_day(row.at) != shanghai_day(tx.now) {
                return Ok(None);
            }
            // A source that goes on listing it lists the same one.
            let seen = KeyRow { at: tx.now, ..row.clone() };
            tx.store.write(keys::notice_key(tenant, key), &seen);
        }
        let notice = tx.store.read::<Notice>(&keys::id(row.id))?;
        if draft.replace {
            let over = notice.as_ref().is_none_or(|it| it.cancelled || it.finished.is_some());
            return Ok(notice.filter(|_| !over).map(|notice| {
                let state = notice.state().name();
                let id = row.id;
                let detail =
                    format!("notice {id} of this key is {state}: cancel it, then submit again");
                Err(Refusal::field(Code::WrongState, "/replace", detail))
            }));
        }
        if !draft.is_same(row.fingerprint) {
            return Ok(Some(Err(key_reused(key, row.id))));
        }
        let state = notice.map_or("done", |notice| notice.state().name());
        Ok(Some(Ok(Reply::Notice { id: row.id, state, created: false })))
    }

    pub(super) fn check_draft<K: Kv>(
        &self,
        tx: &Tx<K>,
        draft: &NoticeDraft,
        fit: &Fit,
    ) -> Result<(NoticeBody, Vec<Recipient>), Refusal> {
        check_times(tx.now, draft.send_at, draft.expires_at, draft.send_at)?;
        let data = fit.notice_values(&draft.data)?;
        let Audience::Inline(recipients) = &draft.audience else {
            return Ok((body_of(draft, fit.template_id(), data), Vec::new()));
        };
        if recipients.is_empty() {
            return Err(Refusal::field(
                Code::EmptyAudience,
                "/audience/openids",
                "the audience is empty: name at least one openid, or use {\"stream\": true}",
            ));
        }
        if recipients.len() > limits::INLINE_RECIPIENTS {
            return Err(Refusal::field(
                Code::TooManyRecipients,
                "/audience/openids",
                format!(
                    "{} recipients inline, {} are allowed: use {{\"stream\": true}} and POST them \
                     to /v1/notices/{{id}}/recipients",
                    recipients.len(),
                    limits::INLINE_RECIPIENTS
                ),
            ));
        }
        let mut checked = Vec::with_capacity(recipients.len());
        for (at, recipient) in recipients.iter().enumerate() {
            let pointer = format!("/audience/openids/{at}");
            checked.push(fit.fitted(&data, recipient, &pointer)?);
        }
        Ok((body_of(draft, fit.template_id(), data), checked))
    }

    pub(in crate::engine) fn add_recipients<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
        recipients: Vec<Recipient>,
        done: bool,
    ) -> Result<Decision, Fault> {
        let Some(mut notice) = tx.store.read::<Notice>(&keys::id(id))? else {
            return Ok(Err(not_found("notice", id)));
        };
        if !notice.open || notice.cancelled {
            // Coming again is fine: the answer to the first time may have been lost.
            let says_something = done || !recipients.is_empty();
            if says_something && !notice.cancelled && self.has_all(tx, &notice, &recipients)? {
                let known = u32::try_from(recipients.len()).unwrap_or(u32::MAX);
                let total = notice.counts.total();
                return Ok(Ok(Reply::Added { added: 0, known, refused: None, total }));
            }
            return Ok(Err(Refusal::new(
                Code::NotOpen,
                format!("notice {id} is {} and takes no more recipients", notice.state().name()),
            )));
        }
        if notice.awaits {
            let detail = format!("the recipients of notice {id} come from a source of their own");
            return Ok(Err(Refusal::new(Code::NotOpen, detail)));
        }
        let (added, known, refused) = match self.add_all(tx, &mut notice, recipients)? {
            Ok(counted) => counted,
            Err(refusal) => return Ok(Err(refusal)),
        };
        if done && refused.is_none() {
            notice.open = false;
            lane::finish_if_done(tx, &mut notice);
        }
        lane::refile(tx, &mut notice)?;
        let total = notice.counts.total();
        tx.store.write(keys::id(id), &notice);
        Ok(Ok(Reply::Added { added, known, refused, total }))
    }

    /// Adds recipients up to the first that is refused: how many are new, how many were there, and
    /// which one was refused.
    pub(super) fn add_all<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        recipients: Vec<Recipient>,
    ) -> Result<Result<Counted, Refusal>, Fault> {
        let body = self.body(tx, notice.id)?;
        let fit = match Fit::look_up(tx, TenantNo(notice.tenant), &body.template)? {
            Ok(fit) => fit,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let (mut added, mut known) = (0, 0);
        for (at, recipient) in recipients.iter().enumerate() {
            if notice.counts.total() >= limits::NOTICE_RECIPIENTS {
                let detail =
                    format!("a notice has at most {} recipients", limits::NOTICE_RECIPIENTS);
                let refused = (at, Refusal::new(Code::TooManyRecipients, detail));
                return Ok(Ok((added, known, Some(refused))));
            }
            match fit.fitted(&body.data, recipient, "") {
                Ok(recipient) if self.add_delivery(tx, notice, &recipient)? => added += 1,
                Ok(_) => known += 1,
                Err(refusal) => return Ok(Ok((added, known, Some((at, refusal))))),
            }
        }
        Ok(Ok((added, known, None)))
    }

    /// Whether the notice has a delivery to each of these.
    fn has_all<K: Kv>(
        &self,
        tx: &Tx<K>,
        notice: &Notice,
        recipients: &[Recipient],
    ) -> Result<bool, Fault> {
        for recipient in recipients {
            let by_openid = keys::recipient(TenantNo(notice.tenant), notice.id, &recipient.openid);
            if tx.store.get(Tree::Recipients, &by_openid)?.is_none() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Makes the delivery of one recipient unless the notice has it. Says whether it was new.
    fn add_delivery<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        recipient: &Recipient,
    ) -> Result<bool, Fault> {
        let tenant = TenantNo(notice.tenant);
        let by_openid = keys::recipient(tenant, notice.id, &recipient.openid);
        if tx.store.get(Tree::Recipients, &by_openid)?.is_some() {
            return Ok(false);
        }
        let number = notice.counts.total() + 1;
        let key = keys::delivery(tenant, DeliveryId { notice: notice.id, number });
        let has_data = !recipient.data.is_empty();
        // `send_at` holds back the whole notice; the rows only keep their order.
        let delivery = Delivery::new(recipient.openid.clone(), tx.now, has_data);
        if has_data {
            let json = serde_json::to_vec(&recipient.data).unwrap_or_default();
            tx.store.create(Tree::Overrides, key.clone(), Arc::from(json));
        }
        tx.store.create(Tree::Recipients, by_openid, Arc::from(&number.to_be_bytes()[..]));
        tx.store.create(Tree::Outbox, key, codec::encode(&delivery));
        tx.store.delay_put(Lane::Notice(tenant, notice.id), tx.now, &number.to_be_bytes());
        notice.counts.add(DeliveryState::Pending);
        notice.finished = None;
        Ok(true)
    }

    fn write_body<K: Kv>(&mut self, tx: &mut Tx<K>, id: Id, body: &NoticeBody) {
        let json = serde_json::to_vec(body).unwrap_or_default();
        write_chunks(&mut tx.store, Tree::NoticeBodies, id, &json);
    }

    /// What a notice says.
    pub(in crate::engine) fn body<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
    ) -> Result<Arc<NoticeBody>, Fault> {
        if let Some(body) = self.bodies.get(&id) {
            return Ok(body.clone());
        }
        let json = read_chunks(&tx.store, Tree::NoticeBodies, id)?;
        let body: NoticeBody = serde_json::from_slice(&json).map_err(|error| Fault::Damaged {
            tree: Tree::NoticeBodies.name(),
            why: format!("body of notice {id}: {error}"),
        })?;
        if self.bodies.len() >= BODIES {
            self.bodies.clear();
        }
        let body = Arc::new(body);
        self.bodies.insert(id, body.clone());
        Ok(body)
    }
}

fn body_of(draft: &NoticeDraft, template_id: &str, data: BTreeMap<String, String>) -> NoticeBody {
    NoticeBody {
        template: draft.template.clone(),
        template_id: template_id.to_owned(),
        title: draft.title.clone(),
        data,
        url: draft.url.clone(),
        miniprogram: draft.miniprogram.clone(),
        canary: draft.canary,
        marks: draft.marks.clone(),
        since: None,
        before: None,
        sourcing: match &draft.audience {
            Audience::Source(sourcing) => Some(sourcing.clone()),
            Audience::Inline(_) | Audience::Stream => None,
        },
    }
}

/// Checks `send_at` and `expires_at` as given; `begins` is when it may be sent.
pub(super) fn check_times(
    now: Timestamp,
    send_at: Option<Timestamp>,
    expires_at: Option<Timestamp>,
    begins: Option<Timestamp>,
) -> Result<(), Refusal> {
    if let Some(send_at) = send_at
        && send_at < now.minus(SEND_AT_PAST_MS)
    {
        return Err(Refusal::field(
            Code::FieldInvalid,
            "/send_at",
            format!("{send_at} is more than a day ago: leave send_at out to send now"),
        ));
    }
    if let Some(expires_at) = expires_at
        && expires_at <= begins.unwrap_or(now).max(now)
    {
        return Err(Refusal::field(
            Code::FieldInvalid,
            "/expires_at",
            format!("{expires_at} is not after send_at and now: nothing could be sent"),
        ));
    }
    Ok(())
}
