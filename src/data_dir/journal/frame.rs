//! The bytes of a journal: file header and frames. All integers are big-endian.
//!
//! ```text
//! header  magic 8 | format u32 | instance u128 | previous instance u128 | first seq u64 | crc u32
//! frame   body length u32 | seq u64 | crc u32 of these | crc u32 of body | body
//! removed magic 8 | zeros | first seq u64 | crc u32, of the length of a header
//! body    per change: tree u8 | key length varint | key | 0 for a delete, else value length + 1,
//!         as varint | value
//! ```
//!
//! The head has its own checksum so that a frame whose end is missing can be told from one whose
//! length is wrong: the first is what a crash leaves, the second is damage.

use std::sync::Arc;

use crate::data_dir::FORMAT;
use crate::data_dir::identity::InstanceId;
use crate::kv::Write;
use crate::kv::varint::{put_varint, take, take_varint};
use crate::limits;
use crate::store::schema::Tree;

/// Bytes of a file's header.
pub const HEADER_BYTES: usize = 56;
/// Bytes of a frame before its body.
pub const FRAME_HEAD_BYTES: usize = 20;

const MAGIC: &[u8; 8] = b"dueboxJ\n";
const MAGIC_REMOVED: &[u8; 8] = b"dueboxR\n";

/// The header of a journal file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Who wrote the file.
    pub instance: InstanceId,
    /// Who wrote the file before it; 0 when there was none. Files of two copies do not chain up.
    pub previous: InstanceId,
    /// The number of the first commit in the file.
    pub first_seq: u64,
}

/// Why bytes are no header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadHeader {
    /// Too short, wrong magic or wrong checksum.
    Damaged,
    /// Written by a newer program, in this format.
    Newer(u32),
    /// A note in place of a file that was removed.
    Removed,
}

impl Header {
    /// The header as bytes.
    #[must_use]
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_be_bytes());
        bytes[12..28].copy_from_slice(&self.instance.0.to_be_bytes());
        bytes[28..44].copy_from_slice(&self.previous.0.to_be_bytes());
        bytes[44..52].copy_from_slice(&self.first_seq.to_be_bytes());
        let crc = crc32fast::hash(&bytes[..52]);
        bytes[52..].copy_from_slice(&crc.to_be_bytes());
        bytes
    }

    /// Reads the header at the start of a file's bytes.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadHeader> {
        let bytes: &[u8; HEADER_BYTES] =
            bytes.get(..HEADER_BYTES).and_then(|b| b.try_into().ok()).ok_or(BadHeader::Damaged)?;
        let right = crc32fast::hash(&bytes[..52]) == u32_at(bytes, 52);
        if right && &bytes[..8] == MAGIC_REMOVED {
            return Err(BadHeader::Removed);
        }
        if !right || &bytes[..8] != MAGIC {
            return Err(BadHeader::Damaged);
        }
        match u32_at(bytes, 8) {
            FORMAT => {}
            newer if newer > FORMAT => return Err(BadHeader::Newer(newer)),
            _ => return Err(BadHeader::Damaged),
        }
        let wide =
            |at: usize| (u128::from(u64_at(bytes, at)) << 64) | u128::from(u64_at(bytes, at + 8));
        Ok(Self {
            instance: InstanceId(wide(12)),
            previous: InstanceId(wide(28)),
            first_seq: u64_at(bytes, 44),
        })
    }
}

/// What takes the place of a removed file: without it, a copy that was made too slowly would end
/// before that file and could not be told from a whole one.
#[must_use]
pub fn removed(first_seq: u64) -> [u8; HEADER_BYTES] {
    let mut bytes = [0; HEADER_BYTES];
    bytes[..8].copy_from_slice(MAGIC_REMOVED);
    bytes[44..52].copy_from_slice(&first_seq.to_be_bytes());
    let crc = crc32fast::hash(&bytes[..52]);
    bytes[52..].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// Writes one frame into `buffer`, replacing what it held.
///
/// # Panics
/// When the frame exceeds [`limits::FRAME_BYTES`]: groups are bounded long before.
pub fn encode(buffer: &mut Vec<u8>, seq: u64, writes: &[Write]) {
    buffer.clear();
    buffer.extend_from_slice(&[0; FRAME_HEAD_BYTES]);
    for write in writes {
        put_write(buffer, write);
    }
    assert!(
        buffer.len() <= limits::FRAME_BYTES,
        "commit {seq} is {} bytes, more than a frame may have",
        buffer.len()
    );
    let length = (buffer.len() - FRAME_HEAD_BYTES) as u32;
    let body_crc = crc32fast::hash(&buffer[FRAME_HEAD_BYTES..]);
    buffer[..4].copy_from_slice(&length.to_be_bytes());
    buffer[4..12].copy_from_slice(&seq.to_be_bytes());
    let head_crc = crc32fast::hash(&buffer[..12]);
    buffer[12..16].copy_from_slice(&head_crc.to_be_bytes());
    buffer[16..20].copy_from_slice(&body_crc.to_be_bytes());
}

/// A frame found at the start of some bytes; its checksum is right.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    /// The commit's number.
    pub seq: u64,
    /// The changes, still encoded.
    pub body: &'a [u8],
}

impl<'a> Frame<'a> {
    /// The frame at the start of `bytes`, or `None` when there is no whole, right one.
    #[must_use]
    pub fn parse(bytes: &'a [u8]) -> Option<Self> {
        let (seq, total) = parse_head(bytes)?;
        let body = bytes.get(FRAME_HEAD_BYTES..total)?;
        (crc32fast::hash(body) == u32_at(bytes, 16)).then_some(Self { seq, body })
    }

