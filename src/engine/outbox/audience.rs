//! Reading an audience from where it is: pages that a worker brings, or an earlier notice, step by step.
//!
//! ```text
//! submitted ─► read (at once, or when it may be sent) ─► all read ─► again when it may be sent, for newcomers
//!                 │ ▲                                      │
//!                 ▼ └─ failed: again after a while         └► nothing is left to read: the row goes
//!              refused: the notice is paused; resume reads on
//! ```
//!
//! Each portion is stored with the place to go on from, so a crash costs one portion, and who is read
//! twice has one delivery all the same.

use std::collections::BTreeMap;

use crate::engine::command::{Effect, Portion, Recipient, Reply, ResolveJob};
use crate::engine::mode::Mode;
use crate::engine::outbox::{Outbox, lane};
use crate::engine::refusal::{Code, Refusal};
use crate::engine::timer::Timer;
use crate::engine::tx::{Decision, Tx};
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::audience::{Resolution, Source, Sourcing};
use crate::model::delivery::Delivery;
use crate::model::notice::Notice;
use crate::model::retry::{Backoff, RetryPolicy};
use crate::store::keys::{self, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, codec};
use crate::text::cut;
use crate::time::{MINUTE_MS, SECOND_MS};

/// Audiences that workers read at once.
pub(in crate::engine) const AT_ONCE: usize = 8;
/// While a worker is at it, its timer is looked at this often: the worker may be gone.
const LOOK_MS: u64 = MINUTE_MS;
/// Pauses after failures: as of other requests, and never given up.
const RETRY: RetryPolicy = RetryPolicy {
    backoff: Backoff::Exponential { first_ms: SECOND_MS, max_ms: 5 * MINUTE_MS },
    max_attempts: u32::MAX,
};

