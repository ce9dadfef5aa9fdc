//! What is known of the token, and what follows from it. Pure: time is an argument.

use super::{Token, TokenError, TokenProblem};
use crate::secret::Secret;
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};

/// The token is renewed when it has less than this left. The provider has a new one by then, and
/// takes both until the end of the old one.
const RENEW_BEFORE_MS: u64 = 5 * MINUTE_MS;
/// Renewals of a token that is still good are at least this far apart, in case they fail or bring
/// nothing new.
const RENEW_APART_MS: u64 = 30 * SECOND_MS;
/// After the first failure nobody fetches for this long; doubled with each further one.
const HOLD_FIRST_MS: u64 = SECOND_MS;
/// The longest hold.
const HOLD_MOST_MS: u64 = 32 * SECOND_MS;
/// Failures further apart than this have nothing to do with each other.
const FORGET_MS: u64 = 5 * MINUTE_MS;

/// The token, what was said about it, and the last failure.
#[derive(Debug)]
pub(super) struct Standing {
    token: Option<Token>,
    trust: Trust,
    failure: Option<Failure>,
    renewed_at: Option<Timestamp>,
}

/// Whether the token may be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Trust {
    /// Until its end.
    Good,
    /// A send was refused with it.
    Refused,
    /// A send was refused with it, but the provider says that it is the one. It gets another
    /// chance when the hold is over: such refusals have passed by themselves.
    Resting,
}

/// A fetch that brought nothing.
#[derive(Debug)]
struct Failure {
    error: TokenError,
    at: Timestamp,
    in_a_row: u32,
}

impl Failure {
    fn holds(&self, now: Timestamp) -> bool {
        let doublings = self.in_a_row.saturating_sub(1).min(16);
        let hold_ms = (HOLD_FIRST_MS << doublings).min(HOLD_MOST_MS);
        // A clock that was set back must not hold forever.
        now >= self.at && now.since(self.at) < hold_ms
    }
}

/// What a caller gets.
#[derive(Debug)]
pub(super) enum Ask {
    /// This token.
    Use(Token),
    /// This token; a fetch is due, but nobody need wait for it.
    UseAndFetch(Token),
    /// Nothing now: this went wrong a moment ago.
    Hold(TokenError),
    /// What a fetch brings; the one under way, or a new one.
    Fetch,
}

/// What a fetch changed.
#[derive(Debug)]
pub(super) enum Settled {
    New(Token),
    Unchanged(Token),
    Failed(TokenError),
}

impl Settled {
    pub(super) fn into_outcome(self) -> Result<Token, TokenError> {
        match self {
            Self::New(token) | Self::Unchanged(token) => Ok(token),
            Self::Failed(error) => Err(error),
        }
    }
}

impl Standing {
    pub(super) fn new(token: Option<Token>) -> Self {
        Self { token, trust: Trust::Good, failure: None, renewed_at: None }
    }

    /// The end of the token, unless it was refused.
    pub(super) fn good_until(&self) -> Option<Timestamp> {
        self.token.as_ref().filter(|_| self.trust == Trust::Good).map(|token| token.expires_at)
    }

    /// A send was refused with `used`. Says nothing about a token that came after it.
    pub(super) fn refuse(&mut self, used: &Secret) {
        let present = self.token.as_ref().is_some_and(|token| token.value == *used);
        if present && self.trust == Trust::Good {
            self.trust = Trust::Refused;
        }
    }

    /// What a caller at `now` gets, while a fetch is under way or not.
    pub(super) fn ask(&mut self, now: Timestamp, under_way: bool) -> Ask {
        let hold = self.failure.as_ref().filter(|failure| failure.holds(now));
        if self.trust == Trust::Resting && hold.is_none() {
            self.trust = Trust::Good;
        }
        let usable = self.trust == Trust::Good;
        if let Some(token) = self.token.as_ref().filter(|token| usable && now < token.expires_at) {
            let token = token.clone();
            let early = token.expires_at.since(now) < RENEW_BEFORE_MS;
            let lately =
                self.renewed_at.is_some_and(|at| now >= at && now.since(at) < RENEW_APART_MS);
            if early && !lately && !under_way && hold.is_none() {
                self.renewed_at = Some(now);
                return Ask::UseAndFetch(token);
            }
            return Ask::Use(token);
        }
        match hold {
            Some(failure) if !under_way => Ask::Hold(failure.error.clone()),
            _ => Ask::Fetch,
        }
    }

    /// A fetch ended.
    pub(super) fn settle(&mut self, now: Timestamp, fetched: Result<Token, TokenError>) -> Settled {
        let token = match fetched {
            Ok(token) => token,
            Err(error) => return self.fail(now, error),
        };
        let same = self.token.as_ref().is_some_and(|old| old.value == token.value);
        self.token = Some(token.clone());
        if same && self.trust != Trust::Good {
            self.trust = Trust::Resting;
            return self.fail(now, TokenError::same_token());
        }
        self.trust = Trust::Good;
        if same {
            return Settled::Unchanged(token);
        }
        self.failure = None;
        self.renewed_at = None;
        Settled::New(token)
    }

