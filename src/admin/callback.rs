//! `/callback/{tenant}`: WeChat's own calls. They prove themselves by their signature, not by the
//! port's token, and come under whatever name the account's page has for this place.

use hyper::StatusCode;
use percent_encoding::percent_decode_str;

use super::body;
use super::call::{Answer, Call};
use super::port::Port;
use super::problem::Problem;
use super::respond;
use super::{CallbackParams, CallbackRefused};
use crate::engine::command::Command;
use crate::limits;

const TEXT: &str = "text/plain; charset=utf-8";
/// What WeChat wants to hear; anything else it takes for a failure and calls twice more.
const TAKEN: &str = "success";

/// `GET`: the check that is made when the address is entered.
pub(super) async fn echo(port: &Port, call: Call<'_>) -> Answer {
    let params = params(call.head.uri.query());
    let echo = port.ports.callbacks.echo(call.id(0), &params).map_err(problem)?;
    Ok(respond::text(StatusCode::OK, TEXT, echo))
}

/// `POST`: an event. It is answered when it is on disk.
pub(super) async fn take(port: &Port, call: Call<'_>) -> Answer {
    let params = params(call.head.uri.query());
    let tenant = call.id(0).to_owned();
    let body = body::whole(port, call.body).await?;
    let told = port.ports.callbacks.open(&tenant, &params, &body).map_err(problem)?;
    if let Some(told) = told {
        port.call(Command::TakeTold { tenant, told }).await?;
    }
    Ok(respond::text(StatusCode::OK, TEXT, TAKEN))
}

/// The parameters as WeChat gives them: those that are not known are none of our business.
fn params(query: Option<&str>) -> CallbackParams {
    let pairs = query.unwrap_or("").split('&').take(limits::PARAMETERS);
    let decode = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let mut params = CallbackParams::new();
    for (name, value) in pairs.filter_map(|pair| pair.split_once('=')) {
        params.entry(decode(name)).or_insert_with(|| decode(value));
    }
    params
}

fn problem(refused: CallbackRefused) -> Problem {
    match refused {
        CallbackRefused::NoSuchTenant(detail) => Problem::not_found(detail),
        CallbackRefused::NotWeChat { code, detail } => Problem::new(403, code, detail),
        CallbackRefused::Body(detail) => Problem::new(422, "bad_message", detail),
    }
}
