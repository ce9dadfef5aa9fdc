//! The provider's state and rules, without HTTP.

use std::collections::{HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};

use serde_json::{Value as Json, json};

use super::faults::Fate;
use super::ledger::{Ledger, Shown};
use super::{Faults, Options, content, follower};
use crate::time::{DAY_MS, HOUR_MS, SECOND_MS, Timestamp};

/// How long a token is good.
const TOKEN_MS: u64 = 7_200 * SECOND_MS;
/// How long the old and the new token are good together.
const OVERLAP_MS: u64 = 300 * SECOND_MS;
/// How long a `client_msg_id` is remembered.
const DEDUPE_MS: u64 = 600 * SECOND_MS;

/// What a call comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delivery {
    /// The answer goes out.
    Answer,
    /// The connection closes without one.
    Close,
    /// The answer goes out after this long.
    Late(u64),
}

struct Tenant {
    appid: String,
    secret: String,
    index: usize,
    token: Option<(String, Timestamp)>,
    old: Option<(String, Timestamp)>,
    unfollowed: HashSet<String>,
    blocked: HashSet<String>,
    tries: HashMap<u64, u32>,
    /// Accepted messages by recipient and `client_msg_id`.
    accepted: HashMap<u64, (u64, Timestamp)>,
    day: u64,
    used: u64,
    ledger: Ledger,
}

/// The provider.
pub(super) struct World {
    seed: u64,
    followers: u32,
    templates: HashSet<String>,
    pub(super) faults: Faults,
    daily_quota: u64,
    tenants: Vec<Tenant>,
    issued: u64,
    messages: u64,
    /// How far the clock was moved forward.
    pub(super) ahead_ms: u64,
}

fn error(code: i64, text: &str) -> Json {
    json!({ "errcode": code, "errmsg": text })
}

fn hash(value: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}

impl World {
    pub(super) fn new(options: &Options) -> Self {
        let tenant = |(index, account): (usize, &super::Account)| Tenant {
            appid: account.appid.clone(),
            secret: account.secret.clone(),
            index,
            token: None,
            old: None,
            unfollowed: HashSet::new(),
            blocked: HashSet::new(),
            tries: HashMap::new(),
            accepted: HashMap::new(),
            day: 0,
            used: 0,
            ledger: Ledger::new(),
        };
        Self {
            seed: options.seed,
            followers: options.followers,
            templates: options.templates.iter().cloned().collect(),
            faults: options.faults,
            daily_quota: options.daily_quota,
            tenants: options.accounts.iter().enumerate().map(tenant).collect(),
            issued: 0,
            messages: 0,
            ahead_ms: 0,
        }
    }

    fn tenant(&mut self, appid: &str) -> Option<&mut Tenant> {
        self.tenants.iter_mut().find(|tenant| tenant.appid == appid)
    }

    /// `POST /cgi-bin/stable_token`: the same token again while it has five minutes left.
    pub(super) fn stable_token(&mut self, now: Timestamp, body: &Json) -> Json {
        let text = |field: &str| body.get(field).and_then(Json::as_str).unwrap_or_default().to_owned();
        if text("grant_type") != "client_credential" {
            return error(40002, "invalid grant_type");
        }
        let (appid, secret) = (text("appid"), text("secret"));
        let force = body.get("force_refresh").and_then(Json::as_bool).unwrap_or(false);
        self.issued += 1;
        let fresh = format!("NN_sandbox_{:016x}_{}", hash((self.seed, self.issued)), self.issued);
        let Some(tenant) = self.tenant(&appid) else { return error(40013, "invalid appid") };
        if tenant.secret != secret {
            return error(40125, "invalid appsecret");
        }
        tenant.ledger.token_fetches += 1;
        let good = tenant.token.clone().filter(|(_, end)| now.plus(OVERLAP_MS) < *end && !force);
        let (token, end) = match good {
            Some(token) => token,
            None => {
                let ends = |(token, end): (String, Timestamp)| (token, end.min(now.plus(OVERLAP_MS)));
                tenant.old = tenant.token.take().filter(|_| !force).map(ends);
                let token = (fresh, now.plus(TOKEN_MS));
                tenant.token = Some(token.clone());
                token
            }
        };
        json!({ "access_token": token, "expires_in": end.since(now) / SECOND_MS })
    }

