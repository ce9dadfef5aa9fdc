//! Calls of the provider's API beside the sends: lists of people, templates, quotas.

use std::time::Duration;

use reqwest::Url;
use serde_json::{Value as Json, json};
use tokio::time::{Instant, timeout_at};

use super::answer;
use super::client::{self, Failure};
use super::send::Provider;
use super::token::Token;
use crate::limits;
use crate::model::attempt::Class;
use crate::model::errcode;
use crate::text::cut;

/// Longest time of one call, a token's renewal included.
const WITHIN: Duration = Duration::from_secs(20);
/// Largest answer: a page of followers has 10,000 openids of some 32 bytes.
const ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// Why a call came to nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{words}")]
pub struct CallError {
    /// The provider's code, if it answered with one.
    pub errcode: Option<i64>,
    /// What happened, without secrets.
    pub words: String,
    /// Whether the same call may succeed later without anybody changing anything.
    pub passes: bool,
}

/// A page of people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct People {
    /// Their openids.
    pub openids: Vec<String>,
    /// What asks for the next page; `None` on the last.
    pub next: Option<String>,
    /// How many there are in all, if that is told.
    pub total: Option<u64>,
}

impl Provider {
    /// The account's followers behind `after`, at most 10,000.
    ///
    /// # Errors
    /// When the list cannot be had.
    pub async fn followers(&self, after: &str) -> Result<People, CallError> {
        let answer = self.call("/cgi-bin/user/get", &[("next_openid", after)], None).await?;
        Ok(people(&answer, after))
    }

    /// Those of them who have a tag.
    ///
    /// # Errors
    /// As of [`Provider::followers`]; also when there is no such tag.
    pub async fn tagged(&self, tag: u32, after: &str) -> Result<People, CallError> {
        let body = json!({"tagid": tag, "next_openid": after});
        let answer = self.call("/cgi-bin/user/tag/get", &[], Some(body)).await?;
        Ok(people(&answer, after))
    }

    /// One call with the account's token, which is renewed once if it is refused. POST with a body,
    /// else GET.
    ///
    /// # Errors
    /// When there is no answer, or one with an `errcode`.
    pub async fn call(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Option<Json>,
    ) -> Result<Json, CallError> {
        let deadline = Instant::now() + WITHIN;
        let late = || passing(None, "no access token: it did not come in time");
        let token = timeout_at(deadline, self.tokens().get()).await.map_err(|_| late())?;
        let token = token.map_err(|why| passing(why.errcode, &why.to_string()))?;
        let first = self.once(path, query, body.as_ref(), &token, deadline).await;
        if !first.as_ref().is_err_and(|why| {
            why.errcode.is_some_and(|code| errcode::classify(code) == Class::Token)
        }) {
            return first;
        }
        let renewed = timeout_at(deadline, self.tokens().report_bad(&token.value)).await;
        let token = renewed.map_err(|_| late())?;
        let token = token.map_err(|why| passing(why.errcode, &why.to_string()))?;
        self.once(path, query, body.as_ref(), &token, deadline).await
    }

    async fn once(
        &self,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Json>,
        token: &Token,
        deadline: Instant,
    ) -> Result<Json, CallError> {
        let mut url = self.url_of(path)?;
        url.query_pairs_mut().append_pair("access_token", token.value.expose()).extend_pairs(query);
        let within = deadline.saturating_duration_since(Instant::now());
        let asked = client::ask(self.client(), url, body, within, ANSWER_BYTES).await;
        let (status, bytes) = asked.map_err(|why| match why {
            Failure::NotConnected(words) | Failure::Lost(words) => {
                passing(None, &token.value.scrub(words))
            }
        })?;
        let text = token.value.scrub(String::from_utf8_lossy(&bytes).into_owned());
        let tree: Json = serde_json::from_str(&text).map_err(|_| {
            let shown = crate::outbound::excerpt(text.as_bytes());
            passing(None, &format!("HTTP {}, and no JSON: {shown}", status.as_u16()))
        })?;
        match tree.get("errcode").and_then(Json::as_i64) {
            None | Some(0) if status.is_success() => Ok(tree),
            None | Some(0) => Err(passing(None, &format!("HTTP {}", status.as_u16()))),
            Some(code) => Err(refused(code, &answer::read(status.as_u16(), &text).errmsg)),
        }
    }

    fn url_of(&self, path: &str) -> Result<Url, CallError> {
        self.account().url(path).map_err(|why| CallError {
            errcode: None,
            words: why.to_string(),
            passes: false,
        })
    }
}

fn passing(errcode: Option<i64>, words: &str) -> CallError {
    CallError { errcode, words: cut(words, limits::TEXT_BYTES).to_owned(), passes: true }
}

/// A refusal passes when the account, its token or its quota is in the way; else what was asked for is
/// wrong.
fn refused(code: i64, errmsg: &str) -> CallError {
    let passes = match errcode::classify(code) {
        Class::Token | Class::Tenant | Class::Day | Class::InDoubt => true,
        Class::Retry => errcode::row_of(code).is_some(),
        Class::Ok | Class::Recipient | Class::Notice | Class::Review | Class::Unreached => false,
    };
    let words = format!("{code} {errmsg}");
    CallError { passes, ..passing(Some(code), &words) }
}

/// A page: `next_openid` is its last openid, and empty, or the one it was asked with, at the end. The
/// documents do not agree on the last page, so one without people ends it too.
fn people(answer: &Json, after: &str) -> People {
    let openids = answer["data"]["openid"].as_array().into_iter().flatten();
    let openids: Vec<String> =
        openids.filter_map(|openid| openid.as_str().map(str::to_owned)).collect();
    let next = answer["next_openid"].as_str().unwrap_or_default();
    let goes_on = !openids.is_empty() && !next.is_empty() && next != after;
    People { next: goes_on.then(|| next.to_owned()), total: answer["total"].as_u64(), openids }
}
