//! Clients as the console lists them: those that hold a connection to this member, and those that
//! are known by an address.

use std::collections::BTreeMap;
use std::sync::Arc;

use naming_model::ServiceKey;
use serde_json::{Value, json};

use crate::http::modern::clients::{AddressClient, known, listening};
use crate::http::modern::envelope::{data, long_data};
use crate::http::modern::error::Fault;
use crate::http::modern::form::{self, Paging};
use crate::http::v1::Api;
use crate::http::{Address, Answer, Call, Connection};
use crate::push::Listed;
use crate::registry::hosts;

/// Clients on one page.
const MOST_ON_PAGE: i64 = 500;
/// Clients on a page unless the caller says how many.
const USUAL_PAGE: i64 = 50;

fn page_size(size: i64) -> Result<usize, Fault> {
    let size = usize::try_from(size).ok().filter(|_| (1..=MOST_ON_PAGE).contains(&size));
    size.ok_or_else(|| {
        Fault::illegal("pageSize", format_args!("it is not from 1 to {MOST_ON_PAGE}"))
    })
}

/// A page of the clients that hold a connection to this member, the newest first; only those in
/// whose version, application or address a text is found, if one is given.
pub(in crate::http::modern) fn connections(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let paging = Paging::of(call, USUAL_PAGE)?;
    page_size(paging.size)?;
    let text = call.params.or("search", "").to_lowercase();
    let connected = api.connected();
    let mut picked: Vec<(String, Connection)> = connected
        .ids()
        .into_iter()
        .filter_map(|id| connected.find(&id).map(|connection| (id, connection)))
        .filter(|(_, connection)| is_picked(connection, &text))
        .collect();
    // Ids begin with the moment of the connection.
    picked.sort_unstable_by(|(one, _), (other, _)| other.cmp(one));
    let count = picked.len();
    let on_page = paging.page().of(picked.iter());
    let shown: Vec<Value> =
        on_page.map(|(id, connection)| connection_json(api, id, connection)).collect();
    Ok(long_data(api, &paging.json(count, &json!(shown).to_string()), "pageSize")?.into())
}

fn is_picked(connection: &Connection, text: &str) -> bool {
    let Connection { app, version, ip, .. } = connection;
    text.is_empty() || [app, version, ip].iter().any(|field| field.to_lowercase().contains(text))
}

fn connection_json(api: &Api, id: &str, connection: &Connection) -> Value {
    let Connection { kind, app, version, ip, port, last_active_ms } = connection;
    let activity = api.connected().activity(id).unwrap_or_default();
    json!({
        "clientId": id,
        "type": kind,
        "appName": app,
        "version": version,
        "ip": ip,
        "port": port,
        "connectedAt": id.split('_').next().and_then(|ms| ms.parse::<u64>().ok()),
        "lastActive": last_active_ms,
        "published": activity.published,
        "subscribed": activity.subscribed,
        "lastPush": activity.last_push_ms,
        "lastAck": activity.last_ack_ms,
    })
}

/// What is known of a client by its address.
#[derive(Debug, Default)]
struct Known {
    published: u64,
    subscribed: u64,
    agent: Option<Arc<str>>,
    app: Option<Arc<str>>,
}

/// Clients known by an address, in the order of their ids, from behind `after` on: as many as a page
/// has. A look at all services; what it keeps meanwhile is one page.
pub(in crate::http::modern) fn addresses(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let most = page_size(form::number(call, "pageSize")?.unwrap_or(USUAL_PAGE))?;
    let after = call.params.or("after", "");
    let begin = call.params.or("search", "");
    let _look = api.naming().look_at_all()?;
    let mut page = AddressPage { most, after: &after, begin: &begin, clients: BTreeMap::new() };
    for (service, datum) in api.registry.services() {
        datum.read(|reader| {
            for host in hosts(&reader).filter(|host| host.instance.held.is_none()) {
                let (ip, port) = (host.key.ip, host.key.port);
                if let Some(client) = page.find(ip, port, host.instance.is_persistent) {
                    client.published += 1;
                }
            }
        });
        for listed in listening(api, &service).iter().filter(|one| one.connection.is_none()) {
            let ip = listed.address.ip().to_canonical().to_string();
            if let Some(client) = page.find(&ip, listed.address.port(), false) {
                client.subscribed += 1;
                client.agent = Some(Arc::clone(&listed.agent));
                client.app = Some(Arc::clone(&listed.app));
            }
        }
    }
    let next = (page.clients.len() == most).then(|| page.clients.keys().next_back()).flatten();
    let shown: Vec<Value> = page.clients.iter().map(|(id, known)| known.json(id)).collect();
    let json = json!({ "clients": shown, "next": next });
    Ok(long_data(api, &json.to_string(), "pageSize")?.into())
}

