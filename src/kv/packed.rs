//! A tree of sled whose rows are blocks of many rows.
//!
//! A block is stored under its lower bound: it holds the rows from there up to the next block's
//! bound. Rows beyond that bound are left over from a split that a crash cut in two; the right half
//! is written first, so they are always in the next block too, and whoever reads ignores them.
//!
//! Blocks are cut in two when they grow and removed when they are empty. They are never merged:
//! rows that come in order also go in order.
//!
//! Which block a key belongs to is found by [`backward`]: sled's own steps backwards are not used.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use ::sled::IVec;

use super::backward;
use super::block::{Builder, Rows};
use super::{Fault, Key, Value, Write};

/// A block is cut when it is larger. A leaf of sled holds up to 16 blocks and is read and written
/// as one; a row by itself may make a larger block.
const BLOCK_BYTES: usize = 2048;
/// Blocks read at once by a scan that goes backwards.
const BLOCKS: usize = 16;
/// What a row costs beside key and value, at most.
const ROW_OVERHEAD: usize = 6;

/// A tree of blocks.
pub(super) struct PackedTree {
    tree: ::sled::Tree,
    name: &'static str,
    /// Readers see no half-made change of several blocks.
    gate: RwLock<()>,
}

impl PackedTree {
    pub(super) fn new(tree: ::sled::Tree, name: &'static str) -> Self {
        Self { tree, name, gate: RwLock::new(()) }
    }

    fn read(&self) -> RwLockReadGuard<'_, ()> {
        // The gate guards no data: what is on disk is right after any prefix of the changes.
        self.gate.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The value of a key.
    pub(super) fn get(&self, key: &[u8]) -> Result<Option<Value>, Fault> {
        let _gate = self.read();
        let Some((_, block)) = self.floor(key)? else { return Ok(None) };
        let mut rows = Rows::new(self.name, &block)?;
        while rows.advance()? && rows.key() <= key {
            if rows.key() == key {
                return Ok(Some(Value::from(rows.value())));
            }
        }
        Ok(None)
    }

    /// Appends pairs with `from <= key < to`, ascending, until `found` has `limit`.
    pub(super) fn scan(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        found: &mut Vec<(Key, Value)>,
    ) -> Result<(), Fault> {
        let _gate = self.read();
        let mut blocks = self.tree.range(self.begin(from)?..IVec::from(to)).peekable();
        while found.len() < limit {
            let Some(next) = blocks.next() else { break };
            let (_, block) = next.map_err(scanning)?;
            let end = match blocks.peek() {
                Some(Ok((bound, _))) => bound,
                Some(Err(_)) | None => to,
            };
            let mut rows = Rows::new(self.name, &block)?;
            while found.len() < limit && rows.advance()? && rows.key() < end {
                if rows.key() >= from {
                    found.push((rows.key().to_vec(), Value::from(rows.value())));
                }
            }
        }
        Ok(())
    }

    /// Appends pairs with `from <= key < to`, descending, until `found` has `limit`.
    pub(super) fn scan_back(
        &self,
        from: &[u8],
        to: &[u8],
        limit: usize,
        found: &mut Vec<(Key, Value)>,
    ) -> Result<(), Fault> {
        let _gate = self.read();
        let begin = self.begin(from)?;
        let mut end = IVec::from(to);
        while found.len() < limit {
            let blocks = backward::last_rows(&self.tree, &begin, &end, BLOCKS)?;
            if blocks.is_empty() {
                break;
            }
            for (bound, block) in blocks.into_iter().rev() {
                let mut here = Vec::new();
                let mut rows = Rows::new(self.name, &block)?;
                while rows.advance()? && *rows.key() < *end {
                    if rows.key() >= from {
                        here.push((rows.key().to_vec(), Value::from(rows.value())));
                    }
                }
                let room = limit - found.len();
                found.extend(here.into_iter().rev().take(room));
                end = bound;
            }
        }
        Ok(())
    }

    /// Applies changes in order. They go block by block as long as their keys go up.
    pub(super) fn apply(&self, writes: &[Write]) -> Result<(), Fault> {
        let (mut rest, mut near) = (writes, IVec::default());
        while !rest.is_empty() {
            rest = self.change_block(rest, &mut near)?;
        }
        Ok(())
    }

