//! Adding, cancelling and moving tasks; pausing their types.

use std::collections::HashMap;

use crate::engine::command::{AddedTask, Reply, TaskDraft};
use crate::engine::marks::keep_task_marks;
use crate::engine::queue::Queue;
use crate::engine::refusal::{Code, Refusal, key_reused, not_found};
use crate::engine::tx::{Decision, Tx};
use crate::id::Id;
use crate::kv::{Fault, Kv};
use crate::limits;
use crate::model::delivery::KeyRow;
use crate::model::task::{
    AttemptEnd, Ended, EndedTask, Payload, QueueState, Standing, Task, TaskState,
};
use crate::store::chunks::write_chunks;
use crate::store::keys::{self, TypeNo};
use crate::store::schema::Tree;
use crate::time::Timestamp;

/// Most attempts that a task may ask for.
const MAX_ATTEMPTS: u32 = 1_000;

impl Queue {
    pub(in crate::engine) fn add_tasks<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        items: Vec<TaskDraft>,
        atomic: bool,
    ) -> Result<Decision, Fault> {
        if atomic {
            let mut verdicts = Vec::with_capacity(items.len());
            let mut keyed = HashMap::new();
            for draft in &items {
                let verdict = self.check_task(tx, draft)?;
                verdicts.push(verdict.and_then(|()| check_among(draft, &mut keyed)));
            }
            if verdicts.iter().any(Result::is_err) {
                let spared = || Refusal::new(Code::Invalid, "not added: another item was refused");
                let verdicts = verdicts.into_iter().map(|verdict| match verdict {
                    Ok(()) => Err(spared()),
                    Err(refusal) => Err(refusal),
                });
                return Ok(Ok(Reply::Tasks(verdicts.collect())));
            }
        }
        let mut verdicts = Vec::with_capacity(items.len());
        for draft in items {
            verdicts.push(match self.check_task(tx, &draft)? {
                Ok(()) => self.add_task(tx, draft)?,
                Err(refusal) => Err(refusal),
            });
        }
        Ok(Ok(Reply::Tasks(verdicts)))
    }

    /// Whether a draft could be added as it is; checks its key, too.
    fn check_task<K: Kv>(
        &self,
        tx: &Tx<K>,
        draft: &TaskDraft,
    ) -> Result<Result<(), Refusal>, Fault> {
        if let Err(refusal) = check_shape(draft) {
            return Ok(Err(refusal));
        }
        let Some(kind) = tx.names.known_kind(&draft.kind) else {
            return Ok(self.room_for_kind(tx));
        };
        let Some(key) = &draft.terms.key else { return Ok(Ok(())) };
        let Some(row) = tx.store.read::<KeyRow>(&keys::task_key(kind, key))? else {
            return Ok(Ok(()));
        };
        if !draft.replace {
            let same = draft.is_same(row.fingerprint);
            return Ok(if same { Ok(()) } else { Err(key_reused(key, row.id)) });
        }
        let task = tx.store.read::<Task>(&keys::id(row.id))?;
        Ok(match task {
            Some(task) if task.state() == TaskState::Claimed => Err(Refusal::field(
                Code::WrongState,
                "/replace",
                format!(
                    "task {} of this key is claimed: a consumer is at it; cancel it or wait for its \
                     end, then add again",
                    row.id
                ),
            )),
            Some(_) | None => Ok(()),
        })
    }

    pub(in crate::engine) fn add_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        draft: TaskDraft,
    ) -> Result<Result<AddedTask, Refusal>, Fault> {
        let kind = self.kind_of(tx, &draft.kind);
        if let Some(key) = &draft.terms.key {
            let row_key = keys::task_key(kind, key);
            if let Some(row) = tx.store.read::<KeyRow>(&row_key)? {
                if !draft.replace && draft.is_same(row.fingerprint) {
                    let state = self.state_of(tx, row.id)?;
                    return Ok(Ok(AddedTask { id: row.id, created: false, state }));
                }
                if !draft.replace {
                    return Ok(Err(key_reused(key, row.id)));
                }
                self.withdraw(tx, row.id, "replaced by a newer submission")?;
            }
        }
        let id = tx.new_id();
        if let Some(key) = &draft.terms.key {
            let row = KeyRow { id, fingerprint: draft.kept(), at: tx.now };
            tx.store.write(keys::task_key(kind, key), &row);
        }
        let due = draft.due.unwrap_or_else(|| tx.now.plus(draft.delay_ms.unwrap_or(0)));
        let payload = if draft.payload.len() <= limits::INLINE_BODY_BYTES {
            Payload::Inline(draft.payload)
        } else {
            let bytes = draft.payload.as_bytes();
            Payload::Chunked(write_chunks(&mut tx.store, Tree::TaskBodies, id, bytes))
        };
        let mut task = Task::new(id, kind.0, draft.priority, tx.now, due);
        task.terms = draft.terms;
        task.payload = payload;
        keep_task_marks(tx, id, &draft.marks);
        self.file_task(tx, &task);
        Ok(Ok(AddedTask { id, created: true, state: TaskState::Pending.name() }))
    }

    /// The name of a task's state; `gone` when it is kept no longer.
    fn state_of<K: Kv>(&self, tx: &Tx<K>, id: Id) -> Result<&'static str, Fault> {
        if let Some(task) = tx.store.read::<Task>(&keys::id(id))? {
            return Ok(task.state().name());
        }
        let ended = tx.store.read::<EndedTask>(&keys::id(id))?;
        Ok(ended.map_or("gone", |ended| ended.0.state().name()))
    }

    /// Cancels a task if it is there and not yet over. Says whether it was claimed.
    fn withdraw<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
        why: &str,
    ) -> Result<Option<bool>, Fault> {
        let Some(mut task) = tx.store.read::<Task>(&keys::id(id))? else { return Ok(None) };
        let claimed = task.state() == TaskState::Claimed;
        task.end_attempt(tx.now, AttemptEnd::Cancelled);
        self.end_task(tx, task, Ended::Cancelled, Some(why.to_owned()))?;
        Ok(Some(claimed))
    }

    pub(in crate::engine) fn cancel_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
    ) -> Result<Decision, Fault> {
        if let Some(claimed) = self.withdraw(tx, id, "cancelled")? {
            return Ok(Ok(Reply::Cancelled { claimed }));
        }
        let Some(EndedTask(task)) = tx.store.read::<EndedTask>(&keys::id(id))? else {
            return Ok(Err(not_found("task", id)));
        };
        Ok(match task.state() {
            TaskState::Cancelled => Ok(Reply::Cancelled { claimed: false }),
            state => Err(Refusal::new(
                Code::TaskGone,
                format!("task {id} is {} already and cannot be cancelled", state.name()),
            )),
        })
    }

    pub(in crate::engine) fn reschedule_task<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        id: Id,
        due: Option<Timestamp>,
        priority: Option<u8>,
    ) -> Result<Decision, Fault> {
        let Some(mut task) = tx.store.read::<Task>(&keys::id(id))? else {
            return Ok(Err(not_found("waiting task", id)));
        };
        let Standing::Pending { due: before } = task.standing() else {
            return Ok(Err(Refusal::new(
                Code::WrongState,
                format!("task {id} is {}: only a pending one can be moved", task.state().name()),
            )));
        };
        task.planned = due.unwrap_or(task.planned);
        let priority = priority.unwrap_or(task.priority);
        self.refile_task(tx, task, due.unwrap_or(before), priority);
        Ok(Ok(Reply::Done))
    }

    pub(in crate::engine) fn pause_queue<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        name: &str,
        paused: bool,
    ) -> Result<Decision, Fault> {
        let Some(kind) = tx.names.known_kind(name) else {
            return Ok(Err(not_found("task type", name)));
        };
        self.change_queue(tx, kind, |state| {
            state.paused = paused;
            if !paused {
                state.rest_until = Timestamp(0);
            }
        });
        self.waiters.look_at(kind, Timestamp(0));
        Ok(Ok(Reply::Done))
    }

    pub(in crate::engine) fn change_queue<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        kind: TypeNo,
        change: impl FnOnce(&mut QueueState),
    ) {
        let state = self.states.entry(kind).or_default();
        change(state);
        let state = state.clone();
        tx.store.write(keys::queue_state(kind), &state);
    }

    /// Sets a damaged row aside, so that its neighbours can be worked on.
    pub(in crate::engine) fn quarantine<K: Kv>(
        &mut self,
        tx: &mut Tx<K>,
        tree: Tree,
        key: &[u8],
        fault: &Fault,
    ) -> Result<(), Fault> {
        tracing::error!(event = "row.quarantined", tree = tree.name(), %fault);
        if let Some(bytes) = tx.store.get(tree, key)? {
            let aside = [&[tree as u8], key].concat();
            tx.store.put(Tree::Quarantine, aside, bytes);
            tx.store.delete(tree, key);
        }
        Ok(())
    }
}

