//! The people that an account knows: its first followers, named by number, and those who came
//! later under any openid.

use std::borrow::Cow;
use std::collections::HashMap;

use super::options::{follower, follower_index};

/// How a person stands to the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Standing {
    Follows,
    Left,
    /// Follows, and the account has put them on its blacklist.
    Blocked,
}

/// One person.
#[derive(Clone, Copy, Debug)]
pub(super) struct Person {
    pub(super) standing: Standing,
    /// Sends called for so far.
    pub(super) calls: u32,
    /// Messages shown so far.
    pub(super) shown: u32,
}

const NEWCOMER: Person = Person { standing: Standing::Follows, calls: 0, shown: 0 };

/// The people of the account at index `account`.
#[derive(Debug)]
pub(super) struct People {
    account: usize,
    numbered: usize,
    all: Vec<Person>,
    later: HashMap<String, u32>,
    later_names: Vec<String>,
}

impl People {
    pub(super) fn new(account: usize, followers: u32) -> Self {
        let all = vec![NEWCOMER; followers as usize];
        let (later, later_names) = Default::default();
        Self { account, numbered: all.len(), all, later, later_names }
    }

    /// The number of a person by openid.
    pub(super) fn find(&self, openid: &str) -> Option<u32> {
        match follower_index(openid) {
            Some((account, i)) if account == self.account && (i as usize) < self.numbered => {
                Some(i)
            }
            _ => self.later.get(openid).copied(),
        }
    }

    /// A person by number; the number comes from [`People::find`].
    pub(super) fn person(&mut self, number: u32) -> &mut Person {
        &mut self.all[number as usize]
    }

    /// The openid behind a number.
    pub(super) fn openid(&self, number: u32) -> Cow<'_, str> {
        match (number as usize).checked_sub(self.numbered) {
            Some(later) => Cow::Borrowed(&self.later_names[later]),
            None => Cow::Owned(follower(self.account, number)),
        }
    }

    /// Lets a person follow, known or not.
    pub(super) fn follow(&mut self, openid: &str) {
        if let Some(number) = self.find(openid) {
            self.person(number).standing = Standing::Follows;
            return;
        }
        let number = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        self.all.push(NEWCOMER);
        self.later.insert(openid.to_owned(), number);
        self.later_names.push(openid.to_owned());
    }

    /// How many follow, blocked ones included.
    pub(super) fn followers(&self) -> usize {
        self.all.iter().filter(|person| person.standing != Standing::Left).count()
    }

    /// The numbers of those who follow, from `first` on.
    pub(super) fn following(&self, first: u32) -> impl Iterator<Item = u32> + '_ {
        let known = u32::try_from(self.all.len()).unwrap_or(u32::MAX);
        (first..known).filter(|&number| self.all[number as usize].standing != Standing::Left)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_are_found_by_openid_and_named_by_number() {
        let mut people = People::new(1, 3);
        people.follow("guest");
        people.follow("guest");
        assert_eq!(people.find(&follower(1, 2)), Some(2));
        assert_eq!(people.find(&follower(1, 3)), None);
        assert_eq!(people.find(&follower(0, 2)), None);
        assert_eq!(people.find("guest"), Some(3));
        assert_eq!(people.openid(3), "guest");
        assert_eq!(people.openid(1), follower(1, 1));
        assert_eq!(people.followers(), 4);
    }

    #[test]
    fn those_who_left_are_not_listed_until_they_return() {
        let mut people = People::new(0, 3);
        people.person(1).standing = Standing::Left;
        people.person(2).standing = Standing::Blocked;
        assert_eq!(people.following(0).collect::<Vec<_>>(), [0, 2]);
        people.follow(&follower(0, 1));
        assert_eq!(people.following(1).collect::<Vec<_>>(), [1, 2]);
    }
}
