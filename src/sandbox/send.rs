//! `template/send`: checks in WeChat's order, faults, and the record of what the user saw.

use super::answer::{Outcome, Refusal, Reply};
use super::events::{Event, What};
use super::fate::{Draw, Fate, ReceiptFate, draw, receipt};
use super::hash::hash;
use super::ledger::{Message, Novelty};
use super::letter::{Content, Letter, read};
use super::options::RepeatAnswer;
use super::people::Standing;
use super::quota::{Call, Leave};
use super::world::{Sandbox, World};
use crate::time::Timestamp;

/// What a send did.
enum Done {
    /// Shown, under this `msgid`.
    Shown(u64),
    /// Shown before, under this `msgid` if one is told.
    Repeated(Option<u64>),
    /// The connection closes and nothing was done.
    Dropped,
}

/// Carries out one send.
pub(super) fn send(sandbox: &Sandbox, token: Option<&str>, body: &[u8]) -> Outcome {
    let letter = read(sandbox.templates(), body);
    let mut world = sandbox.world();
    let now = world.now();
    let account = match world.open(token, now) {
        Ok(account) => account,
        Err(refusal) => {
            world.strangers.calls += 1;
            *world.strangers.per_errcode.entry(refusal.code).or_default() += 1;
            return Reply::now(world.refuse(&refusal, now)).into();
        }
    };
    let state = &mut world.accounts[account];
    state.counts.calls += 1;
    let person = letter.as_ref().ok().and_then(|letter| state.people.find(&letter.touser));
    let lot = match (&letter, person) {
        (Ok(letter), Some(person)) => {
            let person = state.people.person(person);
            person.calls = person.calls.wrapping_add(1);
            let calls = person.calls;
            draw(sandbox.seed(), &world.faults, &letter.touser, calls)
        }
        _ => Draw { fate: Fate::Normal, delay_ms: 0 },
    };
    let openid = letter.as_ref().ok().map(|letter| letter.touser.to_string());
    let done = world.work(account, letter, person, lot.fate, now);
    let event = match (&done, openid) {
        (Ok(Done::Shown(msgid)), Some(openid)) => {
            let fate = receipt(sandbox.seed(), &world.faults, *msgid);
            world.receipt(account, &openid, *msgid, fate)
        }
        _ => None,
    };
    Outcome { reply: world.answer(account, &done, lot, now), event }
}

impl World {
    /// The checks, in WeChat's order as far as it is known, and the acceptance at their end.
    fn work(
        &mut self,
        account: usize,
        letter: Result<Letter<'_>, Refusal>,
        person: Option<u32>,
        fate: Fate,
        now: Timestamp,
    ) -> Result<Done, Refusal> {
        match fate {
            Fate::LostBeforeAccept => return Ok(Done::Dropped),
            Fate::MinuteLimit => return Err(Refusal::MINUTE_QUOTA),
            Fate::Normal
            | Fate::SystemErrorRefused
            | Fate::SystemErrorAccepted
            | Fate::LostAnswer => {}
        }
        // Whether refused calls use the quota is not known; here each one with a good token does.
        if self.accounts[account].quotas.take(Call::Send, now) == Leave::Refused {
            return Err(Refusal::DAY_QUOTA);
        }
        if fate == Fate::SystemErrorRefused {
            return Err(Refusal::SYSTEM_ERROR);
        }
        let letter = letter?;
        let person = person.ok_or_else(|| self.unknown_person(account, &letter))?;
        let template = letter.template?;
        match self.accounts[account].people.person(person).standing {
            Standing::Follows => {}
            Standing::Left => return Err(Refusal::REQUIRE_SUBSCRIBE),
            Standing::Blocked => return Err(Refusal::BLOCKED),
        }
        let Content { data, hash: content } = letter.content?;
        self.deliver(&Message {
            account,
            person,
            template,
            data: &data,
            content,
            client_msg_id: &letter.client_msg_id,
            at: now,
        })
    }

