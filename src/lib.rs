//! duebox.

pub mod admin;
pub mod archive;
pub mod cli;
pub mod config;
pub mod daemon;
pub mod engine;
pub mod id;
pub mod kv;
pub mod lease;
pub mod limits;
pub mod mailbox;
pub mod model;
mod outbound;
pub mod pull;
pub mod sandbox;
pub mod secret;
pub mod store;
pub mod time;
pub mod webhook;
pub mod wechat;
