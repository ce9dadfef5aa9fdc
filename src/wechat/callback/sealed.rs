//! Encrypted calls: AES-256-CBC, whose first 16 key bytes are the initial vector, padded to blocks of
//! 32 bytes. Inside: 16 random bytes, the message's length, the message, the appid.

use aes::Aes256;
use base64::Engine as _;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use cbc::cipher::block_padding::NoPadding;
use cbc::cipher::{BlockDecryptMut as _, KeyIvInit as _};

/// Bytes of a block, for the padding.
const BLOCK: usize = 32;
/// Random bytes before the message.
const RANDOM: usize = 16;

/// The key's last character has bits that are no part of the 32 bytes, and the generator of the
/// account's page does not always leave them zero.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &base64::alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_allow_trailing_bits(true)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The key of a tenant's encrypted calls.
pub(super) struct AesKey(pub(super) [u8; 32]);

/// What was inside.
pub(super) struct Opened {
    pub(super) message: String,
    pub(super) appid: String,
}

impl AesKey {
    /// Reads the 43 characters of the account's page.
    pub(super) fn parse(text: &str) -> Option<Self> {
        LENIENT.decode(text).ok()?.try_into().ok().map(Self)
    }

    fn vector(&self) -> Option<&[u8; 16]> {
        self.0.first_chunk()
    }

    /// Opens an encrypted message.
    pub(super) fn open(&self, sealed: &str) -> Option<Opened> {
        let mut bytes = LENIENT.decode(sealed.trim()).ok()?;
        let cipher = cbc::Decryptor::<Aes256>::new(&self.0.into(), self.vector()?.into());
        let plain = cipher.decrypt_padded_mut::<NoPadding>(&mut bytes).ok()?;
        let (&padding, _) = plain.split_last()?;
        let padding = usize::from(padding);
        if padding == 0 || padding > BLOCK {
            return None;
        }
        let plain = plain.get(..plain.len().checked_sub(padding)?)?;
        let (length, rest) = plain.get(RANDOM..)?.split_first_chunk::<4>()?;
        let length = usize::try_from(u32::from_be_bytes(*length)).ok()?;
        let (message, appid) = rest.split_at_checked(length)?;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).ok();
        Some(Opened { message: text(message)?, appid: text(appid)? })
    }
}
