//! Connections: accepting them, bounding them, ending them.

use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper::header::{CACHE_CONTROL, CONNECTION, EXPECT, HeaderName, HeaderValue};
use hyper::http::request::Parts;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulShutdown;
use ipnet::IpNet;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

use super::body::Upload;
use super::budget::Share;
use super::call::{Answer, Call, Verb};
use super::linger::Lingering;
use super::places::{Guest, Kind, Places};
use super::port::Port;
use super::problem::Problem;
use super::respond::{self, Body};
use super::route::{Time, Who};
use super::{Ports, Serves, Settings, guard, legacy};
use super::{openapi, routes};

/// Most headers of a request.
const HEADERS: usize = 64;
/// Largest head of a request, and the largest piece of a body that is read at once. Each connection
/// may fill one of these before anybody has looked at it.
const BUFFER_BYTES: usize = 32 * 1024;
/// How long a client may leave what was sent to it unread.
const UNREAD_MS: u32 = 30_000;
/// Pause after a failed accept: when the process is out of file descriptors, trying again at once
/// would spin until one is free.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is read of a body after an early answer, to keep the connection, and for how long.
const LEFT_BYTES: usize = 64 * 1024;
const LEFT_WITHIN: Duration = Duration::from_millis(200);

const NOSNIFF: HeaderName = HeaderName::from_static("x-content-type-options");

/// How long a connection may take for the head of its first request, and one on a kept place.
const FIRST_HEAD: Duration = Duration::from_secs(5);
const KEPT_HEAD: Duration = Duration::from_secs(2);

/// What a connection too many is told.
fn too_many() -> Vec<u8> {
    let document = serde_json::json!({
        "type": "urn:duebox:problem:too_many_connections",
        "title": "Service Unavailable",
        "status": 503,
        "code": "too_many_connections",
        "detail": FULL,
    });
    let body = document.to_string();
    let length = body.len();
    format!(
        "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n\
         content-type: application/problem+json\r\ncontent-length: {length}\r\n\
         connection: close\r\n\r\n{body}"
    )
    .into_bytes()
}

const FULL: &str = "all connections are taken: try again soon";

/// Serves until `shutdown` resolves, then lets calls under way finish for
/// [`Settings::drain_timeout`]. When it returns, no connection is left and the mailbox is dropped.
pub async fn serve(
    listener: TcpListener,
    ports: Ports,
    settings: Settings,
    shutdown: impl Future<Output = ()>,
) {
    let places = Places::new(settings.max_connections);
    let drain = settings.drain_timeout;
    let description = openapi::text(settings.token.is_some());
    let port = Arc::new(Port::new(ports, settings, description));
    let graceful = GracefulShutdown::new();
    let mut connections = JoinSet::new();
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            () = &mut shutdown => break,
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => match places.take() {
                    Some(place) => {
                        if place.kind == Kind::Kept {
                            places.tell(&port.full, &*port.ports.status);
                        }
                        let served = connection(&port, stream, &graceful, place.kind);
                        connections.spawn(async move {
                            served.await;
                            drop(place);
                        });
                    }
                    None => {
                        places.tell(&port.full, &*port.ports.status);
                        drop(stream.try_write(&too_many()));
                    }
                },
                Err(error) => {
                    tracing::warn!(event = "admin.accept_failed", %error);
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }
    drop(listener);
    if tokio::time::timeout(drain, graceful.shutdown()).await.is_err() {
        tracing::warn!(event = "admin.cut_off", connections = connections.len());
    }
    connections.shutdown().await;
}

