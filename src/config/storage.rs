//! `[storage]` and `drain`: how the data directory is used. Nobody needs to touch these.

use super::data_dir::NetworkDisk;
use super::section::Section;
use super::text::{GIB, KIB, MIB};
use crate::limits;
use crate::time::{DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS};

/// How the data directory is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Storage {
    /// The store's cache in bytes. The process may use several times as much under large batches.
    pub cache_bytes: u64,
    /// Time between images.
    pub image_every_ms: u64,
    /// A journal file of this many bytes is followed by a new one.
    pub journal_file_bytes: u64,
    /// How long a copy of the running directory may take before files it needs are deleted.
    pub copy_ms: u64,
    /// Below this much free space new work is refused; what is under way is finished.
    pub min_free_bytes: u64,
    /// Whether a network file system is accepted.
    pub network_disk: NetworkDisk,
}

impl Default for Storage {
    fn default() -> Self {
        Self {
            cache_bytes: 16 * MIB,
            image_every_ms: HOUR_MS,
            journal_file_bytes: limits::JOURNAL_FILE_BYTES,
            copy_ms: limits::COPY_MS,
            min_free_bytes: 512 * MIB,
            network_disk: NetworkDisk::Refuse,
        }
    }
}

/// How long a stopping daemon waits when the file does not say. The longest request is shorter.
const DRAIN_MS: u64 = 20 * SECOND_MS;

/// Reads `[storage]` and `drain`.
pub(super) fn read(top: &Section<'_>) -> (Storage, u64) {
    let unset = Storage::default();
    let storage = top.section("storage", |section| Storage {
        cache_bytes: section.bytes("cache", 8 * MIB..=64 * GIB, unset.cache_bytes),
        image_every_ms: section.duration_ms(
            "image_every",
            MINUTE_MS..=7 * DAY_MS,
            unset.image_every_ms,
        ),
        journal_file_bytes: section.bytes(
            "journal_file",
            64 * KIB..=limits::JOURNAL_FILE_BYTES,
            unset.journal_file_bytes,
        ),
        copy_ms: section.duration_ms("copy_time", SECOND_MS..=7 * DAY_MS, unset.copy_ms),
        min_free_bytes: section.bytes("min_free_disk", 0..=1024 * GIB, unset.min_free_bytes),
        network_disk: if section.flag("allow_network_fs") {
            NetworkDisk::Allow
        } else {
            NetworkDisk::Refuse
        },
    });
    let drain_ms = top.duration_ms("drain", SECOND_MS..=10 * MINUTE_MS, DRAIN_MS);
    (storage.unwrap_or(unset), drain_ms)
}
