//! A blocking HTTP client for one thread.

use std::time::Duration;

use serde_json::Value as Json;

use super::contract;

/// Requests of one client that are under way at a time.
const AT_ONCE: usize = 64;

/// One client; each thread makes its own.
pub(crate) struct Http {
    client: reqwest::Client,
    runtime: tokio::runtime::Runtime,
    /// Whether answers are held against the document.
    held: bool,
}

/// Status and body.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) text: String,
}

impl Answer {
    /// The body as JSON; fails when it is none.
    pub(crate) fn json(&self) -> Json {
        serde_json::from_str(&self.text).unwrap_or_else(|why| panic!("{why}: {}", self.text))
    }

    /// The body of a success; fails with the body of anything else.
    pub(crate) fn good(&self) -> Json {
        assert!((200..300).contains(&self.status), "{} {}", self.status, self.text);
        self.json()
    }

    /// The stable code of a problem document.
    pub(crate) fn code(&self) -> String {
        self.json()["code"].as_str().unwrap_or_default().to_owned()
    }
}

impl Http {
    pub(crate) fn new() -> Self {
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = reqwest::Client::builder()
            .no_proxy()
            .tls_certs_only(std::iter::empty())
            .timeout(Duration::from_secs(90));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self { client: client.build().unwrap(), runtime: runtime.unwrap(), held: true }
    }

    /// For a port that is not described: the one of the old paths alone.
    pub(crate) fn undescribed() -> Self {
        Self { held: false, ..Self::new() }
    }

    /// A request that may stay without an answer, as from a daemon that is killed.
    pub(crate) fn try_post(&self, url: &str, body: &Json) -> Option<Answer> {
        let request = self.client.post(url).header("content-type", "application/json");
        self.send(request.body(body.to_string())).ok()
    }

    pub(crate) fn try_get(&self, url: &str) -> Option<Answer> {
        self.send(self.client.get(url)).ok()
    }

    pub(crate) fn get(&self, url: &str) -> Answer {
        self.send(self.client.get(url)).unwrap_or_else(|why| panic!("{url}: {why:?}"))
    }

    /// With a bearer token.
    pub(crate) fn get_as(&self, token: &str, url: &str) -> Answer {
        self.send(self.client.get(url).bearer_auth(token)).unwrap()
    }

    /// With a bearer token.
    pub(crate) fn post_as(&self, token: &str, url: &str, body: &Json) -> Answer {
        let request = self.client.post(url).bearer_auth(token);
        self.send(request.header("content-type", "application/json").body(body.to_string()))
            .unwrap()
    }

    pub(crate) fn delete(&self, url: &str) -> Answer {
        self.send(self.client.delete(url)).unwrap_or_else(|why| panic!("{url}: {why:?}"))
    }

    pub(crate) fn patch(&self, url: &str, body: &Json) -> Answer {
        let request = self.client.patch(url).header("content-type", "application/json");
        self.send(request.body(body.to_string())).unwrap_or_else(|why| panic!("{url}: {why:?}"))
    }

    pub(crate) fn post(&self, url: &str, body: &Json) -> Answer {
        self.try_post(url, body).unwrap_or_else(|| panic!("no answer from {url}"))
    }

    /// The same request many times at once; the answers in order.
    pub(crate) fn post_at_once(&self, url: &str, bodies: &[Json]) -> Vec<Answer> {
        let send = |body: &Json| {
            let request = self.client.post(url).header("content-type", "application/json");
            read(request.body(body.to_string()))
        };
        self.runtime.block_on(async {
            let mut calls = tokio::task::JoinSet::new();
            for (number, body) in bodies.iter().enumerate() {
                let call = send(body);
                calls.spawn(async move { (number, call.await.unwrap()) });
            }
            let mut answers = calls.join_all().await;
            answers.sort_by_key(|(number, _)| *number);
            answers.into_iter().map(|(_, answer)| answer).collect()
        })
    }

    /// Looks at many things, some at a time; the answers in order.
    pub(crate) fn get_at_once(&self, urls: &[String]) -> Vec<Answer> {
        let mut answers = Vec::with_capacity(urls.len());
        for urls in urls.chunks(AT_ONCE) {
            let calls: Vec<_> = urls.iter().map(|url| read(self.client.get(url))).collect();
            answers.extend(self.runtime.block_on(async {
                let calls: Vec<_> = calls.into_iter().map(tokio::spawn).collect();
                let mut answers = Vec::with_capacity(calls.len());
                for call in calls {
                    answers.push(call.await.unwrap().unwrap());
                }
                answers
            }));
        }
        answers
    }

    fn send(&self, request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
        if self.held {
            self.runtime.block_on(read(request))
        } else {
            self.runtime.block_on(plain(request)).map(|(_, _, answer)| answer)
        }
    }
}

async fn read(request: reqwest::RequestBuilder) -> Result<Answer, reqwest::Error> {
    let (call, media, answer) = plain(request).await?;
    contract::check(&call.0, &call.1, &media, &answer);
    Ok(answer)
}

/// Method and path of the call, media type of the answer, and the answer.
async fn plain(
    request: reqwest::RequestBuilder,
) -> Result<((String, String), String, Answer), reqwest::Error> {
    let (client, request) = request.build_split();
    let request = request?;
    let call = (request.method().to_string(), request.url().path().to_owned());
    let answer = client.execute(request).await?;
    let media = answer.headers().get("content-type").and_then(|media| media.to_str().ok());
    let media = media.unwrap_or_default().to_owned();
    let answer = Answer { status: answer.status().as_u16(), text: answer.text().await? };
    Ok((call, media, answer))
}
