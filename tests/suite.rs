//! Tests of the program as a whole, linked once.

#![allow(clippy::unwrap_used)]

/// The real binary, case by case: kills, stops, leadership, copies, damage, secrets.
mod binary;
/// The on-disk format, kept as fixtures.
mod compat;
/// The engine over a store in memory, under seeds: crashes, lost answers, jumping clocks.
mod sim;
/// The files in `systemd/` against the code.
mod systemd;
/// The rules of the house against the sources.
mod tidy;
