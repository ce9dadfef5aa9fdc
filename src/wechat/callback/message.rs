//! The messages of WeChat's calls, in XML or JSON.

use roxmltree::{Document, Node};
use serde_json::Value as Json;

use super::NotTaken;
use crate::limits;
use crate::model::callback::{Told, What, failure};
use crate::model::message::is_openid;
use crate::time::{SECOND_MS, Timestamp};

/// Longest id of a message; real ones have 19 digits.
const MSGID_BYTES: usize = 64;

/// A body as text.
pub(super) fn text(body: &[u8]) -> Result<&str, NotTaken> {
    let text = std::str::from_utf8(body).map_err(|_| not("it is not text in UTF-8"))?;
    let text = text.trim_start_matches('\u{feff}').trim();
    if text.is_empty() { Err(not("it is empty")) } else { Ok(text) }
}

fn not(why: impl Into<String>) -> NotTaken {
    NotTaken::Body(why.into())
}

/// The encrypted part of a body.
pub(super) fn encrypted(text: &str) -> Result<String, NotTaken> {
    Fields::read(text, |fields| fields.text("Encrypt"))?.ok_or_else(|| not("it has no Encrypt"))
}

/// What a message says, see [`super::Gate::open`].
pub(super) fn told(text: &str) -> Result<Option<Told>, NotTaken> {
    Fields::read(text, read)?
}

fn read(fields: &Fields<'_, '_>) -> Result<Option<Told>, NotTaken> {
    let kind = fields.text("MsgType").ok_or_else(|| not("it has no MsgType"))?;
    if !kind.eq_ignore_ascii_case("event") {
        return Ok(None);
    }
    let event = fields.text("Event").ok_or_else(|| not("it is an event without Event"))?;
    let event = event.to_ascii_lowercase();
    let is_receipt = event == "templatesendjobfinish";
    if !is_receipt && event != "subscribe" && event != "unsubscribe" {
        return Ok(None);
    }
    let openid = fields.text("FromUserName").filter(|openid| is_openid(openid));
    let openid = openid.ok_or_else(|| not("FromUserName is no openid"))?;
    let at = fields.text("CreateTime").and_then(|at| at.parse::<u64>().ok());
    let at = at.and_then(|at| at.checked_mul(SECOND_MS)).filter(|at| *at < MOST_MS);
    let at = at.ok_or_else(|| not("CreateTime is no time in seconds"))?;
    let what = match event.as_str() {
        "subscribe" => What::Followed,
        "unsubscribe" => What::Unfollowed,
        _ => {
            // The documentation has both spellings; the calls have the first.
            let msgid = fields.text("MsgID").or_else(|| fields.text("MsgId"));
            let plain = |id: &String| {
                (1..=MSGID_BYTES).contains(&id.len())
                    && id.bytes().all(|byte| byte.is_ascii_graphic())
            };
            let msgid = msgid.filter(plain).ok_or_else(|| not("it is a receipt without MsgID"))?;
            let status =
                fields.text("Status").ok_or_else(|| not("it is a receipt without Status"))?;
            What::Receipt { msgid, failed: failure(&status) }
        }
    };
    Ok(Some(Told { openid, at: Timestamp(at), what }))
}

/// No time of an event is after the year 2500.
const MOST_MS: u64 = 16_725_225_600_000;

/// The fields of a message.
enum Fields<'a, 'x> {
    Xml(Node<'a, 'x>),
    Json(&'a Json),
}

impl Fields<'_, '_> {
    /// Reads a body and looks at its fields.
    fn read<T>(text: &str, look: impl FnOnce(&Fields<'_, '_>) -> T) -> Result<T, NotTaken> {
        if text.starts_with('{') {
            let tree: Json = serde_json::from_str(text).map_err(|error| not(error.to_string()))?;
            return Ok(look(&Fields::Json(&tree)));
        }
        // The reader refuses a DOCTYPE, and with it all entities but those of XML itself.
        let document = Document::parse(text).map_err(|error| {
            let words = error.to_string();
            not(crate::text::cut(&words, limits::TEXT_BYTES))
        })?;
        Ok(look(&Fields::Xml(document.root_element())))
    }

    fn text(&self, name: &str) -> Option<String> {
        match self {
            Self::Xml(root) => {
                let node = root.children().find(|node| node.has_tag_name(name))?;
                let parts = node.children().filter_map(|part| part.text());
                Some(parts.collect::<String>().trim().to_owned())
            }
            Self::Json(tree) => match tree.get(name)? {
                Json::String(text) => Some(text.trim().to_owned()),
                // Beyond 2^53, and read as it is written.
                Json::Number(number) => Some(number.to_string()),
                _ => None,
            },
        }
    }
}
