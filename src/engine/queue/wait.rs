//! Claims that wait for work.

use std::collections::{BTreeMap, BTreeSet};

use crate::engine::command::ClaimRequest;
use crate::store::keys::TypeNo;
use crate::time::Timestamp;

/// Claims that wait for work. In memory: a waiting caller does not outlive the process.
#[derive(Debug, Default)]
pub(in crate::engine) struct Waiters {
    last: u64,
    pub(super) waiting: BTreeMap<u64, Waiting>,
    pub(super) by_kind: BTreeMap<TypeNo, BTreeSet<u64>>,
    pub(super) deadlines: BTreeSet<(Timestamp, u64)>,
    /// When to look at a type again: the due time of the first work that may have come. A look
    /// finds out about the next one, so that one per type is enough.
    pub(super) looks: BTreeSet<(Timestamp, TypeNo)>,
    /// The same by type.
    look_of: BTreeMap<TypeNo, Timestamp>,
}

#[derive(Debug)]
pub(super) struct Waiting {
    kind: TypeNo,
    deadline: Timestamp,
    pub(super) request: ClaimRequest,
}

impl Waiters {
    /// Work of this type may be claimable from `due` on.
    pub(in crate::engine) fn look_at(&mut self, kind: TypeNo, due: Timestamp) {
        if !self.by_kind.contains_key(&kind) || self.look_of.get(&kind).is_some_and(|at| *at <= due)
        {
            return;
        }
        self.drop_look(kind);
        self.look_of.insert(kind, due);
        self.looks.insert((due, kind));
    }

    pub(super) fn drop_look(&mut self, kind: TypeNo) {
        if let Some(at) = self.look_of.remove(&kind) {
            self.looks.remove(&(at, kind));
        }
    }

    /// The type to look at, if the time for one has come.
    pub(super) fn due_look(&mut self, now: Timestamp) -> Option<TypeNo> {
        let (_, kind) = self.looks.first().copied().filter(|(due, _)| *due <= now)?;
        self.drop_look(kind);
        Some(kind)
    }

    pub(super) fn add(&mut self, kind: TypeNo, deadline: Timestamp, request: ClaimRequest) -> u64 {
        self.last += 1;
        let waiter = self.last;
        self.waiting.insert(waiter, Waiting { kind, deadline, request });
        self.by_kind.entry(kind).or_default().insert(waiter);
        self.deadlines.insert((deadline, waiter));
        waiter
    }

    pub(in crate::engine) fn forget(&mut self, waiter: u64) -> bool {
        let Some(waiting) = self.waiting.remove(&waiter) else { return false };
        self.deadlines.remove(&(waiting.deadline, waiter));
        if let Some(others) = self.by_kind.get_mut(&waiting.kind) {
            others.remove(&waiter);
            if others.is_empty() {
                self.by_kind.remove(&waiting.kind);
                self.drop_look(waiting.kind);
            }
        }
        true
    }

    /// Whether somebody waits for this type.
    pub(in crate::engine) fn has(&self, kind: TypeNo) -> bool {
        self.by_kind.contains_key(&kind)
    }

    /// How many wait.
    #[must_use]
    pub(in crate::engine) fn len(&self) -> usize {
        self.waiting.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_waiter_does_not_remember_every_task_that_is_added() {
        let mut waiters = Waiters::default();
        let waiter = waiters.add(TypeNo(1), Timestamp(50_000), ClaimRequest::default());
        for due in (100..1_100).rev() {
            waiters.look_at(TypeNo(1), Timestamp(due));
        }
        assert_eq!(waiters.looks.len(), 1);
        assert_eq!(waiters.due_look(Timestamp(99)), None);
        assert_eq!(waiters.due_look(Timestamp(100)), Some(TypeNo(1)));
        waiters.look_at(TypeNo(1), Timestamp(7));
        waiters.forget(waiter);
        assert!(waiters.looks.is_empty() && waiters.look_of.is_empty());
    }
}
