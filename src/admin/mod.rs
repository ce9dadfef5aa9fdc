//! The admin port: HTTP for people, business systems, consumers and monitoring.
//!
//! One table of routes (`table.rs`) yields dispatch, the `Allow` of a 405 and the OpenAPI document.
//! A handler turns a request into one command for the mailbox and its reply into JSON; it decides
//! nothing by itself. Every refusal is an RFC 9457 problem with a stable `code` (`problem.rs`).
//!
//! Left out on purpose: TLS (a proxy's business) and CORS (nobody else's page may call this port).

pub mod attention;
mod body;
mod budget;
mod call;
mod callback;
mod claim;
mod csv;
mod guard;
mod hooks;
mod legacy;
mod letters;
mod linger;
mod listener;
mod log;
mod look;
mod metrics;
mod no_fields;
mod notices;
mod openapi;
mod page;
mod places;
mod port;
mod problem;
mod query;
mod recipients;
mod respond;
mod route;
mod routes;
mod settle;
mod strangers;
mod table;
mod tasks;
#[cfg(test)]
mod tests;
mod token;

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;

use crate::api::answers::{AccountDone, Backup};
use crate::engine::refusal::{Code, Refusal};
use crate::mailbox::Mailbox;
use crate::model::attention::{Kind, Row};
use crate::model::callback::Told;

pub use listener::serve;
pub use openapi::document;
pub use token::{AdminToken, ReadToken};

/// A boxed future, for the traits that the daemon implements.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What a port serves.
#[derive(Clone, Debug)]
pub enum Serves {
    /// All there is.
    Everything,
    /// Only the paths of the old schedule service, without a token, to callers from these networks, and
    /// always in its envelope.
    OldPaths(Arc<[IpNet]>),
    /// Only WeChat's own calls.
    Callbacks,
}

/// How the port behaves.
#[derive(Clone)]
pub struct Settings {
    /// The bearer token; `None` lets everybody in who reaches the port.
    pub token: Option<Arc<AdminToken>>,
    /// What of the table is served.
    pub serves: Serves,
    /// Names under which the port may be called, beside `localhost`, loopback addresses and the
    /// address that a connection came in on. Without port numbers.
    pub allowed_hosts: Vec<String>,
    /// Connections at once; one more is told 503 and closed.
    pub max_connections: usize,
    /// The longest time between a connection's being idle and a complete request head.
    pub header_timeout: Duration,
    /// The longest pause within a request's body.
    pub body_timeout: Duration,
    /// The longest time for a whole body that is no stream; below `request_timeout`, so that a slow
    /// body is told apart from a slow answer.
    pub upload_timeout: Duration,
    /// The longest time for an ordinary call; above [`crate::limits::WAIT_MAX_MS`].
    pub request_timeout: Duration,
    /// How long calls under way may take after the port was told to stop.
    pub drain_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            token: None,
            serves: Serves::Everything,
            allowed_hosts: Vec::new(),
            max_connections: crate::limits::CONNECTIONS,
            header_timeout: Duration::from_secs(60),
            body_timeout: Duration::from_secs(10),
            upload_timeout: Duration::from_secs(55),
            request_timeout: Duration::from_secs(65),
            drain_timeout: Duration::from_secs(10),
        }
    }
}

/// Of the token only that there is one is shown: a weak one could be found from its hash.
impl std::fmt::Debug for Settings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Settings")
            .field("token", &if self.token.is_some() { "set" } else { "none" })
            .field("serves", &self.serves)
            .field("allowed_hosts", &self.allowed_hosts)
            .field("max_connections", &self.max_connections)
            .field("header_timeout", &self.header_timeout)
            .field("body_timeout", &self.body_timeout)
            .field("upload_timeout", &self.upload_timeout)
            .field("request_timeout", &self.request_timeout)
            .field("drain_timeout", &self.drain_timeout)
            .finish()
    }
}

/// What the port talks to.
#[derive(Clone)]
pub struct Ports {
    /// The engine; `None` on a standby, which answers only health, readiness and metrics.
    pub mailbox: Option<Mailbox>,
    /// Whether the daemon is ready.
    pub status: Arc<dyn Status>,
    /// What is the daemon's business, not the engine's.
    pub actions: Arc<dyn Actions>,
    /// Who reads WeChat's own calls.
    pub callbacks: Arc<dyn Callbacks>,
}

/// The query of one of WeChat's own calls.
pub type CallbackParams = BTreeMap<String, String>;

