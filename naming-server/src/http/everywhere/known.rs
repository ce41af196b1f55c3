//! Clients without a connection: they are known by what is registered. The client of an instance is
//! `ip:port#true`, or `#false` if the instance is persistent, and a subscriber by UDP is
//! `ip:port#true`, too.

use naming_model::{InstanceKey, RecordKey, ServiceKey};

use super::words::{Listens, Named, Publication};
use crate::http::v1::Api;
use crate::naming::NamingError;
use crate::push::Listed;
use crate::registry::{ListedService, Page, hosts};

/// A client known by its address.
pub(in crate::http) struct AddressClient<'a> {
    pub(in crate::http) ip: &'a str,
    pub(in crate::http) port: u16,
    pub(in crate::http) is_persistent: bool,
}

impl<'a> AddressClient<'a> {
    /// The client with this id, if it is the id of one.
    pub(in crate::http) fn parse(id: &'a str) -> Option<Self> {
        let (address, ephemeral) = id.rsplit_once('#')?;
        let (ip, port) = address.rsplit_once(':')?;
        let is_persistent = match ephemeral {
            "true" => false,
            "false" => true,
            _ => return None,
        };
        Some(Self { ip, port: port.parse().ok()?, is_persistent })
    }

    fn has(&self, key: &RecordKey<'_>) -> bool {
        let RecordKey { instance, is_persistent } = key;
        (instance.ip, instance.port, *is_persistent) == (self.ip, self.port, self.is_persistent)
    }

    fn is(&self, subscriber: &Listed) -> bool {
        let address = subscriber.address;
        let ip = address.ip().to_canonical().to_string();
        !self.is_persistent && address.port() == self.port && ip == self.ip
    }
}

/// The id of the client of an instance.
pub(in crate::http) fn id_of(key: &RecordKey<'_>) -> String {
    format!("{}:{}#{}", key.instance.ip, key.instance.port, !key.is_persistent)
}

/// The id of a subscriber by UDP.
pub(in crate::http) fn id_of_subscriber(subscriber: &Listed) -> String {
    let address = subscriber.address;
    format!("{}:{}#true", address.ip().to_canonical(), address.port())
}

/// All who listen to a service at this member.
pub(in crate::http) fn listening(api: &Api, service: &ServiceKey) -> Vec<Listed> {
    api.pusher.subscribers(service, Page::new(1, i64::MAX)).0
}

/// All who listen to a service at this member by UDP.
pub(in crate::http) fn by_packets(api: &Api, service: &ServiceKey) -> Vec<Listed> {
    let mut listening = listening(api, service);
    listening.retain(|listed| listed.connection.is_none());
    listening
}

/// What this member knows of a client by its address.
#[derive(Debug, Default)]
pub(in crate::http) struct KnownClient {
    pub(in crate::http) published: Vec<Publication>,
    pub(in crate::http) listens: Vec<Listens>,
    /// When it was last heard of; 0 if it was never.
    pub(in crate::http) last_ms: u64,
}

/// Looks for a client among all that is registered, and among what was removed a moment ago: then it
/// is known, and has nothing.
///
/// # Errors
/// Another caller looks at everything.
pub(in crate::http) fn known(api: &Api, id: &str) -> Result<Option<KnownClient>, NamingError> {
    let Some(client) = AddressClient::parse(id) else { return Ok(None) };
    let _look = api.naming().look_at_all()?;
    let (mut found, mut was_there) = (KnownClient::default(), false);
    for (service, datum) in api.registry.services() {
        look_into(api, &client, &(service, datum), &mut found, &mut was_there);
    }
    Ok((was_there || !found.listens.is_empty()).then_some(found))
}

fn look_into(
    api: &Api,
    client: &AddressClient<'_>,
    (service, datum): &ListedService,
    found: &mut KnownClient,
    was_there: &mut bool,
) {
    datum.read(|reader| {
        let keys = reader.keys_since_closing().filter_map(RecordKey::parse);
        *was_there |= keys.into_iter().any(|key| client.has(&key));
        if !*was_there {
            return;
        }
        let free = hosts(&reader).filter(|host| host.instance.held.is_none());
        for key in free.map(|host| host.record_key()).filter(|key| client.has(key)) {
            let heard = reader.last_heard(&key.text()).map_or(0, |tick| api.registry.wall_ms(tick));
            found.last_ms = found.last_ms.max(heard);
            found.published.push(publication(service, &key.instance));
        }
    });
    let listens = by_packets(api, service).into_iter().filter(|subscriber| client.is(subscriber));
    found.listens.extend(listens.map(|listed| Listens {
        service: Named::of(service),
        app: listed.app.to_string(),
        agent: listed.agent.to_string(),
        address: listed.address.to_string(),
    }));
}

fn publication(service: &ServiceKey, key: &InstanceKey<'_>) -> Publication {
    Publication {
        service: Named::of(service),
        ip: key.ip.to_owned(),
        port: key.port,
        cluster_name: key.cluster.to_owned(),
    }
}
