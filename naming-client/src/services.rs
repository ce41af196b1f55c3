//! Administration of services.

use std::collections::BTreeMap;

use hyper::Method;
use naming_http::Form;
use naming_model::{ClusterDetail, InstanceEvent, Selector, ServiceDetail, ServicePage};

use crate::call::{Call, Core, read_json};
use crate::client::NamingClient;
use crate::error::Error;
use crate::generations::{Place, call_first, data, done};
use crate::names::ServiceName;

/// Where servers of 3.x have the calls about one service.
const LATER: &str = "/v3/admin/ns/service";
/// Most names asked for in one page.
const PAGE_SIZE: u32 = 500;

/// What can be set for a service.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ServiceSettings {
    /// Share of healthy instances, 0 to 1, at or below which all are reported healthy. Default 0.
    pub protect_threshold: f64,
    /// Free labels. Default none.
    pub metadata: BTreeMap<String, String>,
    /// Which instances a consumer sees. Default all.
    pub selector: Selector,
}

/// The calls that administer services; [`NamingClient::services`] gives it.
///
/// A service needs no creating: the first registration does that. Creating one is of use to set
/// its threshold or metadata before.
#[derive(Debug, Clone, Copy)]
pub struct Services<'a> {
    client: &'a NamingClient,
}

impl<'a> Services<'a> {
    pub(crate) fn new(client: &'a NamingClient) -> Self {
        Self { client }
    }

    /// Creates a service.
    ///
    /// # Errors
    /// [`Error::Refused`] if it exists. The call is not repeated once it may have had an effect.
    pub async fn create(
        &self,
        service: &ServiceName,
        settings: &ServiceSettings,
    ) -> Result<(), Error> {
        self.set(Method::POST, service, settings, false).await
    }

    /// Replaces all settings of a service.
    ///
    /// # Errors
    /// One that [says "not found"](Error::is_not_found) if it does not exist, [`Error::Setting`]
    /// for settings that cannot be.
    pub async fn update(
        &self,
        service: &ServiceName,
        settings: &ServiceSettings,
    ) -> Result<(), Error> {
        self.set(Method::PUT, service, settings, true).await
    }

    async fn set(
        &self,
        method: Method,
        service: &ServiceName,
        settings: &ServiceSettings,
        is_repeatable: bool,
    ) -> Result<(), Error> {
        let params = settings_params(self.params(service), settings)?;
        // A service that is made for persistent instances takes no others in 3.x.
        let later =
            settings_params(self.later_params(service), settings)?.with("ephemeral", "true");
        self.at_first(method, params, later, is_repeatable, |_, body| done(body)).await
    }

