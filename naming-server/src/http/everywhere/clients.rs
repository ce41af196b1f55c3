//! Questions about clients.

use std::collections::{BTreeMap, BTreeSet};

use naming_model::ServiceKey;
use serde::{Deserialize, Serialize};

use super::known::{by_packets, id_of_subscriber, known};
use super::part::Ask;
use super::words::{
    AddressRow, ConnectionRow, Detail, Listens, Named, Publication, Rows, SubscriberRow,
};
use crate::http::Connection;
use crate::http::v1::Api;
use crate::registry::{Page, hosts};

/// The ids of connections, the newest first: those in whose version, application or address a text
/// is found, in lower case.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct ConnectionIds {
    pub(in crate::http) search: String,
    pub(in crate::http) most: usize,
}

impl Ask for ConnectionIds {
    const NAME: &'static str = "connection ids";
    type Part = Rows<String>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let connected = api.connected();
        let is_picked = |id: &String| {
            let picked = |one: &Connection| {
                let Connection { app, version, ip, .. } = one;
                [app, version, ip].iter().any(|text| text.to_lowercase().contains(&self.search))
            };
            connected.find(id).is_some_and(|one| self.search.is_empty() || picked(&one))
        };
        let mut ids: Vec<String> = connected.ids().into_iter().filter(is_picked).collect();
        // Ids begin with the moment of the connection.
        ids.sort_unstable_by(|one, other| other.cmp(one));
        Some(Rows::within(bytes, ids.len(), ids.into_iter().take(self.most)))
    }
}

/// What there is to say in a list of the connections with these ids.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct ConnectionRows {
    pub(in crate::http) ids: Vec<String>,
}

impl Ask for ConnectionRows {
    const NAME: &'static str = "connection rows";
    type Part = Rows<ConnectionRow>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let rows = self.ids.iter().filter_map(|id| connection_row(api, id));
        Some(Rows::within(bytes, self.ids.len(), rows))
    }
}

fn connection_row(api: &Api, id: &str) -> Option<ConnectionRow> {
    let connected = api.connected();
    let Connection { kind, app, version, ip, port, last_active_ms } = connected.find(id)?;
    let activity = connected.activity(id).unwrap_or_default();
    Some(ConnectionRow {
        client_id: id.to_owned(),
        kind,
        app_name: app,
        version,
        ip,
        port,
        connected_at: id.split('_').next().and_then(|ms| ms.parse().ok()),
        last_active: last_active_ms,
        published: activity.published,
        subscribed: activity.subscribed,
        last_push: activity.last_push_ms,
        last_ack: activity.last_ack_ms,
    })
}

/// Everything about the connection with this id.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct ConnectionOf {
    pub(in crate::http) id: String,
}

impl Ask for ConnectionOf {
    const NAME: &'static str = "connection";
    type Part = Option<Detail>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let connected = api.connected();
        let Some(row) = connection_row(api, &self.id) else { return Some(None) };
        let published = connected.published(&self.id).unwrap_or_default();
        let subscribed = connected.subscribed(&self.id).unwrap_or_default();
        let publications = published.iter().map(|(service, address)| Publication {
            service: Named::of(service),
            ip: address.ip.clone(),
            port: address.port,
            cluster_name: address.cluster.clone(),
        });
        Some(Some(Detail {
            row,
            publications: Rows::within(bytes / 2, published.len(), publications),
            subscriptions: Rows::within(
                bytes / 2,
                subscribed.len(),
                subscribed.iter().map(Named::of),
            ),
        }))
    }
}

/// The ids of all clients that only the member knows to which they speak: of connections, and of
/// those who are told by UDP.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct ClientIds {}

impl Ask for ClientIds {
    const NAME: &'static str = "client ids";
    type Part = Rows<String>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let _look = api.naming().look_at_all().ok()?;
        let mut ids: BTreeSet<String> = api.connected().ids().into_iter().collect();
        for (service, _) in api.registry.services() {
            ids.extend(by_packets(api, &service).iter().map(id_of_subscriber));
        }
        Some(Rows::within(bytes, ids.len(), ids.into_iter()))
    }
}

/// Clients known by an address, in the order of their ids, from behind `after` on, whose address
/// begins so.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct AddressClients {
    pub(in crate::http) after: String,
    pub(in crate::http) begin: String,
    pub(in crate::http) most: usize,
}

impl Ask for AddressClients {
    const NAME: &'static str = "address clients";
    type Part = Rows<AddressRow>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let _look = api.naming().look_at_all().ok()?;
        let mut page = AddressPage { asked: self, clients: BTreeMap::new() };
        for (service, datum) in api.registry.services() {
            datum.read(|reader| {
                for host in hosts(&reader).filter(|host| host.instance.held.is_none()) {
                    let (ip, port) = (host.key.ip, host.key.port);
                    if let Some(client) = page.find(ip, port, host.instance.is_persistent) {
                        client.published += 1;
                    }
                }
            });
            for listed in by_packets(api, &service) {
                let ip = listed.address.ip().to_canonical().to_string();
                if let Some(client) = page.find(&ip, listed.address.port(), false) {
                    client.subscribed += 1;
                    client.agent = Some(listed.agent.to_string());
                    client.app = Some(listed.app.to_string());
                }
            }
        }
        let count = page.clients.len();
        Some(Rows::within(bytes, count, page.clients.into_values()))
    }
}

