//! Passwords that were found good, so that clients that send them with every call cost little, and
//! go on while others crowd the log-in. Kept as digests under a key that only this process ever knew.

use std::sync::Arc;
use std::time::{Duration, Instant};

use dashmap::DashMap;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// How long a password need not be verified again after its last use.
const LIFETIME: Duration = Duration::from_secs(600);
/// Passwords remembered.
const MAX_VERIFIED: usize = 16_384;

/// What stands for user and password.
pub(super) type Digest = [u8; 32];

/// The passwords that were found good.
pub(super) struct Verified {
    /// Computed up to the first byte of the message.
    mac: Hmac<Sha256>,
    known: DashMap<Digest, Known>,
}

struct Known {
    /// The hash that the password was verified against. It is no longer good when the user has
    /// another one, or is gone.
    hash: Arc<str>,
    until: Instant,
}

impl Verified {
    /// Nothing yet.
    ///
    /// # Errors
    /// The system has no random numbers.
    pub(super) fn new() -> Result<Self, getrandom::Error> {
        let mut key = [0; 32];
        getrandom::fill(&mut key)?;
        let mac = Hmac::new_from_slice(&key).expect("HMAC takes keys of every length");
        Ok(Self { mac, known: DashMap::new() })
    }

    /// What stands for this user with this password here. Where the user ends counts.
    pub(super) fn digest(&self, user: &str, password: &str) -> Digest {
        let length = (user.len() as u64).to_le_bytes();
        let mac = self.mac.clone().chain_update(length).chain_update(user);
        mac.chain_update(password).finalize().into_bytes().into()
    }

    /// Whether it was found good against this hash. It stays so while it is used: as long as the
    /// hash is the same, so is the password.
    pub(super) fn contains(&self, digest: &Digest, hash: &str, now: Instant) -> bool {
        let Some(known) = self.known.get(digest) else { return false };
        if known.until <= now || *known.hash != *hash {
            return false;
        }
        let is_aging = known.until < now + LIFETIME / 2;
        drop(known);
        if is_aging && let Some(mut known) = self.known.get_mut(digest) {
            known.until = now + LIFETIME;
        }
        true
    }

    /// It has been found good.
    pub(super) fn insert(&self, digest: Digest, hash: Arc<str>, now: Instant) {
        if self.known.len() >= MAX_VERIFIED {
            self.known.retain(|_, known| known.until > now);
        }
        // Still full: more users than there may be have called within minutes.
        if self.known.len() < MAX_VERIFIED {
            self.known.insert(digest, Known { hash, until: now + LIFETIME });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_good_is_known_until_the_user_changes() {
        let (verified, now) = (Verified::new().unwrap(), Instant::now());
        let digest = verified.digest("u", "p");
        assert!(!verified.contains(&digest, "hash", now));
        verified.insert(digest, "hash".into(), now);
        assert!(verified.contains(&digest, "hash", now));
        assert!(!verified.contains(&digest, "another", now));
        assert!(!verified.contains(&digest, "hash", now + LIFETIME));
    }

    #[test]
    fn what_is_used_stays_known() {
        let (verified, now) = (Verified::new().unwrap(), Instant::now());
        let digest = verified.digest("u", "p");
        verified.insert(digest, "hash".into(), now);
        let later = |n: u32| now + LIFETIME * n * 2 / 3;
        assert!((1..20).all(|n| verified.contains(&digest, "hash", later(n))));
        // Somebody with another password keeps nothing alive.
        assert!(!verified.contains(&digest, "another", later(20)));
        assert!(!verified.contains(&digest, "hash", later(21)));
    }

    #[test]
    fn digests_tell_everything_apart() {
        let verified = Verified::new().unwrap();
        assert_eq!(verified.digest("ab", "c"), verified.digest("ab", "c"));
        assert_ne!(verified.digest("ab", "c"), verified.digest("a", "bc"));
        assert_ne!(verified.digest("ab", "c"), Verified::new().unwrap().digest("ab", "c"));
    }

    #[test]
    fn it_does_not_grow_without_end() {
        let (verified, now) = (Verified::new().unwrap(), Instant::now());
        let insert = |n: usize, now| {
            let digest = verified.digest(&n.to_string(), "p");
            verified.insert(digest, "hash".into(), now);
            verified.contains(&digest, "hash", now)
        };
        assert!((0..MAX_VERIFIED).all(|n| insert(n, now)));
        assert!(!insert(MAX_VERIFIED, now));
        assert_eq!(verified.known.len(), MAX_VERIFIED);
        // What is old makes room.
        assert!(insert(MAX_VERIFIED, now + LIFETIME));
        assert_eq!(verified.known.len(), 1);
    }
}
