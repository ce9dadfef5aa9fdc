//! Tests of the program as a whole, linked once.

#![allow(clippy::unwrap_used)]

/// The real binary again, case by case: damage, copies, leadership, secrets.
mod binary;
/// The on-disk format, kept as fixtures.
mod compat;
/// The real binary: kills, stops, standbys, copies, damage.
mod process;
/// The engine over a store in memory, under seeds: crashes, lost answers, jumping clocks.
mod sim;
/// Real processes and a client for tests.
mod support;
/// The files in `systemd/` against the code.
mod systemd;