    /// Makes a call at its place in 1.x, which most servers have, or in 3.x.
    async fn at_first<T>(
        &self,
        method: Method,
        params: Form,
        later: Form,
        is_repeatable: bool,
        read: impl Fn(&str, &[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        self.client.inner.check_open()?;
        let places = vec![
            Place::new(method.clone(), "/v1/ns/service", params),
            Place::new(method, LATER, later),
        ];
        call_first(&self.client.inner.core, places, is_repeatable, read).await
    }

    fn later_params(&self, service: &ServiceName) -> Form {
        let params = self.client.inner.core.params();
        params.with("serviceName", service.service()).with("groupName", service.group())
    }

    /// Sets the protect threshold and leaves the other settings. This reads and then writes: a
    /// change that somebody else makes between the two is lost.
    ///
    /// # Errors
    /// As [`Services::update`].
    pub async fn set_protect_threshold(
        &self,
        service: &ServiceName,
        share: f64,
    ) -> Result<(), Error> {
        let detail = self.detail(service).await?;
        let settings = ServiceSettings {
            protect_threshold: share,
            metadata: detail.metadata,
            selector: detail.selector,
        };
        self.update(service, &settings).await
    }

    /// Deletes a service. Nacos takes one that has instances as well.
    ///
    /// # Errors
    /// One that [says "not found"](Error::is_not_found) if it does not exist. The call is not
    /// repeated once it may have had an effect.
    pub async fn delete(&self, service: &ServiceName) -> Result<(), Error> {
        let (params, later) = (self.params(service), self.later_params(service));
        self.at_first(Method::DELETE, params, later, false, |_, body| done(body)).await
    }

    /// Settings and clusters of a service.
    ///
    /// # Errors
    /// One that [says "not found"](Error::is_not_found) if it does not exist.
    pub async fn detail(&self, service: &ServiceName) -> Result<ServiceDetail, Error> {
        let read = |path: &str, body: &[u8]| match path {
            LATER => data::<LaterDetail>(body).map(ServiceDetail::from),
            _ => read_json(body),
        };
        let (params, later) = (self.params(service), self.later_params(service));
        self.at_first(Method::GET, params, later, true, read).await
    }

    /// One page (the first is 1) of the names of a group, in order. Group `*` means all groups
    /// and gives grouped names.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn page(&self, group: &str, page: u32, page_size: u32) -> Result<ServicePage, Error> {
        self.client.inner.check_open()?;
        one_page(&self.client.inner.core, group, page, page_size).await
    }

    /// All names of a group (`*` for all groups), page by page. Services that come or go
    /// meanwhile may be missing or listed twice.
    ///
    /// # Errors
    /// Those of any call.
    pub async fn list(&self, group: &str) -> Result<Vec<ServiceName>, Error> {
        self.client.inner.check_open()?;
        list_all(&self.client.inner.core, group).await
    }

    /// What happened to the instances of a service lately, newest first, at most `limit` (1 to
    /// 1,000) events: why an instance came or went. A server tells only what it saw itself.
    ///
    /// # Errors
    /// [`Error::NoServer`] with status 501 for servers that have no such call, Nacos among them.
    pub async fn events(
        &self,
        service: &ServiceName,
        limit: u32,
    ) -> Result<Vec<InstanceEvent>, Error> {
        #[derive(serde::Deserialize)]
        struct Events {
            events: Vec<InstanceEvent>,
        }
        let params = self.params(service).with("limit", &limit.to_string());
        let mut call = Call::new(Method::GET, "/v1/ns/operator/events", params);
        call.patient = false;
        self.make(&call, read_json).await.map(|Events { events }| events)
    }

    fn params(&self, service: &ServiceName) -> Form {
        let params = self.client.inner.core.params();
        params.with("serviceName", service.grouped()).with("groupName", service.group())
    }

    async fn make<T>(
        &self,
        call: &Call,
        read: impl Fn(&[u8]) -> Result<T, String>,
    ) -> Result<T, Error> {
        self.client.inner.check_open()?;
        self.client.inner.core.call(call, read).await.map(|answer| answer.value)
    }
}

async fn one_page(core: &Core, group: &str, page: u32, size: u32) -> Result<ServicePage, Error> {
    let params = core
        .params()
        .with("groupName", group)
        .with("pageNo", &page.to_string())
        .with("pageSize", &size.to_string());
    let call = Call::new(Method::GET, "/v1/ns/service/list", params);
    core.call(&call, read_json).await.map(|answer| answer.value)
}

/// All names of a group, page by page.
pub(crate) async fn list_all(core: &Core, group: &str) -> Result<Vec<ServiceName>, Error> {
    let mut names: Vec<ServiceName> = Vec::new();
    for page in 1.. {
        let found = one_page(core, group, page, PAGE_SIZE).await?.doms;
        let last = found.len() < PAGE_SIZE as usize;
        // A name that cannot be parsed cannot be asked for either.
        names.extend(found.iter().filter_map(|name| ServiceName::new(group, name).ok()));
        if last {
            break;
        }
    }
    Ok(names)
}

/// A service as servers of 3.x show it.
#[derive(Default, serde::Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct LaterDetail {
    namespace_id: String,
    group_name: String,
    service_name: String,
    protect_threshold: f64,
    metadata: BTreeMap<String, String>,
    selector: serde_json::Value,
    cluster_map: BTreeMap<String, ClusterDetail>,
}

impl From<LaterDetail> for ServiceDetail {
    fn from(detail: LaterDetail) -> Self {
        let cluster = |(name, cluster)| ClusterDetail { name, ..cluster };
        Self {
            name: detail.service_name,
            group_name: detail.group_name,
            namespace_id: detail.namespace_id,
            protect_threshold: detail.protect_threshold,
            metadata: detail.metadata,
            // Its key `type` is there twice, and the last one counts.
            selector: serde_json::from_value(detail.selector).unwrap_or_default(),
            clusters: detail.cluster_map.into_iter().map(cluster).collect(),
        }
    }
}

fn settings_params(params: Form, settings: &ServiceSettings) -> Result<Form, Error> {
    let share = settings.protect_threshold;
    if !(0.0..=1.0).contains(&share) {
        let reason = format!("{share} is not a share from 0 to 1");
        return Err(Error::Setting { setting: "protect threshold", reason });
    }
    if settings.selector == Selector::Unknown {
        let reason = "its kind is not known to this client".to_owned();
        return Err(Error::Setting { setting: "selector", reason });
    }
    let text = |e: serde_json::Error| Error::Request(e.to_string());
    let metadata = serde_json::to_string(&settings.metadata).map_err(text)?;
    let selector = serde_json::to_string(&settings.selector).map_err(text)?;
    Ok(params
        .with("protectThreshold", &share.to_string())
        .with("metadata", &metadata)
        .with("selector", &selector))
}
