//! Reads of instances: lists in the three shapes of 2.x, the client API and the admin API, and one
//! instance.

use std::net::IpAddr;

use naming_model::{DEFAULT_CLUSTER, NAMESPACE_SEPARATOR, ServiceKey};
use serde_json::json;

use super::envelope::{data, long_data};
use super::error::Fault;
use super::form::{self, DEFAULT_PAGE_SIZE, Paging};
use super::instance::nothing_there;
use super::shape::{Selected, array, push_host};
use crate::http::v1::Api;
use crate::http::{Answer, Call, Reply};
use crate::networks::bare;
use crate::registry::{Flavour, Host, Page, are_protected, hosts, push_string, settings, wall_ms};

/// The list of 2.x. Whoever names an address and a port may be told of changes by UDP.
pub(super) fn list(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    // Empty is not the same as missing here.
    if call.params.raw("serviceName").is_some_and(|name| name.trim().is_empty()) {
        return Err(Fault::illegal("serviceName", "it is blank"));
    }
    let service = form::service(call)?;
    let clusters = form::clusters(call, "")?;
    let healthy_only = form::flag(call, "healthyOnly")?.unwrap_or(false);
    let port = form::optional_port(call, "port")?.unwrap_or(0);
    api.naming().check_recovered(&service)?;
    let named: Option<IpAddr> = call.params.optional("ip").and_then(|ip| bare(&ip).parse().ok());
    if named.is_some() && port > 0 {
        let flavour = Flavour::Grouped;
        let subscriber = api.subscriber(call, &service, &clusters, flavour, port.into(), || named);
        api.naming().subscribe(subscriber);
    }
    let cache_ms = api.registry.switches.load().push_cache_ms;
    let shown = shown(api, &service, &clusters, healthy_only);
    let (mut name, mut group, mut echo) = (String::new(), String::new(), String::new());
    push_string(&mut name, service.grouped());
    push_string(&mut group, service.group());
    push_string(&mut echo, &clusters);
    let json = format!(
        "{{\"name\":{name},\"groupName\":{group},\"clusters\":{echo},\"cacheMillis\":{cache_ms},\
         \"hosts\":{},\"lastRefTime\":{},\"checksum\":\"\",\"allIPs\":false,\
         \"reachProtectionThreshold\":{},\"valid\":true}}",
        shown.hosts,
        wall_ms(),
        shown.is_protected,
    );
    Ok(long_data(api, &json, "clusterName")?.into())
}

/// The list of the client API of 3.x: those that may be used, of the cluster `DEFAULT` unless the
/// caller names another.
pub(super) fn client_list(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let clusters = form::clusters(call, DEFAULT_CLUSTER)?;
    api.naming().check_recovered(&service)?;
    let hosts = shown(api, &service, &clusters, false).hosts;
    Ok(long_data(api, &hosts, "clusterName")?.into())
}

/// What clients are shown of a service.
struct Shown {
    /// A JSON array.
    hosts: String,
    /// Whether all are reported healthy since so few are.
    is_protected: bool,
}

/// A service that nobody made has no threshold, so its instances are shown as they are.
fn shown(api: &Api, service: &ServiceKey, clusters: &str, healthy_only: bool) -> Shown {
    let Some(datum) = api.registry.find(service) else {
        return Shown { hosts: "[]".to_owned(), is_protected: false };
    };
    datum.read(|reader| {
        let selected = Selected::of(&reader, clusters);
        let settings = settings(&reader);
        let at_zero = api.registry.settings.protect_at_zero;
        let is_protected = settings.explicit
            && are_protected(
                selected.healthy(),
                selected.hosts.len(),
                settings.protect_threshold,
                at_zero,
            );
        let shown = selected.hosts.into_iter().filter(|host| host.instance.enabled);
        let shown = shown.map(|host| (host, host.healthy || is_protected));
        let shown = shown.filter(|(_, healthy)| *healthy || !healthy_only);
        Shown { hosts: array(service, shown), is_protected }
    })
}

/// The list of the admin API: disabled ones, too, with their true health.
pub(super) fn admin_list(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let clusters = form::clusters(call, DEFAULT_CLUSTER)?;
    let healthy_only = form::flag(call, "healthyOnly")?.unwrap_or(false);
    let name = service.grouped();
    let datum = api.registry.find(&service);
    let datum = datum.ok_or_else(|| Fault::not_found(format!("service {name} is not found!")))?;
    let json = datum.read(|reader| {
        let selected = Selected::of(&reader, &clusters);
        if selected.hosts.is_empty() {
            let reason = format!("cluster {clusters} of service {name} is not found!");
            return Err(Fault::not_found(reason));
        }
        let shown = selected.hosts.into_iter().map(|host| (host, host.healthy));
        Ok(array(&service, shown.filter(|(_, healthy)| *healthy || !healthy_only)))
    })?;
    Ok(long_data(api, &json, "clusterName")?.into())
}

