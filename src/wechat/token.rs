//! The access token of one tenant: one owner, one fetch at a time.
//!
//! The provider gives a token for two hours and counts the fetches. However many senders find the
//! token missing, old or refused, one of them starts a fetch and all wait for that one. The fetch
//! is a task of its own, so a sender that gives up does not abort it for the others.
//!
//! Fetches use `stable_token` without force: it gives everybody the same token, so that two
//! programs on one account do not invalidate each other's. Force is never used (20 per day).
//!
//! Where the operator has a token service, that is asked in place of the provider, in the same way.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::{Client, Url};
use tokio::sync::watch;

use super::answer::split_rid;
use super::client::{self, Account, ClientError, TokenFrom};
use crate::limits;
use crate::model::attempt::Class;
use crate::model::errcode;
use crate::secret::Secret;
use crate::text::cut;
use crate::time::{Clock, DAY_MS, SECOND_MS, Timestamp};

mod standing;

use standing::{Ask, Standing};

/// The longest time a fetch may take.
const FETCH_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest token that is taken. Real ones have 137 to 157 bytes; the provider asks for room for
/// 512, and the token must fit a row of the store.
const TOKEN_BYTES: usize = 2048;

/// An access token and until when it is good.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Token {
    /// The token.
    pub value: Secret,
    /// The end by our own clock.
    pub expires_at: Timestamp,
}

/// Why there is no token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TokenError {
    /// [`Class::Tenant`] when the credentials or our address are refused, [`Class::Day`] when the
    /// quota is used up, else [`Class::Retry`].
    pub class: Class,
    /// What went wrong.
    pub problem: TokenProblem,
    /// The provider's code, when there was an answer with one.
    pub errcode: Option<i64>,
    /// The provider's text without its rid, or our own words. No secrets.
    pub errmsg: String,
    /// The provider's request id.
    pub rid: Option<String>,
}

/// The ways in which a fetch goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TokenProblem {
    /// The provider answered with a code.
    Refused,
    /// There was no answer, or none that is understood.
    NoAnswer,
    /// The provider gave the very token that a send had just been refused with.
    SameToken,
}

impl std::error::Error for TokenError {}

impl fmt::Display for TokenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no access token: ")?;
        if let Some(errcode) = self.errcode {
            write!(f, "{errcode} ")?;
        }
        f.write_str(&self.errmsg)
    }
}

impl TokenError {
    fn no_answer(errmsg: String) -> Self {
        let problem = TokenProblem::NoAnswer;
        Self { class: Class::Retry, problem, errcode: None, errmsg, rid: None }
    }

    fn same_token() -> Self {
        Self {
            class: Class::Retry,
            problem: TokenProblem::SameToken,
            errcode: None,
            errmsg: "the provider gave the token again that it had just refused".into(),
            rid: None,
        }
    }
}

/// Called with each new token, so that a restart need not fetch. It runs between the fetch and its
/// use and must not block.
pub type OnNewToken = Box<dyn Fn(&Token) + Send + Sync>;

/// What can be shown of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TokenStatus {
    /// Fetches begun since the start.
    pub fetches: u64,
    /// The end of the present token, when there is one that was not refused.
    pub expires_at: Option<Timestamp>,
}

/// The one owner of a tenant's token.
pub struct TokenOwner {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    url: Url,
    account: Account,
    clock: Arc<dyn Clock>,
    on_new: OnNewToken,
    fetches: AtomicU64,
    state: Mutex<State>,
}

struct State {
    standing: Standing,
    /// The fetch under way. Its sender is dropped when the task ends, in whatever way.
    fetch: Option<watch::Receiver<Option<Outcome>>>,
}

type Outcome = Result<Token, TokenError>;

/// What a caller does next.
enum Step {
    Done(Outcome),
    Wait(watch::Receiver<Option<Outcome>>),
}

impl fmt::Debug for TokenOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TokenOwner").field("status", &self.status()).finish_non_exhaustive()
    }
}

