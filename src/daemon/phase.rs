//! How far the process has come: one value, which the admin port, the workers and the duties all see.
//!
//! Stopping is its second half:
//!
//! 1. `Draining`: nothing new begins; what has not touched the network goes back unharmed.
//! 2. `Cut`: the deadline is over; what is still on the wire is recorded as in doubt.
//! 3. All guards are dropped: everything under way has been settled.
//! 4. `Closing`: the writer ends and the base is closed.

use std::sync::Arc;

use tokio::sync::watch;

use crate::admin::Role;

/// Where a process is in its life, in order. Only a standby that takes over goes back, to the start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Phase {
    /// Looking for the lease, opening the store.
    Starting,
    /// Another process leads.
    Standby,
    /// Leading a copy that nobody has released.
    Held,
    /// Leading.
    Working,
    /// Nothing new begins.
    Draining,
    /// What is on the wire is cut off.
    Cut,
    /// The writer has ended, or is about to.
    Closing,
}

impl Phase {
    /// What the process is to those who ask it.
    #[must_use]
    pub fn role(self) -> Role {
        match self {
            Self::Starting => Role::Starting,
            Self::Standby => Role::Standby,
            Self::Held => Role::Held,
            Self::Working => Role::Leader,
            Self::Draining | Self::Cut | Self::Closing => Role::Draining,
        }
    }
}

/// Sees the phase, and is waited for while at work. Cheap to clone.
#[derive(Clone)]
pub struct Phases {
    now: watch::Receiver<Phase>,
    guards: Arc<watch::Sender<usize>>,
}

/// Held by whatever must be waited for.
pub struct Guard {
    guards: Arc<watch::Sender<usize>>,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.guards.send_modify(|count| *count -= 1);
    }
}

/// Whoever decides the phase has this.
pub struct PhaseOut {
    now: watch::Sender<Phase>,
    guards: Arc<watch::Sender<usize>>,
}

impl Default for PhaseOut {
    fn default() -> Self {
        Self { now: watch::Sender::new(Phase::Starting), guards: Arc::new(watch::Sender::new(0)) }
    }
}

impl PhaseOut {
    /// Enters a phase. From stopping nothing leads back.
    pub fn enter(&self, phase: Phase) {
        self.now.send_if_modified(|now| {
            let goes_on = *now < Phase::Draining || *now < phase;
            let changes = goes_on && *now != phase;
            if changes {
                *now = phase;
            }
            changes
        });
    }

    /// The phase now.
    #[must_use]
    pub fn now(&self) -> Phase {
        *self.now.borrow()
    }

    /// For those who go by it.
    #[must_use]
    pub fn seen(&self) -> Phases {
        Phases { now: self.now.subscribe(), guards: self.guards.clone() }
    }

    /// Resolves when no [`Guard`] is held.
    pub async fn all_gone(&self) {
        let _ = self.guards.subscribe().wait_for(|count| *count == 0).await;
    }
}

impl Phases {
    /// Whether this phase has come.
    #[must_use]
    pub fn has_reached(&self, phase: Phase) -> bool {
        phase <= *self.now.borrow()
    }

    /// Resolves when this phase has come.
    pub async fn reached(&self, phase: Phase) {
        let mut seen = self.now.clone();
        // Whoever decided it is gone: the process is ending, and that is every phase at once.
        let _ = seen.wait_for(|now| phase <= *now).await;
    }

    /// Something to hold while at work.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guards.send_modify(|count| *count += 1);
        Guard { guards: self.guards.clone() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn guards_are_waited_for() {
        let phase = PhaseOut::default();
        let seen = phase.seen();
        let guard = seen.guard();
        let waits = seen.clone();
        let worker = tokio::spawn(async move {
            waits.reached(Phase::Draining).await;
            drop(guard);
        });
        phase.enter(Phase::Working);
        assert!(!seen.has_reached(Phase::Draining));
        phase.enter(Phase::Draining);
        assert!(seen.has_reached(Phase::Draining) && !seen.has_reached(Phase::Cut));
        phase.enter(Phase::Working);
        assert_eq!(phase.now(), Phase::Draining, "a release that comes too late");
        phase.all_gone().await;
        worker.await.unwrap();
    }

    #[tokio::test]
    async fn an_end_without_a_word_is_every_phase() {
        let phase = PhaseOut::default();
        let seen = phase.seen();
        drop(phase);
        seen.reached(Phase::Closing).await;
    }
}
