//! Java servers as owners of services: how the application layer tells them of writes.

use std::sync::Arc;

use naming_model::ServiceKey;

use crate::nacos::{Adapter, Owner, RetainedWrite};
use crate::naming::ForeignOwners;
use crate::registry::Later;

/// Java servers as owners of services, for fronts that have no request of theirs to pass on.
pub(crate) struct JavaOwners(Arc<Adapter>);

impl JavaOwners {
    /// Those that this adapter knows.
    pub(crate) fn of(adapter: &Arc<Adapter>) -> Arc<dyn ForeignOwners> {
        Arc::new(Self(Arc::clone(adapter)))
    }
}

impl ForeignOwners for JavaOwners {
    fn own(&self, service: &ServiceKey) -> bool {
        matches!(self.0.owner(service), Owner::Foreign(_))
    }

    fn tell(&self, service: ServiceKey, id: String) -> Later<()> {
        let adapter = Arc::clone(&self.0);
        Box::pin(async move { adapter.tell(RetainedWrite { service, id }).await })
    }

    fn beat(&self, service: ServiceKey, id: String) -> Later<()> {
        let adapter = Arc::clone(&self.0);
        Box::pin(async move { adapter.beat_held(&service, &id).await })
    }
}
