//! The request of one delivery: its JSON and the id that keeps it from being shown twice.

use crate::limits;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use sha2::{Digest, Sha256};

use crate::id::DeliveryId;

/// Bytes of the hash that are kept: 128 bits, 32 hex digits. The provider publishes no limit; a
/// sibling call refused 36 characters.
const ID_BYTES: usize = 16;

/// Bytes of template values as JSON, which is how they are stored.
#[must_use]
pub fn json_bytes(data: &BTreeMap<String, String>) -> usize {
    serde_json::to_string(data).map_or(usize::MAX, |json| json.len())
}

/// The request body of a template message.
///
/// `miniprogram` is an appid and a page path; when `url` is there too, the provider prefers the
/// mini program and old clients take the url.
#[must_use]
pub fn render(
    touser: &str,
    template_id: &str,
    client_msg_id: &str,
    url: Option<&str>,
    miniprogram: Option<(&str, &str)>,
    data: &BTreeMap<String, String>,
) -> String {
    let miniprogram = miniprogram.map(|(appid, pagepath)| MiniProgram { appid, pagepath });
    let data = Data(data);
    let body = Body { touser, template_id, url, miniprogram, client_msg_id, data };
    serde_json::to_string(&body).expect("strings and maps of strings always have a JSON form")
}

/// The id under which the provider recognises a repeated delivery for ten minutes: the same for
/// every attempt of one delivery, different for any other delivery and tenant.
#[must_use]
pub fn client_msg_id(tenant: &str, delivery: DeliveryId) -> String {
    let mut hash = Sha256::new();
    hash.update(delivery.notice.0.to_be_bytes());
    hash.update(delivery.number.to_be_bytes());
    hash.update(tenant.as_bytes());
    let mut id = String::with_capacity(2 * ID_BYTES);
    for byte in &hash.finalize()[..ID_BYTES] {
        let _ = write!(id, "{byte:02x}");
    }
    id
}

#[derive(Serialize)]
struct Body<'a> {
    touser: &'a str,
    template_id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    url: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    miniprogram: Option<MiniProgram<'a>>,
    client_msg_id: &'a str,
    data: Data<'a>,
}

#[derive(Serialize)]
struct MiniProgram<'a> {
    appid: &'a str,
    pagepath: &'a str,
}

/// `{"thing1":{"value":"…"}}`
struct Data<'a>(&'a BTreeMap<String, String>);

impl Serialize for Data<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Keyword<'a> {
            value: &'a str,
        }
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (field, value) in self.0 {
            map.serialize_entry(field, &Keyword { value })?;
        }
        map.end()
    }
}

/// Whether a text can be an openid: 1 to [`limits::OPENID_BYTES`] letters, digits, `-` and `_`.
#[must_use]
pub fn is_openid(text: &str) -> bool {
    let plausible = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= limits::OPENID_BYTES && text.bytes().all(plausible)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::Id;

    #[test]
    fn the_body_has_the_documented_shape() {
        let data = BTreeMap::from([
            ("time2".to_owned(), "2026-11-23 09:00".to_owned()),
            ("thing1".to_owned(), "say \"检\"".to_owned()),
        ]);
        assert_eq!(
            render("oA", "T", "c1", None, None, &data),
            r#"{"touser":"oA","template_id":"T","client_msg_id":"c1","data":{"thing1":{"value":"say \"检\""},"time2":{"value":"2026-11-23 09:00"}}}"#
        );
        let body = render("oA", "T", "c1", Some("https://x/"), Some(("wx2", "p?a=b")), &data);
        let body: serde_json::Value = serde_json::from_str(&body).unwrap_or_default();
        assert_eq!(body["url"], "https://x/");
        assert_eq!(body["miniprogram"], serde_json::json!({"appid": "wx2", "pagepath": "p?a=b"}));
    }

    #[test]
    fn the_message_id_is_stable_and_differs_by_tenant_notice_and_number() {
        let delivery = |notice, number| DeliveryId { notice: Id(notice), number };
        let id = client_msg_id("acme", delivery(7, 1));
        assert_eq!(id, client_msg_id("acme", delivery(7, 1)));
        assert!(id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
        for other in [
            client_msg_id("acm", delivery(7, 1)),
            client_msg_id("acme", delivery(8, 1)),
            client_msg_id("acme", delivery(7, 2)),
        ] {
            assert_ne!(id, other);
        }
    }
}
