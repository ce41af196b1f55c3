//! Clients: who has registered what, and who listens to what, at whichever member.
//!
//! A client that holds a connection has an id without `#` and is known to the member that it is
//! connected to. All others are known by an address: see [`AddressClient`].

use std::collections::BTreeSet;
use std::sync::Arc;

use serde_json::{Value, json};

use super::envelope::data_of_members;
use super::error::{Code, Fault};
use super::form;
use crate::http::everywhere::{
    AddressClient, AddressListens, ClientIds, ConnectionOf, Detail, KnownClient, Listens, Named,
    Publication, Scope, Silent, id_of, known, later, of_others, of_scope,
};
use crate::http::v1::Api;
use crate::http::{Answer, Call, MOST_ANSWER_BYTES};
use crate::registry::{hosts, wall_ms};

/// How a version shows clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Version {
    V2,
    V3,
}

/// The ids of all clients.
pub(super) fn list(api: &Api, _: &Call<'_>) -> Result<Answer, Fault> {
    later(api, async |api: Arc<Api>| {
        let mut ids = registered(&api)?;
        let mut parts = of_scope(&api, &Scope::All, &ClientIds {}).await;
        parts.note_cut(|part| part.is_cut);
        ids.extend(parts.told.into_iter().flat_map(|(_, part)| part.rows));
        data_of_members(&api, &json!(ids).to_string(), &parts.silent, "clientId")
    })
}

/// The ids of the clients of all instances that no connection holds: every member knows them.
fn registered(api: &Api) -> Result<BTreeSet<String>, Fault> {
    let _look = api.naming().look_at_all()?;
    let (mut ids, mut bytes) = (BTreeSet::new(), 0);
    for (_, datum) in api.registry.services() {
        datum.read(|reader| {
            // What a connection holds belongs to the client of that, wherever it is.
            for host in hosts(&reader).filter(|host| host.instance.held.is_none()) {
                let id = id_of(&host.record_key());
                // With quotes and comma.
                let added = id.len() + 3;
                bytes += if ids.insert(id) { added } else { 0 };
            }
        });
        if bytes > MOST_ANSWER_BYTES {
            let reason =
                format!("the ids take more than the {MOST_ANSWER_BYTES} bytes of one answer");
            return Err(Fault::bad(Code::ParameterInvalid, reason));
        }
    }
    Ok(ids)
}

/// A client, wherever it is.
#[allow(clippy::large_enum_variant, reason = "there is one for a request")]
pub(super) enum Client {
    /// It holds a connection to the member at this address.
    Connected(String, Detail),
    /// It is known by its address.
    Known(KnownClient),
}

/// Looks for a client here and, if it may be there, at the others. Also gives the members that did
/// not answer.
///
/// # Errors
/// 404 if nobody who answered knows it.
pub(super) async fn find(api: &Arc<Api>, id: &str) -> Result<(Client, Vec<Silent>), Fault> {
    if AddressClient::parse(id).is_some() {
        return find_address(api, id).await;
    }
    let ask = ConnectionOf { id: id.to_owned() };
    let own = Scope::Member(api.address().into());
    let mut parts = of_scope(api, &own, &ask).await;
    // No two members have a connection with the same id, so nobody else is asked for one of ours.
    if !parts.told.iter().any(|(_, part)| part.is_some()) {
        parts = of_others(api, &ask).await;
    }
    let is_cut = |part: &Detail| part.publications.is_cut || part.subscriptions.is_cut;
    parts.note_cut(|part| part.as_ref().is_some_and(is_cut));
    let mut found = parts.told.into_iter().filter_map(|(member, part)| Some((member, part?)));
    match found.next() {
        Some((member, detail)) => {
            // Whoever else was silent has nothing to say of it.
            let silent = parts.silent.into_iter().filter(|one| one.address == member).collect();
            Ok((Client::Connected(member, detail), silent))
        }
        None => Err(unknown(id, &parts.silent)),
    }
}

async fn find_address(api: &Arc<Api>, id: &str) -> Result<(Client, Vec<Silent>), Fault> {
    let here = known(api, id)?;
    let mut parts = of_others(api, &AddressListens { id: id.to_owned() }).await;
    parts.note_cut(|(listens, _)| listens.is_cut);
    let is_known = here.is_some() || parts.told.iter().any(|(_, (part, _))| part.count > 0);
    if !is_known {
        return Err(unknown(id, &parts.silent));
    }
    let mut client = here.unwrap_or_default();
    for (_, (listens, last_ms)) in parts.told {
        client.listens.extend(listens.rows);
        client.last_ms = client.last_ms.max(last_ms);
    }
    if client.last_ms == 0 {
        client.last_ms = wall_ms();
    }
    Ok((Client::Known(client), parts.silent))
}

