//! WeChat's own calls: whether one is WeChat's, and what it says.
//!
//! A call proves itself by a signature over the tenant's callback token. In the encrypted modes the
//! signature covers the body; in the plain mode it covers only the time and a number in the address,
//! so such a call is taken for a few minutes only: an address that somebody saw is worth nothing later.
//!
//! | mode of the account's page | body | checked |
//! |---|---|---|
//! | plain | the message | `signature` |
//! | compatible | the message, and the same encrypted | `msg_signature` when there is a key, else `signature` |
//! | secure | encrypted | `msg_signature`, the appid inside |
//!
//! The format, XML or JSON, is a setting of its own: the body tells it.

mod message;
mod sealed;
mod signature;

use std::collections::BTreeMap;
use std::fmt;

use self::sealed::AesKey;
use crate::model::callback::Told;
use crate::secret::Secret;
use crate::time::{MINUTE_MS, SECOND_MS, Timestamp};

/// How old a plain call may be, and how far ahead of this clock.
const FRESH_MS: u64 = 10 * MINUTE_MS;

/// What one tenant's calls are checked with: what is current, and what was before it while it is
/// being changed.
pub struct Gate {
    appid: String,
    tokens: Vec<Secret>,
    keys: Vec<AesKey>,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("appid", &self.appid).finish_non_exhaustive()
    }
}

/// Why a call is not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// Nothing in the address proves whose call it is.
    #[error("the call is not signed: {0} is missing in its address")]
    Unsigned(&'static str),
    /// It was signed with another token, or somebody changed it.
    #[error(
        "the signature is not of this tenant's callback_token (or callback_token_previous): set the \
         same token here and on the account's page"
    )]
    WrongSignature,
    /// The address is of another time.
    #[error("the signature is old: its timestamp is {0} and plain calls are good for ten minutes")]
    Old(String),
    /// It is encrypted and there is no key.
    #[error(
        "the call is encrypted and the tenant has no encoding_aes_key: set it, or choose plain mode"
    )]
    NoKey,
    /// No key opens it.
    #[error(
        "the call does not open with encoding_aes_key (or encoding_aes_key_previous): set the same \
         key here and on the account's page"
    )]
    WrongKey,
    /// It is of another account.
    #[error("the call is for the account {0:?}, not for this tenant's appid")]
    OtherAccount(String),
    /// The body is none of WeChat's.
    #[error("the body is no message of WeChat: {0}")]
    Body(String),
}

/// The query of an address.
pub type Params = BTreeMap<String, String>;

impl Gate {
    /// A gate for an account. Keys are 43 characters of Base64, as the configuration checks; one that
    /// is not opens nothing.
    #[must_use]
    pub fn new(appid: &str, tokens: Vec<Secret>, encoding_aes_keys: &[Secret]) -> Self {
        let keys = encoding_aes_keys.iter().filter_map(|key| AesKey::parse(key.expose()));
        Self { appid: appid.to_owned(), tokens, keys: keys.collect() }
    }

    /// What to answer to the check that the account's page makes when the address is entered.
    ///
    /// # Errors
    /// When the call is not WeChat's.
    pub fn echo(&self, params: &Params) -> Result<String, NotTaken> {
        let Address { timestamp, nonce } = Address::of(params)?;
        let given = of(params, "signature")?;
        let echo = of(params, "echostr")?;
        self.signed(given, &[timestamp, nonce])?;
        Ok(echo.to_owned())
    }

    /// What a call says; `None` when it says nothing that concerns the daemon: a message of a user,
    /// an event of another kind.
    ///
    /// # Errors
    /// When the call is not WeChat's, or is not understood.
    pub fn open(
        &self,
        params: &Params,
        body: &[u8],
        now: Timestamp,
    ) -> Result<Option<Told>, NotTaken> {
        let Address { timestamp, nonce } = Address::of(params)?;
        let is_encrypted = params.get("encrypt_type").is_some_and(|kind| kind == "aes")
            || params.contains_key("msg_signature");
        if is_encrypted && (!self.keys.is_empty() || !params.contains_key("signature")) {
            let given = of(params, "msg_signature")?;
            let text = message::text(body)?;
            let sealed = message::encrypted(text)?;
            self.signed(given, &[timestamp, nonce, &sealed])?;
            let opened = self.unseal(&sealed)?;
            return message::told(&opened);
        }
        let given = of(params, "signature")?;
        self.signed(given, &[timestamp, nonce])?;
        let at = timestamp.parse::<u64>().ok().and_then(|at| at.checked_mul(SECOND_MS));
        if at.is_none_or(|at| now.0.abs_diff(at) > FRESH_MS) {
            return Err(NotTaken::Old(crate::text::cut(timestamp, 20).to_owned()));
        }
        let text = message::text(body)?;
        match message::told(text) {
            // Encrypted alone, in spite of a plain address.
            Err(_) if message::encrypted(text).is_ok() => Err(NotTaken::NoKey),
            told => told,
        }
    }

    fn signed(&self, given: &str, parts: &[&str]) -> Result<(), NotTaken> {
        // Each token is tried, whatever came of the one before: the time tells nothing.
        let tried = self.tokens.iter().map(|token| signature::is_of(token, parts, given));
        if tried.fold(false, |any, one| any | one) { Ok(()) } else { Err(NotTaken::WrongSignature) }
    }

    fn unseal(&self, sealed: &str) -> Result<String, NotTaken> {
        if self.keys.is_empty() {
            return Err(NotTaken::NoKey);
        }
        let opened = self.keys.iter().find_map(|key| key.open(sealed));
        let opened = opened.ok_or(NotTaken::WrongKey)?;
        if opened.appid != self.appid {
            return Err(NotTaken::OtherAccount(crate::text::cut(&opened.appid, 64).to_owned()));
        }
        Ok(opened.message)
    }
}

/// What every call has in its address.
struct Address<'a> {
    timestamp: &'a str,
    nonce: &'a str,
}

impl<'a> Address<'a> {
    fn of(params: &'a Params) -> Result<Self, NotTaken> {
        Ok(Self { timestamp: of(params, "timestamp")?, nonce: of(params, "nonce")? })
    }
}

fn of<'a>(params: &'a Params, name: &'static str) -> Result<&'a str, NotTaken> {
    let given = params.get(name).map(String::as_str).filter(|text| !text.is_empty());
    given.ok_or(NotTaken::Unsigned(name))
}

#[cfg(test)]
mod tests;
