//! Requests, as the Java client 2.5 writes them.

use bytes::Bytes;
use naming_model::payload::Payload;

/// Who the client is: `app` is its label `AppName`.
pub fn setup(app: &str) -> String {
    format!(
        "{{\"headers\":{{}},\"clientVersion\":\"Nacos-Java-Client:v2.5.1\",\"tenant\":\"\",\
         \"labels\":{{\"source\":\"sdk\",\"module\":\"naming\",\"AppName\":\"{app}\"}},\
         \"abilityTable\":{{}},\"module\":\"internal\"}}"
    )
}

/// The body of requests that say nothing.
pub const EMPTY: &str = "{\"headers\":{},\"module\":\"internal\"}";
/// Far above any answer that is asked for, in bytes.
pub const MOST_ANSWER_BYTES: usize = 64 << 20;

/// A message of this kind.
pub fn message(kind: &str, body: impl Into<Bytes>) -> Payload {
    Payload::new(kind, body).with_client_ip("127.0.0.1")
}

/// Asks for the list of a service.
pub fn query(service: &str) -> String {
    format!(
        "{{\"headers\":{{\"app\":\"unknown\"}},\"namespace\":\"public\",\
         \"serviceName\":\"{service}\",\"groupName\":\"DEFAULT_GROUP\",\"cluster\":\"\",\
         \"healthyOnly\":false,\"udpPort\":0,\"module\":\"naming\"}}"
    )
}

/// Registers (`registerInstance`) or removes (`deregisterInstance`) an address.
pub fn instance(action: &str, service: &str, ip: &str, port: u16) -> String {
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

/// Asks for the list of a service and for what becomes of it.
pub fn subscribe(service: &str) -> String {
    format!(
        "{{\"headers\":{{\"app\":\"unknown\"}},\"namespace\":\"public\",\
         \"serviceName\":\"{service}\",\"groupName\":\"DEFAULT_GROUP\",\"subscribe\":true,\
         \"clusters\":\"\",\"module\":\"naming\"}}"
    )
}

/// The acknowledgement of a list that was pushed.
pub fn ack(request_id: &str) -> String {
    format!(
        "{{\"resultCode\":200,\"errorCode\":0,\"requestId\":\"{request_id}\",\"success\":true}}"
    )
}
