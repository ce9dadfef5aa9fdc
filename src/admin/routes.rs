//! Routes: finding the one that fits a request, and doing what it says.

use hyper::Method;
use percent_encoding::percent_decode_str;

use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::route::Route;
use super::table::ROUTES;

/// The route of a request and the variable parts of its path.
pub(super) fn find(method: &Method, path: &str) -> Result<(&'static Route, Vec<String>), Problem> {
    let mut allow: Vec<&str> = Vec::new();
    // A path of its own is no id: `claim` is no task.
    let own = ROUTES.iter().any(|route| route.path == path);
    for route in ROUTES {
        let Some(ids) = fits(route.path, path) else { continue };
        if own && route.path != path {
            continue;
        }
        if route.takes_method(method) {
            return Ok((route, ids));
        }
        allow.push(route.method.name());
    }
    if allow.is_empty() {
        let path = crate::text::cut(path, 120);
        return Err(Problem::not_found(format!("there is nothing at {path}; see /openapi.json")));
    }
    let allow = allow.join(", ");
    let detail = format!("{method} is not for this path; allowed: {allow}");
    let problem = Problem::new(405, "method_not_allowed", detail);
    Err(Problem { allow: Some(allow), ..problem })
}

fn fits(pattern: &str, path: &str) -> Option<Vec<String>> {
    let (mut wanted, mut given) = (pattern.split('/'), path.split('/'));
    let mut ids = Vec::new();
    loop {
        match (wanted.next(), given.next()) {
            (None, None) => return Some(ids),
            (Some(wanted), Some(given)) if wanted.starts_with('{') && !given.is_empty() => {
                ids.push(percent_decode_str(given).decode_utf8().ok()?.into_owned());
            }
            (Some(wanted), Some(given)) if wanted == given => {}
            _ => return None,
        }
    }
}

/// Does what a request asks for.
pub(super) async fn dispatch(port: &Port, route: &Route, call: Call<'_>) -> Answer {
    // Who asks for a `?dry_run=true` that there is not must not get the real thing.
    if route.query.is_empty() && route.path.starts_with("/v1/") {
        call.query().finish()?;
    }
    (route.handler)(port, call).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: Method, path: &str) -> Result<&'static str, (u16, Option<String>)> {
        find(&method, path)
            .map(|(route, _)| route.path)
            .map_err(|problem| (problem.status, problem.allow))
    }

    #[test]
    fn paths_find_their_routes() {
        assert_eq!(at(Method::POST, "/v1/tasks/claim"), Ok("/v1/tasks/claim"));
        let post = || Some("POST".to_owned());
        assert_eq!(at(Method::GET, "/v1/tasks/claim"), Err((405, post())));
        assert_eq!(at(Method::DELETE, "/v1/tasks/settle"), Err((405, post())));
        assert_eq!(at(Method::GET, "/api/v1/task/add"), Err((405, post())));
        assert_eq!(at(Method::HEAD, "/v1/tasks"), Ok("/v1/tasks"));
        assert_eq!(at(Method::GET, "/api/v1/task/cancel/7"), Ok("/api/v1/task/cancel/{taskId}"));
        assert_eq!(at(Method::GET, "/api/v1/task/1001/1"), Ok("/api/v1/task/{type}/{priority}"));
        assert_eq!(at(Method::GET, "/"), Ok("/"));
        assert_eq!(at(Method::HEAD, "/api/v1/task/7").map_err(|it| it.0), Err(405));
        let allow = Some("GET, DELETE, PATCH".to_owned());
        assert_eq!(at(Method::PUT, "/v1/tasks/7"), Err((405, allow)));
        for nowhere in ["/v2", "/v1/tasks/", "//v1/tasks", "/v1/notices//send", "/callback/"] {
            assert_eq!(at(Method::GET, nowhere), Err((404, None)), "{nowhere}");
        }
    }
}
