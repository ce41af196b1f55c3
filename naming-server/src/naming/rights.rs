//! Which right a call needs, and whether its caller has it.

use naming_model::ServiceKey;

use super::caller::Granted;
use super::{Access, Caller, Clearance, Naming, NamingError};
use crate::auth::Refusal;
use crate::registry::{Action, Resource};

/// What the caller must be allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need<'a> {
    /// Nothing.
    Nothing,
    /// To be a user.
    AnyUser,
    /// Everything.
    Administrator,
    /// This, on a service.
    Service(Action, &'a ServiceKey),
    /// This, on all services of a namespace.
    Namespace(Action, &'a str),
    /// This, on all services of all namespaces.
    AllNamespaces(Action),
    /// To change the switches.
    Switches,
}

impl Naming {
    /// Has the right checked for a whole request. Its clearance is good for use cases that need the
    /// same right, to what the request is about; all others check theirs.
    ///
    /// # Errors
    /// The caller lacks it.
    pub(crate) fn admit(
        &self,
        caller: &Caller<'_>,
        need: &Need<'_>,
    ) -> Result<Clearance, NamingError> {
        self.check_right(caller, need)?;
        let right = match need {
            Need::Service(action, _) | Need::Namespace(action, _) | Need::AllNamespaces(action) => {
                Granted::One(match action {
                    Action::Read => Access::Read,
                    Action::Write => Access::Write,
                })
            }
            Need::Nothing | Need::AnyUser | Need::Administrator | Need::Switches => {
                Granted::Nothing
            }
        };
        Ok(caller.clearance.with_right(right))
    }

    /// The clearance of a request that another server has proved to have sent. It need not be a
    /// user: it has checked the sender.
    pub(crate) fn admit_member(&self, caller: &Caller<'_>) -> Clearance {
        caller.clearance.with_right(Granted::All)
    }

    pub(super) fn check_right(
        &self,
        caller: &Caller<'_>,
        need: &Need<'_>,
    ) -> Result<(), NamingError> {
        let Some(auth) = &self.auth else { return Ok(()) };
        match caller.user {
            _ if *need == Need::Nothing => Ok(()),
            None => Err(Refusal::UnknownUser.into()),
            Some(user) if self.may(user, need) => Ok(()),
            Some(user) => Err(auth.deny(caller.peer.ip(), user).into()),
        }
    }

    /// Whether the caller has a right, without a word about it if not.
    pub(super) fn may_know(&self, caller: &Caller<'_>, need: &Need<'_>) -> bool {
        self.auth.is_none() || caller.user.is_some_and(|user| self.may(user, need))
    }

    /// Whether this user has a right.
    fn may(&self, user: &str, need: &Need<'_>) -> bool {
        let accounts = self.registry.accounts.load();
        let on = |action, resource: Resource<'_>| accounts.may(user, action, &resource);
        match *need {
            Need::Nothing => true,
            Need::AnyUser => accounts.has_user(user),
            Need::Administrator => accounts.is_admin(user),
            Need::Service(action, service) => on(action, Resource::Service(service)),
            Need::Namespace(action, namespace) => on(action, Resource::Namespace(namespace)),
            Need::AllNamespaces(action) => on(action, Resource::AllNamespaces),
            Need::Switches => on(Action::Write, Resource::Named("naming/switches")),
        }
    }
}
