//! What was accepted in the last ten minutes, by `client_msg_id`.
//!
//! Two generations: the older one is dropped whole when everything in it is out of the window, so
//! forgetting costs nothing per send.

use std::collections::HashMap;
use std::mem;

use crate::time::Timestamp;

/// WeChat keeps a `client_msg_id` for ten minutes from the first acceptance.
const WINDOW_MS: u64 = 600_000;

#[derive(Clone, Copy, Debug)]
struct Accepted {
    at: Timestamp,
    msgid: u64,
}

/// Sends accepted lately.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    current: HashMap<u64, Accepted>,
    older: HashMap<u64, Accepted>,
    since: Timestamp,
}

impl Repeats {
    /// The `msgid` of the send with this key, if it was accepted within the window before `now`.
    pub(super) fn find(&mut self, key: u64, now: Timestamp) -> Option<u64> {
        self.turn(now);
        let found = self.current.get(&key).or_else(|| self.older.get(&key))?;
        (now.since(found.at) < WINDOW_MS).then_some(found.msgid)
    }

    /// Remembers a send.
    pub(super) fn insert(&mut self, key: u64, msgid: u64, now: Timestamp) {
        self.turn(now);
        self.current.insert(key, Accepted { at: now, msgid });
    }

    fn turn(&mut self, now: Timestamp) {
        let age = now.since(self.since);
        if age >= WINDOW_MS {
            self.older = mem::take(&mut self.current);
            self.since = now;
        }
        if age >= 2 * WINDOW_MS {
            self.older = HashMap::new();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_send_is_remembered_for_exactly_ten_minutes_wherever_the_generations_turn() {
        for offset in [0, 1, 299_999, 599_999] {
            let mut repeats = Repeats::default();
            let start = Timestamp(10_000_000);
            repeats.insert(1, 11, start);
            let at = start.plus(offset);
            repeats.insert(2, 22, at);
            assert_eq!(repeats.find(2, at.plus(599_999)), Some(22), "{offset}");
            assert_eq!(repeats.find(2, at.plus(600_000)), None, "{offset}");
            assert_eq!(repeats.find(3, at), None);
        }
    }

    #[test]
    fn what_is_out_of_the_window_takes_no_memory() {
        let mut repeats = Repeats::default();
        repeats.insert(1, 11, Timestamp(10_000_000));
        repeats.insert(2, 22, Timestamp(10_600_000));
        assert_eq!((repeats.current.len(), repeats.older.len()), (1, 1));
        repeats.find(9, Timestamp(11_200_000));
        assert_eq!((repeats.current.len(), repeats.older.len()), (0, 1));
        repeats.find(9, Timestamp(13_000_000));
        assert_eq!((repeats.current.len(), repeats.older.len()), (0, 0));
    }
}
