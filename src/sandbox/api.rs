//! WeChat's side: which path does what.

use hyper::Method;

use super::answer::{Outcome, Refusal, Reply};
use super::query::param;
use super::send::send;
use super::world::Sandbox;
use super::{credentials, manage, users};

/// One call, as it came in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Request<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) body: &'a [u8],
}

/// What a path does. All but the first three need a token.
#[derive(Clone, Copy)]
enum Path {
    Token,
    StableToken,
    Send,
    Templates,
    Followers,
    Profiles,
    Tagged,
    Quota,
    ClearQuota,
}

fn path(path: &str) -> Option<(Path, Method)> {
    Some(match path {
        "/cgi-bin/message/template/send" => (Path::Send, Method::POST),
        "/cgi-bin/token" => (Path::Token, Method::GET),
        "/cgi-bin/stable_token" => (Path::StableToken, Method::POST),
        "/cgi-bin/template/get_all_private_template" => (Path::Templates, Method::GET),
        "/cgi-bin/user/get" => (Path::Followers, Method::GET),
        "/cgi-bin/user/info/batchget" => (Path::Profiles, Method::POST),
        "/cgi-bin/user/tag/get" => (Path::Tagged, Method::POST),
        "/cgi-bin/openapi/quota/get" => (Path::Quota, Method::POST),
        "/cgi-bin/clear_quota" => (Path::ClearQuota, Method::POST),
        _ => return None,
    })
}

/// Answers a call.
pub(super) fn answer(sandbox: &Sandbox, request: Request<'_>) -> Outcome {
    let Some((path, method)) = path(request.path) else {
        return refuse(sandbox, &Refusal::INVALID_URL).into();
    };
    if *request.method != method {
        let get = method == Method::GET;
        let refusal = if get { Refusal::REQUIRE_GET } else { Refusal::REQUIRE_POST };
        return refuse(sandbox, &refusal).into();
    }
    let token = param(request.query, "access_token");
    let token = token.as_deref();
    let body = request.body;
    let result = match path {
        Path::Send => return send(sandbox, token, body),
        Path::Token => credentials::classic(sandbox, request.query),
        Path::StableToken => credentials::stable(sandbox, body),
        Path::Templates => manage::templates(sandbox, token),
        Path::Quota => manage::quota(sandbox, token, body),
        Path::ClearQuota => manage::clear_quota(sandbox, token, body),
        Path::Followers => {
            let after = param(request.query, "next_openid").unwrap_or_default();
            users::followers(sandbox, token, &after)
        }
        Path::Profiles => users::profiles(sandbox, token, body),
        Path::Tagged => users::tagged(sandbox, token, body),
    };
    match result {
        Ok(value) => Reply::now(value.to_string()).into(),
        Err(refusal) => refuse(sandbox, &refusal).into(),
    }
}

fn refuse(sandbox: &Sandbox, refusal: &Refusal) -> Reply {
    let mut world = sandbox.world();
    let now = world.now();
    Reply::now(world.refuse(refusal, now))
}
