//! Tests of the program as a whole, linked once.

/// The real binary: kills, stops, standbys, copies, damage.
mod process;
/// Real processes and a client for tests.
mod support;
mod systemd;
