//! Clients: who has registered what, and who listens to what.
//!
//! A client that holds a connection has an id without `#` and is known to [`Connected`]. All others
//! are known by what is registered: the client of an instance is `ip:port#true`, or `#false` if the
//! instance is persistent, and a subscriber by UDP is `ip:port#true`, too.

use std::collections::BTreeSet;

use naming_model::{InstanceKey, RecordKey, ServiceKey};
use serde_json::{Value, json};

use super::envelope::{data, long_data};
use super::error::Fault;
use super::form;
use crate::http::v1::Api;
use crate::http::{Address, Answer, Call, Connection, MOST_ANSWER_BYTES};
use crate::push::Listed;
use crate::registry::{ListedService, Page, hosts, wall_ms};

/// How a version shows clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
}

/// A client known by its address.
pub(super) struct AddressClient<'a> {
    pub(super) ip: &'a str,
    pub(super) port: u16,
    is_persistent: bool,
}

impl<'a> AddressClient<'a> {
    pub(super) fn parse(id: &'a str) -> Option<Self> {
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

pub(super) fn id_of(key: &RecordKey<'_>) -> String {
    format!("{}:{}#{}", key.instance.ip, key.instance.port, !key.is_persistent)
}

pub(super) fn id_of_subscriber(subscriber: &Listed) -> String {
    let address = subscriber.address;
    format!("{}:{}#true", address.ip().to_canonical(), address.port())
}

/// The ids of all clients.
pub(super) fn list(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    let _look = api.naming().look_at_all()?;
    let mut ids: BTreeSet<String> = api.connected().ids().into_iter().collect();
    let mut bytes: usize = ids.iter().map(|id| id.len() + 3).sum();
    for (service, datum) in api.registry.services() {
        let mut add = |id: String| {
            // With quotes and comma.
            let added = id.len() + 3;
            if ids.insert(id) {
                bytes += added;
            }
        };
        datum.read(|reader| {
            // What a connection holds belongs to the client of that, wherever it is.
            let free = hosts(&reader).filter(|host| host.instance.held.is_none());
            free.for_each(|host| add(id_of(&host.record_key())));
        });
        subscribers(api, &service).iter().for_each(|subscriber| add(id_of_subscriber(subscriber)));
        if bytes > MOST_ANSWER_BYTES {
            let reason =
                format!("the ids take more than the {MOST_ANSWER_BYTES} bytes of one answer");
            return Err(Fault::bad(super::error::Code::ParameterInvalid, reason));
        }
    }
    Ok(long_data(api, &json!(ids).to_string(), "clientId")?.into())
}

/// All who listen to a service by UDP.
fn subscribers(api: &Api, service: &ServiceKey) -> Vec<Listed> {
    let mut listening = listening(api, service);
    listening.retain(|listed| listed.connection.is_none());
    listening
}

/// All who listen to a service.
pub(super) fn listening(api: &Api, service: &ServiceKey) -> Vec<Listed> {
    api.pusher.subscribers(service, Page::new(1, i64::MAX)).0
}

/// One client as 2.x shows it.
pub(super) fn detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show(api, call, Version::V2)
}

/// One client as 3.x shows it.
pub(super) fn admin_detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show(api, call, Version::V3)
}

fn show(api: &Api, call: &Call<'_>, version: Version) -> Result<Answer, Fault> {
    let id = form::required(call, "clientId")?;
    if let Some(connection) = api.connected().find(&id) {
        return Ok(data(&connection_json(&id, &connection)).into());
    }
    let client = known(api, &id)?;
    let AddressClient { ip, port, is_persistent } =
        AddressClient::parse(&id).ok_or_else(|| unknown(&id))?;
    let mut shown = json!({
        "clientId": &*id,
        "ephemeral": !is_persistent,
        "lastUpdatedTime": client.last_ms,
        "clientType": "ipPort",
    });
    match version {
        Version::V2 => {
            shown["clientIp"] = json!(ip);
            shown["clientPort"] = json!(port.to_string());
        }
        Version::V3 => {
            for name in ["connectType", "appName", "version", "clientIp"] {
                shown[name] = Value::Null;
            }
            shown["clientPort"] = json!(0);
        }
    }
    Ok(data(&shown).into())
}

fn connection_json(id: &str, connection: &Connection) -> Value {
    let Connection { kind, app, version, ip, port, last_active_ms } = connection;
    json!({
        "clientId": id,
        "ephemeral": true,
        "lastUpdatedTime": last_active_ms,
        "clientType": "connection",
        "connectType": kind,
        "appName": app,
        "version": version,
        "clientIp": ip,
        "clientPort": port,
    })
}

fn unknown(id: &str) -> Fault {
    Fault::not_found(format!("clientId [ {} ] not exist", crate::text::cut(id, 256)))
}

