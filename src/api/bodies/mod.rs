//! The bodies that are taken in.

pub mod notice;
pub mod operate;
pub mod recipient;
pub mod task;
