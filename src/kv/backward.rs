//! The last rows before a key, found by steps forward only.
//!
//! sled 0.34.7 goes from a leaf to the one before it by a guess: the leaf's first key, one less in
//! its last byte, and four bytes `FF`. Where keys have four of them in a row inside, the guess falls
//! behind the leaf that it looks for, and sled goes round until it panics, after a million turns. Ids,
//! times and hashes may have such bytes; so no key is trusted, and nothing here asks sled to go back.
//!
//! Instead the search tries starts that lie ever farther before the end: the end without its last
//! byte, two, four, ... When more rows follow such a start than are wanted at once, it halves the
//! keys between the last row that was seen and the end. Each step forgets half of what is left or
//! sees [`SEEN`] rows more, so a search always ends, after some steps for each byte of a key.

use ::sled::{IVec, Tree};

use super::Fault;

/// A row of sled.
pub(super) type Row = (IVec, IVec);

/// Rows looked at in one step, at least.
const SEEN: usize = 16;
/// Between the halvings, so often, the search also steps forward from the last row that it saw:
/// keys that differ in nothing but zeros at their ends cannot be halved.
const STEP_EVERY: u64 = 8;

/// The row with the largest key up to and with `key`.
pub(super) fn floor(tree: &Tree, key: &[u8]) -> Result<Option<Row>, Fault> {
    let mut end = Vec::with_capacity(key.len() + 1);
    end.extend_from_slice(key);
    end.push(0);
    Ok(last_rows(tree, &[], &end, 1)?.pop())
}

/// As [`floor`], quick when few rows lie between `near` and `key`.
pub(super) fn floor_near(tree: &Tree, near: &[u8], key: &[u8]) -> Result<Option<Row>, Fault> {
    if !near.is_empty() && near <= key {
        let end = [key, &[0]].concat();
        if let Window::All(mut rows) = Window::read(tree, near, &end, SEEN)?
            && let Some(last) = rows.pop()
        {
            return Ok(Some(last));
        }
    }
    floor(tree, key)
}

/// The row with the largest key below `key`.
pub(super) fn before(tree: &Tree, key: &[u8]) -> Result<Option<Row>, Fault> {
    Ok(last_rows(tree, &[], key, 1)?.pop())
}

/// Rows with `from <= key < end`, ascending, without a gap up to the last one there is; about
/// `wanted` of them. Empty only when there is none.
pub(super) fn last_rows(
    tree: &Tree,
    from: &[u8],
    end: &[u8],
    wanted: usize,
) -> Result<Vec<Row>, Fault> {
    let limit = wanted.clamp(SEEN, 1024);
    let mut end = end.to_vec();
    while from < &*end {
        let low = match widen(tree, from, &end, limit)? {
            Window::All(rows) => return Ok(rows),
            Window::More(low) => low,
        };
        let rows = narrow(tree, low.to_vec(), &end, limit)?;
        if !rows.is_empty() {
            return Ok(rows);
        }
        // What was seen was removed meanwhile: nothing is left from there on.
        end = low.to_vec();
    }
    Ok(Vec::new())
}

/// What follows a start.
enum Window {
    /// All rows up to the end.
    All(Vec<Row>),
    /// More than were asked for; the key of the last one seen.
    More(IVec),
}

impl Window {
    fn read(tree: &Tree, start: &[u8], end: &[u8], limit: usize) -> Result<Self, Fault> {
        let mut rows = Vec::new();
        if start >= end {
            return Ok(Self::All(rows));
        }
        for row in tree.range(start..end) {
            let row = row.map_err(|error| Fault::io("scanning the store", error))?;
            if rows.len() == limit {
                return Ok(Self::More(row.0));
            }
            rows.push(row);
        }
        Ok(Self::All(rows))
    }
}

/// Goes back from `end` until rows follow, at most to `from`.
fn widen(tree: &Tree, from: &[u8], end: &[u8], limit: usize) -> Result<Window, Fault> {
    let mut cut = 1;
    loop {
        let start = from.max(&end[..end.len().saturating_sub(cut)]);
        match Window::read(tree, start, end, limit)? {
            Window::All(rows) if rows.is_empty() && start > from => cut *= 2,
            found => return Ok(found),
        }
    }
}

/// The last rows from `low` on, a row with many after it.
fn narrow(tree: &Tree, mut low: Vec<u8>, end: &[u8], limit: usize) -> Result<Vec<Row>, Fault> {
    let mut end = end.to_vec();
    for step in 1u64.. {
        let middle = between(&low, &end);
        let start = if step % STEP_EVERY == 0 || middle <= low { &low } else { &middle };
        match Window::read(tree, start, &end, limit)? {
            Window::All(rows) if rows.is_empty() && *start > low => end = middle,
            Window::All(rows) => return Ok(rows),
            Window::More(seen) => low = seen.to_vec(),
        }
    }
    unreachable!("an endless loop has ended")
}

/// A key halfway between two, both taken as fractions of 256. Not above `low` only when they are
/// equal but for zeros at their ends.
fn between(low: &[u8], high: &[u8]) -> Vec<u8> {
    let length = low.len().max(high.len()) + 1;
    let digit = |key: &[u8], at: usize| u16::from(key.get(at).copied().unwrap_or(0));
    let mut sum = vec![0; length];
    let mut carry = 0;
    for at in (0..length).rev() {
        let added = digit(low, at) + digit(high, at) + carry;
        sum[at] = (added & 0xff) as u8;
        carry = added >> 8;
    }
    // The carry is the digit before the first one: halving moves it in.
    let mut over = carry;
    for digit in &mut sum {
        let now = over << 8 | u16::from(*digit);
        *digit = (now >> 1) as u8;
        over = now & 1;
    }
    while sum.last() == Some(&0) {
        sum.pop();
    }
    sum
}

#[cfg(test)]
mod tests;