/// What is known of a client by its address.
pub(super) struct KnownClient {
    pub(super) published: Vec<(ServiceKey, Address)>,
    pub(super) subscribed: Vec<(ServiceKey, Listed)>,
    /// When it was last heard of.
    pub(super) last_ms: u64,
}

/// Looks for a client among all that is registered, and among what was removed a moment ago: then it
/// is known, and has nothing.
pub(super) fn known(api: &Api, id: &str) -> Result<KnownClient, Fault> {
    let client = AddressClient::parse(id).ok_or_else(|| unknown(id))?;
    let _look = api.naming().look_at_all()?;
    let mut found = KnownClient { published: Vec::new(), subscribed: Vec::new(), last_ms: 0 };
    let mut was_there = false;
    for (service, datum) in api.registry.services() {
        look_into(api, &client, &(service, datum), &mut found, &mut was_there);
    }
    if !was_there && found.subscribed.is_empty() {
        return Err(unknown(id));
    }
    if found.last_ms == 0 {
        found.last_ms = wall_ms();
    }
    Ok(found)
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
            found.published.push((service.clone(), address(&key.instance)));
        }
    });
    let listens = subscribers(api, service).into_iter().filter(|subscriber| client.is(subscriber));
    found.subscribed.extend(listens.map(|listed| (service.clone(), listed)));
}

fn address(key: &InstanceKey<'_>) -> Address {
    Address { ip: key.ip.to_owned(), port: key.port, cluster: key.cluster.to_owned() }
}

/// What a client has registered, as 2.x shows it.
pub(super) fn published(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_published(api, call, |service, address| {
        let Address { ip, port, cluster } = address;
        json!({
            "namespace": service.namespace(),
            "group": service.group(),
            "serviceName": service.service(),
            "registeredInstance": { "ip": ip, "port": port, "cluster": cluster },
        })
    })
}

/// The same as 3.x shows it.
pub(super) fn admin_published(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_published(api, call, |service, address| {
        let Address { ip, port, cluster } = address;
        json!({
            "namespaceId": service.namespace(),
            "groupName": service.group(),
            "serviceName": service.service(),
            "publisherInfo": { "clientId": null, "ip": ip, "port": port, "clusterName": cluster },
            "subscriberInfo": null,
        })
    })
}

fn show_published(
    api: &Api,
    call: &Call<'_>,
    show: impl Fn(&ServiceKey, &Address) -> Value,
) -> Result<Answer, Fault> {
    let id = form::required(call, "clientId")?;
    let published = match api.connected().published(&id) {
        Some(published) => published,
        None => known(api, &id)?.published,
    };
    let shown: Vec<Value> =
        published.iter().map(|(service, address)| show(service, address)).collect();
    Ok(long_data(api, &json!(shown).to_string(), "clientId")?.into())
}

/// What a client listens to, as 2.x shows it.
pub(super) fn subscribed(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_subscribed(api, call, Version::V2)
}

/// The same as 3.x shows it.
pub(super) fn admin_subscribed(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_subscribed(api, call, Version::V3)
}

fn show_subscribed(api: &Api, call: &Call<'_>, version: Version) -> Result<Answer, Fault> {
    let id = form::required(call, "clientId")?;
    let shown: Vec<Value> = match api.connected().subscribed(&id) {
        Some(services) => {
            let connection = api.connected().find(&id).unwrap_or_default();
            let Connection { app, version: agent, ip, port, .. } = connection;
            let listener = Listener { app, agent, address: format!("{ip}:{port}") };
            services.iter().map(|service| listener.of_service(service, version)).collect()
        }
        None => {
            let subscribed = known(api, &id)?.subscribed;
            let show = |(service, listed): &(ServiceKey, Listed)| {
                Listener::of(listed).of_service(service, version)
            };
            subscribed.iter().map(show).collect()
        }
    };
    Ok(long_data(api, &json!(shown).to_string(), "clientId")?.into())
}

/// Who listens.
pub(super) struct Listener {
    pub(super) app: String,
    pub(super) agent: String,
    pub(super) address: String,
}

impl Listener {
    pub(super) fn of(subscriber: &Listed) -> Self {
        let Listed { app, agent, address, .. } = subscriber;
        Self { app: app.to_string(), agent: agent.to_string(), address: address.to_string() }
    }

    fn of_service(&self, service: &ServiceKey, version: Version) -> Value {
        let Self { app, agent, address } = self;
        match version {
            Version::V2 => json!({
                "namespace": service.namespace(),
                "group": service.group(),
                "serviceName": service.service(),
                "subscriberInfo": { "app": app, "agent": agent, "addr": address },
            }),
            Version::V3 => json!({
                "namespaceId": service.namespace(),
                "groupName": service.group(),
                "serviceName": service.service(),
                "publisherInfo": null,
                "subscriberInfo": { "appName": app, "agent": agent, "address": address },
            }),
        }
    }
}
