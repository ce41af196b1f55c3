//! What the target has. Without a target, which only a dry run can do, it has nothing.

use super::answers::{Instance, NamespaceEntry, Service};
use super::catalog::{Listed, ServiceName};
use crate::remote::{CallError, Remote};

/// The server to copy to, if there is one.
#[derive(Debug)]
pub(super) struct Target(pub(super) Option<Remote>);

impl Target {
    pub(super) async fn namespaces(&self) -> Result<Vec<NamespaceEntry>, CallError> {
        match &self.0 {
            Some(server) => server.namespaces().await,
            None => Ok(Vec::new()),
        }
    }

    pub(super) async fn namespace(&self, id: &str) -> Result<Option<NamespaceEntry>, CallError> {
        match &self.0 {
            Some(server) => server.namespace(id).await,
            None => Ok(None),
        }
    }

    pub(super) async fn service(
        &self,
        name: ServiceName<'_>,
    ) -> Result<Option<Service>, CallError> {
        match &self.0 {
            Some(server) => server.service(name).await,
            None => Ok(None),
        }
    }

    pub(super) async fn instances(
        &self,
        name: ServiceName<'_>,
        cluster: &str,
    ) -> Result<Listed<Instance>, CallError> {
        match &self.0 {
            Some(server) => server.instances(name, cluster).await,
            None => Ok(Listed { items: Vec::new(), missing: 0 }),
        }
    }
}
