//! What is asked of the provider beside the sends: the day's quota and the list of templates, now and then,
//! and what an operator wants of an account.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value as Json, json};
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::phase::{Phase, Phases};
use super::senders::Channel;
use crate::admin::AccountAct;
use crate::api::answers::AccountDone;
use crate::engine::command::{AccountTold, Command};
use crate::engine::refusal::{Code, Refusal};
use crate::mailbox::Mailbox;
use crate::model::templates::{Listing, fields_of};
use crate::wechat::CallError;

/// How often the day's quota is asked for, and the list of templates: that has a small quota of its own.
const QUOTA_EVERY: Duration = Duration::from_secs(3_600);
const TEMPLATES_EVERY: Duration = Duration::from_secs(6 * 3_600);
/// The call whose quota counts.
const SEND: &str = "/cgi-bin/message/template/send";

/// All accounts.
#[derive(Clone)]
pub(super) struct Accounts {
    pub(super) channels: Arc<BTreeMap<String, Arc<Channel>>>,
    pub(super) mailbox: Mailbox,
    /// Each tenant's appid.
    pub(super) appids: Arc<BTreeMap<String, String>>,
}

impl Accounts {
    /// Asks now and then, and of a tenant whose quota was used up at once.
    pub(super) async fn watch(self, phase: Phases, mut used_up: mpsc::Receiver<String>) {
        phase.reached(Phase::Working).await;
        let mut templates_due = Instant::now();
        loop {
            let with_templates = templates_due <= Instant::now();
            for tenant in self.channels.keys() {
                if phase.has_reached(Phase::Draining) {
                    return;
                }
                note(tenant, "quota", self.ask_quota(tenant).await.err());
                if with_templates {
                    note(tenant, "templates", self.ask_templates(tenant).await.err());
                }
            }
            if with_templates {
                templates_due = Instant::now() + TEMPLATES_EVERY;
            }
            let next = Instant::now() + QUOTA_EVERY;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => break,
                    () = phase.reached(Phase::Draining) => return,
                    tenant = used_up.recv() => match tenant {
                        Some(tenant) => note(&tenant, "quota", self.ask_quota(&tenant).await.err()),
                        None => return,
                    },
                }
            }
        }
    }

    fn channel(&self, tenant: &str) -> Result<&Arc<Channel>, Refusal> {
        self.channels.get(tenant).ok_or_else(|| {
            Refusal::new(
                Code::NotFound,
                format!("there is no tenant {tenant:?} in the configuration"),
            )
        })
    }

    async fn ask_quota(&self, tenant: &str) -> Result<Json, Refusal> {
        let provider = &self.channel(tenant)?.provider;
        let body = json!({"cgi_path": SEND});
        let answer = provider.call("/cgi-bin/openapi/quota/get", &[], Some(body)).await;
        let answer = answer.map_err(refused)?;
        let of = |name: &str| answer["quota"][name].as_u64();
        let (Some(limit), Some(used)) = (of("daily_limit"), of("used")) else {
            let detail = "WeChat's answer to quota/get has no daily_limit and used";
            return Err(Refusal::new(Code::Unreadable, detail));
        };
        self.told(tenant, AccountTold::Quota(limit, used)).await;
        Ok(answer["quota"].clone())
    }

    async fn ask_templates(&self, tenant: &str) -> Result<usize, Refusal> {
        let provider = &self.channel(tenant)?.provider;
        let path = "/cgi-bin/template/get_all_private_template";
        let answer = provider.call(path, &[], None).await.map_err(refused)?;
        let listing = |one: &Json| {
            let text = |name: &str| one[name].as_str().unwrap_or_default();
            let id = Some(text("template_id")).filter(|id| !id.is_empty() && id.len() <= 128)?;
            let title = crate::text::cut(text("title"), 200).to_owned();
            Some(Listing { id: id.to_owned(), title, fields: fields_of(text("content")) })
        };
        let list: Vec<Listing> =
            answer["template_list"].as_array().into_iter().flatten().filter_map(listing).collect();
        let count = list.len();
        self.told(tenant, AccountTold::Templates(list)).await;
        Ok(count)
    }

    async fn told(&self, tenant: &str, told: AccountTold) {
        let command = Command::AccountTold { tenant: tenant.to_owned(), told };
        // A closed mailbox means that the process is ending.
        let _ = self.mailbox.call(command).await;
    }

    /// What an operator wants.
    pub(super) async fn act(&self, tenant: &str, act: AccountAct) -> Result<AccountDone, Refusal> {
        let provider = &self.channel(tenant)?.provider;
        let mut done = AccountDone::of(tenant);
        match act {
            AccountAct::RefreshToken => {
                let token = provider.tokens().renew().await;
                let token = token.map_err(|why| Refusal::new(Code::Running, why.to_string()))?;
                done.token_expires_at = Some(crate::engine::view::At(token.expires_at));
            }
            AccountAct::ClearQuota => {
                let appid = self.appids.get(tenant).map_or("", String::as_str);
                if appid.is_empty() {
                    let what = format!("WeChat wants the appid for it: add tenants.{tenant}.appid");
                    return Err(Refusal::new(Code::Invalid, what));
                }
                let body = json!({"appid": appid});
                let cleared = provider.call("/cgi-bin/clear_quota", &[], Some(body)).await;
                cleared.map_err(refused)?;
                tracing::warn!(event = "quota.cleared", tenant, "by hand; ten times a month");
                // What the day had is there again, and what rested for it goes on.
                let _ = self.ask_quota(tenant).await;
                let _ = self.mailbox.call(Command::ResumeTenant(tenant.to_owned())).await;
            }
            AccountAct::RefreshTemplates => {
                done.templates = Some(self.ask_templates(tenant).await?)
            }
        }
        Ok(done)
    }
}

fn refused(why: CallError) -> Refusal {
    Refusal::new(Code::Provider, format!("WeChat did not do it: {why}"))
}

fn note(tenant: &str, what: &str, why: Option<Refusal>) {
    if let Some(why) = why {
        tracing::info!(event = "account.not_told", tenant, what, why = why.detail);
    }
}
