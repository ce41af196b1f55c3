//! Audit lines about administrative writes. Registrations, deregistrations and beats have none: the
//! events tell of those.

use std::net::SocketAddr;
use std::sync::Arc;

use naming_model::{InstanceKey, ServiceKey};

use super::begun::finished;
use super::{Caller, Clearance, Naming, NamingError};
use crate::audit::{Audit, Change, Outcome, Parameters};
use crate::registry::Write;
use crate::text::cut;

/// Bytes of a text that are shown.
const MAX_TEXT: usize = 200;

/// The beginning of a text, as much of it as an audit line shows.
pub(crate) fn short(text: &str) -> &str {
    cut(text, MAX_TEXT)
}

/// A change that has not been answered. It is noted even if it never is.
pub(crate) struct Watched {
    audit: Arc<Audit>,
    /// Apart, so that other requests do not carry the room for it along.
    change: Option<Box<Change>>,
    /// Whether it is known who asks, and that the caller may, or nobody has to be known.
    is_admitted: bool,
}

impl Naming {
    /// Begins to watch an administrative write. `parameters` must be free of secrets.
    pub(crate) fn watch(
        &self,
        action: &'static str,
        caller: &Caller<'_>,
        forwarded_for: Option<String>,
        parameters: Parameters,
    ) -> Watched {
        let change = Change {
            action,
            outcome: Outcome::Failed,
            status: None,
            user: caller.user.map(|user| short(user).to_owned()),
            address: peer_text(caller.peer),
            forwarded_for,
            agent: short(caller.agent).to_owned(),
            server: self.server.clone(),
            parameters,
            refusals_left_out: 0,
        };
        let audit = Arc::clone(&self.audit);
        Watched { audit, change: Some(Box::new(change)), is_admitted: false }
    }

    /// Carries out an administrative write and notes what became of it, unless the whole request is
    /// watched.
    pub(super) fn watched<T: Send + 'static>(
        &self,
        caller: &Caller<'_>,
        action: &'static str,
        about: impl FnOnce() -> Parameters,
        write: impl FnOnce() -> Write<Result<T, NamingError>>,
    ) -> Write<Result<T, NamingError>> {
        if caller.clearance.is_watched() {
            return write();
        }
        let mut watched = self.watch(action, caller, None, about());
        watched.admitted();
        match write() {
            Write::Done(outcome) => {
                watched.end(outcome_of(&outcome), None);
                Write::Done(outcome)
            }
            Write::Sent(later) => Write::Sent(finished(Box::pin(async move {
                let outcome = later.await;
                watched.end(outcome_of(&outcome), None);
                outcome
            }))),
        }
    }
}

impl Watched {
    /// What a caller gets whose whole request is watched.
    pub(crate) fn clear(&self, clearance: Clearance) -> Clearance {
        clearance.watched()
    }

    /// This user asked for it.
    pub(crate) fn by(&mut self, user: &str) {
        if let Some(change) = &mut self.change {
            change.user = Some(short(user).to_owned());
        }
    }

    /// Its sender may send it.
    pub(crate) fn admitted(&mut self) {
        self.is_admitted = true;
    }

    /// It will be asked for again.
    pub(crate) fn forget(mut self) {
        self.change = None;
    }

    /// It was answered, with this status where the protocol has one.
    pub(crate) fn end(mut self, outcome: Outcome, status: Option<u16>) {
        if let Some(change) = &mut self.change {
            (change.outcome, change.status) = (outcome, status);
        }
        self.record();
    }

    /// What never got to its use case is a refusal, whatever became of it: else strangers would
    /// have a line for each request that they hang up on.
    fn record(&mut self) {
        let Some(mut change) = self.change.take() else { return };
        if !self.is_admitted {
            change.outcome = Outcome::Refused;
        }
        self.audit.record(*change);
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.record();
    }
}

fn outcome_of<T>(outcome: &Result<T, NamingError>) -> Outcome {
    match outcome {
        Ok(_) => Outcome::Ok,
        Err(NamingError::Closed(_)) => Outcome::Refused,
        Err(error) if error.is_final() && !error.may_have_effect() => Outcome::Refused,
        Err(_) => Outcome::Failed,
    }
}

/// The parameters of a line about a service.
pub(super) fn of_service(service: &ServiceKey) -> Parameters {
    Parameters(vec![
        ("namespaceId", short(service.namespace()).to_owned()),
        ("serviceName", short(service.grouped()).to_owned()),
    ])
}

/// The parameters of a line about an instance.
pub(super) fn of_instance(service: &ServiceKey, key: &InstanceKey<'_>) -> Parameters {
    let mut parameters = of_service(service);
    parameters.0.extend([
        ("clusterName", short(key.cluster).to_owned()),
        ("ip", short(key.ip).to_owned()),
        ("port", key.port.to_string()),
    ]);
    parameters
}

fn peer_text(peer: SocketAddr) -> String {
    // An IPv4 client of an IPv6 socket is known by its IPv4 address.
    SocketAddr::new(peer.ip().to_canonical(), peer.port()).to_string()
}
