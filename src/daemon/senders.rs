//! The senders: claimed deliveries go out through their tenant's provider and come back settled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use tokio::sync::{Semaphore, mpsc};

use super::checks::{Bound, Check};
use super::panics;
use super::phase::{Phase, Phases};
use crate::engine::command::{Command, SendJob};
use crate::limits;
use crate::mailbox::Mailbox;
use crate::model::attempt::{Class, Try};
use crate::text::cut;
use crate::time::{Clock, Timestamp};
use crate::wechat::{Message, Provider};

/// What one tenant's sends share.
pub(super) struct Channel {
    pub(super) provider: Provider,
    /// Requests in flight.
    pub(super) permits: Arc<Semaphore>,
    /// How many of them there may be at the moment.
    pub(super) most: Mutex<u32>,
    /// The longest time one send may take.
    pub(super) timeout_ms: u64,
    /// Who knows whether recipients are still bound.
    pub(super) check: Option<Check>,
}

/// What came of a job.
enum Sent {
    /// What was put on the wire, and what came back.
    Tried(Vec<Try>),
    /// Nothing was, and nothing is known.
    Unsent,
    /// Nothing was: the business no longer knows the recipient.
    Gone,
}

impl Channel {
    /// Lets so many requests be in flight from now on.
    fn fit(&self, wanted: u32) {
        let mut most = self.most.lock().unwrap_or_else(PoisonError::into_inner);
        if *most < wanted {
            self.permits.add_permits((wanted - *most) as usize);
            *most = wanted;
        } else if wanted < *most {
            // What is in flight is let go; the rest of the difference with the next send.
            let gone = self.permits.forget_permits((*most - wanted) as usize);
            *most -= u32::try_from(gone).unwrap_or(0);
        }
    }
}

/// All tenants' channels.
pub(super) struct Senders {
    pub(super) channels: BTreeMap<String, Arc<Channel>>,
    pub(super) mailbox: Mailbox,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) phase: Phases,
    /// Whether the lease lasts for a send of this many milliseconds.
    pub(super) may_send: Arc<dyn Fn(u64) -> bool + Send + Sync>,
    /// Is told of a tenant whose quota of the day is used up.
    pub(super) used_up: mpsc::Sender<String>,
}

impl Senders {
    /// Takes a job over. It ends in exactly one settlement or return, whatever happens.
    pub(super) fn take(self: &Arc<Self>, job: SendJob) {
        let senders = self.clone();
        let guard = self.phase.guard();
        panics::spawn_vital(async move {
            let (delivery, fence, tenant) = (job.delivery, job.fence, job.tenant.clone());
            let command = match senders.send(job).await {
                Sent::Tried(tries) => {
                    if tries.iter().any(|one| one.class == Class::Day) {
                        // Full says that it is known.
                        let _ = senders.used_up.try_send(tenant);
                    }
                    Command::SettleSend { delivery, fence, tries }
                }
                Sent::Unsent => Command::ReturnSend { delivery, fence, gone: false },
                Sent::Gone => Command::ReturnSend { delivery, fence, gone: true },
            };
            // A closed mailbox means that the process is failing: recovery will find the claim.
            let _ = senders.mailbox.call(command).await;
            drop(guard);
        });
    }

    async fn send(&self, job: SendJob) -> Sent {
        let Some(channel) = self.channels.get(&job.tenant) else { return Sent::Unsent };
        channel.fit(job.concurrency);
        let permit = tokio::select! {
            permit = channel.permits.acquire() => permit,
            () = self.phase.reached(Phase::Draining) => return Sent::Unsent,
        };
        let Ok(permit) = permit else { return Sent::Unsent };
        let at = self.clock.now();
        if let Some(check) = &channel.check {
            let bound = tokio::select! {
                bound = check.ask(job.delivery.notice, job.openid) => bound,
                () = self.phase.reached(Phase::Draining) => return Sent::Unsent,
            };
            match bound {
                Bound::Still => {}
                Bound::Gone => return Sent::Gone,
                Bound::Unknown(why) => {
                    return Sent::Tried(vec![self.nothing_came(at, Class::Unreached, &why)]);
                }
            }
        }
        if self.phase.has_reached(Phase::Draining) || !(self.may_send)(channel.timeout_ms) {
            return Sent::Unsent;
        }
        let message = Message { body: Bytes::from(job.body) };
        let at = self.clock.now();
        let on_wire = AtomicBool::new(false);
        let tries = tokio::select! {
            tries = channel.provider.send_noting(&message, &on_wire) => tries,
            () = self.phase.reached(Phase::Cut) => {
                if !on_wire.load(Ordering::Relaxed) {
                    // It was still waiting for a token: there is nothing to doubt.
                    return Sent::Unsent;
                }
                vec![self.nothing_came(at, Class::InDoubt, "cut off when the daemon stopped")]
            }
        };
        drop(permit);
        Sent::Tried(tries)
    }

    /// A try without an answer.
    fn nothing_came(&self, at: Timestamp, class: Class, why: &str) -> Try {
        Try {
            at,
            duration_ms: self.clock.now().since(at),
            class,
            errcode: None,
            errmsg: cut(why, limits::TEXT_BYTES).to_owned(),
            msgid: None,
            rid: None,
            field: None,
            response: String::new(),
        }
    }
}
