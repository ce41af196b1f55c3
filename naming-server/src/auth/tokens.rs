//! Tokens: compact JWS, HS256, with the claims `sub` and `exp`, as those of Nacos 1.4.

use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dashmap::DashMap;
use hmac::{Hmac, KeyInit, Mac};
use jsonwebtoken::crypto::{CryptoProvider, JwtSigner, JwtVerifier, KeyUtils};
use jsonwebtoken::errors::{Error, ErrorKind};
use jsonwebtoken::signature::{self, Signer, Verifier};
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::{Refusal, TokenKey};
use crate::http::ApiError;

/// Bytes of a token that is looked at.
const MAX_TOKEN: usize = 4_096;
/// Bytes of a token that is remembered; ours have some 150.
const MAX_REMEMBERED: usize = 1_024;
/// Tokens remembered.
const MAX_TOKENS: usize = 16_384;

/// Makes tokens and reads them.
pub(super) struct Tokens {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
    ttl: Duration,
    /// Those that were verified, until they expire.
    known: DashMap<Box<str>, Known>,
}

struct Known {
    user: Arc<str>,
    expires_s: u64,
}

#[derive(Serialize, Deserialize)]
struct Claims {
    sub: String,
    /// Seconds since 1970.
    exp: u64,
}

impl Tokens {
    pub(super) fn new(key: &TokenKey, ttl: Duration) -> Self {
        // Fails if it is installed already, by another server of this process.
        let _ = HMAC_ONLY.install_default();
        let mut validation = Validation::new(Algorithm::HS256);
        validation.leeway = 0;
        validation.validate_aud = false;
        Self {
            encoding: EncodingKey::from_secret(key.as_bytes()),
            decoding: DecodingKey::from_secret(key.as_bytes()),
            validation,
            ttl,
            known: DashMap::new(),
        }
    }

    pub(super) fn ttl(&self) -> Duration {
        self.ttl
    }

    /// A token for a user.
    ///
    /// # Errors
    /// None that is known.
    pub(super) fn issue(&self, user: &str) -> Result<String, ApiError> {
        let claims = Claims { sub: user.to_owned(), exp: now_s() + self.ttl.as_secs() };
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), &claims, &self.encoding).map_err(
            |error| {
                tracing::error!(%error, "a token cannot be made");
                ApiError::internal("the token cannot be made")
            },
        )
    }

    /// The user of a token.
    ///
    /// # Errors
    /// Expired, or not signed by this key.
    pub(super) fn read(&self, token: &str) -> Result<Arc<str>, Refusal> {
        if token.len() > MAX_TOKEN {
            return Err(Refusal::TokenInvalid);
        }
        if let Some(known) = self.known.get(token) {
            return match known.expires_s > now_s() {
                true => Ok(Arc::clone(&known.user)),
                false => Err(Refusal::TokenExpired),
            };
        }
        let claims: Claims = jsonwebtoken::decode(token, &self.decoding, &self.validation)
            .map_err(|error| match error.kind() {
                ErrorKind::ExpiredSignature => Refusal::TokenExpired,
                _ => Refusal::TokenInvalid,
            })?
            .claims;
        let user: Arc<str> = claims.sub.into();
        if token.len() <= MAX_REMEMBERED {
            self.remember(token, Known { user: Arc::clone(&user), expires_s: claims.exp });
        }
        Ok(user)
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

fn now_s() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// HS256 and nothing else: an algorithm that is not there cannot be asked for by a header.
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
