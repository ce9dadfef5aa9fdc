//! Everything that can be asked of the engine, everything it answers, everything it sets off.

mod notice;

use std::collections::BTreeMap;

use crate::id::{DeliveryId, Id};
use crate::kv::Key;
use crate::model::attempt::Try;
use crate::model::audience::Source;
use crate::model::callback::Told;
use crate::model::delivery::Resolution;
use crate::model::marks::Marks;
use crate::model::run::RunCounts;
use crate::model::task::Terms;
use crate::model::templates::Listing;
use crate::model::tenant::StoredToken;
use crate::time::Timestamp;

pub use notice::{Act, Audience, NoticeDraft, NoticePatch, Portion, Recipient};

use super::query::asked::Query;
use super::refusal::Refusal;
use super::view::View;

/// One thing to decide. The list is closed.
#[derive(Debug)]
pub enum Command {
    /// Tell what a submission would come to.
    Rehearse(Box<NoticeDraft>),
    /// Submit a notice.
    SubmitNotice(Box<NoticeDraft>),
    /// Add recipients to an open notice.
    AddRecipients {
        /// The notice.
        notice: Id,
        /// At most [`crate::limits::STREAM_CHUNK`] of them.
        recipients: Vec<Recipient>,
        /// No more will come.
        done: bool,
    },
    /// A worker brings a portion of an audience.
    Resolved(Portion),
    /// A worker cannot go on reading an audience.
    ResolveFailed {
        /// The notice.
        notice: Id,
        /// The job's fence.
        fence: u64,
        /// Why.
        reason: String,
        /// Whether only a person can help.
        lasting: bool,
    },
    /// An operator's act on a notice.
    Act {
        /// The notice.
        notice: Id,
        /// What to do.
        act: Act,
    },
    /// Change what a notice says, or when.
    Patch {
        /// The notice.
        notice: Id,
        /// What changes.
        patch: Box<NoticePatch>,
    },
    /// An operator settles a delivery that is in doubt.
    Resolve {
        /// The delivery.
        delivery: DeliveryId,
        /// What it becomes.
        resolution: Resolution,
    },
    /// What came of a send.
    SettleSend {
        /// The delivery.
        delivery: DeliveryId,
        /// The fence of the claim it was sent under.
        fence: u64,
        /// The requests made, in order; the last one decides.
        tries: Vec<Try>,
    },
    /// A claimed delivery that was certainly not put on the wire.
    ReturnSend {
        /// The delivery.
        delivery: DeliveryId,
        /// The fence.
        fence: u64,
        /// Whether the business no longer knows its recipient.
        gone: bool,
    },
    /// WeChat told something by itself.
    TakeTold {
        /// The tenant's name.
        tenant: String,
        /// What.
        told: Told,
    },
    /// A new access token.
    SaveToken {
        /// The tenant's name.
        tenant: String,
        /// The token.
        token: StoredToken,
    },
    /// Add tasks.
    AddTasks {
        /// The tasks.
        items: Vec<TaskDraft>,
        /// All or none.
        atomic: bool,
    },
    /// Claim tasks.
    Claim(ClaimRequest),
    /// The caller of a waiting claim has gone.
    Forget(u64),
    /// Claimed tasks whose claimer never heard of it.
    Unclaim(Vec<Settlement>),
    /// Settle claimed tasks.
    Settle(Vec<Settlement>),
    /// Settle by id alone, for the paths of the old schedule service, which know no claims.
    SettleUnfenced {
        /// The task.
        task: Id,
        /// Done, or withdrawn.
        verdict: Verdict,
    },
    /// Cancel a task.
    CancelTask(Id),
    /// Change due or priority of a pending task.
    MoveTask {
        /// The task.
        task: Id,
        /// The new due time.
        due: Option<Timestamp>,
        /// The new priority.
        priority: Option<u8>,
    },
    /// Change how fast a tenant sends, until it is changed again.
    LimitTenant {
        /// The tenant's name.
        tenant: String,
        /// How fast.
        limits: TenantLimits,
    },
    /// The provider answered a question about an account.
    AccountTold {
        /// The tenant's name.
        tenant: String,
        /// What it told.
        told: AccountTold,
    },
    /// End a tenant's rest.
    ResumeTenant(String),
    /// Pause or resume a task type.
    PauseQueue {
        /// The type.
        kind: String,
        /// Whether nothing shall be handed out.
        paused: bool,
    },
    /// Drop a task type that has no tasks.
    DropQueue(String),
    /// Bring dead letters back.
    Redrive(Redrive),
    /// What came of a push.
    SettlePush {
        /// The task.
        task: Id,
        /// The fence of the claim it was pushed under.
        fence: u64,
        /// What the consumer answered.
        outcome: PushOutcome,
    },
    /// Run a schedule now.
    RunSchedule(RunNow),
    /// A pull run has ended.
    RunDone {
        /// The run.
        run: Id,
        /// What it did per tenant.
        counts: BTreeMap<String, RunCounts>,
        /// Why it failed, if it did.
        error: Option<String>,
        /// [`PullJob::whole`] of its job.
        whole: bool,
    },
    /// Keep a notice that a pull found and that was refused.
    KeepRefused(Box<RefusedNotice>),
    /// Remove such a notice.
    DropLetter(Id),
    /// Look at something.
    Query(Query),
    /// Stop handing out work: the daemon is stopping.
    Drain,
    /// Pause the unfinished notices of a copy, from this key on, before it is released.
    HoldPending {
        /// Empty to begin.
        from: Key,
    },
    /// Let a held daemon work.
    Release {
        /// Whether what was pending is held: then what pulls bring from before now is too.
        held: bool,
    },
}

