//! Reading images: what is in the directory, the short look, the full check, and loading.

use std::fs::{self, File};
use std::io::{BufReader, Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use crate::data_dir::FORMAT;
use crate::data_dir::identity::InstanceId;
use crate::data_dir::image::{
    BLOCK_HEAD_BYTES, HEADER_BYTES, ImageInfo, MAGIC, TRAILER_BYTES, section_crc,
};
use crate::data_dir::journal::frame::{take_write, u32_at, u64_at};
use crate::data_dir::journal::numbered;
use crate::kv::{Fault, Kv, Write};
use crate::limits;
use crate::regular;
use crate::store::schema::Tree;

/// A file that is no complete, undamaged image of this format; why, for people.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("image {}: {why}", path.display())]
pub struct BadImage {
    /// The file.
    pub path: PathBuf,
    /// What is wrong with it.
    pub why: String,
}

/// Why an image was not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The image's fault: another one may do.
    #[error(transparent)]
    Bad(#[from] BadImage),
    /// The target's fault.
    #[error(transparent)]
    Fault(#[from] Fault),
}

/// The names of images in `images_dir` with their start numbers, newest first. A missing directory
/// has none.
pub fn list(images_dir: &Path) -> Result<Vec<(u64, PathBuf)>, Fault> {
    let fault = |error| Fault::io("listing the images", error);
    let entries = match fs::read_dir(images_dir) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(error)),
    };
    let mut images = Vec::new();
    for entry in entries {
        let entry = entry.map_err(fault)?;
        if let Some(start) = numbered(&entry.file_name().to_string_lossy(), ".img") {
            images.push((start, entry.path()));
        }
    }
    images.sort();
    images.reverse();
    Ok(images)
}

/// Looks at header and trailer only: whether the image was finished, and what it says of itself.
pub fn peek(path: &Path) -> Result<ImageInfo, BadImage> {
    let mut image = Image::open(path)?;
    let after_header = image.bytes - HEADER_BYTES as u64;
    let most = after_header.min((BLOCK_HEAD_BYTES + TRAILER_BYTES + 8 * MOST_TREES) as u64);
    image.file.seek(SeekFrom::End(-(most as i64))).map_err(|error| image.bad(error))?;
    let mut end = Vec::new();
    image.file.read_to_end(&mut end).map_err(|error| image.bad(error))?;
    match (1..=MOST_TREES).find_map(|trees| trailer_at_end(&end, trees)) {
        Some(body) => image.info(body),
        None => Err(image.bad("not finished, or damaged at its end")),
    }
}

/// The body of a trailer of so many trees, if the file ends with one.
fn trailer_at_end(end: &[u8], trees: usize) -> Option<&[u8]> {
    let length = TRAILER_BYTES + 8 * trees;
    let (_, section) = end.split_at_checked(end.len().checked_sub(BLOCK_HEAD_BYTES + length)?)?;
    let (head, body) = section.split_at(BLOCK_HEAD_BYTES);
    let is_one = u32_at(head, 0) as usize == length
        && u32_at(head, 4) == 0
        && u32_at(head, 8) == section_crc(body, 0);
    is_one.then_some(body)
}

/// How many trees a trailer tells of.
fn trees_of(body: &[u8]) -> Option<usize> {
    let rows = body.len().checked_sub(TRAILER_BYTES)?;
    (rows % 8 == 0 && (1..=MOST_TREES).contains(&(rows / 8))).then_some(rows / 8)
}

/// Trees that an image may tell of: their number is a byte.
const MOST_TREES: usize = 256;

/// Checks every byte and counts every row.
pub fn verify(path: &Path) -> Result<ImageInfo, BadImage> {
    let mut image = Image::open(path)?;
    while image.next_block()?.is_some() {}
    image.into_info()
}

/// Puts all rows of an image into `kv`, in key order. `progress` gets the rows so far.
///
/// When it fails, `kv` holds some of the rows and must be thrown away.
pub fn load(
    path: &Path,
    kv: &dyn Kv,
    progress: &mut dyn FnMut(u64),
) -> Result<ImageInfo, LoadError> {
    let mut image = Image::open(path)?;
    let mut rows = 0;
    while let Some(block) = image.next_block()? {
        kv.apply(&block)?;
        rows += block.len() as u64;
        progress(rows);
    }
    Ok(image.into_info()?)
}

/// An image being read block by block.
#[derive(Debug)]
pub struct Image {
    path: PathBuf,
    file: BufReader<File>,
    bytes: u64,
    at: u64,
    instance: InstanceId,
    start_seq: u64,
    blocks: crc32fast::Hasher,
    rows_by_tree: [u64; Tree::ALL.len()],
    info: Option<ImageInfo>,
}

