//! The arrays in which Java keeps what a client publishes, and what it unboxes from them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::BadContent;
use super::content::{
    ClientData, Instances, MOST_INSTANCES, MOST_SERVICES, Published, PublishedInstance, check_id,
};

/// In `extendDatum`, beside the metadata.
const ID: &str = "customInstanceId";
const WEIGHT: &str = "publishInstanceWeight";
const ENABLED: &str = "publishInstanceEnable";

impl ClientData {
    /// Reads the content of an `ADD` or `CHANGE`, or of the answer to a `QUERY`.
    ///
    /// # Errors
    /// What Java fails on, at once or later; the text names the field.
    pub(crate) fn parse(content: &[u8]) -> Result<Self, BadContent> {
        Wire::parse(content)?.checked()
    }

    /// The content of a message.
    pub(crate) fn render(&self) -> Vec<u8> {
        serde_json::to_vec(&Wire::of(self)).expect("numbers and texts can be written")
    }
}

/// Reads the answer to a `SNAPSHOT`. A client that cannot be taken is left out and counted: the
/// others are as good as before.
///
/// # Errors
/// The content is no list of clients.
pub(crate) fn parse_snapshot(content: &[u8]) -> Result<(Vec<ClientData>, usize), BadContent> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Snapshot {
        client_sync_data_list: Vec<Value>,
    }
    let text = "the content is no snapshot";
    let snapshot: Snapshot =
        serde_json::from_slice(content).map_err(|error| BadContent::of_json(text, &error))?;
    let all = snapshot.client_sync_data_list.len();
    let read = |value| serde_json::from_value::<Wire>(value).ok()?.checked().ok();
    let clients: Vec<_> = snapshot.client_sync_data_list.into_iter().filter_map(read).collect();
    let left_out = all - clients.len();
    Ok((clients, left_out))
}

/// The answer to a `SNAPSHOT`.
pub(crate) fn render_snapshot<'a>(clients: impl Iterator<Item = &'a ClientData>) -> Vec<u8> {
    let mut out = b"{\"clientSyncDataList\":[".to_vec();
    for (at, client) in clients.enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(&client.render());
    }
    out.extend_from_slice(b"]}");
    out
}

