//! The daemon.

mod pulls;
mod pushers;
mod senders;
pub mod stop;