/// Whether a name may be a task type, a tenant or the like.
#[must_use]
pub fn is_name(name: &str) -> bool {
    let plausible = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'.');
    !name.is_empty() && name.len() <= limits::NAME_BYTES && name.bytes().all(plausible)
}

/// Whether the items of one call agree on what their keys stand for, as they would one by one.
fn check_among<'a>(
    draft: &'a TaskDraft,
    keyed: &mut HashMap<(&'a str, &'a str), u128>,
) -> Result<(), Refusal> {
    let Some(key) = &draft.terms.key else { return Ok(()) };
    let before = keyed.insert((&draft.kind, key), draft.kept());
    if draft.replace || before.is_none_or(|before| before == draft.kept()) {
        return Ok(());
    }
    let detail = format!("key {key:?} was used in this call with another body: use a new key");
    Err(Refusal::field(Code::KeyReused, "/key", detail))
}

fn check_shape(draft: &TaskDraft) -> Result<(), Refusal> {
    if !is_name(&draft.kind) {
        return Err(Refusal::field(
            Code::FieldInvalid,
            "/type",
            format!(
                "a type is a number or a name of 1 to {} letters, digits, - _ .",
                limits::NAME_BYTES
            ),
        ));
    }
    if draft.payload.len() > limits::PAYLOAD_BYTES {
        return Err(Refusal::field(
            Code::PayloadTooLarge,
            "/payload",
            format!("{} bytes, {} are allowed", draft.payload.len(), limits::PAYLOAD_BYTES),
        ));
    }
    if draft.due.is_some() && draft.delay_ms.is_some() {
        let detail = "give due or delay_ms, not both";
        return Err(Refusal::field(Code::FieldInvalid, "/delay_ms", detail));
    }
    if draft.delay_ms.is_some_and(|delay| delay > limits::DELAY_MAX_MS) {
        let detail = "the delay is longer than ten years";
        return Err(Refusal::field(Code::FieldInvalid, "/delay_ms", detail));
    }
    if draft.terms.max_attempts.is_some_and(|max| max == 0 || max > MAX_ATTEMPTS) {
        let detail = format!("1 to {MAX_ATTEMPTS}");
        return Err(Refusal::field(Code::FieldInvalid, "/max_attempts", detail));
    }
    if draft.terms.key.as_ref().is_some_and(|key| key.is_empty() || key.len() > limits::KEY_BYTES) {
        let detail = format!("1 to {} bytes", limits::KEY_BYTES);
        return Err(Refusal::field(Code::FieldInvalid, "/key", detail));
    }
    Ok(())
}
