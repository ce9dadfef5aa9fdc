//! Why somebody got a message, or did not: in one sentence, with what happened.

use super::super::Engine;
use super::super::marks::mark_key;
use super::super::refusal::{Code, Refusal, not_found};
use super::super::view::{At, DeliveryText, Happening, IdText, LogEntry, WhyView, Word};
use super::super::waits::{self, Waits};
use super::page::Shown;
use crate::id::{DeliveryId, Id};
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::delivery::{Delivery, DeliveryState, Standing};
use crate::model::errcode;
use crate::model::marks::{Mark, Marked};
use crate::model::notice::{Notice, NoticeState};
use crate::store::Order;
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::text::cut;
use crate::time::Timestamp;

impl<K: Kv> Engine<K> {
    /// The notice that is asked about: by its id, or the newest that its caller calls so; rather one
    /// that has the person than one that has not.
    pub(super) fn notice_meant(
        &self,
        tenant: Option<&str>,
        openid: &str,
        notice: Option<Id>,
        reference: Option<String>,
    ) -> Result<Shown<Id>, Fault> {
        let (Some(reference), None) = (reference, notice) else {
            return Ok(Ok(notice.unwrap_or_default()));
        };
        let marked = mark_key(Marked::Notice, &Mark::Ref(reference.clone()));
        let end = keys::after_prefix(&marked);
        let found = self.tx.store.scan(
            Tree::Marks,
            &marked,
            &end,
            Order::Descending,
            limits::PAGE_ITEMS,
        )?;
        let mut newest = None;
        for (key, _) in found {
            let Some(id) = key.get(marked.len()..).and_then(keys::read_id) else { continue };
            let Some(row) = self.tx.store.read::<Notice>(&keys::id(id))? else { continue };
            let number = TenantNo(row.tenant);
            if tenant.is_some_and(|tenant| tenant != self.tx.names.tenant_name(number)) {
                continue;
            }
            let place = keys::recipient(number, id, openid);
            if self.tx.store.get(Tree::Recipients, &place)?.is_some() {
                return Ok(Ok(id));
            }
            newest.get_or_insert(id);
        }
        let none = || {
            let detail = format!("no notice is called {:?} by its caller", cut(&reference, 80));
            Refusal::new(Code::NotFound, detail)
        };
        Ok(newest.ok_or_else(none))
    }

    /// What became of a notice for one person.
    pub(super) fn why(
        &mut self,
        now: Timestamp,
        tenant: Option<&str>,
        openid: &str,
        id: Id,
    ) -> Result<Shown<WhyView>, Fault> {
        let Some(notice) = self.tx.store.read::<Notice>(&keys::id(id))? else {
            return Ok(Err(not_found("notice", id)));
        };
        let number = TenantNo(notice.tenant);
        let name = self.tx.names.tenant_name(number).to_owned();
        if tenant.is_some_and(|tenant| tenant != name) {
            let detail = format!("notice {id} is one of {name}: openids belong to one tenant");
            return Ok(Err(Refusal::field(Code::Invalid, "/tenant", detail)));
        }
        let place = self.tx.store.get(Tree::Recipients, &keys::recipient(number, id, openid))?;
        let place = place.and_then(|bytes| keys::read_u32(&bytes));
        let delivery_id = place.map(|number| DeliveryId { notice: id, number });
        let delivery = match delivery_id {
            Some(at) => self.tx.store.read::<Delivery>(&keys::delivery(number, at))?,
            None => None,
        };
        let mut timeline = notice_happened(&notice);
        let sentence = match delivery_id.zip(delivery.as_ref()) {
            None => not_asked(&notice, openid),
            Some((at, delivery)) => {
                let attempts = self.attempts_of(number, at, openid)?;
                timeline.extend(attempts.iter().map(of_attempt));
                let rest = waits::what_holds(&self.tx, now, number, notice.urgent)?;
                sentence(&notice, delivery, at, rest.as_ref())
            }
        };
        timeline.sort_by_key(|happening| happening.at.0);
        Ok(Ok(WhyView {
            sentence,
            tenant: name,
            notice: IdText(id),
            openid: openid.to_owned(),
            delivery: delivery_id.map(DeliveryText),
            state: delivery.map(|delivery| Word(delivery.state())),
            timeline,
        }))
    }
}