/// Reads WeChat's own calls.
pub trait Callbacks: Send + Sync {
    /// What to answer to the check of the address.
    ///
    /// # Errors
    /// When the call is not WeChat's.
    fn echo(&self, tenant: &str, params: &CallbackParams) -> Result<String, CallbackRefused>;

    /// What a call says, if it says something that concerns the daemon.
    ///
    /// # Errors
    /// When the call is not WeChat's, or is not understood.
    fn open(
        &self,
        tenant: &str,
        params: &CallbackParams,
        body: &[u8],
    ) -> Result<Option<Told>, CallbackRefused>;
}

/// Why one of WeChat's own calls is not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallbackRefused {
    /// None are taken for such a tenant.
    NoSuchTenant(String),
    /// It did not prove to be WeChat's.
    NotWeChat {
        /// The problem's code.
        code: &'static str,
        /// In words.
        detail: String,
    },
    /// Its body is not understood.
    Body(String),
}

/// Takes no calls of WeChat.
pub struct NoCallbacks;

impl Callbacks for NoCallbacks {
    fn echo(&self, tenant: &str, _: &CallbackParams) -> Result<String, CallbackRefused> {
        Err(CallbackRefused::NoSuchTenant(format!("no callbacks are taken for {tenant:?}")))
    }

    fn open(
        &self,
        tenant: &str,
        _: &CallbackParams,
        _: &[u8],
    ) -> Result<Option<Told>, CallbackRefused> {
        Err(CallbackRefused::NoSuchTenant(format!("no callbacks are taken for {tenant:?}")))
    }
}

/// Tells what `/readyz` answers.
pub trait Status: Send + Sync {
    /// Readiness now. Must not block.
    fn ready(&self) -> Readiness;

    /// What needs a person, of what the engine does not know. Must not block.
    fn concerns(&self) -> Vec<Row> {
        Vec::new()
    }

    /// How many rows of each kind there were when somebody last looked.
    fn noticed(&self) -> BTreeMap<Kind, usize> {
        BTreeMap::new()
    }

    /// An ordinary place was wanted and there was none.
    fn connection_refused(&self, _most: usize) {}
}

/// What the daemon does for an operator beside the engine.
pub trait Actions: Send + Sync {
    /// Makes an image now.
    fn backup(&self) -> BoxFuture<'_, Result<Backup, Refusal>>;

    /// Lets a held daemon work. With `hold`, its unfinished notices are paused first.
    fn release(&self, hold: bool) -> BoxFuture<'_, Result<(), Refusal>>;

    /// Does something with a tenant's account at WeChat.
    fn account(
        &self,
        tenant: String,
        act: AccountAct,
    ) -> BoxFuture<'_, Result<AccountDone, Refusal>>;
}

/// What can be done with a tenant's account at WeChat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AccountAct {
    /// Fetch the access token anew.
    RefreshToken,
    /// Set the day's counters back: ten times a month.
    ClearQuota,
    /// Ask for the list of templates.
    RefreshTemplates,
}

/// For a process that cannot do anything yet: a standby answers these calls before they get here.
pub struct NoActions;

impl Actions for NoActions {
    fn backup(&self) -> BoxFuture<'_, Result<Backup, Refusal>> {
        Box::pin(async { Err(not_leading()) })
    }

    fn release(&self, _: bool) -> BoxFuture<'_, Result<(), Refusal>> {
        Box::pin(async { Err(not_leading()) })
    }

    fn account(&self, _: String, _: AccountAct) -> BoxFuture<'_, Result<AccountDone, Refusal>> {
        Box::pin(async { Err(not_leading()) })
    }
}

fn not_leading() -> Refusal {
    Refusal::new(Code::Held, "this process does not lead")
}

/// Whether the daemon takes and does work.
#[derive(Clone, Debug)]
pub struct Readiness {
    /// Whether it does.
    pub ready: bool,
    /// What this process is at the moment.
    pub role: Role,
    /// Why it is not ready, for people.
    pub reasons: Vec<String>,
    /// Who holds the lease, as far as it is known.
    pub lease: serde_json::Value,
}

/// What a process is at the moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Opening the store.
    Starting,
    /// Waiting for the lease.
    Standby,
    /// The one writer.
    Leader,
    /// The one writer of a copy that nobody has released.
    Held,
    /// Stopping.
    Draining,
}

impl Role {
    /// The name in JSON.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Standby => "standby",
            Self::Leader => "leader",
            Self::Held => "held",
            Self::Draining => "draining",
        }
    }
}