/// One connection, to be spawned.
fn connection(
    port: &Arc<Port>,
    stream: TcpStream,
    graceful: &GracefulShutdown,
    kind: Kind,
) -> impl Future<Output = ()> + use<> {
    // Neither is vital: answers are written whole, and a silent client is only kept longer.
    let _ = stream.set_nodelay(true);
    let _ = rustix::net::sockopt::set_tcp_user_timeout(&stream, UNREAD_MS);
    let local = stream.local_addr().map_or(IpAddr::from([127, 0, 0, 1]), |local| local.ip());
    let peer = stream.peer_addr().map_or(IpAddr::from([0, 0, 0, 0]), |peer| peer.ip());
    // To say why, when the connection on a kept place is ended.
    let spare = if kind == Kind::Kept { rustix::io::dup(&stream).ok() } else { None };
    let served = Arc::clone(port);
    let guest = Arc::new(Guest { kind, spoke: AtomicBool::new(false) });
    let seen = Arc::clone(&guest);
    let service = service_fn(move |request| {
        seen.spoke.store(true, Ordering::Relaxed);
        answer(Arc::clone(&served), local, peer, seen.kind, request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        // On a kept place it is ended here, with a word.
        .header_read_timeout(match kind {
            Kind::Ordinary => port.settings.header_timeout,
            Kind::Kept => 2 * KEPT_HEAD,
        })
        .max_headers(HEADERS)
        .max_buf_size(BUFFER_BYTES)
        .serve_connection(TokioIo::new(Lingering::new(stream)), service);
    let connection = graceful.watch(connection);
    let first = if kind == Kind::Kept { KEPT_HEAD } else { FIRST_HEAD };
    async move {
        tokio::pin!(connection);
        let begun = tokio::time::timeout(first, &mut connection).await;
        let ended = match begun {
            Ok(ended) => ended,
            // Who says nothing keeps no place from others.
            Err(_) if !guest.spoke.load(Ordering::Relaxed) => {
                if let Some(spare) = spare {
                    let _ = rustix::io::write(&spare, &too_many());
                }
                return;
            }
            Err(_) => connection.await,
        };
        if let Err(error) = ended {
            tracing::debug!(event = "admin.connection_ended", %error);
        }
    }
}

async fn answer(
    port: Arc<Port>,
    local: IpAddr,
    peer: IpAddr,
    kind: Kind,
    request: Request<Incoming>,
) -> Result<Response<Body>, Infallible> {
    let (head, mut body) = request.into_parts();
    let began = Instant::now();
    let told = audited(&head);
    // Whoever waits for "100 Continue" has sent nothing, and must not be asked to.
    let waits = head.headers.contains_key(EXPECT);
    let mut share = port.budget.share();
    let answered = match only_for_operators(&port, kind, &head) {
        Ok(()) => match port.settings.serves.clone() {
            Serves::OldPaths(allowed) => {
                old(&port, &allowed, peer, head, &mut body, &mut share).await
            }
            Serves::Everything | Serves::Callbacks => {
                handle(&port, local, head, &mut body, &mut share).await
            }
        },
        Err(full) => Err(full),
    };
    let mut response = answered.unwrap_or_else(Problem::into_response);
    if let Some(told) = told {
        audit(&told, peer, response.status(), began);
    }
    if response.status() == StatusCode::UNAUTHORIZED {
        port.strangers.refused(peer).await;
    }
    if !is_taken(&mut body, waits).await || kind == Kind::Kept {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    let headers = response.headers_mut();
    headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(NOSNIFF, HeaderValue::from_static("nosniff"));
    port.count(response.status());
    Ok(respond::counted(response, share))
}

async fn handle(
    port: &Port,
    local: IpAddr,
    head: Parts,
    body: &mut Incoming,
    share: &mut Share,
) -> Answer {
    let found = routes::find(&head.method, head.uri.path());
    // WeChat calls under the name on the account's page, and its signature is its token.
    let of_provider = found.as_ref().is_ok_and(|(route, _)| route.who == Who::Provider);
    if matches!(port.settings.serves, Serves::Callbacks) && !of_provider {
        let detail = "here is only WeChat's own address, /callback/{tenant}";
        return Err(Problem::new(404, "not_found", detail));
    }
    if !of_provider {
        guard::check_site(&port.settings, local, &head)?;
    }
    if !of_provider && !found.as_ref().is_ok_and(|(route, _)| route.is_open()) {
        guard::check_token(&port.settings, &head.headers)?;
    }
    let (route, ids) = found?;
    if !route.is_open() {
        port.mailbox()?;
    }
    if route.who == Who::OldClients {
        guard::check_referer(&head.headers)?;
    }
    let is_known = local.is_loopback() || guard::check_token(&port.settings, &head.headers).is_ok();
    share.grow(route.answer_bytes()).await?;
    let body = Upload { body, share, most: route.body_bytes };
    let call = Call { head, body, ids, takes: route.query, is_known };
    if route.time == Time::Long {
        return routes::dispatch(port, route, call).await;
    }
    match tokio::time::timeout(port.settings.request_timeout, routes::dispatch(port, route, call))
        .await
    {
        Ok(answer) => answer,
        Err(_) => Err(Problem::new(504, "timeout", "the call took too long and was given up")),
    }
}

/// A call on the port of the old paths: only these, and everything in their envelope.
async fn old(
    port: &Port,
    allowed: &[IpNet],
    peer: IpAddr,
    head: Parts,
    body: &mut Incoming,
    share: &mut Share,
) -> Answer {
    let called = async {
        guard::check_network(allowed, peer)?;
        guard::check_referer(&head.headers)?;
        let (route, ids) = routes::find(&head.method, head.uri.path())?;
        if route.who != Who::OldClients {
            return Err(Problem::new(
                404,
                "not_found",
                "here are only the paths under /api/v1/task",
            ));
        }
        port.mailbox()?;
        share.grow(route.answer_bytes()).await?;
        let body = Upload { body, share, most: route.body_bytes };
        let call = Call { head, body, ids, takes: route.query, is_known: false };
        let answered = routes::dispatch(port, route, call);
        match tokio::time::timeout(port.settings.request_timeout, answered).await {
            Ok(answer) => answer,
            Err(_) => Err(Problem::new(504, "timeout", "the call took too long and was given up")),
        }
    };
    Ok(called.await.unwrap_or_else(legacy::refused))
}

/// Reads what is left of a body if it is little and comes at once, so that the connection can be
/// kept. False when it cannot.
async fn is_taken(body: &mut Incoming, waits: bool) -> bool {
    if body.is_end_stream() {
        return true;
    }
    let rest = async {
        let mut bytes = 0;
        loop {
            match body.frame().await {
                // A body in chunks does not know its end before it has been there.
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => bytes += frame.data_ref().map_or(0, hyper::body::Bytes::len),
            }
            if bytes > LEFT_BYTES {
                return false;
            }
        }
    };
    !waits && tokio::time::timeout(LEFT_WITHIN, rest).await.unwrap_or(false)
}

/// Refuses on a kept place what is neither a probe nor an operator's call.
fn only_for_operators(port: &Port, kind: Kind, head: &Parts) -> Result<(), Problem> {
    if kind == Kind::Ordinary {
        return Ok(());
    }
    let found = routes::find(&head.method, head.uri.path());
    let (open, waits) = match &found {
        Ok((route, _)) => (route.is_open(), route.time == Time::WaitsForWork),
        Err(_) => (false, false),
    };
    let known = !waits && guard::check_token(&port.settings, &head.headers).is_ok();
    if open || known {
        return Ok(());
    }
    Err(Problem::new(503, "too_many_connections", FULL))
}

/// What is said of a call in the process's log when it was answered: what operators do, and not the
/// mass of task calls.
struct Audited {
    method: &'static str,
    path: String,
}

fn audited(head: &Parts) -> Option<Audited> {
    let (route, _) = routes::find(&head.method, head.uri.path()).ok()?;
    let in_masses = route.path.starts_with("/v1/tasks") || route.who == Who::Provider;
    if route.method == Verb::Get || in_masses {
        return None;
    }
    let path = head.uri.path_and_query().map_or("", |path| path.as_str());
    Some(Audited { method: route.method.name(), path: crate::text::cut(path, 200).to_owned() })
}

fn audit(call: &Audited, peer: IpAddr, status: StatusCode, began: Instant) {
    let ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
    tracing::info!(
        event = "admin.call", method = call.method, path = call.path, status = status.as_u16(),
        %peer, ms, "{} {} was answered {}", call.method, call.path, status.as_u16()
    );
}
