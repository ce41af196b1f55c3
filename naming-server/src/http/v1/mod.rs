//! The 1.x API: parse, call the registry, format. One file for each resource.

use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;

use naming_model::{DEFAULT_NAMESPACE, ServiceKey, grouped_name};

use super::{ApiError, Call, Handler, Reply, no_such_api};
use crate::push::{PushStats, Pusher};
use crate::registry::Registry;

mod beat;
mod catalog;
mod cluster;
mod health;
mod instance;
mod push;
mod route;
mod service;

use route::{Route, find_route};

/// What the handlers work with.
pub(crate) struct Api {
    pub(crate) registry: Arc<Registry>,
    pub(crate) pusher: Pusher,
    pub(crate) push_stats: Arc<PushStats>,
    /// Where this node listens.
    pub(crate) address: SocketAddr,
}

impl Handler for Api {
    fn handle(&self, call: &Call<'_>) -> Reply {
        let Some(route) = find_route(call) else { return no_such_api(call) };
        self.dispatch(route, call).into()
    }
}

impl Api {
    fn dispatch(&self, route: Route, call: &Call<'_>) -> Result<Reply, ApiError> {
        match route {
            Route::InstanceList => self.list_instances(call),
            Route::InstanceBeat => self.beat(call),
            Route::InstanceRegister => self.register_instance(call),
            Route::InstanceDeregister => self.deregister_instance(call),
            Route::InstanceUpdate => self.update_instance(call),
            Route::InstancePatch => self.patch_instance(call),
            Route::InstanceDetail => self.instance_detail(call),
            Route::InstanceStatuses => self.instance_statuses(call),
            Route::MetadataBatchUpdate => self.change_metadata_batch(call, true),
            Route::MetadataBatchDelete => self.change_metadata_batch(call, false),
            Route::LegacyList => self.legacy_list(call),
            Route::LegacyBeat => self.legacy_beat(call),
            Route::LegacyNames => self.legacy_names(call),
            Route::ServiceSubscribers => self.subscribers(call),
            Route::PushState => Ok(self.push_state(call)),
            Route::ServiceCreate => self.create_service(call),
            Route::ServiceUpdate => self.update_service(call),
            Route::ServiceDelete => self.delete_service(call),
            Route::ServiceDetail => self.service_detail(call),
            Route::ServiceList => self.list_services(call),
            Route::ServiceNames => self.service_names(call),
            Route::ServiceChecksum => self.service_checksum(call),
            Route::SelectorTypes => Ok(self.selector_types()),
            Route::CatalogServices => self.catalog_services(call),
            Route::CatalogService => self.catalog_service(call),
            Route::CatalogInstances => self.catalog_instances(call),
            Route::CatalogResponseTimes => self.catalog_response_times(call),
            Route::ClusterUpdate => self.update_cluster(call),
            Route::HealthUpdate => self.update_health(call),
            Route::HealthServer => Ok(self.health_server()),
            // Under construction: the other resources.
            _ => Err(ApiError::not_implemented("not there yet")),
        }
    }
}

impl Call<'_> {
    /// The service the request is about: `serviceName`, or `dom` if that is blank, with the group
    /// of `groupName` or the default one put before it unless it has one.
    ///
    /// # Errors
    /// 400 if it is missing or no service name.
    pub(crate) fn service(&self) -> Result<ServiceKey, ApiError> {
        let name = match self.params.optional("serviceName") {
            Some(name) => name,
            None => match self.params.optional("dom") {
                Some(name) => name,
                // A blank name is not "missing", it is one without a service part.
                None => self.params.required("serviceName")?,
            },
        };
        let group = self.params.or("groupName", "");
        Ok(ServiceKey::parse(&self.namespace(), &grouped_name(&name, &group))?)
    }

    /// The namespace the request is about.
    pub(crate) fn namespace(&self) -> Cow<'_, str> {
        self.params.or("namespaceId", DEFAULT_NAMESPACE)
    }

    /// Who calls, for events: address and agent.
    pub(crate) fn actor(&self) -> String {
        let ip = self.peer.ip();
        if self.agent.text.is_empty() {
            ip.to_string()
        } else {
            format!("{ip} {}", self.agent.text)
        }
    }
}
