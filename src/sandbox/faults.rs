//! What goes wrong with one send.

use super::Faults;

/// The fate of one request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// Nothing goes wrong.
    Fine,
    /// Done, but the connection closes instead of an answer.
    LostAnswer,
    /// Not done, and the connection closes instead of an answer.
    LostRequest,
    /// Not done, answered -1.
    FailedSystem,
    /// Done, answered -1.
    LyingSystem,
    /// Not done, answered 45011.
    MinuteLimit,
    /// Done, answered late.
    Slow,
}

impl Faults {
    /// The fate of a recipient's try number `nth`.
    pub(super) fn fate(&self, seed: u64, recipient: u64, nth: u32) -> Fate {
        let dice = mix(seed ^ recipient.rotate_left(17) ^ (u64::from(nth) << 48));
        let mut throw = u32::try_from(dice % 1000).unwrap_or(0);
        for (share, fate) in [
            (self.lost_answer, Fate::LostAnswer),
            (self.lost_request, Fate::LostRequest),
            (self.system_error / 2, Fate::LyingSystem),
            (self.system_error.div_ceil(2), Fate::FailedSystem),
            (self.minute_limit, Fate::MinuteLimit),
            (self.slow, Fate::Slow),
        ] {
            if throw < share {
                return fate;
            }
            throw -= share;
        }
        Fate::Fine
    }
}

fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_kept_and_a_seed_repeats() {
        let faults = Faults { lost_answer: 100, minute_limit: 50, ..Faults::default() };
        let fates: Vec<Fate> = (0..20_000).map(|who| faults.fate(7, mix(who), 1)).collect();
        let count = |fate| fates.iter().filter(|one| **one == fate).count();
        assert!((1_700..2_300).contains(&count(Fate::LostAnswer)));
        assert!((800..1_200).contains(&count(Fate::MinuteLimit)));
        assert_eq!(fates[5], faults.fate(7, mix(5), 1));
        assert_eq!(Faults::default().fate(7, 1, 1), Fate::Fine);
    }
}
