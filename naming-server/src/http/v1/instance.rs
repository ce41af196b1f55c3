//! `/v1/ns/instance` and its old name `/v1/ns/api`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use naming_model::{
    DEFAULT_CLUSTER, DEFAULT_GROUP, GROUP_SEPARATOR, InstanceKey, RecordKey, ServiceKey,
};
use serde_json::{Value, json};

use super::Api;
use super::operator_values::{clears_values, named_in_form};
use super::push::named_ip;
use crate::http::{AgentKind, Answer, ApiError, Call, MOST_ANSWER_BYTES, Params, Reply};
use crate::nacos::{InstanceStatus, render_instance_statuses};
use crate::naming::{Asked, Patch};
use crate::registry::{
    Flavour, Host, Instance, ListReply, Metadata, View, ViewQuery, check_address, check_app,
    check_kind, check_port, hosts, list_reply, operator_values_json, push_id, wall_ms,
};

/// The parameters that name an instance.
struct Address<'a> {
    ip: Cow<'a, str>,
    port: u16,
    cluster: Cow<'a, str>,
}

impl Address<'_> {
    fn key(&self) -> InstanceKey<'_> {
        InstanceKey { ip: &self.ip, port: self.port, cluster: &self.cluster }
    }
}

impl Api {
    pub(super) fn register_instance(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let (service, address, instance, healthy) = self.whole_instance(call)?;
        service.check_characters()?;
        let key = address.key();
        Ok(self.naming.register(&call.caller(), &service, &key, instance, healthy).into_ok())
    }

    /// Java clients update what is there; for all others this is another way to register. Whoever
    /// calls, it counts as the word of an operator: what instances say for themselves comes by
    /// registration and beat, and the name of an agent proves nothing.
    pub(super) fn update_instance(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let (service, address, instance, healthy) = self.whole_instance(call)?;
        if !call.agent.is_java_1() {
            service.check_characters()?;
        }
        let (key, whole) = (address.key(), (instance, healthy));
        let named = |instance: &Instance| named_in_form(call.params, instance);
        let must_exist = call.agent.is_java_1();
        let write = self.naming.update(&call.caller(), &service, &key, whole, named, must_exist);
        Ok(write.into_ok())
    }

    pub(super) fn deregister_instance(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let service = call.service()?;
        let address = address(call.params)?;
        call.params.double("weight", 1.0)?;
        let key = self.removed_instance(call.params, &service, &address.key());
        Ok(self.naming.deregister(&call.caller(), &service, &key).into_ok())
    }

    /// Nacos does not ask for the kind, and takes the persistent one if there are both: that is what
    /// `ephemeral` is for here.
    pub(super) fn patch_instance(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let service = call.service()?;
        let params = call.params;
        let address = address(params)?;
        let given = |name| params.optional(name).is_some();
        let metadata = params.optional("metadata");
        let metadata = metadata.map(|text| self.registry.parse_metadata(&text)).transpose()?;
        let weight = given("weight").then(|| params.double("weight", 1.0)).transpose()?;
        let healthy = given("healthy").then(|| params.flag_lenient("healthy", true));
        let enabled = given("enabled").then(|| params.flag_lenient("enabled", true));
        let app = params.optional("app").map(Cow::into_owned);
        app.as_deref().map_or(Ok(()), check_app)?;
        let clears = clears_values(params)?;
        let ephemeral = given("ephemeral").then(|| params.flag_numeric("ephemeral", true));
        let metadata = metadata.map(Metadata::from);
        let patch = Patch { ephemeral, weight, healthy, enabled, metadata, app, clears };
        Ok(self.naming.patch(&call.caller(), &service, &address.key(), patch).into_ok())
    }

