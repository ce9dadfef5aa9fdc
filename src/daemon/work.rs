//! Assembling the workers: providers, webhooks, pulls, and the dispatcher that feeds them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::Client;
use tokio::sync::{Semaphore, mpsc};

use super::accounts::Accounts;
use super::audiences::Audiences;
use super::checks::Check;
use super::phase::{Phase, Phases};
use super::pulls::Pulls;
use super::pushers::{Pushers, Target};
use super::senders::{Channel, Senders};
use super::tokens::{Kept, Tokens};
use crate::audience::Sources;
use crate::bound::{Register, Service};
use crate::config::{self, Carried, Config, Pull, Tenant};
use crate::engine::command::{Command, Effect};
use crate::mailbox::Mailbox;
use crate::model::rules::Deliver;
use crate::model::tenant::StoredToken;
use crate::outbound;
use crate::pull::{Credentials, Puller};
use crate::secret::Secret;
use crate::time::{Clock, SECOND_MS, SystemClock};
use crate::webhook::{Hook, Hooks, SigningKeys};
use crate::wechat::token::OnNewToken;
use crate::wechat::{Account, Limits, Provider, Token, TokenFrom};

/// Longest time for one page of a pull.
const PULL_TIMEOUT_MS: u64 = 20 * SECOND_MS;

/// What all workers share.
#[derive(Clone)]
pub(super) struct Tools {
    pub(super) mailbox: Mailbox,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) phase: Phases,
    /// Whether the lease lasts for a request of this many milliseconds.
    pub(super) may_send: Arc<dyn Fn(u64) -> bool + Send + Sync>,
}

/// The workers.
pub(super) struct Workers {
    senders: Arc<Senders>,
    pushers: Arc<Pushers>,
    pulls: Arc<Pulls>,
    audiences: Arc<Audiences>,
}

/// Whether workers can be built, before anything is opened: once the writer runs, it claims what is
/// due, and a claim that nobody works is an attempt in doubt.
pub(super) fn check(config: &Config) -> Result<(), String> {
    if let Some(kind) = config.article_types.first() {
        return Err(format!(
            "queues.{kind}.deliver: the worker article-review is not in this version: let \
             consumers claim the tasks or give a webhook"
        ));
    }
    targets(config)?;
    sources(config)?;
    of_audiences(config)?;
    let client = services_client()?;
    for (name, tenant) in &config.tenants {
        let limits = Limits { concurrency: 1, send_timeout: Duration::from_secs(1) };
        let clock = Arc::new(SystemClock);
        register(name, tenant, &client)?;
        Provider::new(account(name, tenant, &client)?, limits, clock, None, Box::new(|_| ()))
            .map_err(|error| format!("tenants.{name}: {error}"))?;
    }
    Ok(())
}

impl Workers {
    /// Builds all clients. What is wrong with an address or a key is said in words, as by [`check`].
    pub(super) fn new(
        config: &Config,
        tools: &Tools,
        tokens: &Arc<Tokens>,
        used_up: mpsc::Sender<String>,
    ) -> Result<Self, String> {
        let channels = channels(config, tools, tokens)?;
        let audiences = Audiences {
            sources: Sources::new().map_err(|error| error.to_string())?,
            credentials: of_audiences(config)?,
            channels: channels.clone(),
            mailbox: tools.mailbox.clone(),
            phase: tools.phase.clone(),
        };
        let senders = Senders {
            channels,
            mailbox: tools.mailbox.clone(),
            clock: tools.clock.clone(),
            phase: tools.phase.clone(),
            may_send: tools.may_send.clone(),
            used_up,
        };
        let pushers = Pushers {
            hooks: Hooks::new().map_err(|error| error.to_string())?,
            targets: targets(config)?,
            mailbox: tools.mailbox.clone(),
            clock: tools.clock.clone(),
            phase: tools.phase.clone(),
            may_send: tools.may_send.clone(),
        };
        let pulls = Pulls {
            puller: Puller::new(PULL_TIMEOUT_MS).map_err(|error| error.to_string())?,
            sources: sources(config)?,
            mailbox: tools.mailbox.clone(),
            phase: tools.phase.clone(),
        };
        let (senders, pushers, pulls) = (Arc::new(senders), Arc::new(pushers), Arc::new(pulls));
        Ok(Self { senders, pushers, pulls, audiences: Arc::new(audiences) })
    }

