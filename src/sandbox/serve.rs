//! The sandbox over HTTP: WeChat's paths, and `/_sandbox/` for whoever tests against it.

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value as Json, json};
use tokio::net::{TcpListener, TcpStream};

use super::world::{Delivery, World};
use super::{Faults, Options};
use crate::time::{Clock, SystemClock, Timestamp};

/// Largest request body.
const BODY_BYTES: usize = 1024 * 1024;

/// A connection that closes without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the answer is lost")]
struct Lost;

type Shared = Arc<Mutex<World>>;

/// Serves until `shutdown` resolves.
pub async fn serve(listener: TcpListener, options: Options, shutdown: impl Future<Output = ()>) {
    let world: Shared = Arc::new(Mutex::new(World::new(&options)));
    tokio::pin!(shutdown);
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    tokio::spawn(connection(stream, world.clone()));
                }
                Err(error) => {
                    // Out of descriptors: the next connection that closes makes room.
                    tracing::warn!(%error, "accepting");
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
            },
            () = &mut shutdown => return,
        }
    }
}

async fn connection(stream: TcpStream, world: Shared) {
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| handle(world.clone(), request));
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(90))
        .serve_connection(TokioIo::new(stream), service)
        .await;
    // A lost answer ends here on purpose, a client that went away by its own choice.
    drop(served);
}

async fn handle(world: Shared, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Lost> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, BODY_BYTES).collect().await else { return Err(Lost) };
    let body = body.to_bytes();
    let query: Vec<(String, String)> = head.uri.query().map(parse_query).unwrap_or_default();
    let path = head.uri.path();
    let is_send = path == "/cgi-bin/message/template/send";
    let latency = {
        let world = lock(&world);
        if path.starts_with("/_sandbox") { 0 } else { world.faults.latency_ms }
    };
    let (status, answer, delivery) = {
        let mut world = lock(&world);
        let now = SystemClock.now().plus(world.ahead_ms);
        if is_send && head.method == Method::POST {
            let (answer, delivery) = world.send(now, field(&query, "access_token"), &body);
            (StatusCode::OK, answer, delivery)
        } else {
            let (status, answer) = route(&mut world, now, &head.method, path, &query, &body);
            (status, answer, Delivery::Answer)
        }
    };
    let wait = match delivery {
        Delivery::Late(ms) => latency + ms,
        Delivery::Answer | Delivery::Close => latency,
    };
    if wait > 0 {
        tokio::time::sleep(Duration::from_millis(wait)).await;
    }
    if delivery == Delivery::Close {
        return Err(Lost);
    }
    let text = serde_json::to_vec(&answer).unwrap_or_default();
    let mut response = Response::new(Full::new(Bytes::from(text)));
    *response.status_mut() = status;
    Ok(response)
}

fn lock(world: &Shared) -> std::sync::MutexGuard<'_, World> {
    world.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn route(
    world: &mut World,
    now: Timestamp,
    method: &Method,
    path: &str,
    query: &[(String, String)],
    body: &[u8],
) -> (StatusCode, Json) {
    let json: Result<Json, _> = serde_json::from_slice(body);
    let body = json.unwrap_or(Json::Null);
    let ok = |answer| (StatusCode::OK, answer);
    match (method.as_str(), path) {
        ("POST", "/cgi-bin/stable_token") => ok(world.stable_token(now, &body)),
        ("GET", "/cgi-bin/user/get") => {
            let after = field(query, "next_openid").unwrap_or_default();
            ok(world.followers(now, field(query, "access_token"), after))
        }
        ("GET", "/_sandbox/ledger") => ok(world.summary(field(query, "appid"))),
        ("GET", "/_sandbox/about") => ok(world.about()),
        ("GET", "/_sandbox/messages") => {
            let number = |name, default| {
                field(query, name).and_then(|text| text.parse().ok()).unwrap_or(default)
            };
            let appid = field(query, "appid").unwrap_or_default();
            found(world.messages(appid, number("from", 0), number("limit", 1000).min(10_000)))
        }
        ("GET", "/_sandbox/seen") => {
            let openid = field(query, "openid").unwrap_or_default();
            ok(json!({ "openid": openid, "messages": world.seen_by(openid) }))
        }
        ("POST", "/_sandbox/faults") => match serde_json::from_value::<Faults>(body) {
            Ok(faults) => {
                world.faults = faults;
                ok(json!({ "faults": faults }))
            }
            Err(error) => (StatusCode::UNPROCESSABLE_ENTITY, json!({ "detail": error.to_string() })),
        },
        ("POST", "/_sandbox/clock") => {
            world.ahead_ms += body.get("advance_ms").and_then(Json::as_u64).unwrap_or(0);
            ok(json!({ "ahead_ms": world.ahead_ms }))
        }
        ("POST", "/_sandbox/tokens/invalidate") => {
            let appid = body.get("appid").and_then(Json::as_str).unwrap_or_default();
            found(world.invalidate(appid).then(|| json!({ "invalidated": appid })))
        }
        ("POST", "/_sandbox/followers") => {
            found(world.change_followers(&body).then(|| json!({ "changed": true })))
        }
        (_, "/cgi-bin/stable_token" | "/cgi-bin/message/template/send") => {
            ok(json!({ "errcode": 43002, "errmsg": "require POST method" }))
        }
        (_, path) if path.starts_with("/_sandbox") => (
            StatusCode::NOT_FOUND,
            json!({ "detail": "ledger, messages, seen, about, faults, clock, tokens/invalidate, followers" }),
        ),
        _ => ok(json!({ "errcode": 40066, "errmsg": "invalid url" })),
    }
}

fn found(answer: Option<Json>) -> (StatusCode, Json) {
    match answer {
        Some(answer) => (StatusCode::OK, answer),
        None => (StatusCode::NOT_FOUND, json!({ "detail": "there is no account with this appid" })),
    }
}

fn field<'a>(query: &'a [(String, String)], name: &str) -> Option<&'a str> {
    query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
}

fn parse_query(text: &str) -> Vec<(String, String)> {
    let decode = |part: &str| {
        percent_encoding::percent_decode_str(part).decode_utf8_lossy().into_owned()
    };
    let pairs = text.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")));
    pairs.map(|(key, value)| (decode(key), decode(value))).collect()
}

