//! Requests, as the Java client 2.5 writes them.

use bytes::Bytes;
use naming_model::payload::Payload;

/// Who the client is; the answer to this one is the acknowledgement of the setup.
pub(super) const SETUP: &str = "{\"headers\":{},\"clientVersion\":\"Nacos-Java-Client:v2.5.1\",\
    \"tenant\":\"\",\"labels\":{\"source\":\"sdk\",\"module\":\"naming\",\"AppName\":\"bench\"},\
    \"abilityTable\":{},\"module\":\"internal\"}";
pub(super) const EMPTY: &str = "{\"headers\":{},\"module\":\"internal\"}";
/// Far above any answer that the benchmark asks for, in bytes.
pub(super) const MOST_ANSWER_BYTES: usize = 64 << 20;

/// A message of this kind.
pub(super) fn message(kind: &str, body: impl Into<Bytes>) -> Payload {
    Payload::new(kind, body).with_client_ip("127.0.0.1")
}

/// Names services as the benchmark over HTTP does, so that a population can be filled there.
pub(super) fn service(number: u64) -> String {
    format!("bench.service.{number:06}")
}

pub(super) fn query(service: &str) -> String {
    format!(
        "{{\"headers\":{{\"app\":\"unknown\"}},\"namespace\":\"public\",\
         \"serviceName\":\"{service}\",\"groupName\":\"DEFAULT_GROUP\",\"cluster\":\"\",\
         \"healthyOnly\":false,\"udpPort\":0,\"module\":\"naming\"}}"
    )
}

/// Registers (`registerInstance`) or removes (`deregisterInstance`) an address.
pub(super) fn instance(action: &str, service: &str, ip: &str, port: u16) -> String {
    format!(
        "{{\"headers\":{{\"app\":\"unknown\"}},\"namespace\":\"public\",\
         \"serviceName\":\"{service}\",\"groupName\":\"DEFAULT_GROUP\",\"type\":\"{action}\",\
         \"instance\":{{\"ip\":\"{ip}\",\"port\":{port},\"weight\":1.0,\"healthy\":true,\
         \"enabled\":true,\"ephemeral\":true,\"clusterName\":\"DEFAULT\",\
         \"serviceName\":\"DEFAULT_GROUP@@{service}\",\"metadata\":{{\"version\":\"1.0.0\",\
         \"zone\":\"a\"}},\"instanceHeartBeatInterval\":5000,\"instanceHeartBeatTimeOut\":15000,\
         \"ipDeleteTimeout\":30000,\"instanceIdGenerator\":\"simple\"}},\"module\":\"naming\"}}"
    )
}

pub(super) fn subscribe(service: &str) -> String {
    format!(
        "{{\"headers\":{{\"app\":\"unknown\"}},\"namespace\":\"public\",\
         \"serviceName\":\"{service}\",\"groupName\":\"DEFAULT_GROUP\",\"subscribe\":true,\
         \"clusters\":\"\",\"module\":\"naming\"}}"
    )
}

/// The acknowledgement of a list that was pushed.
pub(super) fn ack(request_id: &str) -> String {
    format!(
        "{{\"resultCode\":200,\"errorCode\":0,\"requestId\":\"{request_id}\",\"success\":true}}"
    )
}
