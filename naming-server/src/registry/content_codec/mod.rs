//! What records carry, to bytes and back.
//!
//! What comes from another member is checked as if a client had sent it. Only the limit of
//! metadata is the same everywhere: members whose operators chose different ones must be able to
//! hold what the others took, or they would never agree.

use std::collections::BTreeMap;
use std::sync::Arc;

use distro_net::{BadValue, ValueCodec};
use naming_model::check_cluster_name;
use prost::{DecodeError, Message};

use super::instance::check_weight;
use super::metadata_text::MAX_METADATA;
use super::service::MAX_CLUSTERS;
use super::{
    ClusterSettings, Content, HealthChecker, Held, Instance, Metadata, Namespace, OperatorValues,
    Selector, ServiceKind, ServiceSettings, Timed, is_password_hash,
};
use crate::registry::RegistryError;

mod wire;

/// Digits of an instance id that is a number.
const MAX_ID: usize = 20;
/// Bytes of the value of a switch. The largest that the ranges of switches allow is a list of 64
/// items of 256 bytes, each written with an escape of 6.
const MAX_SWITCH: usize = 128 << 10;

/// Encodes and decodes [`Content`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct ContentCodec;

impl ValueCodec<Content> for ContentCodec {
    fn encode(&self, value: &Content, target: &mut Vec<u8>) {
        let kind = Some(match value {
            Content::Instance(instance) if instance.is_persistent => {
                wire::Kind::Persistent(instance.into())
            }
            Content::Instance(instance) => wire::Kind::Instance(instance.into()),
            Content::Service(settings) => {
                wire::Kind::Service(wire::Service::from(&**settings).encode_to_vec())
            }
            Content::Switch(text) => wire::Kind::Switch(text.to_string()),
            Content::Namespace(Namespace { name, description }) => {
                let (name, description) = (name.to_string(), description.to_string());
                wire::Kind::Namespace(wire::Namespace { name, description })
            }
            Content::User(hash) => wire::Kind::User(hash.to_string()),
            Content::Grant => wire::Kind::Grant(wire::Nothing {}),
            Content::Operator(values) => wire::Kind::Operator((&**values).into()),
            Content::Unknown(bytes) => return target.extend_from_slice(bytes),
        });
        wire::Content { kind }.encode(target).expect("a vector grows as needed");
    }

    fn decode(&self, source: &[u8]) -> Result<Content, BadValue> {
        let content = wire::Content::decode(source).map_err(malformed)?;
        let Some(kind) = content.kind else { return Ok(Content::Unknown(source.into())) };
        Ok(match kind {
            wire::Kind::Instance(instance) => Content::Instance(instance.try_into()?),
            wire::Kind::Persistent(instance) => {
                Content::Instance(Instance::try_from(instance)?.into_persistent())
            }
            wire::Kind::Service(settings) => Content::Service(Arc::new(read_settings(&settings)?)),
            wire::Kind::Switch(text) if text.len() > MAX_SWITCH => {
                return Err(bad("the value of a switch is too long"));
            }
            wire::Kind::Switch(text) => Content::Switch(text.into()),
            wire::Kind::Namespace(wire::Namespace { name, description }) => {
                let namespace = Namespace::new("namespaceName", &name, &description);
                Content::Namespace(namespace.map_err(refused)?)
            }
            wire::Kind::User(hash) if !is_password_hash(&hash) => {
                return Err(bad("the password hash of a user is none"));
            }
            wire::Kind::User(hash) => Content::User(hash.into()),
            wire::Kind::Grant(_) => Content::Grant,
            wire::Kind::Operator(values) => Content::Operator(Box::new(values.try_into()?)),
        })
    }
}

/// About how many bytes it is encoded: within some 32 of the truth for what has no settings of
/// clusters.
pub(super) fn weight(content: &Content) -> usize {
    const OVERHEAD: usize = 16;
    OVERHEAD
        + match content {
            Content::Instance(instance) => instance_weight(instance),
            Content::Service(settings) => settings.weight(),
            Content::Switch(text) => text.len(),
            Content::Namespace(namespace) => namespace.name.len() + namespace.description.len(),
            Content::User(hash) => hash.len(),
            Content::Grant => 0,
            Content::Operator(values) => values.metadata_bytes(),
            Content::Unknown(bytes) => bytes.len(),
        }
}

