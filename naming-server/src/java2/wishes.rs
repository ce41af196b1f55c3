//! What a client of a Java server wants to have registered, in the terms of the registry.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use distro_core::Key;
use naming_model::{InstanceKey, RecordKey, ServiceKey};
use xxhash_rust::xxh3::xxh3_64;

use super::content::{ClientData, PublishedInstance, address_of};
use crate::registry::{Held, Instance, Metadata, check_address};

/// Bytes of the metadata of one instance, as JSON.
const MOST_METADATA_BYTES: usize = 64 << 10;

/// Where something is registered.
pub(super) type Place = (Arc<str>, Key);

/// An instance that is to be there.
pub(super) struct Wish {
    pub(super) service: ServiceKey,
    pub(super) ip: String,
    pub(super) port: u16,
    pub(super) cluster: String,
    pub(super) instance: Instance,
}

/// What a client wants to have registered, as far as it can be. Where one address stands twice in a
/// service, the last one counts.
pub(super) fn wanted(data: &ClientData, mark: u64) -> BTreeMap<Place, Wish> {
    let mut wanted = BTreeMap::new();
    let mut bad = 0_usize;
    for published in &data.published {
        let service =
            ServiceKey::grouping(&published.namespace, &published.service, &published.group);
        let service = service.ok().filter(|service| service.check_printable().is_ok());
        for instance in published.instances.all() {
            match service.as_ref().and_then(|service| wish(service, instance, mark)) {
                Some((place, wish)) => _ = wanted.insert(place, wish),
                None => bad += 1,
            }
        }
    }
    if bad > 0 {
        tracing::debug!(
            client = data.id,
            bad,
            "left out instances of a Java member that cannot be kept"
        );
    }
    wanted
}

pub(super) fn places(data: &ClientData) -> Vec<Place> {
    wanted(data, 0).into_keys().collect()
}

fn wish(service: &ServiceKey, told: &PublishedInstance, mark: u64) -> Option<(Place, Wish)> {
    check_address(&told.ip).ok()?;
    let port = u16::try_from(told.port).ok()?;
    let cluster = match &*told.cluster {
        "" => naming_model::DEFAULT_CLUSTER,
        cluster => cluster,
    };
    let key = RecordKey::ephemeral(InstanceKey { ip: &told.ip, port, cluster }).text();
    RecordKey::parse(&key)?;
    let metadata = Metadata::new(&told.metadata, MOST_METADATA_BYTES).ok()?;
    let simple = format!("{}#{port}#{cluster}#{}", told.ip, service.grouped());
    let id = told.id.as_deref().filter(|id| **id != *simple).unwrap_or_default();
    let held = Held::new(mark, told.healthy).with_id(id).ok()?;
    let (held, weight) = held.with_weight(told.weight).ok()?;
    let mut instance = Instance::new(weight, metadata).ok()?;
    instance.enabled = told.enabled;
    instance.held = Some(Box::new(held));
    let place = (Arc::from(service.as_str()), Key::from(&*key));
    let (ip, cluster) = (told.ip.clone(), cluster.to_owned());
    Some((place, Wish { service: service.clone(), ip, port, cluster, instance }))
}

/// The mark of what a client of a Java server publishes: the same on all members of our make.
pub(super) fn mark_of(id: &str) -> u64 {
    xxh3_64(format!("client of a Java server:{id}").as_bytes())
}

/// By which number members tell each other that a client of this host has set up a connection.
/// Java tells no more of a client than its address.
pub(crate) fn host_number(host: &str) -> u64 {
    xxh3_64(format!("host of a client:{host}").as_bytes())
}

/// The same for whoever connects.
pub(crate) fn number_of(ip: IpAddr) -> u64 {
    host_number(&ip.to_canonical().to_string())
}

/// The host in the id of a client: `<milliseconds>_<ip>_<port>`, or `<ip>:<port>#true`.
pub(super) fn host_of(id: &str) -> &str {
    match address_of(id) {
        Some(address) => address.rsplit_once(':').map_or(address, |(host, _)| host),
        None => {
            let rest = id.split_once('_').map_or(id, |(_, rest)| rest);
            rest.rsplit_once('_').map_or(rest, |(host, _)| host)
        }
    }
}
