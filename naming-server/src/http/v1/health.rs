//! `/v1/ns/health`: health set by hand.

use naming_model::{DEFAULT_CLUSTER, InstanceKey};
use serde_json::json;

use super::Api;
use crate::http::{Answer, ApiError, Call, Reply};
use crate::registry::{check_kind, check_port};

/// The kinds of health checkers that can be set, as forms show them.
pub(in crate::http) const CHECKERS: &str = "{\"TCP\":{},\"HTTP\":{\"path\":\"\",\"headers\":\"\",\
    \"expectedResponseCode\":200},\"MYSQL\":{\"user\":null,\"pwd\":null,\"cmd\":null},\"NONE\":{}}";

impl Api {
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
        let key = InstanceKey { ip: &ip, port, cluster: &cluster };
        Ok(self.naming.set_health(&call.caller(), &service, &key, healthy).into_ok())
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
