//! Tokens: compact JWS, HS256, with the claims `sub` and `exp`, as those of Nacos 1.4, and one of
//! our own, `ver`: which credential of the user the token was given for. A token ends when its user
//! gets another password, or is deleted and made again.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use dashmap::DashMap;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::AuthError;
use super::{Refusal, TokenKey, TokenKeys};
use crate::registry::AccountsView;

/// Bytes of a token that is looked at.
const MAX_TOKEN: usize = 4_096;
/// Bytes of a token that is remembered; ours have some 150.
const MAX_REMEMBERED: usize = 1_024;
/// Tokens remembered.
const MAX_TOKENS: usize = 16_384;

/// Makes tokens and reads them.
pub(super) struct Tokens {
    signing: Signing,
    /// Another key whose tokens are taken, while the keys of the members change.
    previous: Option<Signing>,
    validation: Validation,
    ttl: Duration,
    /// Whether tokens without a version are taken.
    takes_unversioned: bool,
    /// Those that were verified, until they expire.
    known: DashMap<Box<str>, Known>,
}

/// One key, and what is done by it.
struct Signing {
    encoding: EncodingKey,
    decoding: DecodingKey,
    /// Computes versions of credentials, under the same key: whoever reads a token cannot try
    /// hashes against it.
    versions: Hmac<Sha256>,
}

impl Signing {
    fn new(key: &TokenKey) -> Self {
        let versions = Hmac::new_from_slice(key.as_bytes()).expect("HMAC takes keys of any length");
        Self {
            encoding: EncodingKey::from_secret(key.as_bytes()),
            decoding: DecodingKey::from_secret(key.as_bytes()),
            versions: Mac::chain_update(versions, VERSION_PREFIX),
        }
    }

    /// What stands for a user's password without telling anything of it. The salt in its hash makes
    /// every password a new credential, even the same one set again.
    fn version(&self, user: &str, hash: &str) -> String {
        let length = (user.len() as u64).to_le_bytes();
        let mac = self.versions.clone().chain_update(length).chain_update(user);
        let code = mac.chain_update(hash).finalize().into_bytes();
        BASE64_URL_SAFE_NO_PAD.encode(code.get(..VERSION_BYTES).unwrap_or(&code))
    }
}

struct Known {
    user: Arc<str>,
    expires_s: u64,
    /// The password hash of which the token has the version; `None` if it has no version.
    hash: Option<Arc<str>>,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970.
    exp: u64,
    /// Version of the credential, Base64. Nacos writes none, and reads over it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ver: Option<String>,
}

/// Before what a version is computed of. No token begins so, so no version is a signature.
const VERSION_PREFIX: &[u8] = b"\0credential\0";
/// Bytes of a version.
const VERSION_BYTES: usize = 16;

impl Tokens {
    /// Tokens are signed by the first key, and those of both are taken.
    pub(super) fn new(keys: &TokenKeys, ttl: Duration, takes_unversioned: bool) -> Self {
        // Fails if it is installed already, by another server of this process.
        let _ = HMAC_ONLY.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_aud = false;
        Self {
            signing: Signing::new(&keys.signing),
            previous: keys.previous.as_ref().map(Signing::new),
            validation,
            ttl,
            takes_unversioned,
            known: DashMap::new(),
        }
    }

    /// A token for a user with this password hash.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn issue(&self, user: &str, hash: &str) -> Result<String, AuthError> {
        let ver = Some(self.signing.version(user, hash));
        sign(user, self.ttl, ver, &self.signing.encoding)
    }

    /// The user of a token. A user who does not exist is no error here: such a user may do nothing.
    ///
    /// # Errors
    /// Expired, given for another password than the user has now, or not signed by this key.
    pub(super) fn read(&self, token: &str, users: &AccountsView) -> Result<Arc<str>, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::TokenInvalid);
        }
        if let Some(known) = self.known.get(token) {
            let is_good = known.expires_s > now_s() && known.is_current(users);
            return if is_good { Ok(Arc::clone(&known.user)) } else { Err(Refusal::TokenExpired) };
        }
        let (claims, signing) = self.claims(token)?;
        let user: Arc<str> = claims.sub.into();
        let hash = match (claims.ver, users.password_hash(&user)) {
            (None, _) if self.takes_unversioned => None,
            (None, _) => return Err(Refusal::TokenUnversioned),
            // Not remembered: the next user of that name has another credential.
            (Some(_), None) => return Ok(user),
            (Some(version), Some(hash)) if version == signing.version(&user, hash) => {
                Some(Arc::clone(hash))
            }
            (Some(_), Some(_)) => return Err(Refusal::TokenExpired),
        };
        if token.len() <= MAX_REMEMBERED {
            self.remember(token, Known { user: Arc::clone(&user), expires_s: claims.exp, hash });
        }
        Ok(user)
    }

    /// What a token says, and the key that it was signed by.
    fn claims(&self, token: &str) -> Result<(Claims, &Signing), Refusal> {
        let read = |signing: &Signing| {
            jsonwebtoken::decode::<Claims>(token, &signing.decoding, &self.validation)
        };
        let refusal = |error: Error| match error.kind() {
            ErrorKind::ExpiredSignature => Refusal::TokenExpired,
            _ => Refusal::TokenInvalid,
        };
        match (read(&self.signing), &self.previous) {
            (Ok(token), _) => Ok((token.claims, &self.signing)),
            (Err(error), Some(previous)) if *error.kind() == ErrorKind::InvalidSignature => {
                read(previous).map(|token| (token.claims, previous)).map_err(refusal)
            }
            (Err(error), _) => Err(refusal(error)),
        }
    }

    fn remember(&self, token: &str, known: Known) {
        if self.known.len() >= MAX_TOKENS {
            let now_s = now_s();
            self.known.retain(|_, known| known.expires_s > now_s);
        }
        // Still full: these are all in use, the next one is verified each time.
        if self.known.len() < MAX_TOKENS {
            self.known.insert(token.into(), known);
        }
    }
}

