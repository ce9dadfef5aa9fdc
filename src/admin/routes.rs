//! Routes: finding the one that fits a request, and doing what it says.

use hyper::http::request::Parts;
use hyper::{Method, Response};
use percent_encoding::percent_decode_str;

use super::body::Upload;
use super::legacy::{self, Old};
use super::look::{self, Sight};
use super::notices;
use super::port::Port;
use super::problem::Problem;
use super::query::Params;
use super::respond::Body;
use super::settle::{self, Outcome};
use super::table::ROUTES;
use super::{attention, claim, letters, log, openapi, recipients, tasks};
use crate::engine::command::Act;
use crate::limits;

/// What a handler gives.
pub(super) type Answer = Result<Response<Body>, Problem>;

/// A request on its way to a handler.
pub(super) struct Call<'a> {
    pub(super) head: Parts,
    pub(super) body: Upload<'a>,
    /// The variable parts of the path.
    pub(super) ids: Vec<String>,
    pub(super) route: &'static Route,
    /// Whether the caller may see names: it is on this machine, or has the token where one is set.
    pub(super) is_known: bool,
}

impl Call<'_> {
    /// The n-th variable part of the path.
    pub(super) fn id(&self, at: usize) -> &str {
        self.ids.get(at).map_or("", String::as_str)
    }

    pub(super) fn query(&self) -> Params {
        Params::new(self.head.uri.query(), self.route.query)
    }
}

/// Who does the work of a route.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Handler {
    Submit,
    Recipients,
    Send,
    Pause,
    Resume,
    Cancel,
    Resend,
    Resolve,
    Test,
    AddTasks,
    Claim,
    Settle(Outcome),
    SettleMany,
    CancelTask,
    ChangeTask,
    ResumeTenant,
    ForgetLetter,
    PauseQueue,
    DropQueue,
    ResumeQueue,
    Redrive,
    Run,
    Backup,
    Release,
    Attention,
    Log,
    Show(Sight),
    Health,
    Ready,
    Metrics,
    OpenApi,
    Page,
    Old(Old),
}

/// The methods of the table. `hyper`'s own type cannot stand in a constant that is copied.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Patch,
    Delete,
}

impl Verb {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Post => "POST",
            Self::Patch => "PATCH",
            Self::Delete => "DELETE",
        }
    }
}

/// One line of the table.
#[derive(Clone, Copy)]
pub(super) struct Route {
    pub(super) method: Verb,
    pub(super) path: &'static str,
    pub(super) handler: Handler,
    pub(super) summary: &'static str,
    /// The parameters it takes.
    pub(super) query: &'static [&'static str],
    /// The schema of its body; empty without one.
    pub(super) takes: &'static str,
    /// The schema of its answer, and the status of success.
    pub(super) gives: (u16, &'static str),
}

impl Route {
    /// Whether it is answered without a token and also by a standby. The page holds no data: its
    /// script asks for the token.
    pub(super) fn is_open(&self) -> bool {
        matches!(self.handler, Handler::Health | Handler::Ready | Handler::Metrics | Handler::Page)
    }

    /// Whether its answer may wait for work.
    pub(super) fn may_wait(&self) -> bool {
        matches!(self.handler, Handler::Claim)
    }

    /// Whether it may take longer than an ordinary call.
    pub(super) fn is_long(&self) -> bool {
        matches!(self.handler, Handler::Recipients | Handler::Backup)
    }

    /// Most bytes of its body, unless that is a stream.
    pub(super) fn body_bytes(&self) -> usize {
        match self.handler {
            Handler::AddTasks | Handler::SettleMany | Handler::Submit => limits::BODY_BYTES,
            Handler::Redrive => limits::IDS_BODY_BYTES,
            Handler::Old(_) => limits::OLD_BODY_BYTES,
            _ => limits::ACT_BODY_BYTES,
        }
    }

    /// Bytes that its answer may have, to be taken from the budget before it is made.
    pub(super) fn answer_bytes(&self) -> usize {
        let is_list = self.query.contains(&"cursor") || self.gives.1.ends_with("Page");
        if is_list { limits::PAGE_BYTES } else { 0 }
    }