/// A page of the instances of a cluster, as the console asks for it.
pub(super) fn console_list(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let clusters = form::clusters(call, DEFAULT_CLUSTER)?;
    let paging = Paging::of(call, DEFAULT_PAGE_SIZE)?;
    let (items, count) = page_of(api, &service, &clusters, paging.page(), |_| true);
    Ok(long_data(api, &paging.json(count, &items), "pageSize")?.into())
}

/// The catalog of 2.x: a page of all instances of a service.
pub(super) fn catalog(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let service = form::any_service(call)?;
    let clusters = form::clusters(call, "")?;
    let number = |name| {
        form::required(call, name)?;
        Ok::<_, Fault>(form::number(call, name)?.unwrap_or_default())
    };
    let page = Page::new(number("pageNo")?, number("pageSize")?);
    let healthy_only = form::flag(call, "healthyOnly")?.unwrap_or(false);
    let enabled_only = form::flag(call, "enabledOnly")?.unwrap_or(false);
    let (instances, count) = page_of(api, &service, &clusters, page, |host| {
        (host.healthy || !healthy_only) && (host.instance.enabled || !enabled_only)
    });
    let json = format!("{{\"instances\":{instances},\"count\":{count}}}");
    Ok(long_data(api, &json, "pageSize")?.into())
}

/// A page of the instances that are meant, as a JSON array, and how many are meant.
fn page_of(
    api: &Api,
    service: &ServiceKey,
    clusters: &str,
    page: Page,
    is_meant: impl Fn(&Host<'_>) -> bool,
) -> (String, usize) {
    let Some(datum) = api.registry.find(service) else { return ("[]".to_owned(), 0) };
    datum.read(|reader| {
        let mut selected = Selected::of(&reader, clusters).hosts;
        selected.retain(is_meant);
        let count = selected.len();
        let on_page = page.of(selected.into_iter()).map(|host| (host, host.healthy));
        (array(service, on_page), count)
    })
}

/// One instance as 2.x shows it.
pub(super) fn detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    find(api, call, |host, service| {
        data(&json!({
            "serviceName": service.grouped(),
            "ip": host.key.ip,
            "port": host.key.port,
            "clusterName": host.key.cluster,
            "weight": host.instance.weight,
            "healthy": host.healthy,
            "instanceId": null,
            "metadata": host.instance.metadata.to_map(),
        }))
    })
}

/// One instance as 3.x shows it.
pub(super) fn admin_detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    find(api, call, |host, service| {
        let mut json = String::new();
        push_host(&mut json, host, host.healthy, service);
        Reply::json(format!("{{\"code\":0,\"message\":\"success\",\"data\":{json}}}"))
    })
}

/// What is shown of the instance that a request names.
fn find(
    api: &Api,
    call: &Call<'_>,
    show: impl FnOnce(&Host<'_>, &ServiceKey) -> Reply,
) -> Result<Answer, Fault> {
    let service = form::service(call)?;
    let ip = form::required(call, "ip")?;
    let port = form::port(call)?;
    let cluster = form::cluster(call, &["clusterName", "cluster"])?;
    let datum = api.registry.find(&service);
    let datum = datum.ok_or_else(|| nothing_there(false, service.grouped()))?;
    datum.read(|reader| {
        let is_meant = |host: &Host<'_>| {
            host.key.ip == ip && host.key.port == port && host.key.cluster == cluster
        };
        let host = hosts(&reader).find(is_meant);
        let host = host.ok_or_else(|| nothing_there(true, service.grouped()))?;
        Ok(show(&host, &service).into())
    })
}

/// Addresses and health of a service whose whole key stands in the path, without envelope.
pub(super) fn statuses(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let key = call.path.rsplit_once("/statuses/").map_or("", |(_, key)| key);
    let key = crate::text::decode(key.as_bytes());
    let (namespace, name) = match key.split_once(NAMESPACE_SEPARATOR) {
        Some(parts) => parts,
        None => (naming_model::DEFAULT_NAMESPACE, &*key),
    };
    let service = ServiceKey::parse(namespace, name)?;
    let datum = api.registry.find(&service);
    let datum = datum.ok_or_else(|| nothing_there(false, service.grouped()))?;
    let ips: Vec<String> = datum.read(|reader| {
        let status = |host: Host<'_>| format!("{}:{}_{}", host.key.ip, host.key.port, host.healthy);
        hosts(&reader).map(status).collect()
    });
    Ok(Reply::json(json!({ "ips": ips }).to_string()).into())
}
