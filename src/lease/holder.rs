//! The lock is ours; the store is not open yet.

use std::fs::File;

use super::process::Identity;
use super::record::{self, RECORD_FILE, Record, State};
use super::{LeaseError, Lock, Options};
use crate::time::{Clock, SystemClock};

/// Holds the lock. Dropping it before [`Holder::start`] gives the lock back.
#[derive(Debug)]
pub struct Holder {
    options: Options,
    lock: Lock,
    /// The term of the record that was found; 0 without one.
    found_term: u64,
    settled: bool,
    record: Record,
}

impl Holder {
    pub(super) fn new(options: Options, lock: Lock) -> Result<Self, LeaseError> {
        let found_term = match record::read(&options.dir) {
            Ok(record) => record.map_or(0, |record| record.term),
            Err(error) => {
                tracing::warn!(%error, "the lease's record cannot be read; the store has the term");
                0
            }
        };
        let record = Record {
            term: next_term(found_term)?,
            state: State::Opening,
            instance: options.instance.clone(),
            holder: Identity::own(options.host.clone()),
            admin: None,
            ttl_ms: options.ttl_ms,
            renewals: 0,
            written_at: String::new(),
            last_commit: None,
        };
        let mut holder = Self { options, lock, found_term, settled: false, record };
        holder.write()?;
        Ok(holder)
    }

    /// This holder's number, final once [`Holder::settle_term`] has been called.
    #[must_use]
    pub fn term(&self) -> u64 {
        self.record.term
    }

    /// Names the data directory's instance in the record, once it is known.
    pub fn set_instance(&mut self, instance: &str) {
        instance.clone_into(&mut self.record.instance);
    }

    /// Makes the term larger than the record's and the store's, and writes it to the record.
    ///
    /// The caller then puts the answer into the store, durably, before it serves anything. A crash
    /// in between costs a number, nothing else.
    ///
    /// # Errors
    /// [`LeaseError::TermExhausted`], or the record could not be written.
    pub fn settle_term(&mut self, stored_term: u64) -> Result<u64, LeaseError> {
        self.record.term = next_term(self.found_term.max(stored_term))?;
        self.write()?;
        self.settled = true;
        Ok(self.record.term)
    }

    /// Writes the record as active; says when the attempt began.
    pub(super) fn activate(&mut self) -> Result<u64, LeaseError> {
        if !self.settled {
            return Err(LeaseError::TermNotSettled);
        }
        let began = (self.options.clock)();
        self.record.state = State::Active;
        self.write()?;
        Ok(began)
    }

    pub(super) fn options(&self) -> &Options {
        &self.options
    }

    pub(super) fn lock(&self) -> &Lock {
        &self.lock
    }

    /// The record, to be changed before the next [`Holder::write`].
    pub(super) fn record_mut(&mut self) -> &mut Record {
        &mut self.record
    }

    pub(super) fn write(&mut self) -> Result<(), LeaseError> {
        self.record.renewals += 1;
        self.record.written_at = SystemClock.now().to_string();
        record::write(&self.options.dir, &self.record)
            .map_err(|error| LeaseError::io("write", &self.options.dir.join(RECORD_FILE), error))
    }

    /// The lock alone: dropping it unlocks.
    pub(super) fn into_lock(self) -> File {
        self.lock.file
    }
}

fn next_term(last: u64) -> Result<u64, LeaseError> {
    last.checked_add(1).ok_or(LeaseError::TermExhausted(last))
}
