//! An image that holds far less than the one before: whether the journal explains it.
//!
//! A base that lost rows without a word would be made the truth by its next image. Rows go by
//! deletes, and each delete is in the journal; so what an image has less than the one before is at
//! most as much as the journal deleted since.

use std::path::Path;

use crate::data_dir::image::{self, ImageInfo};
use crate::data_dir::journal;
use crate::data_dir::journal::reader::JournalReader;
use crate::kv::Fault;

/// Images with fewer rows than this are not compared.
const FEW_ROWS: u64 = 200;

/// Refuses an image with less than half of the rows of the newest one before it, unless the journal
/// has deleted what is missing.
pub(in crate::data_dir) fn check(data_dir: &Path, made: &ImageInfo) -> Result<(), Fault> {
    let images = image::reader::list(&image::dir_in(data_dir))?;
    let mut before = images.iter().filter(|(start, _)| *start < made.start_seq);
    let Some(before) = before.find_map(|(_, path)| image::reader::peek(path).ok()) else {
        return Ok(());
    };
    let missing = before.rows().saturating_sub(made.rows());
    if before.rows() < FEW_ROWS || made.rows() >= before.rows() / 2 {
        return Ok(());
    }
    let deleted = deleted_after(data_dir, before.start_seq, made.end_seq);
    if deleted >= missing {
        return Ok(());
    }
    Err(Fault::Damaged {
        tree: "store",
        why: format!(
            "it holds {} rows, {} had {}, and only {deleted} were deleted since: the older image is kept",
            made.rows(),
            before.name(),
            before.rows()
        ),
    })
}

/// Deletes in the journal; what cannot be read of it explains nothing.
fn deleted_after(data_dir: &Path, seq: u64, last: u64) -> u64 {
    let mut deleted = 0;
    let Ok(mut reader) = JournalReader::open(&journal::dir_in(data_dir), seq + 1) else { return 0 };
    while let Ok(Some(commit)) = reader.next_commit() {
        let gone = commit.writes.iter().filter(|write| write.value.is_none());
        deleted += gone.count() as u64;
        if commit.seq >= last {
            break;
        }
    }
    deleted
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data_dir::testing::{Rig, delete, put};
    use crate::kv::Kv;

    fn make(rig: &Rig, dir: &Path) -> Result<ImageInfo, Fault> {
        let (kv, last) = (&rig.opened.kv, rig.opened.next_seq - 1);
        image::writer::make(kv, &image::dir_in(dir), rig.opened.instance, &|| last, &mut |_| {})
    }

    fn filled(dir: &Path) -> Rig {
        let mut rig = Rig::new(dir);
        rig.change(&(0..1000).map(|row| put(&format!("row {row}"), "x")).collect::<Vec<_>>());
        rig.image(dir);
        rig
    }

    #[test]
    fn rows_that_went_without_a_delete_make_no_image() {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = filled(dir.path());
        let lost: Vec<_> = (0..900).map(|row| delete(&format!("row {row}"))).collect();
        rig.opened.kv.apply(&lost).unwrap();
        rig.change(&[put("one more", "x")]);
        let error = make(&rig, dir.path()).unwrap_err();
        assert!(error.is_damage() && error.to_string().contains("101 rows"), "{error}");
        assert_eq!(image::reader::list(&image::dir_in(dir.path())).unwrap().len(), 1);
    }

    #[test]
    fn rows_that_were_deleted_are_explained() {
        let dir = tempfile::tempdir().unwrap();
        let mut rig = filled(dir.path());
        rig.change(&(0..900).map(|row| delete(&format!("row {row}"))).collect::<Vec<_>>());
        make(&rig, dir.path()).unwrap();
        assert_eq!(image::reader::list(&image::dir_in(dir.path())).unwrap().len(), 2);
    }
}