/// A task as submitted.
#[derive(Clone, Debug, Default)]
pub struct TaskDraft {
    /// The type.
    pub kind: String,
    /// 0 to 255, lower first.
    pub priority: u8,
    /// Not before; now when absent.
    pub due: Option<Timestamp>,
    /// Or this long from now.
    pub delay_ms: Option<u64>,
    /// JSON text.
    pub payload: String,
    /// What goes into the row as it is.
    pub terms: Terms,
    /// What its caller calls it.
    pub marks: Marks,
    /// Take the place of a task with the same key, whatever its state, unless it is claimed.
    pub replace: bool,
    /// Fingerprint of what was submitted.
    pub fingerprint: u128,
    /// Fingerprint of what it means, however it is written; 0 when only the other one was made.
    pub meaning: u128,
}

impl TaskDraft {
    /// The fingerprint to keep with the key.
    #[must_use]
    pub fn kept(&self) -> u128 {
        if self.meaning == 0 { self.fingerprint } else { self.meaning }
    }

    /// Whether a fingerprint kept with a key, by this version or an earlier one, is of this draft.
    #[must_use]
    pub fn is_same(&self, kept: u128) -> bool {
        kept == self.kept() || kept == self.fingerprint
    }
}

/// A claim as asked for.
#[derive(Clone, Debug, Default)]
pub struct ClaimRequest {
    /// The type.
    pub kind: String,
    /// Only this priority.
    pub priority: Option<u8>,
    /// At most this many.
    pub max: usize,
    /// For how long; the type's own time when absent.
    pub ttl_ms: Option<u64>,
    /// How long to wait for work.
    pub wait_ms: u64,
    /// Names the request: while its tasks are held, the same request gets them again.
    pub request: Option<String>,
    /// Who asks.
    pub worker: Option<String>,
}

/// One task's settlement.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The task.
    pub task: Id,
    /// The claim token as given out.
    pub claim: String,
    /// What came of it.
    pub verdict: Verdict,
}

/// What a consumer says of a task.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Done.
    Ack,
    /// Failed for now; again after this delay, or as the policy says.
    Nack {
        /// The delay.
        delay_ms: Option<u64>,
        /// Why.
        reason: Option<String>,
    },
    /// Failed for good.
    Reject {
        /// Why.
        reason: Option<String>,
    },
    /// Still at it; this much longer from now.
    Extend {
        /// How long.
        ttl_ms: Option<u64>,
    },
}

/// What the provider tells of an account when it is asked.
#[derive(Clone, Debug)]
pub enum AccountTold {
    /// Sends of a day, and how many of them are used.
    Quota(u64, u64),
    /// All its templates.
    Templates(Vec<Listing>),
}

/// How fast a tenant sends; what is absent stays as it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TenantLimits {
    /// Sends per second, 0 for no limit; `Some(None)` for what is configured.
    pub rate: Option<Option<u32>>,
    /// Requests in flight; `Some(None)` for what is configured.
    pub concurrency: Option<Option<u32>>,
}

/// A run that a person wants.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RunNow {
    /// The schedule.
    pub schedule: String,
    /// Only these tenants of a pull; all when empty.
    pub tenants: Vec<String>,
    /// What is new since then, instead of since the last good run.
    pub since: Option<Timestamp>,
}

/// Which dead letters to bring back.
#[derive(Clone, Debug, Default)]
pub struct Redrive {
    /// These tasks.
    pub tasks: Vec<Id>,
    /// These deliveries.
    pub deliveries: Vec<DeliveryId>,
    /// Or all tasks of this type.
    pub kind: Option<String>,
    /// Or all deliveries of this notice.
    pub notice: Option<Id>,
    /// Or really all.
    pub all: bool,
    /// Only count them.
    pub dry_run: bool,
    /// Where to go on looking: what [`Reply::Redriven`] told; empty to begin.
    pub from: Key,
}

/// A notice that a pull found and that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RefusedNotice {
    /// The run.
    pub run: Id,
    /// Its schedule.
    pub schedule: String,
    /// The tenant that was asked for.
    pub tenant: String,
    /// The notice as it came, JSON of at most `limits::REFUSED_BYTES`.
    pub body: String,
    /// Of the body: what is kept already is not kept twice.
    pub fingerprint: u128,
    /// What is wrong with it.
    pub reason: String,
}

