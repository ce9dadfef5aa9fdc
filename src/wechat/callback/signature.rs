//! The signature of WeChat's calls: SHA-1 over the sorted parts.

use sha1::{Digest, Sha1};
use subtle::ConstantTimeEq;

use crate::secret::Secret;

/// The signature over a token and the parts, in hexadecimal.
pub(super) fn sign(token: &str, parts: &[&str]) -> String {
    let mut all: Vec<&str> = parts.iter().copied().chain([token]).collect();
    all.sort_unstable();
    let mut hash = Sha1::new();
    all.iter().for_each(|part| hash.update(part.as_bytes()));
    hash.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a signature is right. Its time does not depend on where it is wrong.
pub(super) fn is_of(token: &Secret, parts: &[&str], given: &str) -> bool {
    let wanted = sign(token.expose(), parts);
    wanted.as_bytes().ct_eq(given.to_ascii_lowercase().as_bytes()).into()
}
