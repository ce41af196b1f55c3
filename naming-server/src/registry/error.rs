//! Why the registry did not do what a caller asked for.

use naming_model::NameError;

/// A call to the registry that failed. Each kind says whether the call may have had an effect. The
/// texts are those of Nacos wherever Nacos has one, since clients look for parts of them; each
/// front chooses the code that goes with a kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RegistryError {
    /// The call can never succeed as it is: the text names the parameter. Nothing was written.
    #[error("{0}")]
    Invalid(String),
    /// The call changes something that is not there. Nothing was written.
    #[error("{0}")]
    Missing(String),
    /// The call makes something that is there already. Nothing was written.
    #[error("{0}")]
    Conflict(String),
    /// A limit of this server is reached. Nothing was written.
    #[error("{0}")]
    Full(String),
    /// This member does not know enough yet to answer. Nothing was written.
    #[error("{0}")]
    NotReady(String),
    /// Others changed the same thing again and again meanwhile. Nothing was written.
    #[error("{0}")]
    Contended(String),
    /// The change is not on the disks that it should be on. It may still take effect: this member
    /// holds it.
    #[error("{0}")]
    NotKept(String),
}

impl RegistryError {
    /// The call can never succeed as it is.
    pub(crate) fn invalid(text: impl Into<String>) -> Self {
        Self::Invalid(text.into())
    }

    /// The value of a parameter cannot be used; `reason` begins with "it".
    pub(crate) fn illegal(parameter: &str, reason: impl std::fmt::Display) -> Self {
        Self::Invalid(format!("Param '{parameter}' is illegal, {reason}"))
    }
}

impl From<NameError> for RegistryError {
    fn from(error: NameError) -> Self {
        Self::Invalid(error.to_string())
    }
}
