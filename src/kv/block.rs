//! A block: rows with ascending keys as one value of sled.
//!
//! ```text
//! version u8 | rows | crc32 of all before, LE
//! row   bytes shared with the key before, varint | further key bytes, varint | value bytes, varint
//!       | further key | value
//! ```

use super::Fault;
use super::varint::{put_varint, take, take_varint};

const VERSION: u8 = 1;
/// Version and checksum.
const FRAME_BYTES: usize = 5;

/// Writes one block.
pub(super) struct Builder {
    bytes: Vec<u8>,
    last: Vec<u8>,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self { bytes: vec![VERSION], last: Vec::new() }
    }

    /// Appends a row; its key is larger than all before.
    pub(super) fn push(&mut self, key: &[u8], value: &[u8]) {
        let shared = if self.is_empty() {
            0
        } else {
            debug_assert!(*self.last < *key, "rows of a block go up");
            self.last.iter().zip(key).take_while(|(left, right)| left == right).count()
        };
        put_varint(&mut self.bytes, shared as u64);
        put_varint(&mut self.bytes, (key.len() - shared) as u64);
        put_varint(&mut self.bytes, value.len() as u64);
        self.bytes.extend_from_slice(&key[shared..]);
        self.bytes.extend_from_slice(value);
        self.last.truncate(shared);
        self.last.extend_from_slice(&key[shared..]);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.len() == 1
    }

    /// Bytes of the finished block, if it were finished now.
    pub(super) fn len(&self) -> usize {
        self.bytes.len() + FRAME_BYTES - 1
    }

    pub(super) fn finish(mut self) -> Vec<u8> {
        let checksum = crc32fast::hash(&self.bytes);
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.bytes
    }
}

/// Reads the rows of a block one after another.
pub(super) struct Rows<'a> {
    tree: &'static str,
    rest: &'a [u8],
    key: Vec<u8>,
    value: &'a [u8],
}

impl<'a> Rows<'a> {
    /// Checks the frame. `tree` is for the error.
    pub(super) fn new(tree: &'static str, block: &'a [u8]) -> Result<Self, Fault> {
        let damaged = |why: String| Fault::Damaged { tree, why };
        let Some((framed, checksum)) = block.split_last_chunk::<4>() else {
            return Err(damaged("a block that is too short".into()));
        };
        if crc32fast::hash(framed) != u32::from_le_bytes(*checksum) {
            return Err(damaged("a block with a wrong checksum".into()));
        }
        match framed.split_first() {
            Some((&VERSION, rest)) => Ok(Self { tree, rest, key: Vec::new(), value: &[] }),
            other => {
                Err(damaged(format!("a block of version {:?}", other.map(|(first, _)| first))))
            }
        }
    }

    /// Goes to the next row, if there is one.
    pub(super) fn advance(&mut self) -> Result<bool, Fault> {
        if self.rest.is_empty() {
            return Ok(false);
        }
        if self.step().is_none() {
            return Err(Fault::Damaged {
                tree: self.tree,
                why: "a block that ends in a row".into(),
            });
        }
        Ok(true)
    }

    fn step(&mut self) -> Option<()> {
        let shared = usize::try_from(take_varint(&mut self.rest)?).ok()?;
        let further = usize::try_from(take_varint(&mut self.rest)?).ok()?;
        let value = usize::try_from(take_varint(&mut self.rest)?).ok()?;
        if shared > self.key.len() {
            return None;
        }
        self.key.truncate(shared);
        self.key.extend_from_slice(take(&mut self.rest, further)?);
        self.value = take(&mut self.rest, value)?;
        Some(())
    }

    /// The key of the present row.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The value of the present row.
    pub(super) fn value(&self) -> &'a [u8] {
        self.value
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Pairs = Vec<(Vec<u8>, Vec<u8>)>;

    fn read(block: &[u8]) -> Result<Pairs, Fault> {
        let mut rows = Rows::new("outbox", block)?;
        let mut found = Vec::new();
        while rows.advance()? {
            found.push((rows.key().to_vec(), rows.value().to_vec()));
        }
        Ok(found)
    }

    #[test]
    fn rows_come_back_and_every_flip_and_cut_is_noticed() {
        let rows: Pairs = vec![
            (vec![], b"empty key".to_vec()),
            (b"a".to_vec(), vec![]),
            (b"ab".to_vec(), vec![7; 300]),
            (b"abc".to_vec(), b"x".to_vec()),
            (vec![0xff; 200], b"y".to_vec()),
        ];
        let mut builder = Builder::new();
        assert!(builder.is_empty());
        for (key, value) in &rows {
            builder.push(key, value);
        }
        let expected = builder.len();
        let block = builder.finish();
        assert_eq!(block.len(), expected);
        assert_eq!(read(&block).unwrap(), rows);
        for at in 0..block.len() {
            let mut damaged = block.clone();
            damaged[at] ^= 0x04;
            assert!(read(&damaged).is_err(), "flip at {at}");
            assert!(read(&block[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_block_with_a_right_checksum_and_wrong_rows_is_refused() {
        for rows in [&[1, 1, 0, b'a'][..], &[0, 9, 0, b'a'], &[0, 1, 9, b'a'], &[0x80]] {
            let mut block = vec![VERSION];
            block.extend_from_slice(rows);
            let checksum = crc32fast::hash(&block);
            block.extend_from_slice(&checksum.to_le_bytes());
            assert!(matches!(read(&block), Err(Fault::Damaged { .. })), "{rows:?}");
        }
    }

    #[test]
    fn a_hostile_block_is_read_to_an_end_or_refused() {
        use crate::mutants::{Mutants, sealed};
        let mut builder = Builder::new();
        for (key, value) in [(&b"a"[..], &b""[..]), (b"ab", &[7; 300]), (&[0xff; 200], b"y")] {
            builder.push(key, value);
        }
        let block = builder.finish();
        let (mut whole, mut refused) = (0, 0);
        for bytes in Mutants::of(&[&block[..block.len() - 4]], 20_000) {
            assert!(bytes == block[..block.len() - 4] || read(&bytes).is_err() || bytes.is_empty());
            // Were it not for the checksum.
            match read(&sealed(bytes.clone())) {
                Ok(rows) => {
                    whole += 1;
                    let values: usize = rows.iter().map(|(_, value)| value.len()).sum();
                    assert!(rows.len() <= bytes.len() && values <= bytes.len(), "{bytes:?}");
                }
                Err(Fault::Damaged { .. }) => refused += 1,
                Err(other) => panic!("{other:?}"),
            }
        }
        assert!(whole > 0 && refused > 0, "{whole} {refused}");
    }
}
