//! Answers to what other members ask at the cluster port.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::BadContent;
use super::arrays::render_snapshot;
use super::content::{ClientData, Verified, check_id};
use super::peers::Peers;
use super::request::{
    DistroData, DistroRequest, Operation, RESOURCE, ReloadRequest, Reply, ReportRequest,
};

/// Result codes, as Nacos has them.
const OK: i32 = 200;
const BAD_REQUEST: i32 = 400;
const FORBIDDEN: i32 = 403;
const NO_HANDLER: i32 = 302;
const FAILED: i32 = 500;
const BAD_BODY: i32 = 502;

/// An answer: its kind, what it counts as, its body.
pub(crate) struct PeerAnswer {
    pub(crate) kind: &'static str,
    pub(crate) code: i32,
    pub(crate) body: Vec<u8>,
}

impl Peers {
    /// Answers a request of the kinds that only members send.
    pub(crate) fn answer(
        &self,
        kind: &str,
        peer: IpAddr,
        headers: &HashMap<String, String>,
        body: &[u8],
    ) -> PeerAnswer {
        let Some(answer) = response_of(kind) else {
            return error(NO_HANDLER, "RequestHandler Not Found");
        };
        if !self.believes(peer, headers) {
            tracing::debug!(%peer, kind, "refused a request from a sender that is no member");
            return failure(answer, FORBIDDEN, "this server takes that from members only");
        }
        let answered = match kind {
            "DistroDataRequest" => parse(body).map(|request| self.distro(&request)),
            "MemberReportRequest" => parse(body).and_then(|request| self.report(request)),
            "ServerReloadRequest" => parse(body).map(|request| self.send_away(&request)),
            "ServerLoaderInfoRequest" => parse::<Map<_, _>>(body).map(|_| self.load_metrics()),
            // Configuration is not served here; that it changed elsewhere is nobody's business.
            _ => parse::<Map<_, _>>(body).map(|_| success(Reply::default())),
        };
        match answered {
            Ok(reply) => {
                let code = if reply.is_success() { OK } else { reply.error_code };
                let body = serde_json::to_vec(&reply).expect("texts and numbers can be written");
                PeerAnswer { kind: answer, code, body }
            }
            Err(refused) => refused,
        }
    }

    fn distro(&self, request: &DistroRequest) -> Reply {
        match self.operate(request) {
            Ok(reply) => reply,
            Err(error) => {
                tracing::debug!(%error, "data of a Java member is refused");
                failed(FAILED, &error.to_string())
            }
        }
    }

    fn operate(&self, request: &DistroRequest) -> Result<Reply, BadContent> {
        if request.data_operation == Some(Operation::Snapshot) {
            return self.snapshot();
        }
        let named = |text: &str| BadContent::new(text);
        let data = request.distro_data.as_ref().ok_or_else(|| named("distroData is missing"))?;
        let key = data.distro_key.as_ref().ok_or_else(|| named("distroKey is missing"))?;
        if key.resource_type.as_deref() != Some(RESOURCE) {
            return Err(BadContent::about(
                "resourceType: not data of clients",
                key.resource_type.as_deref().unwrap_or_default(),
            ));
        }
        let operation = match request.data_operation {
            // It is asked for by the way, not by the data.
            Some(Operation::Query) => Operation::Query,
            _ => data.operation.ok_or_else(|| named("distroData.type is missing"))?,
        };
        let id = key.resource_key.as_deref();
        let content =
            || data.content.as_ref().map(|content| &*content.0).ok_or_else(|| named("no content"));
        match operation {
            Operation::Add | Operation::Change => self.change(content()?),
            Operation::Verify => self.verify(content()?),
            Operation::Delete => {
                let id = id.ok_or_else(|| named("resourceKey is missing"))?;
                check_id(id)?;
                tracing::debug!(client = id, "a Java member says that it is gone");
                self.clients.delete(id);
                Ok(success(Reply::default()))
            }
            Operation::Query => {
                let id = id.ok_or_else(|| named("resourceKey is missing"))?;
                let found = self.clients.find(id).or_else(|| self.own.lock().find(id));
                let distro_data =
                    found.map(|client| DistroData::of_client(data.distro_key.clone(), &client));
                Ok(success(Reply { distro_data, ..Reply::default() }))
            }
            Operation::Snapshot => self.snapshot(),
        }
    }

