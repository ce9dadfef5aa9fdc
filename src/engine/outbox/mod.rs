//! The outbox: notices, and their deliveries to the provider.

mod transition;

pub(in crate::engine) use transition::withdrawn;
