//! What is known of one person of a tenant: whether they follow, which templates they refused.

use serde::{Deserialize, Serialize};

use crate::store::Record;
use crate::store::schema::Tree;
use crate::time::{DAY_MS, SECOND_MS, Timestamp};

/// Templates of one person that are remembered as refused: an account has 25 in use.
const REFUSED: usize = 16;
/// A refusal is believed for so long: that it was taken back is told by nobody.
pub const REFUSED_MS: u64 = 30 * DAY_MS;

/// The row of a person of whom there is something to remember.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Person {
    /// Whether they follow the account, if that was told.
    presence: Option<Presence>,
    /// Templates that they switched off, by the provider's id, and when that was seen.
    refused: Vec<(String, Timestamp)>,
    /// When the last messages left for them, oldest first; kept for a tenant with a cap only.
    pub sent: Vec<Timestamp>,
}

impl Record for Person {
    const TREE: Tree = Tree::People;
}

/// Whether somebody follows, and how that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Presence {
    /// Whether they have left.
    pub gone: bool,
    /// Since when, by the clock of who told it.
    pub at: Timestamp,
    /// Told by an event; else seen from the answer to a send, or from a list of followers.
    pub told: bool,
}

impl Person {
    /// An event says that they follow or left at `at`. False when something newer is known: events
    /// come in any order. They have whole seconds, and within one the last to come counts.
    pub fn hear(&mut self, gone: bool, at: Timestamp) -> bool {
        let second = |at: Timestamp| at.0 / SECOND_MS;
        if self.presence.is_some_and(|known| second(at) < second(known.at)) {
            return false;
        }
        self.presence = Some(Presence { gone, at, told: true });
        true
    }

    /// An answer says that they have left.
    pub fn seen_gone(&mut self, at: Timestamp) {
        if self.presence.is_none_or(|known| !known.gone) {
            self.presence = Some(Presence { gone: true, at, told: false });
        }
    }

    /// A message that left at `at` was taken, or a list made then has them: they were there. True
    /// when that changes what was known.
    pub fn seen_here(&mut self, at: Timestamp) -> bool {
        let outdated = self.presence.is_some_and(|known| known.gone && known.at < at);
        if outdated {
            self.presence = None;
        }
        outdated
    }

    /// They refused a template at `at`.
    pub fn refuse(&mut self, template_id: &str, at: Timestamp) {
        self.refused.retain(|(id, _)| id != template_id);
        if self.refused.len() == REFUSED {
            self.refused.remove(0);
        }
        self.refused.push((template_id.to_owned(), at));
    }

    /// They took a message of a template. True when that changes what was known.
    pub fn take(&mut self, template_id: &str) -> bool {
        let before = self.refused.len();
        self.refused.retain(|(id, _)| id != template_id);
        self.refused.len() != before
    }

    /// Whether they follow, if that is known.
    #[must_use]
    pub fn presence(&self) -> Option<Presence> {
        self.presence
    }

    /// When they refused a template, if that is still believed at `now`.
    #[must_use]
    pub fn refused_at(&self, template_id: &str, now: Timestamp) -> Option<Timestamp> {
        let (_, at) = self.refused.iter().find(|(id, _)| id == template_id)?;
        (now < at.plus(REFUSED_MS)).then_some(*at)
    }

    /// Whether nothing is remembered: then there is no row.
    #[must_use]
    pub fn is_nobody(&self) -> bool {
        *self == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_event_counts_in_whatever_order_they_come() {
        let mut person = Person::default();
        assert!(person.hear(false, Timestamp(9_000)));
        assert!(!person.hear(true, Timestamp(8_000)));
        assert!(!person.presence().unwrap().gone);
        assert!(person.hear(true, Timestamp(9_000)), "within a second the last to come");
        assert!(person.presence().unwrap().gone);
    }

    #[test]
    fn a_message_that_was_taken_says_more_than_an_older_event() {
        let mut person = Person::default();
        person.hear(true, Timestamp(9_000));
        assert!(!person.seen_here(Timestamp(8_000)));
        assert!(person.seen_here(Timestamp(9_500)));
        assert!(person.is_nobody());
        person.seen_gone(Timestamp(10_000));
        assert!(person.presence().is_some_and(|known| known.gone && !known.told));
    }

    #[test]
    fn refusals_are_of_one_template_and_are_forgotten() {
        let mut person = Person::default();
        (0..20).for_each(|n| person.refuse(&format!("T{n}"), Timestamp(n)));
        person.refuse("T19", Timestamp(100));
        assert_eq!(person.refused_at("T3", Timestamp(0)), None, "the oldest went");
        assert_eq!(person.refused_at("T19", Timestamp(200)), Some(Timestamp(100)));
        assert_eq!(person.refused_at("T19", Timestamp(100 + REFUSED_MS)), None);
        assert!(person.take("T19") && !person.take("T19"));
        assert_eq!(person.refused_at("T18", Timestamp(200)), Some(Timestamp(18)));
    }
}