    /// What is asked of the provider beside the sends.
    pub(super) fn accounts(&self, config: &Config) -> Accounts {
        let appid = |(name, tenant): (&String, &Tenant)| (name.clone(), tenant.appid.clone());
        Accounts {
            channels: Arc::new(self.senders.channels.clone()),
            mailbox: self.senders.mailbox.clone(),
            appids: Arc::new(config.tenants.iter().map(appid).collect()),
        }
    }

    /// Gives effects to their workers until the writer ends. When the daemon drains, what was
    /// given out before is taken first: it must be waited for.
    pub(super) async fn dispatch(self, mut effects: mpsc::Receiver<Effect>, phase: Phases) {
        let guard = phase.guard();
        loop {
            tokio::select! {
                effect = effects.recv() => match effect {
                    Some(effect) => self.take(effect),
                    None => return,
                },
                () = phase.reached(Phase::Draining) => break,
            }
        }
        while let Ok(effect) = effects.try_recv() {
            self.take(effect);
        }
        drop(guard);
        while let Some(effect) = effects.recv().await {
            self.take(effect);
        }
    }

    fn take(&self, effect: Effect) {
        match effect {
            Effect::Send(job) => self.senders.take(job),
            Effect::Push(task) => self.pushers.take(task),
            Effect::Pull(job) => self.pulls.take(job),
            Effect::Resolve(job) => self.audiences.take(job),
            // The mailbox keeps these to itself.
            Effect::Answer { .. } => {}
        }
    }
}

fn channels(
    config: &Config,
    tools: &Tools,
    tokens: &Arc<Tokens>,
) -> Result<BTreeMap<String, Arc<Channel>>, String> {
    let mut channels = BTreeMap::new();
    let client = services_client()?;
    for (name, tenant) in &config.tenants {
        let Some(rule) = config.rules.tenants.get(name) else { continue };
        let limits = Limits {
            concurrency: rule.concurrency as usize,
            send_timeout: Duration::from_millis(rule.send_timeout_ms),
        };
        let kept = is_from_provider(tenant).then(|| tokens.of(name, &tenant.appid)).flatten();
        let initial = kept
            .map(|token| Token { value: Secret::new(token.value), expires_at: token.expires_at });
        let provider = Provider::new(
            account(name, tenant, &client)?,
            limits,
            tools.clock.clone(),
            initial,
            keep_token(name, tenant, tokens, tools),
        )
        .map_err(|error| format!("tenants.{name}: {error}"))?;
        let channel = Channel {
            provider,
            permits: Arc::new(Semaphore::new(rule.concurrency as usize)),
            most: Mutex::new(rule.concurrency),
            timeout_ms: rule.send_timeout_ms,
            check: register(name, tenant, &client)?
                .map(|register| Check::start(name.clone(), register, tools.clock.clone())),
        };
        channels.insert(name.clone(), Arc::new(channel));
    }
    Ok(channels)
}

/// Who is asked whether a tenant's recipients are still bound.
fn register(name: &str, tenant: &Tenant, client: &Client) -> Result<Option<Register>, String> {
    let of = |check| service(check, client).map(Register);
    let register = tenant.check.as_ref().map(of).transpose();
    register.map_err(|why| format!("tenants.{name}.check: {why}"))
}

