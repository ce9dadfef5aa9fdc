//! Access tokens of one account: the classic family, where each fetch ends the token before, and
//! the stable one, where fetches share a token. Neither touches the other.

use crate::time::{SECOND_MS, Timestamp};

/// Life of a token.
const LIFE_MS: u64 = 7_200 * SECOND_MS;
/// How long the token before stays valid, and how early a stable token is replaced.
const OVERLAP_MS: u64 = 300 * SECOND_MS;
/// Shortest time between two forced refreshes.
const FORCE_GAP_MS: u64 = 30 * SECOND_MS;

/// What a token is worth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Worth {
    /// It opens the account.
    Good,
    /// It did until its time came: 42001.
    Expired,
    /// It was replaced or was never issued: 40001.
    Invalid,
}

/// How a stable token is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refresh {
    /// The current one will do.
    Share,
    /// A new one, and the old one dies at once.
    Force,
}

#[derive(Debug)]
struct Token {
    text: String,
    valid_until: Timestamp,
    afterwards: Worth,
}

impl Token {
    fn new(text: String, now: Timestamp) -> Self {
        Self { text, valid_until: now.plus(LIFE_MS), afterwards: Worth::Expired }
    }

    fn left_ms(&self, now: Timestamp) -> u64 {
        self.valid_until.since(now)
    }
}

#[derive(Debug, Default)]
struct Family {
    current: Option<Token>,
    previous: Option<Token>,
}

impl Family {
    fn worth(&self, text: &str, now: Timestamp) -> Option<Worth> {
        let token = [&self.current, &self.previous]
            .into_iter()
            .flatten()
            .find(|token| token.text == text)?;
        Some(if token.left_ms(now) > 0 { Worth::Good } else { token.afterwards })
    }

    /// The current token and the whole seconds it has left.
    fn shown(&self, now: Timestamp) -> (String, u64) {
        let token = self.current.as_ref();
        token.map_or((String::new(), 0), |t| (t.text.clone(), t.left_ms(now) / SECOND_MS))
    }
}

/// All tokens of one account.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    classic: Family,
    stable: Family,
    forced_at: Option<Timestamp>,
}

impl Tokens {
    /// What `text` is worth at this account.
    pub(super) fn worth(&self, text: &str, now: Timestamp) -> Worth {
        let known = self.classic.worth(text, now).or_else(|| self.stable.worth(text, now));
        known.unwrap_or(Worth::Invalid)
    }

    /// A new classic token, `text`; the one before lives five more minutes at most.
    pub(super) fn classic(&mut self, text: String, now: Timestamp) -> (String, u64) {
        let previous = self.classic.current.replace(Token::new(text, now));
        self.classic.previous = previous.map(|token| Token {
            valid_until: token.valid_until.min(now.plus(OVERLAP_MS)),
            afterwards: Worth::Invalid,
            ..token
        });
        self.classic.shown(now)
    }

    /// The stable token; `text` becomes it when a new one is called for.
    pub(super) fn stable(
        &mut self,
        refresh: Refresh,
        text: String,
        now: Timestamp,
    ) -> (String, u64) {
        let left = self.stable.current.as_ref().map_or(0, |token| token.left_ms(now));
        if refresh == Refresh::Force {
            self.forced_at = Some(now);
            self.stable = Family { current: Some(Token::new(text, now)), previous: None };
        } else if left <= OVERLAP_MS {
            self.stable.previous = self.stable.current.replace(Token::new(text, now));
        }
        self.stable.shown(now)
    }

    /// Whether the last forced refresh is long enough ago for another.
    pub(super) fn may_force(&self, now: Timestamp) -> bool {
        self.forced_at.is_none_or(|at| now.since(at) >= FORCE_GAP_MS)
    }

    /// Ends all tokens, as when somebody else resets the secret.
    pub(super) fn invalidate(&mut self) {
        (self.classic, self.stable) = Default::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Timestamp = Timestamp(1_000_000);

    fn share(tokens: &mut Tokens, text: &str, now: Timestamp) -> (String, u64) {
        tokens.stable(Refresh::Share, text.to_owned(), now)
    }

    #[test]
    fn each_classic_fetch_ends_the_one_before_after_five_minutes() {
        let mut tokens = Tokens::default();
        assert_eq!(tokens.classic("a".into(), START), ("a".into(), 7_200));
        tokens.classic("b".into(), START.plus(1_000));
        assert_eq!(tokens.worth("a", START.plus(300_999)), Worth::Good);
        assert_eq!(tokens.worth("a", START.plus(301_000)), Worth::Invalid);
        tokens.classic("c".into(), START.plus(2_000));
        assert_eq!(tokens.worth("a", START.plus(2_000)), Worth::Invalid);
        assert_eq!(tokens.worth("c", START.plus(7_202_000)), Worth::Expired);
    }

    #[test]
    fn stable_fetches_share_a_token_until_its_last_five_minutes() {
        let mut tokens = Tokens::default();
        share(&mut tokens, "a", START);
        let late = START.plus(6_899_000);
        assert_eq!(share(&mut tokens, "b", late), ("a".into(), 301));
        let last = START.plus(6_900_000);
        assert_eq!(share(&mut tokens, "b", last), ("b".into(), 7_200));
        assert_eq!(tokens.worth("a", last), Worth::Good);
        assert_eq!(tokens.worth("a", START.plus(7_200_000)), Worth::Expired);
    }

    #[test]
    fn forced_refresh_kills_the_old_token_and_then_waits() {
        let mut tokens = Tokens::default();
        share(&mut tokens, "a", START);
        assert!(tokens.may_force(START));
        tokens.stable(Refresh::Force, "b".into(), START);
        assert_eq!(tokens.worth("a", START), Worth::Invalid);
        assert_eq!(tokens.worth("b", START), Worth::Good);
        assert!(!tokens.may_force(START.plus(29_999)));
        assert!(tokens.may_force(START.plus(30_000)));
    }

    #[test]
    fn the_families_leave_each_other_alone() {
        let mut tokens = Tokens::default();
        share(&mut tokens, "s", START);
        tokens.classic("c".into(), START);
        tokens.classic("d".into(), START);
        tokens.stable(Refresh::Force, "t".into(), START);
        assert_eq!(tokens.worth("d", START), Worth::Good);
        assert_eq!(tokens.worth("t", START), Worth::Good);
        tokens.invalidate();
        assert_eq!(tokens.worth("d", START), Worth::Invalid);
        assert_eq!(tokens.worth("t", START), Worth::Invalid);
    }
}
