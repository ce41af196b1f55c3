//! What may be stored of users, roles and permissions, and under which keys.

use super::Action;
use crate::registry::RegistryError;

/// Bytes of the name of a user or a role.
const MAX_NAME: usize = 128;
/// Bytes of the resource of a permission: enough for the longest namespace, group and service.
const MAX_RESOURCE: usize = 1_024;
/// Between the parts of a key; no name contains it.
const SEPARATOR: char = '\n';

/// What a role may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Permission {
    /// Text of the pattern of what it may be done to.
    pub(crate) resource: Box<str>,
    /// `r`, `w` or `rw`.
    pub(crate) action: Box<str>,
}

impl Permission {
    /// Whether this is among its actions.
    pub(crate) fn allows(&self, action: Action) -> bool {
        self.action.contains(action.letter())
    }
}

/// Checks the name of a user or a role that is about to be stored.
///
/// # Errors
/// `Invalid` that names the parameter.
pub(crate) fn check_name(parameter: &str, name: &str) -> Result<(), RegistryError> {
    if name.chars().any(naming_model::is_unprintable) {
        return Err(RegistryError::illegal(parameter, "it has control characters"));
    }
    check_text(parameter, name, MAX_NAME)
}

fn check_text(parameter: &str, text: &str, most: usize) -> Result<(), RegistryError> {
    let refused = |reason: &str| Err(RegistryError::illegal(parameter, reason));
    if text.trim().is_empty() {
        return refused("it is blank");
    }
    if text.len() > most {
        return refused(&format!("it is longer than {most} bytes"));
    }
    if text.chars().any(char::is_control) || text.trim() != text {
        return refused("it has control characters, or blanks at an end");
    }
    Ok(())
}

/// Checks a permission that is about to be stored.
///
/// # Errors
/// `Invalid` that names the parameter.
pub(crate) fn check_permission(resource: &str, action: &str) -> Result<(), RegistryError> {
    check_text("resource", resource, MAX_RESOURCE)?;
    if matches!(action, "r" | "w" | "rw") {
        return Ok(());
    }
    Err(RegistryError::illegal("action", "it must be r, w or rw"))
}

/// The key of the record that this user has this role.
pub(crate) fn role_key(role: &str, user: &str) -> String {
    format!("{role}{SEPARATOR}{user}")
}

/// Role and user; `None` for a key that no member of this release writes.
pub(in crate::registry) fn read_role_key(key: &str) -> Option<(&str, &str)> {
    key.split_once(SEPARATOR)
}

/// The key of the record that this role may do this.
pub(crate) fn permission_key(role: &str, resource: &str, action: &str) -> String {
    format!("{role}{SEPARATOR}{action}{SEPARATOR}{resource}")
}

/// Role and permission; `None` for a key that no member of this release writes.
pub(in crate::registry) fn read_permission_key(key: &str) -> Option<(&str, Permission)> {
    let (role, permission) = key.split_once(SEPARATOR)?;
    let (action, resource) = permission.split_once(SEPARATOR)?;
    check_permission(resource, action).ok()?;
    Some((role, Permission { resource: resource.into(), action: action.into() }))
}

/// Whether this is a password hash that can be verified within bounded time: bcrypt in its modular
/// form, `$2a$10$` and 53 more characters, with a cost from 4 to 14.
pub(crate) fn is_password_hash(text: &str) -> bool {
    let is_bcrypt = |rest: &str| {
        let Some((cost, hash)) = rest.split_once('$') else { return false };
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"./".contains(&byte);
        let is_number = cost.len() == 2 && cost.bytes().all(|byte| byte.is_ascii_digit());
        let is_bounded = is_number && cost.parse().is_ok_and(|cost| (4..=14).contains(&cost));
        is_bounded && hash.len() == 53 && hash.bytes().all(plain)
    };
    let versions = ["$2a$", "$2b$", "$2y$"];
    versions.iter().find_map(|version| text.strip_prefix(version)).is_some_and(is_bcrypt)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_they_were_written() {
        assert_eq!(read_role_key(&role_key("r:1", "a b")), Some(("r:1", "a b")));
        let key = permission_key("r", ":*:naming/*", "rw");
        let permission = Permission { resource: ":*:naming/*".into(), action: "rw".into() };
        assert_eq!(read_permission_key(&key), Some(("r", permission)));
        for odd in ["", "r", "r\nrw", "r\nx\n:*:*", "r\nrw\n", "r\nrw\na\nb"] {
            assert_eq!(read_permission_key(odd), None, "{odd:?}");
        }
    }

    #[test]
    fn names_have_no_control_characters_and_a_length() {
        for good in ["nacos", "a b", "Übung", &"x".repeat(MAX_NAME)] {
            check_name("username", good).unwrap();
        }
        for bad in ["", " ", " a", "a\n", "a\nb", "a\0", "\u{85}", &"x".repeat(MAX_NAME + 1)] {
            let error = check_name("username", bad).unwrap_err();
            assert!(error.to_string().contains("'username'"), "{bad:?}: {error}");
        }
    }

    #[test]
    fn hashes_that_take_for_ever_are_none() {
        let hash = |start: &str| format!("{start}{}", "a".repeat(53));
        assert!(is_password_hash(&hash("$2a$10$")) && is_password_hash(&hash("$2y$04$")));
        for bad in ["$2a$31$", "$2a$03$", "$2a$1$", "$2z$10$", "$argon2id$", "$2a$+9$"] {
            assert!(!is_password_hash(&hash(bad)), "{bad}");
        }
        assert!(!is_password_hash("$2a$10$short") && !is_password_hash(""));
        assert!(!is_password_hash(&format!("$2a$10${}\n", "a".repeat(52))));
    }
}
