//! Tests of the program as a whole, linked once.

mod process;
mod support;
mod systemd;
