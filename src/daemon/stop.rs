//! Stopping in stages, and waiting for what is under way.
//!
//! 1. `Drain`: nothing new begins; what has not touched the network goes back unharmed.
//! 2. `Cut`: the deadline is over; what is still on the wire is recorded as in doubt.
//! 3. All guards are dropped: everything under way has been settled.

use std::sync::Arc;

use tokio::sync::watch;

/// How far stopping has come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Not at all.
    #[default]
    Running,
    /// Nothing new begins.
    Drain,
    /// What is on the wire is cut off.
    Cut,
}

/// Seen by all workers; cheap to clone.
#[derive(Clone)]
pub struct Stopping {
    stage: watch::Receiver<Stage>,
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

/// Drives the stages.
pub struct Stopper {
    stage: watch::Sender<Stage>,
    guards: watch::Receiver<usize>,
}

/// A stopper and what workers see of it.
#[must_use]
pub fn stopper() -> (Stopper, Stopping) {
    let (stage_out, stage) = watch::channel(Stage::Running);
    let (guards_out, guards) = watch::channel(0);
    (Stopper { stage: stage_out, guards }, Stopping { stage, guards: Arc::new(guards_out) })
}

impl Stopping {
    /// Whether this stage has come.
    #[must_use]
    pub fn has_reached(&self, stage: Stage) -> bool {
        stage <= *self.stage.borrow()
    }

    /// Resolves when this stage has come.
    pub async fn reached(&self, stage: Stage) {
        let mut seen = self.stage.clone();
        // A dropped stopper means that the process is ending: that is every stage at once.
        let _ = seen.wait_for(|now| stage <= *now).await;
    }

    /// Something to hold while at work.
    #[must_use]
    pub fn guard(&self) -> Guard {
        self.guards.send_modify(|count| *count += 1);
        Guard { guards: self.guards.clone() }
    }
}

impl Stopper {
    /// Enters a stage.
    pub fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Resolves when no [`Guard`] is held.
    pub async fn all_gone(&mut self) {
        let _ = self.guards.wait_for(|count| *count == 0).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn guards_are_waited_for() {
        let (mut stopper, stopping) = stopper();
        let guard = stopping.guard();
        let waits = stopping.clone();
        let worker = tokio::spawn(async move {
            waits.reached(Stage::Drain).await;
            drop(guard);
        });
        assert!(!stopping.has_reached(Stage::Drain));
        stopper.enter(Stage::Drain);
        assert!(stopping.has_reached(Stage::Drain) && !stopping.has_reached(Stage::Cut));
        stopper.all_gone().await;
        worker.await.unwrap();
    }
}