    pub(super) fn instance_detail(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        let ip = call.params.required("ip")?;
        let port = call.params.required_int("port")?;
        // The alias `cluster` is not read here.
        let cluster = call.params.or("clusterName", DEFAULT_CLUSTER);
        let name = service.grouped();
        let not_found = |text: String| ApiError::not_found(text);
        let datum = self
            .registry
            .find(&service)
            .ok_or_else(|| not_found(format!("no service {name} found!")))?;
        datum.read(|reader| {
            let mut in_cluster =
                hosts(&reader).filter(|host| host.key.cluster == cluster).peekable();
            if in_cluster.peek().is_none() {
                let text = format!("no ips found for cluster {cluster} in service {name}");
                return Err(not_found(text));
            }
            let host = in_cluster
                .find(|host| host.key.ip == ip && i32::from(host.key.port) == port)
                .ok_or_else(|| not_found("no matched ip found!".into()))?;
            let mut detail = detail(&host, &service);
            let values = operator_values_json(&reader, &host.record_key().text());
            if let (Some(values), Some(detail)) = (values, detail.as_object_mut()) {
                detail.insert("operatorValues".to_owned(), values);
            }
            Ok(Reply::json(detail.to_string()))
        })
    }

    pub(super) fn list_instances(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        self.list(call, &service)
    }

    pub(super) fn legacy_list(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = self.legacy_service(call)?;
        self.list(call, &service)
    }

    fn list(&self, call: &Call<'_>, service: &ServiceKey) -> Result<Reply, ApiError> {
        let params = call.params;
        let clusters = params.or("clusters", "");
        let env = params.or("env", "");
        let flavour = if call.agent.is_java_1() { Flavour::Grouped } else { Flavour::Ungrouped };
        let healthy_only = params.flag_strict("healthyOnly", false);
        let udp_port = params.int("udpPort", 0)?;
        let subscriber =
            self.subscriber(call, service, &clusters, flavour, udp_port, || named_ip(call));
        let null_metadata = call.agent.text.starts_with("Nacos-Python-Client");
        let query = ViewQuery { flavour, healthy_only, clusters: &clusters, null_metadata };
        let is_check = params.flag_strict("isCheck", false);
        let wall_ms = wall_ms();
        let read = |view: Option<&View>, cache_ms| {
            if is_check && view.is_some_and(|view| view.has_candidates) {
                return Reply::json("{}");
            }
            let clusters = &clusters;
            let reply = ListReply { service, flavour, cache_ms, clusters, env: &env, wall_ms };
            let [body, tail] = list_reply(view, &reply);
            Reply::json_in_parts(body, tail)
        };
        Ok(self.naming.list(&call.caller(), Asked { service, query, subscriber }, read)?)
    }

