//! Stopping in stages, and waiting for what is under way.
//!
//! 1. `Drain`: nothing new begins; what has not touched the network goes back unharmed.
//! 2. `Cut`: the deadline is over; what is still on the wire is recorded as in doubt.
//! 3. All guards are dropped: everything under way has been settled.

use std::sync::Arc;

use tokio::sync::{mpsc, watch};

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
    alive: mpsc::Sender<()>,
}

/// Held by whatever must be waited for.
pub struct Guard {
    _alive: mpsc::Sender<()>,
}

/// Drives the stages.
pub struct Stopper {
    stage: Arc<watch::Sender<Stage>>,
    all_gone: mpsc::Receiver<()>,
}

/// A stopper and what workers see of it.
#[must_use]
pub fn stopper() -> (Stopper, Stopping) {
    let (stage_out, stage) = watch::channel(Stage::Running);
    let (alive, all_gone) = mpsc::channel(1);
    (Stopper { stage: Arc::new(stage_out), all_gone }, Stopping { stage, alive })
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
        Guard { _alive: self.alive.clone() }
    }
}

impl Stopper {
    /// Enters a stage.
    pub fn enter(&self, stage: Stage) {
        self.stage.send_replace(stage);
    }

    /// Resolves when every [`Guard`] and every [`Stopping`] is gone.
    pub async fn all_gone(&mut self) {
        let _ = self.all_gone.recv().await;
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
            drop(waits);
            drop(guard);
        });
        assert!(!stopping.has_reached(Stage::Drain));
        stopper.enter(Stage::Drain);
        assert!(stopping.has_reached(Stage::Drain) && !stopping.has_reached(Stage::Cut));
        drop(stopping);
        stopper.all_gone().await;
        worker.await.unwrap();
    }
}
