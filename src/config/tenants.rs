//! `[tenants.NAME]`: official accounts, their limits and templates.

use std::collections::BTreeMap;

use toml::Value;

use super::politeness;
use super::queues::read_retry;
use super::requests::{self, Carried};
use super::secrets::{
    self, CALLBACK_TOKEN, CALLBACK_TOKEN_PREVIOUS, ENCODING_AES_KEY, ENCODING_AES_KEY_PREVIOUS,
    SECRET, SecretKeys,
};
use super::section::{Section, choice_of, describe};
use super::text::{Route, check_name, check_url};
use crate::limits::{CONCURRENCY_MAX, DEDUPE_MARGIN_MS, RATE_MAX};
use crate::model::keyword::Overflow;
use crate::model::retry::RetryPolicy;
use crate::model::rules::{TemplateRule, TenantRule};
use crate::secret::Secret;
use crate::time::SECOND_MS;

/// One official account: how to reach it and prove to be it.
#[derive(Clone, Debug)]
pub struct Tenant {
    /// The account's id. Empty only where a token service knows the account.
    pub appid: String,
    /// Where its access tokens come from.
    pub token: TokenFrom,
    /// The provider's address without a trailing slash.
    pub base_url: String,
    /// What WeChat's own calls are checked with; without it they are refused.
    pub callback: Option<CallbackKeys>,
    /// What requests for audiences carry.
    pub audience: Option<AudienceHost>,
    /// Who is asked right before sending whether the recipients are still bound.
    pub check: Option<Service>,
}

/// Where a tenant's access tokens come from.
#[derive(Clone, Debug)]
pub enum TokenFrom {
    /// From the provider, for this secret of the account.
    Provider(Secret),
    /// From a service of the operator's own, asked with GET.
    Service(Service),
}

/// A service of the operator's own.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its address, which may hold a key.
    pub url: Secret,
    /// What the requests carry.
    pub carried: Carried,
}

/// Where audiences may be asked for with credentials.
#[derive(Clone, Debug)]
pub struct AudienceHost {
    /// Addresses below this one get them, others do not.
    pub base: String,
    /// What the requests carry.
    pub carried: Carried,
}

/// What WeChat's own calls are checked with.
#[derive(Clone, Debug)]
pub struct CallbackKeys {
    /// The token of the signature.
    pub token: Secret,
    /// The one before, while it is being changed.
    pub token_previous: Option<Secret>,
    /// The key of encrypted calls: 43 characters of Base64.
    pub encoding_aes_key: Option<Secret>,
    /// The one before, while it is being changed.
    pub encoding_aes_key_previous: Option<Secret>,
}

/// All tenants: what the edges need and what the engine needs.
#[derive(Default)]
pub(super) struct Tenants {
    pub(super) accounts: BTreeMap<String, Tenant>,
    pub(super) rules: BTreeMap<String, TenantRule>,
}

/// The provider.
const BASE_URL: &str = "https://api.weixin.qq.com";
/// Longest account id; real ones have 18 characters.
const APPID_BYTES: usize = 64;
/// Longest template id; real ones have 43 characters.
const TEMPLATE_ID_BYTES: usize = 128;
/// Length of the key that WeChat's page generates for encrypted calls.
const AES_KEY_CHARS: usize = 43;

/// The policies for values over their limit, the default first.
const OVERFLOWS: &[(&str, Overflow)] =
    &[("reject", Overflow::Reject), ("truncate", Overflow::Truncate)];

/// Reads `[tenants]`.
pub(super) fn read(top: &Section<'_>) -> Tenants {
    let mut tenants = Tenants::default();
    for (name, (account, rule)) in
        top.named("tenants", |_, one| (read_account(one), read_rule(one)))
    {
        tenants.accounts.insert(name.clone(), account);
        tenants.rules.insert(name, rule);
    }
    warn_of_twins(top, &tenants.accounts);
    tenants
}

