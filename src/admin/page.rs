//! The page to look at, and the document that describes the port.

use hyper::StatusCode;
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderValue};

use super::call::{Answer, Call};
use super::port::Port;
use super::respond;

const PAGE: &str = include_str!("page.html");

/// The page may run its own script and talk to its own port, and nothing else.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline'; style-src 'unsafe-inline'; \
                      connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

/// `GET /`.
pub(super) async fn page(_: &Port, _: Call<'_>) -> Answer {
    let mut response = respond::text(StatusCode::OK, "text/html; charset=utf-8", PAGE);
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    Ok(response)
}

/// `GET /openapi.json`.
pub(super) async fn description(port: &Port, _: Call<'_>) -> Answer {
    Ok(respond::text(StatusCode::OK, respond::JSON, port.description))
}
