//! How records become bytes: a version, bincode, a checksum.
//!
//! `[version u8][bincode 1.3, variable-length integers, no trailing bytes][crc32 of all before, LE]`
//!
//! The version belongs to the record's type. A record of an older version is brought up by
//! [`Record::upgrade`]; one of a newer version is a fault, since only a newer program wrote it.

use std::sync::Arc;

use bincode::Options;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::kv::{Fault, Value};
use crate::limits;
use crate::store::schema::Tree;

/// A stored record.
pub trait Record: Serialize + DeserializeOwned {
    /// The tree it lives in.
    const TREE: Tree;
    /// The version that is written today.
    const VERSION: u8 = 1;

    /// Reads the payload of an older version. Types that have had only one keep this.
    fn upgrade(_version: u8, _payload: &[u8]) -> Option<Self> {
        None
    }
}

/// Version and checksum.
const FRAME_BYTES: usize = 5;

fn format() -> impl Options {
    let payload = (limits::ROW_BYTES - FRAME_BYTES) as u64;
    bincode::DefaultOptions::new().with_limit(payload).reject_trailing_bytes()
}

/// The bytes of a record. A record over [`limits::ROW_BYTES`] is a broken invariant: whoever
/// accepts input bounds it.
pub fn encode<R: Record>(record: &R) -> Value {
    let mut bytes = Vec::with_capacity(128);
    bytes.push(R::VERSION);
    let written = format().serialize_into(&mut bytes, record);
    assert!(written.is_ok(), "a record of {} does not fit a row: {written:?}", R::TREE.name());
    let checksum = crc32fast::hash(&bytes);
    bytes.extend_from_slice(&checksum.to_le_bytes());
    Arc::from(bytes)
}

/// The payload of an older version, for [`Record::upgrade`].
pub fn payload<T: DeserializeOwned>(payload: &[u8]) -> Option<T> {
    format().deserialize(payload).ok()
}

/// The record in these bytes.
pub fn decode<R: Record>(bytes: &[u8]) -> Result<R, Fault> {
    let damaged = |why: &str| Fault::Damaged { tree: R::TREE.name(), why: why.to_owned() };
    let (framed, checksum) = bytes.split_last_chunk::<4>().ok_or_else(|| damaged("too short"))?;
    if crc32fast::hash(framed) != u32::from_le_bytes(*checksum) {
        return Err(damaged("wrong checksum"));
    }
    let (version, payload) = framed.split_first().ok_or_else(|| damaged("empty"))?;
    if *version > R::VERSION {
        return Err(damaged(&format!("version {version} of a newer duebox")));
    }
    if *version < R::VERSION {
        return R::upgrade(*version, payload)
            .ok_or_else(|| damaged(&format!("version {version} that cannot be upgraded")));
    }
    format().deserialize(payload).map_err(|error| damaged(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Deserialize;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        name: String,
        count: u64,
    }

    impl Record for Sample {
        const TREE: Tree = Tree::Meta;
    }

    #[test]
    fn round_trip_and_every_flip_is_noticed() {
        let sample = Sample { name: "任务".into(), count: 300 };
        let bytes = encode(&sample).to_vec();
        assert_eq!(decode::<Sample>(&bytes).unwrap(), sample);
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x10;
            assert!(decode::<Sample>(&damaged).is_err(), "flip at {at}");
            assert!(decode::<Sample>(&bytes[..at]).is_err(), "cut at {at}");
        }
    }
}
