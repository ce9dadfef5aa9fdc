//! Asking right before sending whether recipients are still bound: many sends share one question.
//!
//! While one question of a tenant is under way the next sends gather behind it, so that it is asked for as
//! many at once as there are, and nobody waits for a batch to fill.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::panics;
use crate::bound::{BATCH, CHECK_TIMEOUT, Register};
use crate::id::Id;
use crate::time::Clock;

/// A send that waits longer gives up: the question before its own, its own, and some.
const PATIENCE: Duration = Duration::from_secs(2 * CHECK_TIMEOUT.as_secs() + 1);

/// What is known of a recipient.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Bound {
    /// It may be sent to.
    Still,
    /// The business no longer knows it.
    Gone,
    /// There was no answer, and why: it is to be asked again.
    Unknown(String),
}

struct Question {
    notice: Id,
    openid: String,
    answer: oneshot::Sender<Bound>,
}

/// One tenant's check.
pub(super) struct Check {
    questions: mpsc::Sender<Question>,
}

impl Check {
    /// Starts asking; it ends when this is dropped.
    pub(super) fn start(tenant: String, register: Register, clock: Arc<dyn Clock>) -> Self {
        let (questions, asked) = mpsc::channel(BATCH);
        panics::spawn_vital(work(tenant, register, clock, asked));
        Self { questions }
    }

    /// Whether a recipient may be sent to.
    pub(super) async fn ask(&self, notice: Id, openid: String) -> Bound {
        let (answer, told) = oneshot::channel();
        let question = Question { notice, openid, answer };
        let asked = async {
            self.questions.send(question).await.ok()?;
            told.await.ok()
        };
        let late = || Bound::Unknown("the check gave no answer in time".into());
        tokio::time::timeout(PATIENCE, asked).await.ok().flatten().unwrap_or_else(late)
    }
}

async fn work(
    tenant: String,
    register: Register,
    clock: Arc<dyn Clock>,
    mut asked: mpsc::Receiver<Question>,
) {
    let mut batch = Vec::new();
    while asked.recv_many(&mut batch, BATCH).await > 0 {
        let mut by_notice: BTreeMap<Id, Vec<Question>> = BTreeMap::new();
        // Whoever has given up is asked again another time.
        for question in batch.drain(..).filter(|one| !one.answer.is_closed()) {
            by_notice.entry(question.notice).or_default().push(question);
        }
        for (notice, questions) in by_notice {
            let openids: Vec<&str> = questions.iter().map(|one| one.openid.as_str()).collect();
            let gone = register.gone(&tenant, &notice.to_string(), &openids, clock.now()).await;
            for question in questions {
                // Who does not wait any longer does not send either.
                let _ = question.answer.send(bound(&gone, &question.openid));
            }
        }
    }
}

fn bound(gone: &Result<HashSet<String>, String>, openid: &str) -> Bound {
    match gone {
        Ok(gone) if gone.contains(openid) => Bound::Gone,
        Ok(_) => Bound::Still,
        Err(why) => Bound::Unknown(why.clone()),
    }
}