/// What came of a push.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PushOutcome {
    /// Done.
    Ack,
    /// The consumer will settle it over HTTP.
    Later,
    /// Failed for good.
    Reject(String),
    /// Failed for now; the consumer named the delay.
    RetryAfter(u64, String),
    /// Failed for now.
    Failed(String),
    /// It was never sent: the daemon is stopping.
    Returned,
}

/// What a command is answered.
#[derive(Debug)]
pub enum Reply {
    /// Done; nothing to say.
    Done,
    /// Some notices of a copy are held.
    Held {
        /// Where to go on; `None` at the end.
        next: Option<Key>,
    },
    /// A refused notice is kept.
    Kept {
        /// The letter's id.
        id: Id,
        /// Whether this call made it.
        created: bool,
    },
    /// A notice.
    Notice {
        /// Its id.
        id: Id,
        /// Its state's name.
        state: &'static str,
        /// Whether it was made by this call.
        created: bool,
    },
    /// Recipients of one chunk.
    Added {
        /// New deliveries.
        added: u32,
        /// Recipients that the notice had already.
        known: u32,
        /// Recipients that were refused, by position in the chunk. Those before the first refused
        /// one are stored, the others are not.
        refused: Option<(usize, Refusal)>,
        /// Deliveries of the notice now.
        total: u32,
    },
    /// How many dead letters were brought back, and where to go on if not all were looked at.
    Redriven {
        /// How many, or how many it would be.
        count: u64,
        /// For [`Redrive::from`].
        next: Option<Key>,
    },
    /// Tasks added, one verdict each.
    Tasks(Vec<Result<AddedTask, Refusal>>),
    /// Tasks claimed.
    Claimed(Vec<ClaimedTask>),
    /// Settlements, one verdict each.
    Settled(Vec<Result<Settled, Refusal>>),
    /// How a cancel went.
    Cancelled {
        /// Whether a consumer was at it.
        claimed: bool,
    },
    /// A run.
    Run(Id),
    /// What was looked at.
    View(Box<View>),
}

/// A task that was added, or was there already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AddedTask {
    /// Its id.
    pub id: Id,
    /// Whether this call made it.
    pub created: bool,
    /// Its state's name; `gone` when only its key is left of it.
    pub state: &'static str,
}

/// A settlement that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settled {
    /// The state's name now.
    pub state: &'static str,
    /// Extended: until when the claim stands. Nacked: when it is due again.
    pub at: Option<Timestamp>,
}

/// A task handed out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimedTask {
    /// Its id.
    pub id: Id,
    /// The type's name.
    pub kind: String,
    /// The claim's fence.
    pub fence: u64,
    /// The token to settle with.
    pub claim: String,
    /// The number of this attempt.
    pub attempt: u32,
    /// When it was due.
    pub due: Timestamp,
    /// When the claim runs out.
    pub until: Timestamp,
    /// Its priority.
    pub priority: u8,
    /// Its payload, JSON text.
    pub payload: String,
}

/// What the world shall do once the commit is durable.
#[derive(Debug)]
pub enum Effect {
    /// Answer a claim that waited.
    Answer {
        /// The waiter.
        waiter: u64,
        /// Its tasks, perhaps none.
        tasks: Vec<ClaimedTask>,
    },
    /// Send a delivery.
    Send(SendJob),
    /// Push a task.
    Push(ClaimedTask),
    /// Run a pull schedule.
    Pull(PullJob),
    /// Read an audience.
    Resolve(ResolveJob),
}

/// An audience to read.
#[derive(Debug)]
pub struct ResolveJob {
    /// The notice that it is of.
    pub notice: Id,
    /// The tenant's name.
    pub tenant: String,
    /// Where it is.
    pub source: Source,
    /// What comes of it is told under this.
    pub fence: u64,
    /// Where to go on.
    pub resume: Option<String>,
}

/// A delivery to send: its intent is on disk.
#[derive(Debug)]
pub struct SendJob {
    /// The tenant's name.
    pub tenant: String,
    /// The delivery.
    pub delivery: DeliveryId,
    /// The fence to settle with.
    pub fence: u64,
    /// The recipient.
    pub openid: String,
    /// The request's body.
    pub body: String,
    /// Requests in flight that the tenant may have.
    pub concurrency: u32,
}

/// A pull run to do.
#[derive(Debug)]
pub struct PullJob {
    /// When the last good run began, without the overlap.
    pub last_good: Option<Timestamp>,
    /// Why what it brings comes up paused, if it does.
    pub held: Option<String>,
    /// The run.
    pub run: Id,
    /// Its schedule.
    pub schedule: String,
    /// The tenants to ask for.
    pub tenants: Vec<String>,
    /// What `{last_run}` stands for.
    pub last_run: Option<Timestamp>,
    /// Whether it asks for all that a run of the schedule asks for: then the next one asks for what came
    /// since.
    pub whole: bool,
}
