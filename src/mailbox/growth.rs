//! The door for what grows the store: it opens as fast as the base takes rows in.
//!
//! Changes are durable with their commit, and wait in memory for the base. When more comes than the
//! base can take, somebody has to wait. It is those who bring the most, here, before they reach the
//! writer: claims, answers and settlements of everybody else then never wait for the base. Whoever
//! came first goes in first.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::engine::command::{Audience, Command};
use crate::limits;

/// What a row costs beside its payload: keys, indexes, the table's own nodes.
const ROW_BYTES: usize = 600;

/// The door. Cheap to clone.
#[derive(Clone, Default)]
pub(super) struct Door(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    /// Bytes in the table that takes changes in.
    active: usize,
    /// Bytes of the table that is being written to the base, as far as they are still to come.
    frozen: usize,
    /// Bytes let in and not decided yet.
    admitted: usize,
    waiting: VecDeque<(usize, oneshot::Sender<Admission>)>,
    closed: bool,
}

/// The right to have something decided that grows the store; to be kept until that is done.
pub(super) struct Admission {
    door: Door,
    bytes: usize,
}

impl Drop for Admission {
    fn drop(&mut self) {
        self.door.change(|inner| inner.admitted = inner.admitted.saturating_sub(self.bytes));
    }
}

impl Door {
    /// Waits for its turn. `None` when the door is gone, with the writer.
    pub(super) async fn enter(&self, bytes: usize) -> Option<Admission> {
        let (sender, turn) = oneshot::channel();
        self.change(|inner| {
            if !inner.closed {
                inner.waiting.push_back((bytes, sender));
            }
        });
        turn.await.ok()
    }

    /// The bytes of the table that takes changes in.
    pub(super) fn active(&self, bytes: usize) {
        self.change(|inner| inner.active = bytes);
    }

    /// That table is handed to the base.
    pub(super) fn freeze(&self, bytes: usize) {
        self.change(|inner| (inner.active, inner.frozen) = (0, bytes));
    }

    /// So many bytes of it are in the base.
    pub(super) fn wrote(&self, bytes: usize) {
        self.change(|inner| inner.frozen = inner.frozen.saturating_sub(bytes));
    }

    /// Bytes above the base, and about what comes to them.
    pub(super) fn above_the_base(&self) -> usize {
        let inner = self.lock();
        inner.active + inner.frozen + inner.admitted
    }

    /// All of it is.
    pub(super) fn thaw(&self) {
        self.change(|inner| inner.frozen = 0);
    }

    /// Lets nobody wait any longer: there is nobody left to decide anything.
    pub(super) fn close(&self) {
        let mut inner = self.lock();
        inner.closed = true;
        inner.waiting.clear();
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, change: impl FnOnce(&mut Inner)) {
        let mut gone = Vec::new();
        {
            let mut inner = self.lock();
            change(&mut inner);
            while inner.active + inner.frozen + inner.admitted < limits::GROWTH_BYTES
                && let Some((bytes, turn)) = inner.waiting.pop_front()
            {
                if turn.is_closed() {
                    continue;
                }
                inner.admitted += bytes;
                let admission = Admission { door: self.clone(), bytes };
                // One that left in this very moment gives its admission back, outside of the lock.
                gone.extend(turn.send(admission).err());
            }
        }
        drop(gone);
    }
}

/// About how many bytes a command adds to the store; `None` for one that is no new work.
pub(super) fn growth(command: &Command) -> Option<usize> {
    let rows: usize = match command {
        Command::SubmitNotice(draft) => {
            let data: usize = draft.data.iter().map(|(name, value)| name.len() + value.len()).sum();
            let audience = match &draft.audience {
                Audience::Inline(recipients) => recipients.len() * ROW_BYTES,
                Audience::Stream | Audience::Source(_) => 0,
            };
            data + audience
        }
        Command::AddRecipients { recipients, .. } => recipients.len() * ROW_BYTES,
        Command::Resolved(portion) => portion.recipients.len() * ROW_BYTES,
        Command::AddTasks { items, .. } => {
            items.iter().map(|item| item.payload.len() + ROW_BYTES).sum()
        }
        _ => return None,
    };
    Some(rows + ROW_BYTES)
}

#[cfg(test)]
mod tests {
    use std::future::Future;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    use super::*;

    const LIMIT: usize = limits::GROWTH_BYTES;

    fn poll<F: Future>(future: std::pin::Pin<&mut F>) -> Option<F::Output> {
        match future.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(output) => Some(output),
            Poll::Pending => None,
        }
    }

    #[test]
    fn who_comes_first_goes_in_first_and_only_as_fast_as_the_base_takes() {
        let door = Door::default();
        let first = poll(pin!(door.enter(LIMIT))).unwrap().unwrap();
        let (mut second, mut third) = (pin!(door.enter(LIMIT)), pin!(door.enter(1)));
        assert!(poll(second.as_mut()).is_none() && poll(third.as_mut()).is_none());
        // It was decided: what it brought is in the table now.
        door.active(LIMIT);
        drop(first);
        assert!(poll(second.as_mut()).is_none());
        door.freeze(LIMIT);
        assert!(poll(second.as_mut()).is_none());
        door.wrote(1);
        let second = poll(second.as_mut()).unwrap().unwrap();
        assert!(poll(third.as_mut()).is_none(), "a small one does not pass a large one by");
        door.thaw();
        drop(second);
        assert!(poll(third.as_mut()).is_some());
    }

    #[test]
    fn one_that_left_takes_no_place_and_a_closed_door_keeps_nobody() {
        let door = Door::default();
        door.active(LIMIT);
        {
            let mut gone = pin!(door.enter(LIMIT));
            assert!(poll(gone.as_mut()).is_none());
        }
        let mut stays = pin!(door.enter(1));
        assert!(poll(stays.as_mut()).is_none());
        door.active(0);
        let admission = poll(stays.as_mut()).unwrap().unwrap();
        door.active(LIMIT);
        drop(admission);
        let mut late = pin!(door.enter(1));
        assert!(poll(late.as_mut()).is_none());
        door.close();
        assert!(poll(late.as_mut()).unwrap().is_none());
        assert!(poll(pin!(door.enter(1))).unwrap().is_none());
    }

    #[test]
    fn what_is_no_new_work_never_waits_here() {
        assert_eq!(growth(&Command::Drain), None);
        assert_eq!(growth(&Command::Settle(Vec::new())), None);
        assert!(growth(&Command::AddTasks { items: Vec::new(), atomic: false }).is_some());
    }
}
