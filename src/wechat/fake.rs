//! A provider for tests: a loopback server whose every answer is scripted.

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Body, Bytes, Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;

use super::{Account, TokenFrom};
use crate::secret::Secret;

/// What the server saw.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    pub(super) path: String,
    pub(super) query: String,
    pub(super) headers: hyper::HeaderMap,
    pub(super) body: String,
}

/// What the server does.
pub(super) enum Reply {
    /// Status and body.
    Text(u16, String),
    /// Closes the connection without an answer.
    Close,
    /// Promises a body and closes in the middle of it.
    Half,
    /// Never answers.
    Hang,
    /// Answers when the gate is open.
    After(watch::Receiver<bool>, Box<Self>),
}

impl Reply {
    pub(super) fn json(text: &str) -> Self {
        Self::Text(200, text.to_owned())
    }
}

/// A running server.
pub(super) struct Fake {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    count: watch::Receiver<usize>,
}

impl Fake {
    /// Starts a server on a free port. It ends with the test's runtime.
    pub(super) async fn start(script: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (counter, count) = watch::channel(0);
        let shared = Arc::new((script, Arc::clone(&seen), counter));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                let service = service_fn(move |request: hyper::Request<Incoming>| {
                    let shared = Arc::clone(&shared);
                    async move {
                        let (parts, body) = request.into_parts();
                        let body = body.collect().await.map_err(std::io::Error::other)?.to_bytes();
                        let request = Seen {
                            path: parts.uri.path().to_owned(),
                            query: parts.uri.query().unwrap_or_default().to_owned(),
                            headers: parts.headers,
                            body: String::from_utf8_lossy(&body).into_owned(),
                        };
                        let reply = (shared.0)(&request);
                        shared.1.lock().expect("no test panics here").push(request);
                        shared.2.send_modify(|count| *count += 1);
                        answer(reply).await
                    }
                });
                let connection = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service);
                tokio::spawn(connection);
            }
        });
        Self { address, seen, count }
    }

    pub(super) fn account(&self) -> Account {
        Account {
            tenant: "a".into(),
            appid: "wx0000000000000001".into(),
            token: TokenFrom::Provider(Secret::new("canary-secret")),
            base_url: format!("http://{}", self.address),
        }
    }

    /// Requests for a path so far.
    pub(super) fn count(&self, path: &str) -> usize {
        self.all().iter().filter(|seen| seen.path == path).count()
    }

    pub(super) fn all(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panics here").clone()
    }

    /// Waits until so many requests have come in.
    pub(super) async fn seen(&self, requests: usize) {
        let mut count = self.count.clone();
        let _ = count.wait_for(|count| *count >= requests).await;
    }
}

async fn answer(mut reply: Reply) -> Result<hyper::Response<Script>, std::io::Error> {
    while let Reply::After(mut gate, then) = reply {
        let _ = gate.wait_for(|open| *open).await;
        reply = *then;
    }
    let response = hyper::Response::builder();
    let response = match reply {
        Reply::Text(status, text) => response
            .status(status)
            .header("content-type", "text/plain")
            .body(Script::Whole(Some(Bytes::from(text)))),
        Reply::Half => response.header("content-length", 100).body(Script::Begun(false)),
        Reply::Close => return Err(std::io::Error::other("closed by the script")),
        Reply::Hang | Reply::After(..) => std::future::pending::<Result<_, _>>().await,
    };
    Ok(response.expect("a proper response"))
}

/// A body that is whole, or ends too soon.
enum Script {
    Whole(Option<Bytes>),
    Begun(bool),
}

impl Body for Script {
    type Data = Bytes;
    type Error = std::io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, std::io::Error>>> {
        Poll::Ready(match self.get_mut() {
            Self::Whole(bytes) => bytes.take().map(|bytes| Ok(Frame::data(bytes))),
            Self::Begun(begun @ false) => {
                *begun = true;
                Some(Ok(Frame::data(Bytes::from_static(b"{\"errcode\":0,"))))
            }
            Self::Begun(true) => Some(Err(std::io::Error::other("closed by the script"))),
        })
    }
}
