//! Changing what a notice says, for whoever has not got it yet.
//!
//! What was said before is kept with it: the send log shows each attempt as it was made.

use std::sync::Arc;

use crate::engine::command::{NoticePatch, Reply};
use crate::engine::outbox::fit::Fit;
use crate::engine::outbox::operate::{being_forgotten, wrong_state};
use crate::engine::outbox::submit::check_times;
use crate::engine::outbox::{Outbox, lane};
use crate::engine::refusal::{Code, Refusal, not_found};
use crate::engine::streaks;
use crate::engine::timer::Timer;
use crate::engine::tx::{Decision, Tx};
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::model::delivery::DeliveryState;
use crate::model::notice::{Notice, NoticeBody, SweepKind};
use crate::model::templates::Learned;
use crate::store::chunks::{delete_chunks, write_chunks};
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;

/// Largest sum of what a notice says and has said: it is read as a whole.
const MOST_BYTES: usize = 192 * 1024;

impl Outbox {
    pub(in crate::engine) fn patch_notice<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
        patch: NoticePatch,
    ) -> Result<Decision, Fault> {
        let Some(mut notice) = tx.store.read::<Notice>(&keys::id(id))? else {
            return Ok(Err(not_found("notice", id)));
        };
        if notice.is_forgotten() {
            return Ok(Err(being_forgotten(&notice)));
        }
        if notice.cancelled {
            return Ok(Err(wrong_state(&notice, "a cancelled notice stays cancelled")));
        }
        let before = self.body(tx, id)?;
        let name = patch.template.as_ref().unwrap_or(&before.template);
        let fit = match Fit::look_up(tx, TenantNo(notice.tenant), name)? {
            Ok(fit) => fit,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let body = match patched(tx, &fit, &notice, &before, &patch) {
            Ok(body) => body,
            Err(refusal) => return Ok(Err(refusal)),
        };
        let says_else = patch.says_something();
        if says_else && notice.sweep.is_some() {
            let why = "another sweep over it is under way: try again soon";
            return Ok(Err(wrong_state(&notice, why)));
        }
        if says_else && let Err(refusal) = self.say(tx, &mut notice, body)? {
            return Ok(Err(refusal));
        }
        if let Some(send_at) = patch.send_at {
            tx.clear_timer(notice.send_at, &Timer::NoticeStart(id));
            notice.send_at = send_at;
            tx.set_timer(send_at, &Timer::NoticeStart(id));
        }
        if let Some(expires_at) = patch.expires_at {
            if let Some(before) = notice.expires_at {
                tx.clear_timer(before, &Timer::NoticeExpiry(id));
            }
            notice.expires_at = Some(expires_at);
            tx.set_timer(expires_at, &Timer::NoticeExpiry(id));
        }
        if says_else {
            notice.template_misses = 0;
            streaks::forget(tx, &keys::notice_streak(id))?;
            if notice.counts.of(DeliveryState::Refused) > 0 {
                // Refused for what it said before: they are sent what it says now.
                notice.reopen(tx.now);
                self.begin_sweep(tx, &mut notice, SweepKind::Mended);
            }
        }
        lane::close(tx, &mut notice)?;
        Ok(Ok(Reply::Notice { id, state: notice.state().name(), created: false }))
    }

    /// The template's id as the configuration has it now: it may have changed since the submission.
    pub(super) fn follow_template<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        tenant: &str,
    ) -> Result<(), Fault> {
        let before = self.body(tx, notice.id)?;
        let Ok(template) = tx.template(tenant, &before.template) else { return Ok(()) };
        let key = keys::template(TenantNo(notice.tenant), &template.id);
        let learned = tx.store.read::<Learned>(&key)?;
        if let Some(since) = learned.and_then(|it| it.gone).filter(|_| notice.paused.is_none()) {
            let name = &before.template;
            notice.paused = Some(format!(
                "WeChat lists the template {name} no longer, since {since}: it was deleted, or its \
                 category was changed. Give it a new id in the configuration, or PATCH the notice to \
                 another template, and resume"
            ));
            return Ok(());
        }
        if template.id == before.template_id {
            return Ok(());
        }
        let body = NoticeBody { template_id: template.id.clone(), ..(*before).clone() };
        // One that has said too much already goes on with the id that it has.
        let _ = self.say(tx, notice, body)?;
        Ok(())
    }

    /// From now on the notice says this; what it said before stays with it.
    fn say<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        body: NoticeBody,
    ) -> Result<Result<(), Refusal>, Fault> {
        let before = self.body(tx, notice.id)?;
        let body =
            NoticeBody { since: Some(tx.now), before: Some(Box::new((*before).clone())), ..body };
        let json = serde_json::to_vec(&body).unwrap_or_default();
        if json.len() > MOST_BYTES {
            let why =
                "it was changed so often that no more is kept: cancel it and submit a new one";
            return Ok(Err(wrong_state(notice, why)));
        }
        delete_chunks(&mut tx.store, Tree::NoticeBodies, notice.id)?;
        write_chunks(&mut tx.store, Tree::NoticeBodies, notice.id, &json);
        self.forget_body(notice.id);
        self.bodies.insert(notice.id, Arc::new(body));
        notice.revision = notice.revision.saturating_add(1);
        Ok(Ok(()))
    }
}

/// What the notice says after the change, if that can be.
fn patched<K: Kv>(
    tx: &Tx<K>,
    fit: &Fit,
    notice: &Notice,
    before: &NoticeBody,
    patch: &NoticePatch,
) -> Result<NoticeBody, Refusal> {
    if patch.send_at.is_some() && notice.started {
        let detail = "it may be sent already: pause it, or leave send_at out";
        return Err(Refusal::field(Code::WrongState, "/send_at", detail));
    }
    if patch.expires_at.is_some() && notice.expired {
        let detail = "it has expired: resend what was skipped, which ends the expiry";
        return Err(Refusal::field(Code::WrongState, "/expires_at", detail));
    }
    let send_at = patch.send_at.or((!notice.started).then_some(notice.send_at));
    check_times(tx.now, patch.send_at.and(send_at), patch.expires_at, send_at)?;
    // Another template has other fields: then the values are new as a whole.
    let mut data = match &patch.template {
        Some(_) if patch.data.is_some() => std::collections::BTreeMap::new(),
        _ => before.data.clone(),
    };
    if patch.template.is_some() {
        data = fit.named_values(&data, "/data")?;
    }
    data.extend(fit.named_values(&patch.data.clone().unwrap_or_default(), "/data")?);
    Ok(NoticeBody {
        template: patch.template.clone().unwrap_or_else(|| before.template.clone()),
        template_id: fit.template_id().to_owned(),
        title: patch.title.clone().or_else(|| before.title.clone()),
        data: fit.with_defaults(data),
        url: patch.url.clone().or_else(|| before.url.clone()),
        miniprogram: patch.miniprogram.clone().or_else(|| before.miniprogram.clone()),
        ..before.clone()
    })
}