impl TokenOwner {
    /// The owner for an account, with the token of an earlier run if there is one.
    ///
    /// # Errors
    /// When the account's base URL cannot be called.
    pub fn new(
        client: Client,
        account: Account,
        clock: Arc<dyn Clock>,
        initial: Option<Token>,
        on_new: OnNewToken,
    ) -> Result<Self, ClientError> {
        let url = account.url("/cgi-bin/stable_token")?;
        let state = Mutex::new(State { standing: Standing::new(initial), fetch: None });
        let fetches = AtomicU64::new(0);
        let inner = Inner { client, url, account, clock, on_new, fetches, state };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// A token that is believed to be good. Waits for a fetch only when there is none.
    ///
    /// # Errors
    /// When the fetch fails, or one has failed a moment ago.
    pub async fn get(&self) -> Result<Token, TokenError> {
        let step = self.inner.step(None);
        finish(step).await
    }

    /// Tells that a send was refused with the token `used`, and gives another one.
    ///
    /// A token that is no longer the present one is not fetched anew for: whoever came first has
    /// done it or is doing it.
    ///
    /// # Errors
    /// As [`Self::get`]; also when the provider keeps to the refused token.
    pub async fn report_bad(&self, used: &Secret) -> Result<Token, TokenError> {
        let step = self.inner.step(Some(used));
        finish(step).await
    }

    /// Fetches the token anew, whatever is known of the present one: an operator wants it.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn renew(&self) -> Result<Token, TokenError> {
        let step = self.inner.renew();
        finish(step).await
    }

    /// As [`Self::report_bad`], for a caller that does not want another token now.
    pub fn note_bad(&self, used: &Secret) {
        drop(self.inner.step(Some(used)));
    }

    /// What can be shown of the token.
    #[must_use]
    pub fn status(&self) -> TokenStatus {
        TokenStatus {
            fetches: self.inner.fetches.load(Ordering::Relaxed),
            expires_at: self.inner.lock().standing.good_until(),
        }
    }
}

