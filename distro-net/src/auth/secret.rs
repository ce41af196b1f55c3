//! The secret that members share, and what is made with it.

use std::fmt;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// Bytes of a message authentication code (HMAC-SHA-256).
pub(crate) const MAC_BYTES: usize = 32;

/// Bytes of a nonce.
pub(crate) const NONCE_BYTES: usize = 32;

/// What only members of a cluster know. Never shown, not even by `Debug`.
#[derive(Clone)]
pub struct Secret {
    key: Box<[u8]>,
    /// One that members which have not been told of this one yet still prove themselves by.
    previous: Option<Box<Self>>,
}

/// The secret would be too easy to guess.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the secret has {bytes} bytes, it needs {least}; a good one: head -c 32 /dev/urandom | base64",
    least = Secret::LEAST_BYTES
)]
pub struct WeakSecret {
    /// How many bytes it has.
    pub bytes: usize,
}

impl Secret {
    /// Bytes that a secret has at least.
    pub const LEAST_BYTES: usize = 32;

    /// A secret as it stands in a file: white space around it does not count.
    pub fn new(text: &[u8]) -> Result<Self, WeakSecret> {
        let key = text.trim_ascii();
        if key.len() < Self::LEAST_BYTES {
            return Err(WeakSecret { bytes: key.len() });
        }
        Ok(Self { key: key.into(), previous: None })
    }

    /// The same, while the secret is being changed: this one proves, and both are accepted. A
    /// member that does not know this one yet is met by the previous one.
    #[must_use]
    pub fn with_previous(self, previous: Self) -> Self {
        Self { previous: Some(Box::new(Self { previous: None, ..previous })), ..self }
    }

    /// Whether both are the same, the previous ones too.
    pub fn is_same(&self, other: &Self) -> bool {
        let both = |secret: &Self| secret.all().map(|one| one.key.clone()).collect::<Vec<_>>();
        both(self) == both(other)
    }

    /// Whether everything that this one accepts is accepted by the other.
    pub(crate) fn is_kept_by(&self, other: &Self) -> bool {
        self.all().all(|one| other.all().any(|kept| kept.key == one.key))
    }

    /// This one and then the previous one, if there is one.
    pub(crate) fn all(&self) -> impl Iterator<Item = &Self> {
        std::iter::once(self).chain(self.previous.as_deref())
    }

    /// A secret of any length.
    #[cfg(test)]
    pub(crate) fn of(key: &[u8]) -> Self {
        Self { key: key.into(), previous: None }
    }

    /// The code of a message of one purpose under this secret.
    pub(crate) fn mac(&self, purpose: Purpose, parts: &[&[u8]]) -> [u8; MAC_BYTES] {
        mac(&self.key, purpose, parts).finalize().into_bytes().into()
    }

    /// Whether the code is that of the message. Takes the same time wherever it differs.
    pub(crate) fn verify(&self, purpose: Purpose, parts: &[&[u8]], code: &[u8]) -> bool {
        mac(&self.key, purpose, parts).verify_slice(code).is_ok()
    }

    /// The key of a session that began with these messages.
    pub(crate) fn session_key(&self, hello: &[u8], welcome: &[u8]) -> Self {
        Self { key: self.mac(Purpose::SessionKey, &[hello, welcome]).into(), previous: None }
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(hidden)")
    }
}

/// What a code is for: one that was made for one purpose is worth nothing for another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Purpose {
    Hello,
    Welcome,
    SessionKey,
    Request,
    Reply,
}

impl Purpose {
    fn label(self) -> &'static [u8] {
        match self {
            Self::Hello => b"distro hello 1\0",
            Self::Welcome => b"distro welcome 1\0",
            Self::SessionKey => b"distro session 1\0",
            Self::Request => b"distro request 1\0",
            Self::Reply => b"distro reply 1\0",
        }
    }
}

/// Each part counts with its length, so that no byte can move from one to the next.
fn mac(key: &[u8], purpose: Purpose, parts: &[&[u8]]) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of every length");
    mac.update(purpose.label());
    for part in parts {
        mac.update(&(part.len() as u64).to_le_bytes());
        mac.update(part);
    }
    mac
}

/// Bytes that nobody can foresee. Fails if the system has none, which leaves the member unable to
/// prove itself but otherwise unharmed.
pub(crate) fn nonce() -> Result<[u8; NONCE_BYTES], getrandom::Error> {
    let mut bytes = [0; NONCE_BYTES];
    getrandom::fill(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secret() -> Secret {
        Secret::new(b"0123456789abcdef0123456789abcdef").unwrap()
    }

    #[test]
    fn a_secret_is_never_shown() {
        let shown = format!("{:?}", secret());
        assert_eq!(shown, "Secret(hidden)");
    }

    #[test]
    fn short_secrets_are_refused_and_white_space_does_not_count() {
        assert_eq!(Secret::new(b"  0123456789  \n").unwrap_err(), WeakSecret { bytes: 10 });
        let short = [b" ".repeat(9), b"x".repeat(31), b"\n".repeat(9)].concat();
        assert_eq!(Secret::new(&short).unwrap_err(), WeakSecret { bytes: 31 });
        let wrapped = Secret::new(b" 0123456789abcdef0123456789abcdef\r\n").unwrap();
        let bare = secret();
        assert_eq!(bare.mac(Purpose::Hello, &[]), wrapped.mac(Purpose::Hello, &[]));
    }

    #[test]
    fn a_code_is_for_one_purpose_one_message_and_one_secret() {
        let code = secret().mac(Purpose::Request, &[b"ab", b"c"]);
        assert!(secret().verify(Purpose::Request, &[b"ab", b"c"], &code));
        assert!(!secret().verify(Purpose::Reply, &[b"ab", b"c"], &code));
        assert!(!secret().verify(Purpose::Request, &[b"a", b"bc"], &code));
        assert!(!secret().verify(Purpose::Request, &[b"ab", b"c"], &code[..31]));
        let other = Secret::new(b"0123456789abcdef0123456789abcdeF").unwrap();
        assert!(!other.verify(Purpose::Request, &[b"ab", b"c"], &code));
    }
}
