//! daemon

pub mod notify;
