//! Telling what a crash leaves at the end of a journal file from damage.

use crate::data_dir::journal::frame::{FRAME_HEAD_BYTES, Frame, parse_head, u64_at};

/// Whether `rest`, which begins where a frame should and ends with its file, is what a crash during
/// an append leaves: nothing, a part of a frame, or zeros where blocks never reached the disk.
/// `at` is its offset in the file.
#[must_use]
pub(in crate::data_dir) fn is_torn(rest: &[u8], at: usize) -> bool {
    let cut = match parse_head(rest) {
        Some((_, total)) => rest.len() < total,
        None => rest.len() < FRAME_HEAD_BYTES,
    };
    cut || has_zero_block(rest, at)
}

/// Disks write blocks of 512 bytes whole or not at all; a block that was never written reads as
/// zeros. The first and last block are shared with what lies outside.
fn has_zero_block(rest: &[u8], at: usize) -> bool {
    const BLOCK: usize = 512;
    let (first, blocks) = rest.split_at(rest.len().min((BLOCK - at % BLOCK) % BLOCK));
    let zeros = |block: &[u8]| block.iter().all(|byte| *byte == 0);
    let tail = rest.iter().rev().take_while(|byte| **byte == 0).count();
    tail >= FRAME_HEAD_BYTES
        || (!first.is_empty() && zeros(first))
        || blocks.chunks(BLOCK).any(zeros)
}

/// Whether a right frame with a number of at least `seq` begins anywhere in `bytes`.
#[must_use]
pub(in crate::data_dir) fn any_frame_from(bytes: &[u8], seq: u64) -> bool {
    // The number is looked at first: it spares nearly all of the checksums.
    let plausible = seq..seq.saturating_add(u64::from(u32::MAX));
    (0..bytes.len().saturating_sub(FRAME_HEAD_BYTES - 1)).any(|at| {
        plausible.contains(&u64_at(bytes, at + 4)) && Frame::parse(&bytes[at..]).is_some()
    })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::data_dir::journal::frame::encode;
    use crate::data_dir::journal::frame::tests::changes;

    #[test]
    fn a_frame_behind_garbage_is_found() {
        let mut frame = Vec::new();
        encode(&mut frame, 8, &changes());
        let mut bytes = vec![0xa5; 100];
        bytes.extend_from_slice(&frame);
        assert!(any_frame_from(&bytes, 7) && any_frame_from(&bytes, 8));
        assert!(!any_frame_from(&bytes, 9));
        assert!(!any_frame_from(&bytes[..bytes.len() - 1], 7));
        assert!(!any_frame_from(&[0; 64], 0), "zeros are no frame");
    }

    #[test]
    fn missing_ends_and_missing_blocks_are_torn_and_wrong_bytes_are_not() {
        let mut frame = Vec::new();
        encode(&mut frame, 8, &changes());
        for cut in 0..frame.len() {
            assert!(is_torn(&frame[..cut], 700), "cut at {cut}");
        }
        let mut unwritten = frame.clone();
        unwritten[512 * 3 - 188..512 * 4 - 188].fill(0);
        assert!(is_torn(&unwritten, 700 - 512), "one block of the disk is missing");
        for at in 0..frame.len() {
            let mut wrong = frame.clone();
            wrong[at] ^= 0x20;
            assert!(!is_torn(&wrong, 700), "byte {at}");
        }
    }
}