    /// Bytes of the whole frame.
    #[must_use]
    pub fn total(&self) -> usize {
        FRAME_HEAD_BYTES + self.body.len()
    }

    /// The changes, or `None` when the body is not what [`encode`] writes (an unknown tree, say).
    #[must_use]
    pub fn writes(&self) -> Option<Vec<Write>> {
        let mut rest = self.body;
        let mut writes = Vec::new();
        while !rest.is_empty() {
            writes.push(take_write(&mut rest)?);
        }
        Some(writes)
    }
}

/// The number and whole length of the frame whose head begins `bytes`, if the head is right.
pub(in crate::data_dir) fn parse_head(bytes: &[u8]) -> Option<(u64, usize)> {
    let head = bytes.get(..FRAME_HEAD_BYTES)?;
    let total = FRAME_HEAD_BYTES.checked_add(u32_at(head, 0) as usize)?;
    let seq = u64_at(head, 4);
    let right =
        seq > 0 && total <= limits::FRAME_BYTES && crc32fast::hash(&head[..12]) == u32_at(head, 12);
    right.then_some((seq, total))
}

/// Appends one change in the encoding of frames; images use it too.
pub(crate) fn put_write(buffer: &mut Vec<u8>, write: &Write) {
    buffer.push(write.tree.0);
    put_varint(buffer, write.key.len() as u64);
    buffer.extend_from_slice(&write.key);
    match &write.value {
        None => put_varint(buffer, 0),
        Some(value) => {
            put_varint(buffer, value.len() as u64 + 1);
            buffer.extend_from_slice(value);
        }
    }
}

/// Takes one change off the front of `rest`.
pub(crate) fn take_write(rest: &mut &[u8]) -> Option<Write> {
    let (&number, tail) = rest.split_first()?;
    *rest = tail;
    let tree = Tree::from_number(number)?;
    let key_bytes = usize::try_from(take_varint(rest)?).ok()?;
    let key = take(rest, key_bytes)?.to_vec();
    let value = match take_varint(rest)? {
        0 => None,
        more => Some(Arc::from(take(rest, usize::try_from(more - 1).ok()?)?)),
    };
    Some(Write { tree: tree.number(), key, value })
}

pub(crate) fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut number = [0; 4];
    number.copy_from_slice(&bytes[at..at + 4]);
    u32::from_be_bytes(number)
}

pub(crate) fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut number = [0; 8];
    number.copy_from_slice(&bytes[at..at + 8]);
    u64::from_be_bytes(number)
}

#[cfg(test)]
pub(in crate::data_dir) mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    pub(in super::super) fn changes() -> Vec<Write> {
        let put = |key: &[u8], value: &[u8]| Write {
            tree: Tree::Outbox.number(),
            key: key.to_vec(),
            value: Some(Arc::from(value)),
        };
        vec![
            put(b"a", b""),
            put(&[7; 200], &[9; 6000]),
            Write { tree: Tree::Spare.number(), key: Vec::new(), value: None },
        ]
    }

    #[test]
    fn frames_round_trip_and_every_flipped_bit_is_noticed() {
        let mut bytes = Vec::new();
        encode(&mut bytes, 42, &changes());
        let frame = Frame::parse(&bytes).unwrap();
        assert_eq!((frame.seq, frame.total(), frame.writes()), (42, bytes.len(), Some(changes())));
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert!(Frame::parse(&bytes).is_none(), "bit {bit}");
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        for cut in 0..bytes.len() {
            assert!(Frame::parse(&bytes[..cut]).is_none(), "cut at {cut}");
        }
    }

    #[test]
    fn headers_round_trip_and_damage_and_newer_formats_are_told_apart() {
        let header =
            Header { instance: InstanceId(u128::MAX - 5), previous: InstanceId(3), first_seq: 99 };
        let mut bytes = header.encode();
        assert_eq!(Header::decode(&bytes), Ok(header));
        bytes[30] ^= 1;
        assert_eq!(Header::decode(&bytes), Err(BadHeader::Damaged));
        assert_eq!(Header::decode(&bytes[..55]), Err(BadHeader::Damaged));
        let mut newer = header.encode();
        newer[11] = 2;
        let crc = crc32fast::hash(&newer[..52]);
        newer[52..].copy_from_slice(&crc.to_be_bytes());
        assert_eq!(Header::decode(&newer), Err(BadHeader::Newer(2)));
    }

    #[test]
    fn a_hostile_frame_is_the_good_one_or_none() {
        use crate::mutants::Mutants;
        let mut good = Vec::new();
        encode(&mut good, 42, &changes());
        let header =
            Header { instance: InstanceId(5), previous: InstanceId(3), first_seq: 99 }.encode();
        for bytes in Mutants::of(&[&good, &header], 20_000) {
            if let Some(frame) = Frame::parse(&bytes) {
                assert_eq!(bytes[..frame.total()], good);
            }
            if let Ok(read) = Header::decode(&bytes) {
                assert_eq!(read.encode(), header);
            }
            // Were it not for the checksums.
            let mut rest = &bytes[bytes.len().min(FRAME_HEAD_BYTES)..];
            let (most, mut taken) = (rest.len(), 0);
            while let Some(write) = take_write(&mut rest) {
                taken += write.key.len() + write.value.map_or(0, |value| value.len()) + 3;
            }
            assert!(taken <= most, "{bytes:?}");
        }
    }
}