    /// The account's tokens are no longer taken; the next fetch gives another one.
    pub(super) fn invalidate(&mut self, appid: &str) -> bool {
        let Some(tenant) = self.tenant(appid) else { return false };
        (tenant.token, tenant.old) = (None, None);
        true
    }

    fn by_token(&self, now: Timestamp, token: &str) -> Result<usize, Json> {
        for (index, tenant) in self.tenants.iter().enumerate() {
            for (known, end) in [&tenant.token, &tenant.old].into_iter().flatten() {
                if known == token {
                    let expired = error(42001, "access_token expired");
                    return if now < *end { Ok(index) } else { Err(expired) };
                }
            }
        }
        Err(error(40001, "invalid credential, access_token is invalid or not latest"))
    }

    /// `POST /cgi-bin/message/template/send`, checked in the provider's order.
    pub(super) fn send(&mut self, now: Timestamp, token: Option<&str>, body: &[u8]) -> (Json, Delivery) {
        let Some(token) = token else { return answer(error(41001, "access_token missing")) };
        let index = match self.by_token(now, token) {
            Ok(index) => index,
            Err(refusal) => return answer(refusal),
        };
        self.tenants[index].ledger.calls += 1;
        let message: Json = match serde_json::from_slice(body) {
            Ok(message) => message,
            Err(_) if body.is_empty() => return self.refuse(index, 44002, "empty post data"),
            Err(_) => return self.refuse(index, 47001, "data format error"),
        };
        let text = |field: &str| message.get(field).and_then(Json::as_str).unwrap_or_default();
        let openid = text("touser");
        let who = hash(openid);
        let nth = self.tenants[index].tries.entry(who).or_default();
        *nth += 1;
        let fate = self.faults.fate(self.seed, who, *nth);
        match fate {
            Fate::MinuteLimit => {
                return self.refuse(index, 45011, "api minute-quota reach limit  mustslower  retry next minute");
            }
            Fate::LostRequest => {
                self.tenants[index].ledger.lost += 1;
                return (Json::Null, Delivery::Close);
            }
            Fate::FailedSystem => return self.refuse(index, -1, "system error"),
            Fate::Fine | Fate::LostAnswer | Fate::LyingSystem | Fate::Slow => {}
        }
        let day = (now.0 + 8 * HOUR_MS) / DAY_MS;
        let tenant = &mut self.tenants[index];
        if tenant.day != day {
            (tenant.day, tenant.used) = (day, 0);
        }
        tenant.used += 1;
        if tenant.used > self.daily_quota {
            return self.refuse(index, 45009, "reach max api daily quota limit");
        }
        if let Some((code, why)) = self.check(index, &message, openid) {
            return self.refuse(index, code, &why);
        }
        let reply = self.accept(now, index, openid, &message);
        match fate {
            Fate::LostAnswer => {
                self.tenants[index].ledger.lost += 1;
                (Json::Null, Delivery::Close)
            }
            Fate::LyingSystem => self.refuse(index, -1, "system error"),
            Fate::Slow => (reply, Delivery::Late(self.faults.slow_ms)),
            Fate::Fine | Fate::LostRequest | Fate::FailedSystem | Fate::MinuteLimit => answer(reply),
        }
    }

    fn refuse(&mut self, index: usize, code: i64, why: &str) -> (Json, Delivery) {
        *self.tenants[index].ledger.codes.entry(code).or_default() += 1;
        self.messages += 1;
        let rid = hash((self.seed, self.messages));
        let text = format!("{why} rid: {:08x}-{:08x}-{:08x}", rid >> 32, rid & 0xffff_ffff, self.messages);
        answer(error(code, &text))
    }

    fn check(&mut self, index: usize, message: &Json, openid: &str) -> Option<(i64, String)> {
        let owner = self.owner(openid);
        let template = message.get("template_id").and_then(Json::as_str).unwrap_or_default();
        let tenant = &mut self.tenants[index];
        let Some(owner) = owner else { return Some((40003, "invalid openid".into())) };
        if owner != index {
            tenant.ledger.wrong_tenant += 1;
            return Some((40003, "invalid openid".into()));
        }
        if template.len() != 43 {
            return Some((40036, "invalid template_id size".into()));
        }
        if !self.templates.contains(template) {
            return Some((40037, "invalid template_id".into()));
        }
        if tenant.unfollowed.contains(openid) {
            return Some((43004, "require subscribe".into()));
        }
        if tenant.blocked.contains(openid) {
            return Some((43019, "recipient must be removed from blacklist".into()));
        }
        let data = message.get("data").and_then(Json::as_object);
        for (field, value) in data.into_iter().flatten() {
            let value = value.get("value").and_then(Json::as_str).unwrap_or_default();
            if !content::is_valid(field, value) {
                return Some((47003, format!("argument invalid! data.{field}.value invalid")));
            }
        }
        None
    }

