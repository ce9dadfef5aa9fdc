//! What is remembered of the store so that trouble is found without walking over it: brought up to
//! date by each group's changes, and read once at the start.

use super::list::Died;
use std::collections::BTreeMap;

use crate::id::Id;
use crate::kv::{Fault, Kv, Write};
use crate::limits;
use crate::model::delivery::DeliveryState;
use crate::model::notice::{Notice, NoticeState};
use crate::model::run::{Run, RunOutcome};
use crate::store::keys::{self, DeadItem, TenantNo};
use crate::store::schema::Tree;
use crate::store::{Order, Store, codec};
use crate::text::cut;
use crate::time::Timestamp;

/// Notices that are remembered; of more, those in trouble come first.
const NOTICES: usize = 100_000;
/// Runs that are read at the start.
const RUNS: usize = 5_000;
const PAGE: usize = 1_024;

/// A notice that is not finished, or that waits for a person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::engine) struct Watched {
    pub(super) tenant: TenantNo,
    /// Why it is paused, if it is.
    pub(super) paused: Option<String>,
    /// Deliveries that wait for a person's word.
    pub(super) in_doubt: u32,
    /// When it last moved; of one in trouble about when that began.
    pub(super) moved: Timestamp,
    /// Whether nothing is left to send.
    ended: bool,
}

impl Watched {
    fn of(notice: &Notice) -> Self {
        let paused = notice.paused.as_deref().filter(|_| notice.state() == NoticeState::Paused);
        Self {
            tenant: TenantNo(notice.tenant),
            paused: paused.map(|reason| cut(reason, limits::TEXT_BYTES).to_owned()),
            in_doubt: notice.counts.of(DeliveryState::InDoubt),
            moved: notice.last_settled.unwrap_or_else(|| notice.id.made_at()),
            ended: matches!(notice.state(), NoticeState::Done | NoticeState::Cancelled),
        }
    }

    fn needs_a_person(&self) -> bool {
        self.paused.is_some() || self.in_doubt > 0
    }
}

/// How the last run of a schedule ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct LastRun {
    pub(super) id: Id,
    pub(super) outcome: RunOutcome,
    pub(super) ended: Timestamp,
    pub(super) error: Option<String>,
}

/// All that is remembered.
#[derive(Debug, Default)]
pub(in crate::engine) struct Watch {
    pub(super) notices: BTreeMap<Id, Watched>,
    pub(super) runs: BTreeMap<String, LastRun>,
    pub(super) died: Died,
}