/// What happened to the notice as a whole.
fn notice_happened(notice: &Notice) -> Vec<Happening> {
    let mut found = vec![happening(notice.id.made_at(), "the notice was submitted".to_owned())];
    let mut also = |at: Option<Timestamp>, what: &str| {
        found.extend(at.map(|at| happening(at, what.to_owned())));
    };
    also(
        Some(notice.send_at).filter(|at| *at > notice.id.made_at()),
        "it may be sent from then on",
    );
    also(notice.expires_at, "it is not sent after that");
    also(notice.first_send, "the first of its messages was sent");
    also(notice.finished, "nothing of it was left to send");
    found
}

fn of_attempt(entry: &LogEntry) -> Happening {
    let code = match (entry.errcode, entry.meaning) {
        (Some(0), _) | (None, _) => String::new(),
        (Some(code), meaning) => format!(", {}", code_in_words(code, meaning)),
    };
    let (attempt, class, took) = (entry.attempt, entry.class.0.name(), entry.duration_ms);
    happening(entry.at.0, format!("attempt {attempt}: {class}{code}, after {took} ms"))
}

fn happening(at: Timestamp, what: String) -> Happening {
    Happening { at: At(at), what }
}

fn code_in_words(code: i64, meaning: Option<&str>) -> String {
    meaning.map_or_else(|| format!("code {code}"), |meaning| format!("code {code}: {meaning}"))
}

/// Of somebody whom the notice does not name.
fn not_asked(notice: &Notice, openid: &str) -> String {
    let (openid, total) = (cut(openid, 80), notice.counts.total());
    let more = if notice.open { " so far; recipients are still taken" } else { "" };
    format!("{openid} is not among the {total} recipients of this notice{more}: nothing is sent.")
}

/// What is to be said of a delivery.
fn sentence(notice: &Notice, delivery: &Delivery, id: DeliveryId, rest: Option<&Waits>) -> String {
    let attempt = delivery.attempt;
    let code = delivery.errcode.filter(|code| *code != 0);
    let code = code.map(|code| code_in_words(code, Some(errcode::meaning(code))));
    let why = code.or_else(|| delivery.reason.clone());
    let why = why.map_or_else(String::new, |why| format!(": {why}"));
    let since = match delivery.standing() {
        Standing::Pending { due } => return waits(notice, delivery, due, rest),
        Standing::Sending { until } => {
            return format!("Attempt {attempt} is on its way; its outcome is known by {until}.");
        }
        Standing::Settled { at, .. } => at,
    };
    match delivery.state() {
        DeliveryState::Accepted => format!(
            "WeChat took the message at {since}, attempt {attempt}; whether it was shown only a \
             receipt says."
        ),
        DeliveryState::Delivered => format!("WeChat said at {since} that it was delivered."),
        DeliveryState::Failed => format!(
            "WeChat took it and said at {since} that it was not delivered{why}. \
             POST /v1/notices/{}/resend with {{\"states\": [\"failed\"]}} tries again.",
            id.notice
        ),
        DeliveryState::Refused => format!(
            "WeChat refused it for good at {since}{why}. POST /v1/notices/{}/resend tries again.",
            id.notice
        ),
        DeliveryState::Skipped => format!("It was left out on purpose at {since}{why}."),
        DeliveryState::Dead => format!(
            "It was given up at {since} after {attempt} attempts{why}. POST /v1/dead/redrive with \
             {{\"deliveries\": [\"{id}\"]}} brings it back."
        ),
        DeliveryState::InDoubt => format!(
            "It may have been shown: attempt {attempt} had no clear answer{why}. \
             POST /v1/deliveries/{id}/resolve settles it."
        ),
        DeliveryState::Cancelled => format!("It was withdrawn at {since} before it was sent."),
        DeliveryState::Pending | DeliveryState::Sending => String::new(),
    }
}

/// Why a message is not sent yet.
fn waits(notice: &Notice, delivery: &Delivery, due: Timestamp, rest: Option<&Waits>) -> String {
    let due = due.max(notice.send_at);
    match (notice.state(), rest) {
        (NoticeState::Paused, _) => {
            let why = notice.paused.as_deref().unwrap_or("by an operator");
            format!("Not sent yet: the notice is paused: {why}. Resume it to go on.")
        }
        (NoticeState::Scheduled, _) => format!("Not sent yet: it is due at {due}."),
        (_, Some((until, why))) => {
            format!("Not sent yet: its tenant rests until {until}: {why}.")
        }
        _ if delivery.failed > 0 => {
            let code =
                delivery.errcode.map(|code| code_in_words(code, Some(errcode::meaning(code))));
            let why = code.or_else(|| delivery.reason.clone()).unwrap_or_default();
            format!("Attempt {} failed: {why}. It is tried again at {due}.", delivery.attempt)
        }
        _ => format!("Not sent yet: it waits for its turn, due since {due}."),
    }
}