/// The same of an instance.
pub(super) fn instance_weight(instance: &Instance) -> usize {
    let id = instance.id.as_ref().map_or(0, |id| id.len());
    let app = instance.app.as_ref().map_or(0, |app| app.len());
    let held = instance.held.as_ref().map_or(0, |held| held.encoded_bytes());
    instance.metadata.weight() + id + app + held
}

impl From<&Instance> for wire::Instance {
    fn from(instance: &Instance) -> Self {
        Self {
            metadata: metadata_text(&instance.metadata),
            weight: (instance.weight != 1.0).then_some(instance.weight),
            id: instance.id.as_deref().map(str::to_owned),
            app: instance.app.as_deref().map(str::to_owned),
            is_disabled: !instance.enabled,
            held: instance.held.as_deref().map(wire::Held::from),
        }
    }
}

impl TryFrom<wire::Instance> for Instance {
    type Error = BadValue;

    fn try_from(instance: wire::Instance) -> Result<Self, BadValue> {
        let wire::Instance { metadata, weight, id, app, is_disabled, held } = instance;
        let made = Self::new(weight.unwrap_or(1.0), read_metadata(metadata)?).map_err(refused)?;
        let mut made = match app {
            Some(app) => made.with_app(&app).map_err(refused)?,
            None => made,
        };
        made.id = id.map(check_id).transpose()?;
        made.enabled = !is_disabled;
        made.held = held.map(Held::try_from).transpose()?.map(Box::new);
        Ok(made)
    }
}

impl From<&Held> for wire::Held {
    fn from(held: &Held) -> Self {
        let Held { by, is_unhealthy, weight, id } = held;
        let id = id.as_deref().map(str::to_owned);
        Self { by: *by, is_unhealthy: *is_unhealthy, weight: *weight, id }
    }
}

impl TryFrom<wire::Held> for Held {
    type Error = BadValue;

    fn try_from(held: wire::Held) -> Result<Self, BadValue> {
        let wire::Held { by, is_unhealthy, weight, id } = held;
        let made = Self::new(by, !is_unhealthy).with_id(id.as_deref().unwrap_or_default());
        let made = made.map_err(refused)?;
        match weight {
            Some(weight) => made.with_weight(weight).map(|(held, _)| held).map_err(refused),
            None => Ok(made),
        }
    }
}

fn check_id(id: String) -> Result<Box<str>, BadValue> {
    let is_number = !id.is_empty() && id.bytes().all(|byte| byte.is_ascii_digit());
    if is_number && id.len() <= MAX_ID {
        Ok(id.into())
    } else {
        Err(bad("the id of an instance is no number"))
    }
}

impl From<&ServiceSettings> for wire::Service {
    fn from(settings: &ServiceSettings) -> Self {
        let selector = match &settings.selector {
            Selector::None => None,
            Selector::Label { expression, .. } => {
                Some(wire::Selector { kind: Some(wire::SelectorKind::Label(expression.clone())) })
            }
        };
        Self {
            protect_threshold: settings.protect_threshold,
            metadata: metadata_text(&settings.metadata),
            selector,
            clusters: settings.clusters.iter().map(wire::Cluster::from).collect(),
            is_explicit: settings.explicit,
            is_persistent: settings.kind.map(|kind| kind == ServiceKind::Persistent),
        }
    }
}

fn read_settings(source: &[u8]) -> Result<ServiceSettings, BadValue> {
    if wire::count(source, wire::CLUSTERS).map_err(malformed)? > MAX_CLUSTERS {
        return Err(bad("too many clusters of a service have settings"));
    }
    wire::Service::decode(source).map_err(malformed)?.try_into()
}

impl TryFrom<wire::Service> for ServiceSettings {
    type Error = BadValue;

    fn try_from(service: wire::Service) -> Result<Self, BadValue> {
        let wire::Service {
            protect_threshold,
            metadata,
            selector,
            clusters,
            is_explicit,
            is_persistent,
        } = service;
        if !(0.0..=1.0).contains(&protect_threshold) {
            return Err(bad("a protect threshold is not within 0 to 1"));
        }
        let selector = match selector.map(|selector| selector.kind) {
            None => Selector::None,
            Some(None) => return Err(bad("a selector of a kind unknown here")),
            Some(Some(wire::SelectorKind::Label(expression))) => {
                Selector::labels_of(expression).map_err(refused)?
            }
        };
        let clusters = clusters.into_iter().map(read_cluster);
        Ok(Self {
            protect_threshold,
            metadata: read_metadata(metadata)?.into(),
            selector,
            clusters: clusters.collect::<Result<BTreeMap<_, _>, _>>()?,
            explicit: is_explicit,
            kind: is_persistent.map(ServiceKind::of_instance),
        })
    }
}