impl Watch {
    /// Reads what an earlier process left.
    pub(in crate::engine) fn load<K: Kv>(store: &Store<K>) -> Result<Self, Fault> {
        let mut watch = Self::default();
        let mut looked = 0;
        let mut to = vec![0xff; 9];
        while looked < NOTICES {
            let rows = store.scan(Tree::Notices, &[], &to, Order::Descending, PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            to.clone_from(last);
            looked += rows.len();
            for (_, bytes) in &rows {
                // A row that cannot be read is somebody else's to tell of.
                if let Ok(notice) = codec::decode::<Notice>(bytes) {
                    watch.keep(&notice);
                }
            }
        }
        (looked, to) = (0, vec![0xff; 9]);
        while looked < RUNS {
            let rows = store.scan(Tree::Runs, &[], &to, Order::Descending, PAGE)?;
            let Some((last, _)) = rows.last() else { break };
            to.clone_from(last);
            looked += rows.len();
            for (key, bytes) in &rows {
                if let (Some(id), Ok(run)) = (keys::read_id(key), codec::decode::<Run>(bytes)) {
                    watch.keep_run(id, &run);
                }
            }
        }
        Ok(watch)
    }

    /// Takes in what a group changed, and tells what a log reader wants to know of it.
    pub(in crate::engine) fn see(
        &mut self,
        writes: &[Write],
        tenant_name: impl Fn(TenantNo) -> String,
    ) {
        for write in writes {
            let Some(tree) = Tree::from_number(write.tree.0) else { continue };
            match (tree, &write.value) {
                (Tree::Notices, Some(bytes)) => {
                    let Ok(notice) = codec::decode::<Notice>(bytes) else { continue };
                    let known = self.notices.get(&notice.id).cloned();
                    self.keep(&notice);
                    tell_notice(&notice, known.as_ref(), &tenant_name);
                }
                (Tree::Notices, None) => {
                    if let Some(id) = keys::read_id(&write.key) {
                        self.notices.remove(&id);
                    }
                }
                (Tree::Runs, Some(bytes)) => {
                    let Some(id) = keys::read_id(&write.key) else { continue };
                    let Ok(run) = codec::decode::<Run>(bytes) else { continue };
                    let was_open = self.runs.get(&run.schedule).is_none_or(|last| last.id < id);
                    self.keep_run(id, &run);
                    if was_open {
                        tell_run(id, &run);
                    }
                }
                (Tree::Dead, Some(_)) => match keys::read_dead(&write.key) {
                    Some((_, DeadItem::Task(_))) => self.died.tasks += 1,
                    Some((_, DeadItem::Delivery(..))) => self.died.deliveries += 1,
                    Some((_, DeadItem::Notice(_))) => self.died.notices += 1,
                    None => {}
                },
                _ => {}
            }
        }
    }

    /// Notices with deliveries in doubt.
    pub(in crate::engine) fn in_doubt(&self) -> Vec<(TenantNo, Id)> {
        let found = self.notices.iter().filter(|(_, it)| it.in_doubt > 0);
        found.map(|(id, it)| (it.tenant, *id)).collect()
    }

    fn keep(&mut self, notice: &Notice) {
        let watched = Watched::of(notice);
        if watched.ended && !watched.needs_a_person() || notice.is_forgotten() {
            self.notices.remove(&notice.id);
            return;
        }
        let known = self.notices.get(&notice.id);
        let room = known.is_some() || self.notices.len() < NOTICES;
        let paused_before = known.filter(|it| it.paused.is_some() == watched.paused.is_some());
        // A pause began with the change that brought it, not with what was settled since.
        let moved = match paused_before {
            Some(known) if watched.paused.is_some() => known.moved,
            _ => watched.moved,
        };
        if room || watched.needs_a_person() {
            if !room {
                let calm = self.notices.iter().find(|(_, it)| !it.needs_a_person());
                let Some(id) = calm.map(|(id, _)| *id) else { return };
                self.notices.remove(&id);
            }
            self.notices.insert(notice.id, Watched { moved, ..watched });
        }
    }

    fn keep_run(&mut self, id: Id, run: &Run) {
        let Some(ended) = run.ended else { return };
        if matches!(run.outcome, RunOutcome::Coalesced | RunOutcome::Interrupted) {
            return;
        }
        if self.runs.get(&run.schedule).is_none_or(|last| last.id <= id) {
            let error = run
                .error
                .clone()
                .or_else(|| run.counts.values().find_map(|counts| counts.error.clone()));
            let error = error.map(|error| cut(&error, limits::TEXT_BYTES).to_owned());
            let last = LastRun { id, outcome: run.outcome, ended, error };
            self.runs.insert(run.schedule.clone(), last);
        }
    }
}

fn tell_notice(notice: &Notice, known: Option<&Watched>, name: &impl Fn(TenantNo) -> String) {
    let tenant = name(TenantNo(notice.tenant));
    let was_paused = known.is_some_and(|it| it.paused.is_some());
    let counts = &notice.counts;
    let was_open = known.is_some_and(|it| !it.ended);
    match notice.state() {
        NoticeState::Paused if !was_paused => tracing::warn!(
            event = "notice.paused", notice = %notice.id, tenant,
            reason = notice.paused.as_deref().unwrap_or_default(),
            "nothing more of it is sent until it is resumed"
        ),
        NoticeState::Done if was_open => tracing::info!(
            event = "notice.done", notice = %notice.id, tenant,
            accepted = counts.of(DeliveryState::Accepted) + counts.of(DeliveryState::Delivered),
            refused = counts.of(DeliveryState::Refused),
            skipped = counts.of(DeliveryState::Skipped),
            dead = counts.of(DeliveryState::Dead),
            in_doubt = counts.of(DeliveryState::InDoubt),
            expired = notice.expired,
            "nothing of it is left to send"
        ),
        NoticeState::Cancelled if was_open => tracing::info!(
            event = "notice.cancelled", notice = %notice.id, tenant,
            "what was not sent yet is withdrawn"
        ),
        _ => {}
    }
}

fn tell_run(id: Id, run: &Run) {
    let error = run.error.as_deref().unwrap_or_default();
    match run.outcome {
        RunOutcome::Failed => tracing::warn!(
            event = "run.failed", run = %id, schedule = run.schedule, error,
            "the run did nothing, or not all of its work"
        ),
        RunOutcome::Partly => tracing::warn!(
            event = "run.partly", run = %id, schedule = run.schedule,
            "a part of it was refused and is kept: see GET /v1/dead?kind=notice"
        ),
        RunOutcome::Done => {
            tracing::debug!(event = "run.done", run = %id, schedule = run.schedule);
        }
        RunOutcome::Running | RunOutcome::Coalesced | RunOutcome::Interrupted => {}
    }
}
