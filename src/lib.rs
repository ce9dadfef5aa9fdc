//! duebox: what must be done later, done on time, and provable afterwards.
//!
//! One daemon and one data directory. It pushes WeChat template messages to thousands of recipients
//! from a durable outbox, keeps a durable delay queue for other programs, runs schedules, and logs
//! every attempt. This page is the map; start at [`engine`] for what it decides, at [`mailbox`] for
//! what a commit is, at [`daemon`] for how it is put together.
//!
//! # The data
//!
//! ```text
//! tenant ─┬─ notice ──┬─ delivery (one recipient) ── attempts ── send log entries
//!         │  (what,   └─ own values of a recipient
//!         │   when)
//!         └─ state: token, rate, hold
//! task type ─┬─ task ── attempts (in its row) ── history when ended
//!            └─ state: paused, circuit, counts per priority
//! schedule ── runs
//! delay tree: the one index of time; whatever waits for a time has exactly one key in it
//! ```
//!
//! The rows are in [`model`], the on-disk format on the page of [`store::schema`].
//!
//! # The state machines
//!
//! Drawn where their rows are: [`model::notice`], [`model::delivery`], [`model::task`]. In short:
//!
//! ```text
//! delivery  pending ─► sending ─► accepted ─► delivered · failed
//!              ▲          ├─────► refused · dead · in_doubt
//!              └── retry ─┘        skipped · cancelled before it was sent
//! task      pending ─► claimed ─► acked · rejected · dead
//!              ▲          │        cancelled from either
//!              └─ nack, claim ran out
//! ```
//!
//! One function per machine brings a row from one state to another, with its indexes and counts:
//! `engine/outbox/transition.rs`, `engine/queue/transition.rs`.
//!
//! # The rooms of the engine
//!
//! ```text
//! Engine ─┬─ outbox    notices and deliveries; remembers what is in flight
//!         ├─ queue     tasks; remembers counts, states of types, who waits
//!         ├─ pruning   forgetting; remembers where it is
//!         └─ Tx        what every decision receives: now, store, names, ids, rules, identity, clock
//! ```
//!
//! Tenants, schedules, streaks and letters remember nothing beside their rows: functions over `Tx`.
//! The engine itself only hands out commands and timers, and does what concerns several rooms:
//! redrive, release, a clock that jumped, queries. Calls between its files form no circle.
//!
//! # The life of a write
//!
//! ```text
//! caller ─► admin ─► mailbox ─► engine decides ─► journal, one fsync for the group ─► answer
//!                        │                                                        └─► effects ─► workers
//!                        └─► tables in memory ─► base (sled), in key order, behind
//! ```
//!
//! The journal is the only thing that is made durable for a commit. Changes are absolute puts and
//! deletes with numbers, so "base, and the journal after the base's number" is the exact state
//! whatever the base lost in a crash. Images are fuzzy copies of the base with the same property.
//! See [`store`] and [`data_dir`].
//!
//! # Layers
//!
//! Imports go downward only; `tests/tidy.rs` holds that, and the other rules of the house.
//!
//! | layer | modules | knows |
//! |---|---|---|
//! | command line | [`cli`] | people |
//! | assembly | [`daemon`] | everything below, in which order it starts and stops |
//! | edges, strangers to each other | [`admin`], [`wechat`], [`webhook`], [`pull`], [`audience`], [`bound`], [`lease`], [`data_dir`], [`config`], [`sandbox`], `outbound` (the one HTTP client) | HTTP, files, the kernel |
//! | API | [`api`] | bodies and answers: read, refused, described once; no HTTP |
//! | commit | [`mailbox`] | the one writer thread, group commit, the clock, what growth must wait for |
//! | decisions | [`engine`] | rows, and time as an argument; no clock, no I/O, no randomness |
//! | domain | [`model`] | records, limits of fields, classes of answers, retry, cron |
//! | rows | [`store`] | keys, codecs, tables over the base |
//! | disk seam | [`kv`] | ordered bytes: sled, where rows that come in order share a block, or memory for tests |
//! | ground | [`time`], [`boot`], [`id`], [`json`], [`limits`], [`secret`], [`caught`], [`logger`], [`named`] (words for cases), `near` (names meant), `regular` (files somebody else made), `text` | nothing |
//!
//! # What is absent on purpose
//!
//! - A second writer, a cluster, replication: one node, one lease ([`lease`]).
//! - Exactly-once: the provider de-duplicates for ten minutes; beyond that an unknown outcome is
//!   *in doubt* and a person's or the notice's decision.
//! - A ready list, a reaper, a promotion step: work is found by a seek in the delay tree, and a
//!   claim that runs out is a timer in it.
//! - sled transactions and per-commit sled flushes: the journal is both atomic and durable.
//! - Retries of storage errors: a fault ends the process, and recovery is an everyday path.
//! - Payloads in logs and metrics, recipients as metric labels, secrets anywhere.

pub mod time;

pub mod boot;
pub mod caught;
pub mod id;
pub mod json;
pub mod limits;
pub mod logger;
#[cfg(test)]
mod mutants;
pub mod named;
mod near;
mod regular;
pub mod secret;
mod text;

pub mod model;

pub mod kv;

pub mod store;

pub mod engine;

pub mod mailbox;

pub mod api;

pub mod admin;
pub mod audience;
pub mod bound;
pub mod config;
pub mod data_dir;
pub mod lease;
mod outbound;
pub mod pull;
pub mod sandbox;
pub mod webhook;
pub mod wechat;

pub mod daemon;

pub mod cli;