/// A token that opens nothing anywhere: the key that signs it is thrown away.
///
/// # Errors
/// The system has no random numbers.
pub(crate) fn worthless_token(user: &str, ttl: Duration) -> Result<String, AuthError> {
    let _ = HMAC_ONLY.install_default();
    let mut key = [0; TokenKey::LEAST_BYTES];
    getrandom::fill(&mut key).map_err(|error| {
        tracing::error!(%error, "the system gives no random numbers");
        AuthError::Internal("the token cannot be made")
    })?;
    sign(user, ttl, None, &EncodingKey::from_secret(&key))
}

fn sign(
    user: &str,
    ttl: Duration,
    ver: Option<String>,
    key: &EncodingKey,
) -> Result<String, AuthError> {
    let claims = Claims { sub: user.to_owned(), exp: now_s() + ttl.as_secs(), ver };
    jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, key).map_err(|error| {
        tracing::error!(%error, "a token cannot be made");
        AuthError::Internal("the token cannot be made")
    })
}

impl Known {
    /// Whether the user has the password that the token was given for.
    fn is_current(&self, users: &AccountsView) -> bool {
        match (&self.hash, users.password_hash(&self.user)) {
            (Some(of_token), Some(now)) => Arc::ptr_eq(of_token, now) || of_token == now,
            // Without a version nothing is known of it; a user who is gone may do nothing anyway.
            (None, _) | (_, None) => true,
        }
    }
}

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// HS256 and nothing else: an algorithm that is not there cannot be asked for by a header. The
/// backends that come with the crate bring RSA and elliptic curves with them; the MAC itself is that
/// of the crate hmac.
static HMAC_ONLY: CryptoProvider = CryptoProvider {
    signer_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(HmacSha256::new(key.as_bytes())?)),
        _ => Err(Error::from(ErrorKind::InvalidAlgorithm)),
    },
    verifier_factory: |algorithm, key| match algorithm {
        Algorithm::HS256 => Ok(Box::new(HmacSha256::new(key.try_get_as_bytes()?)?)),
        _ => Err(Error::from(ErrorKind::InvalidAlgorithm)),
    },
    key_utils: KeyUtils::new_unimplemented(),
};

struct HmacSha256(Hmac<Sha256>);

impl HmacSha256 {
    fn new(key: &[u8]) -> Result<Self, Error> {
        let mac = Hmac::new_from_slice(key).map_err(|_| ErrorKind::InvalidKeyFormat)?;
        Ok(Self(mac))
    }
}

impl Signer<Vec<u8>> for HmacSha256 {
    fn try_sign(&self, message: &[u8]) -> Result<Vec<u8>, signature::Error> {
        Ok(self.0.clone().chain_update(message).finalize().into_bytes().to_vec())
    }
}

impl Verifier<Vec<u8>> for HmacSha256 {
    /// Takes the same time wherever the codes differ.
    fn verify(&self, message: &[u8], code: &Vec<u8>) -> Result<(), signature::Error> {
        let mac = self.0.clone().chain_update(message);
        mac.verify_slice(code).map_err(|_| signature::Error::new())
    }
}

impl JwtSigner for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

impl JwtVerifier for HmacSha256 {
    fn algorithm(&self) -> Algorithm {
        Algorithm::HS256
    }
}

#[cfg(test)]
mod tests;
