//! `/v1/ns/health`: health set by hand.

use naming_model::{DEFAULT_CLUSTER, InstanceKey, RecordKey};
use serde_json::json;

use super::Api;
use crate::http::{Answer, ApiError, Call, Reply};
use crate::registry::{
    ClusterSettings, HealthChecker, Write, check_kind, check_port, clusters, settings,
};

impl Api {
    /// Refused unless the cluster has the health checker `NONE`, whatever its instances are: the
    /// next beat of an ephemeral one would set it right again. Of two instances with these names
    /// both are set. One that is not there is no error.
    pub(super) fn update_health(&self, call: &Call<'_>) -> Result<Answer, ApiError> {
        let params = call.params;
        let service = call.service()?;
        let ip = params.required("ip")?;
        check_kind(&ip)?;
        let port = check_port(params.required_int("port")?)?;
        let cluster = params.or("clusterName", DEFAULT_CLUSTER);
        let healthy = match params.optional("healthy") {
            Some(_) => params.flag_lenient("healthy", false),
            None if params.optional("valid").is_some() => params.flag_lenient("valid", false),
            None => return Err(ApiError::bad_request("Param 'healthy' is required.")),
        };
        let is_checked = self.existing(&service)?.read(|reader| {
            let settings = settings(&reader);
            let default = ClusterSettings::default();
            let clusters = clusters(&reader, &settings, &default);
            let known = clusters.iter().find(|(name, _)| *name == cluster);
            known.map(|(_, settings)| settings.checker != HealthChecker::None)
        });
        if is_checked
            .ok_or_else(|| ApiError::not_found(format!("cluster {cluster} is not found!")))?
        {
            let name = service.grouped();
            let text = format!("health check is still working, service: {name}");
            return Err(ApiError::bad_request(text));
        }
        let instance = InstanceKey { ip: &ip, port, cluster: &cluster };
        let set = |is_persistent| {
            let key = RecordKey { instance, is_persistent };
            self.writes.set_health(&service, &key, healthy, &|| call.actor())
        };
        let writes = Write::all(vec![set(false), set(true)]);
        Ok(writes.map(|results| results.into_iter().collect::<Result<(), _>>()).into_ok())
    }

    pub(super) fn health_server(&self) -> Reply {
        let services = self.registry.index.len();
        let address = self.address.as_str();
        let port = address.rsplit_once(':').map_or("", |(_, port)| port);
        let text = format!(
            "Hello! I am Nacos-Naming and healthy! total services: raft {services}, local port:{port}"
        );
        Reply::json(json!({ "msg": text }).to_string())
    }
}
