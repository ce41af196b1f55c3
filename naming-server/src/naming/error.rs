//! Why a use case was not carried out.

use crate::auth::{AuthError, Refusal};
use crate::push::SubscribeRefused;
use crate::registry::{RegistryError, ServerStatus};

/// A use case that failed. The texts are those of Nacos wherever Nacos has one; each front has one
/// file that gives a failure its code.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum NamingError {
    /// The registry did not do it, or cannot tell whether it will last.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Nobody is believed to have sent the request, or the sender may not. Nothing was done.
    #[error(transparent)]
    Auth(#[from] AuthError),
    /// This server takes no such calls now. Nothing was done, and another server may take it.
    #[error("server is {}now, please try again later!", .0.name())]
    Closed(ServerStatus),
    /// What the call is about is not there.
    #[error("{0}")]
    NotFound(String),
    /// Too much of this kind is under way. Nothing was done.
    #[error("{0}")]
    Busy(&'static str),
    /// The call is about users, and nobody needs to be one here.
    #[error(
        "authentication is off on this server (auth.enabled); every request is taken without a \
         user, and users cannot be changed"
    )]
    AuthIsOff,
    /// The call is for a server that has no user.
    #[error("there is a user already; an administrator makes the others")]
    HasUsers,
    /// No more subscriptions are taken. Nothing was done.
    #[error(transparent)]
    Subscriptions(SubscribeRefused),
}

impl NamingError {
    /// Whether what the call asked for may have been done, or may still be.
    pub(crate) fn may_have_effect(&self) -> bool {
        matches!(self, Self::Registry(RegistryError::NotKept(_)))
    }

    /// Whether the same call can never succeed, as opposed to one that may later or elsewhere.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Registry(error) => matches!(
                error,
                RegistryError::Invalid(_) | RegistryError::Missing(_) | RegistryError::Conflict(_)
            ),
            Self::Auth(AuthError::Refused(refusal)) => *refusal != Refusal::Busy,
            Self::Auth(AuthError::Invalid(_))
            | Self::NotFound(_)
            | Self::AuthIsOff
            | Self::HasUsers => true,
            Self::Auth(AuthError::Internal(_)) | Self::Closed(_) => false,
            Self::Busy(_) | Self::Subscriptions(_) => false,
        }
    }
}

impl From<Refusal> for NamingError {
    fn from(refusal: Refusal) -> Self {
        Self::Auth(refusal.into())
    }
}
