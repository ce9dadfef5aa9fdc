//! Images: all rows of the base in one compressed, checksummed file. All integers are big-endian.
//!
//! ```text
//! header   magic 8 | format u32 | instance u128 | start seq u64 | crc u32
//! block    packed length u32 | raw length u32, not 0 | crc u32 | packed rows (LZ4 block)
//! trailer  body length u32 | 0 u32 | crc u32 | end seq u64 | rows of each tree u64, as many as
//!          the program knew | crc u32 over the crcs of all blocks
//! ```
//!
//! An image is scanned while commits go on. It holds everything up to `start` and may hold any part
//! of what came after, up to `end`: it is the exact state only together with the journal from
//! `start + 1` to at least `end`. A crc covers all of its section but itself. A raw block is a run
//! of puts in the journal's encoding, in key order. A file without a right trailer at its very end
//! is no image.

pub mod reader;
mod shrinkage;
pub mod writer;

use std::path::{Path, PathBuf};

use crate::data_dir::identity::InstanceId;
use crate::store::schema::Tree;

pub(in crate::data_dir) const MAGIC: &[u8; 8] = b"dueboxI\n";
pub(in crate::data_dir) const HEADER_BYTES: usize = 40;
pub(in crate::data_dir) const BLOCK_HEAD_BYTES: usize = 12;
/// The body of a trailer without the rows of trees.
pub(in crate::data_dir) const TRAILER_BYTES: usize = 12;

/// Above every key: no key is this long.
pub(in crate::data_dir) const END_OF_KEYS: [u8; 4096] = [0xff; 4096];

/// Where images are in a data directory.
#[must_use]
pub fn dir_in(data_dir: &Path) -> PathBuf {
    data_dir.join("images")
}

/// What is known of a complete image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageInfo {
    /// The file.
    pub path: PathBuf,
    /// Who made it.
    pub instance: InstanceId,
    /// Every commit up to this one is in it.
    pub start_seq: u64,
    /// No commit after this one has left a trace in it.
    pub end_seq: u64,
    /// Rows by tree, in the order of [`Tree::ALL`].
    pub rows_by_tree: [u64; Tree::ALL.len()],
    /// Length of the file in bytes.
    pub bytes: u64,
}

impl ImageInfo {
    /// The file's name.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    /// All rows.
    #[must_use]
    pub fn rows(&self) -> u64 {
        self.rows_by_tree.iter().sum()
    }
}

/// The checksum of a block or trailer: both lengths and the body.
pub(in crate::data_dir) fn section_crc(body: &[u8], raw_bytes: u32) -> u32 {
    let mut hasher = crc32fast::Hasher::new();
    hasher.update(&(body.len() as u32).to_be_bytes());
    hasher.update(&raw_bytes.to_be_bytes());
    hasher.update(body);
    hasher.finalize()
}
