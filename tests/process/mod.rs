//! The real program, as operators and clients meet it: processes, signals, files, HTTP.

#![allow(clippy::unwrap_used)]

mod crash;
mod leader;
mod notify;
mod stop;
mod tasks;