fn read_account(section: &Section<'_>) -> Tenant {
    let service = section.section("token", |token| read_service(token, "gives tokens"));
    let appid = if service.is_some() {
        section.text("appid").unwrap_or_default()
    } else {
        section.required_text("appid", "\"wx…\", from the account's page")
    };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    if APPID_BYTES < appid.len() || !appid.bytes().all(plain) {
        section.problem("appid", "must be the account's id: wx and letters and digits");
    }
    let token = match service {
        None => TokenFrom::Provider(secrets::required(section, &SECRET)),
        Some(service) => {
            if SECRET.are_given(section) {
                let what = "is for teams that keep no secret here; remove the secret, or this";
                section.problem("token", what);
            }
            TokenFrom::Service(service)
        }
    };
    let base_url = section.text("base_url").unwrap_or(BASE_URL).trim_end_matches('/');
    match check_url(base_url) {
        Ok(_) if base_url.contains(['?', '#']) => {
            section.problem("base_url", "must end before any ? or #");
        }
        Ok(Route::Private) => {}
        Ok(Route::Open) => section.warn("base_url", "sends secret or token unencrypted"),
        Err(why) => section.problem("base_url", why),
    }
    let callback = read_callback_keys(section);
    if appid.is_empty() && callback.as_ref().is_some_and(|keys| keys.encoding_aes_key.is_some()) {
        section.problem("encoding_aes_key", "needs the appid: encrypted calls name it");
    }
    let audience = section.section("audience", read_audience);
    let check = read_check(section);
    let (appid, base_url) = (appid.to_owned(), base_url.to_owned());
    Tenant { appid, token, base_url, callback, audience, check }
}

/// `check`: an address, or a table with one that wants headers or a signature.
fn read_check(section: &Section<'_>) -> Option<Service> {
    const DOES: &str = "is told who gets messages";
    if section.value("check").is_some_and(Value::is_table) {
        return section.section("check", |check| read_service(check, DOES));
    }
    let url = read_service_url(section, "check", DOES)?;
    Some(Service { url, carried: Carried::default() })
}

fn read_service(section: &Section<'_>, does: &str) -> Service {
    if !section.has("url") {
        section.problem("url", "is missing; add url = \"https://…\" of the service to ask");
    }
    let url = read_service_url(section, "url", does).unwrap_or_else(|| Secret::new(""));
    Service { url, carried: requests::read(section) }
}

fn read_service_url(section: &Section<'_>, key: &'static str, does: &str) -> Option<Secret> {
    let url = section.hidden_text(key)?;
    match check_url(url) {
        Ok(Route::Open) => section.warn(key, format!("{does} unencrypted: https is safer")),
        Ok(Route::Private) => {}
        Err(why) => section.problem(key, why),
    }
    Some(Secret::new(url))
}

fn read_audience(section: &Section<'_>) -> AudienceHost {
    let base = section.required_text("base", "\"https://crm.example.com/\"");
    match check_url(base) {
        Ok(Route::Open) => section.warn("base", "gets the headers unencrypted: https is safer"),
        Ok(Route::Private) => {}
        Err(_) if base.is_empty() => {}
        Err(why) => section.problem("base", why),
    }
    AudienceHost { base: base.to_owned(), carried: requests::read(section) }
}

fn read_callback_keys(section: &Section<'_>) -> Option<CallbackKeys> {
    let token = secrets::secret(section, &CALLBACK_TOKEN);
    let token_previous = secrets::secret(section, &CALLBACK_TOKEN_PREVIOUS);
    if token_previous.is_some() && token.is_none() {
        section.problem("callback_token_previous", "needs a callback_token beside it");
    }
    let key = read_aes_key(section, &ENCODING_AES_KEY, "encoding_aes_key");
    let previous = read_aes_key(section, &ENCODING_AES_KEY_PREVIOUS, "encoding_aes_key_previous");
    if key.is_some() && token.is_none() {
        section.problem("encoding_aes_key", "needs a callback_token beside it");
    }
    if previous.is_some() && key.is_none() {
        section.problem("encoding_aes_key_previous", "needs an encoding_aes_key beside it");
    }
    Some(CallbackKeys {
        token: token?,
        token_previous,
        encoding_aes_key: key,
        encoding_aes_key_previous: previous,
    })
}

fn read_aes_key(section: &Section<'_>, keys: &SecretKeys, name: &str) -> Option<Secret> {
    let key = secrets::secret(section, keys)?;
    let right = |byte: u8| byte.is_ascii_alphanumeric() || b"+/".contains(&byte);
    let text = key.expose();
    if text.len() != AES_KEY_CHARS || !text.bytes().all(right) {
        let what = format!("must be the {AES_KEY_CHARS} letters and digits of the account's page");
        section.problem(name, what);
    }
    Some(key)
}

