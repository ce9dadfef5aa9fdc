//! Answers in WeChat's shape, and the errors that the sandbox gives.

use std::borrow::Cow;

use super::events::Event;

/// An `errcode` and its text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) code: i32,
    pub(super) text: Cow<'static, str>,
}

impl Refusal {
    pub(super) const SYSTEM_ERROR: Self = Self::new(-1, "system error");
    pub(super) const INVALID_CREDENTIAL: Self = Self::new(
        40001,
        "invalid credential, access_token is invalid or not latest, could get access_token by \
         getStableAccessToken",
    );
    pub(super) const INVALID_GRANT_TYPE: Self = Self::new(40002, "invalid grant_type");
    pub(super) const INVALID_OPENID: Self = Self::new(40003, "invalid openid");
    pub(super) const INVALID_APPID: Self = Self::new(40013, "invalid appid");
    pub(super) const INVALID_LIST_SIZE: Self = Self::new(40032, "invalid openid list size");
    pub(super) const TEMPLATE_ID_SIZE: Self = Self::new(40036, "invalid template_id size");
    pub(super) const TEMPLATE_ID: Self = Self::new(40037, "invalid template_id");
    pub(super) const INVALID_URL: Self = Self::new(40066, "invalid url");
    pub(super) const INVALID_SECRET: Self = Self::new(40125, "invalid appsecret");
    pub(super) const REPEATED: Self = Self::new(40241, "The message is duplicate in 60 seconds");
    pub(super) const TOKEN_MISSING: Self = Self::new(41001, "access_token missing");
    pub(super) const APPID_MISSING: Self = Self::new(41002, "appid missing");
    pub(super) const SECRET_MISSING: Self = Self::new(41004, "appsecret missing");
    pub(super) const TOKEN_EXPIRED: Self = Self::new(42001, "access_token expired");
    pub(super) const REQUIRE_GET: Self = Self::new(43001, "require GET method");
    pub(super) const REQUIRE_POST: Self = Self::new(43002, "require POST method");
    pub(super) const REQUIRE_SUBSCRIBE: Self = Self::new(43004, "require subscribe");
    pub(super) const BLOCKED: Self =
        Self::new(43019, "require remove user from blacklist to continue");
    pub(super) const EMPTY_BODY: Self = Self::new(44002, "empty post data");
    pub(super) const DAY_QUOTA: Self = Self::new(45009, "reach max api daily quota limit");
    pub(super) const MINUTE_QUOTA: Self =
        Self::new(45011, "api minute-quota reach limit, must slower, retry next minute");
    pub(super) const MESSAGE_ID_SIZE: Self = Self::new(45067, "clientmsgid size out of limit");
    pub(super) const INVALID_TAG: Self = Self::new(45159, "invalid tag id");
    pub(super) const NOT_JSON: Self = Self::new(47001, "data format error");
    pub(super) const CLEAR_LIMIT: Self =
        Self::new(48006, "forbid to clear quota because of reaching the limit");
    pub(super) const UNKNOWN_PATH: Self = Self::new(76021, "cgi_path not found, please check");

    const fn new(code: i32, text: &'static str) -> Self {
        Self { code, text: Cow::Borrowed(text) }
    }

    /// 47003 in the words of WeChat, which name the keyword.
    pub(super) fn argument(what: &str) -> Self {
        Self { code: 47003, text: Cow::Owned(format!("argument invalid! {what}")) }
    }

    /// The body of the answer; `rid` is the call's mark for support.
    pub(super) fn body(&self, rid: &str) -> String {
        let errmsg = format!("{} rid: {rid}", self.text);
        serde_json::json!({ "errcode": self.code, "errmsg": errmsg }).to_string()
    }
}

/// What a caller gets.
#[derive(Debug)]
pub(super) enum Reply {
    /// A body, this many milliseconds late.
    Body { json: String, delay_ms: u64 },
    /// A closed connection.
    Nothing,
}

/// What a call comes to beside its answer.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) reply: Reply,
    /// What is told of it, and whether before the answer.
    pub(super) event: Option<(Event, bool)>,
}

impl From<Reply> for Outcome {
    fn from(reply: Reply) -> Self {
        Self { reply, event: None }
    }
}

impl Reply {
    /// A body without delay.
    pub(super) fn now(json: String) -> Self {
        Self::Body { json, delay_ms: 0 }
    }
}

/// Reads a JSON body.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(body: &'a [u8]) -> Result<T, Refusal> {
    if body.is_empty() {
        return Err(Refusal::EMPTY_BODY);
    }
    serde_json::from_slice(body).map_err(|_| Refusal::NOT_JSON)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_name_the_field_and_carry_a_rid() {
        let refusal = Refusal::argument("data.thing1.value invalid");
        assert_eq!(
            refusal.body("65f00000-00000001-00000002"),
            "{\"errcode\":47003,\"errmsg\":\"argument invalid! data.thing1.value invalid rid: \
             65f00000-00000001-00000002\"}"
        );
    }
}