impl From<(&String, &ClusterSettings)> for wire::Cluster {
    fn from((name, cluster): (&String, &ClusterSettings)) -> Self {
        Self {
            name: name.clone(),
            checker: Some((&cluster.checker).into()),
            check_port: u32::try_from(cluster.check_port).unwrap_or(0),
            use_instance_port: cluster.use_instance_port,
            metadata: metadata_text(&cluster.metadata),
        }
    }
}

fn read_cluster(cluster: wire::Cluster) -> Result<(String, ClusterSettings), BadValue> {
    let wire::Cluster { name, checker, check_port, use_instance_port, metadata } = cluster;
    check_cluster_name(&name).map_err(|error| BadValue(error.to_string()))?;
    let check_port = u16::try_from(check_port).map_err(|_| bad("a port to check is none"))?;
    let checker: HealthChecker =
        checker.ok_or_else(|| bad("a health checker of a kind unknown here"))?.into();
    if !checker.is_within_limits() {
        return Err(bad("a health checker is too long"));
    }
    let metadata = read_metadata(metadata)?.into();
    let check_port = i32::from(check_port);
    Ok((name, ClusterSettings { checker, check_port, use_instance_port, metadata }))
}

impl From<&HealthChecker> for wire::Checker {
    fn from(checker: &HealthChecker) -> Self {
        match checker.clone() {
            HealthChecker::Tcp => Self::Tcp(wire::Nothing {}),
            HealthChecker::Http { path, headers, expected_response_code } => {
                Self::Http(wire::Http { path, headers, expected_response_code })
            }
            HealthChecker::Mysql { user, pwd, cmd } => Self::Mysql(wire::Mysql { user, pwd, cmd }),
            HealthChecker::None => Self::None(wire::Nothing {}),
        }
    }
}

impl From<wire::Checker> for HealthChecker {
    fn from(checker: wire::Checker) -> Self {
        match checker {
            wire::Checker::Tcp(_) => Self::Tcp,
            wire::Checker::Http(wire::Http { path, headers, expected_response_code }) => {
                Self::Http { path, headers, expected_response_code }
            }
            wire::Checker::Mysql(wire::Mysql { user, pwd, cmd }) => Self::Mysql { user, pwd, cmd },
            wire::Checker::None(_) => Self::None,
        }
    }
}

impl From<&OperatorValues> for wire::OperatorValues {
    fn from(values: &OperatorValues) -> Self {
        let OperatorValues { weight, enabled, metadata } = values;
        let metadata = (!metadata.is_empty()).then(|| values.metadata_json());
        Self { weight: *weight, enabled: *enabled, metadata }
    }
}

impl TryFrom<wire::OperatorValues> for OperatorValues {
    type Error = BadValue;

    fn try_from(values: wire::OperatorValues) -> Result<Self, BadValue> {
        let wire::OperatorValues { weight, enabled, metadata } = values;
        let weight = weight.map(check_weight).transpose().map_err(refused)?;
        let metadata = match metadata {
            Some(text) if text.len() > MAX_METADATA => {
                return Err(bad("metadata of an operator is too long"));
            }
            Some(text) => serde_json::from_str(&text)
                .map_err(|_| bad("metadata of an operator is no object of texts and nulls"))?,
            None => BTreeMap::new(),
        };
        Ok(Self { weight, enabled, metadata })
    }
}

fn metadata_text(metadata: &Metadata) -> Option<String> {
    (!metadata.is_absent()).then(|| metadata.as_json().to_owned())
}

/// Written anew whatever was sent: the form is what everybody relies on.
fn read_metadata(text: Option<String>) -> Result<Timed, BadValue> {
    let Some(text) = text else { return Ok(Metadata::absent().into()) };
    let metadata = match Timed::of_plain(&text, MAX_METADATA) {
        Some(metadata) => metadata,
        None => {
            let map: BTreeMap<String, String> =
                serde_json::from_str(&text).map_err(|_| bad("metadata is no object of texts"))?;
            Metadata::new(&map, MAX_METADATA).map(Timed::from)
        }
    };
    metadata.map_err(refused)
}

fn bad(text: &str) -> BadValue {
    BadValue(text.to_owned())
}

fn malformed(error: DecodeError) -> BadValue {
    BadValue(error.to_string())
}

fn refused(error: RegistryError) -> BadValue {
    BadValue(error.to_string())
}

#[cfg(test)]
mod tests;
