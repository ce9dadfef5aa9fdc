//! What the admin port may set off in the daemon itself.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::accounts::Accounts;
use super::duties::ImageRequest;
use super::phase::Phase;
use super::state::State;
use crate::admin::{self, AccountAct, BoxFuture, Role};
use crate::api::answers::{AccountDone, Backup};
use crate::data_dir::identity;
use crate::engine::command::{Command, Reply};
use crate::engine::refusal::{Code, Refusal};
use crate::mailbox::{CallError, Mailbox};

/// The daemon's side of the admin port's actions.
pub(super) struct Actions {
    pub(super) images: mpsc::Sender<ImageRequest>,
    pub(super) mailbox: Mailbox,
    pub(super) state: Arc<State>,
    pub(super) data_dir: PathBuf,
    pub(super) accounts: Accounts,
}

impl admin::Actions for Actions {
    fn backup(&self) -> BoxFuture<'_, Result<Backup, Refusal>> {
        Box::pin(async {
            let (reply, answer) = oneshot::channel();
            let busy = |_| Refusal::new(Code::Running, "other backups are waiting: try again soon");
            self.images.try_send(reply).map_err(busy)?;
            let gone = |_| Refusal::new(Code::Draining, "the daemon is stopping");
            answer.await.map_err(gone)?.map_err(|words| Refusal::new(Code::Storage, words))
        })
    }

    fn account(
        &self,
        tenant: String,
        act: AccountAct,
    ) -> BoxFuture<'_, Result<AccountDone, Refusal>> {
        Box::pin(async move { self.accounts.act(&tenant, act).await })
    }

    fn release(&self, hold: bool) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async move {
            if hold {
                self.hold_pending().await?;
            }
            let dir = self.data_dir.clone();
            let noted = tokio::task::spawn_blocking(move || identity::release(&dir)).await;
            let words = match noted {
                Ok(Ok(())) => None,
                Ok(Err(error)) => Some(error.to_string()),
                Err(error) => Some(error.to_string()),
            };
            if let Some(words) = words {
                return Err(Refusal::new(Code::Storage, format!("not released: {words}")));
            }
            let gone = |_| Refusal::new(Code::Draining, "the daemon is stopping");
            self.mailbox.call(Command::Release { held: hold }).await.map_err(gone)?;
            if self.state.role() == Role::Held {
                self.state.enter(Phase::Working, None);
                tracing::info!(event = "daemon.released", held = hold, "this copy works now");
            }
            Ok(())
        })
    }
}

impl Actions {
    /// Before the directory is noted as released: a crash in between leaves it held.
    async fn hold_pending(&self) -> Result<(), Refusal> {
        let mut from = Vec::new();
        loop {
            match self.mailbox.call(Command::HoldPending { from }).await {
                Ok(Reply::Held { next: Some(next) }) => from = next,
                Ok(_) => return Ok(()),
                Err(CallError::Refused(refusal)) => return Err(refusal),
                Err(CallError::Closed) => {
                    return Err(Refusal::new(Code::Draining, "the daemon is stopping"));
                }
            }
        }
    }
}
