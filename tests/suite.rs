//! Tests of the program as a whole, linked once.

mod sim;
mod systemd;
