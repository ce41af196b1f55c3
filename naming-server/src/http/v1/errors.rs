//! Which status the 1.x API gives each failure. The texts come with the failures: they are those
//! of Nacos, and clients look for parts of them.

use hyper::StatusCode;

use crate::auth::{AuthError, Refusal};
use crate::http::ApiError;
use crate::nacos::BadMessage;
use crate::naming::NamingError;
use crate::registry::RegistryError;

impl From<RegistryError> for ApiError {
    fn from(error: RegistryError) -> Self {
        match error {
            RegistryError::Invalid(text)
            | RegistryError::Missing(text)
            | RegistryError::Conflict(text) => Self::bad_request(text),
            RegistryError::Full(text)
            | RegistryError::NotReady(text)
            | RegistryError::Contended(text)
            | RegistryError::NotKept(text) => Self::unavailable(text),
        }
    }
}

impl From<Refusal> for ApiError {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Busy => Self::unavailable(refusal.to_string()),
            _ => Self::forbidden(refusal.to_string()),
        }
    }
}

impl From<AuthError> for ApiError {
    fn from(error: AuthError) -> Self {
        match error {
            AuthError::Refused(refusal) => refusal.into(),
            AuthError::Invalid(text) => Self::bad_request(text),
            AuthError::Internal(text) => Self::internal(text),
        }
    }
}

impl From<NamingError> for ApiError {
    fn from(error: NamingError) -> Self {
        match error {
            NamingError::Registry(error) => error.into(),
            NamingError::Auth(error) => error.into(),
            NamingError::NotFound(text) => Self::not_found(text),
            NamingError::AuthIsOff => Self::forbidden(error.to_string()),
            NamingError::HasUsers => Self::new(StatusCode::CONFLICT, error.to_string()),
            NamingError::Closed(_) | NamingError::Busy(_) | NamingError::Subscriptions(_) => {
                Self::unavailable(error.to_string())
            }
        }
    }
}

impl From<BadMessage> for ApiError {
    fn from(error: BadMessage) -> Self {
        Self::bad_request(error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_request_is_told_from_what_may_work_elsewhere() {
        let text = || "because".to_owned();
        let cases = [
            (ApiError::from(RegistryError::Invalid(text())), 400),
            (RegistryError::Missing(text()).into(), 400),
            (RegistryError::Conflict(text()).into(), 400),
            (RegistryError::Full(text()).into(), 503),
            (RegistryError::NotReady(text()).into(), 503),
            (RegistryError::Contended(text()).into(), 503),
            (RegistryError::NotKept(text()).into(), 503),
            (AuthError::Invalid(text()).into(), 400),
        ];
        for (error, status) in cases {
            assert_eq!((error.status.as_u16(), &*error.message), (status, "because"));
        }
        let status = |refusal: Refusal| ApiError::from(AuthError::from(refusal)).status.as_u16();
        assert_eq!((status(Refusal::Busy), status(Refusal::UnknownUser)), (503, 403));
    }
}