impl Image {
    /// Opens an image and checks its header.
    pub fn open(path: &Path) -> Result<Self, BadImage> {
        let bad = |why: String| BadImage { path: path.to_path_buf(), why };
        let file = regular::open(path).map_err(|error| bad(error.to_string()))?;
        let bytes = file.metadata().map_err(|error| bad(error.to_string()))?.len();
        let mut file = BufReader::new(file);
        let mut header = [0; HEADER_BYTES];
        file.read_exact(&mut header).map_err(|_| bad("cut short".to_owned()))?;
        if &header[..8] != MAGIC || crc32fast::hash(&header[..36]) != u32_at(&header, 36) {
            return Err(bad("damaged header".to_owned()));
        }
        let format = u32_at(&header, 8);
        if format != FORMAT {
            return Err(bad(format!("format {format} is not known")));
        }
        let instance = u128::from(u64_at(&header, 12)) << 64 | u128::from(u64_at(&header, 20));
        Ok(Self {
            path: path.to_path_buf(),
            file,
            bytes,
            at: HEADER_BYTES as u64,
            instance: InstanceId(instance),
            start_seq: u64_at(&header, 28),
            blocks: crc32fast::Hasher::new(),
            rows_by_tree: [0; Tree::ALL.len()],
            info: None,
        })
    }

    /// The rows of the next block; `None` after a right trailer at the very end of the file.
    pub fn next_block(&mut self) -> Result<Option<Vec<Write>>, BadImage> {
        if self.info.is_some() {
            return Ok(None);
        }
        let (raw_bytes, crc, body) = self.section()?;
        if raw_bytes == 0 {
            self.end(&body)?;
            return Ok(None);
        }
        self.blocks.update(&crc.to_be_bytes());
        let raw = lz4_flex::block::decompress(&body, raw_bytes).map_err(|error| self.bad(error))?;
        let mut rest = raw.as_slice();
        let mut rows = Vec::new();
        while !rest.is_empty() {
            let row = take_write(&mut rest).ok_or_else(|| self.bad("unknown row"))?;
            self.rows_by_tree[usize::from(row.tree.0)] += 1;
            rows.push(row);
        }
        Ok(Some(rows))
    }

    fn end(&mut self, body: &[u8]) -> Result<(), BadImage> {
        if self.at != self.bytes {
            return Err(self.bad("damaged end"));
        }
        let info = self.info(body)?;
        let blocks = u32_at(body, body.len() - 4);
        if info.rows_by_tree != self.rows_by_tree || blocks != self.blocks.clone().finalize() {
            return Err(self.bad("rows are missing"));
        }
        self.info = Some(info);
        Ok(())
    }

    fn into_info(mut self) -> Result<ImageInfo, BadImage> {
        self.info.take().ok_or_else(|| self.bad("not read to its end"))
    }

    /// The next section's raw length, checksum and body; the checksum is right.
    fn section(&mut self) -> Result<(usize, u32, Vec<u8>), BadImage> {
        let mut head = [0; BLOCK_HEAD_BYTES];
        self.file.read_exact(&mut head).map_err(|_| self.bad("cut short"))?;
        let (length, raw_bytes) = (u32_at(&head, 0) as usize, u32_at(&head, 4) as usize);
        // A block ends with the row that fills it; LZ4 adds less than a tenth to what it cannot pack.
        let most = 2 * (limits::IMAGE_BLOCK_BYTES + limits::FRAME_BYTES);
        if length > most || raw_bytes > most || length as u64 > self.bytes {
            return Err(self.bad("damaged block"));
        }
        let mut body = vec![0; length];
        self.file.read_exact(&mut body).map_err(|_| self.bad("cut short"))?;
        self.at += (BLOCK_HEAD_BYTES + length) as u64;
        let crc = section_crc(&body, u32_at(&head, 4));
        if crc != u32_at(&head, 8) {
            return Err(self.bad("damaged block"));
        }
        Ok((raw_bytes, crc, body))
    }

    /// What the trailer tells. A tree that its program did not know has no rows; rows of one that
    /// this program does not know are not left out.
    fn info(&self, trailer: &[u8]) -> Result<ImageInfo, BadImage> {
        let trees = trees_of(trailer).ok_or_else(|| self.bad("damaged end"))?;
        let mut rows_by_tree = [0; Tree::ALL.len()];
        for number in 0..trees {
            let rows = u64_at(trailer, 8 + 8 * number);
            match rows_by_tree.get_mut(number) {
                Some(known) => *known = rows,
                None if rows == 0 => {}
                None => {
                    let why =
                        format!("made by a newer program: it has {rows} rows of tree {number}");
                    return Err(self.bad(why));
                }
            }
        }
        Ok(ImageInfo {
            path: self.path.clone(),
            instance: self.instance,
            start_seq: self.start_seq,
            end_seq: u64_at(trailer, 0),
            rows_by_tree,
            bytes: self.bytes,
        })
    }

