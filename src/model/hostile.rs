//! Rows with hostile bytes: read as something that can be written again, or damaged.

use std::fmt::Debug;

use super::delivery::{Delivery, Entry, KeyRow};
use super::notice::Notice;
use super::run::{Run, ScheduleRow};
use super::task::{EndedTask, QueueCounts, QueueState, Task};
use super::tenant::TenantState;
use crate::mutants::{Mutants, sealed};
use crate::store::{Record, codec};

/// A row of each kind as it was written once, without its checksum.
fn samples() -> Vec<Vec<u8>> {
    let fixtures = include_str!("../../tests/fixtures/format-1.txt");
    let rows = fixtures.lines().filter_map(|line| line.split_once(' '));
    rows.map(|(_, hex)| {
        let byte = |at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).unwrap_or_default();
        let bytes: Vec<u8> = (0..hex.len() / 2).map(byte).collect();
        bytes[..bytes.len() - 4].to_vec()
    })
    .collect()
}

fn try_as<R: Record + PartialEq + Debug>(row: &[u8]) -> bool {
    let Ok(record) = codec::decode::<R>(row) else { return false };
    let again = codec::decode::<R>(&codec::encode(&record));
    assert!(again.is_ok_and(|again| again == record), "{record:?}");
    true
}

#[test]
fn a_row_is_read_or_damaged() {
    let samples = samples();
    assert!(samples.len() > 8, "{}", samples.len());
    let samples: Vec<&[u8]> = samples.iter().map(Vec::as_slice).collect();
    let mut read = 0;
    for bytes in Mutants::of(&samples, 20_000) {
        let row = sealed(bytes);
        let tries: [fn(&[u8]) -> bool; 11] = [
            try_as::<Notice>,
            try_as::<TenantState>,
            try_as::<ScheduleRow>,
            try_as::<Run>,
            try_as::<Delivery>,
            try_as::<Entry>,
            try_as::<KeyRow>,
            try_as::<Task>,
            try_as::<EndedTask>,
            try_as::<QueueCounts>,
            try_as::<QueueState>,
        ];
        read += tries.iter().filter(|try_as| try_as(&row)).count();
    }
    assert!(read > 0);
}