    /// Which account an openid belongs to.
    fn owner(&self, openid: &str) -> Option<usize> {
        let (account, number) = openid.strip_prefix("oSBX")?.split_once('F')?;
        let (account, number) = (account.parse::<usize>().ok()?, number.parse::<u32>().ok()?);
        let known = account < self.tenants.len() && number < self.followers;
        (known && follower(account, number) == openid).then_some(account)
    }

    fn accept(&mut self, now: Timestamp, index: usize, openid: &str, message: &Json) -> Json {
        let tenant = &mut self.tenants[index];
        let client_msg_id = message.get("client_msg_id").and_then(Json::as_str).unwrap_or_default();
        let once = hash((openid, client_msg_id));
        if !client_msg_id.is_empty()
            && let Some((msgid, at)) = tenant.accepted.get(&once)
            && now.since(*at) < DEDUPE_MS
        {
            tenant.ledger.repeated += 1;
            return json!({ "errcode": 0, "errmsg": "ok", "msgid": msgid });
        }
        self.messages += 1;
        let msgid = 3_600_000_000_000_000_000 + self.messages;
        tenant.accepted.insert(once, (msgid, now));
        *tenant.ledger.codes.entry(0).or_default() += 1;
        let what = json!([message.get("template_id"), message.get("data"), message.get("url")]);
        let shown =
            Shown { openid: openid.into(), client_msg_id: client_msg_id.into(), msgid, at: now };
        tenant.ledger.show(shown, &what.to_string());
        json!({ "errcode": 0, "errmsg": "ok", "msgid": msgid })
    }

    /// `GET /cgi-bin/user/get`: up to 10,000 openids after `next_openid`.
    pub(super) fn followers(&mut self, now: Timestamp, token: Option<&str>, after: &str) -> Json {
        let index = match self.by_token(now, token.unwrap_or_default()) {
            Ok(index) => index,
            Err(refusal) => return refusal,
        };
        let tenant = &self.tenants[index];
        let first = (0..self.followers).map(|number| follower(index, number));
        let page: Vec<String> = first
            .filter(|openid| openid.as_str() > after && !tenant.unfollowed.contains(openid))
            .take(10_000)
            .collect();
        let next = page.last().cloned().unwrap_or_default();
        let total = self.followers as usize - tenant.unfollowed.len();
        json!({ "total": total, "count": page.len(), "data": { "openid": page }, "next_openid": next })
    }

    /// Somebody follows, unfollows, or is blocked.
    pub(super) fn change_followers(&mut self, change: &Json) -> bool {
        let names = |field: &str| -> Vec<String> {
            let list = change.get(field).and_then(Json::as_array);
            list.into_iter().flatten().filter_map(|name| Some(name.as_str()?.to_owned())).collect()
        };
        let (follow, unfollow, block) = (names("follow"), names("unfollow"), names("block"));
        let appid = change.get("appid").and_then(Json::as_str).unwrap_or_default();
        let Some(tenant) = self.tenant(appid) else { return false };
        for openid in &follow {
            tenant.unfollowed.remove(openid);
            tenant.blocked.remove(openid);
        }
        tenant.unfollowed.extend(unfollow);
        tenant.blocked.extend(block);
        true
    }

    /// The ledger of one account, or of all.
    pub(super) fn summary(&self, appid: Option<&str>) -> Json {
        let wanted = |tenant: &&Tenant| appid.is_none_or(|appid| appid == tenant.appid);
        let rows = self.tenants.iter().filter(wanted);
        let by_account: serde_json::Map<String, Json> =
            rows.map(|tenant| (tenant.appid.clone(), tenant.ledger.summary())).collect();
        Json::Object(by_account)
    }

    pub(super) fn messages(&mut self, appid: &str, from: usize, limit: usize) -> Option<Json> {
        self.tenant(appid).map(|tenant| tenant.ledger.messages(from, limit))
    }

    pub(super) fn seen_by(&mut self, openid: &str) -> u32 {
        let owner = self.owner(openid);
        owner.map_or(0, |index| self.tenants[index].ledger.seen_by(openid))
    }