    /// Applies the first changes, as many as belong to the same block; gives the others. `near` is
    /// where the block before was: the next one is often not far.
    fn change_block<'a>(&self, writes: &'a [Write], near: &mut IVec) -> Result<&'a [Write], Fault> {
        let _gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        let old = backward::floor_near(&self.tree, near, &writes[0].key)?;
        let bound =
            old.as_ref().map_or_else(|| IVec::from(&*writes[0].key), |(key, _)| key.clone());
        let end = self.tree.get_gt(&bound).map_err(scanning)?.map(|(key, _)| key);
        let (here, rest) = writes.split_at(run(writes, end.as_deref()));
        near.clone_from(&bound);
        let block = old.as_ref().map(|(_, block)| block);
        let pieces = self.merge(block, here, end.as_deref())?;
        let Some(((_, first), others)) = pieces.split_first() else {
            if block.is_some() {
                self.remove(&bound)?;
            }
            return Ok(rest);
        };
        for (key, piece) in others.iter().rev() {
            self.insert(key, piece)?;
        }
        if let Some((last, _)) = others.last() {
            *near = IVec::from(&**last);
        }
        if block.is_none_or(|block| **block != **first) {
            self.insert(&bound, first)?;
        }
        Ok(rest)
    }

    /// The rows of `block` below `end` with the changes in them, as new blocks with their first
    /// keys.
    fn merge(
        &self,
        block: Option<&IVec>,
        writes: &[Write],
        end: Option<&[u8]>,
    ) -> Result<Vec<(Key, Vec<u8>)>, Fault> {
        let old = match block {
            Some(block) => self.rows_below(block, end)?,
            None => Vec::new(),
        };
        let more: usize = writes.iter().map(weight).sum();
        let appending = old.last().is_none_or(|(last, _)| *last < writes[0].key);
        let mut cutter = Cutter::new(block.map_or(0, |block| block.len()) + more, appending);
        let mut old = old.into_iter().peekable();
        for write in writes {
            while let Some((key, value)) = old.next_if(|(key, _)| *key < write.key) {
                cutter.push(&key, value);
            }
            old.next_if(|(key, _)| *key == write.key);
            if let Some(value) = &write.value {
                cutter.push(&write.key, value);
            }
        }
        for (key, value) in old {
            cutter.push(&key, value);
        }
        Ok(cutter.finish())
    }

    /// The rows of a block without what is left over from a split.
    fn rows_below<'a>(
        &self,
        block: &'a [u8],
        end: Option<&[u8]>,
    ) -> Result<Vec<(Key, &'a [u8])>, Fault> {
        let mut found = Vec::new();
        let mut rows = Rows::new(self.name, block)?;
        while rows.advance()? && end.is_none_or(|end| rows.key() < end) {
            found.push((rows.key().to_vec(), rows.value()));
        }
        Ok(found)
    }

    /// The block in whose bounds `key` is.
    fn floor(&self, key: &[u8]) -> Result<Option<(IVec, IVec)>, Fault> {
        backward::floor(&self.tree, key)
    }

    /// Where the blocks of a scan begin.
    fn begin(&self, from: &[u8]) -> Result<IVec, Fault> {
        Ok(self.floor(from)?.map_or_else(|| IVec::from(from), |(bound, _)| bound))
    }

    fn insert(&self, bound: &[u8], block: &[u8]) -> Result<(), Fault> {
        assert!(
            block.len() <= crate::limits::BLOCK_BYTES,
            "a block of {} bytes in {} would leave the log for a blob file",
            block.len(),
            self.name
        );
        self.tree.insert(bound, block).map_err(writing)?;
        Ok(())
    }

    /// Removes a block without bringing back rows that the block before it still has from a split.
    fn remove(&self, bound: &[u8]) -> Result<(), Fault> {
        if let Some((before, block)) = backward::before(&self.tree, bound)? {
            let mut kept = Builder::new();
            for (key, value) in self.rows_below(&block, Some(bound))? {
                kept.push(&key, value);
            }
            let kept = kept.finish();
            if *kept != *block {
                self.insert(&before, &kept)?;
            }
        }
        self.tree.remove(bound).map_err(writing)?;
        Ok(())
    }
}

/// How many changes go up and stay below `end`.
fn run(writes: &[Write], end: Option<&[u8]>) -> usize {
    let mut count = 1;
    while let Some(next) = writes.get(count)
        && writes[count - 1].key < next.key
        && end.is_none_or(|end| *next.key < *end)
    {
        count += 1;
    }
    count
}

fn weight(write: &Write) -> usize {
    write.value.as_ref().map_or(0, |value| write.key.len() + value.len() + ROW_OVERHEAD)
}

/// Cuts rows into blocks: full ones where rows are appended, even ones where they come between.
struct Cutter {
    target: usize,
    first: Key,
    builder: Builder,
    done: Vec<(Key, Vec<u8>)>,
}

impl Cutter {
    fn new(bytes: usize, appending: bool) -> Self {
        let target = if appending {
            BLOCK_BYTES
        } else {
            bytes.div_ceil(bytes.div_ceil(BLOCK_BYTES).max(1))
        };
        Self { target, first: Key::new(), builder: Builder::new(), done: Vec::new() }
    }

    fn push(&mut self, key: &[u8], value: &[u8]) {
        let row = key.len() + value.len() + ROW_OVERHEAD;
        if !self.builder.is_empty() && self.builder.len() + row > self.target {
            self.cut();
        }
        if self.builder.is_empty() {
            self.first = key.to_vec();
        }
        self.builder.push(key, value);
    }

    fn cut(&mut self) {
        let builder = std::mem::replace(&mut self.builder, Builder::new());
        self.done.push((std::mem::take(&mut self.first), builder.finish()));
    }

    fn finish(mut self) -> Vec<(Key, Vec<u8>)> {
        if !self.builder.is_empty() {
            self.cut();
        }
        self.done
    }
}

fn scanning(error: ::sled::Error) -> Fault {
    Fault::io("scanning the store", error)
}

fn writing(error: ::sled::Error) -> Fault {
    Fault::io("writing the store", error)
}

#[cfg(test)]
mod tests;