fn unknown(id: &str, silent: &[Silent]) -> Fault {
    let mut reason = format!("clientId [ {} ] not exist", crate::text::cut(id, 256));
    for Silent { address, reason: why } in silent {
        reason.push_str(&format!("; {address} does not say: {why}"));
    }
    Fault::not_found(reason)
}

/// One client as 2.x shows it.
pub(super) fn detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show(api, call, |id, client| client_json(id, client, Version::V2))
}

/// One client as 3.x shows it.
pub(super) fn admin_detail(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show(api, call, |id, client| client_json(id, client, Version::V3))
}

/// What is shown of the client that a request names.
pub(super) fn show(
    api: &Api,
    call: &Call<'_>,
    shown: impl FnOnce(&str, Client) -> Value + Send + 'static,
) -> Result<Answer, Fault> {
    let id = form::required(call, "clientId")?.into_owned();
    later(api, async move |api: Arc<Api>| {
        let (client, silent) = find(&api, &id).await?;
        data_of_members(&api, &shown(&id, client).to_string(), &silent, "clientId")
    })
}

fn client_json(id: &str, client: Client, version: Version) -> Value {
    let client = match client {
        Client::Connected(_, Detail { row, .. }) => {
            return json!({
                "clientId": id,
                "ephemeral": true,
                "lastUpdatedTime": row.last_active,
                "clientType": "connection",
                "connectType": row.kind,
                "appName": row.app_name,
                "version": row.version,
                "clientIp": row.ip,
                "clientPort": row.port,
            });
        }
        Client::Known(client) => client,
    };
    let address = AddressClient::parse(id);
    let mut shown = json!({
        "clientId": id,
        "ephemeral": address.as_ref().is_some_and(|address| !address.is_persistent),
        "lastUpdatedTime": client.last_ms,
        "clientType": "ipPort",
    });
    match version {
        Version::V2 => {
            shown["clientIp"] = json!(address.as_ref().map(|address| address.ip));
            shown["clientPort"] = json!(address.map(|address| address.port.to_string()));
        }
        Version::V3 => {
            for name in ["connectType", "appName", "version", "clientIp"] {
                shown[name] = Value::Null;
            }
            shown["clientPort"] = json!(0);
        }
    }
    shown
}

/// What a client has registered, as 2.x shows it.
pub(super) fn published(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_published(api, call, |one| {
        let Publication { service, ip, port, cluster_name } = one;
        json!({
            "namespace": service.namespace_id,
            "group": service.group_name,
            "serviceName": service.service_name,
            "registeredInstance": { "ip": ip, "port": port, "cluster": cluster_name },
        })
    })
}

/// The same as 3.x shows it.
pub(super) fn admin_published(api: &Api, call: &Call<'_>) -> Result<Answer, Fault> {
    show_published(api, call, |one| {
        let Publication { service, ip, port, cluster_name } = one;
        let publisher =
            json!({ "clientId": null, "ip": ip, "port": port, "clusterName": cluster_name });
        json!({
            "namespaceId": service.namespace_id,
            "groupName": service.group_name,
            "serviceName": service.service_name,
            "publisherInfo": publisher,
            "subscriberInfo": null,
        })
    })
}

fn show_published(
    api: &Api,
    call: &Call<'_>,
    one: impl Fn(&Publication) -> Value + Send + 'static,
) -> Result<Answer, Fault> {
    show(api, call, move |_, client| {
        let published = match client {
            Client::Connected(_, detail) => detail.publications.rows,
            Client::Known(client) => client.published,
        };
        published.iter().map(one).collect()
    })
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
    show(api, call, move |_, client| match client {
        Client::Connected(_, Detail { row, subscriptions, .. }) => {
            let address = format!("{}:{}", row.ip, row.port);
            let listener = Listener { app: &row.app_name, agent: &row.version, address: &address };
            subscriptions.rows.iter().map(|service| listener.of(service, version)).collect()
        }
        Client::Known(client) => {
            let shown = client.listens.iter().map(|listens| {
                let Listens { service, app, agent, address } = listens;
                Listener { app, agent, address }.of(service, version)
            });
            shown.collect()
        }
    })
}

/// Who listens.
struct Listener<'a> {
    app: &'a str,
    agent: &'a str,
    address: &'a str,
}

impl Listener<'_> {
    fn of(&self, service: &Named, version: Version) -> Value {
        let Self { app, agent, address } = self;
        match version {
            Version::V2 => json!({
                "namespace": service.namespace_id,
                "group": service.group_name,
                "serviceName": service.service_name,
                "subscriberInfo": { "app": app, "agent": agent, "addr": address },
            }),
            Version::V3 => json!({
                "namespaceId": service.namespace_id,
                "groupName": service.group_name,
                "serviceName": service.service_name,
                "publisherInfo": null,
                "subscriberInfo": { "appName": app, "agent": agent, "address": address },
            }),
        }
    }
}
