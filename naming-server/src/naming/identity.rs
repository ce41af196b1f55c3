//! Who sends a request, as far as this server needs to know.

use std::sync::Arc;

use super::Naming;
use crate::auth::{self, Credentials, Refusal};
use crate::registry::Later;

/// Who sent a request.
pub(crate) enum Identity {
    /// Authentication is off: nobody has to be known.
    Anybody,
    /// This user.
    User(Arc<str>),
    /// Nobody is believed to.
    Refused(Refusal),
    /// It takes a while to find out, beside the threads that serve. Once the future says yes, the
    /// same credentials are known at once.
    Unverified(Later<Result<(), Refusal>>),
}

impl Naming {
    /// Finds out who sent a request, at once but for a password that was not verified lately.
    pub(crate) fn identify(&self, credentials: &Credentials<'_>) -> Identity {
        let Some(auth) = &self.auth else { return Identity::Anybody };
        match auth.identify(credentials) {
            auth::Caller::Known(user) => Identity::User(user),
            auth::Caller::Refused(refusal) => Identity::Refused(refusal),
            auth::Caller::Unverified(check) => Identity::Unverified(check),
        }
    }
}