fn read_rule(section: &Section<'_>) -> TenantRule {
    let (daily_limit, reserve) = politeness::read_day(section);
    TenantRule {
        concurrency: section.number("concurrency", 1..=CONCURRENCY_MAX, 100),
        rate: section.number("rate", 0..=RATE_MAX, 100),
        templates: section.named("templates", |_, template| read_template(template)),
        retry: read_retry(section, RetryPolicy::deliveries()),
        send_timeout_ms: section.duration_ms(
            "timeout",
            SECOND_MS..=DEDUPE_MARGIN_MS,
            10 * SECOND_MS,
        ),
        receipts: CALLBACK_TOKEN.are_given(section),
        daily_limit,
        reserve,
        quiet: section.section("quiet", politeness::read_quiet).flatten(),
        cap: section.section("cap", politeness::read_cap).flatten(),
    }
}

fn read_template(section: &Section<'_>) -> TemplateRule {
    let id = section.required_text("id", "\"…\", from the account's list of templates");
    let plain = |byte: u8| byte.is_ascii_graphic();
    if TEMPLATE_ID_BYTES < id.len() || !id.bytes().all(plain) {
        section.problem("id", "must be a template id without spaces");
    }
    let overflow = section.choice("overflow", OVERFLOWS);
    let mut fields = BTreeMap::new();
    for (field, value) in section.entries("fields") {
        let name = format!("fields.{field}");
        if let Err(why) = check_name(field) {
            section.problem(&name, why);
        }
        match choice_of(value, OVERFLOWS) {
            Ok(overflow) => {
                fields.insert(field.to_owned(), overflow);
            }
            Err(wanted) => {
                section.problem(&name, format!("must be {wanted}, found {}", describe(value)));
            }
        }
    }
    let alias = read_names(section, "alias", |field| {
        let why =
            format!("names no field of a template: {field:?} is none such as thing1 or time2");
        is_field(field).then_some(()).ok_or(why)
    });
    let default = read_names(section, "default", |_| Ok(()));
    for field in default.keys().filter(|field| !is_field(field)) {
        let what = "is no field of a template such as thing1 or time2";
        section.problem(&format!("default.{field}"), what);
    }
    TemplateRule { id: id.to_owned(), overflow, fields, alias, default }
}

/// Texts under names that the operator chose.
fn read_names(
    section: &Section<'_>,
    key: &'static str,
    check: impl Fn(&str) -> Result<(), String>,
) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for (name, value) in section.entries(key) {
        let place = format!("{key}.{name}");
        match value.as_str().map(|text| check(text).map(|()| text)) {
            Some(Ok(text)) => {
                found.insert(name.to_owned(), text.to_owned());
            }
            Some(Err(why)) => section.problem(&place, why),
            None => {
                let got = describe(value);
                section.problem(&place, format!("must be a text in quotes, found {got}"));
            }
        }
    }
    found
}

/// Whether a text can be a field's name: a kind and a number, or one of the old ones.
fn is_field(name: &str) -> bool {
    let kind = name.trim_end_matches(|c: char| c.is_ascii_digit());
    let plain = |byte: u8| byte.is_ascii_lowercase() || byte == b'_';
    name == "first"
        || name == "remark"
        || (!kind.is_empty() && kind.len() < name.len() && kind.bytes().all(plain))
}

/// Two tenants with one account have two rates and two tokens for it: legal, hardly meant.
fn warn_of_twins(top: &Section<'_>, accounts: &BTreeMap<String, Tenant>) {
    let mut seen: BTreeMap<(&str, &str), &str> = BTreeMap::new();
    for (name, tenant) in accounts.iter().filter(|(_, tenant)| !tenant.appid.is_empty()) {
        let account = (tenant.appid.as_str(), tenant.base_url.as_str());
        if let Some(first) = seen.insert(account, name) {
            let what = format!("is the account of tenants.{first} too; their limits add up");
            top.warn(&format!("tenants.{name}.appid"), what);
        }
    }
}
