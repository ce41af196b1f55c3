//! Reading what a server of 3.x has, by its API for administrators.

use std::collections::BTreeMap;

use hyper::StatusCode;
use naming_model::GROUP_SEPARATOR;
use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::answers::{
    Cluster, ClusterSettings, Instance, NamespaceEntry, Service, ServiceEntry, ServiceSettings,
};
use super::catalog::{Listed, PAGE_SIZE, ServiceName, all_pages};
use crate::remote::{CallError, Remote};

const STATE: &str = "/v3/admin/core/state";
const NAMESPACES: &str = "/v3/admin/core/namespace/list";
const LOGIN: &str = "/v3/auth/user/login";

/// A server of 3.x.
#[derive(Debug)]
pub(super) struct V3(pub(super) Remote);

/// The envelope of answers.
#[derive(Deserialize)]
struct Enveloped<T> {
    data: Option<T>,
}

/// A page of services.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Page {
    total_count: usize,
    page_items: Vec<ServiceEntry>,
}

/// A service in detail.
#[derive(Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Detail {
    #[serde(flatten)]
    settings: ServiceSettings,
    cluster_map: Option<BTreeMap<String, ClusterSettings>>,
}

impl V3 {
    /// Whether a server is read by this API: it has it, and no older one that tells more.
    ///
    /// # Errors
    /// It does not answer.
    pub(super) async fn is_spoken_by(remote: &Remote) -> Result<bool, CallError> {
        match remote.peek(STATE).await {
            Ok(_) => {}
            // It is there, for users.
            Err(CallError::Refused { status, .. }) if matches!(status.as_u16(), 401 | 403) => {}
            Err(CallError::Refused { .. }) => return Ok(false),
            Err(error) => return Err(error),
        }
        // Before 3.x everybody may read the list of namespaces.
        match remote.peek("/v1/console/namespaces").await {
            Ok(_) => Ok(false),
            Err(CallError::Refused { .. }) => Ok(true),
            Err(error) => Err(error),
        }
    }

    /// The same server, at which one logs in as 3.x has it.
    pub(super) async fn of(remote: Remote) -> Self {
        remote.log_in_at(LOGIN).await;
        Self(remote)
    }

    pub(super) async fn namespaces(&self) -> Result<Vec<NamespaceEntry>, CallError> {
        Ok(self.find(NAMESPACES, &[]).await?.unwrap_or_default())
    }

    pub(super) async fn namespace(&self, id: &str) -> Result<Option<NamespaceEntry>, CallError> {
        self.find("/v3/admin/core/namespace", &[("namespaceId", id)]).await
    }

    /// The grouped names of the services of a namespace, in order.
    pub(super) async fn services(&self, namespace: &str) -> Result<Listed<String>, CallError> {
        let page = async |number: usize| {
            let (number, size) = (number.to_string(), PAGE_SIZE.to_string());
            let query = [("namespaceId", namespace), ("pageNo", &number), ("pageSize", &size)];
            let page: Page =
                self.find("/v3/admin/ns/service/list", &query).await?.unwrap_or_default();
            let names = page.page_items.iter().map(ServiceEntry::grouped).collect();
            Ok((names, page.total_count))
        };
        all_pages(String::clone, page).await
    }

    /// Settings of a service and its clusters.
    pub(super) async fn service(
        &self,
        name: ServiceName<'_>,
    ) -> Result<Option<Service>, CallError> {
        let Some(query) = parameters(name) else { return Ok(None) };
        let detail: Option<Detail> = self.find("/v3/admin/ns/service", &query).await?;
        Ok(detail.map(|Detail { settings, cluster_map }| {
            let clusters = cluster_map.unwrap_or_default().into_iter();
            let clusters = clusters.map(|(name, settings)| Cluster { name, settings }).collect();
            Service { service: settings, clusters }
        }))
    }

    /// The instances of a cluster, which are not given in pages; none if it is not there.
    pub(super) async fn instances(
        &self,
        name: ServiceName<'_>,
        cluster: &str,
    ) -> Result<Listed<Instance>, CallError> {
        let Some([namespace, group, service]) = parameters(name) else {
            return Ok(Listed { items: Vec::new(), missing: 0 });
        };
        let query = [namespace, group, service, ("clusterName", cluster)];
        let found = self.find("/v3/admin/ns/instance/list", &query).await?;
        Ok(Listed { items: found.unwrap_or_default(), missing: 0 })
    }

    /// What need not exist.
    async fn find<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<Option<T>, CallError> {
        let body = match self.0.get(path, query).await {
            Ok(body) => body,
            Err(CallError::Refused { status: StatusCode::NOT_FOUND, .. }) => return Ok(None),
            Err(CallError::Refused { text, .. }) if text.contains("\"code\":21008") => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        // With authentication on some servers say nothing at all where something is not found.
        if body.is_empty() {
            return Ok(None);
        }
        let enveloped: Enveloped<T> = serde_json::from_slice(&body).map_err(|error| {
            CallError::Unreadable(format!("cannot read the answer of {path}: {error}"))
        })?;
        Ok(enveloped.data)
    }
}

/// Namespace, group and service, which are apart here.
fn parameters(name: ServiceName<'_>) -> Option<[(&str, &str); 3]> {
    let (group, service) = name.grouped.split_once(GROUP_SEPARATOR)?;
    Some([("namespaceId", name.namespace), ("groupName", group), ("serviceName", service)])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_of_3_x_is_read() {
        let text = r#"{"code":0,"message":"success","data":{"namespaceId":"public",
            "serviceName":"s","groupName":"g","clusterMap":{"c":{"clusterName":"c",
            "healthChecker":{"type":"HTTP","path":"/x","headers":"","expectedResponseCode":200},
            "healthyCheckPort":81,"useInstancePortForCheck":false,"metadata":{},"hosts":null}},
            "metadata":{"a":"b"},"protectThreshold":0.3,"selector":{"type":"NoneSelector",
            "type":"none","contextType":"NONE"},"ephemeral":false}}"#;
        let detail: Detail = serde_json::from_str::<Enveloped<_>>(text).unwrap().data.unwrap();
        assert_eq!(detail.settings.protect_threshold, 0.3);
        assert_eq!(detail.settings.metadata["a"], "b");
        let cluster = &detail.cluster_map.unwrap()["c"];
        assert_eq!((cluster.check_port, cluster.use_instance_port), (81, false));
        assert_eq!(cluster.checker["path"], "/x");
    }
}
