//! Why a request is refused, and how its client is told.

use super::answer::{Answer, code};
use super::body::BadBody;
use super::kind::Kind;
use crate::auth::{AuthError, Refusal as Doubt};
use crate::naming::NamingError;
use crate::registry::RegistryError;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Refusal {
    /// Its body cannot be read.
    Body(BadBody),
    /// Clients are told the code and do not try again.
    Typed(i32, String),
    /// Clients are to try again, here or elsewhere.
    Again(i32, String),
}

impl Refusal {
    /// 400: the request can never work as it is; `text` names the parameter.
    pub(super) fn bad_request(text: impl Into<String>) -> Self {
        Self::Typed(code::BAD_REQUEST, text.into())
    }

    /// The answer to a request of this kind.
    pub(super) fn answer(&self, kind: Kind) -> Answer {
        match self {
            Self::Body(BadBody::Malformed) => {
                Answer::error(code::BAD_BODY, "the body is no JSON object of this request")
            }
            Self::Body(BadBody::Null) => Answer::error(code::BAD_BODY, "Invalid request"),
            Self::Typed(code, text) => Answer::failure(kind.answer(), *code, text),
            Self::Again(code, text) => Answer::error(*code, text),
        }
    }
}

impl From<BadBody> for Refusal {
    fn from(error: BadBody) -> Self {
        Self::Body(error)
    }
}

impl From<RegistryError> for Refusal {
    fn from(error: RegistryError) -> Self {
        let text = error.to_string();
        match error {
            RegistryError::Invalid(_) | RegistryError::Missing(_) => Self::bad_request(text),
            RegistryError::Conflict(_) => Self::Typed(code::CONFLICT, text),
            RegistryError::Full(_) => Self::Typed(code::OVER_LIMIT, text),
            RegistryError::NotReady(_) => Self::Again(code::STARTING, text),
            RegistryError::Contended(_) | RegistryError::NotKept(_) => {
                Self::Again(code::SERVER_ERROR, text)
            }
        }
    }
}

impl From<NamingError> for Refusal {
    fn from(error: NamingError) -> Self {
        let text = error.to_string();
        match error {
            NamingError::Registry(error) => error.into(),
            NamingError::Auth(AuthError::Refused(doubt)) => doubt.into(),
            NamingError::Auth(_) | NamingError::AuthIsOff => Self::Typed(code::FORBIDDEN, text),
            NamingError::HasUsers => Self::Typed(code::CONFLICT, text),
            NamingError::Closed(_) => Self::Again(code::STARTING, text),
            NamingError::NotFound(_) => Self::bad_request(text),
            NamingError::Busy(_) | NamingError::Subscriptions(_) => {
                Self::Typed(code::OVER_LIMIT, text)
            }
        }
    }
}

/// 403, typed: clients log in anew.
impl From<Doubt> for Refusal {
    fn from(doubt: Doubt) -> Self {
        let text = match doubt {
            Doubt::UnknownUser => "user not found!".to_owned(),
            other => other.to_string(),
        };
        Self::Typed(code::FORBIDDEN, text)
    }
}
