//! What a sandbox is made of, and how it misbehaves.

use std::fmt;

use serde::{Deserialize, Serialize};

/// The template that a sandbox knows when nothing else is asked for: `thing1` and `time2`.
pub const DEFAULT_TEMPLATE: &str = "TEMPLATE_NEW_TASK_0000000000000000000000000";

/// Length of a template id at WeChat; another length is error 40036.
pub(super) const TEMPLATE_ID_CHARS: usize = 43;

/// How a sandbox is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Decides every fault; equal seeds give equal faults.
    pub seed: u64,
    /// The official accounts.
    pub tenants: Vec<Account>,
    /// Followers of each account at the start, named by [`follower`].
    pub followers: u32,
    /// The templates; every account has all of them.
    pub templates: Vec<Template>,
    /// How it misbehaves at the start.
    pub faults: Faults,
    /// Sends that each account may call for on one day of Shanghai.
    pub daily_quota: u64,
    /// Keep each message for listing. Without it only counts and duplicates are known.
    pub keep_ledger: bool,
}

impl Default for Options {
    fn default() -> Self {
        let account = |number: u32| Account {
            appid: format!("wx{number:016}"),
            secret: format!("sandbox-secret-{number}"),
        };
        Self {
            seed: 0,
            tenants: vec![account(1), account(2)],
            followers: 1_000,
            templates: vec![Template::new(DEFAULT_TEMPLATE, &["thing1", "time2"])],
            faults: Faults::default(),
            daily_quota: 100_000,
            keep_ledger: true,
        }
    }
}

/// One official account and the credentials it answers to.
#[derive(Clone)]
pub struct Account {
    /// The account's appid.
    pub appid: String,
    /// Its secret; never printed.
    pub secret: String,
}

impl fmt::Debug for Account {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Account").field("appid", &self.appid).finish_non_exhaustive()
    }
}

/// A message template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// The id that a send names; 43 characters at WeChat.
    pub id: String,
    /// The keywords of its content, such as `thing1`. Each must be given in a send; others are
    /// ignored. With no keyword here a send may give any, and each is checked by its name.
    pub keys: Vec<String>,
}

impl Template {
    /// A template of these keywords.
    #[must_use]
    pub fn new(id: &str, keys: &[&str]) -> Self {
        Self { id: id.to_owned(), keys: keys.iter().map(|&key| key.to_owned()).collect() }
    }
}

/// What goes wrong, how often. The permilles down to `minute_limit_permille` exclude each other and
/// may add up to 1,000 at most. They touch sends only; latency touches every call.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Faults {
    /// Sends that are carried out and whose connection is then closed without an answer.
    pub lost_answer_permille: u16,
    /// Sends whose connection is closed before anything was done.
    pub lost_before_accept_permille: u16,
    /// Sends answered with -1; every other one of them is carried out all the same.
    pub system_error_permille: u16,
    /// Sends answered with 45011.
    pub minute_limit_permille: u16,
    /// Sends whose answer comes late by `slow_ms`, whatever it is.
    pub slow_permille: u16,
    /// How late a slow answer is.
    pub slow_ms: u64,
    /// Time that every call takes: half of it passes before anything is done, half after.
    pub latency_ms: u64,
    /// What a send gets whose `client_msg_id` was accepted less than ten minutes ago.
    pub repeat_answer: RepeatAnswer,
    /// Receipts that never come.
    pub receipt_lost_permille: u16,
    /// Receipts that come twice.
    pub receipt_twice_permille: u16,
    /// Receipts that are posted before the send is answered.
    pub receipt_early_permille: u16,
    /// Receipts that say `failed:user block`.
    pub receipt_failed_permille: u16,
    /// How long after its send a receipt comes.
    pub receipt_delay_ms: u64,
    /// The list of templates is refused with 45009: it has a small quota of its own.
    pub template_list_refused: bool,
}

impl Faults {
    /// Longest latency and delay: an hour.
    const LONGEST_MS: u64 = 3_600_000;

    /// Whether the numbers can be honoured; the error says which cannot.
    pub fn check(&self) -> Result<(), &'static str> {
        let exclusive = [
            self.lost_answer_permille,
            self.lost_before_accept_permille,
            self.system_error_permille,
            self.minute_limit_permille,
        ];
        if exclusive.into_iter().map(u32::from).sum::<u32>() > 1_000 {
            return Err("lost, system error and minute limit permilles add up to more than 1000");
        }
        let receipts = [
            self.receipt_lost_permille,
            self.receipt_twice_permille,
            self.receipt_early_permille,
            self.receipt_failed_permille,
        ];
        if self.slow_permille > 1_000 || receipts.into_iter().any(|permille| permille > 1_000) {
            return Err("slow_permille or a receipt_…_permille is more than 1000");
        }
        if self.slow_ms.max(self.latency_ms).max(self.receipt_delay_ms) > Self::LONGEST_MS {
            return Err("slow_ms, latency_ms or receipt_delay_ms is more than an hour");
        }
        Ok(())
    }
}

/// What WeChat answers to a repeated `client_msg_id`: no source shows it, so all are possible.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RepeatAnswer {
    /// Success, with the `msgid` of the first send.
    #[default]
    SameMsgid,
    /// Success, with a `msgid` never seen before.
    NewMsgid,
    /// Success, without a `msgid`.
    NoMsgid,
    /// Error 40241, `The message is duplicate in 60 seconds`.
    Refused,
}

/// The openid of follower `i` of the account at index `account`.
#[must_use]
pub fn follower(account: usize, i: u32) -> String {
    format!("o{account:02}F{i:022}")
}

/// The account and follower that [`follower`] made this openid of, if it did.
pub(super) fn follower_index(openid: &str) -> Option<(usize, u32)> {
    let (account, i) = openid.strip_prefix('o')?.split_once('F')?;
    let digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    let canonical = account.len() == 2 || (account.len() > 2 && !account.starts_with('0'));
    if !canonical || i.len() != 22 || !digits(account) || !digits(i) {
        return None;
    }
    Some((account.parse().ok()?, i.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_template_id_has_the_length_of_a_real_one() {
        assert_eq!(DEFAULT_TEMPLATE.len(), TEMPLATE_ID_CHARS);
    }

    #[test]
    fn followers_are_found_again_by_their_openid() {
        for (account, i) in [(0, 0), (1, 7), (42, u32::MAX), (99, 1), (100, 3), (1234, 9)] {
            assert_eq!(follower_index(&follower(account, i)), Some((account, i)));
        }
        for other in ["", "o", "oF", "o0F0000000000000000000001", "o001F0000000000000000000001"] {
            assert_eq!(follower_index(other), None, "{other}");
        }
    }

    #[test]
    fn a_secret_is_not_printed() {
        let printed = format!("{:?}", Options::default());
        assert!(printed.contains("wx0000000000000001"));
        assert!(!printed.contains("sandbox-secret"));
    }

    #[test]
    fn impossible_faults_are_refused() {
        assert_eq!(Faults::default().check(), Ok(()));
        let all =
            Faults { lost_answer_permille: 600, system_error_permille: 400, ..<_>::default() };
        assert_eq!(all.check(), Ok(()));
        assert!(Faults { minute_limit_permille: 1, ..all }.check().is_err());
        assert!(Faults { slow_permille: 1_001, ..<_>::default() }.check().is_err());
        assert!(Faults { latency_ms: u64::MAX, ..<_>::default() }.check().is_err());
    }
}
