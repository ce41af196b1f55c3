//! The key that signs tokens.

use std::fmt;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig};

/// Signs tokens; all members of a cluster need the same. Never shown, not even by `Debug`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct TokenKey {
    bytes: Box<[u8]>,
}

/// The keys of tokens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct TokenKeys {
    /// Signs tokens.
    pub(crate) signing: TokenKey,
    /// Its tokens are taken, too, while the members change from one key to another.
    pub(crate) previous: Option<TokenKey>,
}

/// Why something is not used as a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum WeakKey {
    /// There is none.
    #[error("is missing")]
    Missing,
    /// It cannot be read.
    #[error("is not Base64")]
    NotBase64,
    /// It could be found by trying.
    #[error("has {bytes} bytes when decoded, it needs {least}", least = TokenKey::LEAST_BYTES)]
    Short {
        /// How many it has.
        bytes: usize,
    },
    /// Whoever has read the documentation of Nacos knows it.
    #[error("is one that everybody knows from Nacos or its documentation")]
    Public,
    /// Few different bytes.
    #[error("repeats itself, it is not random")]
    Monotonous,
}

/// What Nacos was shipped with or has in its documentation, as Base64 and as what that was made
/// of.
const PUBLIC_KEYS: &[&str] = &[
    "SecretKey012345678901234567890123456789012345678901234567890123456789",
    "SecretKey01234567890123456789012345345678999987654901234567890123456789",
    "VGhpc0lzTXlDdXN0b21TZWNyZXRLZXkwMTIzNDU2Nzg=",
    "ThisIsMyCustomSecretKey012345678",
    "ThisIsMyCustomSecretKey0123456789",
];

/// Different bytes that 32 random ones nearly always exceed by far; hexadecimal digits have 16.
const LEAST_DIFFERENT: usize = 8;

impl TokenKey {
    /// Bytes that a key has at least, as those of Nacos.
    pub(crate) const LEAST_BYTES: usize = 32;

    /// A key as it stands in a file: Base64, white space around it does not count.
    ///
    /// # Errors
    /// Not Base64, or too easy to guess.
    pub(crate) fn parse(text: &str) -> Result<Self, WeakKey> {
        let text = text.trim();
        if text.is_empty() {
            return Err(WeakKey::Missing);
        }
        if PUBLIC_KEYS.contains(&text) {
            return Err(WeakKey::Public);
        }
        let bytes = decode(text).ok_or(WeakKey::NotBase64)?;
        // Also when somebody has encoded the text once more, or left off the padding.
        let is_made_of = |public: &&str| {
            public.as_bytes() == bytes || decode(public).is_some_and(|public| public == bytes)
        };
        if PUBLIC_KEYS.iter().any(is_made_of) {
            return Err(WeakKey::Public);
        }
        if bytes.len() < Self::LEAST_BYTES {
            return Err(WeakKey::Short { bytes: bytes.len() });
        }
        let mut different = bytes.clone();
        different.sort_unstable();
        different.dedup();
        if different.len() < LEAST_DIFFERENT {
            return Err(WeakKey::Monotonous);
        }
        Ok(Self { bytes: bytes.into() })
    }

    pub(crate) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl fmt::Debug for TokenKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("TokenKey(hidden)")
    }
}

/// Java's reader does not insist on padding either, nor on the last bits being 0.
fn decode(text: &str) -> Option<Vec<u8>> {
    const CONFIG: GeneralPurposeConfig = GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true);
    GeneralPurpose::new(&STANDARD, CONFIG).decode(text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "q83vEjRWeJCrze8SNFZ4kKvN7xI0VniQq83vEjRWeJA=";

    #[test]
    fn a_key_is_base64_of_32_bytes() {
        let key = TokenKey::parse(&format!(" {GOOD}\n")).unwrap();
        assert_eq!(key.as_bytes().len(), 32);
        assert_eq!(TokenKey::parse(GOOD.trim_end_matches('=')), Ok(key));
        let refused = |text: &str| TokenKey::parse(text).unwrap_err();
        assert_eq!(refused(" \n"), WeakKey::Missing);
        assert_eq!(refused("not base64!"), WeakKey::NotBase64);
        assert_eq!(refused("c2hvcnQ="), WeakKey::Short { bytes: 5 });
        assert_eq!(refused(&"A".repeat(64)), WeakKey::Monotonous);
    }

    #[test]
    fn what_everybody_knows_is_refused_in_every_disguise() {
        for public in PUBLIC_KEYS {
            assert_eq!(TokenKey::parse(public), Err(WeakKey::Public), "{public}");
            let again = base64::prelude::BASE64_STANDARD.encode(public);
            assert_eq!(TokenKey::parse(&again), Err(WeakKey::Public), "{again}");
        }
    }

    #[test]
    fn a_key_is_never_shown() {
        assert_eq!(format!("{:?}", TokenKey::parse(GOOD).unwrap()), "TokenKey(hidden)");
    }
}
