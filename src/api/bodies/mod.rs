//! The bodies that are taken in.

mod audience;
mod canary;
mod marks;
pub mod notice;
pub mod operate;
pub mod recipient;
pub mod task;