/// The arrays of Java.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Wire {
    client_id: String,
    attributes: Attributes,
    namespaces: Vec<String>,
    group_names: Vec<String>,
    service_names: Vec<String>,
    instance_publish_infos: Vec<WireInstance>,
    /// Members before 2.1.1 have none.
    #[serde(default)]
    batch_instance_data: Option<WireBatches>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Attributes {
    #[serde(default)]
    client_attributes: Option<Map<String, Value>>,
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct WireBatches {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    namespaces: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    group_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    service_names: Vec<String>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    batch_instance_publish_infos: Vec<WireBatch>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireBatch {
    #[serde(default)]
    port: i32,
    #[serde(default)]
    healthy: bool,
    instance_publish_infos: Vec<WireInstance>,
    #[serde(default)]
    metadata_id: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct WireInstance {
    ip: String,
    port: i32,
    healthy: bool,
    #[serde(default)]
    cluster: Option<String>,
    extend_datum: Map<String, Value>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    last_heart_beat_time: Option<i64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    metadata_id: Option<String>,
}

impl Wire {
    fn parse(content: &[u8]) -> Result<Self, BadContent> {
        serde_json::from_slice(content)
            .map_err(|error| BadContent::of_json("the content describes no client", &error))
    }

    /// # Errors
    /// What Java fails on, at once or later.
    fn checked(self) -> Result<ClientData, BadContent> {
        check_id(&self.client_id)?;
        let revision = revision(&self.attributes)?;
        let batches = self.batch_instance_data.unwrap_or_default();
        let single = [self.namespaces.len(), self.group_names.len(), self.service_names.len()];
        let batch =
            [batches.namespaces.len(), batches.group_names.len(), batches.service_names.len()];
        if single != [self.instance_publish_infos.len(); 3]
            || batch != [batches.batch_instance_publish_infos.len(); 3]
        {
            return Err(BadContent::new("the arrays of the content are not of one length"));
        }
        if single[0] + batch[0] > MOST_SERVICES {
            let text = format!("serviceNames: a client has {MOST_SERVICES} services at most");
            return Err(BadContent::new(text));
        }
        let names = |namespaces: Vec<String>, groups: Vec<String>, services: Vec<String>| {
            namespaces.into_iter().zip(groups).zip(services)
        };
        let singles = names(self.namespaces, self.group_names, self.service_names)
            .zip(self.instance_publish_infos)
            .map(|(names, instance)| published(names, Instances::One(instance.checked()?)));
        let batches = names(batches.namespaces, batches.group_names, batches.service_names)
            .zip(batches.batch_instance_publish_infos)
            .map(|(names, batch)| {
                let instances = batch.instance_publish_infos.into_iter();
                let instances = instances.map(WireInstance::checked).collect::<Result<_, _>>()?;
                published(names, Instances::Batch(instances))
            });
        let published = singles.chain(batches).collect::<Result<Vec<_>, BadContent>>()?;
        if published.iter().map(|one| one.instances.all().len()).sum::<usize>() > MOST_INSTANCES {
            let text = format!("a client has {MOST_INSTANCES} instances at most");
            return Err(BadContent::new(text));
        }
        Ok(ClientData { id: self.client_id, revision, published })
    }

    fn of(client: &ClientData) -> Self {
        let revision = Map::from_iter([("revision".to_owned(), client.revision.into())]);
        let mut wire = Self {
            client_id: client.id.clone(),
            attributes: Attributes { client_attributes: Some(revision) },
            namespaces: Vec::new(),
            group_names: Vec::new(),
            service_names: Vec::new(),
            instance_publish_infos: Vec::new(),
            batch_instance_data: None,
        };
        let mut batches = WireBatches::default();
        for Published { namespace, group, service, instances } in &client.published {
            let (namespaces, groups, services) = match instances {
                Instances::One(instance) => {
                    wire.instance_publish_infos.push(WireInstance::of(instance));
                    (&mut wire.namespaces, &mut wire.group_names, &mut wire.service_names)
                }
                Instances::Batch(instances) => {
                    batches.batch_instance_publish_infos.push(WireBatch::of(instances));
                    (&mut batches.namespaces, &mut batches.group_names, &mut batches.service_names)
                }
            };
            namespaces.push(namespace.clone());
            groups.push(group.clone());
            services.push(service.clone());
        }
        wire.batch_instance_data = Some(batches);
        wire
    }
}

fn published(
    ((namespace, group), service): ((String, String), String),
    instances: Instances,
) -> Result<Published, BadContent> {
    if service.contains("@@") {
        // Java says yes, and lists it nowhere.
        return Err(BadContent::about("serviceNames: the name carries its group", &service));
    }
    Ok(Published { namespace, group, service, instances })
}

/// Java unboxes it as an `Integer`.
fn revision(attributes: &Attributes) -> Result<i32, BadContent> {
    let given = attributes.client_attributes.as_ref().and_then(|all| all.get("revision"));
    let Some(given) = given.filter(|given| !given.is_null()) else { return Ok(0) };
    given
        .as_i64()
        .and_then(|revision| i32::try_from(revision).ok())
        .ok_or_else(|| BadContent::about("revision: not an integer of 32 bits", &given.to_string()))
}

impl WireBatch {
    fn of(instances: &[PublishedInstance]) -> Self {
        Self {
            port: 0,
            healthy: false,
            instance_publish_infos: instances.iter().map(WireInstance::of).collect(),
            metadata_id: Some("null:0:null".to_owned()),
        }
    }
}

impl WireInstance {
    fn checked(self) -> Result<PublishedInstance, BadContent> {
        let Self { ip, port, healthy, cluster, extend_datum, last_heart_beat_time, .. } = self;
        let (mut weight, mut enabled, mut id) = (1.0, true, None);
        let mut metadata = BTreeMap::new();
        for (key, value) in extend_datum {
            match (&*key, value) {
                (WEIGHT, Value::Number(given)) if given.is_f64() => {
                    weight = given.as_f64().unwrap_or(1.0);
                }
                (WEIGHT, other) => {
                    let text = "publishInstanceWeight: not a number with a decimal point";
                    return Err(BadContent::about(text, &other.to_string()));
                }
                (ENABLED, Value::Bool(given)) => enabled = given,
                (ENABLED, other) => {
                    let text = "publishInstanceEnable: neither true nor false";
                    return Err(BadContent::about(text, &other.to_string()));
                }
                (ID, Value::String(given)) => id = Some(given),
                (ID, Value::Null) => {}
                (_, Value::String(given)) => _ = metadata.insert(key, given),
                (_, Value::Null) => {}
                // Java lists the text of whatever stands there.
                (_, other) => _ = metadata.insert(key, other.to_string()),
            }
        }
        let cluster = cluster.unwrap_or_else(|| naming_model::DEFAULT_CLUSTER.to_owned());
        let last_beat_ms = last_heart_beat_time;
        Ok(PublishedInstance {
            ip,
            port,
            healthy,
            cluster,
            weight,
            enabled,
            id,
            metadata,
            last_beat_ms,
        })
    }

    fn of(instance: &PublishedInstance) -> Self {
        let PublishedInstance { ip, port, healthy, cluster, weight, enabled, id, .. } = instance;
        let mut extend_datum = Map::new();
        for (key, value) in &instance.metadata {
            // Under such a name Java takes the text for its own number or flag, and fails.
            if ![WEIGHT, ENABLED, ID].contains(&&**key) {
                extend_datum.insert(key.clone(), value.clone().into());
            }
        }
        if let Some(id) = id {
            extend_datum.insert(ID.to_owned(), id.clone().into());
        }
        // A number that is no integer in Rust is written with a decimal point.
        if (weight - 1.0).abs() > f64::EPSILON {
            extend_datum.insert(WEIGHT.to_owned(), (*weight).into());
        }
        if !enabled {
            extend_datum.insert(ENABLED.to_owned(), false.into());
        }
        Self {
            ip: ip.clone(),
            port: *port,
            healthy: *healthy,
            cluster: Some(cluster.clone()),
            extend_datum,
            last_heart_beat_time: instance.last_beat_ms,
            metadata_id: Some(format!("{ip}:{port}:{cluster}")),
        }
    }
}