fn account(name: &str, tenant: &Tenant, client: &Client) -> Result<Account, String> {
    let token = match &tenant.token {
        config::TokenFrom::Provider(secret) => TokenFrom::Provider(secret.clone()),
        config::TokenFrom::Service(own) => {
            let own = service(own, client);
            TokenFrom::Service(own.map_err(|why| format!("tenants.{name}.token: {why}"))?)
        }
    };
    Ok(Account {
        tenant: name.to_owned(),
        appid: tenant.appid.clone(),
        token,
        base_url: tenant.base_url.clone(),
    })
}

fn service(own: &config::Service, client: &Client) -> Result<Service, String> {
    Service::new(client, &own.url, credentials(&own.carried)?)
}

/// The client for the services of all tenants.
fn services_client() -> Result<Client, String> {
    outbound::client().map_err(|error| error.to_string())
}

/// What a service gave is the service's to keep: nothing tells whose account it was for.
fn is_from_provider(tenant: &Tenant) -> bool {
    matches!(tenant.token, config::TokenFrom::Provider(_))
}

/// Keeps each new token, so that a restart does not fetch one, and stores that there is one.
fn keep_token(name: &str, tenant: &Tenant, tokens: &Arc<Tokens>, tools: &Tools) -> OnNewToken {
    let is_kept = is_from_provider(tenant);
    let (tenant, appid) = (name.to_owned(), tenant.appid.clone());
    let (mailbox, clock, tokens) = (tools.mailbox.clone(), tools.clock.clone(), tokens.clone());
    Box::new(move |token: &Token| {
        if is_kept {
            let (appid, value) = (appid.clone(), token.value.expose().to_owned());
            tokens.keep(&tenant, Kept { appid, value, expires_at: token.expires_at });
        }
        let token = StoredToken {
            value: String::new(),
            expires_at: token.expires_at,
            fetched_at: clock.now(),
        };
        let command = Command::SaveToken { tenant: tenant.clone(), token };
        let mailbox = mailbox.clone();
        tokio::spawn(async move {
            let _ = mailbox.call(command).await;
        });
    })
}

fn sources(config: &Config) -> Result<BTreeMap<String, (String, Credentials)>, String> {
    let source = |(name, pull): (&String, &Pull)| {
        let carried = credentials(&pull.carried);
        let carried = carried.map_err(|why| format!("schedules.{name}.pull: {why}"))?;
        Ok((name.clone(), (pull.url.clone(), carried)))
    };
    config.pulls.iter().map(source).collect()
}

fn of_audiences(config: &Config) -> Result<BTreeMap<String, (String, Credentials)>, String> {
    let of = |(name, tenant): (&String, &Tenant)| {
        let audience = tenant.audience.as_ref()?;
        let carried = credentials(&audience.carried);
        let carried = carried.map_err(|why| format!("tenants.{name}.audience: {why}"));
        Some(carried.map(|carried| (name.clone(), (audience.base.clone(), carried))))
    };
    config.tenants.iter().filter_map(of).collect()
}

fn credentials(carried: &Carried) -> Result<Credentials, String> {
    Credentials::new(&carried.headers, carried.secret.as_ref())
}

fn targets(config: &Config) -> Result<BTreeMap<String, Target>, String> {
    let mut targets = BTreeMap::new();
    for (kind, webhook) in &config.webhooks {
        let keys = webhook.secret.as_ref().map(|secret| SigningKeys::parse(secret.expose()));
        let keys = keys.transpose().map_err(|error| format!("queues.{kind}.deliver: {error}"))?;
        let hook = Hook::new(&webhook.url, keys);
        let hook = hook.map_err(|_| format!("queues.{kind}.deliver.webhook: not an address"))?;
        let timeout_ms = match config.rules.queues.get(kind).map(|rule| &rule.deliver) {
            Some(Deliver::Push(push)) => push.timeout_ms,
            Some(Deliver::Claim) | None => continue,
        };
        targets.insert(kind.clone(), Target { hook, timeout_ms });
    }
    Ok(targets)
}
