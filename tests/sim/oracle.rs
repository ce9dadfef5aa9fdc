//! What submitters and consumers of tasks know, and what may therefore not happen.

use std::collections::{BTreeMap, BTreeSet};

use duebox::engine::command::{AddedTask, ClaimedTask, Settled, Settlement, TaskDraft, Verdict};
use duebox::id::Id;
use duebox::time::Timestamp;

/// A claim that was heard of.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    pub(crate) token: String,
    pub(crate) until: Timestamp,
}

/// Everything that was heard. What was done and not heard of is forgotten: then nothing is known.
#[derive(Default)]
pub(crate) struct Oracle {
    /// Tasks whose submission was answered.
    pub(crate) added: BTreeSet<Id>,
    /// Claims that nobody has settled.
    pub(crate) held: BTreeMap<Id, Held>,
    /// Tokens that are over, for trying them.
    pub(crate) stale: Vec<(Id, String)>,
    /// Tasks that were said to be over.
    pub(crate) ended: BTreeMap<Id, &'static str>,
    /// Not to be handed out before.
    not_before: BTreeMap<Id, Timestamp>,
    /// Keys with the task and body that they stand for.
    keys: BTreeMap<(String, String), (Id, u128)>,
    /// Keys with the tasks that they may stand for, when nobody heard what became of them.
    unsure: BTreeMap<(String, String), Vec<Id>>,
    /// Every token that was given out, with its task and attempt.
    tokens: BTreeMap<String, (Id, u32)>,
}

impl Oracle {
    /// A task was added, or was there already.
    pub(crate) fn added(&mut self, draft: &TaskDraft, answer: AddedTask, now: Timestamp) {
        let AddedTask { id, created, state: _ } = answer;
        let first = self.added.insert(id);
        assert!(first || !created, "{id} was made twice");
        if let Some(key) = &draft.terms.key {
            let place = (draft.kind.clone(), key.clone());
            if let Some((known, fingerprint)) = self.keys.get(&place).copied() {
                if fingerprint == draft.fingerprint && !draft.replace {
                    assert_eq!((known, false), (id, created), "a key made two tasks");
                } else {
                    assert!(created && draft.replace, "{known} was replaced by {id} unasked");
                    let held = self.held.contains_key(&known);
                    assert!(!held || self.held[&known].until <= now, "a held task was replaced");
                    self.forget(known);
                    self.ended.entry(known).or_insert("over");
                }
            }
            if created {
                // Whichever of these the key still stood for is replaced.
                for known in self.unsure.remove(&place).unwrap_or_default() {
                    self.forget(known);
                    self.ended.entry(known).or_insert("over");
                }
            }
            self.keys.insert(place, (id, draft.fingerprint));
        }
        if created {
            let due = draft.due.unwrap_or(now.plus(draft.delay_ms.unwrap_or(0)));
            self.not_before.insert(id, due);
        }
    }

    /// Nothing is known of a key any more.
    pub(crate) fn forget_key(&mut self, draft: &TaskDraft) {
        let Some(key) = &draft.terms.key else { return };
        let place = (draft.kind.clone(), key.clone());
        if let Some((id, _)) = self.keys.remove(&place) {
            self.unheard(id);
            self.unsure.entry(place).or_default().push(id);
        }
    }

    /// A task's claim is over.
    pub(crate) fn forget(&mut self, id: Id) {
        self.not_before.remove(&id);
        if matches!(self.ended.get(&id), Some(&("dead" | "rejected"))) {
            self.ended.remove(&id);
        }
        if let Some(held) = self.held.remove(&id) {
            self.stale.push((id, held.token));
        }
    }

    /// Something was done to a task and nobody heard how it went: its token may still be good.
    pub(crate) fn unheard(&mut self, id: Id) {
        self.held.remove(&id);
        self.forget(id);
    }

    /// A task was handed out.
    pub(crate) fn claimed(&mut self, task: &ClaimedTask, now: Timestamp) {
        let id = task.id;
        assert!(task.due <= now, "{id} is due at {} only", task.due);
        assert!(task.until > now, "{id} is claimed until {}", task.until);
        let end = self.ended.get(&id);
        assert!(end.is_none(), "{id} was {end:?} and is handed out");
        if let Some(due) = self.not_before.get(&id) {
            assert!(*due <= now, "{id} was not to be handed out before {due}");
        }
        if let Some(held) = self.held.get(&id) {
            let same = held.token == task.claim;
            assert!(same || held.until <= now, "{id} is held under {held:?}");
            if !same {
                self.stale.push((id, held.token.clone()));
            }
        }
        let before = self.tokens.insert(task.claim.clone(), (id, task.attempt));
        assert!(before.is_none_or(|before| before == (id, task.attempt)), "a token came twice");
        self.held.insert(id, Held { token: task.claim.clone(), until: task.until });
    }

    /// A settlement was answered.
    pub(crate) fn settled(&mut self, item: &Settlement, answer: Settled, now: Timestamp) {
        let id = item.task;
        let known = self.held.get(&id).is_some_and(|held| held.token == item.claim);
        let repeated = answer.state == "acked" && item.verdict == Verdict::Ack;
        assert!(known || repeated, "{id} was settled with a stale token: {answer:?}");
        if let Some(held) = self.held.get_mut(&id)
            && let Verdict::Extend { .. } = item.verdict
        {
            held.until = answer.at.unwrap();
            return;
        }
        if known {
            self.forget(id);
        }
        match answer.state {
            "pending" => {
                self.not_before.insert(id, answer.at.unwrap_or(now));
            }
            "acked" => {
                self.ended.insert(id, "acked");
            }
            "dead" | "rejected" => {
                self.ended.insert(id, answer.state);
            }
            other => panic!("{id} is {other}"),
        }
    }

    /// A task was cancelled.
    pub(crate) fn cancelled(&mut self, id: Id) {
        self.forget(id);
        self.ended.insert(id, "cancelled");
    }

    /// A task has a new due time.
    pub(crate) fn moved(&mut self, id: Id, due: Timestamp) {
        self.not_before.insert(id, due);
    }

    /// Dead letters came back.
    pub(crate) fn redriven(&mut self) {
        self.ended.retain(|_, end| !matches!(*end, "dead" | "rejected"));
    }
}
