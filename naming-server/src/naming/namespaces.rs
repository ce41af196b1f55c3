//! Names of namespaces. The registry never looks at them: any namespace id works, with or without a
//! name. Their list is for everybody, since clients choose from it before they log in.

use std::hash::{BuildHasher, RandomState};

use distro_core::Key;
use uuid::Builder;

use super::begun::begun;
use super::{Caller, Naming, NamingError, Need};
use crate::audit::Parameters;
use crate::registry::{Content, NAMESPACES, Namespace, Write};

/// Namespaces kept; more are refused.
pub(super) const MAX_NAMESPACES: usize = 1_000;
/// Bytes of an id.
pub(crate) const MAX_NAMESPACE_ID: usize = 128;

/// Why no namespace was made. Versions of the API answer each in a way of their own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NotMade {
    /// Its id has other characters than letters, digits, `-` and `_`, or is too long.
    NoId,
    /// There is one with this id.
    Exists,
    /// So many are there already; the text says how many.
    TooMany(String),
    /// The caller may not.
    Refused(NamingError),
}

impl Naming {
    /// Those that have a name, by id; the public one is not among them.
    pub(crate) fn namespaces(&self) -> Vec<(Key, Namespace)> {
        self.registry.namespaces()
    }

    /// The one with this id, if it has a name.
    pub(crate) fn namespace(&self, id: &str) -> Option<Namespace> {
        self.registry.find_namespace(id)
    }

    /// Whether there is one with this id; the public one always is.
    pub(crate) fn has_namespace(&self, id: &str) -> bool {
        is_public(id) || self.namespace(id).is_some()
    }

    /// Makes one. Of two members that make the same one at the same moment both may succeed; the
    /// later name stays.
    ///
    /// # Errors
    /// [`NotMade`].
    pub(crate) fn create_namespace(
        &self,
        caller: &Caller<'_>,
        id: &str,
        namespace: Namespace,
    ) -> Result<Write<Result<(), NamingError>>, NotMade> {
        self.check_administrator(caller).map_err(NotMade::Refused)?;
        if !is_id(id) {
            return Err(NotMade::NoId);
        }
        if self.has_namespace(id) {
            return Err(NotMade::Exists);
        }
        if self.namespaces().len() >= MAX_NAMESPACES {
            let text = format!("the limit of {MAX_NAMESPACES} namespaces is reached");
            return Err(NotMade::TooMany(text));
        }
        Ok(self.write_namespace(caller, "namespace_create", id, Some(namespace)))
    }

    /// Names one anew; false if there is none with this id.
    ///
    /// # Errors
    /// The caller is no administrator, or the change cannot be kept.
    pub(crate) fn update_namespace(
        &self,
        caller: &Caller<'_>,
        id: &str,
        namespace: Namespace,
    ) -> Write<Result<bool, NamingError>> {
        if let Err(error) = self.check_administrator(caller) {
            return Write::Done(Err(error));
        }
        if self.namespace(id).is_none() {
            return Write::Done(Ok(false));
        }
        let write = self.write_namespace(caller, "namespace_update", id, Some(namespace));
        write.map(|outcome| outcome.map(|()| true))
    }

    /// Forgets the name; what is registered in the namespace stays. Of an id that is unknown no
    /// trace remains.
    ///
    /// # Errors
    /// The caller is no administrator, or the change cannot be kept.
    pub(crate) fn delete_namespace(
        &self,
        caller: &Caller<'_>,
        id: &str,
    ) -> Write<Result<(), NamingError>> {
        if let Err(error) = self.check_administrator(caller) {
            return Write::Done(Err(error));
        }
        if self.namespace(id).is_none() {
            return Write::Done(Ok(()));
        }
        self.write_namespace(caller, "namespace_delete", id, None)
    }

    fn write_namespace(
        &self,
        caller: &Caller<'_>,
        action: &'static str,
        id: &str,
        namespace: Option<Namespace>,
    ) -> Write<Result<(), NamingError>> {
        let about = || Parameters(vec![("namespaceId", super::short(id).to_owned())]);
        let content = namespace.map(Content::Namespace);
        let write = || begun(self.writes.write_record(NAMESPACES, id, content));
        self.watched(caller, action, about, write)
    }

    /// Checks that the caller may do everything. The gate stays out of it: operators work on a
    /// server that takes no clients, too.
    pub(super) fn check_administrator(&self, caller: &Caller<'_>) -> Result<(), NamingError> {
        // A server that has proved itself has checked the sender.
        if caller.clearance.has_every_right() {
            return Ok(());
        }
        self.check_right(caller, &Need::Administrator)
    }
}

/// Whether this is the namespace of those who name none.
pub(crate) fn is_public(id: &str) -> bool {
    id.is_empty() || id == naming_model::DEFAULT_NAMESPACE
}

fn is_id(id: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    !id.is_empty() && id.len() <= MAX_NAMESPACE_ID && id.bytes().all(plain)
}

/// An id as Nacos makes them: a random UUID. It must be unique, not secret, and making it cannot
/// fail: `Uuid::new_v4` panics where the system has no random numbers.
pub(crate) fn random_id() -> String {
    let (a, b) = (RandomState::new().hash_one(0_u8), RandomState::new().hash_one(1_u8));
    let random = u128::from(a) << 64 | u128::from(b);
    Builder::from_random_bytes(random.to_be_bytes()).into_uuid().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_checked() {
        assert!(is_id("dev_1-a") && is_id(&random_id()) && random_id() != random_id());
        for bad in ["", "a b", "ä", "a/b", &"a".repeat(129)] {
            assert!(!is_id(bad), "{bad}");
        }
        assert!(is_public("") && is_public("public") && !is_public("dev"));
    }
}