impl Outbox {
    /// The next step of an audience's reading.
    pub(in crate::engine) fn resolve_step<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        leads: bool,
        id: Id,
    ) -> Result<(), Fault> {
        let Some((mut notice, mut row)) = self.being_read(tx, id)? else { return Ok(()) };
        if notice.paused.is_some() {
            // Whoever resumes it sets the timer again.
            return Ok(());
        }
        if self.resolving.contains_key(&id) {
            tx.set_timer(tx.now.plus(LOOK_MS), &Timer::Resolve(id));
            return Ok(());
        }
        let body = self.body(tx, id)?;
        let Some(sourcing) = body.sourcing.clone() else { return Ok(()) };
        if let Source::Notice { notice: of, states, errcode } = &sourcing.source {
            let (portion, last) = earlier_portion(tx, &notice, *of, states, *errcode, &row)?;
            row.found += portion.len() as u64;
            row.resume = last;
            if let Err(refusal) = self.add_read(tx, &mut notice, portion)? {
                notice.paused = Some(in_words(&refusal.detail));
            }
            let done = row.resume.is_none();
            return self.read_on(tx, notice, row, &sourcing, done);
        }
        if self.resolving.len() >= AT_ONCE || tx.mode != Mode::Working || !leads {
            tx.set_timer(tx.now.plus(SECOND_MS), &Timer::Resolve(id));
            return Ok(());
        }
        row.fence += 1;
        row.retry_at = None;
        self.resolving.insert(id, row.fence);
        tx.set_timer(tx.now.plus(LOOK_MS), &Timer::Resolve(id));
        tx.store.write(keys::id(id), &row);
        let tenant = tx.names.tenant_name(TenantNo(notice.tenant)).to_owned();
        let (fence, resume) = (row.fence, row.resume);
        let source = sourcing.source;
        tx.effects.push(Effect::Resolve(ResolveJob { notice: id, tenant, source, fence, resume }));
        Ok(())
    }

    /// A worker brings a portion. Refused when nobody waits for it any longer.
    pub(in crate::engine) fn take_portion<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        portion: Portion,
    ) -> Result<Decision, Fault> {
        let Portion { notice: id, fence, recipients, resume, expected, done } = portion;
        let gone = || Ok(Err(Refusal::new(Code::NotOpen, "nobody waits for this audience")));
        if self.resolving.get(&id) != Some(&fence) {
            return gone();
        }
        let Some((mut notice, mut row)) = self.being_read(tx, id)? else {
            self.resolving.remove(&id);
            return gone();
        };
        let total = notice.counts.total();
        row.found += recipients.len() as u64;
        row.expected = expected.or(row.expected);
        (row.failed, row.error) = (0, None);
        if let Err(refusal) = self.add_read(tx, &mut notice, recipients)? {
            self.stop_reading(tx, notice, row, &refusal.detail)?;
            return Ok(Err(refusal));
        }
        row.resume = resume;
        let added = notice.counts.total() - total;
        let total = notice.counts.total();
        let body = self.body(tx, id)?;
        if done && let Some(sourcing) = &body.sourcing {
            self.resolving.remove(&id);
            self.read_on(tx, notice, row, sourcing, true)?;
        } else {
            lane::close(tx, &mut notice)?;
            tx.store.write(keys::id(id), &row);
        }
        Ok(Ok(Reply::Added { added, known: 0, refused: None, total }))
    }

    /// A worker could not go on.
    pub(in crate::engine) fn audience_failed<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
        fence: u64,
        reason: &str,
        lasting: bool,
    ) -> Result<Decision, Fault> {
        if self.resolving.get(&id) != Some(&fence) {
            return Ok(Ok(Reply::Done));
        }
        self.resolving.remove(&id);
        let Some((notice, mut row)) = self.being_read(tx, id)? else { return Ok(Ok(Reply::Done)) };
        if lasting {
            self.stop_reading(tx, notice, row, reason)?;
            return Ok(Ok(Reply::Done));
        }
        row.failed += 1;
        row.error = Some(cut(reason, limits::TEXT_BYTES).to_owned());
        let retry_at = tx.now.plus(RETRY.pause_ms(row.failed, id.0));
        row.retry_at = Some(retry_at);
        tx.set_timer(retry_at, &Timer::Resolve(id));
        tx.store.write(keys::id(id), &row);
        tracing::warn!(
            event = "audience.failed", notice = %id, failed = row.failed, reason,
            "the audience of a notice could not be read; it is tried again"
        );
        Ok(Ok(Reply::Done))
    }

    /// Only a person can help: the notice is paused with the reason.
    fn stop_reading<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        mut notice: Notice,
        mut row: Resolution,
        reason: &str,
    ) -> Result<(), Fault> {
        self.resolving.remove(&notice.id);
        notice.paused = Some(in_words(reason));
        row.error = Some(cut(reason, limits::TEXT_BYTES).to_owned());
        row.failed += 1;
        tx.store.write(keys::id(notice.id), &row);
        lane::close(tx, &mut notice)
    }

    /// Ends a step: what comes next, and whether that was all.
    fn read_on<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        mut notice: Notice,
        mut row: Resolution,
        sourcing: &Sourcing,
        done: bool,
    ) -> Result<(), Fault> {
        let id = notice.id;
        if !done {
            tx.set_timer(tx.now.plus(1), &Timer::Resolve(id));
        } else if sourcing.newcomers && !row.again && !notice.started {
            // The second reading waits until the notice may be sent.
            notice.open = false;
            row = Resolution { again: true, fence: row.fence, ..Resolution::default() };
        } else {
            notice.open = false;
            notice.awaits = false;
            tx.store.delete(Tree::Sources, &keys::id(id));
            return lane::close(tx, &mut notice);
        }
        tx.store.write(keys::id(id), &row);
        lane::close(tx, &mut notice)
    }

    /// The notice and how far its audience is, if it is being read. What is left of one that no longer
    /// takes recipients goes.
    fn being_read<K: Kv>(
        &self,
        tx: &mut Tx<K>,
        id: Id,
    ) -> Result<Option<(Notice, Resolution)>, Fault> {
        let Some(row) = tx.store.read::<Resolution>(&keys::id(id))? else { return Ok(None) };
        let notice = tx.store.read::<Notice>(&keys::id(id))?;
        if let Some(notice) = notice
            && notice.open
            && !notice.cancelled
            && !notice.is_forgotten()
        {
            return Ok(Some((notice, row)));
        }
        tx.store.delete(Tree::Sources, &keys::id(id));
        Ok(None)
    }

    /// Adds recipients that were read. What is wrong with one is told with its place.
    fn add_read<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        notice: &mut Notice,
        recipients: Vec<Recipient>,
    ) -> Result<Result<(), Refusal>, Fault> {
        let added = self.add_all(tx, notice, recipients)?;
        Ok(match added {
            Err(refusal) | Ok((.., Some((_, refusal)))) => Err(refusal),
            Ok((_, _, None)) => Ok(()),
        })
    }
}

/// The next recipients of an earlier notice, and where to go on; `None` at the end.
fn earlier_portion<K: Kv>(
    tx: &Tx<K>,
    notice: &Notice,
    of: Id,
    states: &[crate::model::delivery::DeliveryState],
    errcode: Option<i64>,
    row: &Resolution,
) -> Result<(Vec<Recipient>, Option<String>), Fault> {
    let prefix = keys::notice_rows(TenantNo(notice.tenant), of);
    let number = row.resume.as_ref().and_then(|text| text.parse::<u32>().ok()).unwrap_or(0);
    let from = [prefix.as_slice(), &number.to_be_bytes()].concat();
    let to = keys::after_prefix(&prefix);
    let rows = tx.store.scan(Tree::Outbox, &from, &to, Order::Ascending, limits::STEP_ROWS)?;
    let mut found = Vec::new();
    let mut next = None;
    for (key, bytes) in &rows {
        let delivery: Delivery = codec::decode(bytes)?;
        next = keys::read_delivery(key).map(|(_, id)| (id.number + 1).to_string());
        let wanted = states.is_empty() || states.contains(&delivery.state());
        if wanted && errcode.is_none_or(|code| delivery.errcode == Some(code)) {
            found.push(Recipient { openid: delivery.openid, data: BTreeMap::new() });
        }
    }
    Ok((found, next.filter(|_| rows.len() == limits::STEP_ROWS)))
}

fn in_words(reason: &str) -> String {
    let reason = cut(reason, limits::TEXT_BYTES);
    format!("its audience cannot be read: {reason}. Mend it and resume, or cancel")
}