    pub(super) fn instance_statuses(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = self.service_of_key(call)?;
        let datum = self.registry.find(&service).ok_or_else(|| {
            ApiError::not_found(format!("service: {} not found.", service.grouped()))
        })?;
        let status = |host: Host<'_>| InstanceStatus {
            ip: host.key.ip.to_owned(),
            port: host.key.port.into(),
            healthy: host.healthy,
        };
        let statuses: Vec<_> = datum.read(|reader| hosts(&reader).map(status).collect());
        Ok(Reply::json(render_instance_statuses(statuses.iter())))
    }

    /// The service whose whole key is given: namespace, group and name in one.
    pub(super) fn service_of_key(&self, call: &Call<'_>) -> Result<ServiceKey, ApiError> {
        let key = call.params.required("key")?;
        let (namespace, name) = match key.split_once(naming_model::NAMESPACE_SEPARATOR) {
            Some(parts) => parts,
            None => (naming_model::DEFAULT_NAMESPACE, &*key),
        };
        Ok(ServiceKey::parse(namespace, name)?)
    }

    pub(super) fn legacy_names(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let _look = self.naming.look_at_all()?;
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let (mut count, mut bytes) = (0, 0);
        for namespace in self.registry.index.namespaces() {
            let mut of_namespace = Vec::new();
            let is_known = self.registry.index.visit(&namespace, |_, rest, _| {
                let name = rest.split(GROUP_SEPARATOR).next().unwrap_or_default();
                // With quotes and comma.
                bytes += name.len() + 3;
                of_namespace.push(name.to_owned());
                bytes <= MOST_ANSWER_BYTES
            });
            if bytes > MOST_ANSWER_BYTES {
                return Err(ApiError::bad_request(format!(
                    "the names take more than the {MOST_ANSWER_BYTES} bytes of one answer; ask \
                     /v1/ns/service/list for them, page by page"
                )));
            }
            if is_known {
                count += of_namespace.len();
                names.insert(namespace, of_namespace);
            }
        }
        // Old DNS agents expect a flat list.
        let flat = call.agent.kind == AgentKind::Dns
            && call.agent.version <= crate::registry::Version(1, 0, 1);
        let doms = if flat {
            json!(names.into_values().flatten().collect::<Vec<_>>())
        } else {
            json!(names)
        };
        self.answers.json(json!({ "count": count, "doms": doms }).to_string())
    }

    pub(super) fn legacy_service(&self, call: &Call<'_>) -> Result<ServiceKey, ApiError> {
        let name = call.params.required("dom")?;
        Ok(ServiceKey::grouping(&call.namespace(), &name, DEFAULT_GROUP)?)
    }

    /// The parameters of a registration, in the order in which Nacos complains about them.
    fn whole_instance<'a>(
        &self,
        call: &'a Call<'_>,
    ) -> Result<(ServiceKey, Address<'a>, Instance, bool), ApiError> {
        let params = call.params;
        let service = call.service()?;
        let mut address = address(params)?;
        let names_none = is_python_none(call, &address.cluster);
        if names_none {
            address.cluster = Cow::Borrowed(DEFAULT_CLUSTER);
        }
        let weight = params.double("weight", 1.0)?;
        let metadata = match params.optional("metadata") {
            None if names_none => Metadata::absent().into(),
            text => self.registry.parse_metadata(&text.unwrap_or_default())?,
        };
        let app = params.or("app", "DEFAULT");
        check_app(&app)?;
        let mut instance = Instance::new(weight, metadata)?.with_app(&app)?;
        instance.enabled = params.flag_lenient("enabled", params.flag_lenient("enable", true));
        check_address(&address.ip)?;
        instance.is_persistent = !self.is_ephemeral(params);
        Ok((service, address, instance, params.flag_lenient("healthy", true)))
    }

    pub(super) fn is_ephemeral(&self, params: &Params<'_>) -> bool {
        let default = self.registry.switches.load().default_instance_ephemeral;
        // Nacos takes `1`, as PHP writes true, for false: the instance would be persistent.
        params.flag_numeric("ephemeral", default)
    }

    /// The instance that a removal means. Nacos looks for an ephemeral one unless the request says
    /// otherwise, removes nothing and answers `ok` all the same.
    pub(super) fn removed_instance<'a>(
        &self,
        params: &Params<'_>,
        service: &ServiceKey,
        key: &InstanceKey<'a>,
    ) -> RecordKey<'a> {
        match params.optional("ephemeral") {
            None => self.registry.choose_kind_to_remove(service, key),
            Some(_) => RecordKey { instance: *key, is_persistent: !self.is_ephemeral(params) },
        }
    }
}

fn address<'a>(params: &Params<'a>) -> Result<Address<'a>, ApiError> {
    let ip = params.required("ip")?;
    check_kind(&ip)?;
    let port = check_port(params.required_int("port")?)?;
    let cluster = match params.optional("clusterName") {
        Some(cluster) => cluster,
        None => params.or("cluster", DEFAULT_CLUSTER),
    };
    Ok(Address { ip, port, cluster })
}

/// Whether the cluster is the text `None` of the old Python SDK, which sends it for a cluster that
/// was not given, but names no cluster at all in its beats. With Nacos that makes two instances,
/// one of which expires.
fn is_python_none(call: &Call<'_>, cluster: &str) -> bool {
    call.agent.kind == AgentKind::Unknown && cluster == "None"
}

fn detail(host: &Host<'_>, service: &ServiceKey) -> Value {
    let mut id = String::new();
    push_id(&mut id, host, service);
    json!({
        "service": service.grouped(),
        "ip": host.key.ip,
        "port": host.key.port,
        "clusterName": host.key.cluster,
        "weight": host.instance.weight,
        "healthy": host.healthy,
        "instanceId": id,
        "metadata": host.instance.metadata.to_map(),
    })
}
