//! The pulls: a schedule's run fetches notices for each tenant and submits them.
//!
//! Submitting is idempotent: a notice without a key gets one made of its content, so a page that
//! failed halfway is simply taken again, and so is what the overlap of two runs brings twice. The same
//! content on another day is another notice. A notice that is refused is kept as a dead letter.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::panics;
use super::phase::{Phase, Phases};
use crate::api::bodies::notice::read_pulled;
use crate::engine::command::{Audience, Command, NoticeDraft, PullJob, RefusedNotice, Reply};
use crate::limits;
use crate::mailbox::{CallError, Mailbox};
use crate::model::run::RunCounts;
use crate::pull::{Credentials, Puller};
use crate::time::{Clock, HOUR_MS, SystemClock, Timestamp};

/// Pages of one tenant in one run: a source that never ends is a fault of the source.
const PAGES: usize = 10_000;

/// All pull schedules.
pub(super) struct Pulls {
    pub(super) puller: Puller,
    /// Addresses by schedule, and what the requests carry.
    pub(super) sources: BTreeMap<String, (String, Credentials)>,
    pub(super) mailbox: Mailbox,
    pub(super) phase: Phases,
}

impl Pulls {
    /// Takes a run over. When the daemon stops first, the run is left as it is and taken up again
    /// after the next start.
    pub(super) fn take(self: &Arc<Self>, job: PullJob) {
        let pulls = self.clone();
        let guard = self.phase.guard();
        panics::spawn_vital(async move {
            tokio::select! {
                () = pulls.run(job) => {}
                () = pulls.phase.reached(Phase::Draining) => {}
            }
            drop(guard);
        });
    }

    async fn run(&self, job: PullJob) {
        let mut counts = BTreeMap::new();
        let mut failed = Vec::new();
        let none = (String::new(), Credentials::default());
        let (url, credentials) = self.sources.get(&job.schedule).unwrap_or(&none);
        for tenant in &job.tenants {
            let mut one = RunCounts::default();
            if let Err(reason) = self.pull_tenant((url, credentials), tenant, &job, &mut one).await
            {
                failed.push(format!("{tenant}: {reason}"));
                one.error = Some(reason);
            }
            counts.insert(tenant.clone(), one);
        }
        let error = (!failed.is_empty()).then(|| failed.join("; "));
        let (run, whole) = (job.run, job.whole);
        let _ = self.mailbox.call(Command::RunDone { run, counts, error, whole }).await;
    }

    async fn pull_tenant(
        &self,
        (url, credentials): (&str, &Credentials),
        tenant: &str,
        job: &PullJob,
        counts: &mut RunCounts,
    ) -> Result<(), String> {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let page = self.puller.pull(url, tenant, job.last_run, cursor.as_deref(), credentials);
            let page = page.await;
            let page = page.map_err(|error| error.reason)?;
            for notice in &page.notices {
                self.submit(tenant, notice, job, counts).await?;
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
        Err(format!("the source has more than {PAGES} pages"))
    }

    /// Submits one notice. A refused one is kept and does not stop the others.
    async fn submit(
        &self,
        tenant: &str,
        notice: &serde_json::Value,
        job: &PullJob,
        counts: &mut RunCounts,
    ) -> Result<(), String> {
        counts.found += 1;
        let reason = match self.draft(tenant, notice, job) {
            Ok(draft) => match self.mailbox.call(Command::SubmitNotice(Box::new(draft))).await {
                Ok(Reply::Notice { created: true, .. }) => {
                    counts.submitted += 1;
                    return Ok(());
                }
                Ok(_) => {
                    counts.known += 1;
                    return Ok(());
                }
                // Not the notice's fault: as long as the run fails, the source is asked for it again.
                Err(CallError::Refused(refusal)) if refusal.code.is_passing() => {
                    return Err(refusal.detail);
                }
                Err(CallError::Refused(refusal)) => refusal.detail,
                Err(CallError::Closed) => return Err("the daemon is stopping".to_owned()),
            },
            Err(reason) => reason,
        };
        self.keep(tenant, notice, job, counts, reason).await
    }

    /// A notice as it is submitted, or why it cannot be.
    fn draft(
        &self,
        tenant: &str,
        notice: &serde_json::Value,
        job: &PullJob,
    ) -> Result<NoticeDraft, String> {
        let mut notice = notice.clone();
        if let Some(fields) = notice.as_object_mut() {
            // Whoever was asked for a tenant need not repeat its name.
            fields.entry("tenant").or_insert_with(|| tenant.into());
        }
        let mut draft = read_pulled(&notice)?;
        if draft.tenant != tenant {
            return Err(format!("asked for {tenant}, got a notice of {}", draft.tenant));
        }
        if matches!(draft.audience, Audience::Stream) {
            return Err("audience: a pull cannot stream recipients; give openids".to_owned());
        }
        let now = SystemClock.now();
        // Late is late and never refused: the source was not asked in time.
        draft.send_at = draft.send_at.filter(|at| *at > now);
        draft.paused.clone_from(&job.held);
        if draft.key.is_none() {
            draft.key = Some(format!("pull:{:032x}", draft.fingerprint));
            draft.seen_since = Some(seen_since(now, job));
        }
        Ok(draft)
    }

    /// Keeps a refused notice, whole, where it can be mended and submitted.
    async fn keep(
        &self,
        tenant: &str,
        notice: &serde_json::Value,
        job: &PullJob,
        counts: &mut RunCounts,
        reason: String,
    ) -> Result<(), String> {
        let body = notice.to_string();
        if body.len() > limits::REFUSED_BYTES || counts.refused >= limits::REFUSED_OF_A_RUN {
            return Err(format!("more was refused than is kept; the first: {reason}"));
        }
        tracing::warn!(
            event = "pull.refused", schedule = job.schedule, run = %job.run, tenant, reason,
            "a pulled notice was refused and kept: GET /v1/dead?kind=notice shows it"
        );
        let refused = RefusedNotice {
            run: job.run,
            schedule: job.schedule.clone(),
            tenant: tenant.to_owned(),
            fingerprint: fingerprint(&body),
            body,
            reason: reason.clone(),
        };
        match self.mailbox.call(Command::KeepRefused(Box::new(refused))).await {
            Ok(Reply::Kept { created: false, .. }) => counts.known += 1,
            Ok(_) => {
                counts.refused += 1;
                counts.error.get_or_insert(reason);
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(())
    }
}

/// Longest pause between two runs after which the same content may still be the same notice.
const LONG_PAUSE_MS: u64 = 12 * HOUR_MS;

/// What was last seen before this was not brought again by the overlap of two runs.
fn seen_since(now: Timestamp, job: &PullJob) -> Timestamp {
    let overlap = match (job.last_good, job.last_run) {
        (Some(good), Some(asked)) => good.since(asked),
        _ => 0,
    };
    let pause = job.last_good.map_or(0, |good| now.since(good)).min(LONG_PAUSE_MS);
    now.minus(pause + overlap)
}

fn fingerprint(body: &str) -> u128 {
    use sha2::{Digest, Sha256};
    let hash = Sha256::digest(body.as_bytes());
    hash.iter().take(16).fold(0, |number, byte| number << 8 | u128::from(*byte))
}
