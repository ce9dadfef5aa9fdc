//! Notices that a pull found and the daemon refused, kept as dead letters: whole, so that they can be
//! mended and submitted again.

use serde::{Deserialize, Serialize};

use crate::engine::command::{RefusedNotice, Reply};
use crate::engine::query::asked::DeadKind;
use crate::engine::refusal::not_found;
use crate::engine::tx::{Decision, Tx};
use crate::engine::view::{At, IdText, NoticeLetter, Raw, Word};
use crate::id::Id;
use crate::kv::{Fault, Key, Kv};
use crate::limits;
use crate::model::delivery::KeyRow;
use crate::store::Record;
use crate::store::chunks::{delete_chunks, read_chunks, write_chunks};
use crate::store::keys::{self, DeadItem};
use crate::store::schema::Tree;
use crate::text::cut;

/// The row of such a letter; the notice itself lies in chunks beside those of accepted ones.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Letter {
    schedule: String,
    tenant: String,
    run: Id,
    reason: String,
    /// What it is known by.
    known_by: String,
}

impl Record for Letter {
    const TREE: Tree = Tree::Dead;
}

/// Keeps a refused notice, unless it is kept already.
pub(super) fn keep_refused<K: Kv>(
    tx: &mut Tx<K>,
    refused: RefusedNotice,
) -> Result<Decision, Fault> {
    let tenant = tx.names.tenant(&mut tx.store, &refused.tenant);
    let known_by = format!("refused:{:032x}", refused.fingerprint);
    let key = keys::notice_key(tenant, &known_by);
    if let Some(row) = tx.store.read::<KeyRow>(&key)?
        && letter(tx, row.id)?.is_some()
    {
        return Ok(Ok(Reply::Kept { id: row.id, created: false }));
    }
    let id = tx.new_id();
    let row = KeyRow { id, fingerprint: refused.fingerprint, at: tx.now };
    tx.store.write(key, &row);
    write_chunks(&mut tx.store, Tree::NoticeBodies, id, refused.body.as_bytes());
    let letter = Letter {
        schedule: refused.schedule,
        tenant: refused.tenant,
        run: refused.run,
        reason: cut(&refused.reason, limits::TEXT_BYTES).to_owned(),
        known_by,
    };
    tx.store.write(keys::dead(id.made_at(), DeadItem::Notice(id)), &letter);
    Ok(Ok(Reply::Kept { id, created: true }))
}

fn letter<K: Kv>(tx: &Tx<K>, id: Id) -> Result<Option<(Key, Letter)>, Fault> {
    let key = keys::dead(id.made_at(), DeadItem::Notice(id));
    Ok(tx.store.read::<Letter>(&key)?.map(|letter| (key, letter)))
}

/// Removes a letter: its notice was submitted after all, or nobody wants it any more.
pub(super) fn drop_letter<K: Kv>(tx: &mut Tx<K>, id: Id) -> Result<Decision, Fault> {
    let Some((key, letter)) = letter(tx, id)? else {
        return Ok(Err(not_found("dead letter of a notice", id)));
    };
    delete_chunks(&mut tx.store, Tree::NoticeBodies, id)?;
    if let Some(tenant) = tx.names.known_tenant(&letter.tenant) {
        tx.store.delete(Tree::Keys, &keys::notice_key(tenant, &letter.known_by));
    }
    tx.store.delete(Tree::Dead, &key);
    Ok(Ok(Reply::Done))
}

/// A letter as it is shown, with its notice.
pub(super) fn letter_view<K: Kv>(tx: &Tx<K>, id: Id) -> Result<Option<NoticeLetter>, Fault> {
    let Some((_, letter)) = letter(tx, id)? else { return Ok(None) };
    let body = read_chunks(&tx.store, Tree::NoticeBodies, id)?;
    Ok(Some(NoticeLetter {
        kind: Word(DeadKind::Notice),
        died: At(id.made_at()),
        id: IdText(id),
        schedule: letter.schedule,
        tenant: letter.tenant,
        run: IdText(letter.run),
        reason: letter.reason,
        body: Raw::or_string(String::from_utf8_lossy(&body).into_owned()),
    }))
}
