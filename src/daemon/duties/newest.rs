//! The newest image of a directory, and how far the journal has grown since.

use std::path::Path;
use std::time::Instant;

use crate::data_dir::{image, journal};

/// The newest image. It outlives restarts: else a daemon that is often started again would never
/// make one.
pub(super) struct Newest {
    /// About when it was made; without one, now.
    pub(super) made: Instant,
    /// The journal's bytes up to it.
    pub(super) journal_bytes: u64,
    /// About how many bytes the next one takes: its own, or more, if that was too little.
    pub(super) bytes: u64,
    /// Whether the next one waits for room.
    pub(super) put_off: bool,
}

impl Newest {
    pub(super) fn find(data_dir: &Path) -> Self {
        let now = Instant::now();
        let images = image::reader::list(&image::dir_in(data_dir)).unwrap_or_default();
        let Some((start, path)) = images.first() else {
            return Self { made: now, journal_bytes: 0, bytes: 0, put_off: false };
        };
        let meta = std::fs::metadata(path).ok();
        let made = meta.as_ref().and_then(|meta| meta.modified().ok());
        let age = made.and_then(|made| made.elapsed().ok()).unwrap_or_default();
        let files = journal::list(&journal::dir_in(data_dir)).unwrap_or_default();
        let before = files.iter().filter(|file| file.first_seq <= *start);
        Self {
            made: now.checked_sub(age).unwrap_or(now),
            journal_bytes: before.map(|file| file.bytes).sum(),
            bytes: meta.map_or(0, |meta| meta.len()),
            put_off: false,
        }
    }
}

/// Bytes in the journal's files.
pub(super) fn journal_bytes(data_dir: &Path) -> u64 {
    let files = journal::list(&journal::dir_in(data_dir));
    files.map_or(0, |files| files.iter().map(|file| file.bytes).sum())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::time::Duration;

    use super::*;
    use crate::data_dir::identity::InstanceId;
    use crate::data_dir::image::writer::make;
    use crate::data_dir::journal::JournalWriter;
    use crate::kv::Kv as _;
    use crate::kv::memory::MemoryKv;
    use crate::store::applied_write;

    #[test]
    fn growth_and_age_since_the_newest_image_outlive_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let (journals, images) = (journal::dir_in(dir.path()), image::dir_in(dir.path()));
        let one = InstanceId(1);
        let mut writer = JournalWriter::create(&journals, 1, one, InstanceId(0)).unwrap();
        writer.append(1, &[applied_write(1)]).unwrap();
        let with_one = journal_bytes(dir.path());
        assert_eq!(Newest::find(dir.path()).journal_bytes, 0, "without an image all of it counts");
        let kv = MemoryKv::new();
        kv.apply(&[applied_write(1)]).unwrap();
        let made = make(&kv, &images, one, &|| 1, &mut |_| {}).unwrap();
        let hour = Duration::from_secs(3_600);
        let file = std::fs::File::options().append(true).open(&made.path).unwrap();
        file.set_modified(std::time::SystemTime::now() - hour).unwrap();
        let mut writer = JournalWriter::create(&journals, 2, one, one).unwrap();
        writer.append(2, &[applied_write(2)]).unwrap();
        let newest = Newest::find(dir.path());
        assert!(hour <= newest.made.elapsed() && newest.bytes == made.bytes);
        assert!(newest.journal_bytes == with_one && with_one < journal_bytes(dir.path()));
    }
}
