//! `/v1/ns/catalog`: what the console shows.

use serde_json::{Value, json};

use super::Api;
use super::paging::{PAGE_SIZE, too_long};
use super::service::threshold_json;
use crate::http::{ApiError, Call, MOST_ANSWER_BYTES, Params, Reply, not_a_number};
use crate::registry::{
    CatalogQuery, ClusterSettings, ListedService, NamePattern, Page, clusters, hosts, settings,
};

/// Services that may be looked into without having to wait.
pub(in crate::http) const SHORT_PAGE: i64 = 1_000;
/// Services on one page.
pub(in crate::http) const MOST_SERVICES: usize = 10_000;

impl Api {
    pub(super) fn catalog_services(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let params = call.params;
        let number = whole_number(params, "pageNo")?;
        let size = whole_number(params, "pageSize")?;
        let with_instances = params.flag_lenient("withInstances", false);
        // With instances Nacos counts pages from 0.
        let page = Page::new(number.saturating_add(i64::from(with_instances)), size);
        let namespace = call.namespace();
        let group = params.or("groupNameParam", "");
        let service = params.or("serviceNameParam", "");
        let instance = params.optional("instance");
        let query = CatalogQuery {
            namespace: &namespace,
            group: NamePattern::new(&group),
            service: NamePattern::new(&service),
            instance: instance.as_deref(),
            only_with_instances: params.flag_lenient("hasIpCount", false),
        };
        let looks_at_all =
            size > SHORT_PAGE || query.is_about_names() || query.is_about_instances();
        let _look = looks_at_all.then(|| self.naming.look_at_all()).transpose()?;
        let too_many = |count: usize| {
            let reason = format!("{count} services are on this page, the limit is {MOST_SERVICES}");
            ApiError::illegal(PAGE_SIZE, reason)
        };
        let (services, count) =
            self.registry.catalog(&query, page, MOST_SERVICES).map_err(too_many)?;
        if with_instances {
            let list = self.registry.catalog_json(&services, MOST_ANSWER_BYTES);
            return self.answers.json(list.ok_or_else(|| too_long(PAGE_SIZE))?);
        }
        let services: Vec<Value> = services.iter().map(|listed| self.counted(listed)).collect();
        self.answers.json(json!({ "serviceList": services, "count": count }).to_string())
    }

    pub(in crate::http) fn counted(&self, (service, datum): &ListedService) -> Value {
        let summary = self.registry.summary(datum);
        json!({
            "name": service.service(),
            "groupName": service.group(),
            "clusterCount": summary.clusters,
            "ipCount": summary.instances,
            "healthyInstanceCount": summary.healthy,
            "triggerFlag": summary.is_protected.to_string(),
        })
    }

    pub(super) fn catalog_service(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        let reply = self.naming.existing(&service)?.read(|reader| {
            let settings = settings(&reader);
            let cluster = |(name, cluster): (&str, &ClusterSettings)| {
                json!({
                    "serviceName": service.grouped(),
                    "name": name,
                    "healthChecker": cluster.checker.to_json(),
                    // Nacos never sets these two, and its defIPPort follows the check port.
                    "defaultPort": 80,
                    "defaultCheckPort": 80,
                    "useIPPort4Check": cluster.use_instance_port,
                    "metadata": cluster.metadata.to_map(),
                    "sitegroup": "",
                    "defCkport": cluster.check_port,
                    "defIPPort": cluster.check_port,
                    "empty": !hosts(&reader).any(|host| host.key.cluster == name),
                })
            };
            let default = ClusterSettings::default();
            let clusters = clusters(&reader, &settings, &default).into_iter().map(cluster);
            json!({
                "service": {
                    "name": service.service(),
                    "protectThreshold": threshold_json(settings.protect_threshold),
                    "groupName": service.group(),
                    "selector": settings.selector.to_json(),
                    "metadata": settings.metadata.to_map(),
                },
                "clusters": clusters.collect::<Vec<_>>(),
            })
        });
        Ok(Reply::json(reply.to_string()))
    }

    pub(super) fn catalog_instances(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        let cluster = call.params.required("clusterName")?;
        let number = not_negative(call.params, "pageNo")?;
        let size = not_negative(call.params, "pageSize")?;
        // Page 0 is empty here, unlike in all other lists.
        let page = Page::new(number, if number == 0 { 0 } else { size });
        let datum = self.naming.existing(&service)?;
        let (list, count) = self
            .registry
            .instances_json(&service, &datum, &cluster, page, MOST_ANSWER_BYTES)
            .ok_or_else(|| ApiError::not_found(format!("cluster {cluster} is not found!")))?;
        if list.len() > MOST_ANSWER_BYTES {
            return Err(too_long(PAGE_SIZE));
        }
        self.answers.json(format!("{{\"list\":{list},\"count\":{count}}}"))
    }

    /// Response times of health checks in milliseconds; -1 says: not measured, or not by this
    /// member.
    pub(super) fn catalog_response_times(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        let datum = self
            .registry
            .find(&service)
            .ok_or_else(|| ApiError::bad_request("request service doesn't exist"))?;
        let clusters: Vec<Value> = datum.read(|reader| {
            let settings = settings(&reader);
            let default = ClusterSettings::default();
            let times = |(name, _): (&str, _)| {
                let times = self.checks.times(service.as_str(), name);
                let shown = |time: Option<u64>| time.map_or_else(|| json!(-1), Value::from);
                json!({
                    "name": name,
                    "checkRTBest": shown(times.and_then(|times| times.best_ms)),
                    "checkRTWorst": shown(times.and_then(|times| times.worst_ms)),
                    "checkRTNormalized": shown(times.map(|times| times.pace_ms)),
                })
            };
            clusters(&reader, &settings, &default).into_iter().map(times).collect()
        });
        Ok(Reply::json(json!({ "clusters": clusters }).to_string()))
    }
}

/// A whole number of any size that must be there.
///
/// # Errors
/// 400 that names the parameter.
fn whole_number(params: &Params<'_>, name: &str) -> Result<i64, ApiError> {
    let text = params.required(name)?;
    text.parse().map_err(|_| {
        let reason = not_a_number(&text).message;
        ApiError::illegal(name, format_args!("it is no whole number of 64 bits. {reason}"))
    })
}

fn not_negative(params: &Params<'_>, name: &str) -> Result<i64, ApiError> {
    match whole_number(params, name)? {
        number if number < 0 => Err(ApiError::illegal(name, "it is negative")),
        number => Ok(number),
    }
}
