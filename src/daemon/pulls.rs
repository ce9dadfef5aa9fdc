//! The pulls: a schedule's run fetches notices for each tenant and submits them.
//!
//! Submitting is idempotent: a notice without a key gets one made of its content, so a page that
//! failed halfway is simply taken again.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::panics;
use super::stop::{Stage, Stopping};
use crate::engine::command::{Command, NoticeDraft, PullJob, Reply};
use crate::mailbox::{CallError, Mailbox};
use crate::model::run::RunCounts;
use crate::pull::Puller;
use crate::time::Timestamp;

/// Pages of one tenant in one run: a source that never ends is a fault of the source.
const PAGES: usize = 10_000;

/// Reads a notice from JSON; what is wrong with it in words otherwise.
pub(super) type ReadNotice = fn(&serde_json::Value) -> Result<NoticeDraft, String>;

/// All pull schedules.
pub(super) struct Pulls {
    pub(super) puller: Puller,
    /// Addresses by schedule.
    pub(super) urls: BTreeMap<String, String>,
    pub(super) mailbox: Mailbox,
    pub(super) stopping: Stopping,
    pub(super) read: ReadNotice,
}

impl Pulls {
    /// Takes a run over. When the daemon stops first, the run is left as it is and taken up again
    /// after the next start.
    pub(super) fn take(self: &Arc<Self>, job: PullJob) {
        let pulls = self.clone();
        let guard = self.stopping.guard();
        panics::spawn_vital(async move {
            tokio::select! {
                () = pulls.run(job) => {}
                () = pulls.stopping.reached(Stage::Drain) => {}
            }
            drop(guard);
        });
    }

    async fn run(&self, job: PullJob) {
        let mut counts = BTreeMap::new();
        let mut failed = Vec::new();
        let url = self.urls.get(&job.schedule).map_or("", String::as_str);
        for tenant in &job.tenants {
            let mut one = RunCounts::default();
            if let Err(reason) = self.pull_tenant(url, tenant, job.last_run, &mut one).await {
                failed.push(format!("{tenant}: {reason}"));
                one.error = Some(reason);
            }
            counts.insert(tenant.clone(), one);
        }
        let error = (!failed.is_empty()).then(|| failed.join("; "));
        let _ = self.mailbox.call(Command::RunDone { run: job.run, counts, error }).await;
    }

    async fn pull_tenant(
        &self,
        url: &str,
        tenant: &str,
        last_run: Option<Timestamp>,
        counts: &mut RunCounts,
    ) -> Result<(), String> {
        let mut cursor: Option<String> = None;
        for _ in 0..PAGES {
            let page = self.puller.pull(url, tenant, last_run, cursor.as_deref()).await;
            let page = page.map_err(|error| error.reason)?;
            for notice in &page.notices {
                self.submit(tenant, notice, counts).await?;
            }
            match page.next {
                Some(next) => cursor = Some(next),
                None => return Ok(()),
            }
        }
        Err(format!("the source has more than {PAGES} pages"))
    }

    /// Submits one notice. A refused one is counted and does not stop the others.
    async fn submit(
        &self,
        tenant: &str,
        notice: &serde_json::Value,
        counts: &mut RunCounts,
    ) -> Result<(), String> {
        counts.found += 1;
        let mut notice = notice.clone();
        if let Some(fields) = notice.as_object_mut() {
            // Whoever was asked for a tenant need not repeat its name.
            fields.entry("tenant").or_insert_with(|| tenant.into());
        }
        let mut draft = match (self.read)(&notice) {
            Ok(draft) => draft,
            Err(reason) => {
                refuse(counts, reason);
                return Ok(());
            }
        };
        if draft.tenant != tenant {
            refuse(counts, format!("asked for {tenant}, got a notice of {}", draft.tenant));
            return Ok(());
        }
        if draft.key.is_none() {
            draft.key = Some(format!("pull:{:032x}", draft.fingerprint));
        }
        match self.mailbox.call(Command::SubmitNotice(Box::new(draft))).await {
            Ok(Reply::Notice { created: true, .. }) => counts.submitted += 1,
            Ok(_) => counts.known += 1,
            // Not the notice's fault: as long as the run fails, the source is asked for it again.
            Err(CallError::Refused(refusal)) if refusal.code.is_passing() => {
                return Err(refusal.detail);
            }
            Err(CallError::Refused(refusal)) => refuse(counts, refusal.detail),
            Err(CallError::Closed) => return Err("the daemon is stopping".to_owned()),
        }
        Ok(())
    }
}

fn refuse(counts: &mut RunCounts, reason: String) {
    counts.refused += 1;
    counts.error.get_or_insert(reason);
}