/// The clients with the least ids among those that are meant.
struct AddressPage<'a> {
    asked: &'a AddressClients,
    clients: BTreeMap<String, AddressRow>,
}

impl AddressPage<'_> {
    /// The place of a client on the page; `None` if it is on another.
    fn find(&mut self, ip: &str, port: u16, is_persistent: bool) -> Option<&mut AddressRow> {
        if !ip.starts_with(&self.asked.begin) {
            return None;
        }
        let id = format!("{ip}:{port}#{}", !is_persistent);
        if id <= self.asked.after {
            return None;
        }
        if !self.clients.contains_key(&id) && self.clients.len() >= self.asked.most {
            let last = self.clients.last_entry()?;
            if *last.key() < id {
                return None;
            }
            // Whoever is pushed out never comes back: only lesser ids come in from now on.
            last.remove();
        }
        Some(self.clients.entry(id).or_insert_with_key(|id| AddressRow {
            id: id.clone(),
            published: 0,
            subscribed: 0,
            agent: None,
            app: None,
        }))
    }
}

/// What a client known by an address listens to.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct AddressListens {
    pub(in crate::http) id: String,
}

impl Ask for AddressListens {
    const NAME: &'static str = "address listens";
    /// With when it was last heard of.
    type Part = (Rows<Listens>, u64);

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let found = known(api, &self.id).ok()?.unwrap_or_default();
        let count = found.listens.len();
        Some((Rows::within(bytes, count, found.listens.into_iter()), found.last_ms))
    }
}

/// Who listens to the service with this key: the first so many.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct Subscribers {
    pub(in crate::http) service: String,
    pub(in crate::http) most: usize,
}

impl Ask for Subscribers {
    const NAME: &'static str = "subscribers";
    type Part = Rows<SubscriberRow>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let service = ServiceKey::from_tag(&self.service)?;
        let most = i64::try_from(self.most).unwrap_or(i64::MAX);
        let (found, count) = api.pusher.subscribers(&service, Page::new(1, most));
        let rows = found.iter().filter_map(|listed| {
            let client = match listed.connection {
                None => id_of_subscriber(listed),
                // `None`: it has ended meanwhile.
                Some(connection) => api.connected().id_of(connection)?,
            };
            Some(SubscriberRow {
                address: listed.address,
                agent: listed.agent.to_string(),
                app: listed.app.to_string(),
                client,
            })
        });
        Some(Rows::within(bytes, count, rows))
    }
}

/// The clients that hold what has these marks.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct Holders {
    pub(in crate::http) marks: Vec<u64>,
}

impl Ask for Holders {
    const NAME: &'static str = "holders";
    type Part = Vec<(u64, String)>;

    fn here(&self, api: &Api, _: usize) -> Option<Self::Part> {
        let holder = |mark: &u64| Some((*mark, api.connected().holder(*mark)?));
        Some(self.marks.iter().filter_map(holder).collect())
    }
}

/// The clients that hold instances of the service with this key.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct HoldersOf {
    pub(in crate::http) service: String,
}

impl Ask for HoldersOf {
    const NAME: &'static str = "holders of";
    type Part = Rows<(u64, String)>;

    fn here(&self, api: &Api, bytes: usize) -> Option<Self::Part> {
        let service = ServiceKey::from_tag(&self.service)?;
        let Some(datum) = api.registry.find(&service) else { return Some(Rows::default()) };
        let mut marks = datum.read(|reader| {
            let held = hosts(&reader).filter_map(|host| host.instance.held.as_ref());
            held.map(|held| held.by).collect::<Vec<u64>>()
        });
        marks.sort_unstable();
        marks.dedup();
        let holders: Vec<(u64, String)> =
            marks.iter().filter_map(|mark| Some((*mark, api.connected().holder(*mark)?))).collect();
        Some(Rows::within(bytes, holders.len(), holders.into_iter()))
    }
}

/// How many connections a member has, and how busy it is.
#[derive(Debug, Serialize, Deserialize)]
pub(in crate::http) struct Load {}

/// How busy a member is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(in crate::http) struct LoadPart {
    pub(in crate::http) connections: u64,
    pub(in crate::http) load: f64,
    pub(in crate::http) cpu: f64,
}

impl Ask for Load {
    const NAME: &'static str = "load";
    type Part = LoadPart;

    fn here(&self, api: &Api, _: usize) -> Option<Self::Part> {
        let usage = api.usage();
        let connections = api.connected().len();
        Some(LoadPart { connections, load: usage.load, cpu: usage.cpu })
    }
}

/// Who listens to a service at this member and the others, one after the other as lists show them:
/// those on a page.
pub(in crate::http) fn merged(parts: Vec<Rows<SubscriberRow>>, page: Page) -> Vec<SubscriberRow> {
    let mut all: Vec<SubscriberRow> = parts.into_iter().flat_map(|part| part.rows).collect();
    all.sort_unstable();
    page.of(all.into_iter()).collect()
}