async fn finish(step: Step) -> Outcome {
    match step {
        Step::Done(outcome) => outcome,
        Step::Wait(mut fetch) => {
            let outcome = fetch.wait_for(Option::is_some).await.ok().and_then(|seen| seen.clone());
            outcome.unwrap_or_else(|| {
                Err(TokenError::no_answer("the fetch of the token was broken off".into()))
            })
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole at every moment: nothing that runs under the lock can panic half-way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Decides under the lock what a caller gets, and starts a fetch if one is wanted.
    fn step(self: &Arc<Self>, refused: Option<&Secret>) -> Step {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(used) = refused {
            state.standing.refuse(used);
        }
        let under_way = state.fetch.clone().filter(|fetch| fetch.has_changed().is_ok());
        match state.standing.ask(now, under_way.is_some()) {
            Ask::Use(token) => Step::Done(Ok(token)),
            Ask::UseAndFetch(token) => {
                state.fetch = Some(self.start_fetch());
                Step::Done(Ok(token))
            }
            Ask::Hold(error) => Step::Done(Err(error)),
            Ask::Fetch => {
                let fetch = under_way.unwrap_or_else(|| self.start_fetch());
                state.fetch = Some(fetch.clone());
                Step::Wait(fetch)
            }
        }
    }

    /// The fetch under way, or a new one.
    fn renew(self: &Arc<Self>) -> Step {
        let mut state = self.lock();
        let under_way = state.fetch.clone().filter(|fetch| fetch.has_changed().is_ok());
        let fetch = under_way.unwrap_or_else(|| self.start_fetch());
        state.fetch = Some(fetch.clone());
        Step::Wait(fetch)
    }

    fn start_fetch(self: &Arc<Self>) -> watch::Receiver<Option<Outcome>> {
        let (sender, receiver) = watch::channel(None);
        let inner = Arc::clone(self);
        tokio::spawn(async move {
            let fetched = inner.fetch().await;
            let settled = {
                let mut state = inner.lock();
                state.fetch = None;
                state.standing.settle(inner.clock.now(), fetched)
            };
            match &settled {
                standing::Settled::New(token) => (inner.on_new)(token),
                standing::Settled::Unchanged(_) => {}
                standing::Settled::Failed(error) => {
                    tracing::warn!(
                        event = "token.failed",
                        tenant = inner.account.tenant,
                        appid = inner.account.appid,
                        class = error.class.name(),
                        "{error}"
                    );
                }
            }
            sender.send_replace(Some(settled.into_outcome()));
        });
        receiver
    }

    /// One call of `stable_token`, or of the operator's own service.
    async fn fetch(&self) -> Outcome {
        self.fetches.fetch_add(1, Ordering::Relaxed);
        let began = self.clock.now();
        let answer = match &self.account.token {
            TokenFrom::Provider(secret) => {
                let body = serde_json::json!({
                    "grant_type": "client_credential",
                    "appid": self.account.appid,
                    "secret": secret.expose(),
                    "force_refresh": false,
                });
                let (url, body) = (self.url.clone(), body.to_string().into());
                client::post(&self.client, url, body, FETCH_TIMEOUT).await
            }
            TokenFrom::Service(service) => {
                let request = service.get(&format!("token_{}", began.0), began);
                client::complete(request, FETCH_TIMEOUT).await
            }
        };
        let outcome = answer
            .map_err(|failure| TokenError::no_answer(failure.into_words()))
            .and_then(|(status, body)| read(began, status.as_u16(), &body));
        outcome.map_err(|error| TokenError { errmsg: self.in_words(error.errmsg), ..error })
    }

    /// The text of an error without secrets; it says who was asked, if that was not the provider.
    fn in_words(&self, errmsg: String) -> String {
        match &self.account.token {
            TokenFrom::Provider(secret) => secret.scrub(errmsg),
            TokenFrom::Service(service) => {
                let text = format!("the token service {service}: {}", service.scrub(errmsg));
                cut(&text, limits::TEXT_BYTES).to_owned()
            }
        }
    }
}

/// The provider's JSON, either of its two shapes.
#[derive(serde::Deserialize)]
struct Wire {
    access_token: Option<String>,
    expires_in: Option<u64>,
    errcode: Option<i64>,
    errmsg: Option<String>,
}

/// Reads the answer to a fetch that began at `began`.
fn read(began: Timestamp, status: u16, body: &[u8]) -> Outcome {
    let odd = || TokenError::no_answer(format!("HTTP {status} with an answer that is no token"));
    let wire: Wire = serde_json::from_slice(body).map_err(|_| odd())?;
    if let Some(code) = wire.errcode.filter(|code| *code != 0) {
        let (text, rid) = split_rid(wire.errmsg.as_deref().unwrap_or_default());
        return Err(TokenError {
            class: errcode::classify_token_call(code),
            problem: TokenProblem::Refused,
            errcode: Some(code),
            errmsg: cut(text, limits::TEXT_BYTES).to_owned(),
            rid,
        });
    }
    let value = wire.access_token.filter(|value| (1..=TOKEN_BYTES).contains(&value.len()));
    let seconds = wire.expires_in.filter(|seconds| *seconds > 0);
    let (Some(value), Some(seconds), 200..300) = (value, seconds, status) else {
        return Err(odd());
    };
    let lifetime_ms = seconds.saturating_mul(SECOND_MS).min(DAY_MS);
    Ok(Token { value: Secret::new(value), expires_at: began.plus(lifetime_ms) })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::outbound;
    use crate::outbound::credentials::Credentials;
    use crate::outbound::service::Service;
    use crate::time::{HOUR_MS, ManualClock};
    use crate::wechat::fake::{Fake, Reply};

    const NOW: Timestamp = Timestamp(1_795_000_000_000);

    fn token(value: &str, lifetime_ms: u64) -> Token {
        Token { value: Secret::new(value), expires_at: NOW.plus(lifetime_ms) }
    }

    fn owner(fake: &Fake, initial: Option<Token>, on_new: OnNewToken) -> TokenOwner {
        let account = fake.account();
        let client = client::build(&account, 10).unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        TokenOwner::new(client, account, clock, initial, on_new).unwrap()
    }

    #[test]
    fn answers_to_a_fetch_are_told_apart() {
        let good = read(NOW, 200, br#"{"access_token":"T","expires_in":7200}"#).unwrap();
        assert_eq!(good.expires_at, NOW.plus(2 * HOUR_MS));
        for (status, body, class, problem) in [
            (200, r#"{"errcode":40125,"errmsg":"x"}"#, Class::Tenant, TokenProblem::Refused),
            (200, r#"{"errcode":40001,"errmsg":"x"}"#, Class::Tenant, TokenProblem::Refused),
            (200, r#"{"errcode":45009,"errmsg":"x"}"#, Class::Day, TokenProblem::Refused),
            (200, r#"{"errcode":-1,"errmsg":"x"}"#, Class::Retry, TokenProblem::Refused),
            (200, r#"{"access_token":"T"}"#, Class::Retry, TokenProblem::NoAnswer),
            (200, r#"{"access_token":"","expires_in":1}"#, Class::Retry, TokenProblem::NoAnswer),
            (200, r#"{"access_token":"T","expires_in":0}"#, Class::Retry, TokenProblem::NoAnswer),
            (502, r#"{"access_token":"T","expires_in":9}"#, Class::Retry, TokenProblem::NoAnswer),
            (200, "<html>", Class::Retry, TokenProblem::NoAnswer),
        ] {
            let error = read(NOW, status, body.as_bytes()).unwrap_err();
            assert_eq!((error.class, error.problem), (class, problem), "{status} {body}");
        }
    }

    #[tokio::test]
    async fn a_kept_token_is_used_without_a_fetch() {
        let fake = Fake::start(|_| Reply::Hang).await;
        let owner = owner(&fake, Some(token("kept", HOUR_MS)), Box::new(|_| ()));
        assert_eq!(owner.get().await.unwrap().value.expose(), "kept");
        assert_eq!(owner.status().fetches, 0);
    }

    #[tokio::test]
    async fn many_reporters_share_one_fetch_and_the_new_token_is_handed_out_for_keeping() {
        let fake =
            Fake::start(|_| Reply::json(r#"{"access_token":"new","expires_in":7200}"#)).await;
        let kept = Arc::new(Mutex::new(Vec::new()));
        let keeper = Arc::clone(&kept);
        let on_new = move |token: &Token| keeper.lock().unwrap().push(token.clone());
        let owner = Arc::new(owner(&fake, Some(token("old", HOUR_MS)), Box::new(on_new)));
        let reporters: Vec<_> = (0..100)
            .map(|_| {
                let owner = Arc::clone(&owner);
                tokio::spawn(async move { owner.report_bad(&Secret::new("old")).await })
            })
            .collect();
        for reporter in reporters {
            assert_eq!(reporter.await.unwrap().unwrap(), token("new", 2 * HOUR_MS));
        }
        assert_eq!(owner.report_bad(&Secret::new("old")).await.unwrap().value.expose(), "new");
        assert_eq!(
            owner.status(),
            TokenStatus { fetches: 1, expires_at: Some(NOW.plus(2 * HOUR_MS)) }
        );
        assert_eq!(fake.count("/cgi-bin/stable_token"), 1);
        assert_eq!(*kept.lock().unwrap(), [token("new", 2 * HOUR_MS)]);
    }

    #[tokio::test]
    async fn a_failed_fetch_is_not_repeated_at_once_and_tells_no_secret() {
        let fake = Fake::start(|_| {
            Reply::json(
                r#"{"errcode":40125,"errmsg":"invalid appsecret canary-secret rid: 1-2-3"}"#,
            )
        })
        .await;
        let owner = owner(&fake, None, Box::new(|_| ()));
        for _ in 0..100 {
            let error = owner.get().await.unwrap_err();
            assert_eq!((error.class, error.errcode), (Class::Tenant, Some(40125)));
            assert_eq!(error.rid.as_deref(), Some("1-2-3"));
            assert!(!format!("{error} {error:?} {owner:?}").contains("canary"), "{error}");
        }
        assert_eq!(owner.status().fetches, 1);
    }

    #[tokio::test]
    async fn a_token_service_is_asked_once_and_again_when_its_token_was_refused() {
        let fake = Fake::start(|request| {
            assert_eq!(request.headers["x-api-key"], "canary-key");
            assert_eq!((request.path.as_str(), request.query.as_str()), ("/token", "k=canary-q"));
            assert!(request.body.is_empty());
            Reply::json(r#"{"access_token":"T","expires_in":7200}"#)
        })
        .await;
        let owner = owner_at_service(&fake);
        let ask = || owner.get();
        let (one, two) = tokio::join!(ask(), ask());
        assert_eq!(
            (one.unwrap(), two.unwrap()),
            (token("T", 2 * HOUR_MS), token("T", 2 * HOUR_MS))
        );
        assert_eq!(fake.count("/token"), 1);
        let again = owner.report_bad(&Secret::new("T")).await.unwrap_err();
        assert_eq!(again.problem, TokenProblem::SameToken);
        assert_eq!((fake.count("/token"), fake.count("/cgi-bin/stable_token")), (2, 0));
    }

    #[tokio::test]
    async fn a_token_service_that_gives_none_is_named_and_no_key_is_told() {
        for (status, body) in [
            (401, "canary-key is wrong"),
            (200, "<html>canary-q</html>"),
            (200, r#"{"errcode":40001,"errmsg":"canary-key"}"#),
            (503, ""),
        ] {
            let fake = Fake::start(move |_| Reply::Text(status, body.to_owned())).await;
            let error = owner_at_service(&fake).get().await.unwrap_err();
            let words = format!("{error} {error:?}");
            assert!(words.contains("the token service http://127.0.0.1:"), "{words}");
            assert!(!words.contains("canary"), "{words}");
        }
    }

    fn owner_at_service(fake: &Fake) -> TokenOwner {
        let account = fake.account();
        let url = Secret::new(format!("{}/token?k=canary-q", account.base_url));
        let headers = [("x-api-key".to_owned(), Secret::new("canary-key"))];
        let credentials = Credentials::new(&headers, None).unwrap();
        let client = outbound::client().unwrap();
        let service = Service::new(&client, &url, credentials).unwrap();
        assert!(!format!("{service:?} {service}").contains("canary"));
        let account = Account { token: TokenFrom::Service(service), ..account };
        let client = client::build(&account, 10).unwrap();
        let clock = Arc::new(ManualClock::new(NOW));
        TokenOwner::new(client, account, clock, None, Box::new(|_| ())).unwrap()
    }

    #[tokio::test]
    async fn the_same_token_again_is_an_error_without_force() {
        let fake = Fake::start(|request| {
            assert!(request.body.contains(r#""force_refresh":false"#), "{}", request.body);
            Reply::json(r#"{"access_token":"old","expires_in":7200}"#)
        })
        .await;
        let owner = owner(&fake, Some(token("old", HOUR_MS)), Box::new(|_| ()));
        for _ in 0..10 {
            let error = owner.report_bad(&Secret::new("old")).await.unwrap_err();
            assert_eq!((error.class, error.problem), (Class::Retry, TokenProblem::SameToken));
        }
        assert_eq!(owner.status(), TokenStatus { fetches: 1, expires_at: None });
    }

    #[tokio::test]
    async fn a_caller_that_gives_up_does_not_abort_the_fetch_of_the_others() {
        let (open, opened) = watch::channel(false);
        let fake = Fake::start(move |_| {
            let reply = Reply::json(r#"{"access_token":"new","expires_in":7200}"#);
            Reply::After(opened.clone(), Box::new(reply))
        })
        .await;
        let owner = owner(&fake, None, Box::new(|_| ()));
        {
            let mut first = std::pin::pin!(owner.get());
            let waits =
                tokio::select! { biased; _ = &mut first => false, () = fake.seen(1) => true };
            assert!(waits);
        }
        open.send(true).unwrap();
        assert_eq!(owner.get().await.unwrap().value.expose(), "new");
        assert_eq!(owner.status().fetches, 1);
    }
}
