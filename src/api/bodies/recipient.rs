//! One recipient, in a notice or on a line of a stream.

use serde_json::{Value as Json, json};

use crate::api::form::{Body, Form, named};
use crate::engine::command::Recipient;
use crate::limits;

/// The name of an openid in the description.
pub const OPENID_NAME: &str = "Openid";
/// One that looks like one.
pub(super) const OPENID: &str = "o6_bmjrPTlm6_2sgVt7hMZOPfL2M";

/// A recipient with values of its own.
///
/// ```json
/// {"openid": "o6_bmjrPTlm6_2sgVt7hMZOPfL2M", "data": {"thing1": "own"}}
/// ```
impl Body for Recipient {
    const NAME: &'static str = "Recipient";

    fn fields(form: &mut Form<'_>) -> Self {
        Self {
            openid: form.must_text("openid", limits::OPENID_BYTES),
            data: form.strings("data", limits::OVERRIDE_BYTES),
        }
    }

    fn example() -> Json {
        json!({"openid": OPENID, "data": {"thing1": "own"}})
    }
}

/// The schema of an openid alone.
#[must_use]
pub fn openid() -> Json {
    json!({"type": "string", "minLength": 1, "maxLength": limits::OPENID_BYTES})
}

/// The schema of a line of a stream.
#[must_use]
pub fn line() -> Json {
    json!({
        "description": "one recipient per line",
        "oneOf": [named(OPENID_NAME), named(Recipient::NAME)],
        "examples": [{"openid": OPENID}],
    })
}