    /// HEAD is as good as GET, but not where a GET changes something.
    fn takes_method(&self, method: &Method) -> bool {
        let head = method == Method::HEAD && self.method == Verb::Get;
        self.method.name() == method.as_str() || (head && !matches!(self.handler, Handler::Old(_)))
    }
}

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
pub(super) async fn dispatch(port: &Port, call: Call<'_>) -> Answer {
    // Who asks for a `?dry_run=true` that there is not must not get the real thing.
    if call.route.query.is_empty() && call.route.path.starts_with("/v1/") {
        call.query().finish()?;
    }
    match call.route.handler {
        Handler::AddTasks => tasks::add(port, call).await,
        Handler::Claim => claim::claim(port, call).await,
        Handler::Settle(verb) => settle::one(port, call, verb).await,
        Handler::SettleMany => settle::many(port, call).await,
        Handler::CancelTask => tasks::cancel(port, call).await,
        Handler::ChangeTask => tasks::change(port, call).await,
        Handler::Submit => notices::submit(port, call).await,
        Handler::Recipients => recipients::stream(port, call).await,
        Handler::Send => notices::act(port, call, Act::Send).await,
        Handler::Pause => notices::act(port, call, Act::Pause).await,
        Handler::Resume => notices::act(port, call, Act::Resume).await,
        Handler::Cancel => notices::act(port, call, Act::Cancel).await,
        Handler::Resend => notices::resend(port, call).await,
        Handler::Resolve => notices::resolve(port, call).await,
        Handler::Test => notices::test(port, call).await,
        Handler::ForgetLetter => letters::forget(port, call).await,
        Handler::ResumeTenant => look::resume_tenant(port, call).await,
        Handler::PauseQueue => look::pause(port, call, true).await,
        Handler::DropQueue => look::drop_queue(port, call).await,
        Handler::ResumeQueue => look::pause(port, call, false).await,
        Handler::Redrive => look::redrive(port, call).await,
        Handler::Run => look::run(port, call).await,
        Handler::Backup => look::backup(port, call).await,
        Handler::Release => look::release(port, call).await,
        Handler::Attention => attention::show(port, call).await,
        Handler::Log => log::show(port, call).await,
        Handler::Show(sight) => look::show(port, call, sight).await,
        Handler::Health => look::health(port),
        Handler::Ready => look::readiness(port, &call),
        Handler::Metrics => look::numbers(port, &call).await,
        Handler::OpenApi => Ok(openapi::respond(port)),
        Handler::Page => Ok(openapi::page()),
        Handler::Old(old) => legacy::answer(port, call, old).await,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(method: Method, path: &str) -> Result<Handler, (u16, Option<String>)> {
        find(&method, path)
            .map(|(route, _)| route.handler)
            .map_err(|problem| (problem.status, problem.allow))
    }

    #[test]
    fn paths_find_their_handlers() {
        assert_eq!(at(Method::POST, "/v1/tasks/claim"), Ok(Handler::Claim));
        let post = || Some("POST".to_owned());
        assert_eq!(at(Method::GET, "/v1/tasks/claim"), Err((405, post())));
        assert_eq!(at(Method::DELETE, "/v1/tasks/settle"), Err((405, post())));
        assert_eq!(at(Method::GET, "/api/v1/task/add"), Err((405, post())));
        assert_eq!(at(Method::HEAD, "/v1/tasks"), Ok(Handler::Show(Sight::Tasks)));
        assert_eq!(at(Method::GET, "/api/v1/task/cancel/7"), Ok(Handler::Old(Old::Cancel)));
        assert_eq!(at(Method::GET, "/api/v1/task/1001/1"), Ok(Handler::Old(Old::Poll)));
        assert_eq!(at(Method::GET, "/"), Ok(Handler::Page));
        assert_eq!(at(Method::HEAD, "/api/v1/task/7").map_err(|it| it.0), Err(405));
        let allow = Some("GET, DELETE, PATCH".to_owned());
        assert_eq!(at(Method::PUT, "/v1/tasks/7"), Err((405, allow)));
        for nowhere in ["/v2", "/v1/tasks/", "//v1/tasks", "/v1/notices//send", "/callback/acme"] {
            assert_eq!(at(Method::GET, nowhere), Err((404, None)), "{nowhere}");
        }
    }
}
