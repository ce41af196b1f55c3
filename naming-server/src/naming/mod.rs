//! The application layer: what every front calls, whatever protocol it speaks.
//!
//! ```text
//! http, grpc, dns                         parse, call one use case, format
//!       │  Caller, typed arguments
//!       ▼
//! naming     gate ► right ► audit ► use case ► wait for owner and disk
//!       │
//!       ▼
//! registry · push · auth · audit
//! ```
//!
//! A use case checks the gate and the right of its [`Caller`] itself, and notes administrative
//! writes. A front that has had these checked for the whole request, before it has read what the
//! request is about, says so by a [`Clearance`], which only this layer gives.
//!
//! Writes are [`Write`]s: done, or on their way. A write that has begun is finished, whether its
//! front waits for it or drops it.

use std::sync::Arc;

use crate::audit::Audit;
use crate::auth::Auth;
use crate::push::Pusher;
use crate::registry::{Cluster, Registry, Writes};

mod access;
mod accounts;
mod backup;
mod begun;
mod caller;
mod changes;
mod endpoints;
mod error;
mod foreign;
mod gate;
mod health;
mod holding;
mod identity;
mod instances;
mod limits;
mod lists;
mod namespaces;
mod rates;
mod rights;
mod services;
mod switches;
#[cfg(test)]
mod tests;
mod watched;

pub(crate) use access::Access;
pub(crate) use accounts::Administration;
pub(crate) use backup::Step;
pub(crate) use caller::{Caller, Clearance, Front};
pub(crate) use changes::{Layer, Patch};
pub(crate) use error::NamingError;
pub(crate) use foreign::ForeignOwners;
pub(crate) use identity::Identity;
pub(crate) use lists::{Asked, InfoQuery, ServiceNames};
pub(crate) use namespaces::{MAX_NAMESPACE_ID, NotMade, is_public, random_id};
use rates::Rates;
pub(crate) use rates::{CallKind, RateSettings};
pub(crate) use rights::Need;
pub(crate) use watched::{Watched, short};

/// What all fronts stand on.
pub(crate) struct Naming {
    registry: Arc<Registry>,
    writes: Writes,
    pusher: Pusher,
    /// What there is only in a cluster.
    cluster: Option<Arc<Cluster>>,
    /// What there is only among servers of another make.
    owners: Option<Arc<dyn ForeignOwners>>,
    /// Who may do what; none while authentication is off.
    auth: Option<Arc<Auth>>,
    audit: Arc<Audit>,
    /// This member, as audit lines name it.
    server: String,
    looks: limits::Looks,
    rates: Rates,
}

/// What a [`Naming`] is made of.
pub(crate) struct NamingParts {
    pub(crate) registry: Arc<Registry>,
    pub(crate) writes: Writes,
    pub(crate) pusher: Pusher,
    pub(crate) cluster: Option<Arc<Cluster>>,
    pub(crate) owners: Option<Arc<dyn ForeignOwners>>,
    pub(crate) auth: Option<Arc<Auth>>,
    pub(crate) audit: Arc<Audit>,
    pub(crate) server: String,
}

impl Naming {
    pub(crate) fn new(parts: NamingParts) -> Self {
        let NamingParts { registry, writes, pusher, cluster, owners, auth, audit, server } = parts;
        let (looks, rates) = Default::default();
        Self { registry, writes, pusher, cluster, owners, auth, audit, server, looks, rates }
    }

    /// All services of this node.
    pub(crate) fn registry(&self) -> &Arc<Registry> {
        &self.registry
    }

    /// The way of all writes.
    pub(crate) fn writes(&self) -> &Writes {
        &self.writes
    }

    /// Who is told of changes.
    pub(crate) fn pusher(&self) -> &Pusher {
        &self.pusher
    }

    /// Who may do what; none while authentication is off.
    pub(crate) fn auth(&self) -> Option<&Arc<Auth>> {
        self.auth.as_ref()
    }

    /// Where administrative writes are noted.
    pub(crate) fn audit(&self) -> &Arc<Audit> {
        &self.audit
    }

    /// Checks what every use case asks first: whether this server takes such calls now, and whether
    /// the caller has the right to this one.
    ///
    /// # Errors
    /// The gate is closed; the caller lacks the right.
    fn enter(
        &self,
        caller: &Caller<'_>,
        access: Access,
        need: &Need<'_>,
    ) -> Result<(), NamingError> {
        if !caller.clearance.has_passed() {
            self.check_gate(caller, access)?;
        }
        if !caller.clearance.has_right(access) {
            self.check_right(caller, need)?;
        }
        Ok(())
    }
}
