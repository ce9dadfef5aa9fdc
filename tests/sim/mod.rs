//! A seeded simulation of the engine: random histories over a store in memory, with crashes, a
//! clock that jumps and a provider that loses answers. After every step the auditor must find
//! nothing wrong.
//!
//! `SIM_SEEDS` says how many seeds are run, `SIM_SEED` runs one alone. A failure prints its seed
//! and its last steps.

#![allow(clippy::unwrap_used)]

mod attention;
mod audiences;
mod behaviour;
mod canary;
mod clock;
mod corners;
mod crashes;
mod marks;
mod old;
mod oracle;
mod outbox;
mod patch;
mod politeness;
mod provider;
mod receipts;
mod rules;
mod schedules;
mod tasks;
mod trouble;
mod types;
mod why;
mod world;

/// Seeds to run: one by name, or as many as asked for.
fn seeds() -> Vec<u64> {
    let number = |name| std::env::var(name).ok().and_then(|text| text.parse::<u64>().ok());
    match number("SIM_SEED") {
        Some(seed) => vec![seed],
        None => (0..number("SIM_SEEDS").unwrap_or(150)).collect(),
    }
}
