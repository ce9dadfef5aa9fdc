//! What WeChat tells by itself: receipts of messages, and who follows and who left. Signed, and
//! encrypted where the account says so.

use std::fmt;

use aes::Aes256;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockEncryptMut as _, KeyIvInit as _};
use serde::Deserialize;
use serde_json::json;
use sha1::{Digest as _, Sha1};

use crate::outbound;
use crate::time::SECOND_MS;

/// Where an account's events go, and how.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Callback {
    /// The account.
    pub(super) appid: String,
    /// The address that its page has.
    pub(super) url: String,
    /// The token of the signature.
    token: String,
    /// The key of encrypted events.
    #[serde(default)]
    encoding_aes_key: String,
    #[serde(default)]
    mode: Mode,
    #[serde(default)]
    format: Format,
}

impl fmt::Debug for Callback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Callback").field("appid", &self.appid).finish_non_exhaustive()
    }
}

/// Whether events are encrypted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Mode {
    #[default]
    Plain,
    Compatible,
    Secure,
}

/// How events are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Format {
    #[default]
    Xml,
    Json,
}

/// Something to tell.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub(super) account: usize,
    pub(super) openid: String,
    /// In the sandbox's time, epoch milliseconds.
    pub(super) at: u64,
    pub(super) what: What,
    /// How often it is told, whatever is answered.
    pub(super) times: u32,
    pub(super) delay_ms: u64,
}

/// What is told.
#[derive(Clone, Debug)]
pub(super) enum What {
    Follows,
    Left,
    Receipt { msgid: u64, status: &'static str },
}

impl Callback {
    /// Whether it can be used.
    pub(super) fn check(&self) -> Result<(), &'static str> {
        if outbound::parse_url(&self.url).is_none() {
            return Err("url is not an address");
        }
        if self.mode != Mode::Plain && aes_key(&self.encoding_aes_key).is_none() {
            return Err("encoding_aes_key must have 43 characters of Base64 in this mode");
        }
        Ok(())
    }

    fn text(&self, event: &Event) -> String {
        let seconds = event.at / SECOND_MS;
        let (name, openid) = (event.name(), &event.openid);
        match (self.format, &event.what) {
            (Format::Json, What::Receipt { msgid, status }) => json!({
                "ToUserName": "gh_sandbox", "FromUserName": openid, "CreateTime": seconds,
                "MsgType": "event", "Event": name, "MsgID": msgid, "Status": status,
            })
            .to_string(),
            (Format::Json, _) => json!({
                "ToUserName": "gh_sandbox", "FromUserName": openid, "CreateTime": seconds,
                "MsgType": "event", "Event": name, "EventKey": "",
            })
            .to_string(),
            (Format::Xml, what) => {
                let more = match what {
                    What::Receipt { msgid, status } => {
                        format!("<MsgID>{msgid}</MsgID><Status><![CDATA[{status}]]></Status>")
                    }
                    What::Follows | What::Left => "<EventKey><![CDATA[]]></EventKey>".to_owned(),
                };
                format!(
                    "<xml><ToUserName><![CDATA[gh_sandbox]]></ToUserName>\
                     <FromUserName><![CDATA[{openid}]]></FromUserName>\
                     <CreateTime>{seconds}</CreateTime><MsgType><![CDATA[event]]></MsgType>\
                     <Event><![CDATA[{name}]]></Event>{more}</xml>"
                )
            }
        }
    }

    /// The body, and the query that signs it. `number` is different for each post.
    pub(super) fn written(
        &self,
        event: &Event,
        now_ms: u64,
        number: u64,
    ) -> (String, Vec<(String, String)>) {
        let text = self.text(event);
        let (timestamp, nonce) = ((now_ms / SECOND_MS).to_string(), number.to_string());
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut query = vec![
            pair("signature", &self.signature(&[&timestamp, &nonce])),
            pair("timestamp", &timestamp),
            pair("nonce", &nonce),
            pair("openid", &event.openid),
        ];
        if self.mode == Mode::Plain {
            return (text, query);
        }
        let sealed = self.sealed(&text, number);
        query.push(pair("encrypt_type", "aes"));
        query.push(pair("msg_signature", &self.signature(&[&timestamp, &nonce, &sealed])));
        let body = match (self.format, self.mode) {
            (Format::Json, Mode::Secure) => {
                json!({"ToUserName": "gh_sandbox", "Encrypt": sealed}).to_string()
            }
            (Format::Json, _) => {
                format!("{},\"Encrypt\":{}}}", text.trim_end_matches('}'), json!(sealed))
            }
            (Format::Xml, Mode::Secure) => format!(
                "<xml><ToUserName><![CDATA[gh_sandbox]]></ToUserName>\
                 <Encrypt><![CDATA[{sealed}]]></Encrypt></xml>"
            ),
            (Format::Xml, _) => {
                let open = text.trim_end_matches("</xml>");
                format!("{open}<Encrypt><![CDATA[{sealed}]]></Encrypt></xml>")
            }
        };
        (body, query)
    }

    fn signature(&self, parts: &[&str]) -> String {
        let mut parts = parts.to_vec();
        parts.push(&self.token);
        parts.sort_unstable();
        let hash = Sha1::digest(parts.concat());
        hash.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn sealed(&self, text: &str, number: u64) -> String {
        let Some(key) = aes_key(&self.encoding_aes_key) else { return String::new() };
        let length = u32::try_from(text.len()).unwrap_or(u32::MAX).to_be_bytes();
        let random = format!("{number:016x}");
        let mut plain =
            [random.as_bytes(), &length, text.as_bytes(), self.appid.as_bytes()].concat();
        let padding = 32 - plain.len() % 32;
        plain.resize(plain.len() + padding, u8::try_from(padding).unwrap_or_default());
        let mut vector = [0; 16];
        vector.copy_from_slice(&key[..16]);
        let cipher = cbc::Encryptor::<Aes256>::new(&key.into(), &vector.into());
        STANDARD.encode(cipher.encrypt_padded_vec_mut::<NoPadding>(&plain))
    }
}

fn aes_key(text: &str) -> Option<[u8; 32]> {
    const LENIENT: GeneralPurpose = GeneralPurpose::new(
        &base64::alphabet::STANDARD,
        GeneralPurposeConfig::new()
            .with_decode_allow_trailing_bits(true)
            .with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );
    LENIENT.decode(text).ok()?.try_into().ok()
}

impl Event {
    fn name(&self) -> &'static str {
        match self.what {
            What::Follows => "subscribe",
            What::Left => "unsubscribe",
            What::Receipt { .. } => "TEMPLATESENDJOBFINISH",
        }
    }
}
