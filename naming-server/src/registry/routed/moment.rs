//! The moment of a write.

use distro_core::Tick;

use super::Writes;
use crate::registry::{RegistryError, Write};

impl Writes {
    /// The moment of a write that is carried out here. The gate has let it in a few microseconds ago;
    /// if this process was stopped since, the client may have written anew elsewhere, and a stamp of
    /// now would undo that.
    ///
    /// # Errors
    /// `NotReady` if this process was stopped. Nothing was written.
    pub(super) fn moment(&self) -> Result<Tick, RegistryError> {
        let now = self.registry.clock.tick();
        match &self.cluster {
            Some(cluster) => cluster.check_awake(now).map(|()| now),
            None => Ok(now),
        }
    }

    /// A write that is carried out here.
    pub(super) fn here<T>(
        &self,
        write: impl FnOnce(Tick) -> Result<T, RegistryError>,
    ) -> Write<Result<T, RegistryError>> {
        Write::Done(self.moment().and_then(write))
    }
}
