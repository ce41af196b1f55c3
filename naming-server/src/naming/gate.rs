//! The gate: the status of the server, and what a member of a cluster does not know yet.

use super::{Access, Caller, Clearance, Naming, NamingError};
use crate::registry::{ServerStatus, SwitchValues};

impl Naming {
    /// Has the gate checked for a whole request, by the switches in force. `asks_registry` is false for what operators and
    /// health checks ask a server that is not ready, too.
    ///
    /// # Errors
    /// The gate is closed.
    pub(crate) fn pass(
        &self,
        switches: &SwitchValues,
        caller: &Caller<'_>,
        access: Access,
        asks_registry: bool,
    ) -> Result<Clearance, NamingError> {
        check_status(switches, caller, access)?;
        if !asks_registry {
            // A use case that asks the registry all the same checks the whole gate.
            return Ok(caller.clearance);
        }
        self.check_knowledge(access)?;
        Ok(caller.clearance.passed())
    }

    pub(super) fn check_gate(
        &self,
        caller: &Caller<'_>,
        access: Access,
    ) -> Result<(), NamingError> {
        check_status(&self.registry.switches.load(), caller, access)?;
        self.check_knowledge(access)
    }

    /// Checks that a member of a cluster has loaded what there is, and has compared its data since
    /// it was last stopped. Writes need the latter only: one that waited in a socket meanwhile is
    /// late.
    fn check_knowledge(&self, access: Access) -> Result<(), NamingError> {
        let Some(cluster) = &self.cluster else { return Ok(()) };
        let now = self.registry.clock.tick();
        let knows = match access {
            Access::Read => cluster.may_read(now),
            Access::Write => cluster.may_write(now),
        };
        if knows { Ok(()) } else { Err(NamingError::Closed(ServerStatus::Starting)) }
    }
}

fn check_status(
    switches: &SwitchValues,
    caller: &Caller<'_>,
    access: Access,
) -> Result<(), NamingError> {
    let status = switches.status();
    let is_open = match status {
        ServerStatus::Up => true,
        // What servers say to each other keeps the others going.
        _ if caller.is_server() => true,
        ServerStatus::WriteOnly => access == Access::Write,
        ServerStatus::ReadOnly => access == Access::Read,
        ServerStatus::Starting | ServerStatus::Down | ServerStatus::Paused => false,
    };
    if is_open { Ok(()) } else { Err(NamingError::Closed(status)) }
}