    fn fail(&mut self, now: Timestamp, error: TokenError) -> Settled {
        let before = self.failure.take().filter(|failure| now.since(failure.at) < FORGET_MS);
        let in_a_row = before.map_or(1, |failure| failure.in_a_row.saturating_add(1));
        debug_assert!(error.problem != TokenProblem::SameToken || self.trust == Trust::Resting);
        self.failure = Some(Failure { error: error.clone(), at: now, in_a_row });
        Settled::Failed(error)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::model::attempt::Class;
    use crate::time::HOUR_MS;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn token(value: &str, expires_at: Timestamp) -> Token {
        Token { value: Secret::new(value), expires_at }
    }

    fn lost() -> TokenError {
        TokenError::no_answer("lost".into())
    }

    fn uses(ask: Ask) -> Option<String> {
        match ask {
            Ask::Use(token) | Ask::UseAndFetch(token) => Some(token.value.expose().to_owned()),
            Ask::Hold(_) | Ask::Fetch => None,
        }
    }

    #[test]
    fn a_token_is_renewed_early_by_one_caller_while_all_go_on() {
        let mut standing = Standing::new(Some(token("a", NOW.plus(HOUR_MS))));
        assert!(matches!(standing.ask(NOW, false), Ask::Use(_)));
        let late = NOW.plus(HOUR_MS - RENEW_BEFORE_MS + 1);
        assert!(matches!(standing.ask(late, false), Ask::UseAndFetch(_)));
        assert!(matches!(standing.ask(late, true), Ask::Use(_)));
        let _ = standing.settle(late, Err(lost()));
        assert!(matches!(standing.ask(late.plus(5_000), false), Ask::Use(_)));
        assert!(matches!(standing.ask(late.plus(RENEW_APART_MS), false), Ask::UseAndFetch(_)));
        let settled = standing.settle(late, Ok(token("b", late.plus(HOUR_MS))));
        assert!(matches!(settled, Settled::New(_)));
        assert_eq!(uses(standing.ask(late, false)).unwrap(), "b");
    }

    #[test]
    fn the_end_of_a_token_needs_a_fetch() {
        let mut standing = Standing::new(Some(token("a", NOW)));
        assert!(matches!(standing.ask(NOW, false), Ask::Fetch));
        assert!(matches!(standing.ask(NOW, true), Ask::Fetch));
    }

    #[test]
    fn failures_hold_for_longer_and_longer() {
        let mut standing = Standing::new(None);
        let mut now = NOW;
        for hold_ms in [1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 32_000] {
            assert!(matches!(standing.ask(now, false), Ask::Fetch));
            let _ = standing.settle(now, Err(lost()));
            assert!(matches!(standing.ask(now.plus(hold_ms - 1), false), Ask::Hold(_)));
            assert!(matches!(standing.ask(now.plus(hold_ms - 1), true), Ask::Fetch));
            now = now.plus(hold_ms);
        }
        assert!(matches!(standing.ask(NOW.minus(HOUR_MS), false), Ask::Fetch), "clock set back");
        let quiet = now.plus(FORGET_MS);
        let _ = standing.settle(quiet, Err(lost()));
        assert!(matches!(standing.ask(quiet.plus(1_000), false), Ask::Fetch));
    }

    #[test]
    fn only_the_present_token_can_be_refused() {
        let mut standing = Standing::new(Some(token("b", NOW.plus(HOUR_MS))));
        standing.refuse(&Secret::new("a"));
        assert_eq!(uses(standing.ask(NOW, false)).unwrap(), "b");
        standing.refuse(&Secret::new("b"));
        assert!(matches!(standing.ask(NOW, false), Ask::Fetch));
        assert_eq!(standing.good_until(), None);
    }

    #[test]
    fn a_refused_token_is_not_used_after_a_failed_fetch() {
        let mut standing = Standing::new(Some(token("a", NOW.plus(HOUR_MS))));
        standing.refuse(&Secret::new("a"));
        let _ = standing.settle(NOW, Err(lost()));
        assert!(matches!(standing.ask(NOW, false), Ask::Hold(_)));
        assert!(matches!(standing.ask(NOW.plus(1_000), false), Ask::Fetch));
    }

    #[test]
    fn a_refused_token_that_comes_back_rests_and_gets_another_chance() {
        let mut standing = Standing::new(Some(token("a", NOW.plus(HOUR_MS))));
        standing.refuse(&Secret::new("a"));
        let Settled::Failed(error) = standing.settle(NOW, Ok(token("a", NOW.plus(HOUR_MS)))) else {
            panic!("the same token was taken")
        };
        assert_eq!((error.class, error.problem), (Class::Retry, TokenProblem::SameToken));
        standing.refuse(&Secret::new("a"));
        assert!(matches!(standing.ask(NOW.plus(999), false), Ask::Hold(_)));
        assert_eq!(uses(standing.ask(NOW.plus(1_000), false)).unwrap(), "a");
        standing.refuse(&Secret::new("a"));
        assert!(matches!(standing.ask(NOW.plus(1_000), false), Ask::Fetch));
        let _ = standing.settle(NOW.plus(1_000), Ok(token("a", NOW.plus(HOUR_MS))));
        assert!(matches!(standing.ask(NOW.plus(2_999), false), Ask::Hold(_)), "it rests longer");
    }
}
