//! Sending template messages for one tenant.
//!
//! One call sends one message and says what came of it; whether and when to try again is the
//! engine's business, with one exception: a refused access token is renewed and the message sent
//! once more, since nothing was accepted and nothing is to be waited for.

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use reqwest::{Client, Url};
use tokio::time::{Instant, timeout_at};

use super::answer::{self, Answer};
use super::client::{self, Account, ClientError, Failure};
use super::token::{OnNewToken, Token, TokenError, TokenOwner};
use crate::limits;
use crate::model::attempt::{Class, Try};
use crate::secret::Secret;
use crate::text::cut;
use crate::time::{Clock, Timestamp};

/// Bounds of one tenant's sends.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests in flight; as many connections are kept.
    pub concurrency: usize,
    /// The longest time one send may take, token fetch and second request included.
    pub send_timeout: Duration,
}

/// One request, rendered by [`crate::model::message::render`].
#[derive(Clone, Debug)]
pub struct Message {
    /// The JSON.
    pub body: Bytes,
}

/// What one tenant's sends share.
pub struct Provider {
    client: Client,
    account: Account,
    url: Url,
    tokens: TokenOwner,
    clock: Arc<dyn Clock>,
    send_timeout: Duration,
    /// The URL for the token it was last made for.
    target: Mutex<Option<(Secret, Url)>>,
}

impl fmt::Debug for Provider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Provider")
            .field("url", &self.url.as_str())
            .field("tokens", &self.tokens)
            .finish_non_exhaustive()
    }
}

impl Provider {
    /// The provider for an account, with the token of an earlier run if there is one. `on_new`
    /// gets each new token.
    ///
    /// # Errors
    /// When the account's base URL cannot be called or the host has no certificates.
    pub fn new(
        account: Account,
        limits: Limits,
        clock: Arc<dyn Clock>,
        initial: Option<Token>,
        on_new: OnNewToken,
    ) -> Result<Self, ClientError> {
        let client = client::build(&account, limits.concurrency)?;
        let url = account.url("/cgi-bin/message/template/send")?;
        let (clock_too, owned) = (Arc::clone(&clock), account.clone());
        let tokens = TokenOwner::new(client.clone(), owned, clock_too, initial, on_new)?;
        let target = Mutex::new(None);
        Ok(Self { client, account, url, tokens, clock, send_timeout: limits.send_timeout, target })
    }

    pub(super) fn client(&self) -> &Client {
        &self.client
    }

    pub(super) fn account(&self) -> &Account {
        &self.account
    }

    /// The token's owner, to show its state.
    #[must_use]
    pub fn tokens(&self) -> &TokenOwner {
        &self.tokens
    }

    /// Sends one message: one try, or two when the access token of the first was refused.
    ///
    /// A try for which no token could be had never reached the wire; it is [`Class::Unreached`] with
    /// the code of the token's failure, and its text begins with `no access token`. A second [`Class::Token`] is
    /// left to the caller.
    pub async fn send(&self, message: &Message) -> Vec<Try> {
        self.send_noting(message, &AtomicBool::new(false)).await
    }

    /// As [`Self::send`], for a caller that may have to give up halfway: `on_wire` is set right
    /// before a request is handed to the network. Until then nothing can be in doubt.
    pub async fn send_noting(&self, message: &Message, on_wire: &AtomicBool) -> Vec<Try> {
        let deadline = Instant::now() + self.send_timeout;
        let watch = self.watch();
        let token = match within(deadline, self.tokens.get()).await {
            Ok(token) => token,
            Err(error) => return vec![without_token(&watch, error)],
        };
        on_wire.store(true, Ordering::Relaxed);
        let first = self.post(&token, message, deadline).await;
        if first.class != Class::Token {
            return vec![first];
        }
        let watch = self.watch();
        let token = match within(deadline, self.tokens.report_bad(&token.value)).await {
            Ok(token) => token,
            Err(error) => return vec![first, without_token(&watch, error)],
        };
        let second = self.post(&token, message, deadline).await;
        if second.class == Class::Token {
            self.tokens.note_bad(&token.value);
        }
        vec![first, second]
    }

    /// One request on the wire.
    async fn post(&self, token: &Token, message: &Message, deadline: Instant) -> Try {
        let watch = self.watch();
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            let errmsg = "the time for this send was over before its request";
            return watch.nothing_came(Class::Unreached, errmsg.to_owned());
        }
        let body = reqwest::Body::from(message.body.clone());
        match client::post(&self.client, self.target(token), body, left).await {
            Ok((status, body)) => {
                let body = token.value.scrub(String::from_utf8_lossy(&body).into_owned());
                watch.answered(answer::read(status.as_u16(), &body), &body)
            }
            Err(Failure::NotConnected(words)) => {
                watch.nothing_came(Class::Unreached, token.value.scrub(words))
            }
            Err(Failure::Lost(words)) => {
                watch.nothing_came(Class::InDoubt, token.value.scrub(words))
            }
        }
    }

    /// The URL with this token, made anew only when the token has changed.
    fn target(&self, token: &Token) -> Url {
        let mut target = self.target.lock().unwrap_or_else(PoisonError::into_inner);
        match &*target {
            Some((made_for, url)) if *made_for == token.value => url.clone(),
            Some(_) | None => {
                let mut url = self.url.clone();
                url.query_pairs_mut().append_pair("access_token", token.value.expose());
                *target = Some((token.value.clone(), url.clone()));
                url
            }
        }
    }

    fn watch(&self) -> Watch {
        Watch { at: self.clock.now(), began: Instant::now() }
    }
}

