//! A small HTTP server on a free port of the loopback interface, for tests.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::{HeaderMap, Method, Request, Response};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;

/// One request as it came in.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// Its method.
    pub(crate) method: Method,
    /// Path and query.
    pub(crate) target: String,
    /// Its headers.
    pub(crate) headers: HeaderMap,
    /// Its body, text.
    pub(crate) body: String,
}

impl Seen {
    /// A header's text; empty without one.
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or(""))
    }
}

/// What the server answers.
#[derive(Clone, Debug, Default)]
pub(crate) struct Answer {
    /// The status.
    pub(crate) status: u16,
    /// A header, if any.
    pub(crate) header: Option<(&'static str, String)>,
    /// The body.
    pub(crate) body: String,
}

impl Answer {
    /// An answer with a body.
    pub(crate) fn new(status: u16, body: impl Into<String>) -> Self {
        Self { status, header: None, body: body.into() }
    }

    /// The same with a header.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.header = Some((name, value.into()));
        self
    }
}

/// The running server. It ends with the test's runtime.
pub(crate) struct Loopback {
    /// `http://127.0.0.1:PORT`.
    pub(crate) base: String,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Loopback {
    /// Starts a server that answers the n-th request, from 0, by `answer`.
    pub(crate) async fn start<F>(answer: F) -> Self
    where
        F: Fn(usize, &Seen) -> Answer + Send + Sync + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let base = format!("http://{}", listener.local_addr().expect("an address"));
        let seen = Arc::new(Mutex::new(Vec::new()));
        let served = (Arc::clone(&seen), Arc::new(answer));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (seen, answer) = served.clone();
                tokio::spawn(async move {
                    let service = hyper::service::service_fn(move |request| {
                        respond(request, Arc::clone(&seen), Arc::clone(&answer))
                    });
                    // A client may hang up at any time; the test sees its side of it.
                    let _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self { base, seen }
    }

    /// The requests so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().expect("no test panicked here").clone()
    }
}

async fn respond<F>(
    request: Request<Incoming>,
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Arc<F>,
) -> Result<Response<Full<Bytes>>, Infallible>
where
    F: Fn(usize, &Seen) -> Answer,
{
    let (head, body) = request.into_parts();
    let body = body.collect().await.expect("a whole body").to_bytes();
    let one = Seen {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8(body.to_vec()).expect("a text"),
    };
    let number = {
        let mut seen = seen.lock().expect("no test panicked here");
        seen.push(one.clone());
        seen.len() - 1
    };
    let answer = answer(number, &one);
    let mut response = Response::builder().status(answer.status);
    if let Some((name, value)) = answer.header {
        response = response.header(name, value);
    }
    Ok(response.body(Full::new(answer.body.into())).expect("a response"))
}
