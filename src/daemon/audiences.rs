//! The readers of audiences: from an address, from the account's followers, by a tag.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::panics;
use super::phase::{Phase, Phases};
use super::senders::Channel;
use crate::audience::{SourceError, Sources};
use crate::engine::command::{Command, Portion, Recipient, Reply, ResolveJob};
use crate::limits;
use crate::mailbox::{CallError, Mailbox};
use crate::model::audience::Source;
use crate::pull::Credentials;
use crate::wechat::{self, People};

/// All readers.
pub(super) struct Audiences {
    pub(super) sources: Sources,
    /// By tenant: which addresses get the headers, and the headers.
    pub(super) credentials: BTreeMap<String, (String, Credentials)>,
    pub(super) channels: BTreeMap<String, Arc<Channel>>,
    pub(super) mailbox: Mailbox,
    pub(super) phase: Phases,
}

/// Why a reading ends before its end.
enum Ended {
    /// The source, or what it brought, is wrong.
    Failed { reason: String, lasting: bool },
    /// Nobody waits for it any longer.
    NotWanted,
}

impl From<SourceError> for Ended {
    fn from(why: SourceError) -> Self {
        Self::Failed { reason: why.reason, lasting: !why.passes }
    }
}

impl From<wechat::CallError> for Ended {
    fn from(why: wechat::CallError) -> Self {
        Self::Failed { reason: why.words, lasting: !why.passes }
    }
}

impl Audiences {
    /// Takes a reading over. When the daemon stops first, it goes on after the next start where it
    /// stands.
    pub(super) fn take(self: &Arc<Self>, job: ResolveJob) {
        let readers = self.clone();
        let guard = self.phase.guard();
        panics::spawn_vital(async move {
            tokio::select! {
                () = readers.run(&job) => {}
                () = readers.phase.reached(Phase::Draining) => {}
            }
            drop(guard);
        });
    }

    async fn run(&self, job: &ResolveJob) {
        let read = match &job.source {
            Source::Url(url) => self.read_url(job, url).await,
            Source::Followers => self.read_people(job, None).await,
            Source::Tag(tag) => self.read_people(job, Some(*tag)).await,
            // The engine reads these by itself.
            Source::Notice { .. } => Ok(()),
        };
        let Err(Ended::Failed { reason, lasting }) = read else { return };
        let (notice, fence) = (job.notice, job.fence);
        let failed = Command::ResolveFailed { notice, fence, reason, lasting };
        let _ = self.mailbox.call(failed).await;
    }

    async fn read_url(&self, job: &ResolveJob, url: &str) -> Result<(), Ended> {
        let credentials = match self.credentials.get(&job.tenant) {
            Some((base, carried)) if is_under(base, url) => carried.clone(),
            Some(_) | None => Credentials::default(),
        };
        let mut reading = self.sources.open(url, job.resume.as_deref(), credentials)?;
        while let Some(portion) = reading.next().await? {
            self.bring(job, portion.recipients, portion.resume, None, false).await?;
        }
        self.bring(job, Vec::new(), None, None, true).await
    }

    async fn read_people(&self, job: &ResolveJob, tag: Option<u32>) -> Result<(), Ended> {
        let gone = || Ended::Failed { reason: "the tenant is gone".to_owned(), lasting: true };
        let provider = &self.channels.get(&job.tenant).ok_or_else(gone)?.provider;
        let mut after = job.resume.clone().unwrap_or_default();
        loop {
            let page = match tag {
                None => provider.followers(&after).await,
                Some(tag) => provider.tagged(tag, &after).await,
            };
            let People { openids, next, total } = match page {
                // Whoever the page was to begin behind has left: from the start, nobody is sent to twice.
                Err(why) if why.errcode == Some(BAD_OPENID) && !after.is_empty() => {
                    after.clear();
                    continue;
                }
                page => page?,
            };
            let mut openids = openids.into_iter().peekable();
            while openids.peek().is_some() {
                let some = openids.by_ref().take(limits::STREAM_CHUNK);
                let recipients = some.map(|openid| Recipient { openid, ..Recipient::default() });
                // The page is asked for again until all of it is stored.
                let resume = Some(after.clone()).filter(|after| !after.is_empty());
                self.bring(job, recipients.collect(), resume, total, false).await?;
            }
            match next {
                Some(next) => after = next,
                None => return self.bring(job, Vec::new(), None, total, true).await,
            }
        }
    }

    async fn bring(
        &self,
        job: &ResolveJob,
        recipients: Vec<Recipient>,
        resume: Option<String>,
        expected: Option<u64>,
        done: bool,
    ) -> Result<(), Ended> {
        let (notice, fence) = (job.notice, job.fence);
        let portion = Portion { notice, fence, recipients, resume, expected, done };
        match self.mailbox.call(Command::Resolved(portion)).await {
            Ok(Reply::Added { .. }) => Ok(()),
            Err(CallError::Refused(refusal)) if refusal.code.is_passing() => {
                Err(Ended::Failed { reason: refusal.detail, lasting: false })
            }
            // What was wrong with a recipient is told where the notice is.
            Ok(_) | Err(CallError::Refused(_) | CallError::Closed) => Err(Ended::NotWanted),
        }
    }
}

/// 40003: the openid that a page was to begin behind is no follower any more.
const BAD_OPENID: i64 = 40003;

/// Whether an address gets the headers that are for all below `base`: they are secrets, and whoever may
/// submit a notice must not lead them elsewhere.
fn is_under(base: &str, url: &str) -> bool {
    let parse = |text: &str| reqwest::Url::parse(text).ok();
    let (Some(base), Some(url)) = (parse(base), parse(url)) else { return false };
    let path = base.path().trim_end_matches('/');
    let below = url.path().strip_prefix(path);
    base.origin() == url.origin()
        && below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::is_under;

    #[test]
    fn headers_go_to_their_own_place_only() {
        let base = "http://crm.local:8080/api";
        for ours in ["http://crm.local:8080/api", "http://crm.local:8080/api/people?tag=1"] {
            assert!(is_under(base, ours), "{ours}");
        }
        for other in [
            "http://crm.local:8080/apis",
            "http://crm.local:8080/",
            "http://crm.local/api/people",
            "https://crm.local:8080/api",
            "http://crm.local.evil:8080/api",
            "http://crm.local:8080@evil/api",
            "",
        ] {
            assert!(!is_under(base, other), "{other}");
        }
    }
}
