//! HTTP for the sandbox: connections, bodies, delays, and connections closed without an answer.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinSet;

use super::answer::{Outcome, Reply};
use super::events::Event;
use super::world::Sandbox;
use super::{Options, ServeSummary, api, control, posts};

/// Connections at once; one more waits to be accepted.
const CONNECTIONS: usize = 4_096;
/// Largest body of a call. The ledger relies on it to be no larger than a piece of its text.
const BODY_BYTES: usize = 1 << 20;
/// Wait after an accept that failed, as it does while descriptors are used up.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Why a connection ends without an answer. To hyper an error of the service is just that.
#[derive(Debug, thiserror::Error)]
#[error("the sandbox closes the connection without an answer, as it was told to")]
struct HangUp;

/// Serves a sandbox until `shutdown` resolves; open connections are then cut.
///
/// The summary tells what users saw up to then. Accounts are at most 10,000.
pub async fn serve(
    listener: TcpListener,
    options: Options,
    shutdown: impl Future<Output = ()>,
) -> ServeSummary {
    let sandbox = Arc::new(Sandbox::new(options));
    let mut shutdown = pin!(shutdown);
    let mut connections = JoinSet::new();
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let (told, telling) = mpsc::channel(posts::WAITING);
    let telling = tokio::spawn(posts::post_all(Arc::clone(&sandbox), telling));
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            (stream, slot) = accept(&listener, &slots) => {
                let telling = told.clone();
                connections.spawn(connection(Arc::clone(&sandbox), stream, slot, telling));
            }
            Some(_) = connections.join_next() => {}
        }
    }
    connections.shutdown().await;
    telling.abort();
    ServeSummary::of(&control::total(&sandbox.world()))
}

async fn accept(
    listener: &TcpListener,
    slots: &Arc<Semaphore>,
) -> (TcpStream, Option<OwnedSemaphorePermit>) {
    // The semaphore is never closed, so there is always a permit.
    let slot = Arc::clone(slots).acquire_owned().await.ok();
    loop {
        let accepted: std::io::Result<(TcpStream, SocketAddr)> = listener.accept().await;
        match accepted {
            Ok((stream, _)) => return (stream, slot),
            Err(error) => {
                tracing::warn!(%error, "the sandbox could not accept a connection");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn connection(
    sandbox: Arc<Sandbox>,
    stream: TcpStream,
    slot: Option<OwnedSemaphorePermit>,
    telling: mpsc::Sender<Event>,
) {
    // Answers are small and waited for.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request| handle(Arc::clone(&sandbox), telling.clone(), request));
    let served = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection to the sandbox ended");
    }
    drop(slot);
}

async fn handle(
    sandbox: Arc<Sandbox>,
    telling: mpsc::Sender<Event>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, HangUp> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else {
        return Ok(response(StatusCode::PAYLOAD_TOO_LARGE, String::new()));
    };
    let body = body.to_bytes();
    let request = api::Request {
        method: &head.method,
        path: head.uri.path(),
        query: head.uri.query().unwrap_or_default(),
        body: &body,
    };
    if request.path.starts_with(control::PREFIX) {
        let mut events = Vec::new();
        let (status, value) = control::answer(&sandbox, request, &mut events);
        for event in events {
            let _ = telling.send(event).await;
        }
        return Ok(response(status, value.to_string()));
    }
    let latency_ms = sandbox.world().faults.latency_ms;
    pause(latency_ms / 2).await;
    let Outcome { reply, event } = api::answer(&sandbox, request);
    match event {
        Some((event, true)) => posts::post_first(&sandbox, &event).await,
        Some((event, false)) => {
            // A full channel makes the call wait; one that is closed ends with the process.
            let _ = telling.send(event).await;
        }
        None => {}
    }
    let rest_ms = latency_ms.div_ceil(2);
    match reply {
        Reply::Body { json, delay_ms } => {
            pause(rest_ms + delay_ms).await;
            Ok(response(StatusCode::OK, json))
        }
        Reply::Nothing => {
            pause(rest_ms).await;
            Err(HangUp)
        }
    }
}

async fn pause(ms: u64) {
    if ms > 0 {
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }
}

fn response(status: StatusCode, json: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(json)));
    *response.status_mut() = status;
    let json = hyper::header::HeaderValue::from_static("application/json; encoding=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}