    /// Accounts as the demo and a newcomer need them.
    pub(super) fn about(&self) -> Json {
        let accounts = self.tenants.iter().map(|tenant| {
            json!({ "appid": tenant.appid, "secret": tenant.secret,
                "first_follower": follower(tenant.index, 0), "followers": self.followers })
        });
        json!({ "accounts": accounts.collect::<Vec<_>>(), "templates": self.templates })
    }
}

fn answer(json: Json) -> (Json, Delivery) {
    (json, Delivery::Answer)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::sandbox::TEMPLATE;

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn token(world: &mut World, number: usize) -> String {
        let body = json!({"grant_type": "client_credential", "appid": format!("wx{number:016}"),
            "secret": format!("sandbox-secret-{number}")});
        world.stable_token(NOW, &body)["access_token"].as_str().unwrap().to_owned()
    }

    fn message(openid: &str) -> Vec<u8> {
        json!({"touser": openid, "template_id": TEMPLATE, "client_msg_id": "m1",
            "data": {"thing1": {"value": "x"}}})
        .to_string()
        .into_bytes()
    }

    fn code(answer: &(Json, Delivery)) -> i64 {
        answer.0["errcode"].as_i64().unwrap()
    }

    #[test]
    fn a_repetition_is_shown_once_within_ten_minutes() {
        let mut world = World::new(&Options::default());
        let token = token(&mut world, 1);
        let body = message(&follower(0, 5));
        let first = world.send(NOW, Some(&token), &body);
        let again = world.send(NOW.plus(599_000), Some(&token), &body);
        assert_eq!((code(&first), &first.0), (0, &again.0));
        assert_eq!(world.seen_by(&follower(0, 5)), 1);
        world.send(NOW.plus(601_000), Some(&token), &body);
        assert_eq!(world.seen_by(&follower(0, 5)), 2);
        assert_eq!(world.summary(None)["wx0000000000000001"]["duplicates"], 1);
    }

    #[test]
    fn tokens_die_and_belong_to_one_account() {
        let mut world = World::new(&Options::default());
        let (first, second) = (token(&mut world, 1), token(&mut world, 2));
        assert_eq!(token(&mut world, 1), first, "the stable token stays the same");
        let body = message(&follower(0, 5));
        assert_eq!(code(&world.send(NOW, Some(&second), &body)), 40003);
        assert_eq!(world.summary(None)["wx0000000000000002"]["wrong_tenant"], 1);
        assert_eq!(code(&world.send(NOW.plus(TOKEN_MS), Some(&first), &body)), 42001);
        world.invalidate("wx0000000000000001");
        assert_eq!(code(&world.send(NOW, Some(&first), &body)), 40001);
        assert_ne!(token(&mut world, 1), first);
    }

    #[test]
    fn a_lost_answer_is_recorded_and_its_repetition_is_not_shown_again() {
        let faults = Faults { lost_answer: 1000, ..Faults::default() };
        let mut world = World::new(&Options { faults, ..Options::default() });
        let token = token(&mut world, 1);
        let body = message(&follower(0, 5));
        assert_eq!(world.send(NOW, Some(&token), &body).1, Delivery::Close);
        world.faults = Faults::default();
        assert_eq!(code(&world.send(NOW, Some(&token), &body)), 0);
        assert_eq!(world.seen_by(&follower(0, 5)), 1);
    }

    #[test]
    fn refusals_come_in_order() {
        let mut world = World::new(&Options { daily_quota: 3, ..Options::default() });
        let token = token(&mut world, 1);
        world.change_followers(&json!({"appid": "wx0000000000000001", "unfollow": [follower(0, 1)]}));
        assert_eq!(code(&world.send(NOW, None, b"")), 41001);
        assert_eq!(code(&world.send(NOW, Some(&token), b"")), 44002);
        assert_eq!(code(&world.send(NOW, Some(&token), &message(&follower(0, 1)))), 43004);
        assert_eq!(code(&world.send(NOW, Some(&token), &message("oNobody"))), 40003);
        let bad = String::from_utf8(message(&follower(0, 2))).unwrap().replace("\"x\"", "\"\"");
        let answer = world.send(NOW, Some(&token), bad.as_bytes());
        assert_eq!(code(&answer), 47003);
        assert!(answer.0["errmsg"].as_str().unwrap().contains("data.thing1.value"));
        assert_eq!(code(&world.send(NOW, Some(&token), &message(&follower(0, 3)))), 45009);
    }
}
