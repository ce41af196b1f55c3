//! The switches that operators set for all members.

use serde_json::value::RawValue;

use super::begun::begun;
use super::{Caller, Naming, NamingError, Need};
use crate::audit::Parameters;
use crate::registry::{Content, Fields, SWITCHES, Write};

impl Naming {
    /// Sets these fields of the switches: for all members, or for this one alone until it ends.
    ///
    /// # Errors
    /// The caller may not change the switches, or the change cannot be kept. Of several fields some
    /// may then have been set.
    pub(crate) fn set_switches(
        &self,
        caller: &Caller<'_>,
        fields: Fields,
        here_alone: bool,
    ) -> Write<Result<(), NamingError>> {
        if !caller.clearance.has_every_right()
            && let Err(error) = self.check_right(caller, &Need::Switches)
        {
            return Write::Done(Err(error));
        }
        let names: Vec<&str> = fields.keys().map(String::as_str).collect();
        let about = Parameters(vec![("entry", super::short(&names.join(",")).to_owned())]);
        let set = || {
            if here_alone {
                self.registry.switches.set_here(fields);
                return Write::Done(Ok(()));
            }
            let write = |(name, value): (String, Box<RawValue>)| {
                let content = Content::Switch(value.get().into());
                self.writes.write_record(SWITCHES, &name, Some(content))
            };
            let writes = fields.into_iter().map(write).collect();
            begun(Write::all(writes).map(|results| results.into_iter().collect()))
        };
        self.watched(caller, "switches_update", || about, set)
    }
}
