//! The ledger of messages that users saw: the judge of "none lost, none twice".
//!
//! It is built for millions: a message takes about 40 bytes and its `client_msg_id`, equal contents
//! are stored once while they come close together, and twice-shown contents are found by hash.

use std::collections::{HashMap, HashSet};

use super::hash::hash;
use crate::time::Timestamp;

/// Added to the number of a message for its `msgid`, so that it is as large as a real one: above
/// what a double holds exactly.
const MSGID_BASE: u64 = 3_600_000_000_000_000_000;
/// Messages in one piece of the list; pieces never move.
const PIECE: usize = 65_536;
/// Bytes in one piece of text. No text is longer, because no body is.
const TEXT_PIECE: usize = 1 << 20;
/// Contents that are looked for before one is stored again.
const INTERNED: usize = 65_536;

/// A message to show.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    pub(super) account: usize,
    pub(super) person: u32,
    pub(super) template: usize,
    /// The keywords shown, as a JSON object of strings.
    pub(super) data: &'a str,
    /// Hash of the template and `data`.
    pub(super) content: u64,
    pub(super) client_msg_id: &'a str,
    pub(super) at: Timestamp,
}

/// What came of showing a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    pub(super) msgid: u64,
    pub(super) novelty: Novelty,
}

/// Whether the user has seen the same content before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Novelty {
    New,
    Again,
}

/// An entry of the ledger, as it is listed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Listed<'a> {
    /// Its number, from 1.
    pub(super) number: u64,
    pub(super) msgid: u64,
    pub(super) message: Message<'a>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    at: Timestamp,
    data: Span,
    client_msg_id: Span,
    person: u32,
    account: u16,
    template: u16,
}

#[derive(Clone, Copy, Debug)]
struct Span {
    piece: u32,
    from: u32,
    to: u32,
}

/// Whether messages are kept for listing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keep {
    Messages,
    CountsOnly,
}

/// All messages shown, in order.
#[derive(Debug)]
pub(super) struct Ledger {
    keep: Keep,
    numbers: u64,
    strays: u64,
    pieces: Vec<Vec<Entry>>,
    texts: Vec<String>,
    interned: HashMap<u64, Span>,
    seen: HashSet<u64>,
}

impl Ledger {
    pub(super) fn new(keep: Keep) -> Self {
        let (pieces, texts, interned, seen) = Default::default();
        Self { keep, numbers: 0, strays: 0, pieces, texts, interned, seen }
    }

    /// Shows a message to its person.
    pub(super) fn show(&mut self, message: &Message<'_>) -> Shown {
        self.numbers += 1;
        let number = self.numbers;
        let account = u16::try_from(message.account).unwrap_or(u16::MAX);
        let key = hash(message.content, &[&account.to_le_bytes(), &message.person.to_le_bytes()]);
        let novelty = if self.seen.insert(key) { Novelty::New } else { Novelty::Again };
        if self.keep == Keep::Messages {
            self.keep(message, account);
        }
        Shown { msgid: MSGID_BASE + number, novelty }
    }

    /// A `msgid` that belongs to no message. Those of messages are far below.
    pub(super) fn fresh_msgid(&mut self) -> u64 {
        self.strays += 1;
        MSGID_BASE + MSGID_BASE / 2 + self.strays
    }

    /// The kept messages after number `after`, in order.
    pub(super) fn after(&self, after: u64) -> impl Iterator<Item = Listed<'_>> + '_ {
        let first = usize::try_from(after).unwrap_or(usize::MAX);
        let (piece, offset) = (first / PIECE, first % PIECE);
        let pieces = self.pieces.get(piece..).unwrap_or_default();
        let entries = pieces.iter().enumerate().flat_map(move |(i, entries)| {
            entries.get(if i == 0 { offset } else { 0 }..).unwrap_or_default()
        });
        entries.zip(after.saturating_add(1)..).map(|(entry, number)| self.listed(entry, number))
    }

