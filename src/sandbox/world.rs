//! The sandbox's state: accounts, people, quotas, tokens, and the ledger, behind one lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use serde::Serialize;

use super::answer::Refusal;
use super::events::{Callback, Event, What};
use super::hash::hash;
use super::ledger::{Keep, Ledger};
use super::options::{Account, Faults, Options, Template};
use super::people::People;
use super::quota::Quotas;
use super::repeats::Repeats;
use super::tokens::{Tokens, Worth};
use crate::time::{Clock, SECOND_MS, SystemClock, Timestamp};

/// What an account's callers did and what its users saw.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    /// Sends called for with a good token, whatever came of them.
    pub(super) calls: u64,
    /// Messages shown.
    pub(super) accepted: u64,
    /// People who saw a message at least once.
    pub(super) recipients: u64,
    /// Messages shown to somebody who had seen the same template and data before.
    pub(super) duplicates: u64,
    /// Sends that were not carried out because their `client_msg_id` was known.
    pub(super) repeats: u64,
    /// Sends with one account's token to a person of another account.
    pub(super) wrong_tenant: u64,
    /// Sends that were worked on and whose answer was withheld.
    pub(super) lost_answers: u64,
    /// Sends whose connection was closed before anything was done.
    pub(super) lost_before_accept: u64,
    /// Events that their address took, and posts that it did not take.
    pub(super) events_taken: u64,
    pub(super) events_refused: u64,
    /// Answers to sends, by `errcode`.
    pub(super) per_errcode: BTreeMap<i32, u64>,
}

impl Counts {
    /// Counts a post of an event.
    pub(super) fn event(&mut self, taken: bool) {
        if taken {
            self.events_taken += 1;
        } else {
            self.events_refused += 1;
        }
    }

    /// Adds those of another account.
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.accepted += other.accepted;
        self.recipients += other.recipients;
        self.duplicates += other.duplicates;
        self.repeats += other.repeats;
        self.wrong_tenant += other.wrong_tenant;
        self.lost_answers += other.lost_answers;
        self.lost_before_accept += other.lost_before_accept;
        self.events_taken += other.events_taken;
        self.events_refused += other.events_refused;
        for (&code, count) in &other.per_errcode {
            *self.per_errcode.entry(code).or_default() += count;
        }
    }
}

/// The state of one account.
#[derive(Debug)]
pub(super) struct AccountState {
    pub(super) tokens: Tokens,
    pub(super) quotas: Quotas,
    pub(super) people: People,
    pub(super) counts: Counts,
    pub(super) token_fetches: u64,
    /// Where its events go, if anywhere.
    pub(super) callback: Option<Callback>,
}

/// Everything that changes.
#[derive(Debug)]
pub(super) struct World {
    pub(super) faults: Faults,
    pub(super) accounts: Vec<AccountState>,
    pub(super) repeats: Repeats,
    pub(super) ledger: Ledger,
    /// Answers to sends whose token was no good: they belong to no account.
    pub(super) strangers: Counts,
    /// How far the sandbox's clock is ahead of the system's.
    pub(super) ahead_ms: u64,
    rids: u64,
    tokens_made: u64,
}

impl World {
    fn new(options: &Options) -> Self {
        let account = |(index, _): (usize, &Account)| AccountState {
            tokens: Tokens::default(),
            quotas: Quotas::new(options.daily_quota),
            people: People::new(index, options.followers),
            counts: Counts::default(),
            token_fetches: 0,
            callback: None,
        };
        let keep = if options.keep_ledger { Keep::Messages } else { Keep::CountsOnly };
        Self {
            faults: options.faults.clone(),
            accounts: options.tenants.iter().enumerate().map(account).collect(),
            repeats: Repeats::default(),
            ledger: Ledger::new(keep),
            strangers: Counts::default(),
            ahead_ms: 0,
            rids: 0,
            tokens_made: 0,
        }
    }

    /// The time in the sandbox.
    pub(super) fn now(&self) -> Timestamp {
        SystemClock.now().plus(self.ahead_ms)
    }

    /// The account that a token opens.
    pub(super) fn open(&self, token: Option<&str>, now: Timestamp) -> Result<usize, Refusal> {
        let token = token.filter(|token| !token.is_empty()).ok_or(Refusal::TOKEN_MISSING)?;
        let index = token_account(token).ok_or(Refusal::INVALID_CREDENTIAL)?;
        let account = self.accounts.get(index).ok_or(Refusal::INVALID_CREDENTIAL)?;
        match account.tokens.worth(token, now) {
            Worth::Good => Ok(index),
            Worth::Expired => Err(Refusal::TOKEN_EXPIRED),
            Worth::Invalid => Err(Refusal::INVALID_CREDENTIAL),
        }
    }

    /// The event of a person of an account, if the account's events go anywhere.
    pub(super) fn event(&self, account: usize, openid: &str, what: What) -> Option<Event> {
        self.accounts[account].callback.as_ref()?;
        let (openid, at) = (openid.to_owned(), self.now().0);
        Some(Event { account, openid, at, what, times: 1, delay_ms: 0 })
    }

    /// The text of a new token of an account, as long as real ones.
    pub(super) fn token_text(&mut self, index: usize, seed: u64, now: Timestamp) -> String {
        self.tokens_made += 1;
        let part = |i: u64| {
            let parts = [index as u64, now.0, self.tokens_made, i].map(u64::to_le_bytes);
            format!("{:016x}", hash(seed, &[parts.as_flattened()]))
        };
        let parts: String = (0..8).map(part).collect();
        format!("{index:04}_{parts}")
    }

    /// The body that refuses a call.
    pub(super) fn refuse(&mut self, refusal: &Refusal, now: Timestamp) -> String {
        self.rids += 1;
        let seconds = now.0 / SECOND_MS;
        refusal.body(&format!("{seconds:08x}-{:08x}-{:08x}", now.0 % SECOND_MS, self.rids))
    }
}

/// The account's index, which stands before a token's first underscore.
fn token_account(token: &str) -> Option<usize> {
    token.split_once('_')?.0.parse().ok()
}

/// The world and what never changes in it.
#[derive(Debug)]
pub(super) struct Sandbox {
    options: Options,
    world: Mutex<World>,
}

impl Sandbox {
    pub(super) fn new(options: Options) -> Self {
        let world = Mutex::new(World::new(&options));
        Self { options, world }
    }

    /// The world, locked. Hold it briefly.
    pub(super) fn world(&self) -> MutexGuard<'_, World> {
        self.world.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Begins again as on the first day; only the count of tokens goes on, so that old ones are
    /// not issued again, and events go where they went.
    pub(super) fn reset(&self) {
        let fresh = World::new(&self.options);
        let mut world = self.world();
        let callbacks: Vec<_> = world.accounts.iter().map(|state| state.callback.clone()).collect();
        *world = World { tokens_made: world.tokens_made, ..fresh };
        for (state, callback) in world.accounts.iter_mut().zip(callbacks) {
            state.callback = callback;
        }
    }

    pub(super) fn seed(&self) -> u64 {
        self.options.seed
    }

    pub(super) fn accounts(&self) -> &[Account] {
        &self.options.tenants
    }

    /// The index of an account by its appid.
    pub(super) fn account(&self, appid: &str) -> Option<usize> {
        self.options.tenants.iter().position(|account| account.appid == appid)
    }

    pub(super) fn templates(&self) -> &[Template] {
        &self.options.templates
    }
}
