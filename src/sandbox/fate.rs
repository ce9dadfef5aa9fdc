//! What becomes of one send: decided by the seed, the recipient and how often it was called for.

use super::hash::hash;
use super::options::Faults;

/// The fault that a send meets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// None.
    Normal,
    /// The connection closes and nothing is done.
    LostBeforeAccept,
    /// 45011.
    MinuteLimit,
    /// -1, and nothing is done.
    SystemErrorRefused,
    /// -1, though the send is carried out.
    SystemErrorAccepted,
    /// The send is carried out, then the connection closes.
    LostAnswer,
}

/// The fate of a send and how late its answer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draw {
    pub(super) fate: Fate,
    pub(super) delay_ms: u64,
}

/// Draws for the `nth` send to `openid`. The order among recipients does not matter.
pub(super) fn draw(seed: u64, faults: &Faults, openid: &str, nth: u32) -> Draw {
    let roll = hash(seed, &[openid.as_bytes(), &nth.to_le_bytes()]);
    let slow = (roll >> 32) % 1_000 < u64::from(faults.slow_permille);
    Draw { fate: fate(faults, roll), delay_ms: if slow { faults.slow_ms } else { 0 } }
}

/// What becomes of a receipt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ReceiptFate {
    pub(super) lost: bool,
    pub(super) twice: bool,
    pub(super) early: bool,
    pub(super) failed: bool,
}

impl ReceiptFate {
    /// What it says; `None` when it never comes.
    pub(super) fn status(self) -> Option<&'static str> {
        let status = if self.failed { "failed:user block" } else { "success" };
        (!self.lost).then_some(status)
    }
}

/// Draws for the receipt of a message.
pub(super) fn receipt(seed: u64, faults: &Faults, msgid: u64) -> ReceiptFate {
    let happens = |what: u64, permille: u16| {
        let roll = hash(seed, &[b"receipt", &what.to_le_bytes(), &msgid.to_le_bytes()]);
        roll % 1_000 < u64::from(permille)
    };
    ReceiptFate {
        lost: happens(1, faults.receipt_lost_permille),
        twice: happens(2, faults.receipt_twice_permille),
        early: happens(3, faults.receipt_early_permille),
        failed: happens(4, faults.receipt_failed_permille),
    }
}

fn fate(faults: &Faults, roll: u64) -> Fate {
    let error = if roll >> 63 == 0 { Fate::SystemErrorRefused } else { Fate::SystemErrorAccepted };
    let mut left = (roll & 0xffff_ffff) % 1_000;
    for (permille, fate) in [
        (faults.lost_before_accept_permille, Fate::LostBeforeAccept),
        (faults.minute_limit_permille, Fate::MinuteLimit),
        (faults.system_error_permille, error),
        (faults.lost_answer_permille, Fate::LostAnswer),
    ] {
        let permille = u64::from(permille);
        if left < permille {
            return fate;
        }
        left -= permille;
    }
    Fate::Normal
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sandbox::follower;

    #[test]
    fn faults_come_as_often_as_asked() {
        let faults = Faults {
            lost_answer_permille: 100,
            lost_before_accept_permille: 50,
            system_error_permille: 200,
            minute_limit_permille: 30,
            slow_permille: 10,
            slow_ms: 7,
            ..Faults::default()
        };
        let draws: Vec<Draw> =
            (0..20_000).map(|i| draw(3, &faults, &follower(0, i / 4), i % 4)).collect();
        let count = |fate| draws.iter().filter(|draw| draw.fate == fate).count();
        for (fate, expected) in [
            (Fate::LostAnswer, 2_000),
            (Fate::LostBeforeAccept, 1_000),
            (Fate::SystemErrorRefused, 2_000),
            (Fate::SystemErrorAccepted, 2_000),
            (Fate::MinuteLimit, 600),
            (Fate::Normal, 12_400),
        ] {
            let got = count(fate);
            assert!(got.abs_diff(expected) < expected / 5, "{fate:?}: {got}, not {expected}");
        }
        let slow = draws.iter().filter(|draw| draw.delay_ms == 7).count();
        assert!(slow.abs_diff(200) < 60, "{slow}");
    }

    #[test]
    fn a_seed_decides_and_another_decides_otherwise() {
        let faults = Faults { lost_answer_permille: 500, ..Faults::default() };
        let all =
            |seed| (0..64).map(|i| draw(seed, &faults, &follower(0, i), 0)).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
    }

    #[test]
    fn without_faults_nothing_happens() {
        for i in 0..1_000 {
            let draw = draw(9, &Faults::default(), &follower(1, i), i);
            assert_eq!(draw, Draw { fate: Fate::Normal, delay_ms: 0 });
        }
    }
}