    fn unknown_person(&mut self, account: usize, letter: &Letter<'_>) -> Refusal {
        let elsewhere =
            self.accounts.iter().any(|state| state.people.find(&letter.touser).is_some());
        if elsewhere {
            self.accounts[account].counts.wrong_tenant += 1;
        }
        Refusal::INVALID_OPENID
    }

    /// Shows the message, unless its `client_msg_id` was accepted in the last ten minutes.
    fn deliver(&mut self, message: &Message<'_>) -> Result<Done, Refusal> {
        let key = (!message.client_msg_id.is_empty()).then(|| repeat_key(message));
        if let Some(msgid) = key.and_then(|key| self.repeats.find(key, message.at)) {
            self.accounts[message.account].counts.repeats += 1;
            return self.repeated(msgid);
        }
        let shown = self.ledger.show(message);
        if let Some(key) = key {
            self.repeats.insert(key, shown.msgid, message.at);
        }
        let state = &mut self.accounts[message.account];
        state.counts.accepted += 1;
        if shown.novelty == Novelty::Again {
            state.counts.duplicates += 1;
        }
        let person = state.people.person(message.person);
        if person.shown == 0 {
            state.counts.recipients += 1;
        }
        person.shown = person.shown.saturating_add(1);
        Ok(Done::Shown(shown.msgid))
    }

    fn repeated(&mut self, msgid: u64) -> Result<Done, Refusal> {
        match self.faults.repeat_answer {
            RepeatAnswer::SameMsgid => Ok(Done::Repeated(Some(msgid))),
            RepeatAnswer::NewMsgid => Ok(Done::Repeated(Some(self.ledger.fresh_msgid()))),
            RepeatAnswer::NoMsgid => Ok(Done::Repeated(None)),
            RepeatAnswer::Refused => Err(Refusal::REPEATED),
        }
    }

    /// The receipt of a message, and whether it is there before the send's answer.
    fn receipt(
        &self,
        account: usize,
        openid: &str,
        msgid: u64,
        fate: ReceiptFate,
    ) -> Option<(Event, bool)> {
        let status = fate.status()?;
        let mut event = self.event(account, openid, What::Receipt { msgid, status })?;
        event.times = if fate.twice { 2 } else { 1 };
        event.delay_ms = if fate.early { 0 } else { self.faults.receipt_delay_ms };
        Some((event, fate.early))
    }

    /// Counts what was done and turns it into an answer, unless the answer is to be lost.
    fn answer(
        &mut self,
        account: usize,
        done: &Result<Done, Refusal>,
        lot: Draw,
        now: Timestamp,
    ) -> Reply {
        let counts = &mut self.accounts[account].counts;
        let (code, json) = match (done, lot.fate) {
            (Ok(Done::Dropped), _) => {
                counts.lost_before_accept += 1;
                return Reply::Nothing;
            }
            (_, Fate::LostAnswer) => {
                counts.lost_answers += 1;
                return Reply::Nothing;
            }
            (_, Fate::SystemErrorAccepted) => {
                (Refusal::SYSTEM_ERROR.code, self.refuse(&Refusal::SYSTEM_ERROR, now))
            }
            (Ok(Done::Shown(msgid)), _) => (0, accepted(Some(*msgid))),
            (Ok(Done::Repeated(msgid)), _) => (0, accepted(*msgid)),
            (Err(refusal), _) => (refusal.code, self.refuse(refusal, now)),
        };
        let per_errcode = &mut self.accounts[account].counts.per_errcode;
        *per_errcode.entry(code).or_default() += 1;
        Reply::Body { json, delay_ms: lot.delay_ms }
    }
}

fn accepted(msgid: Option<u64>) -> String {
    match msgid {
        Some(msgid) => format!("{{\"errcode\":0,\"errmsg\":\"ok\",\"msgid\":{msgid}}}"),
        None => "{\"errcode\":0,\"errmsg\":\"ok\"}".to_owned(),
    }
}

/// WeChat's key: the account, the openid and the `client_msg_id`.
fn repeat_key(message: &Message<'_>) -> u64 {
    let account = (message.account as u64).to_le_bytes();
    hash(0, &[&account, &message.person.to_le_bytes(), message.client_msg_id.as_bytes()])
}