/// Waits for a token, but not past the deadline.
async fn within(
    deadline: Instant,
    token: impl Future<Output = Result<Token, TokenError>>,
) -> Result<Token, Option<TokenError>> {
    timeout_at(deadline, token).await.map_err(|_| None)?.map_err(Some)
}

/// A try that ended before there was anything to send. `None`: the token did not come in time.
fn without_token(watch: &Watch, error: Option<TokenError>) -> Try {
    match error {
        Some(error) => Try {
            errcode: error.errcode,
            rid: error.rid.clone(),
            ..watch.nothing_came(Class::Unreached, error.to_string())
        },
        None => {
            watch.nothing_came(Class::Unreached, "no access token: it did not come in time".into())
        }
    }
}

/// Measures one try.
struct Watch {
    at: Timestamp,
    began: Instant,
}

impl Watch {
    fn duration_ms(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    fn answered(&self, answer: Answer, body: &str) -> Try {
        Try {
            at: self.at,
            duration_ms: self.duration_ms(),
            class: answer.class,
            errcode: answer.errcode,
            errmsg: answer.errmsg,
            msgid: answer.msgid,
            rid: answer.rid,
            field: answer.field,
            response: cut(body, limits::ANSWER_BYTES).to_owned(),
        }
    }

    fn nothing_came(&self, class: Class, errmsg: String) -> Try {
        Try {
            at: self.at,
            duration_ms: self.duration_ms(),
            class,
            errcode: None,
            errmsg: cut(&errmsg, limits::TEXT_BYTES).to_owned(),
            msgid: None,
            rid: None,
            field: None,
            response: String::new(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::time::{HOUR_MS, SystemClock};
    use crate::wechat::fake::{Fake, Reply, Seen};

    const SEND: &str = "/cgi-bin/message/template/send";
    const FETCH: &str = "/cgi-bin/stable_token";
    const OK: &str = r#"{"errcode":0,"errmsg":"ok","msgid":3557254367693750277}"#;
    const TOKEN_IS_NEW: &str = r#"{"access_token":"canary-new","expires_in":7200}"#;
    const REFUSED: &str = r#"{"errcode":40001,"errmsg":"invalid credential, access_token is invalid or not latest rid: 1-2-3"}"#;

    fn provider(account: Account, initial: Option<&str>) -> Provider {
        let initial = initial.map(|value| Token {
            value: Secret::new(value),
            expires_at: SystemClock.now().plus(HOUR_MS),
        });
        let limits = Limits { concurrency: 100, send_timeout: Duration::from_secs(5) };
        Provider::new(account, limits, Arc::new(SystemClock), initial, Box::new(|_| ())).unwrap()
    }

    fn message() -> Message {
        Message { body: Bytes::from_static(br#"{"touser":"oA"}"#) }
    }

    /// Answers a fetch with the new token and a send by its token.
    fn knows_only_the_new_token(request: &Seen) -> Reply {
        match (request.path.as_str(), request.query.as_str()) {
            (FETCH, _) => Reply::json(TOKEN_IS_NEW),
            (SEND, "access_token=canary-new") => Reply::json(OK),
            (SEND, _) => Reply::json(REFUSED),
            _ => Reply::Text(404, String::new()),
        }
    }

    fn classes(tries: &[Try]) -> Vec<Class> {
        tries.iter().map(|one| one.class).collect()
    }

    #[tokio::test]
    async fn an_accepted_message_has_its_id_and_leaves_as_it_was_rendered() {
        let fake = Fake::start(|_| Reply::json(OK)).await;
        let provider = provider(fake.account(), Some("a/b c"));
        let tries = provider.send(&message()).await;
        assert_eq!(classes(&tries), [Class::Ok]);
        assert_eq!(tries[0].msgid.as_deref(), Some("3557254367693750277"));
        assert_eq!((tries[0].errcode, tries[0].response.as_str()), (Some(0), OK));
        let seen = fake.all();
        assert_eq!(seen[0].body, r#"{"touser":"oA"}"#);
        assert_eq!(seen[0].query, "access_token=a%2Fb+c");
    }

    #[tokio::test]
    async fn a_hundred_senders_with_a_dead_token_fetch_once() {
        let fake = Fake::start(knows_only_the_new_token).await;
        let provider = Arc::new(provider(fake.account(), Some("canary-old")));
        let senders: Vec<_> = (0..100)
            .map(|_| {
                let provider = Arc::clone(&provider);
                tokio::spawn(async move { provider.send(&message()).await })
            })
            .collect();
        let mut refused = 0;
        for sender in senders {
            let tries = sender.await.unwrap();
            assert_eq!(tries.last().map(|last| last.class), Some(Class::Ok), "{tries:?}");
            refused += tries.len() - 1;
        }
        assert!(refused > 0);
        assert_eq!(fake.count(FETCH), 1);
        assert_eq!(provider.tokens().status().fetches, 1);
        assert_eq!(fake.count(SEND), 100 + refused);
    }

    #[tokio::test]
    async fn a_token_that_stays_refused_makes_two_requests_and_no_more() {
        let fake = Fake::start(|request: &Seen| match request.path.as_str() {
            FETCH => Reply::json(TOKEN_IS_NEW),
            _ => Reply::json(REFUSED),
        })
        .await;
        let provider = provider(fake.account(), Some("canary-old"));
        let tries = provider.send(&message()).await;
        assert_eq!(classes(&tries), [Class::Token, Class::Token]);
        assert_eq!(tries[0].rid.as_deref(), Some("1-2-3"));
        assert_eq!(fake.count(SEND), 2);
        assert_eq!(provider.tokens().status().expires_at, None, "nobody else uses it");
    }

    #[tokio::test]
    async fn without_a_token_nothing_is_sent_and_the_reason_is_told() {
        for (reply, errcode) in [
            (r#"{"errcode":40164,"errmsg":"invalid ip"}"#, Some(40164)),
            (r#"{"errcode":45009,"errmsg":"quota"}"#, Some(45009)),
            ("<html>", None),
        ] {
            let fake = Fake::start(move |_| Reply::json(reply)).await;
            let provider = provider(fake.account(), None);
            let tries = provider.send(&message()).await;
            assert_eq!(classes(&tries), [Class::Unreached]);
            assert_eq!(tries[0].errcode, errcode);
            assert!(tries[0].errmsg.starts_with("no access token: "), "{}", tries[0].errmsg);
            assert_eq!(fake.count(SEND), 0);
        }
    }

    #[tokio::test]
    async fn a_lost_answer_is_in_doubt() {
        for script in [
            (|_| Reply::Close) as fn(&Seen) -> Reply,
            |_| Reply::Half,
            |_| Reply::Hang,
            |_| Reply::Text(502, "<html>canary-old</html>".into()),
            |_| Reply::Text(200, "x".repeat(65 * 1024)),
            |_| Reply::json(r#"{"errcode":-1,"errmsg":"system error"}"#),
        ] {
            let fake = Fake::start(script).await;
            let mut provider = provider(fake.account(), Some("canary-old"));
            provider.send_timeout = Duration::from_millis(500);
            let tries = provider.send(&message()).await;
            assert_eq!(classes(&tries), [Class::InDoubt], "{tries:?}");
            assert!(!tries[0].errmsg.is_empty());
            assert!(tries[0].response.len() <= limits::ANSWER_BYTES);
            assert_eq!(fake.count(SEND), 1, "nothing is sent again");
        }
    }

    #[tokio::test]
    async fn a_refused_connection_is_certainly_not_accepted() {
        let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let account = Account {
            tenant: "a".into(),
            appid: "wx1".into(),
            token: crate::wechat::TokenFrom::Provider(Secret::new("canary-secret")),
            base_url: format!("http://{address}"),
        };
        let provider = provider(account, Some("canary-old"));
        let tries = provider.send(&message()).await;
        assert_eq!(classes(&tries), [Class::Unreached]);
        assert!(tries[0].errmsg.contains("refused"), "{}", tries[0].errmsg);
    }

    #[tokio::test]
    async fn no_secret_is_in_any_text() {
        for script in [
            knows_only_the_new_token as fn(&Seen) -> Reply,
            |request| Reply::Text(500, format!("{} {}", request.query, request.body)),
            |request| Reply::json(&format!(r#"{{"errcode":40013,"errmsg":{:?}}}"#, request.body)),
            |request| Reply::json(&format!(r#"{{"errcode":47003,"errmsg":"{}"}}"#, request.query)),
            |_| Reply::Close,
            |_| Reply::Half,
        ] {
            for initial in [None, Some("canary-old")] {
                let fake = Fake::start(script).await;
                let account = fake.account();
                let shown = format!("{account:?}");
                let provider = provider(account, initial);
                let tries = provider.send(&message()).await;
                let token = provider.tokens().get().await;
                let shown = format!("{shown} {provider:?} {tries:?} {token:?}");
                assert!(!shown.contains("canary"), "{shown}");
            }
        }
    }
}