impl Known {
    fn json(&self, id: &str) -> Value {
        json!({
            "clientId": id,
            "type": "ipPort",
            "appName": self.app.as_deref(),
            "version": self.agent.as_deref(),
            "published": self.published,
            "subscribed": self.subscribed,
        })
    }
}

/// The clients with the least ids among those that are meant.
struct AddressPage<'a> {
    most: usize,
    after: &'a str,
    begin: &'a str,
    clients: BTreeMap<String, Known>,
}

impl AddressPage<'_> {
    /// The place of a client on the page; `None` if it is on another.
    fn find(&mut self, ip: &str, port: u16, is_persistent: bool) -> Option<&mut Known> {
        if !ip.starts_with(self.begin) {
            return None;
        }
        let id = format!("{ip}:{port}#{}", !is_persistent);
        if *id <= *self.after {
            return None;
        }
        if !self.clients.contains_key(&id) && self.clients.len() == self.most {
            let last = self.clients.last_entry()?;
            if *last.key() < id {
                return None;
            }
            // Whoever is pushed out never comes back: only lesser ids come in from now on.
            last.remove();
        }
        Some(self.clients.entry(id).or_default())
    }
}

/// One client with all that it has registered and listens to.
pub(in crate::http::modern) fn client(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    let id = form::required(call, "clientId")?;
    let connected = api.connected();
    let Some(connection) = connected.find(&id) else {
        return address_client(api, &id);
    };
    let mut shown = connection_json(api, &id, &connection);
    let published = connected.published(&id).unwrap_or_default();
    let subscribed = connected.subscribed(&id).unwrap_or_default();
    shown["publications"] = published.iter().map(publication).collect();
    shown["subscriptions"] = subscribed.iter().map(names).collect();
    Ok(long_data(api, &shown.to_string(), "clientId")?.into())
}

fn address_client(api: &Api, id: &str) -> Result<Answer, Fault> {
    let found = known(api, id)?;
    let client = AddressClient::parse(id);
    let listed: Option<&Listed> = found.subscribed.first().map(|(_, listed)| listed);
    let publications: Vec<Value> = found.published.iter().map(publication).collect();
    let subscriptions: Vec<Value> =
        found.subscribed.iter().map(|(service, _)| names(service)).collect();
    let shown = json!({
        "clientId": id,
        "type": "ipPort",
        "appName": listed.map(|listed| &*listed.app),
        "version": listed.map(|listed| &*listed.agent),
        "ip": client.as_ref().map(|client| client.ip),
        "port": client.as_ref().map(|client| client.port),
        "lastActive": found.last_ms,
        "published": publications.len(),
        "subscribed": subscriptions.len(),
        "publications": publications,
        "subscriptions": subscriptions,
    });
    Ok(data(&shown).into())
}

fn names(service: &ServiceKey) -> Value {
    json!({
        "namespaceId": service.namespace(),
        "groupName": service.group(),
        "serviceName": service.service(),
    })
}

fn publication((service, address): &(ServiceKey, Address)) -> Value {
    let Address { ip, port, cluster } = address;
    let mut shown = names(service);
    shown["ip"] = json!(ip);
    shown["port"] = json!(port);
    shown["clusterName"] = json!(cluster);
    shown
}
