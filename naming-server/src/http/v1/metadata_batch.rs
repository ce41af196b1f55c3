//! `/v1/ns/instance/metadata/batch`: the metadata of several instances at once.

use naming_model::{DEFAULT_CLUSTER, InstanceKey, RecordKey, ServiceKey};
use serde_json::{Value, json};

use super::Api;
use crate::http::{Answer, ApiError, Call, Params, Reply, metadata_text};
use crate::registry::{Host, Instance, Metadata, MetadataChange, Named, Patched, Write, hosts};

/// An instance by its names and kind.
struct Target {
    ip: String,
    port: u16,
    cluster: String,
    is_persistent: bool,
}

impl Target {
    fn key(&self) -> RecordKey<'_> {
        let instance = InstanceKey { ip: &self.ip, port: self.port, cluster: &self.cluster };
        RecordKey { instance, is_persistent: self.is_persistent }
    }
}

impl Api {
    /// Merges keys into the metadata of several instances, or removes them. What does not exist
    /// is passed over; the answer lists what was changed.
    pub(super) fn change_metadata_batch(
        &self,
        call: &Call<'_>,
        merge: bool,
    ) -> Result<Answer, ApiError> {
        let service = call.service()?;
        let given = metadata_text(&call.params.required("metadata")?)?;
        let limit = self.registry.settings.max_metadata_bytes;
        let named = self.registry.settings.keep_operator_values.then(|| {
            let change = if merge { MetadataChange::Merge } else { MetadataChange::Remove };
            Named { metadata: Some(change(given.clone())), ..Named::default() }
        });
        let mut changes = Vec::new();
        for target in self.batch_targets(call.params, &service) {
            let given = given.clone();
            let change = move |known: &Instance| {
                let mut map = known.metadata.to_map();
                if merge {
                    map.extend(given.clone());
                } else {
                    map.retain(|name, _| !given.contains_key(name));
                }
                let mut instance = known.clone();
                instance.set_metadata(Metadata::new(&map, limit)?);
                Ok((instance, None))
            };
            let key = target.key();
            let kind = if key.is_persistent { "persist" } else { "ephemeral" };
            let name = format!("{}:{kind}", key.instance.datum_key());
            let write = self.patch(&service, &key, call.actor(), change, named.clone(), false);
            changes.push(write.map(|patched| Ok((patched? == Patched::Done).then_some(name))));
        }
        Ok(Write::all(changes).map(|changed| Reply::from(updated(changed))).into())
    }

    fn batch_targets(&self, params: &Params<'_>, service: &ServiceKey) -> Vec<Target> {
        match params.optional("consistencyType").as_deref() {
            Some("ephemeral") => self.targets_of_kind(service, false),
            Some("persist") => self.targets_of_kind(service, true),
            Some(_) => Vec::new(),
            None => listed_targets(&params.or("instances", "")).unwrap_or_default(),
        }
    }

    fn targets_of_kind(&self, service: &ServiceKey, is_persistent: bool) -> Vec<Target> {
        let Some(datum) = self.registry.find(service) else { return Vec::new() };
        let target = |host: Host<'_>| {
            (host.instance.is_persistent == is_persistent).then(|| Target {
                ip: host.key.ip.to_owned(),
                port: host.key.port,
                cluster: host.key.cluster.to_owned(),
                is_persistent,
            })
        };
        datum.read(|reader| hosts(&reader).filter_map(target).collect())
    }
}

fn updated(changed: Vec<Result<Option<String>, ApiError>>) -> Result<Reply, ApiError> {
    let changed: Vec<Option<String>> = changed.into_iter().collect::<Result<_, _>>()?;
    let updated: Vec<String> = changed.into_iter().flatten().collect();
    Ok(Reply::json(json!({ "updated": updated }).to_string()))
}

/// The instances of the `instances` parameter; `None` if it is no list.
fn listed_targets(text: &str) -> Option<Vec<Target>> {
    let listed: Vec<Value> = serde_json::from_str(text).ok()?;
    let target = |item: &Value| {
        let is_ephemeral = match item.get("ephemeral") {
            Some(Value::Bool(flag)) => *flag,
            Some(Value::String(text)) => text.eq_ignore_ascii_case("true"),
            _ => true,
        };
        let port = match item.get("port")? {
            Value::String(text) => text.parse().ok()?,
            number => u16::try_from(number.as_u64()?).ok()?,
        };
        let cluster = item.get("clusterName").and_then(Value::as_str);
        let cluster = cluster.filter(|name| !name.trim().is_empty()).unwrap_or(DEFAULT_CLUSTER);
        let ip = item.get("ip")?.as_str().filter(|ip| RecordKey::is_address(ip))?.to_owned();
        Some(Target { ip, port, cluster: cluster.to_owned(), is_persistent: !is_ephemeral })
    };
    Some(listed.iter().filter_map(target).collect())
}
