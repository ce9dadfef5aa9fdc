//! What a submission would come to, without submitting it.

use std::collections::HashSet;

use crate::engine::allowance;
use crate::engine::command::{Audience, NoticeDraft, Recipient, Reply};
use crate::engine::outbox::Outbox;
use crate::engine::outbox::fit::Fit;
use crate::engine::outbox::plan;
use crate::engine::refusal::{Code, Refusal};
use crate::engine::tx::{Decision, Tx};
use crate::engine::view::{At, DayView, DryRunView, FindingView, Raw, View};
use crate::engine::waits;
use crate::kv::{Fault, Kv};
use crate::model::day::{next_day, shanghai_day};
use crate::model::message;
use crate::model::notice::NoticeBody;
use crate::model::rules::TenantRule;
use crate::model::templates::remarks;
use crate::model::tenant::TenantState;
use crate::store::keys::{self, TenantNo};
use crate::time::{DAY_MS, SECOND_MS, Timestamp};

/// Recipients whose messages are shown.
const SHOWN: usize = 5;
/// Days that are told one by one.
const DAYS: usize = 31;

impl Outbox {
    /// What would come of a draft.
    pub(in crate::engine) fn rehearse<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        draft: &NoticeDraft,
    ) -> Result<Decision, Fault> {
        let view = self.rehearsed(tx, draft)?;
        Ok(Ok(Reply::View(Box::new(View::DryRun(Box::new(view))))))
    }

    fn rehearsed<K: Kv>(&self, tx: &Tx<K>, draft: &NoticeDraft) -> Result<DryRunView, Fault> {
        let mut view = DryRunView { tenant: draft.tenant.clone(), ..DryRunView::default() };
        view.findings.extend(remarks(&draft.data).into_iter().map(|detail| FindingView {
            level: "warning",
            pointer: "/data".to_owned(),
            detail,
        }));
        let Some(tenant) = tx.configured_tenant(&draft.tenant) else {
            let detail = tx.no_tenant(&draft.tenant);
            return Ok(with_errors(view, &Refusal::field(Code::UnknownTenant, "/tenant", detail)));
        };
        if let Audience::Source(sourcing) = &draft.audience
            && let Err(refusal) = plan::check_source(tx, tenant, &sourcing.source)?
        {
            return Ok(with_errors(view, &refusal));
        }
        let fit = match Fit::look_up(tx, tenant, &draft.template)? {
            Ok(fit) => fit,
            Err(refusal) => return Ok(with_errors(view, &refusal)),
        };
        let (body, recipients) = match self.check_draft(tx, draft, &fit) {
            Ok(checked) => checked,
            Err(refusal) => return Ok(with_errors(view, &refusal)),
        };
        view.ok = true;
        if matches!(draft.audience, Audience::Inline(_)) {
            let different: HashSet<&str> =
                recipients.iter().map(|one| one.openid.as_str()).collect();
            view.recipients = Some(different.len());
            view.duplicates = Some(recipients.len() - different.len());
        }
        let shown = recipients.iter().take(SHOWN);
        view.rendered = shown.map(|one| Raw::or_string(rendered(&body, one))).collect();
        plan_days(tx, &mut view, tenant, draft)?;
        Ok(view)
    }
}

fn with_errors(mut view: DryRunView, refusal: &Refusal) -> DryRunView {
    let finding = |(pointer, detail): &(String, String)| FindingView {
        level: "error",
        pointer: pointer.clone(),
        detail: detail.clone(),
    };
    view.findings.extend(refusal.fields.iter().map(finding));
    if refusal.fields.is_empty() {
        let detail = refusal.detail.clone();
        view.findings.push(FindingView { level: "error", pointer: String::new(), detail });
    }
    view
}

fn rendered(body: &NoticeBody, recipient: &Recipient) -> String {
    let mut data = body.data.clone();
    data.extend(recipient.data.clone());
    let page = body.miniprogram.as_ref();
    message::render(
        &recipient.openid,
        &body.template_id,
        "dry-run",
        body.url.as_deref(),
        page.map(|page| (page.appid.as_str(), page.pagepath.as_str())),
        &data,
    )
}

/// When it would begin and end at the present rate, and what of the day's quota it would take.
fn plan_days<K: Kv>(
    tx: &Tx<K>,
    view: &mut DryRunView,
    tenant: TenantNo,
    draft: &NoticeDraft,
) -> Result<(), Fault> {
    let Some(rule) = tx.rules.tenants.get(&draft.tenant) else { return Ok(()) };
    let state = tx.store.read::<TenantState>(&keys::tenant_state(tenant))?.unwrap_or_default();
    let holds = waits::what_holds(tx, tx.now, tenant, draft.urgent)?;
    let begins = draft.send_at.unwrap_or(tx.now).max(tx.now);
    let begins = holds.map_or(begins, |(until, _)| begins.max(until));
    view.begins_at = Some(At(begins));
    let Some(requests) = view.recipients.map(|count| count as u64) else { return Ok(()) };
    view.requests = Some(requests);
    let days = days(rule, &state, begins, requests, draft.urgent, tx.now);
    let rate = u64::from(allowance::rate(rule, &state));
    if let Some((start, last)) = days.last()
        && rate > 0
    {
        let from = begins.max(*start);
        view.ends_at = Some(At(from.plus(last.saturating_mul(SECOND_MS).div_ceil(rate))));
    }
    let told = days.into_iter().take(DAYS);
    view.by_day = told.map(|(at, requests)| DayView { day: day_of(at), requests }).collect();
    Ok(())
}

/// Requests by day: when each day's begin, and how many.
fn days(
    rule: &TenantRule,
    state: &TenantState,
    begins: Timestamp,
    requests: u64,
    urgent: bool,
    now: Timestamp,
) -> Vec<(Timestamp, u64)> {
    let whole = allowance::limit_today(rule, state, now).map(|(limit, _)| limit);
    let reserve = if urgent { 0 } else { u64::from(rule.reserve) };
    let (mut left, mut at, mut found) = (requests, begins, Vec::new());
    while left > 0 && found.len() <= DAYS {
        let today = shanghai_day(at) == shanghai_day(now);
        let free = match (whole, today) {
            (None, _) => u64::MAX,
            (Some(_), true) => allowance::left_today(rule, state, now, 0)
                .map_or(u64::MAX, |(all, others)| if urgent { all } else { others }),
            (Some(limit), false) => limit.saturating_sub(reserve),
        };
        let some = left.min(free);
        if some > 0 {
            found.push((at, some));
        } else if !today {
            break;
        }
        left -= some;
        at = next_day(at);
    }
    found
}

/// The day in Shanghai.
fn day_of(at: Timestamp) -> String {
    let here = Timestamp(at.0 + DAY_MS / 3);
    here.to_string().split('T').next().unwrap_or_default().to_owned()
}
