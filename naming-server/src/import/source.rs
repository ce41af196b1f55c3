//! What the source has, by the API that it speaks.

use super::SourceApi;
use super::answers::{Instance, NamespaceEntry, Service};
use super::catalog::{Listed, ServiceName};
use super::v3::V3;
use crate::remote::{CallError, Remote};

/// The server to copy from.
#[derive(Debug)]
pub(super) enum Source {
    /// Of 1.x or 2.x, or one of this kind.
    V1(Remote),
    /// Of 3.x, which refuses the old APIs unless it is told otherwise.
    V3(V3),
}

impl Source {
    pub(super) fn remote(&self) -> &Remote {
        match self {
            Self::V1(remote) | Self::V3(V3(remote)) => remote,
        }
    }

    /// The same server by the API that it answers. No log-in is needed to learn it.
    ///
    /// # Errors
    /// It does not answer at all.
    pub(super) async fn find_out(&self, wanted: SourceApi) -> Result<Self, CallError> {
        let remote = self.remote().clone();
        let is_v3 = match wanted {
            SourceApi::V1 => false,
            SourceApi::V3 => true,
            SourceApi::Auto => V3::is_spoken_by(&remote).await?,
        };
        if !is_v3 {
            return Ok(Self::V1(remote));
        }
        Ok(Self::V3(V3::of(remote).await))
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<NamespaceEntry>, CallError> {
        match self {
            Self::V1(remote) => remote.namespaces().await,
            Self::V3(server) => server.namespaces().await,
        }
    }

    pub(super) async fn namespace(&self, id: &str) -> Result<Option<NamespaceEntry>, CallError> {
        match self {
            Self::V1(remote) => remote.namespace(id).await,
            Self::V3(server) => server.namespace(id).await,
        }
    }

    /// The namespaces that have services; `None` if it does not tell.
    pub(super) async fn used_namespaces(&self) -> Result<Option<Vec<String>>, CallError> {
        match self {
            Self::V1(remote) => remote.used_namespaces().await.map(Some),
            Self::V3(_) => Ok(None),
        }
    }

    pub(super) async fn services(&self, namespace: &str) -> Result<Listed<String>, CallError> {
        match self {
            Self::V1(remote) => remote.services(namespace).await,
            Self::V3(server) => server.services(namespace).await,
        }
    }

    /// The names that a list cuts short.
    pub(super) async fn longer_names(
        &self,
        name: ServiceName<'_>,
    ) -> Result<Vec<String>, CallError> {
        match self {
            Self::V1(remote) => remote.longer_names(name).await,
            Self::V3(_) => Ok(Vec::new()),
        }
    }

    pub(super) async fn service(
        &self,
        name: ServiceName<'_>,
    ) -> Result<Option<Service>, CallError> {
        match self {
            Self::V1(remote) => remote.service(name).await,
            Self::V3(server) => server.service(name).await,
        }
    }

    pub(super) async fn instances(
        &self,
        name: ServiceName<'_>,
        cluster: &str,
    ) -> Result<Listed<Instance>, CallError> {
        match self {
            Self::V1(remote) => remote.instances(name, cluster).await,
            Self::V3(server) => server.instances(name, cluster).await,
        }
    }
}
