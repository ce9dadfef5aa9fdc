//! Signatures by the Standard Webhooks specification 1.0.0, symmetric scheme `v1`.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// What a serialized key begins with.
const PREFIX: &str = "whsec_";
/// Fewest and most bytes of a key: the specification's 192 and 512 bits.
const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// Most keys at once: the new one and the old one while a secret is changed, and one to spare.
const KEYS: usize = 3;

/// The keys a request is signed with. Its `Debug` form shows nothing of them.
#[derive(Clone)]
pub struct SigningKeys(Vec<Vec<u8>>);

/// A text that holds no usable key; it is not repeated here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "not a webhook secret: give whsec_ followed by the base64 of 24 to 64 random bytes \
     (while changing it: the new one, a space, the old one)"
)]
pub struct NotAKey;

impl SigningKeys {
    /// Reads one to three serialized keys, separated by white space.
    ///
    /// With several, each request carries a signature by each, so that a consumer can change over
    /// at any time.
    pub fn parse(text: &str) -> Result<Self, NotAKey> {
        let keys = text.split_whitespace().map(key).collect::<Result<Vec<_>, _>>()?;
        match keys.len() {
            1..=KEYS => Ok(Self(keys)),
            _ => Err(NotAKey),
        }
    }

    /// The value of `webhook-signature` for an attempt. Neither `id` nor `timestamp` may hold a
    /// full stop, which separates the parts that are signed.
    pub(crate) fn sign(&self, id: &str, timestamp: &str, payload: &str) -> String {
        let signatures: Vec<String> = self
            .0
            .iter()
            .map(|key| {
                let mut mac =
                    Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
                for part in [id, ".", timestamp, ".", payload] {
                    mac.update(part.as_bytes());
                }
                format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes()))
            })
            .collect();
        signatures.join(" ")
    }
}

/// The bytes of one serialized key.
fn key(text: &str) -> Result<Vec<u8>, NotAKey> {
    let encoded = text.strip_prefix(PREFIX).ok_or(NotAKey)?;
    let key = STANDARD.decode(encoded).map_err(|_| NotAKey)?;
    if KEY_BYTES.contains(&key.len()) { Ok(key) } else { Err(NotAKey) }
}

impl fmt::Debug for SigningKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKeys({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// The example with which implementations of the specification check themselves.
    const KEY: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
    const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
    const PAYLOAD: &str = r#"{"test": 2432232314}"#;
    const SIGNATURE: &str = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";

    #[test]
    fn the_known_example_is_signed_as_elsewhere() {
        let keys = SigningKeys::parse(KEY).unwrap();
        assert_eq!(keys.sign(ID, "1614265330", PAYLOAD), SIGNATURE);
        assert_ne!(keys.sign(ID, "1614265331", PAYLOAD), SIGNATURE);
    }

    #[test]
    fn two_keys_give_two_signatures() {
        let other = format!("whsec_{}", STANDARD.encode([7; 32]));
        let keys = SigningKeys::parse(&format!("{other}\n{KEY}\n")).unwrap();
        let signatures = keys.sign(ID, "1614265330", PAYLOAD);
        let (first, second) = signatures.split_once(' ').unwrap();
        assert_eq!(second, SIGNATURE);
        assert!(first.starts_with("v1,") && first != second);
    }

    #[test]
    fn unusable_keys_are_refused_without_repeating_them() {
        let short = format!("whsec_{}", STANDARD.encode([7; 23]));
        let long = format!("whsec_{}", STANDARD.encode([7; 65]));
        let many = [KEY; KEYS + 1].join(" ");
        for bad in ["", "canary", "whsec_", "whsec_canary!", &KEY[6..], &short, &long, &many] {
            let error = SigningKeys::parse(bad).unwrap_err();
            assert!(bad.is_empty() || !format!("{error} {error:?}").contains("canary"), "{bad}");
        }
    }
}
