//! Making images.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::ops::ControlFlow;
use std::path::Path;

use crate::data_dir::identity::InstanceId;
use crate::data_dir::image::{
    BLOCK_HEAD_BYTES, END_OF_KEYS, HEADER_BYTES, ImageInfo, MAGIC, section_crc, shrinkage,
};
use crate::data_dir::journal::frame::put_write;
use crate::data_dir::{APPLIED_KEY, APPLIED_TREE, FORMAT, sync_dir};
use crate::kv::{Fault, Kv, Write};
use crate::limits;
use crate::store::applied;
use crate::store::schema::Tree;

/// Rows read from the base at once.
const PAGE_ROWS: usize = 512;

/// Makes an image of the base while others apply commits to it.
///
/// `committed` gives the number of the last commit that may have begun to reach the base: the
/// journal's last. `progress` is called with the rows so far after every page of at most 512 rows.
/// When the file has its name, it is complete and survives a power cut. One that holds far less than
/// the image before, and the journal does not say why, is damage and gets no name.
pub fn make(
    kv: &dyn Kv,
    images_dir: &Path,
    instance: InstanceId,
    committed: &dyn Fn() -> u64,
    progress: &mut dyn FnMut(u64),
) -> Result<ImageInfo, Fault> {
    let mut go_on = |rows| {
        progress(rows);
        ControlFlow::Continue(())
    };
    let made = make_while(kv, images_dir, instance, committed, &mut go_on)?;
    made.ok_or_else(|| Fault::io("writing an image", "nobody asked to stop it"))
}

/// The same as [`make`], but `progress` may end it: then there is no image and no trace of one.
pub fn make_while(
    kv: &dyn Kv,
    images_dir: &Path,
    instance: InstanceId,
    committed: &dyn Fn() -> u64,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Option<ImageInfo>, Fault> {
    fs::create_dir_all(images_dir).map_err(fault)?;
    let start_seq = applied(kv)?;
    let path = images_dir.join(format!("{start_seq:020}.img"));
    let part = path.with_extension("part");
    let scanned = scan(kv, &part, instance, start_seq, committed, progress);
    let held_against = |made: &ImageInfo| match images_dir.parent() {
        Some(data_dir) => shrinkage::check(data_dir, made),
        None => Ok(()),
    };
    let checked = scanned.and_then(|made| {
        made.as_ref().map_or(Ok(()), held_against)?;
        Ok(made)
    });
    let info = match checked {
        Ok(Some(scanned)) => ImageInfo { path, ..scanned },
        ended => {
            // On a full disk a left-over would keep the very space that is missing.
            let _ = fs::remove_file(&part);
            return ended;
        }
    };
    fs::rename(&part, &info.path).map_err(fault)?;
    sync_dir(images_dir)?;
    Ok(Some(info))
}

fn fault(error: std::io::Error) -> Fault {
    Fault::io("writing an image", error)
}

/// Writes an image under the name of an unfinished one.
fn scan(
    kv: &dyn Kv,
    part: &Path,
    instance: InstanceId,
    start_seq: u64,
    committed: &dyn Fn() -> u64,
    progress: &mut dyn FnMut(u64) -> ControlFlow<()>,
) -> Result<Option<ImageInfo>, Fault> {
    let mut output = Output::create(part, instance, start_seq).map_err(fault)?;
    let mut rows_by_tree = [0; Tree::ALL.len()];
    for tree in Tree::ALL {
        let mut from = Vec::new();
        loop {
            let page = kv.scan(tree.number(), &from, &END_OF_KEYS, PAGE_ROWS)?;
            let Some((last, _)) = page.last() else { break };
            from.clone_from(last);
            from.push(0);
            for (key, value) in page {
                // The image's own start number takes its place.
                if (tree, key.as_slice()) == (APPLIED_TREE, APPLIED_KEY) {
                    continue;
                }
                rows_by_tree[tree as usize] += 1;
                output
                    .put(&Write { tree: tree.number(), key, value: Some(value) })
                    .map_err(fault)?;
            }
            if progress(rows_by_tree.iter().sum()).is_break() {
                return Ok(None);
            }
        }
    }
    let end_seq = committed().max(start_seq);
    let bytes = output.finish(end_seq, &rows_by_tree).map_err(fault)?;
    let path = part.to_path_buf();
    Ok(Some(ImageInfo { path, instance, start_seq, end_seq, rows_by_tree, bytes }))
}

struct Output {
    file: BufWriter<File>,
    raw: Vec<u8>,
    blocks: crc32fast::Hasher,
    bytes: u64,
}

impl Output {
    fn create(part: &Path, instance: InstanceId, start_seq: u64) -> std::io::Result<Self> {
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(MAGIC);
        header.extend_from_slice(&FORMAT.to_be_bytes());
        header.extend_from_slice(&instance.0.to_be_bytes());
        header.extend_from_slice(&start_seq.to_be_bytes());
        header.extend_from_slice(&crc32fast::hash(&header).to_be_bytes());
        let mut file = BufWriter::new(File::create(part)?);
        file.write_all(&header)?;
        let (raw, blocks) = (Vec::new(), crc32fast::Hasher::new());
        Ok(Self { file, raw, blocks, bytes: HEADER_BYTES as u64 })
    }

    fn put(&mut self, row: &Write) -> std::io::Result<()> {
        put_write(&mut self.raw, row);
        if self.raw.len() >= limits::IMAGE_BLOCK_BYTES { self.end_block() } else { Ok(()) }
    }

    fn end_block(&mut self) -> std::io::Result<()> {
        if self.raw.is_empty() {
            return Ok(());
        }
        let packed = lz4_flex::block::compress(&self.raw);
        let crc = self.section(self.raw.len() as u32, &packed)?;
        self.blocks.update(&crc.to_be_bytes());
        self.raw.clear();
        Ok(())
    }

    fn section(&mut self, raw_bytes: u32, body: &[u8]) -> std::io::Result<u32> {
        let crc = section_crc(body, raw_bytes);
        self.file.write_all(&(body.len() as u32).to_be_bytes())?;
        self.file.write_all(&raw_bytes.to_be_bytes())?;
        self.file.write_all(&crc.to_be_bytes())?;
        self.file.write_all(body)?;
        self.bytes += (BLOCK_HEAD_BYTES + body.len()) as u64;
        Ok(crc)
    }

    fn finish(mut self, end_seq: u64, rows_by_tree: &[u64]) -> std::io::Result<u64> {
        self.end_block()?;
        let mut trailer = end_seq.to_be_bytes().to_vec();
        for rows in rows_by_tree {
            trailer.extend_from_slice(&rows.to_be_bytes());
        }
        trailer.extend_from_slice(&self.blocks.clone().finalize().to_be_bytes());
        self.section(0, &trailer)?;
        self.file.flush()?;
        self.file.get_ref().sync_all()?;
        Ok(self.bytes)
    }
}
