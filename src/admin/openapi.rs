//! The OpenAPI document, made from the route table, and the page.

use hyper::{Response, StatusCode};

use super::respond::{self, Body};

/// `GET /openapi.json`.
pub(super) fn respond() -> Response<Body> {
    respond::ok(&serde_json::json!({}))
}

/// `GET /`.
pub(super) fn page() -> Response<Body> {
    respond::text(StatusCode::OK, "text/html; charset=utf-8", "")
}