    fn listed(&self, entry: &Entry, number: u64) -> Listed<'_> {
        let message = Message {
            account: usize::from(entry.account),
            person: entry.person,
            template: usize::from(entry.template),
            data: self.text(entry.data),
            content: 0,
            client_msg_id: self.text(entry.client_msg_id),
            at: entry.at,
        };
        Listed { number, msgid: MSGID_BASE + number, message }
    }

    fn keep(&mut self, message: &Message<'_>, account: u16) {
        let entry = Entry {
            at: message.at,
            data: self.intern(message.content, message.data),
            client_msg_id: self.store(message.client_msg_id),
            person: message.person,
            account,
            template: u16::try_from(message.template).unwrap_or(u16::MAX),
        };
        match self.pieces.last_mut() {
            Some(piece) if piece.len() < PIECE => piece.push(entry),
            _ => {
                let mut piece = Vec::with_capacity(PIECE);
                piece.push(entry);
                self.pieces.push(piece);
            }
        }
    }

    fn intern(&mut self, content: u64, text: &str) -> Span {
        if let Some(&span) = self.interned.get(&content) {
            return span;
        }
        let span = self.store(text);
        if self.interned.len() >= INTERNED {
            self.interned.clear();
        }
        self.interned.insert(content, span);
        span
    }

    fn store(&mut self, text: &str) -> Span {
        if self.texts.last().is_none_or(|piece| piece.len() + text.len() > TEXT_PIECE) {
            self.texts.push(String::with_capacity(TEXT_PIECE));
        }
        let last = self.texts.len() - 1;
        let piece = &mut self.texts[last];
        let short = |length: usize| u32::try_from(length).unwrap_or(u32::MAX);
        let from = short(piece.len());
        piece.push_str(text);
        Span { piece: short(last), from, to: short(piece.len()) }
    }

    fn text(&self, span: Span) -> &str {
        &self.texts[span.piece as usize][span.from as usize..span.to as usize]
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn message(person: u32, content: u64) -> Message<'static> {
        Message {
            account: 0,
            person,
            template: 0,
            data: "{\"thing1\":\"x\"}",
            content,
            client_msg_id: "m",
            at: Timestamp(5),
        }
    }

    #[test]
    fn the_same_content_is_a_duplicate_for_the_same_person_only() {
        let mut ledger = Ledger::new(Keep::CountsOnly);
        let novelty = |ledger: &mut Ledger, message| ledger.show(&message).novelty;
        assert_eq!(novelty(&mut ledger, message(1, 7)), Novelty::New);
        assert_eq!(novelty(&mut ledger, message(2, 7)), Novelty::New);
        assert_eq!(novelty(&mut ledger, message(1, 8)), Novelty::New);
        assert_eq!(novelty(&mut ledger, Message { account: 1, ..message(1, 7) }), Novelty::New);
        assert_eq!(novelty(&mut ledger, message(1, 7)), Novelty::Again);
        assert_eq!(ledger.after(0).count(), 0);
    }

    #[test]
    fn pages_continue_across_pieces() {
        let mut ledger = Ledger::new(Keep::Messages);
        let many = PIECE as u32 + 10;
        for person in 0..many {
            ledger.show(&message(person, u64::from(person) % 5));
        }
        let after = PIECE as u64 - 2;
        let page: Vec<_> =
            ledger.after(after).take(4).map(|m| (m.number, m.message.person)).collect();
        let first = PIECE as u32 - 2;
        assert_eq!(
            page,
            (first..first + 4).map(|person| (u64::from(person) + 1, person)).collect::<Vec<_>>()
        );
        assert_eq!(ledger.after(0).count(), many as usize);
        assert_eq!(ledger.after(u64::from(many)).count(), 0);
        assert_eq!(ledger.after(u64::MAX).count(), 0);
        let last = ledger.after(u64::from(many) - 1).next().unwrap();
        assert_eq!((last.message.client_msg_id, last.message.at), ("m", Timestamp(5)));
        assert_eq!(last.message.data, "{\"thing1\":\"x\"}");
    }
}
