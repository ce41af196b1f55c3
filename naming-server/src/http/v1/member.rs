//! `/v1/core/cluster/*` and the lists of servers. This node is the only member.

use serde_json::{Value, json};

use super::{Api, COMPATIBLE_VERSION};
use crate::http::{ApiError, Call, Reply};

impl Api {
    pub(super) fn member_self(&self) -> Result<Reply, ApiError> {
        Ok(result(&self.member()))
    }

    pub(super) fn member_nodes(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let keyword = call.params.or("keyword", "");
        let matches = self.address.to_string().starts_with(&*keyword);
        let members: Vec<_> = matches.then(|| self.member()).into_iter().collect();
        Ok(result(&json!(members)))
    }

    pub(super) fn member_simple_nodes(&self) -> Result<Reply, ApiError> {
        Ok(result(&json!([self.address.to_string()])))
    }

    pub(super) fn member_health(&self) -> Result<Reply, ApiError> {
        Ok(result(&json!("UP")))
    }

    /// Another server tells of itself. It is told whether it is a member, as text.
    pub(super) fn member_report(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let Some(sender) = reported_address(call.body) else {
            let refusal = json!({
                "code": 400, "message": "Node information is illegal", "data": null,
            });
            return Ok(Reply::json(refusal.to_string()));
        };
        let is_member = sender == self.address.to_string();
        Ok(result(&json!(is_member.to_string())))
    }

    pub(super) fn refuse_member_admin(&self) -> Result<Reply, ApiError> {
        let text = "this release serves as a single server; changing its members comes with \
                    the clustered release";
        Err(ApiError::not_implemented(text))
    }

    pub(super) fn refuse_peer_protocol(&self) -> Result<Reply, ApiError> {
        let text = "this release does not offer the protocol between Nacos servers; do not list \
                    this server in their cluster.conf";
        Err(ApiError::not_implemented(text))
    }

    pub(super) fn operator_servers(&self) -> Result<Reply, ApiError> {
        // The only member is healthy, so `healthy=true` shows the same.
        Ok(Reply::json(json!({ "servers": [self.member()] }).to_string()))
    }

    pub(super) fn distro_status(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let shown = match &*call.params.or("action", "view") {
            "view" => json!({ "status": [self.member()] }),
            _ => json!({}),
        };
        Ok(Reply::json(shown.to_string()))
    }

    pub(super) fn responsible_server(&self, call: &Call<'_>) -> Result<Reply, ApiError> {
        let service = call.service()?;
        if self.registry.find(&service).is_none() {
            return Err(ApiError::bad_request("service not found"));
        }
        let responsible = json!({ "responsibleServer": self.address.to_string() });
        Ok(Reply::json(responsible.to_string()))
    }

    /// One `ip:port` a line, for clients with an endpoint configured. They disagree about what
    /// ends a line, so the only one has no end.
    pub(super) fn server_list(&self) -> Result<Reply, ApiError> {
        Ok(Reply::text(self.address.to_string()))
    }

    fn member(&self) -> Value {
        json!({
            "ip": self.address.ip().to_string(),
            "port": self.address.port(),
            "state": "UP",
            "extendInfo": {
                "lastRefreshTime": self.started.wall_ms,
                "version": COMPATIBLE_VERSION,
            },
            "address": self.address.to_string(),
            "failAccessCnt": 0,
        })
    }
}

fn result(data: &Value) -> Reply {
    Reply::json(json!({ "code": 200, "message": null, "data": data }).to_string())
}

/// The address of the member a report tells of, if it is a report.
fn reported_address(body: &[u8]) -> Option<String> {
    let member: Value = serde_json::from_slice(body).ok()?;
    let text = |field: &str| {
        let text = member.get(field)?.as_str()?.trim();
        (!text.is_empty()).then(|| text.to_owned())
    };
    let port = member.get("port")?.as_i64()?;
    text("ip")?;
    (port != -1).then_some(text("address")?)
}
