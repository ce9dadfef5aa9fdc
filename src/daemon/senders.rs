//! The senders: claimed deliveries go out through their tenant's provider and come back settled.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use hyper::body::Bytes;
use tokio::sync::{Semaphore, mpsc};

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
            let SendJob { tenant, delivery, fence, body, concurrency } = job;
            let tries = senders.send(&tenant, body, concurrency).await;
            if tries.iter().flatten().any(|one| one.class == Class::Day) {
                // Full says that it is known.
                let _ = senders.used_up.try_send(tenant);
            }
            let command = match tries {
                Some(tries) => Command::SettleSend { delivery, fence, tries },
                None => Command::ReturnSend { delivery, fence },
            };
            // A closed mailbox means that the process is failing: recovery will find the claim.
            let _ = senders.mailbox.call(command).await;
            drop(guard);
        });
    }

    /// Sends. `None` when nothing was put on the wire.
    async fn send(&self, tenant: &str, body: String, concurrency: u32) -> Option<Vec<Try>> {
        let channel = self.channels.get(tenant)?;
        channel.fit(concurrency);
        let permit = tokio::select! {
            permit = channel.permits.acquire() => permit.ok()?,
            () = self.phase.reached(Phase::Draining) => return None,
        };
        if self.phase.has_reached(Phase::Draining) || !(self.may_send)(channel.timeout_ms) {
            return None;
        }
        let message = Message { body: Bytes::from(body) };
        let at = self.clock.now();
        let on_wire = AtomicBool::new(false);
        let tries = tokio::select! {
            tries = channel.provider.send_noting(&message, &on_wire) => tries,
            () = self.phase.reached(Phase::Cut) => {
                if !on_wire.load(Ordering::Relaxed) {
                    // It was still waiting for a token: there is nothing to doubt.
                    return None;
                }
                vec![self.cut_off(at)]
            }
        };
        drop(permit);
        Some(tries)
    }

    /// A try on the wire whose answer is not waited for any longer.
    fn cut_off(&self, at: Timestamp) -> Try {
        Try {
            at,
            duration_ms: self.clock.now().since(at),
            class: Class::InDoubt,
            errcode: None,
            errmsg: cut("cut off when the daemon stopped", limits::TEXT_BYTES).to_owned(),
            msgid: None,
            rid: None,
            field: None,
            response: String::new(),
        }
    }
}