    fn change(&self, content: &[u8]) -> Result<Reply, BadContent> {
        let client = ClientData::parse(content)?;
        if !client.id.contains('#') && self.own.lock().find(&client.id).is_some() {
            return Err(BadContent::about("clientId: a connection of this member", &client.id));
        }
        self.clients.change(client, content.len())?;
        Ok(success(Reply::default()))
    }

    fn verify(&self, content: &[u8]) -> Result<Reply, BadContent> {
        let Verified { client_id, revision } = Verified::parse(content)?;
        if self.clients.verify(&client_id, revision) {
            return Ok(success(Reply::default()));
        }
        // Whoever vouches for it sends it now.
        Ok(failed(FAILED, "[DISTRO-FAILED] distro data verify failed"))
    }

    /// All clients that beat or hold a connection, wherever.
    fn snapshot(&self) -> Result<Reply, BadContent> {
        if !self.is_loaded() {
            return Err(BadContent::new("this member has not loaded everything yet"));
        }
        let theirs = self.clients.all();
        let ours: Vec<Arc<ClientData>> = self.own.lock().all().cloned().collect();
        let all = ours.iter().chain(&theirs).map(|client| &**client);
        let distro_data = Some(DistroData::of_snapshot(render_snapshot(all)));
        Ok(success(Reply { distro_data, ..Reply::default() }))
    }

    fn report(&self, request: ReportRequest) -> Result<Reply, PeerAnswer> {
        let Some(node) = request.node else {
            return Err(error(FAILED, "node is missing"));
        };
        let Some(address) = node.whole_address() else {
            return Ok(failed(BAD_REQUEST, "Node information is illegal"));
        };
        let is_member = self.update(|members| members.told(address, &node));
        if !is_member {
            tracing::debug!(
                address = crate::text::cut(address, 80),
                "ignored a report from a sender that is no member"
            );
        }
        Ok(success(Reply { node: Some(self.own_member()), ..Reply::default() }))
    }

    fn send_away(&self, request: &ReloadRequest) -> Reply {
        let Some(connections) = self.connections() else { return success(Reply::default()) };
        let above = usize::try_from(request.reload_count).unwrap_or(0);
        let sent = connections.send_away_above(above, request.reload_server.as_deref());
        let message = (sent == 0).then(|| "ignore".to_owned());
        success(Reply { message, ..Reply::default() })
    }

    fn load_metrics(&self) -> Reply {
        let clients = self.connections().map_or(0, |connections| connections.count());
        let peers = self.visitors_count();
        let metrics = json!({
            "conCount": (clients + peers).to_string(),
            "sdkConCount": clients.to_string(),
            "load": load_average(),
            "cpu": "0.0",
        });
        let Value::Object(metrics) = metrics else { unreachable!("it is written above") };
        success(Reply { loader_metrics: Some(metrics), ..Reply::default() })
    }
}

/// The load of this machine over the last minute, as text; 0 where nobody tells it.
fn load_average() -> String {
    let told = std::fs::read_to_string("/proc/loadavg").ok();
    let first = told.as_deref().and_then(|text| text.split_whitespace().next());
    first.unwrap_or("0.0").to_owned()
}

fn response_of(kind: &str) -> Option<&'static str> {
    Some(match kind {
        "DistroDataRequest" => "DistroDataResponse",
        "MemberReportRequest" => "MemberReportResponse",
        "ServerReloadRequest" => "ServerReloadResponse",
        "ServerLoaderInfoRequest" => "ServerLoaderInfoResponse",
        "ConfigChangeClusterSyncRequest" => "ConfigChangeClusterSyncResponse",
        _ => return None,
    })
}

fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, PeerAnswer> {
    serde_json::from_slice(body)
        .map_err(|bad| error(BAD_BODY, &format!("the body is not that of this request: {bad}")))
}

fn success(reply: Reply) -> Reply {
    Reply { result_code: OK, error_code: 0, success: true, ..reply }
}

fn failed(code: i32, text: &str) -> Reply {
    let message = Some(text.to_owned());
    Reply { result_code: FAILED, error_code: code, message, ..Reply::default() }
}

fn failure(kind: &'static str, code: i32, text: &str) -> PeerAnswer {
    let body = serde_json::to_vec(&failed(code, text)).expect("texts and numbers can be written");
    PeerAnswer { kind, code, body }
}

fn error(code: i32, text: &str) -> PeerAnswer {
    failure("ErrorResponse", code, text)
}