    fn bad(&self, why: impl std::fmt::Display) -> BadImage {
        BadImage { path: self.path.clone(), why: why.to_string() }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data_dir::image::writer::{make, make_while};
    use crate::data_dir::testing::{A, dump, put};
    use crate::kv::memory::MemoryKv;
    use crate::store::{applied, applied_write};
    use std::ops::ControlFlow::{Break, Continue};

    fn filled(rows: usize) -> MemoryKv {
        let kv = MemoryKv::new();
        for row in 0..rows {
            kv.apply(&[put(&format!("key {row:06}"), &"value ".repeat(row % 50))]).unwrap();
        }
        kv.apply(&[applied_write(7)]).unwrap();
        kv
    }

    #[test]
    fn an_image_gives_back_every_row() {
        let dir = tempfile::tempdir().unwrap();
        for rows in [0, 1, 512, 20_000] {
            let kv = filled(rows);
            let made = make(&kv, dir.path(), A, &|| 9, &mut |_| {}).unwrap();
            assert_eq!((made.start_seq, made.end_seq, made.rows()), (7, 9, rows as u64));
            assert_eq!(peek(&made.path), Ok(made.clone()));
            assert_eq!(verify(&made.path), Ok(made.clone()));
            let copy = MemoryKv::new();
            assert_eq!(load(&made.path, &copy, &mut |_| {}).unwrap(), made);
            assert_eq!(applied(&copy).unwrap(), 0, "the caller says what the base holds");
            assert_eq!(dump(&copy), dump(&kv));
        }
    }

    #[test]
    fn an_image_does_not_depend_on_how_many_trees_there_are() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(&filled(60), dir.path(), A, &|| 9, &mut |_| {}).unwrap();
        let whole = fs::read(&made.path).unwrap();
        let own = TRAILER_BYTES + 8 * Tree::ALL.len();
        let (blocks, body) =
            (&whole[..whole.len() - own - BLOCK_HEAD_BYTES], &whole[whole.len() - own..]);
        let with_trees = |trees: usize, more: u64| {
            let mut trailer = body[..8].to_vec();
            for tree in 0..trees {
                let rows = made.rows_by_tree.get(tree).copied().unwrap_or(more);
                trailer.extend_from_slice(&rows.to_be_bytes());
            }
            trailer.extend_from_slice(&body[own - 4..]);
            let length = u32::try_from(trailer.len()).unwrap().to_be_bytes();
            let crc = section_crc(&trailer, 0).to_be_bytes();
            fs::write(&made.path, [blocks, &length, &[0; 4], &crc, &trailer].concat()).unwrap();
        };
        // The rows are tasks, tree 7.
        for trees in [8, 19, 20, 21, 40, 256] {
            with_trees(trees, 0);
            for info in [peek(&made.path), verify(&made.path)] {
                assert_eq!(info.unwrap().rows_by_tree, made.rows_by_tree, "{trees} trees");
            }
            assert!(load(&made.path, &MemoryKv::new(), &mut |_| {}).is_ok(), "{trees} trees");
        }
        let next = Tree::ALL.len();
        with_trees(next + 1, 3);
        for info in [peek(&made.path), verify(&made.path)] {
            let why = info.unwrap_err().why;
            assert_eq!(why, format!("made by a newer program: it has 3 rows of tree {next}"));
        }
        with_trees(7, 0);
        assert_eq!(verify(&made.path).unwrap_err().why, "rows are missing");
        for trees in [0, 257] {
            with_trees(trees, 0);
            assert!(peek(&made.path).is_err() && verify(&made.path).is_err(), "{trees} trees");
        }
    }

    #[test]
    fn an_image_that_is_given_up_leaves_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let mut stop = |rows| if rows < 600 { Continue(()) } else { Break(()) };
        assert_eq!(make_while(&filled(2_000), dir.path(), A, &|| 9, &mut stop).unwrap(), None);
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
    }

    #[test]
    fn every_flipped_byte_and_every_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let made = make(&filled(60), dir.path(), A, &|| 9, &mut |_| {}).unwrap();
        let whole = fs::read(&made.path).unwrap();
        for at in 0..whole.len() {
            let mut bytes = whole.clone();
            bytes[at] ^= 1;
            fs::write(&made.path, bytes).unwrap();
            assert!(verify(&made.path).is_err(), "byte {at}");
            fs::write(&made.path, &whole[..at]).unwrap();
            assert!(verify(&made.path).is_err() && peek(&made.path).is_err(), "cut at {at}");
        }
        fs::write(&made.path, [&whole[..], b"x"].concat()).unwrap();
        assert!(verify(&made.path).is_err() && peek(&made.path).is_err(), "longer");
    }

    #[test]
    fn a_hostile_image_is_the_good_one_or_refused() {
        use crate::mutants::Mutants;
        let dir = tempfile::tempdir().unwrap();
        let made = make(&filled(600), dir.path(), A, &|| 9, &mut |_| {}).unwrap();
        let good = fs::read(&made.path).unwrap();
        let path = dir.path().join("mutant");
        for bytes in Mutants::of(&[&good], 1_500) {
            fs::write(&path, &bytes).unwrap();
            let looked = (verify(&path), peek(&path).map(|_| ()));
            let loaded = load(&path, &MemoryKv::new(), &mut |_| {});
            assert_eq!(looked.0.is_ok(), bytes == good, "{looked:?}");
            assert_eq!(loaded.is_ok(), bytes == good);
        }
    }
}
