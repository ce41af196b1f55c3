//! Passwords as bcrypt hashes.

use bcrypt::{BcryptError, Version};

use super::AuthError;

/// As that of Nacos: 2 to the 10th rounds, about 60 ms.
const COST: u32 = 10;
/// Bytes of a password: bcrypt does not look at more.
const MAX_PASSWORD: usize = 72;
/// The hash of a password that nobody knows, of the cost of all others.
const NOBODYS_HASH: &str = "$2a$10$9RTNVZvFX5SGLNTWgbesPegA/YcgouG5BwZPaS8rjBLHilbzo/7Pa";

/// On how many cores hashes are computed: half of them at most, but one always.
pub(super) fn cores() -> usize {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    (processors / 2).max(1)
}

/// Checks a password that is about to be stored; none that fails can be anybody's.
///
/// # Errors
/// [`AuthError::Invalid`], which names the parameter `password`.
pub(crate) fn check_password(password: &str) -> Result<(), AuthError> {
    if password.is_empty() {
        return Err(AuthError::bad_password("it is empty"));
    }
    if password.len() > MAX_PASSWORD {
        let reason = format!("it is longer than {MAX_PASSWORD} bytes");
        return Err(AuthError::bad_password(reason));
    }
    // It would end there for bcrypt.
    if password.contains('\0') {
        return Err(AuthError::bad_password("it has a zero byte"));
    }
    Ok(())
}

/// The hash of a password, in the form that Nacos reads.
pub(super) fn hash(password: &str) -> Result<String, BcryptError> {
    let parts = bcrypt::hash_with_result(password, COST)?;
    Ok(parts.format_for_version(Version::TwoA))
}

/// Whether this is the password of the hash. Without a hash it is not, which takes as long to say.
pub(super) fn verify(password: &str, hash: Option<&str>) -> bool {
    let is_good = bcrypt::verify(password, hash.unwrap_or(NOBODYS_HASH));
    is_good.unwrap_or(false) && hash.is_some() && check_password(password).is_ok()
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use super::*;

    #[test]
    fn hashes_are_those_of_nacos() {
        // That of the user Nacos was shipped with, password "nacos".
        let shipped = "$2a$10$EuWPZHzz32dJN7jexM34MOeYirDdFAZm2kuWj7VEOJhhZkDrxfvUu";
        assert!(verify("nacos", Some(shipped)));
        assert!(!verify("Nacos", Some(shipped)));
        let own = hash("secret").unwrap();
        assert!(own.starts_with("$2a$10$") && crate::registry::is_password_hash(&own), "{own}");
        assert!(verify("secret", Some(&own)) && !verify("secret ", Some(&own)));
    }

    #[test]
    fn nobody_is_verified_and_the_work_is_done_all_the_same() {
        assert!(crate::registry::is_password_hash(NOBODYS_HASH));
        assert!(NOBODYS_HASH.starts_with(&format!("$2a${COST}$")), "as costly as all others");
        let start = Instant::now();
        assert!(!verify("wrong", None));
        // A thousand rounds take tens of milliseconds; a hash that cannot be read takes none.
        assert!(start.elapsed() > Duration::from_millis(3), "{:?}", start.elapsed());
    }

    #[test]
    fn passwords_that_bcrypt_would_cut_are_refused() {
        check_password(&"x".repeat(72)).unwrap();
        for bad in ["", &"x".repeat(73), "a\0b"] {
            assert!(check_password(bad).unwrap_err().to_string().contains("'password'"));
        }
        let own = hash(&"x".repeat(72)).unwrap();
        assert!(!verify(&"x".repeat(73), Some(&own)));
    }
}
