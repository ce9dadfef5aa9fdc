//! What a line of the route table says.

use std::pin::Pin;

use super::call::{Answer, Call, Verb};
use super::port::Port;
use crate::limits;

/// Who does the work of a route.
pub(super) type Handler =
    for<'a> fn(&'a Port, Call<'a>) -> Pin<Box<dyn Future<Output = Answer> + Send + 'a>>;

/// Who may call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Who {
    /// Who has the token, where one is set; only the daemon that leads answers.
    Clients,
    /// Without a token, and a standby answers too. The page holds no data: its script asks for the
    /// token.
    Anybody,
    /// The old service's clients: as they came, in the envelope that they know.
    OldClients,
    /// WeChat, which signs its calls; only the daemon that leads answers.
    Provider,
}

/// How long it may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Time {
    /// As long as any call.
    Ordinary,
    /// As long as there is work to wait for.
    WaitsForWork,
    /// As long as there is something to read or to write.
    Long,
}

/// What else the description says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Note {
    /// It takes an `Idempotency-Key`.
    Keyed,
    /// 200 says that the key was used before.
    Known,
    /// 503 says that it is not ready.
    NotReady,
    /// It may come without its body.
    BodyMayBeMissing,
    /// Its body is one such thing per line.
    OnlyLines,
    /// Its body may also be one of these per line.
    AlsoLines(&'static str),
    /// It gives these media, beside the schema's.
    Gives(&'static [&'static str]),
}

/// One line of the table.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) method: Verb,
    pub(super) path: &'static str,
    pub(super) handler: Handler,
    pub(super) summary: &'static str,
    /// The parameters it takes.
    pub(super) query: &'static [&'static str],
    /// The schema of its body; empty without one.
    pub(super) takes: &'static str,
    /// The status of success, and the schema of its answer; empty without one.
    pub(super) gives: (u16, &'static str),
    pub(super) who: Who,
    pub(super) time: Time,
    /// Most bytes of its body, unless that is a stream.
    pub(super) body_bytes: usize,
    pub(super) notes: &'static [Note],
}

impl Route {
    /// Whether it is answered without a token and also by a standby.
    pub(super) fn is_open(&self) -> bool {
        self.who == Who::Anybody
    }

    /// Bytes that its answer may have, to be taken from the budget before it is made.
    pub(super) fn answer_bytes(&self) -> usize {
        let is_list = self.query.contains(&"cursor") || self.gives.1.ends_with("Page");
        if is_list { limits::PAGE_BYTES } else { 0 }
    }

    /// HEAD is as good as GET, but not where a GET changes something.
    pub(super) fn takes_method(&self, method: &hyper::Method) -> bool {
        let head = method == hyper::Method::HEAD && self.method == Verb::Get;
        self.method.name() == method.as_str() || (head && self.who != Who::OldClients)
    }
}
