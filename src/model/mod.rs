//! The records and rules of the domain: what is stored, in which states, by which limits.
//!
//! Nothing here reads a clock, a disk or the network.

pub mod attempt;
pub mod attention;
pub mod audience;
pub mod callback;
pub mod cron;
pub mod day;
pub mod delivery;
pub mod errcode;
#[cfg(test)]
mod hostile;
pub mod keyword;
pub mod marks;
pub mod message;
pub mod notice;
pub mod person;
pub mod quiet;
pub mod retry;
pub mod rules;
pub mod run;
pub mod task;
pub mod templates;
pub mod tenant;
