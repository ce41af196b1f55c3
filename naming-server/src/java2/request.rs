//! What members ask each other over gRPC, as the bodies of messages.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};

use super::content::{ClientData, Verified};
use super::member::Member;

/// What all data of this kind is filed under.
pub(crate) const RESOURCE: &str = "Nacos:Naming:v2:ClientData";
/// The key of a snapshot.
const SNAPSHOT: &str = "SNAPSHOT";

/// What is done with the data of a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub(crate) enum Operation {
    Add,
    Change,
    Delete,
    Verify,
    Snapshot,
    Query,
}

/// Bytes that are base64 in JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Content(pub(crate) Vec<u8>);

impl Serialize for Content {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Content {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        let bytes = STANDARD.decode(text.as_bytes());
        bytes.map(Self).map_err(|_| serde::de::Error::custom("content: not base64"))
    }
}

/// Which data a message is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DistroKey {
    pub(crate) resource_key: Option<String>,
    pub(crate) resource_type: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) target_server: Option<String>,
}

/// Data of a client, in a request or an answer.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DistroData {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distro_key: Option<DistroKey>,
    /// Decides what is done; `dataOperation` of the request only says which way it takes.
    #[serde(rename = "type", skip_serializing_if = "Option::is_none")]
    pub(crate) operation: Option<Operation>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) content: Option<Content>,
}

/// `DistroDataRequest`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct DistroRequest {
    headers: Empty,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distro_data: Option<DistroData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) data_operation: Option<Operation>,
    #[serde(skip_serializing_if = "Module::is_empty")]
    module: Module,
}

impl DistroRequest {
    /// Tells `to` what there is of a client.
    pub(crate) fn change(to: &str, client: &ClientData) -> Self {
        Self::about(to, &client.id, Operation::Change, Some(client.render()))
    }

    /// Tells `to` that a client is gone.
    pub(crate) fn delete(to: &str, id: &str) -> Self {
        Self::about(to, id, Operation::Delete, None)
    }

    /// Asks `to` whether it knows a client at this revision.
    pub(crate) fn verify(to: &str, id: &str, revision: i32) -> Self {
        let verified = Verified { client_id: id.to_owned(), revision: revision.into() };
        Self::about(to, id, Operation::Verify, Some(verified.render()))
    }

    /// Asks `to` what there is of a client.
    pub(crate) fn query(to: &str, id: &str) -> Self {
        Self::about(to, id, Operation::Query, None)
    }

    /// Asks for everything.
    pub(crate) fn snapshot() -> Self {
        let (operation, module) = (Some(Operation::Snapshot), Module::cluster());
        Self { headers: Empty, distro_data: None, data_operation: operation, module }
    }

    fn about(to: &str, id: &str, operation: Operation, content: Option<Vec<u8>>) -> Self {
        let distro_key = DistroKey {
            resource_key: Some(id.to_owned()),
            resource_type: Some(RESOURCE.to_owned()),
            target_server: Some(to.to_owned()),
        };
        let distro_data = DistroData {
            distro_key: Some(distro_key),
            operation: Some(operation),
            content: content.map(Content),
        };
        Self {
            headers: Empty,
            distro_data: Some(distro_data),
            data_operation: Some(operation),
            module: Module::cluster(),
        }
    }
}

impl DistroData {
    /// The answer to a `SNAPSHOT`.
    pub(crate) fn of_snapshot(content: Vec<u8>) -> Self {
        let distro_key = DistroKey {
            resource_key: Some(SNAPSHOT.to_owned()),
            resource_type: Some(RESOURCE.to_owned()),
            target_server: None,
        };
        Self { distro_key: Some(distro_key), operation: None, content: Some(Content(content)) }
    }

    /// The answer to a `QUERY`, under the key that was asked for.
    pub(crate) fn of_client(key: Option<DistroKey>, client: &ClientData) -> Self {
        Self { distro_key: key, operation: None, content: Some(Content(client.render())) }
    }
}

/// `MemberReportRequest`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ReportRequest {
    #[serde(default)]
    headers: Empty,
    pub(crate) node: Option<Member>,
    #[serde(default, skip_serializing_if = "Module::is_empty")]
    module: Module,
}

impl ReportRequest {
    /// Tells of this member.
    pub(crate) fn of(node: Member) -> Self {
        Self { headers: Empty, node: Some(node), module: Module::cluster() }
    }
}

/// `ServerReloadRequest`: send away as many clients as are above the count.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct ReloadRequest {
    headers: Empty,
    pub(crate) reload_count: i64,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reload_server: Option<String>,
    #[serde(skip_serializing_if = "Module::is_empty")]
    module: Module,
}

/// Any answer: what decides about success, and data if there is some.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct Reply {
    pub(crate) result_code: i32,
    pub(crate) error_code: i32,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) message: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) distro_data: Option<DistroData>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<Member>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) loader_metrics: Option<Map<String, Value>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) connection_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) support_ability_negotiation: Option<bool>,
    pub(crate) success: bool,
}

impl Reply {
    /// Whether the request was carried out. Some failures leave the result code as it was.
    pub(crate) fn is_success(&self) -> bool {
        self.result_code == 200 && self.error_code == 0
    }
}

/// The headers of a body, which are empty.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Empty;

impl Serialize for Empty {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(std::iter::empty::<(&str, &str)>())
    }
}

impl<'de> Deserialize<'de> for Empty {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        serde::de::IgnoredAny::deserialize(deserializer).map(|_| Self)
    }
}

/// The part of Java that a request belongs to. Nobody looks at it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
struct Module(Option<String>);

impl Module {
    fn cluster() -> Self {
        Self(Some("cluster".to_owned()))
    }

    fn is_empty(&self) -> bool {
        self.0.is_none()
    }
}
